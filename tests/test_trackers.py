"EyeLink's and Tobii's files: the same gaze as in PyTribe's log gives the same fixations and heatmaps; damage is named."
import warnings

import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from rbdm_nb.gaze.attention import gaze_of, heatmaps, read_study
from rbdm_nb.gaze.fixations import FIXATION_COLUMNS, detect
from rbdm_nb.gaze.formats import HEADER, pytribe_sample
from rbdm_nb.gaze.perception import Setup
from rbdm_nb.gaze.recordings import read

STEP, SHOWN, START = 4, 1600, 1000        # ms of a sample, of a picture; the tracker's time of the first sample
PICTURES = ("a.png", "b.png", "a.png")    # the first one twice
RECT = (680, 120, 1200, 1200)             # of each, on a screen of 2560 × 1440


def made_up():
    "DataFrame of `ms`, `x`, `y` (NaN in two blinks), `image`, `trial`: a gaze that jumps every 300 ms."
    rng, n = np.random.default_rng(3), len(PICTURES)*(SHOWN + 200)//STEP
    ms = np.arange(n)*STEP
    place = rng.uniform((750, 200), (1800, 1250), (n*STEP//300 + 1, 2))[ms//300]
    x, y = (place + rng.normal(0, 1.5, (n, 2))).round(1).T
    blink = (ms % 2400 >= 700) & (ms % 2400 < 850)
    trial, within = ms//(SHOWN + 200), ms % (SHOWN + 200) < SHOWN
    image = np.where(within, np.array(PICTURES)[trial], "")
    return pd.DataFrame(dict(ms=ms, x=np.where(blink, np.nan, x), y=np.where(blink, np.nan, y), image=image,
                             trial=trial + 1))


GAZE = made_up()
ONSETS = [k*(SHOWN + 200) for k in range(len(PICTURES))]


def or_none(value, none): return none if np.isnan(value) else f"{value:.1f}"


def pytribe():
    "The gaze as PyTribe's log, with the study's messages."
    out = ["\t".join(HEADER)]
    for g in GAZE.itertuples():
        if g.ms in ONSETS: out += [message(g.ms, "image_rect 680 120 1200 1200"), message(g.ms, f"image_on {g.image}")]
        if g.ms - SHOWN in ONSETS: out.append(message(g.ms, "image_off"))
        lost = np.isnan(g.x)
        out.append(pytribe_sample(g.ms, *((0.0, 0.0, 4) if lost else (g.x, g.y, 7))))
    return "\n".join(out) + "\n"


def message(ms, text): return f"MSG\t\t{80125203 + ms}\t{text}"


def asc(eyes=("LEFT",)):
    "The gaze as EyeLink's .asc; of two eyes, the right one has it and the left one less."
    out = ["** CONVERTED FROM made-up.edf", f"MSG\t{START} DISPLAY_COORDS 0 0 2559 1439"]
    for g in GAZE.itertuples():
        t = START + g.ms
        if g.ms in ONSETS:
            out += [f"MSG\t{t} TRIALID {g.trial}", "START\t{}\t{}\tSAMPLES\tEVENTS".format(t, "\t".join(eyes)),
                    "PRESCALER\t1", "SAMPLES\tGAZE\t{}\tRATE\t 250.00\tTRACKING\tCR".format("\t".join(eyes)),
                    f"MSG\t{t + 3} 3 SYNCTIME"]
        if g.ms - SHOWN in ONSETS:
            out += [f"END\t{t}\tSAMPLES\tEVENTS\tRES\t 30.0\t 30.0",
                    f"MSG\t{t} !V IMGLOAD CENTER ../faces/{PICTURES[g.trial - 1]} 1280 720 1200 1200",
                    f"MSG\t{t} TRIAL_RESULT 0"]
        own = [or_none(g.x, "."), or_none(g.y, "."), "900.0"]
        other = [["5.0", "5.0", "1.0"]]*(len(eyes) == 2 and g.ms % 8 == 0) or [[".", ".", "0.0"]]*(len(eyes) == 2)
        out.append("\t".join([str(t), *sum(other, []), *own, "..."]))
    return "\n".join(out) + "\n"


def sample_report(point=".", encoding="utf-8"):
    "The gaze as Data Viewer's sample report, bytes."
    out = ["RECORDING_SESSION_LABEL\tTRIAL_INDEX\tTIMESTAMP\tRIGHT_GAZE_X\tRIGHT_GAZE_Y\tRIGHT_IN_BLINK\tIMAGE"]
    for g in GAZE.itertuples():
        xy = "\t".join(or_none(v, "#").replace(".", point).replace("#", ".") for v in (g.x, g.y))
        out.append(f"p1\t{g.trial}\t{START + g.ms}\t{xy}\t{int(np.isnan(g.x))}\t{g.image or '.'}")
    return ("\r\n".join(out) + "\r\n").encode(encoding)


LAB = ["Recording timestamp [{unit}]", "Sensor", "Participant name", "Recording resolution width",
       "Recording resolution height", "Event", "Event value", "Gaze point X [DACS px]", "Gaze point Y [DACS px]",
       "Presented Stimulus name", "Presented Media position X (DACSpx)", "Presented Media position Y (DACSpx)",
       "Presented Media width", "Presented Media height"]


def lab(unit="μs", point="."):
    "The gaze as Tobii Pro Lab's export, with events and a mouse between."
    out, factor = ["\t".join(LAB).format(unit=unit)], dict(ms=1)
    for g in GAZE.itertuples():
        t, about = g.ms*factor.get(unit, 1000), ["p1", "2560", "1440"]
        shown = [g.image, *map(str, RECT)] if g.image else [""]*5
        if g.ms in ONSETS: out.append("\t".join([str(t), "", *about, "ImageStimulusStart", g.image, "", "", *shown]))
        xy = [or_none(v, "").replace(".", point) for v in (g.x, g.y)]
        out.append("\t".join([str(t), "Eye Tracker", *about, "", "", *xy, *shown]))
        if g.ms % 100 == 0: out.append("\t".join([str(t), "Mouse", *about, "", "", "", "", *shown]))
    return "\n".join(out) + "\n"


def studio():
    "The gaze as Tobii Studio's export, with the empty column at its end."
    out = ["\t".join(["ParticipantName", "RecordingResolution", "MediaName", "MediaPosX (ADCSpx)", "MediaPosY (ADCSpx)",
                      "MediaWidth", "MediaHeight", "RecordingTimestamp", "GazePointX (ADCSpx)", "GazePointY (ADCSpx)",
                      ""])]
    for g in GAZE.itertuples():
        shown = [g.image, *map(str, RECT)] if g.image else [""]*5
        out.append("\t".join(["p1", "2560 x 1440", *shown, str(g.ms), or_none(g.x, ""), or_none(g.y, ""), ""]))
    return "\n".join(out) + "\n"


FILES = {"asc": ("p1.asc", lambda: asc()), "asc, two eyes": ("p1.asc", lambda: asc(("LEFT", "RIGHT"))),
         "report": ("p1.txt", lambda: sample_report()),
         "report, UTF-16": ("p1.txt", lambda: sample_report(",", "utf-16")),
         "Pro Lab, µs": ("p1.tsv", lambda: lab()), "Pro Lab, ms": ("p1.tsv", lambda: lab("ms", ",")),
         "Studio": ("p1.tsv", studio)}


def write(folder, name, content):
    path = folder/name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(scope="module")
def canonical(tmp_path_factory):
    return read(write(tmp_path_factory.mktemp("canonical"), "p1.tsv", pytribe()))


@pytest.mark.parametrize("kind", FILES)
def test_the_same_gaze_gives_the_same_fixations_and_heatmaps(kind, canonical, tmp_path):
    name, content = FILES[kind]
    r = read(write(tmp_path, name, content()), setup=None)
    want, got = canonical.trials(), r.trials()
    assert [t.image for t in got] == [t.image for t in want] == list(PICTURES)
    assert len({round(t.onset - w.onset, 6) for t, w in zip(got, want)}) == 1
    for t, w in zip(got, want):
        np.testing.assert_allclose(t.samples[["x", "y"]], w.samples[["x", "y"]])
        a, b = (detect(one)[FIXATION_COLUMNS].to_numpy() for one in (t, w))
        assert len(a) > 2
        np.testing.assert_allclose(a[:, 2:], b[:, 2:], atol=1e-6)
        np.testing.assert_allclose(a[:, 0] - t.onset, b[:, 0] - w.onset, atol=1e-6)
    maps = [heatmaps(gaze_of({"p1": one}).at(["a.png", "b.png"]), 48) for one in (r, canonical)]
    np.testing.assert_allclose(*maps, atol=1e-9)
    assert maps[0].max() > 0


def test_a_fixation_report_is_read_with_its_trials_and_commas(tmp_path):
    head = "RECORDING_SESSION_LABEL\tTRIAL_INDEX\tEYE_USED\tCURRENT_FIX_X\tCURRENT_FIX_Y\tCURRENT_FIX_DURATION"
    rows = [f"p1\t{k}\tRIGHT\t1280,5\t700,25\t{d}\t{s}\ta.png" for k, d, s in ((1, 210, 4), (1, 180, 260), (2, 300, 8))]
    text = "\n".join([f"{head}\tCURRENT_FIX_START\tIMAGE", *rows]) + "\n"
    looks = read(write(tmp_path, "fix.txt", text.encode("utf-16"))).trials()
    assert [list(t.fixations["duration"]) for t in looks] == [[210, 180], [300]]
    assert set(looks[0].fixations["x"]) == {1280.5} and {t.image for t in looks} == {"a.png"}


def test_pymovements_reads_the_same_samples_from_an_asc_file(tmp_path):
    pymovements = pytest.importorskip("pymovements")
    path = write(tmp_path, "p1.asc", asc())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pymovements.gaze.from_asc(path).samples
    ours = read(path).samples
    assert list(theirs["time"] - START) == list(ours["time"])
    position = np.array([[np.nan if v is None else v for v in p] for p in theirs["pixel"].to_list()], float)
    np.testing.assert_allclose(position, ours[["x", "y"]])


def test_which_eye_counts(tmp_path):
    path = write(tmp_path, "p1.asc", asc(("LEFT", "RIGHT")))
    assert (read(path).eye, read(path, eye="left").eye) == ("right", "left")
    assert set(read(path, eye="left").samples["x"].dropna()) == {5.0}
    with pytest.raises(ValueError, match="no left eye in|no left eye; there: right"):
        read(write(tmp_path, "r.txt", sample_report()), eye="left")


REFUSED = [
    ("p.asc", lambda: asc().replace("\tGAZE\t", "\tHREF\t"), "samples are of HREF, not GAZE"),
    ("p.asc", lambda: asc().replace("SYNCTIME", "SYNC"), "nothing says when a.png came"),
    ("p.asc", lambda: asc().replace("COORDS 0 0 2559 1439", "COORDS -1280 -720 1279 719"), "whose top left is 0, 0"),
    ("p.asc", lambda: "** CONVERTED FROM x.edf\nEFIX L 1 5 4 9 9 9\n", "no samples.*without -e"),
    ("p.txt", lambda: sample_report().replace(b"\tIMAGE", b"\tFACE"), "no column IMAGE"),
    ("p.txt", lambda: sample_report().replace(b"p1\t3", b"p2\t3"), "2 in one table .RECORDING_SESSION_LABEL"),
    ("p.tsv", lambda: lab().replace("DACS px", "MCS px"), "export Gaze point X and Gaze point Y in DACS px"),
    ("p.tsv", lambda: lab().replace("[μs]", "[ms]"), "times step by 4000 ms, which no tracker does"),
    ("p.tsv", lambda: lab().replace("p1", "p2", 40), "2 in one table .Participant name"),
    ("p.tsv", lambda: lab().replace("\t1440\t", "\t1080\t", 9),
     "the recording's resolution is 2560 x 1080, 2560"),
    ("p.csv", lambda: lab().replace("\t", ","), "export the table as .tsv"),
    ("p.csv", lambda: lab().replace("\t", ";"), "export the table as .tsv"),
]


@pytest.mark.parametrize("name, content, why", REFUSED, ids=[w[:24] for _, _, w in REFUSED])
def test_what_cannot_be_right_is_refused_with_a_remedy(name, content, why, tmp_path):
    with pytest.raises(ValueError, match=why) as error: read(write(tmp_path, name, content()))
    assert name in str(error.value)


def test_a_recording_on_another_screen_than_the_setup_is_refused(tmp_path):
    for name, content in (("p.asc", asc()), ("p.tsv", lab())):
        with pytest.raises(ValueError, match="2560"):
            read(write(tmp_path, name, content), setup=Setup(resolution=(1920, 1080)))


def test_half_a_millisecond_at_2000_hz(tmp_path):
    text = asc().replace(" 250.00", "2000.00").split("\n")
    at = next(k for k, l in enumerate(text) if l[:1].isdigit())
    path = write(tmp_path, "p.asc", "\n".join([*text[:at + 1], text[at], *text[at + 1:]]))
    assert read(path).samples["time"].tolist()[:3] == [0, .5, 4]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(["asc", "report", "Pro Lab, µs", "Studio"]), st.integers(1, 400),
       st.sampled_from(["cut", "letter", "junk"]))
def test_damage_is_named_by_file_and_line(tmp_path_factory, kind, line, how):
    name, content = FILES[kind]
    text = content()
    lines = (text.decode() if isinstance(text, bytes) else text).replace("\r\n", "\n").split("\n")
    samples = [k for k, l in enumerate(lines) if "\t" in l and k > 0 and (kind != "asc" or l[:1].isdigit())]
    at = samples[line % len(samples)]
    fields = lines[at].split("\t")
    time = dict(zip(("asc", "report", "Pro Lab, µs", "Studio"), (0, 2, 0, 7)))[kind]
    if how == "cut": lines[at] = "\t".join(fields[:2])
    if how == "letter": lines[at] = "\t".join([*fields[:time], fields[time] + "e", *fields[time + 1:]])
    if how == "junk": lines[at] = "~~ garbage"
    path = write(tmp_path_factory.mktemp("damage"), name, "\n".join(lines))
    with pytest.raises(ValueError, match=f"{name} line {at + 1}: "): read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = read(path, on_bad="skip")
    assert f"{name} line {at + 1}" in list(kept.dropped["name"]) and len(kept.samples) >= len(GAZE) - 2


def test_a_folder_says_what_it_did_not_look_at(tmp_path):
    write(tmp_path, "p1.asc", asc())
    write(tmp_path, "p2.tsv", lab())
    for name in ("p1.edf", "faces.docx", "q.xlsx"): write(tmp_path, name, b"\0\1")
    found = read_study(tmp_path)
    assert sorted(found) == ["p1", "p2"]
    reasons = dict(found.beside.values)
    assert set(reasons) == {"p1.edf", "faces.docx", "q.xlsx"} and "edf2asc" in reasons["p1.edf"]
    assert "3 not looked at: faces.docx, p1.edf, q.xlsx" in found.summary()


def test_an_asc_file_beside_bids_recordings_does_not_count_twice(tmp_path):
    write(tmp_path, "dataset_description.json", "{}")
    folder = tmp_path/"sub-01"
    folder.mkdir()
    write(folder, "p1.asc", asc())
    assert list(read_study(tmp_path)) == ["sub-01"]
    write(folder, "sub-01_physio.json", '{"SamplingFrequency": 250, "StartTime": 0, "PhysioType": "eyetrack", '
          '"Columns": ["timestamp", "x_coordinate", "y_coordinate"], "timestamp": {"Units": "s"}}')
    write(folder, "sub-01_physio.tsv", "0.000\t5\t6\n0.004\t5\t7\n")
    found = read_study(tmp_path)
    assert len(found["sub-01"].samples) == 2
    assert "count twice" in dict(found.beside.values)["sub-01/p1.asc"]


def test_blocks_of_another_eye_are_told(tmp_path):
    first, later = asc(("RIGHT",)).split("TRIALID 2")
    file = tmp_path/"a.asc"
    file.write_text(first.replace("RIGHT", "LEFT") + "TRIALID 2" + later)
    with pytest.raises(ValueError, match="450 of 1,350 samples, the first here, are of the left eye alone"): read(file)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        recording = read(file, on_bad="skip")
    assert recording.eye == "right" and len(recording.dropped) == 1
    assert any("left eye alone" in str(w.message) for w in told)


def test_a_picture_that_nothing_names_is_told(tmp_path):
    "The end of a file is gone, and with it the name of the last picture, which stands behind the samples."
    text, file = asc(("RIGHT",)), tmp_path/"a.asc"
    file.write_text(text[:text.index("TRIALID 3") + 4000].rpartition("\n")[0] + "\n")
    with pytest.raises(ValueError, match="no IMGLOAD of its trial names it; was the file cut"): read(file)
    assert [t.image for t in read(file, on_bad="skip").trials()] == ["a.png", "b.png"]

"Gaze recordings: every format gives the same, damage is named or listed, messages cut trials."
import gzip, json, time, warnings

import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from rbdm_nb.gaze.attention import gaze_of, heatmaps, read_study
from rbdm_nb.gaze.perception import Setup
from rbdm_nb.gaze.formats import HEADER
from rbdm_nb.gaze.recordings import FORMATS, REASONS, find_gaps, read, sampling_rate, wall_clock
from rbdm_nb.gaze.simulation import ANNOTATORS, Tracker, simulate
from rbdm_nb.corpora.datasets import load

FEW = dict(max_examples=60, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    "(Path, recording) of PyTribe's log of one annotator on two faces."
    path = tmp_path_factory.mktemp("gaze")/"p01.tsv"
    recording, _ = simulate(load("synthetic", split="test", n=2, image_size=48), ANNOTATORS[0], path,
                            tracker=Tracker(losses=6))
    return path, recording


@pytest.fixture
def changed(log, tmp_path):
    "Writes the log, changed by a function of its lines, and returns the new file's path."
    def write(change, end="\n"):
        path = tmp_path/"p01.tsv"
        path.write_text(end.join(change(log[0].read_text().split("\n"))), newline="")
        return path
    return write


def quietly(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read(*args, **options)


def samples_of(lines): return [k for k, l in enumerate(lines) if l[:1] == "2"]


# --- the log, by a second reader

def test_pandas_reads_the_same_from_the_log(log):
    path, r = log
    t = pd.read_csv(path, sep="\t", comment="M")
    assert list(t.columns) == HEADER and len(t) == len(r.samples)
    seen = (t["state"] & 1 > 0) & (t["state"] & 24 == 0) & ~((t["rawx"] == 0)
                                                             & (t["rawy"] == 0)) & t["rawx"].between(-.5,
            2559.5) & t["rawy"].between(-.5, 1439.5)
    assert ((r.samples["reason"] == "") == seen).all() and 0 < seen.mean() < 1
    assert (r.samples[
        "x"][seen] == t[
        "rawx"][seen]).all() and r.samples["x"][~seen].isna().all() and r.samples["pupil"][~seen].isna().all()
    assert (r.samples["time"] == t["time"] - t["time"][0]).all() and (r.samples["fix"] == t["fix"]).all()
    assert (read(path, gaze="avg").samples["y"][seen] == t["avgy"][seen]).all()


def pytribe_stamp(t):
    "The wall clock as PyTribe's log_message writes it."
    return "%s.%d" % (time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(t)), round(t % 1, 3)*1000)


@settings(**FEW)
@given(st.integers(0, 4_000_000_000_000))
def test_clock_of_messages_is_not_padded(ms):
    assert abs(wall_clock(pytribe_stamp(ms/1000)) - ms) <= 1   # its %d cuts what floating point left just below


@pytest.mark.parametrize("stamp", ["", "now", "2020-13-01 10:00:00.1", "2020-01-01 10:00:00", "10:00:00.5"])
def test_what_is_no_clock(stamp): assert np.isnan(wall_clock(stamp))


# --- other formats of the same recording

def as_frames(path):
    t = pd.read_csv(path, sep="\t", comment="M")
    eye = lambda r, e: dict(avg=dict(x=r[e + "avgx"], y=r[e + "avgy"]), raw=dict(x=r[e + "rawx"], y=r[e + "rawy"]),
                            psize=r[e + "psize"], pcenter=dict(x=r[e + "pupilx"], y=r[e + "pupily"]))
    return [dict(timestamp=r["timestamp"], time=r["time"], fix=r["fix"], state=r["state"],
                 raw=dict(x=r["rawx"], y=r["rawy"]), avg=dict(x=r["avgx"], y=r["avgy"]),
                 lefteye=eye(r, "L"), righteye=eye(r, "R")) for r in t.to_dict("records")]


@pytest.mark.parametrize("form", ["lines", "array", "pretty", "replies"])
def test_frames_in_json_give_the_same_samples(log, tmp_path, form):
    path, r = log
    frames = as_frames(path)
    replies = [dict(category="heartbeat", statuscode=200),
               *(dict(category="tracker", request="get", statuscode=200, values=dict(frame=f)) for f in frames)]
    text = {"lines": "\n".join(map(json.dumps, frames)), "array": json.dumps(frames),
            "pretty": json.dumps(frames, indent=1), "replies": "\n".join(map(json.dumps, replies))}[form]
    (tmp_path/"p01.json").write_text(text)
    (tmp_path/"messages.tsv").write_text("".join(l + "\n" for l in path.read_text().split("\n") if l[:3] == "MSG"))
    got = read(tmp_path/"p01.json", messages=tmp_path/"messages.tsv")
    pd.testing.assert_frame_equal(got.samples, r.samples)
    assert got.messages.values.tolist() == r.messages.values.tolist()


def write_bids(log, folder, units="s", first=50., suffix="physio",
               columns=("timestamp", "x_coordinate", "y_coordinate", "pupil_size"), top=False, say=True):
    "The recording in BIDS; `top`: what is common stands in a JSON file of the data set."
    s = log[1].samples
    factor = {"s": 1e-3, "ms": 1, "us": 1e3, "ns": 1e6}[units]
    rows = [[f"{first + v*factor!r}" if c == 0 else "n/a" if np.isnan(v) else repr(v) for c, v in enumerate(row)]
            for row in s[["time", "x", "y", "pupil"]].to_numpy().tolist()]
    data = folder/"sub-01"/"beh"
    data.mkdir(parents=True)
    stem = "sub-01_task-label_recording-eye1"
    common = (dict(Columns=list(columns), SamplingFrequency=60, SampleCoordinateSystem="gaze-on-screen")
              | ({columns[0]: {"Units": units}} if say else {}))
    own = dict(StartTime=3., RecordedEye="right")
    (folder/"dataset_description.json").write_text("{}")
    (folder/f"task-label_{suffix}.json").write_text(json.dumps(common if top else dict(SamplingFrequency=1)))
    (folder/f"task-other_{suffix}.json").write_text("{broken")
    (data/f"{stem}_{suffix}.json").write_text(json.dumps(own if top else common | own))
    with gzip.open(data/f"{stem}_{suffix}.tsv.gz", "wt") as f: f.writelines("\t".join(r) + "\n" for r in rows)
    return data, data/f"{stem}_{suffix}.tsv.gz"


@pytest.mark.parametrize("units,top,say", [("s", False, True), ("ms", True, True), ("us", False, False),
                                           ("ns", True, False), ("s", True, False)])
def test_bids_gives_the_same_samples(log, tmp_path, units, top, say):
    got = read(write_bids(log, tmp_path, units, top=top, say=say)[1])
    want = log[1].samples
    assert np.allclose(got.samples["time"], want["time"], atol=1e-3)
    pd.testing.assert_frame_equal(got.samples[["x", "y", "pupil"]], want[["x", "y", "pupil"]])
    assert set(got.samples["reason"]) == {"", "missing"} and "fix" not in got.samples and abs(got.rate
            - log[1].rate) < .01


def test_bids_draft_names_and_no_timestamps(log, tmp_path):
    got = read(write_bids(log, tmp_path/"a", columns=("other", "eye1_x_coordinate", "eye1_y_coordinate",
                                                      "eye1_pupil_size"), suffix="eyetrack")[1])
    assert np.allclose(np.diff(got.samples["time"]), 1000/60) and got.samples["x"].equals(log[1].samples["x"])


def test_bids_events_become_messages(log, tmp_path):
    data, path = write_bids(log, tmp_path)
    (data/"sub-01_task-label_events.tsv").write_text(
        "onset\tduration\tstim_file\n3.5\t0.25\ta.png\n4.0\t1\tn/a\n5.5\t.5\tb c.png\n")
    (data/"sub-01_task-label_recording-eye1_physioevents.json").write_text(json.dumps(dict(Columns=["onset", "duration",
            "message"], OnsetSource="timestamp")))
    with gzip.open(data/"sub-01_task-label_recording-eye1_physioevents.tsv.gz", "wt") as f:
        f.write("50.6\tn/a\tresponse happy\n50.7\t.2\tn/a\n")
    a, b = read(path).trials()
    assert (a.image, b.image, a.label, b.label) == ("a.png", "b c.png", "happy", None)
    assert np.allclose([a.onset, a.offset, b.onset, b.offset], [500, 750, 2500, 3000])


@pytest.mark.parametrize("change,says", [
    (dict(SampleCoordinateSystem="gaze-in-world"), "gaze-in-world"),
                                         (dict(x_coordinate={"Units": "degree"}), "only screen pixels"),
    (dict(Columns=["timestamp", "x_cordinate", "y_coordinate", "pupil_size"]), "did you mean 'x_cordinate'"),
                                         (dict(Columns=["timestamp", "x_coordinate", "y_coordinate"]),
                                          "4 columns where"), (None, "JSON")])
def test_bids_that_cannot_be_read(log, tmp_path, change, says):
    data, path = write_bids(log, tmp_path)
    side = path.with_name(path.name.replace(".tsv.gz", ".json"))
    side.write_text(json.dumps(json.loads(side.read_text()) | change) if change else "{")
    with pytest.raises(ValueError, match=says): read(path)


def test_bids_without_its_json(log, tmp_path):
    _, path = write_bids(log, tmp_path)
    path.with_name(path.name.replace(".tsv.gz", ".json")).unlink()
    with pytest.raises(ValueError, match="names no Columns"): read(path)
    (tmp_path/"dataset_description.json").unlink()
    with pytest.raises(ValueError, match="no SamplingFrequency"): read(path)


def test_table_of_fixations(tmp_path):
    (tmp_path/"f.csv").write_text("image,x,y,duration\na,10,20,250\nb,30,40,100\na,50,60,300\n")
    r = read(tmp_path/"f.csv")
    a, b = r.trials()
    assert (a.image, b.image, a.label, len(a.samples), a.fixations["duration"].tolist()) == ("a", "b", None, 0,
            [250, 300])
    assert (r.report()["samples"], r.report()["seconds"], len(r.gaps), r.simulated, r.annotator) == (0, 0, 0, False,
            "f")
    (tmp_path/"f.csv").write_text("image,x,y,duration\na,10,20,250\nb,x,40,100\nc,99999,5,5\nd,5,5,-1\ne,5\n")
    with pytest.raises(ValueError) as e: read(tmp_path/"f.csv")
    assert all(s in str(e.value) for s in ("f.csv line 3: x is 'x'", "line 4: not on the screen of 2560 × 1440",
                                           "line 5: a fixation that lasts no time", "line 6: 2 fields"))
    assert len(quietly(tmp_path/"f.csv", on_bad="skip").fixations) == 1
    (tmp_path/"f.csv").write_text("image,x,y,durration\na,10,20,250\n")
    with pytest.raises(ValueError, match="did you mean 'durration'"): read(tmp_path/"f.csv")


# --- bad recordings: what is said

def test_cut_anywhere_costs_the_last_line_at_most(log, tmp_path):
    text, whole = log[0].read_bytes(), log[1].samples
    g = np.random.default_rng(0)
    for cut in g.integers(len("\t".join(HEADER)) + 600, len(text), 12):
        (tmp_path/"cut.tsv").write_bytes(text[:cut])
        r = quietly(tmp_path/"cut.tsv")
        assert len(r.dropped) <= 1 and len(r.samples) >= text[:cut].count(b"\n2") - 1
        pd.testing.assert_frame_equal(r.samples, whole[:len(r.samples)])


def test_a_cut_last_line_is_listed(changed):
    path = changed(lambda l: [*l[:samples_of(l)[50]], l[samples_of(l)[50]][:40]])
    with pytest.warns(UserWarning, match="cut off"): r = read(path)
    assert r.dropped["reason"].str.contains(r"p01.tsv line \d+: 5 columns .*; cut off").tolist() == [True]


@pytest.mark.parametrize("change,says", [
    (lambda l, k: [*l[:k], l[k] + "\t5", *l[k + 1:]], "{line}: 24 columns where there should be 23"),
    (lambda l, k: [*l[:k], l[k].rsplit("\t", 1)[0], *l[k + 1:]], "{line}: 22 columns where there should be 23"),
    (lambda l, k: [*l[:k], l[k].replace("True", "Yes").replace("False", "Yes"), *l[k + 1:]], "{line}: fix is 'Yes'"),
    (lambda l, k: [*l[:k], "\t".join([*l[k].split("\t")[:4], "1O5.3", *l[k].split("\t")[5:]]), *l[k + 1:]],
     "{line}: x is '1O5.3'"),
    (lambda l, k: [*l[:k], "\t".join([l[k].split("\t")[0], "", *l[k].split("\t")[2:]]), *l[k + 1:]],
     "{line}: time is ''"),
    (lambda l, k: [*l[:k], l[samples_of(l)[1]], *l[k:]], "{line}: time runs backwards"),
    (lambda l, k: [*l[:k], "MSG\tlost", *l[k:]], "{line}: a message of 2 fields"),
    (lambda l, k: [*l[:k], "MSG\tsometime\t\thello", *l[k:]], "{line}: a message without a time"),
    (lambda l, k: [*l[:k], l[0], *l[k:]], "{line}: time is 'time'")])
def test_damage_names_file_and_line(changed, change, says):
    path = changed(lambda l: change(l, samples_of(l)[100]))
    lines = path.read_text().split("\n")
    with pytest.raises(ValueError) as e: read(path)
    where = [n for n in range(1, len(lines) + 1) if f"p01.tsv line {n}: " in str(e.value)]
    assert says.format(line=f"p01.tsv line {where[0]}") in str(e.value) and "on_bad=\"skip\"" in str(e.value)
    assert abs(where[0] - 1 - samples_of(lines)[100]) <= 1 and len(where) == 1
    r = quietly(path, on_bad="skip")
    assert len(r.dropped) == 1 and len(r.samples) > 100


def test_time_that_runs_backwards_is_named_and_left_out(changed, log):
    swap = lambda l, a, b: [*l[:a], l[b], *l[a + 1:b], l[a], *l[b + 1:]]
    path = changed(lambda l: swap(l, *samples_of(l)[40:42]))
    with pytest.raises(ValueError, match=r"line \d+: time runs backwards, \d+ ms after \d+ ms"): read(path)
    assert len(quietly(path, on_bad="skip").samples) == len(log[1].samples) - 1


def test_repeated_samples_are_dropped_and_listed(changed, log):
    path = changed(lambda l: [*l[:samples_of(l)[9]], l[samples_of(l)[9]], *l[samples_of(l)[9]:]])
    r = quietly(path)
    assert "a second sample" in r.dropped["reason"][0]
    pd.testing.assert_frame_equal(r.samples, log[1].samples)


def test_all_samples_lost(changed):
    path = changed(lambda l: [x.replace("\t7\t", "\t16\t") if x[:1] == "2" else x for x in l])
    with pytest.raises(ValueError, match=r"none of its [\d,]+ samples is valid \([\d,]+ lost\)"): read(path)
    r = quietly(path, on_bad="skip")
    assert len(r.gaps) == 1 and r.gaps["reason"][0] == "lost" and r.report()["valid"] == 0


def test_no_messages(changed):
    path = changed(lambda l: [x for x in l if x[:3] != "MSG"])
    r = read(path)
    with pytest.raises(ValueError, match="no message matches .* messages: none"): r.trials()
    assert not r.simulated and r.annotator == "p01"


@pytest.mark.parametrize("content,says", [
    (b"", "the file is empty"), (b"\n \n", "the file is empty"), (b"\xff\xfea\0b\0", "line 1: not a recording"),
                                              (b"\xff\xfea\0b", "line 1: not UTF-16"),
                                          (b"timestamp\ttime\tfix\tstate\nMSG\t\xe4", "line 2: not UTF-8"),
    (b"hello\n", "line 1: not a recording"), ("\t".join(HEADER).encode() + b"\n", "no samples"),
                                          ("\t".join(HEADER[:6]).encode() + b"\n", "no column 'avgx'|no column 'rawy'"),
    (b"{}", "not a frame"), (b"[", "no samples"), (b"[1, 2]", "not a frame"), (b"\x1f\x8b\x08\x00rubbish", "gzip"),
                                          (b"["*100000, "no JSON")])
def test_what_is_no_recording(tmp_path, content, says):
    (tmp_path/"p01.tsv").write_bytes(content)
    with pytest.raises(ValueError, match=says) as e: read(tmp_path/"p01.tsv")
    assert "p01.tsv" in str(e.value)


def test_no_such_file_and_unknown_words(log, tmp_path):
    with pytest.raises(FileNotFoundError, match="p02.tsv"): read(tmp_path/"p02.tsv")
    with pytest.raises(ValueError, match="did you mean 'eyetribe'"): read(log[0], format="eyetrib")
    with pytest.raises(ValueError, match="raw or avg"): read(log[0], gaze="left")
    with pytest.raises(ValueError, match="did you mean 'skip'"): read(log[0], on_bad="skp")
    with pytest.raises(ValueError, match="image"): log[1].trials(onset="image_on (.+)")
    with pytest.raises(ValueError, match="pattern"): log[1].trials(offset="(")


def test_windows_line_ends_byte_order_mark_and_gzip_change_nothing(changed, log, tmp_path):
    pd.testing.assert_frame_equal(read(changed(lambda l: l, "\r\n")).samples, log[1].samples)
    (tmp_path/"bom.tsv").write_bytes(b"\xef\xbb\xbf" + log[0].read_bytes())
    assert len(read(tmp_path/"bom.tsv").samples) == len(log[1].samples)
    data = gzip.compress(log[0].read_bytes()[:60000]) + gzip.compress(log[0].read_bytes()[60000:])
    (tmp_path/"p.tsv.gz").write_bytes(data)
    pd.testing.assert_frame_equal(read(tmp_path/"p.tsv.gz").samples, log[1].samples)
    (tmp_path/"p.tsv.gz").write_bytes(data[:-2000])
    with pytest.warns(UserWarning, match="compressed data end early"): r = read(tmp_path/"p.tsv.gz")
    assert 100 < len(r.samples) < len(log[1].samples)


# --- damage at random: a clear error or a recording that holds together

def sound(r):
    s = r.samples
    assert set(s["reason"]) <= {"", *REASONS} and (np.diff(s["time"]) > 0).all() and s["time"].iloc[0] == 0
    valid = s["reason"] == ""
    assert np.isfinite(s.loc[valid, ["x", "y"]].to_numpy()).all() and s.loc[~valid, ["x", "y"]].isna().all().all()
    assert s.loc[valid, "x"].between(-.5, 2559.5).all() and s.loc[valid, "y"].between(-.5, 1439.5).all()
    assert r.messages["time"].is_monotonic_increasing and np.isfinite(r.messages["time"]).all()
    assert (r.gaps["duration"] >= 0).all()


def survives(path):
    try: sound(quietly(path))
    except ValueError as e: assert path.name in str(e)
    try: r = quietly(path, on_bad="skip")
    except ValueError as e: assert path.name in str(e); return
    sound(r)
    if len(r.messages):
        try: r.trials()
        except ValueError as e: assert path.name in str(e) or "image_rect" in str(e)


BYTES = (st.binary(min_size=0, max_size=6)
         | st.sampled_from([b"\t", b"\n", b"\r", b"nan", b"inf", b"-1", b"1e999", b"MSG\t", b"True", b"\0", b"{", b"]",
                            b'"', b",", b"99999999999999"]))
DAMAGE = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), BYTES), min_size=1, max_size=6)


def damaged(data, damage):
    "`data` with some bytes after each place (a share of its length) taken out and others put in."
    for where, out, put in damage:
        k = int(where*len(data))
        data = data[:k] + put + data[k + out:]
    return data


@pytest.mark.parametrize("form", ["eyetribe", "eyetribe-json", "bids", "fixations"])
def test_damaged_files(log, tmp_path, form):
    lines = log[0].read_text().split("\n")
    head = "\n".join(lines[:samples_of(lines)[40]]) + "\n"
    (tmp_path/"short.tsv").write_text(head)
    name = {"eyetribe": "p01.tsv", "eyetribe-json": "p01.json", "bids": "sub-1_physio.tsv",
            "fixations": "p01.csv"}[form]
    rows = read(tmp_path/"short.tsv").samples
    good = {"eyetribe": head, "eyetribe-json": "\n".join(json.dumps(f) for f in as_frames(tmp_path/"short.tsv")),
            "bids": "".join(f"{t}\t{x}\t{y}\n" for t, x, y in rows[["time", "x", "y"]].to_numpy()),
            "fixations": "image,x,y,duration\n" + "".join(f"im{k},{100*k},{90*k},{200 + k}\n" for k in range(15))}[form]
    (tmp_path/"sub-1_physio.json").write_text(json.dumps(dict(Columns=["timestamp", "x_coordinate", "y_coordinate"],
                                                              SamplingFrequency=60, timestamp=dict(Units="ms"))))
    path = tmp_path/name
    @settings(**FEW)
    @given(DAMAGE)
    def check(damage):
        path.write_bytes(damaged(good.encode(), damage))
        if form != "fixations": return survives(path)
        for on_bad in ("error", "skip"):
            try: t = quietly(path, on_bad=on_bad)
            except ValueError as e: assert path.name in str(e); continue
            if t.fixations is not None:
                assert np.isfinite(t.fixations[["x", "y",
                                                "duration"]].to_numpy()).all() and (t.fixations["duration"] > 0).all()
    check()


# --- gaps, rate, trials

@settings(**FEW)
@given(st.lists(st.tuples(st.sampled_from(["", "", "", "lost", "missing"]), st.integers(1, 3)), min_size=2,
                max_size=40))
def test_gaps_are_all_stretches_without_gaze(rows):
    time = np.cumsum([0] + [n for _, n in rows[1:]])*1000/60
    s = pd.DataFrame(dict(time=time, reason=[r for r, _ in rows]))
    got, want = find_gaps(s, 60), []
    marks = sorted({0, len(s) - 1} | {i for i, r in enumerate(s["reason"]) if r == ""})
    for a, b in zip(marks, marks[1:]):
        bad = [r for r in s["reason"][a:b + 1] if r]
        if bad or time[b] - time[a] > 25: want.append((time[a], time[b], len(bad)))
    assert [tuple(x) for x in got[["onset", "offset", "samples"]].to_numpy()] == want
    assert (got["reason"] == "no samples").tolist() == [n == 0 for _, _, n in want]


@pytest.mark.parametrize("rate", [30, 50, 60, 120, 250, 1000])
def test_sampling_rate_of_whole_milliseconds_with_holes(rate):
    time = np.rint(np.arange(3000)*1000/rate)
    keep = np.random.default_rng(0).random(3000) > .01
    assert abs(sampling_rate(time[keep])/rate - 1) < .01


def test_trials_by_hand(changed):
    def with_messages(l):
        rows = [x for x in l if x[:1] == "2"][:120]
        at = lambda k: rows[k].split("\t")[1]
        said = {10: "image_rect 100 50 900 900", 20: "image_on a b.png", 30: "image_off", 33: "response sad",
                40: "image_on c.png", 50: "response happy", 51: "response fear",
                60: "image_on d.png", 70: "image_off", 80: "image_rect 0 0 600 600", 90: "image_on e.png"}
        return [l[0], *(x for k, row in enumerate(rows)
                        for x in [row] + ([f"MSG\t\t{at(k)}\t{said[k]}"] if k in said else []))]
    r = read(changed(with_messages))
    t, time = r.trials(), r.samples["time"]
    assert [(x.image, x.label, x.complete) for x in t] == [("a b.png", "sad", True), ("c.png", "happy", False),
                                                           ("d.png", None, True), ("e.png", None, False)]
    assert [(x.onset, x.samples["time"].iloc[0]) for x in t] == [(time[k], time[k]) for k in (20, 40, 60, 90)]
    assert [x.offset for x in t[:3]] == [time[30], time[60], time[70]] and len(t[3].samples) == 30
    assert [x.rect for x in t] == [(100, 50, 900, 900)]*3 + [(0, 0, 600, 600)]
    assert t[0].setup(Setup()).to_screen([0, 0]).tolist() == [100, 50]
    assert [x.image for x in r.trials(onset="image_on (?P<image>.)\\S*.*", offset="image_.*")] == list("acde")


def test_a_rectangle_that_is_no_square(changed):
    path = changed(lambda l: [x.replace("680 120 1200 1200", "680 120 1200 900") for x in l])
    with pytest.raises(ValueError, match="must be a square"): read(path).trials()


def test_messages_of_another_computer(log, tmp_path):
    lines = log[0].read_text().split("\n")
    plain, said = tmp_path/"p01.tsv", tmp_path/"study.tsv"
    plain.write_text("\n".join(l for l in lines if l[:3] != "MSG"))
    late = lambda l: (f := l.split("\t"), f"MSG\t{pytribe_stamp((wall_clock(f[1]) + 1500)/1000)}\t\t{f[3]}")[1]
    said.write_text("\n".join(late(l) for l in lines if l[:3] == "MSG"))
    got = read(plain, messages=said, clock_offset=-1500).trials()
    want = log[1].trials()
    assert [(t.image, t.label) for t in got] == [(t.image, t.label) for t in want]
    # PyTribe's own times are those of the newest sample
    assert np.abs(np.subtract([t.onset for t in got], [t.onset for t in want])).max() <= 18
    said.write_text("MSG\tx\t\timage_on a\nhello\n")
    with pytest.raises(ValueError, match="study.tsv line 2: not a message"): read(plain, messages=said)


def test_report_adds_up(log):
    r = log[1].report()
    assert abs(r["valid"] + sum(r[x] for x in REASONS)
               - 1) < 1e-9 and r["annotator"] == "simulated-1 (SIMULATED)" and r["dropped_lines"] == 0
    assert set(FORMATS) == {"eyetribe", "eyetribe-json", "bids", "eyelink",
                            "data-viewer", "tobii", "fixations"}


# --- BIDS: people, eyes, screens, units, and what is beside the gaze

HD = dict(ScreenResolution=[1920, 1080], ScreenSize=[.53, .30], ScreenDistance=.6, ScreenOrigin=["top", "left"])
PHYSIO = dict(PhysioType="eyetrack", SamplingFrequency=100, StartTime=0,
              Columns=["timestamp", "x_coordinate", "y_coordinate"], timestamp=dict(Units="s"))


def bids(root, person="sub-01", run=None, session=None, eye="eye1", images=("a.png",), at=(1279.5, 719.5), lost=0.,
         screen=None, text=None, **said):
    """A BIDS recording of a second an image, at `at` all the time, the share `lost` of it without numbers; returns
    its file."""
    place = root/person/(session or "")/"beh"
    place.mkdir(parents=True, exist_ok=True)
    (root/"dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.11.1"}')
    if screen is not None: (root/"task-faces_events.json").write_text(json.dumps(dict(StimulusPresentation=screen)))
    stem = "_".join(p for p in (person, session, "task-faces", run and f"run-{run}") if p)
    (place/f"{stem}_events.tsv").write_text("onset\tduration\tstim_file\n"
                                            + "".join(f"{k}\t1\t{image}\n" for k, image in enumerate(images)))
    n = 100*len(images)
    rows = [(f"{k/100:.2f}", *(("n/a",)*2 if k < lost*n else (f"{v + k % 2/10:.2f}" for v in at))) for k in range(n)]
    stem += f"_recording-{eye}_physio"
    (place/f"{stem}.json").write_text(json.dumps(PHYSIO | said))
    with gzip.open(place/f"{stem}.tsv.gz", "wt") as f:
        f.write("".join("\t".join(r) + "\n" for r in rows) if text is None else text)
    return place/f"{stem}.tsv.gz"


def study_of(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_study(*args, **options)


def places(root, setup=None, **options):
    "Where (shares of the image) the first person's fixations are."
    return gaze_of(study_of(root, **options), setup).fixations[["x", "y"]].to_numpy()


def test_two_eyes_are_one_person(tmp_path):
    bids(tmp_path, eye="eye1", RecordedEye="left", lost=.3, at=(1279.5, 719.5))
    bids(tmp_path, eye="eye2", RecordedEye="right", lost=.1, at=(1399.5, 719.5))
    bids(tmp_path, "sub-02", eye="eye1", RecordedEye="left")
    with pytest.warns(UserWarning, match="of sub-01 the right one counts, 90.0% of its samples valid, left 70.0%"):
        people = read_study(tmp_path)
    assert list(people) == ["sub-01", "sub-02"] and people["sub-01"].eye == "right"
    assert people.eyes[["person", "eye"]].values.tolist() == [["sub-01", "right"]] and "right eye" in people.summary()
    assert np.allclose(places(tmp_path, eye="left")[0], .5, atol=1e-3) and np.allclose(places(tmp_path)[0], [.6, .5],
            atol=1e-3)
    with pytest.raises(ValueError, match="sub-02: no right eye in .*there: left"): read_study(tmp_path, eye="right")
    assert list(study_of(tmp_path, eye="right", on_bad="skip")) == ["sub-01"]
    with pytest.raises(ValueError, match="did you mean 'left'"): read_study(tmp_path, eye="lefft")


def test_two_eyes_without_a_word_which(tmp_path):
    for eye in ("eye1", "eye2"): bids(tmp_path, eye=eye)
    assert study_of(tmp_path)["sub-01"].eye == "eye1" and study_of(tmp_path, eye="eye2")["sub-01"].eye == "eye2"
    with pytest.raises(ValueError, match="no left eye in .*there: eye1, eye2"): study_of(tmp_path, eye="left")


def test_both_eyes_in_one_file(tmp_path):
    columns = ["timestamp", "eye1_x_coordinate", "eye1_y_coordinate", "eye2_x_coordinate", "eye2_y_coordinate"]
    text = "".join(f"{k/100}\t{'n/a' if k % 3 else 100}\t{'n/a' if k % 3 else 100}\t{300 + k}\t300\n"
                   for k in range(30))
    path = bids(tmp_path, text=text, Columns=columns, RecordedEye=["left", "right"])
    assert read(path).samples["x"].tolist() == [300 + k for k in range(30)] and read(path).eye == "right"
    assert read(path, eye="left").samples["x"].dropna().unique().tolist() == [100] and list(study_of(tmp_path,
            eye="left")) == ["sub-01"]


def test_runs_and_sessions_are_joined_in_order(tmp_path):
    for run, images in ((10, ("d", "a")), (2, ("b", "c")), (1, ("a", "b"))): bids(tmp_path, run=run, images=images)
    bids(tmp_path, session="ses-2", images=("e",))
    people = read_study(tmp_path)
    assert list(people) == ["sub-01"] and len(people["sub-01"].parts) == 4
    assert [t.image for t in people["sub-01"].trials()] == ["a", "b", "b", "c", "d", "a", "e"]
    assert (np.diff(people["sub-01"].samples["time"]) > 0).all() and len(people["sub-01"].samples) == 700
    gaze = gaze_of(people)
    assert (len(gaze.trials), len(gaze.fixations), gaze.shared) == (7, 7, list("abcde"))
    assert gaze.repeated[["image", "looks"]].values.tolist() == [["a", 2], ["b", 2]]
    assert [len(xy) for xy in gaze.at(list("abc"))] == [2, 2, 1]


def test_one_person_in_two_data_sets_or_one_run_twice(tmp_path):
    for name in ("one", "two"): bids(tmp_path/name)
    with pytest.raises(ValueError, match="read each data set by itself"): read_study(tmp_path)
    path = bids(tmp_path/"one")
    path.with_name(path.name[:-3]).write_bytes(gzip.decompress(path.read_bytes()))
    with pytest.raises(ValueError, match="a second recording of sub-01"): read_study(tmp_path/"one")


@pytest.mark.parametrize("origin,at", [(["top", "left"], (1279.5, 419.5)),
                                       (["left", "bottom"], (1279.5, 1439 - 419.5))])
def test_where_coordinates_start(tmp_path, origin, at):
    bids(tmp_path, at=at, screen=dict(HD, ScreenResolution=[2560, 1440], ScreenOrigin=origin))
    assert np.allclose(places(tmp_path), [.5, .25], atol=1e-3)


def test_coordinates_from_the_middle_need_a_word(tmp_path):
    bids(tmp_path, at=(0, 300), screen=dict(HD, ScreenResolution=[2560, 1440], ScreenOrigin=["center", "center"]))
    with pytest.raises(ValueError, match='origin="center up" or origin="center down"'): read_study(tmp_path)
    assert np.allclose(places(tmp_path, origin="center up"), [.5, .25], atol=1e-3)
    assert np.allclose(places(tmp_path, origin="center down"), [.5, .75], atol=1e-3)
    with pytest.raises(ValueError, match="but origin='top left'"): read_study(tmp_path, origin="top left")
    bids(tmp_path, at=(300, 300), screen=dict(HD, ScreenOrigin=["top", "right"]))
    with pytest.raises(ValueError, match="right top; only top left"): read_study(tmp_path)


def test_negative_coordinates_without_an_origin(tmp_path):
    bids(tmp_path, at=(-200, 100))
    with pytest.raises(ValueError, match="100% of x or y are negative"): read_study(tmp_path)
    assert np.allclose(places(tmp_path, origin="center down"), [.5 - 200/1200, .5 + 100/1200], atol=1e-3)


def test_another_screen_needs_the_size_of_the_image(tmp_path):
    bids(tmp_path, at=(959.5, 539.5), screen=HD)
    people = read_study(tmp_path)
    assert people["sub-01"].screen["resolution"] == (1920,
                                                     1080) and abs(people["sub-01"].screen["distance_cm"] - 60) < 1e-9
    with pytest.raises(ValueError,
                       match=r"nothing says how large the image was on it; give it: setup=Setup\(resolution=\(1920, "
                             r"1080\)"):
        gaze_of(people)
    with pytest.raises(ValueError, match="too few for an image of 1200"):
        gaze_of(people, Setup(resolution=(1920, 1080)))
    gaze = gaze_of(people, Setup(image_px=900))
    assert np.allclose(gaze.at(["a.png"])[0], .5, atol=1e-3)
    assert gaze.setup == Setup(60., np.hypot(.53, .3)/.0254, (1920, 1080), 900)
    assert (heatmaps(gaze.at(["a.png"]), 90) == heatmaps(list(gaze.at(["a.png"])), 90, gaze.setup)).all()
    assert abs(gaze.setup.to_pixels(1) - 2*60*np.tan(np.pi/360)/(np.hypot(53, 30)/np.hypot(1920, 1080))) < 1e-6


@pytest.mark.parametrize("setup,says",
                         [(Setup(resolution=(1280, 1024)),
                           r"resolution \(1920, 1080\), but the setup has \(1280, 1024\)"),
                          (Setup(distance_cm=90), "distance_cm 60.0, but the setup has 90"),
                                        (Setup(screen_diagonal_in=32),
                                         "screen_diagonal_in 23.97.*but the setup has 32")])
def test_a_setup_that_contradicts_the_recording(tmp_path, setup, says):
    bids(tmp_path, screen=HD, at=(959.5, 539.5))
    with pytest.raises(ValueError, match=says): read_study(tmp_path, setup)
    with pytest.raises(ValueError, match=says): gaze_of(read_study(tmp_path), setup)


@pytest.mark.parametrize("change,says", [
    (dict(ScreenSize=[53, 30]), "ScreenSize = .53, 30.; wanted 2 numbers from 0.02 to 20 m"),
                                         (dict(ScreenSize=[.30, .53]), "pixels that are no squares"),
                                         (dict(ScreenDistance="far"), "ScreenDistance = 'far'"),
    (dict(ScreenDistance=60), "ScreenDistance = 60"), (dict(ScreenResolution=[1920]), "ScreenResolution"),
                                         (dict(ScreenResolution="1920x1080"), "ScreenResolution")])
def test_screens_that_cannot_be(tmp_path, change, says):
    path = bids(tmp_path, screen=HD | change)
    with pytest.raises(ValueError, match=says) as e: read(path)
    assert path.name in str(e.value)


def test_nearer_files_say_more_of_the_screen(tmp_path):
    path = bids(tmp_path, screen=HD, at=(600, 400))
    (tmp_path/"sub-01"/"sub-01_events.json").write_text(json.dumps(dict(StimulusPresentation=dict(HD,
            ScreenResolution=[1280, 720]))))
    (tmp_path/"task-other_events.json").write_text("{broken")
    assert read(path).screen["resolution"] == (1280, 720)
    # what lies above sub-… still counts for the screen
    (tmp_path/"dataset_description.json").unlink()
    (tmp_path/"sub-01"/"sub-01_events.json").unlink()
    assert read(path).screen["resolution"] == (1920, 1080)


def test_linked_files_keep_their_place(tmp_path):
    path = bids(tmp_path, screen=HD, at=(600, 400))
    (tmp_path/".git").mkdir(); path.rename(tmp_path/".git"/"object")
    path.symlink_to(tmp_path/".git"/"object")
    assert read(path).screen["resolution"] == (1920, 1080) and list(read_study(tmp_path)) == ["sub-01"]
    (tmp_path/".git"/"object").unlink()
    with pytest.raises(ValueError, match="a link to a file that is not here"): read_study(tmp_path)


@pytest.mark.parametrize("said,says", [
    (dict(timestamp=dict(Units="ms")), r"SamplingFrequency is 100 Hz, but the timestamps \(ms\) step as at 1e\+05 Hz"),
                                       (dict(SamplingFrequency=500),
                                        r"SamplingFrequency is 500 Hz, but the timestamps \(s\) step as at 100 Hz"),
    (dict(SamplingFrequency=125, timestamp={}), "SamplingFrequency is 125 Hz"),
                                       (dict(timestamp=dict(Units="fortnight")), "no unit of time"),
                                       (dict(SamplingFrequency="fast"), "SamplingFrequency = 'fast'"),
    (dict(SamplingFrequency=0), "SamplingFrequency"), (dict(StartTime=[1, 2]), "StartTime"),
                                       (dict(Columns="x y"), "no list of names"),
                                       (dict(StartTime=900), "none of its 1 trials")])
def test_times_that_contradict(tmp_path, said, says):
    path = bids(tmp_path, **said)
    with pytest.raises(ValueError, match=says) as e: read(path).trials()
    assert path.name in str(e.value)


def test_times_that_agree(tmp_path):
    for said in (dict(SamplingFrequency=105), dict(timestamp=dict(Units="seconds")), dict(timestamp={})):
        assert abs(read(bids(tmp_path, **said)).rate - 100) < .1
    path = bids(tmp_path, Columns=["x_coordinate", "y_coordinate"], StartTime=-.5, text="700\t600\n"*100)
    trial, = read(path).trials()
    assert np.allclose((trial.onset, trial.samples["time"].iloc[0], trial.samples["time"].iloc[-1]), (500, 500, 990))


def test_a_whole_data_set(tmp_path):
    bids(tmp_path, run=1), bids(tmp_path, run=2, images=("b.png",))
    beh = tmp_path/"sub-01"/"beh"
    for name, text in {"README": "x", "README.txt": "x", "CHANGES.txt": "1.0", "LICENSE.md": "x",
                       "participants.tsv": "participant_id\n", "sub-01/sub-01_scans.tsv": "filename\n",
                       "sub-01/beh/a_bold.json": "{}",
                       "sub-01/beh/sub-01_task-faces_beh.tsv": "trial\tresponse\n1\thappy\n",
                       "sub-01/beh/sub-01_electrodes.tsv": "name\tx\ty\tz\n", "sub-01/beh/video.mp4": "",
                       "sub-01/beh/p.asc": "** x", "p.edf": ""}.items():
        (tmp_path/name).write_text(text)
    belt = beh/"sub-01_task-faces_run-1_recording-breathing_physio"
    belt.with_suffix(".json").write_text(json.dumps(dict(SamplingFrequency=50, StartTime=0, Columns=["respiratory"])))
    belt.with_suffix(".tsv.gz").write_bytes(gzip.compress(b"1\n2\n"))
    bids(tmp_path/"derivatives"/"clean", run=1)
    (tmp_path/".git").mkdir(); (tmp_path/".git"/"sub-09.csv").write_text("image,x,y,duration\na,1,2,300\n")
    people = read_study(tmp_path)
    assert list(people) == ["sub-01"] and [t.image for t in people["sub-01"].trials()] == ["a.png",
            "b.png"] and not len(people.skipped)
    named = dict(people.beside.values.tolist())
    assert {"README", "README.txt", "CHANGES.txt", "LICENSE.md", "participants.tsv", "p.edf", "derivatives",
            ".git"} <= set(named)
    assert "respiratory" in named[
        str((belt.with_suffix(".tsv.gz")).relative_to(tmp_path))] and "sub-01/sub-01_scans.tsv" in named
    assert f"{len(named)} not looked at" in people.summary()
    assert list(read_study(tmp_path/"derivatives"/"clean")) == ["sub-01"]


def test_bad_recordings_in_a_data_set(tmp_path):
    bids(tmp_path), bids(tmp_path, "sub-02", text="0\t1\n0.01\tx\t2\n"), bids(tmp_path, "sub-03")
    side = next((tmp_path/"sub-03"/"beh").glob("*_physio.json"))
    side.write_text("{broken")
    with pytest.raises(ValueError) as e: read_study(tmp_path)
    assert all(s in str(e.value) for s in (side.name, "sub-02", 'on_bad="skip"'))
    people = study_of(tmp_path, on_bad="skip")
    assert list(people) == ["sub-01"] and len(people.skipped) == 2
    with pytest.raises(ValueError, match="did you mean 'skip'"): read_study(tmp_path, on_bad="skp")
    side.write_text("[1]")
    with pytest.raises(ValueError, match="not a JSON object, but a list"): read_study(tmp_path/"sub-03")


def test_nothing_on_the_image_is_an_error(tmp_path):
    bids(tmp_path, at=(20, 20))
    with pytest.raises(ValueError, match="sub-01: none of 1 fixations is on an image"): gaze_of(read_study(tmp_path))
    bids(tmp_path, at=(.3, .4))
    with pytest.raises(ValueError, match="no screen pixels"): read_study(tmp_path)


def test_eyes_outside_of_bids(tmp_path):
    for side, y in (("left", 700), ("right", 800)):
        (tmp_path/f"anna_{side}.csv").write_text(f"image,x,y,duration\na,1200,{y},300\n")
    with pytest.raises(ValueError, match="anna_left.csv and anna_right.csv differ only by an eye"): read_study(tmp_path)
    people = read_study(tmp_path, eye="right")
    assert list(people) == ["anna"] and people["anna"].fixations["y"].tolist() == [800]


@pytest.mark.parametrize("header,row,options,want", [
    ("image,x,y,duration", "a,1200,700,310", {}, 310), ("image,x,y,duration_s", "a,1200,700,.31", {}, 310),
                                                     ("image,x,y,duration", "a,1200,700,.31", dict(unit="s"), 310),
    ("image,x,y,duration [us]", "a,1200,700,310000", {}, 310),
                                                     ("image\tx\ty\tduration (ms)", "a\t1200\t700\t310", {}, 310),
                                                     ("IMAGE\tCURRENT_FIX_X\tCURRENT_FIX_Y\tCURRENT_FIX_DURATION",
                                                      "a\t1200\t700\t310", {}, 310),
    ("image,x,y,duration", "a,1200,700,.31", {}, "no milliseconds"),
                                                     ("image,x,y,duration", "a,1200,700,310000", {}, "no milliseconds"),
                                                     ("image,x,y,duration_ms", "a,1200,700,.31", dict(unit="s"),
                                                      "header says durations in ms"),
    ("image,x,y,duration_s", "a,1200,700,310", {}, "no fixation does"),
                                                     ("image,x,y,duration,duration_s", "a,1200,700,310,.3", {},
                                                      "two columns mean the same"),
                                                     ("image,x,y,duration", "a,.5,.5,310", {}, "no screen pixels"),
    ("image,x,y,duration,subject", "a,1200,700,310,u\na,1200,700,310,v", {}, "2 people in one table"),
                                                     ("image,x,y,duration,eye", "a,1200,700,310,l\na,1200,700,310,r",
                                                      {}, "give eye="),
    ("image,x,y,duration", "a,1200,700,310\na,1200,700,.31", {}, "no milliseconds")])
def test_units_of_tables(tmp_path, header, row, options, want):
    path = tmp_path/"anna.csv"
    path.write_text(f"{header}\n{row}\n")
    if isinstance(want, str):
        with pytest.raises(ValueError, match=want) as e: read(path, **options)
        assert "anna.csv" in str(e.value)
    else: assert np.allclose(read(path, **options).fixations["duration"], want)


def test_onsets_have_their_own_unit(tmp_path):
    (tmp_path/"a.csv").write_text("image,x,y,onset_s,duration_ms\na,1200,700,1.5,310\n")
    assert read(tmp_path/"a.csv").fixations[["onset", "offset"]].values.tolist() == [[1500, 1810]]


@pytest.mark.parametrize("which", ["_physio.json", "_physio.tsv.gz", "_events.json", "_events.tsv"])
def test_a_damaged_data_set_is_read_or_named(tmp_path, which):
    bids(tmp_path, screen=dict(HD, ScreenResolution=[2560, 1440])), bids(tmp_path, "sub-02")
    path = next(f for f in sorted(tmp_path.rglob(f"*{which}")))
    good = path.read_bytes()
    data = gzip.decompress(good) if path.suffix == ".gz" else good
    @settings(**FEW)
    @given(DAMAGE, st.booleans())
    def check(damage, packed):
        path.write_bytes(gzip.compress(damaged(data, damage)) if path.suffix == ".gz" and not packed
                         else damaged(good, damage))
        for on_bad in ("error", "skip"):
            try: people = study_of(tmp_path, on_bad=on_bad)
            except ValueError as e: assert "sub-0" in str(e) or path.name in str(e); continue
            assert set(people) <= {"sub-01", "sub-02"} and (on_bad == "skip" or len(people) == 2)
            for r in people.values(): sound(r)
    check()


def test_images_that_follow_each_other_at_once(tmp_path):
    path = bids(tmp_path, images=("a", "b", "c"))
    shown = path.with_name("sub-01_task-faces_events.tsv")
    trials = read(path).trials()
    assert [(t.image, round(t.onset), round(t.offset), len(t.samples))
            for t in trials] == [("a", 0, 1000, 100), ("b", 1000, 2000, 100), ("c", 2000, 3000, 100)]
    # out of order, without an end, overlapping
    shown.write_text("onset\tduration\tstim_file\n1\t1.5\tb\n0\tn/a\ta\n2\t.5\tc\n")
    assert [(t.image, round(t.onset), round(t.offset), t.complete)
            for t in read(path).trials()] == [("a", 0, 1000, False), ("b", 1000, 2000, False), ("c", 2000, 2500, True)]

"Gaze recordings: every format gives the same, damage is named or listed, messages cut trials."
import gzip, json, time, warnings

import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from rbdm_nb.perception import Setup
from rbdm_nb.recordings import FORMATS, HEADER, REASONS, find_gaps, read, sampling_rate, wall_clock
from rbdm_nb.simulation import ANNOTATORS, Tracker, simulate
from rbdm_nb.datasets import load

FEW = dict(max_examples=60, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    "(Path, recording) of PyTribe's log of one annotator on two faces."
    path = tmp_path_factory.mktemp("gaze")/"p01.tsv"
    recording, _ = simulate(load("synthetic", split="test", n=2, image_size=48), ANNOTATORS[0], path, tracker=Tracker(losses=6))
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
    seen = (t["state"] & 1 > 0) & (t["state"] & 24 == 0) & ~((t["rawx"] == 0) & (t["rawy"] == 0)) & t["rawx"].between(-.5, 2559.5) & t["rawy"].between(-.5, 1439.5)
    assert ((r.samples["reason"] == "") == seen).all() and 0 < seen.mean() < 1
    assert (r.samples["x"][seen] == t["rawx"][seen]).all() and r.samples["x"][~seen].isna().all() and r.samples["pupil"][~seen].isna().all()
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
    eye = lambda r, e: dict(avg=dict(x=r[e + "avgx"], y=r[e + "avgy"]), raw=dict(x=r[e + "rawx"], y=r[e + "rawy"]), psize=r[e + "psize"], pcenter=dict(x=r[e + "pupilx"], y=r[e + "pupily"]))
    return [dict(timestamp=r["timestamp"], time=r["time"], fix=r["fix"], state=r["state"], raw=dict(x=r["rawx"], y=r["rawy"]), avg=dict(x=r["avgx"], y=r["avgy"]),
                 lefteye=eye(r, "L"), righteye=eye(r, "R")) for r in t.to_dict("records")]


@pytest.mark.parametrize("form", ["lines", "array", "pretty", "replies"])
def test_frames_in_json_give_the_same_samples(log, tmp_path, form):
    path, r = log
    frames = as_frames(path)
    replies = [dict(category="heartbeat", statuscode=200), *(dict(category="tracker", request="get", statuscode=200, values=dict(frame=f)) for f in frames)]
    text = {"lines": "\n".join(map(json.dumps, frames)), "array": json.dumps(frames), "pretty": json.dumps(frames, indent=1), "replies": "\n".join(map(json.dumps, replies))}[form]
    (tmp_path/"p01.json").write_text(text)
    (tmp_path/"messages.tsv").write_text("".join(l + "\n" for l in path.read_text().split("\n") if l[:3] == "MSG"))
    got = read(tmp_path/"p01.json", messages=tmp_path/"messages.tsv")
    pd.testing.assert_frame_equal(got.samples, r.samples)
    assert got.messages.values.tolist() == r.messages.values.tolist()


def write_bids(log, folder, units="s", first=50., suffix="physio", columns=("timestamp", "x_coordinate", "y_coordinate", "pupil_size"), top=False, say=True):
    "The recording in BIDS; `top`: what is common stands in a JSON file of the data set."
    s = log[1].samples
    factor = {"s": 1e-3, "ms": 1, "us": 1e3, "ns": 1e6}[units]
    rows = [[f"{first + v*factor!r}" if c == 0 else "n/a" if np.isnan(v) else repr(v) for c, v in enumerate(row)] for row in s[["time", "x", "y", "pupil"]].to_numpy().tolist()]
    data = folder/"sub-01"/"beh"
    data.mkdir(parents=True)
    stem = "sub-01_task-label_recording-eye1"
    common = dict(Columns=list(columns), SamplingFrequency=60, SampleCoordinateSystem="gaze-on-screen") | ({columns[0]: {"Units": units}} if say else {})
    own = dict(StartTime=3., RecordedEye="right")
    (folder/"dataset_description.json").write_text("{}")
    (folder/f"task-label_{suffix}.json").write_text(json.dumps(common if top else dict(SamplingFrequency=1)))
    (folder/f"task-other_{suffix}.json").write_text("{broken")
    (data/f"{stem}_{suffix}.json").write_text(json.dumps(own if top else common | own))
    with gzip.open(data/f"{stem}_{suffix}.tsv.gz", "wt") as f: f.writelines("\t".join(r) + "\n" for r in rows)
    return data, data/f"{stem}_{suffix}.tsv.gz"


@pytest.mark.parametrize("units,top,say", [("s", False, True), ("ms", True, True), ("us", False, False), ("ns", True, False), ("s", True, False)])
def test_bids_gives_the_same_samples(log, tmp_path, units, top, say):
    got = read(write_bids(log, tmp_path, units, top=top, say=say)[1])
    want = log[1].samples
    assert np.allclose(got.samples["time"], want["time"], atol=1e-3)
    pd.testing.assert_frame_equal(got.samples[["x", "y", "pupil"]], want[["x", "y", "pupil"]])
    assert set(got.samples["reason"]) == {"", "missing"} and "fix" not in got.samples and abs(got.rate - log[1].rate) < .01


def test_bids_draft_names_and_no_timestamps(log, tmp_path):
    got = read(write_bids(log, tmp_path/"a", columns=("other", "eye1_x_coordinate", "eye1_y_coordinate", "eye1_pupil_size"), suffix="eyetrack")[1])
    assert np.allclose(np.diff(got.samples["time"]), 1000/60) and got.samples["x"].equals(log[1].samples["x"])


def test_bids_events_become_messages(log, tmp_path):
    data, path = write_bids(log, tmp_path)
    (data/"sub-01_task-label_events.tsv").write_text("onset\tduration\tstim_file\n3.5\t0.25\ta.png\n4.0\t1\tn/a\n5.5\t.5\tb c.png\n")
    (data/"sub-01_task-label_recording-eye1_physioevents.json").write_text(json.dumps(dict(Columns=["onset", "duration", "message"], OnsetSource="timestamp")))
    with gzip.open(data/"sub-01_task-label_recording-eye1_physioevents.tsv.gz", "wt") as f: f.write("50.6\tn/a\tresponse happy\n50.7\t.2\tn/a\n")
    a, b = read(path).trials()
    assert (a.image, b.image, a.label, b.label) == ("a.png", "b c.png", "happy", None)
    assert np.allclose([a.onset, a.offset, b.onset, b.offset], [500, 750, 2500, 3000])


@pytest.mark.parametrize("change,says", [
    (dict(SampleCoordinateSystem="gaze-in-world"), "gaze-in-world"), (dict(x_coordinate={"Units": "degree"}), "only screen pixels"),
    (dict(Columns=["timestamp", "x_cordinate", "y_coordinate", "pupil_size"]), "did you mean 'x_cordinate'"), (dict(Columns=["timestamp", "x_coordinate", "y_coordinate"]), "4 columns where"), (None, "JSON")])
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
    assert (a.image, b.image, a.label, len(a.samples), a.fixations["duration"].tolist()) == ("a", "b", None, 0, [250, 300])
    assert (r.report()["samples"], r.report()["seconds"], len(r.gaps), r.simulated, r.annotator) == (0, 0, 0, False, "f")
    (tmp_path/"f.csv").write_text("image,x,y,duration\na,10,20,250\nb,x,40,100\nc,99999,5,5\nd,5,5,-1\ne,5\n")
    with pytest.raises(ValueError) as e: read(tmp_path/"f.csv")
    assert all(s in str(e.value) for s in ("f.csv line 3: x is 'x'", "line 4: not on the screen of 2560 × 1440", "line 5: a fixation that lasts no time", "line 6: 2 fields"))
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
    (lambda l, k: [*l[:k], "\t".join([*l[k].split("\t")[:4], "1O5.3", *l[k].split("\t")[5:]]), *l[k + 1:]], "{line}: x is '1O5.3'"),
    (lambda l, k: [*l[:k], "\t".join([l[k].split("\t")[0], "", *l[k].split("\t")[2:]]), *l[k + 1:]], "{line}: time is ''"),
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
    (b"", "the file is empty"), (b"\n \n", "the file is empty"), (b"\xff\xfea\0b\0", "line 1: not UTF-8"), (b"timestamp\ttime\tfix\tstate\nMSG\t\xe4", "line 2: not UTF-8"),
    (b"hello\n", "line 1: not a recording"), ("\t".join(HEADER).encode() + b"\n", "no samples"), ("\t".join(HEADER[:6]).encode() + b"\n", "no column 'avgx'|no column 'rawy'"),
    (b"{}", "not a frame"), (b"[", "no samples"), (b"[1, 2]", "not a frame"), (b"\x1f\x8b\x08\x00rubbish", "gzip"), (b"["*100000, "no JSON")])
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


BYTES = st.binary(min_size=0, max_size=6) | st.sampled_from([b"\t", b"\n", b"\r", b"nan", b"inf", b"-1", b"1e999", b"MSG\t", b"True", b"\0", b"{", b"]", b'"', b",", b"99999999999999"])
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
    name = {"eyetribe": "p01.tsv", "eyetribe-json": "p01.json", "bids": "sub-1_physio.tsv", "fixations": "p01.csv"}[form]
    rows = read(tmp_path/"short.tsv").samples
    good = {"eyetribe": head, "eyetribe-json": "\n".join(json.dumps(f) for f in as_frames(tmp_path/"short.tsv")),
            "bids": "".join(f"{t}\t{x}\t{y}\n" for t, x, y in rows[["time", "x", "y"]].to_numpy()), "fixations": "image,x,y,duration\n" + "".join(f"im{k},{100*k},{90*k},{200 + k}\n" for k in range(15))}[form]
    (tmp_path/"sub-1_physio.json").write_text(json.dumps(dict(Columns=["timestamp", "x_coordinate", "y_coordinate"], SamplingFrequency=60, timestamp=dict(Units="ms"))))
    path = tmp_path/name
    @settings(**FEW)
    @given(DAMAGE)
    def check(damage):
        path.write_bytes(damaged(good.encode(), damage))
        if form != "fixations": return survives(path)
        for on_bad in ("error", "skip"):
            try: t = quietly(path, on_bad=on_bad)
            except ValueError as e: assert path.name in str(e); continue
            if t.fixations is not None: assert np.isfinite(t.fixations[["x", "y", "duration"]].to_numpy()).all() and (t.fixations["duration"] > 0).all()
    check()


# --- gaps, rate, trials

@settings(**FEW)
@given(st.lists(st.tuples(st.sampled_from(["", "", "", "lost", "missing"]), st.integers(1, 3)), min_size=2, max_size=40))
def test_gaps_are_all_stretches_without_gaze(rows):
    time = np.cumsum([0] + [n for _, n in rows[1:]])*1000/60
    s = pd.DataFrame(dict(time=time, reason=[r for r, _ in rows]))
    got, want, k = find_gaps(s, 60), [], 0
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
        said = {10: "image_rect 100 50 900 900", 20: "image_on a b.png", 30: "image_off", 33: "response sad", 40: "image_on c.png", 50: "response happy", 51: "response fear",
                60: "image_on d.png", 70: "image_off", 80: "image_rect 0 0 600 600", 90: "image_on e.png"}
        return [l[0], *(x for k, row in enumerate(rows) for x in [row] + ([f"MSG\t\t{at(k)}\t{said[k]}"] if k in said else []))]
    r = read(changed(with_messages))
    t, time = r.trials(), r.samples["time"]
    assert [(x.image, x.label, x.complete) for x in t] == [("a b.png", "sad", True), ("c.png", "happy", False), ("d.png", None, True), ("e.png", None, False)]
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
    assert np.abs(np.subtract([t.onset for t in got], [t.onset for t in want])).max() <= 18   # PyTribe's own times are those of the newest sample
    said.write_text("MSG\tx\t\timage_on a\nhello\n")
    with pytest.raises(ValueError, match="study.tsv line 2: not a message"): read(plain, messages=said)


def test_report_adds_up(log):
    r = log[1].report()
    assert abs(r["valid"] + sum(r[x] for x in REASONS) - 1) < 1e-9 and r["annotator"] == "simulated-1 (SIMULATED)" and r["dropped_lines"] == 0
    assert set(FORMATS) == {"eyetribe", "eyetribe-json", "bids", "fixations"}

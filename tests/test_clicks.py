"""The click study: its design, its files and its Python half here; the whole of it, run by headless Chromium as a
widget and as a file, below."""
import base64, io, json, re
from contextlib import ExitStack
from pathlib import Path
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from scipy.ndimage import uniform_filter
import study_browser
from study_browser import STAGE, WATCH, card, download, image
from rbdm_nb.corpora.datasets import Corpus
from rbdm_nb.gaze import study
from rbdm_nb.humans import clicks
from rbdm_nb.humans.clicks import make_event
from rbdm_nb.reproducibility import rng


def corpus(classes="abc", each=12, side=24):
    "Noise, `each` images a class."
    n = each*len(classes)
    images = rng(3, "noise").integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    return Corpus(images, np.arange(n) % len(classes), tuple(classes), [f"f{k:03d}" for k in range(n)])


NOISE = corpus()
DESIGN = clicks.pair_design(NOISE, 2, seed=1)
PLAN = clicks.trial_order(DESIGN, "P1", blocks=3)


def showing(k, row, at, places=((.5, .5),), label=None, run=1):
    "Events of trial `k`; no answer where `label` is None."
    event = lambda kind, ms, **more: make_event(kind, at + ms, run, k, row["image"], **more)
    said = {name: row[name] for name in ("block", "kind", "true", "false", "left")}
    found = [event("trial_start", 0, detail=said), event("options_on", 500), event("image_on", 1500)]
    found += [event("click", 1600 + n, key="click", detail=dict(n=n, x=x, y=y)) for n, (x, y) in enumerate(places, 1)]
    if label is None: return found
    return [*found, event("response", 4000, key="f", label=label), event("image_off", 4010)]


def start(participant="P1", run=1, radius=.08, at=0.):
    return make_event("run_start", at, run, detail=dict(participant=participant, radius=radius))


def session(plan=PLAN, participant="P1", **options):
    rows = plan.to_dict("records")
    return [start(participant), *(e for k, row in enumerate(rows)
                                  for e in showing(k + 1, row, 100 + 5000*k, label=row["true"], **options))]


# Design

@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(2, 5), st.integers(1, 3), st.integers(0, 9))
def test_every_ordered_pair_has_its_faces_and_every_face_one_pair(classes, per_pair, seed):
    found = clicks.pair_design(corpus("abcde"[:classes]), per_pair, seed)
    assert len(found) == classes*(classes - 1)*per_pair == found.image.nunique()
    assert set(found.groupby(["true", "false"]).size()) == {per_pair} and (found.true != found.false).all()


def test_the_papers_numbers():
    found = clicks.pair_design(corpus("abcdefgh", 40, 8), 5)
    assert len(found) == 280 and set(found.groupby("true").size()) == {35}
    assert list(clicks.trial_order(found, "P1").groupby("block").size()) == [70]*4
    unordered = found.groupby([found[["true", "false"]].min(axis=1), found[["true", "false"]].max(axis=1)]).size()
    assert len(unordered) == 28 and set(unordered) == {10}


@pytest.mark.parametrize("make, message", [
    (lambda: clicks.pair_design(corpus("a")), "a pair needs two classes"),
    (lambda: clicks.pair_design(NOISE, 7), "12 images of 'a', but per_pair=7 needs 14; per_pair=6 is possible"),
    (lambda: clicks.pair_design(NOISE, 0), "per_pair must be 1, 2"),
    (lambda: clicks.trial_order(DESIGN, "P1", blocks=13), "13 blocks for 12 trials"),
    (lambda: clicks.trial_order(DESIGN[:0], "P1"), "4 blocks for 0 trials")])
def test_designs_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=re.escape(message)): make()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.text("abcXYZ019", min_size=1, max_size=5), st.integers(0, 5), st.integers(1, 12), st.integers(0, 3),
       st.integers(0, 3))
def test_plans_are_counted_balanced_and_complete(who, seed, blocks, practice, catch):
    outside = NOISE.names[~np.isin(NOISE.names, DESIGN.image)]
    rows = pd.DataFrame([(n, 0, "a", "b") for n in outside], columns=list(clicks.DESIGN))
    parts = dict(practice=rows[:practice], catch=rows[practice:practice + catch])
    plan = clicks.trial_order(DESIGN, who, blocks, seed, **parts)
    assert plan.equals(clicks.trial_order(DESIGN, who, blocks, seed, **parts))
    assert list(plan.trial) == list(range(1, len(plan) + 1))
    main = plan[plan.kind == "trial"]
    assert sorted(main.image) == sorted(DESIGN.image) and plan.block.is_monotonic_increasing
    assert list(plan.kind[:practice]) == ["practice"]*practice and (plan.block[:practice] == 0).all()
    assert (plan.kind == "catch").sum() == catch and (plan.block[practice:] > 0).all()
    sizes = main.groupby("block").size()
    assert len(sizes) == blocks and sizes.max() - sizes.min() <= 1
    left = (main.left == main.true).groupby(main.true).sum()
    assert ((2*left - main.groupby("true").size()).abs() <= 1).all() and main.left.isin(["a", "b", "c"]).all()


# Stimulus

@pytest.mark.parametrize("side, k", [(48, 15), (64, 20), (96, 30), (224, 70), (31, 31), (30, 30), (9, 1), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_the_mean_over_a_box(side, k, channels):
    image = rng(side, "blur", k).integers(0, 256, (side, side, channels), dtype=np.uint8)
    mean = uniform_filter(image.astype(float), (k, k, 1), mode="mirror")
    assert np.abs(clicks.box_blur(image, k) - mean).max() <= (.5 if k > 16 else 1) + 1e-9


BOXES = [(64, 20), (96, 30), (224, 70), (31, 31), (30, 30), *((48, k) for k in range(1, 20))]

@pytest.mark.parametrize("side, k", BOXES)
def test_stimulus_is_opencvs(side, k):
    cv2 = pytest.importorskip("cv2")
    image = rng(side, "cv2", k).integers(0, 256, (side, side, 3), dtype=np.uint8)
    wanted = cv2.cvtColor(cv2.blur(image, (k, k)), cv2.COLOR_RGB2GRAY)
    assert np.array_equal(clicks.stimulus(image, k)[1], wanted)
    assert np.array_equal(clicks.stimulus(image[..., :1], k)[1], cv2.blur(image[..., 0], (k, k)))


def test_blur_of_the_paper():
    image = rng(0, "k").integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert np.array_equal(clicks.stimulus(image)[1], clicks.stimulus(image, 70)[1])


# Events, trials, clicks

def test_revealed_share_is_that_of_the_discs():
    assert abs(clicks.revealed([.5], [.5], .2) - np.pi*.04) < 2e-3
    assert abs(clicks.revealed([0.], [0.], .2) - np.pi*.01) < 2e-3          # a quarter of a disc
    assert clicks.revealed([.5, .5], [.5, .5], .2) == clicks.revealed([.5], [.5], .2)
    assert clicks.revealed([], [], .2) == 0 and clicks.revealed([.5], [.5], 1) == 1


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=4), st.floats(.01, 1))
def test_revealed_share_counts_pixels(where, radius):
    x, y = np.array(where).T[:, :, None, None]
    row, column = (np.mgrid[:128, :128] + .5)/128
    assert clicks.revealed(x.ravel(), y.ravel(), radius) == ((column - x)**2 + (row - y)**2 <= radius**2).any(0).mean()


places = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=5)

@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(places, min_size=len(PLAN), max_size=len(PLAN)))
def test_clicks_come_out_as_they_went_in_by_csv_and_bids(tmp_path_factory, where):
    folder, rows = tmp_path_factory.mktemp("clicks"), PLAN.to_dict("records")
    log = clicks.events_frame([start(), *(e for k, (row, ps) in enumerate(zip(rows, where))
                                          for e in showing(k + 1, row, 100 + 5000*k, ps, row["false"]))])
    log.to_csv(folder/"P1.csv", index=False)
    file = clicks.save_bids(log, folder/"bids")
    for path in (folder/"P1.csv", file, folder/"bids"): pd.testing.assert_frame_equal(clicks.read_study(path), log)
    found = clicks.clicks(log)
    assert [list(zip(g.x, g.y)) for _, g in found.groupby("trial")] == where and not found.correct.any()
    assert list(clicks.trials(log).clicks) == [len(w) for w in where]


@pytest.mark.parametrize("change, message", [
    (dict(detail='{"n": 1, "x": -0.01, "y": 0.5}'), "must be JSON with n, x, y"),
    (dict(detail='{"n": 1, "x": NaN, "y": 0.5}'), "must be JSON with n, x, y"),
    (dict(detail='{"n": 1.5, "x": 0.1, "y": 0.5}'), "must be JSON with n, x, y"),
    (dict(detail=""), "must be JSON with n, x, y"), (dict(event="clik"), "did you mean 'click'?"),
    (dict(trial=0), "click in run 1, trial 0"), (dict(trial=99), "trial 99 of 12"),
    (dict(image="somebody"), "another seed, or other images?"), (dict(time_ms="soon"), "time_ms is 'soon'"),
    (dict(event="run_start", detail='{"participant": "P1"}'), "must be JSON with participant, radius"),
    (dict(event="trial_start", detail='{"block": 1, "kind": "trail", "true": "a", "false": "b", "left": "a"}'),
     "must be JSON with block, kind"),
    (dict(event="trial_start", detail='{"block": 1, "kind": "trial", "true": "a", "false": "a", "left": "a"}'),
     "there must be two labels"),
    (dict(event="response", label="z"), "not 'z'"), (dict(event="response"), "a response without a label")])
def test_events_that_do_not_fit(change, message):
    rows = PLAN.to_dict("records")
    good = make_event("click", 5, 1, 1, rows[0]["image"], detail=dict(n=1, x=.1, y=1))
    assert clicks.as_event(good, rows)["time_ms"] == 5
    with pytest.raises(ValueError, match=re.escape(message)): clicks.as_event(good | change, rows)


def test_logs_of_another_participant_or_study_are_refused():
    events, other = session(), clicks.trial_order(DESIGN, "P2", blocks=3).to_dict("records")
    with pytest.raises(ValueError, match="another seed, or other images|another participant, seed or design"):
        for e in events: clicks.as_event(e, other)
    with pytest.raises(ValueError, match="image 'f.*' is not in the design; another study?"):
        clicks.check_design(clicks.events_frame(events), DESIGN[:-1])
    swapped = DESIGN.assign(false=np.where(DESIGN.true == "a", "d", DESIGN.false))
    with pytest.raises(ValueError, match="the design has a and d; another study?"):
        clicks.check_design(clicks.events_frame(events), swapped)


ROW = PLAN.to_dict("records")[0]
NEXT = start(run=2, at=9000.)

@pytest.mark.parametrize("events, message", [
    ([start(), *showing(1, ROW, 10, label="z")], "answered 'z'"),
    ([start(), *showing(1, ROW, 10, label=ROW["true"]), NEXT, *showing(1, ROW, 9900, label=ROW["true"], run=2)],
     "run 2, trial 1: answered twice"),
    ([start(), *showing(1, ROW, 10, label=ROW["true"]),
      make_event("response", 4100, 1, 1, ROW["image"], label=ROW["true"])], "run 1, trial 1: answered twice"),
    ([start(), *showing(1, ROW, 10, label=ROW["true"]),
      make_event("click", 4100, 1, 1, ROW["image"], detail=dict(n=2, x=0, y=0))], "a click while the face was not"),
    ([start(), make_event("click", 9, 1, 1, ROW["image"], detail=dict(n=1, x=0, y=0)), *showing(1, ROW, 10)],
     "without a trial_start"),
    ([start(), *showing(1, ROW, 10, label=ROW["true"], places=())[:3],
      make_event("click", 1700, 1, 1, ROW["image"], detail=dict(n=2, x=0, y=0))], "do not count 1, 2"),
    ([start(), start("P2", 2, at=5.)], "participants P1, P2 in one log"),
    (showing(1, ROW, 10), "run 1 has no run_start"),
    ([start(), *[e for e in showing(1, ROW, 10) if e["event"] != "options_on"]], "phases trial_start, image_on"),
    ([start(), *showing(1, ROW, 10), NEXT, *showing(1, ROW | {"image": "other"}, 9900, run=2)],
     "two studies in one log")])
def test_logs_that_cannot_be(events, message):
    with pytest.raises(ValueError, match=re.escape(message)): clicks.events_frame(events)


def test_a_trial_that_was_stopped_counts_once_and_is_marked():
    rows, hidden = PLAN.to_dict("records"), make_event("hidden", 9000 + 1700, 2, 2, PLAN.image[1])
    events = [start(), *showing(1, rows[0], 10, label=rows[0]["true"]), *showing(2, rows[1], 5000, [(.1, .1)]*3),
              make_event("stop", 8000, 1, 2, rows[1]["image"], detail="escape"), NEXT,
              *showing(2, rows[1], 9000, label=rows[1]["false"], run=2), hidden,
              make_event("ignored", 9800, 2, 2, rows[1]["image"], detail="early")]
    log = clicks.events_frame(events)
    found = clicks.trials(log)
    assert found[["trial", "clicks", "correct", "interrupted"]].values.tolist() == [[1, 1, True, False],
                                                                                    [2, 1, False, True]]
    assert len(clicks.clicks(log)) == 2
    part = clicks.participation(log, DESIGN).iloc[0]
    assert (part.answered, part.missing, part.stopped, part.ignored, part.interrupted) == (2, 10, 1, 1, 1)
    assert part.accuracy == .5


def test_catch_and_practice_are_kept_apart():
    rows = [ROW | {"kind": "practice", "block": 0}, ROW | {"kind": "catch", "image": "x"}, ROW | {"image": "y"}]
    events = [start(), *(e for k, row in enumerate(rows) for e in showing(k + 1, row, 10 + 5000*k, label=row["true"]))]
    events.append(make_event("catch", 5000 + 1510, 1, 2, "x"))
    log = clicks.events_frame(events)
    assert [list(clicks.trials(log, kind).image) for kind in clicks.KINDS] == [["y"], [ROW["image"]], ["x"]]
    assert clicks.trials(log, "catch").revealed[0] == 1
    with pytest.raises(ValueError, match="did you mean 'catch'?"): clicks.trials(log, "cach")


# Files

@pytest.mark.parametrize("old, new, message", [
    ("options_on", "option_on", "line 4: unknown event 'option_on'"),
    (",100.0,", ",soon,", "line 3: time_ms is 'soon'"),
    ("time_ms", "times_ms", "no column 'time_ms'"), ("run_start", "run_end", "run 1 has no run_start")])
def test_a_csv_file_that_was_edited_is_named_with_the_line(tmp_path, old, new, message):
    file = tmp_path/"P1.csv"
    file.write_text(clicks.events_frame(session()).to_csv(index=False).replace(old, new, 1))
    with pytest.raises(ValueError, match=f"P1.csv.*{message}"): clicks.read_study(file)


@pytest.mark.parametrize("old, new, message", [
    ("\toptions_on", "\toption_on", "line 4: unknown event"),
    ("\t0.5\t", "\t0.6\t", "x is 0.6, but the other columns say 0.5"),
    ("onset", "onsets", "no column 'onset'"), ("0.0\tn/a", "0.0", "line 2: 14 values for 15 columns"),
    ("\t2.5\t", "\t3.5\t", "is 3.5, but the other columns say 2.5")])
def test_a_bids_file_that_was_edited_is_named_with_the_line(tmp_path, old, new, message):
    file = clicks.save_bids(clicks.events_frame(session()), tmp_path)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=f"sub-P1_task-clickreveal_events.tsv.*{message}"): clicks.read_study(tmp_path)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_a_damaged_file_is_refused_or_means_the_same(tmp_path_factory, data):
    "A line lost, doubled or swapped with another, or a character changed: a ValueError, never another set of clicks."
    log, folder = clicks.events_frame(session()), tmp_path_factory.mktemp("damaged")
    lines = log.to_csv(index=False, lineterminator="\n").splitlines()
    k, j = (data.draw(st.integers(1, len(lines) - 1)) for _ in "kj")
    how = data.draw(st.sampled_from(["lose", "double", "swap"]))
    if how == "lose": del lines[k]
    elif how == "double": lines.insert(k, lines[k])
    else: lines[k], lines[j] = lines[j], lines[k]
    (folder/"P1.csv").write_text("\n".join(lines) + "\n")
    try: found = clicks.read_study(folder/"P1.csv", DESIGN)
    except ValueError as error:
        assert str(folder/"P1.csv") in str(error)
        return
    right = clicks.trials(log).set_index("trial")
    for row in clicks.trials(found).itertuples():            # what is left is what was answered
        assert row.label == right.label[row.trial] and row.correct == right.correct[row.trial]
    part = clicks.participation(found, DESIGN).iloc[0]
    assert part.answered + part.missing == len(DESIGN)


def test_folders_of_participants(tmp_path):
    with pytest.raises(FileNotFoundError): clicks.read_study(tmp_path/"none")
    with pytest.raises(ValueError, match="no CSV file"): clicks.read_study(tmp_path)
    for who in ("P1", "P2"):
        plan = clicks.trial_order(DESIGN, who)
        clicks.events_frame(session(plan, who)).to_csv(tmp_path/f"{who}.csv", index=False)
        clicks.save_bids(clicks.events_frame(session(plan, who)), tmp_path/"bids", age=20)
    both = clicks.read_study(tmp_path, DESIGN)
    pd.testing.assert_frame_equal(both, clicks.read_study(tmp_path/"bids", DESIGN))
    assert list(clicks.participation(both, DESIGN).answered) == [12, 12]
    (tmp_path/"copy.csv").write_bytes((tmp_path/"P1.csv").read_bytes())
    with pytest.raises(ValueError, match="participant P1 is in .*; keep one of the two"): clicks.read_study(tmp_path)


def test_bids_describes_itself(tmp_path):
    log = clicks.events_frame(session())
    clicks.save_bids(log, tmp_path, age=24); clicks.save_bids(log, tmp_path, sex="F")
    said = json.loads((tmp_path/"task-clickreveal_events.json").read_text())
    assert set(clicks.BIDS) < set(said) and said["trial_type"]["Levels"]["click"]
    assert (tmp_path/"participants.tsv").read_text() == "participant_id\tsex\nsub-P1\tF\n"
    assert json.loads((tmp_path/"dataset_description.json").read_text())["BIDSVersion"]
    rows = pd.read_csv(tmp_path/"sub-P1"/"beh"/"sub-P1_task-clickreveal_events.tsv", sep="\t", na_values="n/a",
                       quoting=3)
    assert list(rows.columns[:2]) == ["onset", "duration"] and rows.onset.is_monotonic_increasing
    assert np.allclose(rows.duration.dropna(), 2.51) and np.allclose(rows.response_time.dropna(), 2.5)
    with pytest.raises(ValueError, match="letters and digits alone"):
        clicks.save_bids(clicks.events_frame(session(participant="P 1")), tmp_path)


def test_a_log_of_the_labelling_study_is_not_taken(tmp_path):
    row = make_event("run_start", 0, detail=dict(annotator="A1", utc_offset_min=0, fullscreen=True))
    study.events_frame([row]).to_csv(tmp_path/"A1.csv", index=False)
    with pytest.raises(ValueError, match="A1.csv line 2: the detail of run_start must be JSON with participant"):
        clicks.read_study(tmp_path/"A1.csv")


# The Python half of the widget

SIDE = 192    # pixels; places in eighths are whole pixels, at a device pixel ratio of 2 as well
FACES = corpus("abc", 5, SIDE)
PAIRS = clicks.pair_design(FACES, 1)
QUICK = dict(practice=1, catch=1, blocks=2, square_px=SIDE, blank_ms=50, options_ms=50, consent="I take part.")


def a_study(**options): return clicks.ClickStudy(FACES, PAIRS, "P1", **QUICK | options)


@pytest.mark.parametrize("change, message", [
    (dict(participant="P 1"), "letters and digits alone"), (dict(radius=0), "radius must be"),
    (dict(blocks=7), "7 blocks for 6 trials"), (dict(practice=10), "need 11 faces outside the design"),
    (dict(practice=.5), "practice must be a whole number"), (dict(keys="ff"), "occurs twice"),
    (dict(keys="f"), "1 keys for 2 classes"), (dict(max_clicks=0), "max_clicks must be"),
    (dict(refractory_ms=-1), "refractory_ms must be"), (dict(square_px=8), "square_px must be"),
    (dict(background="grey"), "background must be"), (dict(design=PAIRS.drop(columns="false")), "no column 'false'"),
    (dict(design=PAIRS.assign(index=0)), "is not image 0 of"), (dict(design=PAIRS.assign(false="z")), "not z; it is"),
    (dict(corpus=FACES[::2]), "was it made for another?")])
def test_studies_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        clicks.ClickStudy(**dict(corpus=FACES, design=PAIRS, participant="P1") | QUICK | change)


def test_a_study_goes_on_behind_its_own_file_alone(tmp_path):
    widget = a_study()
    rows = widget.plan.to_dict("records")
    log = [start(), *(e for k in range(3) for e in showing(k + 1, rows[k], 100 + 5000*k, label=rows[k]["true"]))]
    clicks.events_frame(log).to_csv(tmp_path/"P1.csv", index=False)
    assert len(a_study(events=tmp_path/"P1.csv").trials("practice")) == 1
    for change in (dict(radius=.1), dict(seed=1)):
        with pytest.raises(ValueError, match="P1.csv: .*another (study|seed|participant)"):
            a_study(events=tmp_path/"P1.csv", **change)
    with pytest.raises(ValueError, match="participant 'P1', but this study has 'P2'"):
        clicks.ClickStudy(FACES, PAIRS, "P2", **QUICK, events=tmp_path/"P1.csv")


def test_the_file_is_whole_and_loads_nothing(tmp_path):
    a_study().to_html(tmp_path/"P1.html")
    page = (tmp_path/"P1.html").read_text()
    code = clicks.study.script("clicks")
    assert code.removesuffix("export default widget;") in page and not re.search(r"(src|href)=", page)
    assert not re.search(r"https?:|//cdn|@import|\bimport\b|\bfetch\(|XMLHttp|<script|</script|url\(", code)
    assert json.loads(re.search('id="study">(.*?)</script>', page)[1])["settings"]["names"] == a_study().names
    with pytest.raises(ValueError, match="letters and digits"): a_study().to_html(tmp_path/"all.html", ["P1", "P 2"])
    with pytest.raises(ValueError, match="no participants"): a_study().to_html(tmp_path/"all.html", [])
    with pytest.raises(ValueError, match="'P1' occurs twice"): a_study().to_html(tmp_path/"all.html", ["P1", "P1"])


# In the browser

@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if not study_browser.chromium(): pytest.skip("needs Chromium: apt-get install chromium")
    with ExitStack() as stack: yield study_browser.Browser(tmp_path_factory.mktemp("browser"), stack)


def places_of(trial): return [((trial % 5 + 1)/8, .5), ((trial % 3 + 4)/8, (trial % 4 + 2)/8)]


def enter_study(tab, consent=True, view=0):
    tab.until(f"!!document.querySelectorAll('.rbdm-view')[{view}]")
    tab.click_button("in this window", f"document.querySelectorAll('.rbdm-view')[{view}]")
    if consent:
        tab.until(card("I take part."))
        tab.click_button("I agree", STAGE)
    tab.until(card("to come"))
    tab.js(WATCH)
    tab.key(" ")


def click_face(tab, x, y):
    left, top, width, height = tab.js(f"(() => {{ const r = {STAGE}.querySelector('canvas').getBoundingClientRect(); "
                                      "return [r.x, r.y, r.width, r.height] })()")
    tab.click(left + x*width, top + y*height)


def canvas(tab):
    url = tab.js(f"{STAGE}.querySelector('canvas').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")).astype(int)


def check_canvas(tab, row, places, radius=.08):
    "Inside the discs the original, outside the hidden picture, but for a ring of a pixel."
    original, hidden = clicks.stimulus(FACES.images[row["index"]])
    centre = (np.arange(SIDE) + .5)/SIDE
    away = np.min([np.hypot(centre[None] - x, centre[:, None] - y) for x, y in places] or [np.ones((SIDE, SIDE))], 0)
    seen, inside, outside = canvas(tab), away < radius - 1/SIDE, away > radius + 1/SIDE
    assert (seen[inside] == original[inside]).all() and (seen[outside] == hidden[outside][:, None]).all()


def answer(tab, row, n, by="key"):
    "Click at the trial's places, look at the canvas each time, give the true label."
    image(tab, n)
    right, wrong = row["true"], row["false"]
    labels = tab.js(f"[...{STAGE}.querySelectorAll('.options button')].map(b => b.lastChild.data)")
    assert labels == ([right, wrong] if row["left"] == right else [wrong, right])
    places = places_of(row["trial"])
    if row["kind"] != "catch":
        check_canvas(tab, row, [])
        for k, place in enumerate(places, 1):
            click_face(tab, *place)
            check_canvas(tab, row, places[:k])
    if by == "button": tab.click_button(row["true"], f"{STAGE}.querySelector('.options')")
    else: tab.key("f" if row["left"] == row["true"] else "j")
    for text in ("It was", "Now it counts")*(row["kind"] == "practice"):
        tab.until(card(text))
        tab.key(" ")


def finish_from(tab, rows, first=0, shown=0):
    for n, row in enumerate(rows[first:], 1):
        if n > 1 and row["block"] > rows[first + n - 2]["block"] > 0:
            tab.until(card("Take a break"))
            tab.key(" ")
        answer(tab, row, shown + n, "button" if row["trial"] % 2 else "key")
    tab.until(card("Thank you"))


def said(events):
    "What must be the same however the study was run: everything but times, browser and place on the screen."
    return [(e.run, e.trial, e.image, e.event, e.key, e.label, e.detail if e.event == "click" else "")
            for e in events.itertuples()]


def expected_clicks(rows):
    return [(r["trial"], r["image"], n, x, y) for r in rows if r["kind"] == "trial"
            for n, (x, y) in enumerate(places_of(r["trial"]), 1)]


def run_as_file(browser, folder, ratio):
    "The whole study in one page, from a file, at a device pixel ratio; its events."
    folder.mkdir()
    a_study().to_html(folder/"P1.html")
    tab = browser.tab((folder/"P1.html").as_uri())
    tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder/"downloads"))
    tab.call("Emulation.setDeviceMetricsOverride", width=0, height=0, deviceScaleFactor=ratio, mobile=False)
    enter_study(tab)
    finish_from(tab, a_study().plan.to_dict("records"))
    assert tab.js("devicePixelRatio") == ratio and not tab.console
    file = download(tab, folder)
    tab.js("localStorage.clear()")
    return clicks.read_study(file, PAIRS)


@pytest.fixture(scope="module")
def by_file(browser, tmp_path_factory): return run_as_file(browser, tmp_path_factory.mktemp("file")/"one", 1)


@pytest.mark.timeout(600)
def test_as_a_file(by_file):
    rows = a_study().plan.to_dict("records")
    found = clicks.clicks(by_file)
    assert list(found[["trial", "image", "n", "x", "y"]].itertuples(index=False, name=None)) == expected_clicks(rows)
    table = clicks.trials(by_file)
    assert table.correct.all() and list(table.image) == [r["image"] for r in rows if r["kind"] == "trial"]
    assert (table.time_ms > 0).all() and (table.response_ms > table.time_ms).all() and not table.interrupted.any()
    assert clicks.trials(by_file, "catch").correct.all() and len(clicks.trials(by_file, "practice")) == 1
    kinds = [e for e in by_file.event if e not in clicks.PHASES and e not in ("click", "response", "ignored")]
    catch = next(r["block"] for r in rows if r["kind"] == "catch")
    assert kinds == ["run_start", "consent", "practice_start", "practice_end", "block_start", *["catch"]*(catch == 1),
                     "block_end", "break", "block_start", *["catch"]*(catch == 2), "block_end", "run_end"]
    part = clicks.participation(by_file, PAIRS).iloc[0]
    assert (part.answered, part.missing, part.stopped, part.catch_correct) == (6, 0, 0, 1)


@pytest.mark.timeout(600)
def test_events_are_the_same_at_twice_the_pixel_ratio(browser, by_file, tmp_path):
    assert said(run_as_file(browser, tmp_path/"two", 2)) == said(by_file)


@pytest.mark.timeout(600)
def test_a_reload_in_the_middle_loses_nothing(browser, tmp_path):
    rows = a_study().plan.to_dict("records")
    a_study().to_html(tmp_path/"P1.html")
    tab = browser.tab((tmp_path/"P1.html").as_uri())
    tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path/"downloads"))
    tab.until("!!document.querySelector('.rbdm-view')")
    tab.click_button("in this window", "document.querySelector('.rbdm-view')")
    tab.until(card("I take part."))
    tab.click_button("I do not agree", STAGE)
    tab.until(card("Nothing was recorded"))
    assert tab.js("Object.values(localStorage).every(v => JSON.parse(v).log.length === 0)")
    tab.click_button("Close", STAGE)
    enter_study(tab)
    answer(tab, rows[0], 1)
    answer(tab, rows[1], 2)
    image(tab, 3)
    tab.key("f")                                        # no click yet
    tab.click(5, 5)                                     # outside
    tab.key("x")
    click_face(tab, .25, .25)
    tab.reload()
    tab.until("document.querySelector('.rbdm-view')?.innerText.includes('2 of 8 faces answered')")
    enter_study(tab, consent=False)                     # given already
    image(tab, 1)
    tab.key("Escape")
    tab.until(card("2 of 8 faces are answered"))
    tab.click_button("Continue", STAGE)
    tab.until(card("to come"))
    tab.key(" ")
    finish_from(tab, rows, 2, shown=1)
    found = clicks.read_study(download(tab, tmp_path), PAIRS)
    tab.js("localStorage.clear()")
    table = clicks.trials(found)
    assert list(clicks.clicks(found)[["trial", "image", "n", "x", "y"]].itertuples(index=False, name=None)) == (
        expected_clicks(rows))
    stopped = found[(found.run == 1) & (found.trial == 3)]
    assert list(stopped.event)[:3] == ["trial_start", "options_on", "image_on"]
    assert list(stopped.detail[stopped.event == "ignored"]) == ["no click yet", "outside", "unknown key"]
    assert (stopped.event == "click").sum() == 1
    assert list(table.interrupted) == [r["trial"] == 3 for r in rows if r["kind"] == "trial"]
    assert (found.event == "consent").sum() == 1 and list(found.detail[found.event == "stop"]) == ["escape"]
    assert clicks.participation(found, PAIRS).stopped[0] == 2


@pytest.mark.timeout(600)
def test_limits_calibration_and_age(browser, tmp_path):
    options = dict(persist=False, max_clicks=2, allow_blind=True, calibrate=True, square_px=None, size_deg=4.5,
                   consent="", practice=0, catch=0, blocks=1, max_age=1, feedback=True)
    widget = a_study(**options)
    rows = widget.plan.to_dict("records")
    widget.to_html(tmp_path/"P1.html")
    tab = browser.tab((tmp_path/"P1.html").as_uri())
    tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path/"downloads"))
    tab.until("!!document.querySelector('.rbdm-view')")
    tab.click_button("in full screen")
    tab.until(card("bank card"))
    tab.js(f"(s => {{ s.value = 428; s.dispatchEvent(new Event('input')); }})({STAGE}.querySelector('input'))")
    assert tab.js(f"{STAGE}.querySelector('.bank-card').getBoundingClientRect().width") == 428
    tab.key(" ")                                        # does not fit yet
    tab.click_button("It fits", STAGE)
    tab.until(card("to come"))
    tab.js(WATCH)
    tab.key(" ")
    image(tab, 1)
    side = 2*57*np.tan(np.radians(2.25))*50             # 428 pixels for 8.56 cm
    assert tab.js(f"{STAGE}.querySelector('canvas').width") == round(side)
    for place in ((.25, .25), (.75, .75), (.5, .5)): click_face(tab, *place)
    seen = canvas(tab)
    grey = (seen == seen[..., :1]).all(-1)
    near = lambda x, y: not grey[int(y*side) - 3:int(y*side) + 4, int(x*side) - 3:int(x*side) + 4].all()
    assert [near(.25, .25), near(.75, .75), near(.5, .5)] == [False, True, False]
    tab.key("f")
    tab.until(card("It was"))
    tab.key(" ")
    image(tab, 2)
    tab.key("j")                                        # without a click
    tab.until(card("It was"))
    tab.js("document.exitFullscreen()")
    tab.until(card("2 of 6 faces are answered"))
    tab.click_button("Close", STAGE)
    key = tab.js("Object.keys(localStorage)[0]")
    tab.js(f"localStorage.setItem({key!r}, localStorage.getItem({key!r}).replace(/\"epoch_ms\":(\\d+)/g, "
           "(_, t) => `\"epoch_ms\":${t - 3601e3}`))")
    kept = json.loads(tab.js(f"localStorage.getItem({key!r})"))["log"]
    tab.reload()
    tab.until("document.querySelector('.rbdm-view')?.innerText.includes('too long ago')")
    tab.click_button("Begin anew")
    tab.until("document.querySelector('.rbdm-view')?.innerText.includes('0 of 6 faces answered')")
    assert kept in [json.loads(v) for v in tab.js("Object.values(localStorage)")]
    tab.js("localStorage.clear()")
    table = clicks.trials(clicks.events_frame([clicks.as_event(e, rows) for e in kept]))
    assert list(table.clicks) == [2, 0] and np.isnan(table.time_ms[1]) and table.revealed[1] == 0
    details = [e["detail"] for e in kept]
    assert "limit" in details and "left full screen" in details
    about = json.loads(details[0])
    assert about["calibrated"] and about["px_per_cm"] == 50 and about["fullscreen"]
    assert abs(about["px_per_deg"] - 2*57*np.tan(np.radians(.5))*50) < 1e-3


@pytest.mark.timeout(600)
def test_in_jupyterlab_as_in_a_file_and_behind_a_reload(by_file, tmp_path):
    rows, tests = a_study().plan.to_dict("records"), str(Path(__file__).parent)
    cells = (f"import sys\nsys.path.insert(0, {tests!r})\nimport test_clicks\none = test_clicks.a_study()\none",
             "two = test_clicks.a_study()\ntwo")
    with study_browser.lab_and_browser(tmp_path) as (lab, browser):
        lab.notebook("clicks.ipynb", *cells)
        tab = browser.tab(lab.url("clicks.ipynb"))
        study_browser.run_all(tab)
        tab.until("document.querySelectorAll('.rbdm-view').length === 2")
        kernel = lab.kernel()
        enter_study(tab)
        finish_from(tab, rows)
        tab.click_button("Close", STAGE)
        enter_study(tab, view=1)
        answer(tab, rows[0], 1)
        answer(tab, rows[1], 2)
        image(tab, 3)
        click_face(tab, .25, .25)
        last = lambda: study_browser.value(kernel, "[e['event'] for e in two._log][-1]")
        study_browser.wait(lambda: last() == "click", "a click")
        tab.js("jupyterapp.commands.execute('docmanager:save').then(() => true)")
        tab.reload()
        tab.until("document.querySelectorAll('.rbdm-view')[1]?.innerText.includes('2 of 8')")
        enter_study(tab, consent=False, view=1)
        finish_from(tab, rows, 2)
        study_browser.value(kernel, f"[one.save_csv(r'{tmp_path}/one.csv'), str(two.save_bids(r'{tmp_path}/bids'))]")
    assert said(clicks.read_study(tmp_path/"one.csv", PAIRS)) == said(by_file)
    behind = clicks.read_study(tmp_path/"bids", PAIRS)
    assert list(clicks.clicks(behind)[["trial", "image", "n", "x", "y"]].itertuples(index=False, name=None)) == (
        expected_clicks(rows))
    assert list(clicks.trials(behind).interrupted) == [r["trial"] == 3 for r in rows if r["kind"] == "trial"]


@pytest.mark.timeout(600)
def test_one_file_for_several_participants(browser, tmp_path):
    a_study().to_html(tmp_path/"all.html", ["P1", "P2"])
    plan = clicks.ClickStudy(FACES, PAIRS, "P2", **QUICK).plan.to_dict("records")
    for query in ("", "?participant=P2", "?participant=P3"):
        tab = browser.tab((tmp_path/"all.html").as_uri() + query)
        tab.until("!!document.querySelector('.rbdm-view')")
        if query != "?participant=P2":
            told = tab.js("document.querySelector('.alert').innerText")
            assert told == ("There is no participant P3." if query else "")
            tab.js("document.querySelector('select').value = 'P2'")
            tab.click_button("Go on")
        enter_study(tab)
        answer(tab, plan[0], 1)
        image(tab, 2)
        state = json.loads(tab.js("Object.values(localStorage)[0]"))
        tab.js("localStorage.clear()")
        assert json.loads(state["log"][0]["detail"])["participant"] == "P2"
        assert state["log"][-1]["image"] == plan[1]["image"]

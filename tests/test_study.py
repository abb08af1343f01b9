"""The labelling study: its files and its Python half here; the whole of it in JupyterLab, run by headless Chromium,
below."""
import io, json, re, time
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
import study_browser
from study_browser import CELLS, STAGE, WATCH, card, download, image, open_stage, visible
from rbdm_nb.gaze import formats, recordings, study
from rbdm_nb.corpora import synthetic
from rbdm_nb.corpora.datasets import EXPRESSIONS
from rbdm_nb.corpora.images import LazyImages
from rbdm_nb.reproducibility import rng

FRAME = 1000/60
GREY = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)


def event(kind, time, trial=0, image="", run=1, **more):
    detail = {"run_start": json.dumps(dict(annotator="A1", utc_offset_min=120, fullscreen=True)),
              "trial_start": json.dumps(dict(image_rect=[680, 120, 1200, 1200], fullscreen=True))}.get(kind, "")
    return dict(run=run, trial=trial, image=image, event=kind, time_ms=time, epoch_ms=1.7e12 + time, key="", label="",
                longest_frame_ms=FRAME if kind in study.PHASES else None, detail=detail) | more


def trial(k, image, start=0., label="happy", run=1, answer=900.):
    shown = [event(kind, start + t, k, image, run) for kind, t in zip(study.PHASES, (0, 500, 700, 1200))]
    return [*shown, event("response", start + 1200 + answer, k, image, run, key="2", label=label),
            event("image_off", start + 1210 + answer, k, image, run)]


def session(names, **options):
    return [event("run_start", 0), *(e for k, name in enumerate(names)
                                     for e in trial(k + 1, name, 50 + 3000*k, **options))]


# Events

@pytest.mark.parametrize("change, message", [
    (dict(event="response", label="hapy"), "unknown label 'hapy'; did you mean 'happy'?"),
                                             (dict(event="response"), "without a label"),
    (dict(event="imageon"), "did you mean 'image_on'?"), (dict(time_ms="nan"), "time_ms is 'nan', not a number"),
                                             (dict(epoch_ms=None), "epoch_ms is None"),
    (dict(trial="1.5"), "trial is '1.5', not a whole number"), (dict(trial=0, image=""), "trial 0; both count from 1"),
                                             (dict(run=0), "run 0"),
    (dict(trial=3), "trial 3 of 2"), (dict(image="b"), "trial 1 shows 'a', not 'b'"),
                                             (dict(event="trial_start", detail="{"), "must be JSON"),
    (dict(event="trial_start", detail='{"image_rect": [1, 2, 3], "fullscreen": true}'), "must be JSON with image_rect"),
    (dict(event="run_start", detail='{"utc_offset_min": "x", "fullscreen": true}'),
     "must be JSON with fullscreen, utc_offset_min"), (dict(mood=1), "an event has the columns")])
def test_events_that_do_not_fit(change, message):
    good = event("image_on", 10, 1, "a")
    assert study.as_event(good, ["a", "b"], EXPRESSIONS)["time_ms"] == 10
    with pytest.raises(ValueError, match=re.escape(message)): study.as_event(good | change, ["a", "b"], EXPRESSIONS)


@pytest.mark.parametrize("drop, message", [("run_start", "run 1 has no run_start"),
                                           ("cross_on", "phases trial_start, cross_off"),
                                           ("image_on", "phases trial_start, cross_on, cross_off, image_off")])
def test_phases_must_be_there_and_in_order(drop, message):
    with pytest.raises(ValueError, match=message): study.events_frame([e for e in session("ab") if e["event"] != drop])


def test_a_trial_is_shown_once_in_a_run_and_before_it_is_labelled():
    with pytest.raises(ValueError, match="its image was never on"):
        study.events_frame([e for e in session("a") if e["event"] not in ("image_on", "image_off")])
    with pytest.raises(ValueError, match="image_off, trial_start, "):
        study.events_frame(session("a") + trial(1, "a", 9000))


def test_a_file_that_was_edited_is_named_with_the_line(tmp_path):
    file = tmp_path/"events.csv"
    text = study.events_frame(session("ab")).to_csv(index=False)
    for old, new, message in (("cross_on", "cros_on", "events.csv line 4: unknown event"),
                              (",50.0,", ",soon,", "events.csv line 3: time_ms is 'soon'"),
                              ("time_ms", "times_ms", "no column 'time_ms'"), ("happy", "happy,", "line 7: 11 fields"),
                              ("run_start", "run_end", "events.csv: run 1 has no run_start")):
        file.write_text(text.replace(old, new, 1))
        with pytest.raises(ValueError, match=message): study.read_events(file)
    file.write_text("")
    with pytest.raises(ValueError, match="no column 'run'"): study.read_events(file)
    with pytest.raises(FileNotFoundError): study.read_events(tmp_path/"none.csv")


NAMES = st.lists(st.text(min_size=1, max_size=12).filter(lambda s: s.strip() and s.isprintable()), min_size=1,
                 max_size=4, unique=True)

@settings(max_examples=30, deadline=None, derandomize=True)
@given(NAMES)
def test_any_names_survive_the_files(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("names")
    widget = study.LabellingStudy([GREY]*len(names), names, annotator="A, \"1\"")
    assert sorted(widget.names) == sorted(names)
    widget._log = study.events_frame(session(widget.names)).to_dict("records")
    widget.save_csv(folder/"events.csv"); widget.save_msg(folder/"messages.tsv")
    pd.testing.assert_frame_equal(study.read_events(folder/"events.csv", widget.names, EXPRESSIONS), widget.events)
    shown = [l.split("\t", 3)[3] for l in (folder/"messages.tsv").read_text().split("\n")[:-1]]
    assert [t[len("image_on "):] for t in shown if t.startswith("image_on ")] == widget.names


def test_trials_of_an_interrupted_study():
    first = [e for e in trial(2, "b", 3000) if e["event"] in ("trial_start", "cross_on", "cross_off", "image_on")]
    again = [event("run_start", 100, run=2), *trial(2, "b", 200, "fear", run=2)]
    hidden = [event("hidden", 1000, 2, "b", run=2), event("visible", 1050, 2, "b", run=2),
              event("ignored", 300, 2, "b", run=2, detail="early")]
    table = study.trials(study.events_frame(session("a") + first + [event("stop", 5000, 2, "b")] + hidden + again))
    assert table[["run", "trial", "image", "label", "interrupted", "ignored"]].values.tolist() == [[1, 1, "a", "happy",
            False, 0], [2, 2, "b", "fear", True, 1]]
    assert np.allclose(table[["blank_ms", "cross_ms", "second_blank_ms", "response_ms", "label_ms"]],
                       [[500, 200, 500, 900, 900]]*2)
    assert study.trials(study.events_frame([])).empty


# Messages

def test_messages_have_the_annotators_clock():
    events = study.events_frame([e | {"epoch_ms": 1.7e12 - 0.6 + e["time_ms"]} for e in session("a")])
    lines = study.messages(events)
    assert lines[0] == "MSG\t2023-11-15 00:13:19.999\t\tannotator A1" and lines[
        2] == "MSG\t2023-11-15 00:13:20.49\t\ttrial_start a"
    assert all(re.fullmatch(r"MSG\t\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{1,3}\t\t\S.*", l) for l in lines)


def test_the_place_of_the_image_is_said_when_it_changes_and_only_in_full_screen():
    moved = json.dumps(dict(image_rect=[0, 0, 600.5, 600.5], fullscreen=True))
    events = session("abc")
    events[7]["detail"] = events[13]["detail"] = moved
    texts = [l.split("\t")[3] for l in study.messages(study.events_frame(events))]
    assert [t for t in texts if t.startswith("image_rect")] == ["image_rect 680 120 1200 1200",
                                                                "image_rect 0 0 600.5 600.5"]
    assert texts.index("image_rect 0 0 600.5 600.5") + 1 == texts.index("trial_start b")
    for e in events: e["detail"] = e["detail"].replace("true", "false")
    with pytest.warns(UserWarning, match="not in full screen"): texts = study.messages(study.events_frame(events))
    assert not any("image_rect" in t for t in texts)


def tracker_log(path, start, end, offset_min):
    """PyTribe's log of a tracker at 60 Hz from `start` to `end` (ms since 1970), in a time zone; it looks at the
    middle of the screen."""
    rows, clock = ["\t".join(formats.HEADER)], 5_000_000
    for k, t in enumerate(np.arange(start, end, FRAME)):
        seconds, ms = divmod(int(t + offset_min*60_000), 1000)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + f".{ms:03d}"
        rows.append("\t".join(map(str, [stamp, int(t - start) + clock, True, 7, *(1280, 720)*2, 20,
                                        *(1280, 720, 1280, 720, 20, .5, .5)*2])))
    path.write_text("\n".join(rows) + "\n")


def check_recording(events, folder):
    "A recording is cut into trials by the study's messages as the study had them."
    start, place = events.epoch_ms.iloc[0] - 1000, json.loads(events.detail[events.event == "run_start"].iloc[0])
    tracker_log(folder/"tracker.tsv", start, events.epoch_ms.iloc[-1] + 1000, place["utc_offset_min"])
    (folder/"messages.tsv").write_text("".join(l + "\n" for l in study.messages(events)))
    cut, table = recordings.read(folder/"tracker.tsv", messages=folder/"messages.tsv").trials(), study.trials(events)
    cut = [t for t in cut if t.complete and t.label]
    assert [(t.image, t.label) for t in cut] == list(zip(table.image, table.label))
    ons, offs = (events.epoch_ms[(events.event == e)].to_numpy() for e in ("image_on", "image_off"))
    ons = table.image_on_epoch_ms.to_numpy()
    offs = np.array([min(o for o in offs if o > on) for on in ons])
    assert np.allclose([t.onset for t in cut], ons - start, atol=2.5) and np.allclose([t.offset for t in cut],
            offs - start, atol=2.5)
    for t in cut: assert abs(len(t.samples) - (t.offset - t.onset)/FRAME) <= 1.01
    return cut


def test_a_recording_is_cut_by_the_messages(tmp_path):
    panel = trial(3, "c d", 7000, "fear")
    panel[4] |= dict(event="advance", key="space", label="")
    panel.append(event("response", 12_000, 3, "c d", label="fear", key="click"))
    stopped = ([e for e in trial(4, "e", 13_000) if e["event"] in ("trial_start", "cross_on", "cross_off", "image_on")]
               + [event("stop", 15_000, 4, "e")])
    cut = check_recording(study.events_frame(session("ab") + panel + stopped), tmp_path)
    assert [t.image for t in cut] == ["a", "b", "c d"] and [t.rect for t in cut] == [(680, 120, 1200, 1200)]*3


# The Python half of the widget

def browser_of(widget):
    "A stand-in for the page: sends a message, gives (reply, buffers)."
    def ask(kind, client="page 1", **content):
        said = []
        widget.send = lambda reply, buffers=None: said.append((reply, buffers))
        widget._receive(widget, dict(kind=kind, id="1", client=client, **content), [])
        json.dumps(said[0][0], allow_nan=False)
        return said[0]
    return ask


@pytest.mark.parametrize("change, message", [
    (dict(images=[]), "no images to label"), (dict(images=np.zeros((0, 8, 8, 1), np.uint8)), "no images to label"),
                                             (dict(images=np.zeros((2, 8, 8))), "float64 of shape (8, 8)"),
    (dict(images=np.zeros((2, 8, 8, 4), np.uint8)), "uint8 of shape (8, 8, 4)"),
                                             (dict(images=np.zeros((2, 0, 8), np.uint8)), "shape (0, 8)"),
    (dict(images=[GREY, GREY[0, 0]]), "image 1: uint8 of shape (1,)"), (dict(names=["a"]), "1 names for 2 images"),
                                             (dict(names="aa"), "'a' occurs twice"),
    (dict(names=["a", "b\n"]), "without tabs and line breaks"), (dict(names=["a", " "]), "without tabs"),
                                             (dict(classes=()), "no classes"),
                                             (dict(classes="aa"), "classes: 'a' occurs twice"),
    (dict(keys="12"), "2 keys for 8 classes"), (dict(keys="1234567 "), "not the space bar"),
                                             (dict(keys="aA345678"), "occurs twice"),
                                             (dict(blank_ms=-1), "blank_ms must be"),
    (dict(cross_ms=float("nan")), "cross_ms must be"), (dict(square_px=0), "square_px must be"),
                                             (dict(square_px=10.5), "square_px must be"),
                                             (dict(background="red; }"), "background must be"),
    (dict(annotator="a\tb"), "annotator"), (dict(classes=[f"c{k}" for k in range(40)]), "36 keys for 40 classes")])
def test_studies_that_cannot_be(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        study.LabellingStudy(**(dict(images=[GREY, GREY], names="ab") | change))


def test_order_is_counted_and_each_image_comes_once():
    order = lambda seed: study.LabellingStudy([GREY]*50, seed=seed).names
    assert order(1) == order(1) != order(2) and sorted(order(1)) == [f"{k:02d}" for k in range(50)]
    assert [int(n) for n in order(1)] == list(rng(1, "labelling study").permutation(50))


@pytest.mark.parametrize("images", [np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8),
                                    np.random.default_rng(0).integers(0, 256, (5, 6, 7), np.uint8),
                                    [np.full((k + 1, 3, 1), 40*k, np.uint8) for k in range(5)]])
def test_the_page_gets_the_image_that_its_name_says(images):
    widget = study.LabellingStudy(images)
    for k, name in enumerate(widget.names, 1):
        reply, (file,) = browser_of(widget)("image", trial=k)
        assert "error" not in reply and np.array_equal(
            np.asarray(Image.open(io.BytesIO(file))).reshape(images[int(name)].shape), images[int(name)])


def test_an_image_that_cannot_be_read_is_told_to_the_page():
    def read(i): raise FileNotFoundError(f"{i}.png: file not found")
    reply, buffers = browser_of(study.LabellingStudy(LazyImages(read, (8, 8, 1), [0, 1])))("image", trial=1)
    assert re.fullmatch(r"FileNotFoundError: \d.png: file not found", reply["error"]) and not buffers


def test_events_arrive_once_and_in_order_whatever_gets_lost():
    widget = study.LabellingStudy([GREY]*2, "ab")
    ask, events = browser_of(widget), session(widget.names)
    assert ask("log")[0]["log"] == [] and ask("start")[0]["owner"] == "page 1"
    assert ask("events", first=0, events=events[:5])[0]["saved"] == 5
    assert ask("events", first=0, events=events[:5])[0]["saved"] == 5           # its answer got lost
    assert ask("events", first=2, events=events[2:9])[0]["saved"] == 9
    assert "events 9 to 10 are missing" in ask("events", first=11, events=events[11:])[0]["error"]
    assert "unknown label" in ask("events", first=9, events=[e | {"label": "?"} for e in events[9:]])[0]["error"]
    assert ask("events", first=9, events=events[9:])[0]["saved"] == len(events)
    assert widget.events.astype(str).equals(study.events_frame(events).astype(str)) and len(widget.trials()) == 2
    assert len(ask("log", client="page 2")[0]["log"]) == len(events)


def test_a_second_window_takes_over():
    widget = study.LabellingStudy([GREY]*2, "ab")
    ask = browser_of(widget)
    ask("start")
    assert ask("start", client="page 2")[0]["owner"] == "page 2"
    assert "taken over by another window" in ask("events", first=0, events=session(widget.names))[0]["error"]
    assert ask("events", client="page 2", first=0, events=session(widget.names))[0]["saved"] == 13 == len(widget.events)


def test_a_study_goes_on_behind_a_file(tmp_path):
    widget = study.LabellingStudy([GREY]*3, "abc", seed=4)
    widget._log = study.events_frame(session(widget.names[:2])).to_dict("records")
    widget.save_csv(tmp_path/"part.csv")
    more = study.LabellingStudy([GREY]*3, "abc", seed=4, events=tmp_path/"part.csv")
    assert list(more.trials().image) == widget.names[:2] and len(browser_of(more)("start")[0]["log"]) == 13
    with pytest.raises(ValueError, match="another seed, or other images?"):
        for seed in range(5): study.LabellingStudy([GREY]*3, "abc", seed=seed, events=tmp_path/"part.csv")


def test_the_page_loads_nothing():
    code = study.LabellingStudy._esm
    assert not re.search(r"https?:|//cdn|@import|\bimport\b|\bfetch\(|XMLHttp|<script|url\(", code)


# In the browser

def timing(events, blank_ms=500, cross_ms=200):
    """(what is wrong, the share of phases that are late): a phase ends half a frame before its time at the earliest;
    after it by half a frame (up to one is not called late), or by the longest step between two frames in it, where the
    machine dropped some."""
    wrong, late = [], []
    shown = events[events.event.isin(list(study.PHASES)[:4])]
    for (run, k), part in shown.groupby(["run", "trial"]):
        for before, after, meant in zip(part.itertuples(), list(part.itertuples())[1:], (blank_ms, cross_ms, blank_ms)):
            over = after.time_ms - before.time_ms - meant
            if not -FRAME/2 - 1 < over < max(FRAME/2, after.longest_frame_ms) + 1:
                wrong.append(f"run {run}, trial {k}: {before.event} to {after.event} {over:+.1f} ms")
            late.append(over > FRAME + 1)
    return wrong, np.mean(late)


def test_timing_that_is_wrong_is_found():
    right = study.events_frame(session("ab"))
    assert timing(right) == ([], 0)
    assert "cross_on to cross_off +200.0 ms" in timing(right.assign(time_ms=right.time_ms
                                                                    + 200*right.event.isin(["cross_off",
            "image_on"])))[0][0]
    assert len(timing(right, cross_ms=217.7)[0]) == 2 and len(timing(right, cross_ms=180)[0]) == 2
    dropped = right.assign(time_ms=right.time_ms + 60*right.event.eq("image_on"),
                           longest_frame_ms=right.longest_frame_ms + 60*right.event.eq("image_on"))
    assert timing(dropped) == ([], 1/3)


def now(): return 1000*time.time()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """JupyterLab in Chromium, with two studies, the first of them shown twice; (tab, browser, client of the kernel,
    folder)."""
    if not study_browser.chromium(): pytest.skip("needs Chromium: apt-get install chromium")
    folder = tmp_path_factory.mktemp("lab")
    with study_browser.lab_and_browser(folder) as (lab, browser):
        lab.notebook("study.ipynb",
                     "from rbdm_nb.corpora import synthetic\nfrom rbdm_nb.gaze import study\nfaces = "
                     "synthetic.load(n=10, image_size=96, seed=5)\nten = study.LabellingStudy(faces.images, "
                     "faces.names, seed=3, annotator='A1')\nten", "ten",
                     "few = study.LabellingStudy(faces.images[:4], classes=['yes', 'no', 'so so'], keys='asd', "
                     "blank_ms=600, cross_ms=50, square_px=600)\nfew")
        tab = browser.tab(lab.url("study.ipynb"))
        study_browser.run_all(tab)
        tab.until("document.querySelectorAll('.rbdm-view').length === 3")
        tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder/"downloads"))
        yield tab, browser, lab.kernel(), folder


def begin(tab, which, study):
    open_stage(tab, which, study)
    tab.until(card("Begin"))
    assert tab.js("document.querySelectorAll('dialog.rbdm-study').length") == 1
    tab.js(WATCH)
    tab.key(" ")


def on_screen(tab, images):
    "Number of the one of `images` that is nearest to what the screen shows."
    box = (tab.js(f"(() => {{ const r = {STAGE}.querySelector('canvas').getBoundingClientRect(); "
                 "return [r.x, r.y, r.width, r.height] })()"))
    shot = tab.picture(clip=dict(zip(("x", "y", "width", "height", "scale"), (*box, 96/box[2]))))
    return int(np.abs(np.asarray(shot.convert("RGB").resize((96, 96)), float) - images).mean((1, 2, 3)).argmin())


@pytest.mark.timeout(600)
def test_ten_images(page):
    tab, browser, kernel, folder = page
    faces, labels = synthetic.load(n=10, image_size=96, seed=5), []
    before = tab.js(CELLS)
    begin(tab, "in full screen", 0)
    assert tab.js("[...document.querySelectorAll('.rbdm-view')].slice(0, 2).every(v => "
                  "v.querySelector('button').disabled && v.innerText.includes('is running'))")
    sent = []
    for k in range(10):
        image(tab, k + 1)
        shown = on_screen(tab, faces.images[:].astype(float))
        labels.append((faces.names[shown], EXPRESSIONS[shown % 8]))
        start = now()
        if k < 8: tab.key(str(1 + shown % 8))
        else:
            tab.key(" ") if k == 8 else tab.click(30, 30)
            sent.append((start, now()))
            tab.until(visible(".card"))
            tab.key(str(1 + shown % 8)) if k == 8 else tab.click_button(EXPRESSIONS[shown % 8], STAGE)
        if k < 8: sent.append((start, now()))
    tab.until(card("Thank you"))
    file = download(tab, folder)
    tab.click_button("Close", STAGE)
    assert tab.js(CELLS) == before and not tab.js("document.fullscreenElement")
    tab.until("document.querySelectorAll('.rbdm-view')[1]?.innerText.includes('10 of 10')")

    study_browser.value(kernel, f"[ten.save_csv(r'{folder}/events.csv'), ten.save_msg(r'{folder}/messages.tsv')]")
    events = study.read_events(folder/"events.csv", study.LabellingStudy(faces.images, faces.names, seed=3).names,
                               EXPRESSIONS)
    pd.testing.assert_frame_equal(study.read_events(file), events)
    table = study.trials(events)
    assert list(zip(table.image, table.label)) == labels and list(table.trial) == list(range(1, 11))
    assert list(table.key[8:]) == [str(1 + EXPRESSIONS.index(labels[8][1])), "click"] and not table.interrupted.any()

    wrong, late = timing(events)
    assert not wrong and late <= .5, (wrong, late)
    pressed = events[events.event.isin(["advance", "response"])].groupby("trial").first().epoch_ms
    # by the wall clock of another process
    for at, (start, end) in zip(pressed, sent): assert start - 3 <= at <= end + 3
    responses = table.image_on_epoch_ms + table.response_ms
    assert np.allclose(responses, pressed, atol=.01) and (table.response_ms > 0).all()

    seen = [(t, part, on) for t, part, on in tab.js("seen")]                                  # by somebody else's eyes
    said = events[events.event.isin(["cross_on", "cross_off", "image_on", "image_off"])]
    assert [(part, on) for _, part, on in seen] == [({"c": ".cross", "i": "canvas"}[e[0]], e.endswith("on"))
                                                    for e in said.event]
    delay = np.array([t for t, *_ in seen]) - said.time_ms.to_numpy()
    assert (delay > -.2).all() and np.median(delay) < FRAME

    cut = check_recording(events, folder)
    assert {t.rect for t in cut} == {(100, 20, 1200, 1200)}


def ratio(tab, value):
    tab.call("Emulation.setDeviceMetricsOverride", width=0, height=0, deviceScaleFactor=value, mobile=False)


@pytest.mark.timeout(600)
def test_rubbish_pauses_and_the_loss_of_page_and_kernel(page):
    tab, browser, kernel, folder = page
    begin(tab, "in this window", 2)
    tab.until(f"!({visible('.card')})")
    tab.key("a", repeats=3, up=False)                           # early, and held down until the image is there
    image(tab, 1)
    tab.key("a", held=True)
    tab.key("z"); tab.key("s", repeats=2); tab.key("s")         # unknown, the label, a second press

    image(tab, 2)
    browser.tab("about:blank")
    tab.until("document.hidden")
    tab.call("Page.bringToFront")
    tab.until("!document.hidden")
    tab.click(30, 30)
    tab.until(visible(".card"))
    tab.key(" "); tab.click(30, 30)                             # neither is an answer
    tab.key("d")

    image(tab, 3)
    ratio(tab, 2)
    tab.until(f"{STAGE}.querySelector('canvas').getBoundingClientRect().width === 300")       # 600 pixels of the screen
    tab.call("Emulation.clearDeviceMetricsOverride")
    tab.until(f"{STAGE}.querySelector('canvas').getBoundingClientRect().width === 600")
    tab.key("Escape")
    tab.until(card("2 of 4 images are labelled"))
    tab.key("Escape")                                           # closes
    tab.until(f"!{STAGE}")

    tab.js("jupyterapp.commands.execute('docmanager:save').then(() => true)")
    tab.reload()
    tab.until("document.querySelectorAll('.rbdm-view')[2]?.innerText.includes('2 of 4')")
    begin(tab, "in this window", 2)
    image(tab, 1)
    tab.key("a")
    image(tab, 2)
    kernel.shutdown()
    tab.key("s")
    tab.until(card("Thank you"))
    file = download(tab, folder)

    faces = synthetic.load(n=10, image_size=96, seed=5)
    options = dict(images=faces.images[:4], classes=["yes", "no", "so so"], events=file)
    found = study.LabellingStudy(**options).events
    table = study.trials(found)
    assert list(table.label[1:]) == ["so so", "yes", "no"] and list(table.run) == [1, 1, 2,
            2] and list(table.interrupted) == [False, True, False, False]
    ignored = found[found.event == "ignored"][["trial", "key", "detail"]].values.tolist()
    assert ignored[:2] == [[1, "a", "early"], [1, "z", "unknown key"]] and ignored[3:] == [[2, "space", "unknown key"],
            [2, "click", "unknown key"]]
    assert ignored[2] in ([1, "s", "late"], [2, "s", "early"])
    assert [e for e in found.event if e in ("hidden", "visible", "display")][:3] == ["hidden", "visible", "display"]
    assert list(found.detail[found.event == "stop"]) == ["escape"]
    wrong, late = timing(found, 600, 50)
    assert not wrong, wrong

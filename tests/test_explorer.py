"""Maps over pictures, and the panel: what they draw and refuse here; the panel in JupyterLab and served by Voilà, with
headless Chromium's clicks, below."""
import importlib.util, io, os, socket, sys, warnings
from contextlib import ExitStack
from datetime import datetime
import nbformat, numpy as np, pytest, tensorflow as tf
import study_browser
from PIL import Image
from rbdm_nb import explorer
from rbdm_nb.corpora import synthetic
from rbdm_nb.explain.methods import EXPLAINERS, explainer
from rbdm_nb.explorer import Subject, explore, own_picture, refusals, show
from rbdm_nb.masking import CONTROLS, MASKS, Mask, make_mask
from rbdm_nb.networks.trainer import saved_model

keras = tf.keras
L = keras.layers


def network(*end, channels=3, side=16, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((side, side, channels)), L.Conv2D(6, 3, activation="relu"),
                             *(end or (L.GlobalAveragePooling2D(), L.Dense(8)))])


@pytest.fixture(scope="module")
def faces(): return synthetic.load(n=6, image_size=16, seed=0)


def scaled(images): return images.astype("float32")/127.5 - 1


# show

GREY = np.arange(64, dtype="uint8").reshape(8, 8)


@pytest.mark.parametrize("images, options, message", [
    (GREY.astype("float32"), {}, r"limits=\(black, white\)"),                          # 0 … 63 of what?
    (GREY/32. - 1, {}, r"limits=\(black, white\)"), (GREY/1., dict(limits=(0, 1)), "reach from 0 to 63"),
    (GREY/1., dict(limits=(1, 0)), "black, white"), (GREY.astype("int64"), {}, "give uint8"),
    (GREY > 3, {}, "give uint8"), (np.where(GREY, GREY, np.nan), {}, "NaN"),
    (np.zeros((3, 8, 8), "uint8"), {}, r"images\[..., None\]"), (np.zeros((2, 3, 8, 8), "uint8"), {}, "channels last"),
    (np.zeros((0, 8, 8, 3), "uint8"), {}, "no images"),
    (GREY, dict(relevance=np.zeros((4, 8))), r"give \(1, 8, 8\)"), (GREY, dict(relevance=GREY > 3), "as masks="),
    (GREY, dict(relevance=np.full((8, 8), np.inf)), "infinite"), (GREY, dict(masks=GREY/1.), "True where a pixel"),
    (GREY, dict(masks=np.ones((2, 8, 8), bool)), "for 1 images"), (GREY, dict(titles=["a", "b"]), "2 titles"),
    (GREY, dict(relevance=GREY/1., clip=0), "clip must"), (GREY, dict(relevance=GREY/1., scale="one"), "each or all"),
    (GREY, dict(layout="below"), "overlay or beside")])
def test_what_might_be_drawn_wrongly_is_refused(images, options, message):
    with pytest.raises((TypeError, ValueError), match=message): show(images, **options)


def layers_of(axis): return [np.asarray(image.get_array(), float) for image in axis.images]


@pytest.mark.parametrize("images, limits", [
    (GREY, None), (GREY/255., None), (GREY/127.5 - 1, (-1, 1)), (GREY/1., (0, 255)), (GREY[..., None], None),
    (np.repeat(GREY[..., None], 3, -1), None), (GREY[None, ..., None], None)])
def test_one_picture_in_every_form(images, limits):
    (drawn,) = layers_of(show(images, limits=limits).axes[0])
    np.testing.assert_allclose(drawn, np.repeat(GREY[..., None]/255, 3, -1), atol=1e-6)


def test_a_signed_map_diverges_and_its_zero_is_clear():
    relevance = np.zeros((8, 8))
    relevance[0, 0], relevance[0, 1], relevance[0, 2] = 2, -2, 1
    fig = show(GREY, relevance, clip=1)
    _, over = layers_of(fig.axes[0])
    assert over[0, 0, 3] == pytest.approx(.8) and over[4, 4, 3] == 0 and 0 < over[0, 2, 3] < .8
    assert over[0, 0, 0] > over[0, 0, 2] and over[0, 1, 2] > over[0, 1, 0]       # red for, blue against
    assert fig.axes[-1].get_ylim() == (-1, 1)
    assert show(GREY, np.abs(relevance), clip=1).axes[-1].get_ylim() == (0, 1)
    assert show(GREY, relevance, clip=1, scale="all").axes[-1].get_ylim() == (-2, 2)


def test_masks_of_another_size_lie_over_the_same_part():
    keep = np.ones((4, 4), bool)
    keep[:2, :2] = False
    _, picture, hidden, masked = show(GREY, GREY/1., keep, layout="beside").axes[:4]
    extents = {tuple(image.get_extent()) for axis in (picture, hidden, masked) for image in axis.images}
    assert extents == {(-.5, 7.5, 7.5, -.5)}
    assert (layers_of(hidden)[1][..., 3] == .75*~keep).all() and (layers_of(masked)[1][..., 3] == ~keep).all()


def test_many_pictures_stand_in_bands():
    images = np.repeat(GREY[None, ..., None], 5, 0)
    maps = np.repeat(GREY[None]/1., 5, 0)
    axes = show(images, maps, layout="beside", columns=3, titles=list("abcde")).axes[:-1]
    assert len(axes) == 12 and sum(a.get_visible() for a in axes) == 10
    assert [a.get_title() for a in axes if a.get_title()] == list("abcde")


def test_a_map_of_zeros_is_called_so():
    assert show(GREY, np.zeros((8, 8))).axes[0].get_xlabel() == "zero everywhere"


# What a network says

@pytest.mark.parametrize("end, bounds", [
    ((L.Flatten, lambda: L.Dense(6, "relu"), lambda: L.Dense(8)), None),
    ((lambda: L.Activation("gelu"), L.GlobalAveragePooling2D, lambda: L.Dense(8)), (-1, 1)),
    ((lambda: L.Reshape((14*14*6,)), lambda: L.Dense(8)), (-1, 1))])
def test_what_is_refused_beforehand_is_what_cannot_be_built(end, bounds):
    model = network(*(make() for make in end))
    refused = refusals(model, bounds)
    for name in EXPLAINERS:
        if name in refused:
            with pytest.raises(ValueError): explainer(model, name, bounds)
        else: assert explainer(model, name, bounds)


@pytest.mark.parametrize("method", ["gradient", "deep_taylor", "lrp_epsilon", "grad_cam"])
def test_the_panel_has_the_maps_and_masks_of_the_pipeline(faces, method):
    model = network()
    subject, images = Subject(model, faces, "minus1to1"), scaled(faces.images[:])
    assert subject.classes == faces.classes and subject.names == list(faces.names)
    maps = explainer(model, method, (-1, 1))(images)
    for k in range(6): np.testing.assert_allclose(subject.relevance(k, method)[0], maps[k], atol=1e-5)
    for name in [n for n, m in {**MASKS, **CONTROLS}.items() if m.make]:
        own = np.stack([subject.relevance(k, method)[0] for k in range(6)])
        expected = make_mask(name, own, 5)
        for k in range(6): assert (subject.mask(k, name, method, fixations=5)[0] == expected[k]).all(), name


def test_a_grey_model_from_a_file_with_its_scaling_inside(tmp_path, faces):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((24, 24, 1)), L.Rescaling(1/255), L.Conv2D(4, 3, activation="relu"),
                              L.GlobalAveragePooling2D(), L.Dense(3), L.Softmax()])
    model.save(tmp_path/"grey.keras")
    trainer = saved_model(tmp_path/"grey.keras", classes="fear joy rage")
    panel = explore(trainer, faces.images[:3], method="gradient")
    assert panel.subject.classes == ("fear", "joy", "rage") and panel.subject.size == (24, 24)
    says = model(np.asarray(trainer.prepare(panel.subject.pictures[0][None])))[0]
    np.testing.assert_allclose(panel.drawn["plain"], says, atol=1e-5)


def test_nothing_is_computed_twice(faces, monkeypatch):
    built, made = [], []
    class Counted:
        def __init__(self, one): self.one = one
        def __call__(self, *given): made.append(1); return self.one(*given)
    def count(model, method, *more, **options):
        built.append(method)
        return Counted(explainer(model, method, *more, **options))
    monkeypatch.setattr(explorer, "explainer", count)
    panel = explore(network(), faces, prepare="minus1to1", method="gradient")
    for share in (.1, .2, .3): panel.choose(mask="negative", share=share)
    panel.choose(smoothing=1)
    panel.choose(method="lrp_z")
    panel.choose(method="gradient", picture=1)
    panel.choose(picture=0)
    assert built == ["gradient", "lrp_z"] and len(made) == 3


def test_a_mask_of_ones_own_is_in_the_panel(faces, monkeypatch):
    def upper(r, fixations): return np.arange(r.shape[1])[:, None] < np.full((len(r), 1, r.shape[2]), fixations)
    monkeypatch.setitem(CONTROLS, "upper", Mask("upper", upper, ("fixations",)))
    panel = explore(network(), faces, prepare="minus1to1", method="gradient", mask="upper", fixations=4)
    assert panel.drawn["keep"].sum() == 4*16
    assert [n for n, s in panel.sliders.items() if s.disabled] == ["share", "visual_span"]


def test_warnings_are_said(faces):
    panel = explore(network(L.GlobalAveragePooling2D(), L.Dense(8, bias_initializer=keras.initializers.Constant(-9.))),
                    faces, prepare="minus1to1", method="deep_taylor")
    assert "zero everywhere" in panel.told.value and "nothing is hidden" in panel.told.value


@pytest.mark.parametrize("call, message", [
    (dict(), "Give prepare="), (dict(prepare="0to2"), "did you mean"),
    (dict(prepare="0to1", classes="abc"), "8 outputs"),
    (dict(prepare="0to1", method="lrp"), "unknown method"), (dict(prepare="0to1", mask="meen"), "did you mean 'mean'"),
    (dict(prepare="0to1", names="a"), "1 names for 6"), (dict(model=3), "give a Keras model"),
    (dict(prepare="0to1", images=np.zeros((0, 16, 16, 3), "uint8")), "no images"),
    (dict(images=np.zeros((2, 8, 8, 3), "float32")), "the model takes"),
    (dict(model=network(L.Flatten(), L.Dense(1)), prepare="0to1"), "two classes or more"),
    (dict(model=network(L.Conv2D(2, 3)), prepare="0to1"), "one output")])
def test_what_cannot_be_explored_is_refused(faces, call, message):
    given = dict(model=network(), images=faces.images[:]) | call
    with pytest.raises((TypeError, ValueError), match=message): explore(**given)


# A picture of one's own

def file_of(image, form="PNG"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


def test_the_face_that_is_found_is_cut_out(monkeypatch):
    image = np.zeros((100, 200, 3), "uint8")
    image[30:70, 120:160] = 255
    corner = np.array([[120, 30], [159, 69]])
    monkeypatch.setattr(explorer, "installed", lambda: True)
    monkeypatch.setattr(explorer, "points_of", lambda images: np.resize(corner, (1, 68, 2)).astype("float32"))
    cut, said = own_picture(file_of(image), "a.png", 32)
    assert said == "the face that was found" and cut.shape == (32, 32, 3)
    rows, columns = np.nonzero(cut[..., 0] > 128)
    assert .35 < len(rows)/32**2 < .55 and abs(columns.mean() - 15.5) < 1     # in the middle, two thirds wide
    monkeypatch.setattr(explorer, "points_of", lambda images: np.full((1, 68, 2), np.nan))
    cut, said = own_picture(file_of(image), "a.png", 32)
    assert "no face was found" in said and cut[..., 0].max() > 128                   # columns 50 to 150


@pytest.mark.parametrize("data, message", [
    (b"", "the file is empty"), (b"text", "not an image"),
    (file_of(np.arange(4800, dtype="uint8").reshape(40, 40, 3))[:200], "damaged"),
    (b"\0\0\0\x18ftypheic" + bytes(20), "HEIC"), (file_of(np.zeros((9, 9), "uint16") + 3), "bits=")])
def test_a_damaged_file_is_refused_in_words(faces, data, message):
    panel = explore(network(), faces, prepare="minus1to1", method="gradient")
    before = panel.stage.value
    panel.upload.value = [dict(name="mine.png", type="image/png", size=len(data), content=data,
                               last_modified=datetime(2026, 1, 1))]
    assert "mine.png" in panel.told.value and message in panel.told.value
    assert panel.stage.value == before and len(panel.subject.pictures) == 6


def test_several_sigmoids_are_no_shares_of_one_decision(faces):
    with pytest.raises(ValueError, match="4 sigmoids, each a decision of its own"):
        explore(network(L.GlobalAveragePooling2D(), L.Dense(4, activation="sigmoid")), faces, prepare="minus1to1")


def test_a_model_with_its_scaling_inside_is_told_to_be_fed_otherwise():
    inputs = keras.Input((32, 32, 3))
    x = L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(L.Rescaling(1/255)(inputs)))
    model, pictures = keras.Model(inputs, L.Dense(3)(x)), np.zeros((2, 32, 32, 3), "uint8")
    with pytest.warns(UserWarning, match="expects 0to255, but is fed minus1to1"):
        explore(model, pictures, prepare="minus1to1", method="gradient")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        explore(model, pictures, prepare="0to255", method="input_x_gradient")


def test_a_mask_that_cannot_be_is_named(faces):
    panel = explore(network(), faces[:1], prepare="minus1to1", method="gradient")
    panel.choose(mask="other")
    assert "other: takes another picture" in panel.told.value


# In the browser

CELL = """
import numpy as np, tensorflow as tf
from rbdm_nb.corpora import synthetic
from rbdm_nb.explorer import explore
L = tf.keras.layers
tf.keras.utils.set_random_seed(3)
model = tf.keras.Sequential([tf.keras.Input((24, 24, 3)), L.Conv2D(8, 3, activation="relu"),
    L.Conv2D(8, 3, activation="relu"), L.MaxPooling2D(), L.Flatten(), L.Dense(12, activation="relu"), L.Dense(8)])
panel = explore(model, synthetic.load(n=6, image_size=24, seed=2), prepare="minus1to1", method="gradient",
                title="A tiny network")
panel
"""
PICTURES = "document.querySelector('.rbdm-pictures')"
CAPTIONS = f"[...{PICTURES}.querySelectorAll('figcaption, .rbdm-below')].map(e => e.innerText).join('|')"
SOURCES = f"[...{PICTURES}.querySelectorAll('img')].map(i => i.src)"
WATCHED = "window.problems = []; window.addEventListener('error', e => problems.push(e.message))"


class Page:
    "JupyterLab or Voilà with the panel, in Chromium."
    def __init__(self, folder, stack, how, cell=CELL):
        self.browser, self.how = study_browser.Browser(folder, stack), how
        if how == "lab":
            lab = study_browser.Lab(folder, stack)
            lab.notebook("explore.ipynb", cell)
            self.tab = self.browser.tab(lab.url("explore.ipynb"))
            study_browser.run_all(self.tab)
        else: self.tab = self.browser.tab(served(folder, stack))
        self.tab.until(f"!!{PICTURES}", 300)
        self.tab.js(WATCHED)

    def problems(self):
        "What the console and the page have to complain of."
        return self.tab.console + self.tab.js("window.problems")

    def press(self, text):
        "Click the button that is called just so, with the mouse."
        find = f"[...document.querySelectorAll('.rbdm-explorer button')].find(b => b.innerText.trim() === {text!r})"
        self.tab.until(f"!!({find}) && !({find}).disabled")
        self.click_at(find)

    def click_at(self, find, share=.5):
        self.tab.js(f"({find}).scrollIntoView({{block: 'center'}})")
        self.tab.click(*self.tab.js(f"(() => {{ const r = ({find}).getBoundingClientRect(); "
                                    f"return [r.x + {share}*r.width, r.y + r.height/2] }})()"))

    def slide(self, name, share):
        "Click the slider called `name` at `share` of its length."
        self.click_at(f"[...document.querySelectorAll('.rbdm-slider')].find(s => s.innerText.includes({name!r}))"
                      ".querySelector('.noUi-target')", share)

    def after(self, act, expected):
        "The pictures and their captions after `act()`, once the captions have the text `expected`."
        act()
        self.tab.until(f"{CAPTIONS}.includes({expected!r})")
        return self.tab.js(SOURCES), self.tab.js(CAPTIONS)


def served(folder, stack):
    "Address of the notebook with the panel, served by Voilà."
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)],
                                        metadata=dict(kernelspec=dict(display_name="Python 3", language="python",
                                                                      name="python3")))
    nbformat.write(notebook, folder/"explore.ipynb")
    own = {f"JUPYTER_{name}_DIR": str(folder/"jupyter"/name.lower()) for name in ("RUNTIME", "CONFIG", "DATA")}
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    command = [sys.executable, "-m", "voila", str(folder/"explore.ipynb"), "--no-browser", f"--port={port}",
               "--Voila.ip=127.0.0.1", "--VoilaConfiguration.extension_denylist=jupyterlab-jupytext"]
    env = os.environ | own | {"IPYTHONDIR": str(folder/"ipython")}
    stack.enter_context(study_browser.process(command, folder/"voila.log", env=env, cwd=folder))
    def listens():
        with socket.socket() as s: return s.connect_ex(("127.0.0.1", port)) == 0
    study_browser.wait(listens, "Voilà")
    return f"http://127.0.0.1:{port}/"


@pytest.fixture(scope="module", params=["lab", "voila"])
def page(request, tmp_path_factory):
    if not study_browser.chromium(): pytest.skip("needs Chromium: apt-get install chromium")
    if request.param == "voila" and not importlib.util.find_spec("voila"):
        pytest.skip("needs Voilà: pip install 'rbdm_nb[explore]'")
    with ExitStack() as stack: yield Page(tmp_path_factory.mktemp(request.param), stack, request.param)


MAP, HIDDEN, MASKED = 1, 2, 3       # places of the pictures


@pytest.mark.timeout(900)
def test_ten_changes_by_clicks(page):
    seen = [page.tab.js(SOURCES)]
    def changed(act, expected, *which):
        sources, captions = page.after(act, expected)
        for place in which: assert sources[place] != seen[-1][place], (captions, place)
        seen.append(sources)
        return captions
    changed(lambda: page.press("lrp_z"), "lrp_z for", MAP)
    changed(lambda: page.press("deep_taylor"), "deep_taylor for", MAP)
    changed(lambda: page.press("grad_cam"), "grad_cam for", MAP)
    changed(lambda: page.press("negative"), "hides 10 %", HIDDEN, MASKED)
    hides = changed(lambda: page.slide("share", .7), "hides 7", HIDDEN, MASKED)
    assert "negative mask" in hides
    changed(lambda: page.press("perceptive"), "perceptive mask", HIDDEN, MASKED)
    changed(lambda: page.press("random"), "random mask", HIDDEN, MASKED)
    changed(lambda: page.press("gradient"), "gradient for", MAP, MASKED)
    changed(lambda: page.press("negative"), "negative mask", HIDDEN, MASKED)
    changed(lambda: page.slide("share", .3), "hides 3", HIDDEN, MASKED)
    changed(lambda: page.click_at("document.querySelectorAll('.rbdm-thumb')[3]"), "000003", 0, MAP, HIDDEN, MASKED)
    assert page.problems() == []


@pytest.mark.timeout(300)
def test_what_cannot_be_is_grey_and_says_why(page):
    cam = "[...document.querySelectorAll('.rbdm-chip')].find(b => b.innerText.trim() === 'cam')"
    assert page.tab.js(f"[({cam}).disabled, ({cam}).title.includes('global average pooling')]") == [True, True]
    page.tab.js("document.querySelector('.rbdm-explorer details summary').scrollIntoView({block: 'center'})")
    page.click_at("document.querySelector('.rbdm-explorer details summary')", .1)
    page.tab.until("document.querySelector('.rbdm-explorer details').open")
    assert "Use grad_cam" in page.tab.js("document.querySelector('.rbdm-explorer details').innerText")
    page.after(lambda: page.press("mean"), "mean mask")
    sliders = "[...document.querySelectorAll('.rbdm-slider')].map(s => !!s.querySelector('[disabled]'))"
    page.tab.until(f"JSON.stringify({sliders}) === '[true,true,true,false]'")
    assert page.problems() == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", [1280, 390])
def test_no_sideways_scroll(page, width):
    if width < 500 and page.how == "lab": pytest.skip("JupyterLab itself has no room on a phone")
    page.tab.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    panel = "document.querySelector('.rbdm-explorer')"
    page.tab.until(f"window.innerWidth === {width} && {panel}.clientWidth <= {width}")
    room, needed = page.tab.js(f"[{panel}.clientWidth, {panel}.scrollWidth]")
    page.tab.call("Emulation.clearDeviceMetricsOverride")
    assert needed <= room + 1

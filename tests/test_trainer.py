"Models from elsewhere as Trainers, and corpora of other classes: what is refused, and that the rest is fed right."
import json, warnings, zipfile
from types import SimpleNamespace

import h5py, numpy as np, pytest, tensorflow as tf
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from rbdm_nb.corpora.datasets import Corpus, class_index, load, option_values, read_options
from rbdm_nb.parameters import declared
from rbdm_nb.project import root
from rbdm_nb.explain.relevance import Explainer, input_bounds
from rbdm_nb.trainee import Condition, aligned, fusion, probabilities
from rbdm_nb.networks.trainer import (TrainerSettings, account, best_order, corpora, grey, saved_model, side,
                                      trainer_from)
from rbdm_nb.networks.weights import check_config, objects_of, read_config

L = tf.keras.layers


def network(*first, side=32, channels=3, classes=8, end=None):
    end = [L.Dense(classes, activation="softmax")] if end is None else end
    return tf.keras.Sequential([L.Input((side, side, channels)), *first, L.Conv2D(4, 3, activation="relu"),
                                L.GlobalAveragePooling2D(), *end])


def saved(path, *first, **options):
    network(*first, **options).save(path)
    return path


# --- what a file brings along ------------------------------------------------------------------------------------

def spy(mark): return eval(f"lambda t: (__import__('pathlib').Path({str(mark)!r}).touch(), t)[1]")


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5", "m.keras"])
@pytest.mark.parametrize("deep", [False, True])
def test_code_of_a_file_runs_only_if_it_is_trusted_by_name(tmp_path, name, deep):
    mark = tmp_path/"ran"
    layer = L.Lambda(spy(mark), name="theirs")
    path = saved(tmp_path/name, tf.keras.Sequential([L.Input((32, 32, 3)), layer], name="part") if deep else layer)
    mark.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="layer 'theirs' .Lambda.*trainer_trust theirs") as error: saved_model(path)
    assert len(str(error.value)) <= 400 and not mark.exists()
    with pytest.raises(ValueError, match="theirs"): saved_model(path, trust=("other",))
    assert not mark.exists()
    saved_model(path, trust=("theirs",))
    assert mark.exists()


@pytest.mark.parametrize("node", [
    dict(class_name="function", module="os", config="system"), dict(class_name="Popen", module="subprocess", config={}),
    dict(class_name="__lambda__", config=dict(value="eA==")),
    dict(class_name="Lambda", module="keras.layers", config=dict(name="x")),
    dict(class_name="TFOpLambda", config=dict(name="x", function="io.write_file")),
    dict(class_name="get_file", module="keras.utils", config={}),
    dict(class_name="TFOpLambda", config=dict(name="x", function="py_function")),
    dict(class_name="mine>Lambda", config=dict(name="x")),
    dict(class_name="__typespec__", module="os", spec_name="x", config={}),
    dict(class_name="Dense", module="evil.keras", config=dict(name="x")),
    dict(class_name="function", module="builtins", config="eval"), dict(class_name=["Dense"], config={})])
@pytest.mark.parametrize("place", ["layer", "option"])
def test_a_configuration_that_names_code_is_refused(node, place):
    layers = [node] if place == "layer" else [dict(class_name="Dense", module="keras.layers",
                                                   config=dict(name="d", units=2, activation=node))]
    with pytest.raises(ValueError, match="brings code along|not one of Keras's own"):
        check_config("m.keras", dict(class_name="Sequential", module="keras", config=dict(name="s", layers=layers)))


def test_a_name_that_is_trusted_does_not_hide_another():
    two = [dict(class_name="Lambda", config=dict(name=n)) for n in ("good", "bad")]
    with pytest.raises(ValueError, match="'bad'"):
        check_config("m", dict(class_name="Sequential", config=dict(name="s", layers=two)), ("good",))


@pytest.mark.parametrize("make", ["MobileNetV2", "Xception", "EfficientNetB0"])
def test_keras_own_networks_pass(tmp_path, make):
    model = getattr(tf.keras.applications, make)(input_shape=(75, 75, 3), weights=None, classes=3)
    for node in ("keras", "h5"):
        config = json.loads(model.to_json())
        assert not check_config(f"m.{node}", config)


def test_a_file_in_two_forms_at_once_is_refused(tmp_path):
    path = saved(tmp_path/"m.h5")
    with zipfile.ZipFile(path, "a") as archive: archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match="at once"): read_config(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.binary(min_size=0, max_size=40), st.sampled_from(["m.keras", "m.h5"]))
def test_damaged_files_are_refused_shortly(tmp_path_factory, at, junk, name):
    folder = tmp_path_factory.mktemp("damaged")
    whole = whole_file(name)
    cut = at % len(whole)
    (folder/name).write_bytes(whole[:cut] + junk)
    try: read_config(folder/name)
    except ValueError as error: assert len(str(error)) <= 400


WHOLE = {}


def whole_file(name):
    if name not in WHOLE:
        import tempfile, pathlib
        with tempfile.TemporaryDirectory() as folder: WHOLE[name] = saved(pathlib.Path(folder)/name).read_bytes()
    return WHOLE[name]


@pytest.mark.parametrize("name, content, said", [
    ("m.pth", b"\x80\x02}q", "PyTorch"), ("m.onnx", b"\x08\x07\x12", "ONNX"),
    ("m.tflite", b"\0\0\0\0TFL3", "TensorFlow Lite"), ("m.keras", b"", "empty"),
    ("m.h5", b"\x89HDF\r\n\x1a\n", "damaged"), ("m.keras", b"PK\3\4", "damaged"), ("m.h5", b"\x80\x04", "pickle")])
def test_other_files_are_named(tmp_path, name, content, said):
    (tmp_path/name).write_bytes(content)
    with pytest.raises(ValueError, match=said) as error: saved_model(tmp_path/name)
    assert len(str(error.value)) <= 400


def test_a_pytorch_archive_and_a_folder_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path/"m.keras", "w") as archive: archive.writestr("archive/data.pkl", b"")
    with pytest.raises(ValueError, match="PyTorch"): saved_model(tmp_path/"m.keras")
    (tmp_path/"model").mkdir()
    with pytest.raises(ValueError, match="SavedModel"): saved_model(tmp_path/"model")


@pytest.mark.skipif(tf.__version__ >= "2.16", reason="Keras 3 opens its own files")
def test_a_file_of_keras_3_says_so(tmp_path):
    path = saved(tmp_path/"old.keras")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path/"new.keras", "w") as new:
        for n in old.namelist():
            new.writestr(n, json.dumps(dict(keras_version="3.12.0")) if n == "metadata.json" else old.read(n))
    with pytest.raises(ValueError, match=r"Keras 3.12.0.*TensorFlow 2.16") as error: saved_model(tmp_path/"new.keras")
    assert len(str(error.value)) <= 400
    path = saved(tmp_path/"new.h5")
    with h5py.File(path, "a") as file: file.attrs["keras_version"] = "3.9.1"
    with pytest.raises(ValueError, match="Keras 3.9.1"): saved_model(path)


def test_two_ends_are_refused(tmp_path):
    one, two = L.Input((32, 32, 3)), L.Input((32, 32, 3))
    x, y = (L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(i)) for i in (one, two))
    tf.keras.Model(one, [L.Dense(8)(x), L.Dense(2)(x)]).save(tmp_path/"outputs.keras")
    tf.keras.Model([one, two], L.Dense(8)(L.concatenate([x, y]))).save(tmp_path/"inputs.keras")
    tf.keras.Model(one, L.Conv2D(4, 3)(one)).save(tmp_path/"maps.keras")
    for name, said in (("outputs", "2 outputs"), ("inputs", "2 inputs"), ("maps", "shape")):
        with pytest.raises(ValueError, match=said): saved_model(tmp_path/f"{name}.keras")
    with pytest.raises(ValueError, match="square pictures"): saved_model(saved(tmp_path/"four.keras", channels=4))


MODULE = """import tensorflow as tf
class Mine(tf.keras.layers.Layer):
    def call(self, x): return tf.nn.relu(x)
def halves(images): return images/255 - .5
"""


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_own_layers_come_from_a_file_that_is_named(tmp_path, name):
    (tmp_path/"mine.py").write_text(MODULE)
    custom = objects_of(tmp_path/"mine.py")
    path = saved(tmp_path/name, custom["Mine"]())
    with pytest.raises(ValueError, match="Give the class Mine.*trainer_module"): saved_model(path)
    assert saved_model(path, custom_objects=custom).model().output_shape == (None, 8)
    more = custom | dict(other=halves)
    assert saved_model(path, custom_objects=custom).key != saved_model(path, custom_objects=more).key


def halves(x): return x/255 - .5


# --- logits ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("end", [lambda: [L.Dense(5, activation="softmax")], lambda: [L.Dense(5), L.Softmax()],
                                 lambda: [L.Dense(5), L.Activation("softmax")],
                                 lambda: [tf.keras.Sequential([L.Input((4,)), L.Dense(5, activation="softmax")])]])
def test_softmax_is_taken_off(tmp_path, end):
    whole = network(end=end())
    whole.save(tmp_path/"m.h5")
    x = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32, 3)).astype("float32")
    logits = saved_model(tmp_path/"m.h5").model()(x).numpy()
    np.testing.assert_allclose(probabilities(logits), whole(x).numpy(), atol=1e-5)
    assert np.abs(logits.sum(1) - 1).max() > 1e-3


def test_one_sigmoid_becomes_two_logits(tmp_path):
    whole = network(end=[L.Dense(1, activation="sigmoid")])
    whole.save(tmp_path/"m.keras")
    x = np.random.default_rng(0).uniform(-1, 1, (3, 32, 32, 3)).astype("float32")
    one = saved_model(tmp_path/"m.keras", classes="cat dog")
    np.testing.assert_allclose(probabilities(one.model()(x).numpy())[:, 1], whole(x).numpy()[:, 0], atol=1e-6)
    assert Explainer(one.model(), "deep_taylor")(x).shape == (3, 32, 32)
    bare = saved(tmp_path/"bare.keras", end=[L.Dense(1)])
    with pytest.raises(ValueError, match="trainer_classes"): saved_model(bare)
    assert saved_model(bare, classes=["cat", "dog"]).model().output_shape == (None, 2)


# --- how it is fed -----------------------------------------------------------------------------------------------

def test_grey_models_get_luma(tmp_path):
    one = saved_model(saved(tmp_path/"m.h5", channels=1, side=48, classes=7), scaling="0to255")
    rgb = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), "uint8")
    want = np.stack([np.asarray(Image.fromarray(x).convert("L")) for x in rgb])[..., None]
    np.testing.assert_array_equal(one.prepare(rgb), want.astype("float32"))
    np.testing.assert_array_equal(one.prepare(want), want.astype("float32"))
    assert one.prepare(np.zeros((2, 20, 20, 3), "uint8")).shape == (2, 48, 48, 1) and side(one) == 48
    assert Explainer(one.model(), "deep_taylor")(np.asarray(saved_model(one.path).prepare(rgb))).shape == (2, 48, 48)


@given(st.integers(0, 255))
@settings(max_examples=20, deadline=None)
def test_grey_of_equal_channels_is_exact(v): assert (grey(np.full((1, 2, 2, 3), v, "uint8")) == v).all()


@pytest.mark.parametrize("first, expects", [
    (lambda: [L.Rescaling(1/255)], "0to255"), (lambda: [L.Rescaling(1/127.5, offset=-1)], "0to255"),
    (lambda: [L.Rescaling(2., offset=-1)], "0to1"),
    (lambda: [tf.keras.Sequential([L.Input((32, 32, 3)), L.Rescaling(1/255)])], "0to255"),
    (lambda: [L.Normalization(mean=[120.]*3, variance=[9.]*3)], "0to255"),
    (lambda: [L.Normalization(mean=[.5]*3, variance=[.1]*3)], "0to1"),
    (lambda: [L.ZeroPadding2D(), L.Rescaling(1/255)], "0to255"), (lambda: [], "minus1to1")])
def test_auto_sees_a_layer_of_scaling(tmp_path, first, expects):
    path = saved(tmp_path/"m.keras", *first())
    assert saved_model(path).scaling == expects
    if expects != "minus1to1":
        with pytest.warns(UserWarning, match=f"trainer_scaling {expects}"): saved_model(path, scaling="minus1to1")


def test_an_own_scaling_is_used_and_enters_the_key(tmp_path):
    path = saved(tmp_path/"m.keras")
    one = saved_model(path, scaling=halves)
    np.testing.assert_allclose(one.prepare(np.full((1, 32, 32, 3), 255, "uint8")), .5)
    assert one.key != saved_model(path, scaling=lambda x: x/255 - .4).key != saved_model(path).key
    with pytest.raises(ValueError, match="scaling must be one of auto"): saved_model(path, scaling="0to2")


def test_bounds_that_do_not_hold_are_left_out(tmp_path):
    assert input_bounds(saved_model(saved(tmp_path/"m.keras"), scaling="standardised").prepare, (8, 8, 3)) is None
    low, high = input_bounds(saved_model(tmp_path/"m.keras").prepare, (8, 8, 3))
    assert (low == -1).all() and (high == 1).all()


def test_a_model_of_any_size_takes_the_size_asked_for(tmp_path):
    i = L.Input((None, None, 3))
    tf.keras.Model(i, L.Dense(8)(L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(i)))).save(tmp_path/"any.keras")
    one, other = (saved_model(tmp_path/"any.keras", size=s) for s in (40, 50))
    assert one.prepare(np.zeros((1, 9, 9, 1), "uint8")).shape == (1, 40, 40, 3) and one.key != other.key


# --- classes -----------------------------------------------------------------------------------------------------

def parameters_of(**values):
    known = {n: v.default for n, v in declared(root()/"nbs"/"06_trainee.ipynb").items()}
    return SimpleNamespace(**known | values)


def settings_of(**values): return TrainerSettings.of(parameters_of(**values))


COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [200, 200, 30]])


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    "A folder of four classes that a network without training tells apart by their mean colours, and that network."
    folder = tmp_path_factory.mktemp("colours")
    draw = np.random.default_rng(0)
    for k, name in enumerate(("blue", "lime", "navy", "rose")):
        (folder/"own"/name).mkdir(parents=True)
        for i in range(20):
            picture = (COLOURS[k] + draw.integers(-20, 20, (16, 16, 3))).clip(0, 255).astype("uint8")
            Image.fromarray(picture).save(folder/"own"/name/f"{name}{i}.png")
    def model(order, path, scale=1.):
        net = tf.keras.Sequential([L.Input((16, 16, 3)), L.GlobalAveragePooling2D(), L.Dense(4)])
        centres = (COLOURS[order]/255*scale).astype("float32")
        net.layers[-1].set_weights([2*centres.T, -(centres**2).sum(1)])
        net.save(folder/path)
        return folder/path
    return SimpleNamespace(root=folder/"own", model=model)


def trainer_of(colours, path, **values):
    return trainer_from(None, settings_of(trainer=str(path), trainer_corpus="folder", trainer_root=str(colours.root),
                                            trainer_options="classes=found valid_fraction=0.4", **values))


def test_auto_finds_the_scaling_by_labels(colours, capsys):
    one = trainer_of(colours, colours.model([0, 1, 2, 3], "right.keras", 255.))
    assert one.scaling == "0to255" and "trainer_scaling auto: 0to255" in capsys.readouterr().out


def test_another_order_is_refused_or_said(colours):
    path = colours.model([3, 2, 1, 0], "turned.keras")
    with pytest.raises(ValueError, match='another order.*trainer_classes "rose, navy, lime, blue"'):
        trainer_of(colours, path)
    with pytest.warns(UserWarning, match="another order"):
        trainer_of(colours, path, trainer_classes="lime blue navy rose")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        one = trainer_of(colours, path, trainer_classes="rose navy lime blue")
    corpus = load("folder", colours.root, classes="found")
    line = account(one, corpus, one.model()(one.prepare(corpus.images[:])).numpy())
    assert "accuracy 1.000, macro F1 1.000" in line


def test_another_number_of_classes_needs_names(tmp_path):
    path = saved(tmp_path/"m.h5", channels=1, classes=7)
    with pytest.raises(ValueError, match="7 outputs.*8 classes.*trainer_classes"):
        trainer_from(None, settings_of(trainer=str(path)))
    with pytest.raises(ValueError, match="different names, got 2"):
        trainer_from(None, settings_of(trainer=str(path), trainer_classes="happy sad"))
    names = "anger disgust fear happy sad surprise neutral"
    assert trainer_from(None, settings_of(trainer=str(path), trainer_classes=names)).classes == tuple(names.split())


def test_one_class_for_all_is_a_warning():
    corpus = Corpus(np.zeros((4, 8, 8, 1), "uint8"), [0, 1, 0, 1], ("a", "b"), list("wxyz"))
    with pytest.warns(UserWarning, match="'b' for 100 %"):
        line = account(SimpleNamespace(classes=("a", "b")), corpus, np.array([[0, 1.]]*4))
    assert "accuracy 0.500" in line and "it says b 100 %, a 0 %" in line


def test_an_unknown_class_is_left_to_the_trainee():
    classes = ("happy", "contempt", "anger")
    trainer = SimpleNamespace(classes=("Anger", "Happiness"))
    mine, theirs, known = aligned(trainer, np.array([[9., 0], [0, 9], [5, 5]]), classes,
                                  np.array([[0., 0, 1], [1, 0, 0], [0, 9, 0]]))
    rows = {r["rule"]: r for r in fusion(np.array([2, 0, 1]), mine, theirs, known)}
    assert [rows[r]["accuracy"] for r in ("trainee", "mean", "product")] == [1, 1, 1]
    assert rows["trainer"]["accuracy"] == pytest.approx(2/3)
    assert all(np.isfinite(r["f1"]) for r in rows.values())


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 9))
def test_fusion_does_not_depend_on_the_order_of_outputs(order, seed):
    draw, classes = np.random.default_rng(seed), ("a", "b", "c", "d")
    a, b, labels = draw.normal(size=(40, 4)), draw.normal(size=(40, 4)), draw.integers(0, 4, 40)
    turned = aligned(SimpleNamespace(classes=tuple(classes[k] for k in order)), a[:, list(order)], classes, b)
    assert fusion(labels, *turned) == fusion(labels, a, b)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(5)))
def test_the_best_order_is_found(order):
    labels = np.arange(100)//2 % 5
    found, accuracy = best_order(labels, np.array(order)[labels], 5, 5)
    assert accuracy == 1 and [order[k] for k in found] == list(range(5))


# --- corpora of other classes ------------------------------------------------------------------------------------

@pytest.mark.parametrize("names", [["0", "1", "2"], ["1_Surprise", "2_Fear"], ["cat", "dog"]])
def test_own_classes_are_one_parameter_away(tmp_path, names):
    for name in names:
        (tmp_path/name).mkdir()
        for i in range(6): Image.fromarray(np.full((8, 8), 9*i, "uint8")).save(tmp_path/name/f"{i}.png")
    with pytest.raises(ValueError, match='-p trainer_options "classes=found"'):
        corpora("folder", str(tmp_path), parameter="trainer_options")
    train, valid = corpora("folder", str(tmp_path), size=16, options="classes=found valid_fraction=0.4")
    assert list(train.classes) == sorted(names) and len(train) + len(valid) == 6*len(names)
    assert train.images.shape[1:3] == (16, 16)


@pytest.mark.parametrize("text, said", [("clases=found", "did you mean 'classes'"),
                                        ("image_size=9", "parameters for it"), ("x", "write key=value"),
                                        ("classes=[a", "not closed"), ("names=a names=b", "given twice"),
                                        ("=a", "write key=value")])
def test_options_are_checked_before_anything_is_opened(text, said):
    for name, of in (("options", "corpus"), ("trainer_options", "trainer_corpus")):
        with pytest.raises(ValueError, match=f"{name}.*{said}"):
            Condition.of(parameters_of(**{name: text, of: "folder"}))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30))
def test_any_text_of_options_is_read_or_refused(text):
    try: read_options(text, "folder")
    except ValueError: pass


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abcxyz01_", min_size=1, max_size=8), min_size=1, max_size=5))
def test_names_stay_text(names):
    assert option_values(["names=" + ",".join(names)])["names"] == names


@pytest.mark.parametrize("word", ["Angst", "mad", "Trauer", "tear", "Ekel"])
def test_another_word_is_no_misspelling(word):
    with pytest.raises(ValueError, match="unknown label") as error: class_index(word)
    assert "did you mean" not in str(error.value)


def test_every_notebook_that_chooses_a_corpus_has_its_options():
    for file in (root()/"nbs").glob("0*.ipynb"):
        known = declared(file)
        for place, name in (("data_root", "options"), ("trainer_root", "trainer_options"),
                            ("gaze_root", "gaze_options")):
            assert (place in known) == (name in known), file.name
        if "trainer_size" in known:
            assert {"trainer_scaling", "trainer_classes", "trainer_trust", "trainer_module"} <= set(known), file.name


def test_papermill_reads_every_line_of_parameters():
    from papermill.inspection import inspect_notebook
    for file in (root()/"nbs").glob("0*.ipynb"):
        if known := declared(file): assert set(inspect_notebook(str(file))) == set(known), file.name

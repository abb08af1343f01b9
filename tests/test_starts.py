"""Starts that do not depend on a constant in the logits; images whose explained value is not positive are counted
and told."""
import os, shutil, signal, subprocess, sys, time, warnings
from pathlib import Path
import numpy as np, pytest, tensorflow as tf
from lrp_reference import Reference
from rbdm_nb.corpora.datasets import load
from rbdm_nb.masking import CONTROLS, MASKS, corpus_masks, make_mask, mean_mask, negative_mask, perceptive_mask
from rbdm_nb.explain import relevance
from rbdm_nb.explain.methods import maps
from rbdm_nb.explain.relevance import METHODS, Explainer, empty_maps, layer_maps
from rbdm_nb.explain.rules import integrated_gradients
from rbdm_nb.store import Store

keras, L = tf.keras, tf.keras.layers
COMPARED = ["over_mean", "over_runner_up"]
RULES = [m for m in METHODS if m != "cnn_fixations"]
GRADIENTS = ("gradient", "input_x_gradient", "integrated_gradients", "smoothgrad", "guided_backprop")


def network(end="none", norm=False):
    "A small classifier of five classes with weights of both signs, its logits as they are or followed by a softmax."
    i = L.Input((10, 10, 3))
    x = L.MaxPooling2D()(L.Conv2D(6, 3, activation="relu")(i))
    x = L.Conv2D(7, 3, activation="relu")(x)
    x = L.GlobalAveragePooling2D()(x)
    if norm: x = L.BatchNormalization()(x)
    x = L.Dense(5, activation="softmax" if end == "inside" else None, name="logits")(x)
    if end == "layer": x = L.Softmax()(x)
    model, draw = keras.Model(i, x), np.random.default_rng(3)
    model.set_weights([draw.uniform(0.5, 1.5, w.shape) if "moving_variance" in v.name else draw.normal(0, 0.4, w.shape)
                       for v, w in zip(model.weights, model.get_weights())])
    return model


def images(n=6): return np.random.default_rng(1).uniform(-1, 1, (n, 10, 10, 3)).astype("float32")


def with_last(model, kernel, bias):
    changed = keras.models.clone_model(model)
    changed.set_weights([*model.get_weights()[:-2], kernel, bias])
    return changed


def plus(model, constant):
    *_, w, b = model.get_weights()
    return with_last(model, w, b + np.float32(constant))


def difference(model, over, c, r=None):
    "The model whose output `c` is the difference of logits that is explained; its other outputs are 0."
    *_, w, b = model.get_weights()
    kernel, bias = np.zeros_like(w), np.zeros_like(b)
    kernel[:, c] = w[:, c] - (w.mean(1) if over == "over_mean" else w[:, r])
    bias[c] = b[c] - (b.mean() if over == "over_mean" else b[r])
    return with_last(model, kernel, bias)


def spread(a, b): return np.abs(a - b).max()/np.abs(b).max()


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("over", COMPARED)
@pytest.mark.parametrize("method", RULES)
def test_a_constant_changes_nothing(method, over, norm):
    "Bound: a bias of 5 is itself rounded to 5e-7."
    model, x = network(norm=norm), images()
    explainer, found, weights = Explainer(model, method, (-1, 1), over), [], model.get_weights()
    for constant in (-5, 0, 5):
        model.set_weights([*weights[:-1], weights[-1] + np.float32(constant)])
        found.append(explainer(x))
    low, here, high = found
    assert here.any((1, 2)).all() and spread(low, here) < 1e-5 and spread(high, here) < 1e-5


def test_without_a_start_a_constant_decides():
    model, x = network(), images()
    with pytest.warns(UserWarning, match="not positive for 6 of 6 images, and their maps are zero everywhere"):
        low = Explainer(plus(model, -50))(x)
    assert not low.any() and Explainer(plus(model, 50))(x).any((1, 2)).all()


DIVIDING = ["gradient", "input_x_gradient", "guided_backprop", "lrp_z", "lrp_epsilon", "lrp_gamma", "lrp_alpha_beta",
            "lrp_wsquare", "lrp_flat",
            "deep_taylor", "deep_taylor_bounded", "lrp_composite", "lrp_argmax"]


@pytest.mark.parametrize("over", COMPARED)
@pytest.mark.parametrize("method, end", [*((m, "none") for m in DIVIDING), ("deep_taylor", "inside"),
                                         ("deep_taylor", "layer"), ("lrp_epsilon", "layer")])
def test_the_map_is_that_of_the_difference_as_an_output(method, over, end):
    "Against the slow reference, on a network whose last layer computes the difference."
    model, x = network(), images(2)
    logits = model(x).numpy()
    order = np.argsort(-logits, 1)
    got, own = Explainer(with_end(model, end), method, (-1, 1), over).explain(x)
    np.testing.assert_allclose(own, logits, rtol=1e-4, atol=1e-5)
    for k, (c, r) in enumerate(order[:, :2]):
        plain = difference(model, over, c, r)
        expected = Explainer(plain, method, (-1, 1))(x[k:k + 1], int(c))[0]
        assert spread(got[k], expected) < 1e-4
        if method in ("lrp_epsilon", "lrp_gamma", "deep_taylor"):
            slow = Reference(plain).relevance(x[k:k + 1], method)
            assert spread(got[k], slow[0].sum(-1)) < 1e-4


def with_end(model, end):
    changed = network(end)
    changed.set_weights(model.get_weights())
    return changed


def test_a_path_keeps_the_runner_up_of_its_image():
    "Integrated gradients explain one difference all the way, though on the way another class is second."
    model, x = network(), images()
    order = np.argsort(-model(x).numpy(), 1)[:, :2]
    halfway = [model(np.float32(t)*x).numpy() for t in (0.05, 0.25, 0.5)]
    for z in halfway: np.put_along_axis(z, order[:, :1], -np.inf, 1)
    assert any((z.argmax(1) != order[:, 1]).any() for z in halfway)
    got = Explainer(model, integrated_gradients(32), start="over_runner_up")(x)
    for k, (c, r) in enumerate(order):
        one = Explainer(difference(model, "over_runner_up", c, r), integrated_gradients(32))
        assert spread(got[k], one(x[k:k + 1], int(c))[0]) < 1e-5
    gap = lambda x: np.array([row[c] - row[r] for row, (c, r) in zip(model(x).numpy(), order)])
    off = [np.abs(Explainer(model, integrated_gradients(steps),
                            start="over_runner_up")(x).sum((1, 2)) - gap(x) + gap(0*x)).max() for steps in (16, 1024)]
    assert off[1] < off[0]/4 and off[1] < 2e-3   # midpoints: the sum is the change of the difference in the limit


@pytest.mark.parametrize("over", COMPARED)
def test_the_ledger_and_the_layers_start_with_the_difference(over):
    model, x = network(), images()
    explainer, order = Explainer(model, "lrp_z", start=over), np.sort(model(x).numpy(), 1)[:, ::-1]
    value = order[:, 0] - (order.mean(1) if over == "over_mean" else order[:, 1])
    pages, maps = explainer.ledger(x), explainer(x)
    assert np.isclose(pages.attrs["start"], value.sum(), rtol=1e-4) and np.isclose(pages.attrs["pixels"], maps.sum(),
                                                                                   rtol=1e-4)
    np.testing.assert_allclose(pages.arrives - pages.hands_down,
                               pages[["bias", "dead", "padding", "other"]].sum(axis=1), atol=1e-4)
    np.testing.assert_allclose(layer_maps(explainer, x, ["logits"])["logits"][1].sum(1), value, rtol=1e-4)


def test_a_model_inside_a_model_has_its_last_dense_layer():
    inner, x = network("layer"), images()
    i = L.Input((10, 10, 3))
    outer = keras.Model(i, inner(i))
    for over in COMPARED:
        np.testing.assert_allclose(Explainer(outer, start=over)(x), Explainer(inner, start=over)(x), rtol=1e-5,
                                   atol=1e-7)


def test_what_has_no_last_dense_layer_is_refused_by_name():
    i = L.Input((8, 8, 3))
    pooled = keras.Model(i, L.GlobalAveragePooling2D(name="mean")(L.Conv2D(5, 3)(i)))
    with pytest.raises(ValueError, match="'mean'.*end the model in Dense"): Explainer(pooled, start="over_mean")
    with pytest.raises(ValueError, match="'bent'"):
        Explainer(keras.Model(i, L.Dense(4, activation="relu", name="bent")(L.Flatten()(i))), start="over_mean")
    twice = L.Dense(4, name="twice")
    with pytest.raises(ValueError, match="'twice'"):
        Explainer(keras.Model(i, twice(twice(L.Dense(4)(L.Flatten()(i))))), start="over_mean")
    assert Explainer(pooled, "gradient", start="over_mean")(np.ones((1, 8, 8, 3), "float32")).any()
    with pytest.raises(ValueError, match="did you mean 'over_mean'"): Explainer(network(), start="over_men")
    with pytest.raises(ValueError, match="the model has one"):
        Explainer(keras.Model(i, L.Dense(1)(L.Flatten()(i))), start="over_mean")
    with pytest.raises(ValueError, match="pick neurons"): Explainer(network(), "cnn_fixations", start="over_mean")


# --- telling ----------------------------------------------------------------------------------------------------

def told(run):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run()
    return [str(w.message) for w in caught if w.category is UserWarning]


@pytest.mark.parametrize("method", METHODS)
def test_what_a_negative_logit_does_is_told_where_it_does_something(method):
    model, x = plus(network(), -50), images()
    said = told(lambda: Explainer(model, method, (-1, 1))(x))
    if method in (*GRADIENTS, "cnn_fixations", "lrp_z", "lrp_epsilon", "lrp_gamma", "lrp_composite"): assert not said
    else:
        assert (len(said) == 1 and f"{method}: the logit is not positive for 6 of 6 images" in said[0]
                and "start='over_mean'" in said[0])
        assert ("zero everywhere" if method.startswith("deep_taylor") else "negative") in said[0]
    if method != "cnn_fixations": assert not told(lambda: Explainer(model, method, (-1, 1), "over_mean")(x))


def test_the_count_is_exact_and_of_the_class_asked_for():
    model, x = network(), images(30)
    logits = model(x).numpy()
    shifted = plus(model, -np.median(logits.max(1)))
    not_positive = (shifted(x).numpy().max(1) <= 0).sum()
    assert 0 < not_positive < 30
    assert f"not positive for {not_positive} of 30 images" in told(lambda: Explainer(shifted)(x))[0]
    losing = (logits[:, 2] - logits.mean(1) <= 0).sum()
    said = told(lambda: Explainer(model, start="over_mean")(x, 2))
    assert (f"not positive for {losing} of 30" in said[0]
            and "not the one predicted" in said[0]) if losing else not said
    assert not told(lambda: Explainer(shifted).explain(x, tell=False))
    np.testing.assert_array_equal(Explainer(shifted).undecided(shifted(x).numpy()), shifted(x).numpy().max(1) <= 0)


def test_maps_that_are_empty_for_another_reason_are_told():
    i = L.Input((6, 6, 1))
    dead = L.Conv2D(2, 3, activation="relu", bias_initializer=keras.initializers.Constant(-100.))
    model = keras.Model(i, L.Dense(2, bias_initializer="ones")(L.Flatten()(dead(i))))
    assert "3 of 3 maps are zero everywhere" in told(lambda: Explainer(model)(np.ones((3, 6, 6, 1), "float32")))[0]


def test_stored_maps_and_their_masks_count_them(tmp_path, capsys):
    corpus = load("synthetic", n=8, image_size=16, domain="studio", seed=0)
    prepare = lambda x: x.astype("float32")/127.5 - 1
    i = L.Input((16, 16, 3))
    last = L.Dense(4, bias_initializer=keras.initializers.Constant(-1000.))
    model = keras.Model(i, last(L.GlobalAveragePooling2D()(L.Conv2D(3, 3, activation="relu")(i))))
    for again in range(2):
        kept = maps(model, corpus, prepare, Store(tmp_path), batch_size=5, trainer="negative")
        said = capsys.readouterr().out
        assert kept.entry.meta["empty"] == kept.empty == kept.entry.meta["not_positive"] == 8
        assert "8 of 8 relevance maps" in said and "start='over_mean'" in said
    for name in (*MASKS, *CONTROLS)[1:]:
        masks = corpus_masks(Store(tmp_path), kept, name, 12, fixations=3)
        assert "8 of 8 maps are zero everywhere" in capsys.readouterr().out and len(masks) == 8
    over = maps(model, corpus, prepare, Store(tmp_path), batch_size=5, start="over_mean", trainer="negative")
    assert over.entry.key != kept.entry.key and over.empty == 0 and not capsys.readouterr().out
    np.testing.assert_allclose(over.relevance[:], Explainer(model, start="over_mean")(prepare(corpus.images[:])),
                               rtol=1e-4, atol=1e-7)
    assert over.entry.inputs["start"] == "over_mean"


def test_masks_of_maps_that_say_nothing_are_told():
    r = np.random.default_rng(0).random((5, 8, 8))
    r[1], r[3] = 0, 0.25
    for make in (mean_mask, negative_mask, lambda r: perceptive_mask(r, 3),
                 *(lambda r, name=name: make_mask(name, r, 3) for name in (*MASKS, *CONTROLS)[1:])):
        said = told(lambda make=make: make(r))
        assert len(said) == 1 and "2 of 5 maps say nothing: 1 are zero everywhere, 1 constant" in said[0]
        assert not told(lambda make=make: make(r[[0, 2, 4]]))
    assert (mean_mask(r)[[1, 3]].all() and not perceptive_mask(r, 3)[1].any()
            and (~negative_mask(r))[1].ravel()[:7].all())
    said = told(lambda: perceptive_mask(-r, 3))
    assert "5 of 5 maps say nothing" in said[0] and "3 have no positive value" in said[0]


def test_empty_maps_in_parts():
    r = np.random.default_rng(0).integers(0, 2, (23, 2, 1))
    np.testing.assert_array_equal(empty_maps(r, rows=4), ~r.any((1, 2)))
    assert not len(empty_maps(np.zeros((0, 3, 3))))


# --- maps that several processes make ------------------------------------------------------------------------------

MAKE = """
import os, sys, time
from pathlib import Path
from test_starts import images, network
from rbdm_nb.reproducibility import deterministic
deterministic(0, threads=1)
from rbdm_nb.corpora.datasets import load
from rbdm_nb.explain.methods import maps
from rbdm_nb.store import Store
folder, processes = Path(sys.argv[1]), int(sys.argv[2])
corpus, model = load("synthetic", n=1200, image_size=20, domain="studio", seed=0), network()
(folder/f"ready_{os.getpid()}").touch()
while len(list(folder.glob("ready_*"))) < processes: time.sleep(0.02)
def prepare(x):
    time.sleep(0.02)
    if len(x) > 1: (folder/f"worked_{os.getpid()}").touch()
    return x[:, ::2, ::2].astype("float32")/127.5 - 1
kept = maps(model, corpus, prepare, Store(folder/"store"), batch_size=32, start="over_mean", trainer="tiny")
print(kept.entry.key)
"""


def begin(folder, processes, *before):
    "A process that makes maps in the store in `folder`, with so many; its library is looked for `before` elsewhere."
    path = os.pathsep.join([*map(str, before), str(Path(__file__).parent), *sys.path])
    return subprocess.Popen([sys.executable, "-c", MAKE, str(folder), str(processes)], stdout=subprocess.PIPE,
                            env=dict(os.environ, PYTHONPATH=path), text=True, cwd=folder)


def key(process): return process.communicate(timeout=120)[0].split()[-1]


def chunks(folder):
    "Bytes of the chunks of maps and logits in the store in `folder`."
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.glob("store/maps/*/*.zarr/c/**/*")
            if f.is_file()}


def made_by(folder, processes, kill=False):
    "What so many processes make; with `kill`, the first dies in its first chunk."
    folder.mkdir()
    started = [begin(folder, processes) for _ in range(processes)]
    if kill:
        while not (folder/f"worked_{started[0].pid}").exists() and started[0].poll() is None: time.sleep(0.02)
        started[0].send_signal(signal.SIGKILL)
        assert started.pop(0).wait(60) == -signal.SIGKILL
    assert len(set(map(key, started))) == 1 and len(list(folder.glob("worked_*"))) == processes
    assert len(chunks(folder)) == 10    # five of each
    return chunks(folder)


def test_maps_have_the_same_bits_however_many_processes_make_them(tmp_path):
    one = made_by(tmp_path/"one", 1)
    assert made_by(tmp_path/"two", 2) == one and made_by(tmp_path/"three", 3) == one
    assert made_by(tmp_path/"killed", 2, kill=True) == one


def test_clones_with_different_code_do_not_mix(tmp_path):
    "Both ask at the same time, in one store; what decides a map differs: the step of a chunk."
    other = tmp_path/"clone"/"rbdm_nb"
    shutil.copytree(Path(relevance.__file__).parents[1], other, ignore=shutil.ignore_patterns("__pycache__"))
    file = other/"explain"/"relevance.py"
    assert file.read_text().count("    rows = 256 ") == 1
    file.write_text(file.read_text().replace("    rows = 256 ", "    rows = 512 "))
    keys = list(map(key, [begin(tmp_path, 2), begin(tmp_path, 2, other.parent)]))
    assert keys[0] != keys[1]
    assert {k: len([n for n in chunks(tmp_path) if k in n]) for k in keys} == {keys[0]: 10, keys[1]: 6}

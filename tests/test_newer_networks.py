"""LRP of what came after ReLU networks: squeeze-and-excite, curves, group convolutions, normalisations, attention.

Each rule against the slow float64 reference on a small network of each family; attention against numbers of LXT, its
authors' library (tests/lxt_fixture.py); the ledger and the model's own outputs on Keras's networks."""
import subprocess, sys
from dataclasses import replace
from pathlib import Path
import numpy as np, pytest, tensorflow as tf
from lrp_reference import Reference
from rbdm_nb.explain.layers import LAYER_SCALE, STOCHASTIC_DEPTH
from rbdm_nb.explain.methods import explainer
from rbdm_nb.explain.relevance import METHODS, Explainer
from rbdm_nb.explain.rules import HALVES, lrp_z
from rbdm_nb.explain.starts import STARTS, Against

keras, L, HERE = tf.keras, tf.keras.layers, Path(__file__).resolve().parent
LRP = ["lrp_z", "lrp_epsilon", "lrp_gamma", "lrp_alpha_beta", "lrp_wsquare", "lrp_flat", "lrp_composite"]
BOUNDS = (-1., 1.)


def filled(model, seed=0):
    "`model` with random weights of usual size, so that nothing is 0 and little is near it."
    draw = np.random.default_rng(seed)
    for v in model.weights:
        name, shape = getattr(v, "path", v.name).split("/")[-1].split(":")[0], tuple(v.shape)
        if "seed" in name or name == "count": continue
        if name in ("moving_variance", "variance"): a = draw.uniform(.5, 2, shape)
        elif name == "gamma": a = draw.uniform(.5, 1.5, shape)
        elif name in ("beta", "bias", "moving_mean", "mean"): a = draw.normal(0, .3, shape)
        else: a = draw.normal(0, 1.3/np.sqrt(max(np.prod(shape[:-1]), 1)), shape)
        v.assign(a.astype(v.dtype if isinstance(v.dtype, str) else v.dtype.as_numpy_dtype))
    return model


def images(shape, n=2, seed=1): return np.random.default_rng(seed).uniform(-1, 1, (n, *shape)).astype("float32")


def error(a, b): return np.abs(a - b).max()/np.abs(b).max()


# --- one small network of each family ---------------------------------------------------------------------------

def excited(x, name, inner, gate):
    "Squeeze-and-excite."
    y = L.Reshape((1, 1, x.shape[-1]))(L.GlobalAveragePooling2D()(x))
    y = L.Conv2D(x.shape[-1], 1, activation=gate)(L.Conv2D(3, 1, activation=inner)(y))
    return L.Multiply(name=f"gate_{name}")([x, y])


def normed(x, act="swish"): return L.Activation(act)(L.BatchNormalization()(x))


def efficient():
    i = L.Input((8, 8, 3))
    x = normed(L.Conv2D(5, 3, strides=2, padding="same", use_bias=False)(i))
    y = normed(L.Conv2D(7, 1, use_bias=False)(x))
    y = excited(normed(L.DepthwiseConv2D(3, padding="same", use_bias=False)(y)), "efficient", "swish", "sigmoid")
    x = L.Add()([L.Dropout(.2, noise_shape=(None, 1, 1, 1))(L.BatchNormalization()(L.Conv2D(5, 1)(y))), x])
    return keras.Model(i, L.Dense(4)(L.GlobalAveragePooling2D()(x)))


def regnet():
    i = L.Input((6, 6, 4))
    x = L.ReLU()(L.GroupNormalization(2)(L.Conv2D(6, 3, groups=2, padding="same")(i)))
    y = excited(L.ReLU()(L.Conv2D(8, 3, strides=2, groups=2, use_bias=False)(x)), "regnet", "relu",
                "hard_sigmoid")
    return keras.Model(i, L.Dense(4)(L.Flatten()(y)))


def convnext():
    i = L.Input((8, 8, 3))
    x = L.LayerNormalization(epsilon=1e-3)(L.Conv2D(6, 2, strides=2)(i))
    y = L.LayerNormalization()(L.Conv2D(6, 3, padding="same", groups=6)(x))
    y = L.Dense(6)(L.Activation("gelu")(L.Dense(9)(y)))
    x = L.Add()([x, STOCHASTIC_DEPTH[0](.1)(LAYER_SCALE[0](.5, 6)(y))])
    return keras.Model(i, L.Dense(4)(L.LayerNormalization()(L.GlobalAveragePooling2D()(x))))


def vit(blocks=1):
    i = L.Input((8, 8, 3))
    x = L.Reshape((16, 6))(L.Conv2D(6, 2, strides=2)(i))
    x = L.EinsumDense("btc,cd->btd", (16, 6), bias_axes="td")(x)          # its bias is a learned place
    for _ in range(blocks):
        y = L.LayerNormalization()(x)
        x = L.Add()([x, L.MultiHeadAttention(2, 3)(y, y)])
        y = L.Dense(6)(L.Dense(8, activation="gelu")(L.LayerNormalization()(x)))
        x = L.Add()([x, y])
    return keras.Model(i, L.Dense(4)(L.GlobalAveragePooling1D()(L.LayerNormalization()(x))))


def attending():
    "Attention without dense layers, of query, value and key, and a product of two things none of which is a gate."
    i = L.Input((4, 3, 5))
    x = L.Reshape((12, 5))(i)
    y = L.Attention(use_scale=True)([L.Dense(4)(x), L.Dense(4)(x), L.Dense(4)(x)])
    y = L.Multiply(name="equal")([y, L.Dense(4)(x)])
    return keras.Model(i, L.Dense(4)(L.Flatten()(y)))


NETWORKS = dict(efficient=efficient, regnet=regnet, convnext=convnext, vit=vit, attending=attending)
KEPT = {}


def network(name):
    "(model with weights, images, slow reference) of one of `NETWORKS`."
    if name not in KEPT:
        keras.utils.set_random_seed(0)
        model = filled(NETWORKS[name]())
        KEPT[name] = model, images(model.input_shape[1:]), Reference(model)
    return KEPT[name]


@pytest.mark.parametrize("method", [*LRP, "lrp_argmax"])
@pytest.mark.parametrize("name", NETWORKS)
def test_maps_are_those_of_the_reference(name, method):
    if method == "lrp_argmax" and name in ("vit", "attending"): pytest.skip("attention has no winner")
    model, x, slow = network(name)
    got, logits = Explainer(model, method, BOUNDS).explain(x, target=1, tell=False)
    expected = slow.relevance(x, method, target=1, bounds=BOUNDS).sum(-1)
    np.testing.assert_allclose(logits, slow.logits(x), rtol=1e-4, atol=1e-4)
    assert error(got, expected) < 2e-3


@pytest.mark.parametrize("name", NETWORKS)
def test_the_ledger_balances(name):
    "With the z-rule all that does not arrive went to biases; the rest is rounding."
    model, x, _ = network(name)
    pages = Explainer(model, "lrp_z").ledger(x)
    size = max(pages.arrives.abs().max(), pages.bias.abs().max())
    assert pages.other.abs().max() < 1e-4*size and pages.dead.abs().max() < 1e-4*size
    lost = pages[["bias", "dead", "padding", "other"]].to_numpy().sum()
    assert abs(pages.attrs["start"] - pages.attrs["pixels"] - lost) < 1e-4*size


def test_a_gate_by_halves():
    "A gate that has its half is another method; two factors that are none have it anyway."
    model, x, _ = network("efficient")
    halved = Explainer(model, replace(lrp_z(), product=HALVES))(x, 1)
    assert error(halved, Explainer(model, "lrp_z")(x, 1)) > 1e-2
    model, x, _ = network("attending")
    np.testing.assert_array_equal(Explainer(model, replace(lrp_z(), product=HALVES))(x, 1),
                                  Explainer(model, "lrp_z")(x, 1))


def test_masked_and_called_in_other_ways():
    i = L.Input((5, 6))
    tail = lambda y: L.Dense(3)(L.Flatten()(y))
    def attended(**options): return keras.Model(i, tail(L.MultiHeadAttention(2, 3, name="odd")(i, i, **options)))
    with pytest.raises(ValueError, match="'odd'.*use_causal_mask"):
        Explainer(attended(use_causal_mask=True), "lrp_z")
    one, two = filled(attended()), attended(key=i)
    two.set_weights(one.get_weights())
    three = keras.Model(i, tail(L.MultiHeadAttention(2, 3)(query=i, value=i)))
    three.set_weights(one.get_weights())
    maps = [Explainer(model, "lrp_z")(images((5, 6)), 0) for model in (one, two, three)]
    assert error(maps[1], maps[0]) < 1e-4 and error(maps[2], maps[0]) < 1e-4


# --- LXT ----------------------------------------------------------------------------------------------------------

def lxt_block(kept):
    "The block of tests/lxt_fixture.py, and its first part, as models whose output is flat."
    i = L.Input((5, 6))
    y = L.LayerNormalization(epsilon=1e-3, name="n1")(i)
    attention = L.MultiHeadAttention(2, 3, name="a")
    middle = L.Add()([i, attention(y, y)])
    y = L.Dense(8, activation="gelu", name="d1")(L.LayerNormalization(epsilon=1e-3, name="n2")(middle))
    model = keras.Model(i, L.Add()([middle, L.Dense(6, name="d2")(y)]))
    heads = lambda n: [kept[n].reshape(6, 2, 3), kept[f"b{n}"].reshape(2, 3)]
    model.get_layer("a").set_weights([w for n in "qkv" for w in heads(n)] + [kept["o"].reshape(2, 3, 6), kept["bo"]])
    for n in "12":
        model.get_layer(f"n{n}").set_weights([kept[f"gamma{n}"], kept[f"beta{n}"]])
        model.get_layer(f"d{n}").set_weights([kept[f"w{n}"], kept[f"b{n}"]])
    return model


def test_a_block_has_the_numbers_of_lxt():
    from rbdm_nb.explain.layers import Graph
    from rbdm_nb.explain.relevance import copy_network
    kept = np.load(HERE/"fixtures"/"lxt.npz")
    network = copy_network(lxt_block(kept), lrp_z(), Graph(), last=False)
    x, r = (tf.constant(kept[n], tf.float32) for n in ("x", "r"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = network(x)
    np.testing.assert_allclose(y.numpy(), kept["output"], rtol=1e-4, atol=1e-4)
    assert error(tape.gradient(y, x, output_gradients=r).numpy(), kept["relevance"]) < 1e-3
    np.testing.assert_array_equal(kept["factors"][0], kept["r"]/2)


def test_the_fixture_is_made_anew(tmp_path):
    "The script gives the numbers that are kept, where torch and lxt are."
    pytest.importorskip("torch")
    pytest.importorskip("lxt")
    script = tmp_path/"lxt_fixture.py"
    script.write_text((HERE/"lxt_fixture.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path/"fixtures").mkdir()
    subprocess.run([sys.executable, script], check=True)
    made, kept = (np.load(folder/"fixtures"/"lxt.npz") for folder in (tmp_path, HERE))
    for name in kept.files: np.testing.assert_allclose(made[name], kept[name], rtol=1e-6, atol=1e-9)


# --- Keras's networks -------------------------------------------------------------------------------------------

APPLICATIONS = ("EfficientNetB0", "MobileNetV3Small", "ConvNeXtTiny", "RegNetY002")


@pytest.fixture(scope="module", params=[n for n in APPLICATIONS if hasattr(keras.applications, n)])
def application(request):
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, request.param)(weights=None, classes=5, classifier_activation=None,
                                                       input_shape=(32, 32, 3))
    return filled(model)


def test_an_application_conserves_and_is_explained(application):
    "The ledger balances, and the logits are the model's to 1e-4."
    x = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    explained = Explainer(application, "lrp_composite", (0., 255.))
    relevance, logits = explained.explain(x, 0, tell=False)
    assert error(logits, application(x, training=False).numpy()) < 1e-4
    assert np.isfinite(relevance).all() and relevance.any()
    pages = explained.ledger(x, 0)
    size = pages.arrives.abs().max() + pages.bias.abs().max()
    assert pages.other.abs().max() < 1e-3*size


def test_an_application_is_refused_by_name(application):
    with pytest.raises(ValueError, match="layer '.*derived for ReLU.*lrp_"): Explainer(application, "deep_taylor")


# --- starts -------------------------------------------------------------------------------------------------------

def test_a_probability_is_explained():
    "Gradient: the slope of the probability. LRP: what its slope starts at every logit (Iwana et al. 2019)."
    model, x, slow = network("efficient")
    t = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(t)
        p = tf.nn.softmax(model(t, training=False))[:, 1]
    slope = tape.gradient(p, t).numpy()
    assert error(Explainer(model, "gradient", start="probability")(x, 1), slope.sum(-1)) < 1e-4
    logits = slow.logits(x)
    shares = np.exp(logits)/np.exp(logits).sum(1, keepdims=True)
    expected = 0
    for k in range(4):
        begun = shares[:, 1]*((k == 1) - shares[:, k])
        expected = expected + slow.relevance(x, "lrp_epsilon", target=k).sum(-1)*(begun/logits[:, k])[:, None, None]
    assert error(Explainer(model, "lrp_epsilon", start="probability")(x, 1), expected) < 2e-3
    with pytest.raises(ValueError, match="over_runner_up"):
        Explainer(keras.Sequential([L.Input((3,)), L.Dense(2)]), "deep_taylor", start="probability")


@pytest.mark.parametrize("method", ["gradient", "lrp_epsilon", "lrp_gamma", "grad_cam", "extremal"])
def test_a_class_against_another(method):
    "Against the runner-up it is that start; against another the map differs; against itself it is refused."
    model, x, slow = network("efficient")
    options = dict(iterations=3) if method == "extremal" else {}
    second = int(np.argsort(slow.logits(x[:1])[0])[-2])
    best = int(slow.logits(x[:1])[0].argmax())
    runner_up = explainer(model, method, start="over_runner_up", **options)(x[:1])
    np.testing.assert_allclose(explainer(model, method, start=Against(second), **options)(x[:1]), runner_up, rtol=1e-5,
                               atol=1e-6*np.abs(runner_up).max())
    with pytest.raises(ValueError, match="against itself"):
        explainer(model, method, start=Against(second), **options)(x[:1], second)
    if method == "extremal": return
    other = next(k for k in range(4) if k not in (second, best))
    assert error(explainer(model, method, start=Against(other))(x[:1]), runner_up) > 1e-3


def test_starts_by_name():
    model, x, _ = network("efficient")
    for start in STARTS: assert Explainer(model, "gradient", start=start).start == start
    with pytest.raises(ValueError, match="from 0 to 3"): Explainer(model, "gradient", start=Against(4))
    with pytest.raises(ValueError, match="did you mean"): explainer(model, "grad_cam", start="over_run")
    assert set(METHODS) >= set(LRP)

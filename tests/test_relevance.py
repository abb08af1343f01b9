"Relevance: against iNNvestigate, against a slow transcription of the rule, and what a notebook cell cannot show."
import importlib.util, os, subprocess, sys
from pathlib import Path
import numpy as np, pytest, tensorflow as tf
from rbdm_nb.relevance import ALPHA1_BETA0, Explainer, Step, layer_maps, linear_map, maps, propagate

keras, L, HERE = tf.keras, tf.keras.layers, Path(__file__).resolve().parent


def rng(seed): return np.random.default_rng(seed)


# --- networks ---------------------------------------------------------------------------------------------------

def activate(x, name, cap=None, **norm): return L.ReLU(cap, name=f"relu_{name}")(L.BatchNormalization(name=f"norm_{name}", **norm)(x))


def unit(x, name, n, k, **o): return activate(L.Conv2D(n, k, use_bias=False, name=name, **({"padding": "same"} | o))(x), name, scale=False)


def head(i, x): return keras.Model(i, L.Dense(5, name="logits")(L.GlobalAveragePooling2D(name="average")(x)))


def vgg_like():
    x = i = L.Input((16, 16, 3))
    for n in (6, 10): x = L.MaxPooling2D()(L.Conv2D(n, 3, padding="same", activation="relu")(x))
    x = L.Dropout(0.5)(L.Dense(12, activation="relu")(L.Flatten()(x)))
    return keras.Model(i, L.Dense(5, name="logits")(x))


def inception_like():
    i = L.Input((17, 17, 3))
    x = L.MaxPooling2D(3, 2)(unit(i, "stem", 8, 3, strides=2, padding="valid"))
    pooled = L.AveragePooling2D(3, 1, padding="same")(x)
    x = L.Concatenate(name="mixed")([unit(x, "a", 5, 1), unit(unit(x, "b", 4, (1, 3)), "c", 5, (3, 1)), unit(pooled, "d", 4, 1)])
    return head(i, x)


def residual():
    i = L.Input((17, 17, 3))
    x = activate(L.Conv2D(6, 3, strides=2, use_bias=False, name="stem")(L.ZeroPadding2D(((0, 1), (0, 1)))(i)), "stem", 6.)
    y = activate(L.Conv2D(8, 1, use_bias=False, name="expand")(x), "expand", 6.)
    y = activate(L.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(y), "depthwise", 6.)
    x = L.Add(name="sum")([x, L.BatchNormalization(name="norm_project")(L.Conv2D(6, 1, use_bias=False, name="project")(y))])
    return head(i, unit(x, "last", 8, 1))


def separable():
    i = L.Input((12, 12, 3))
    x = unit(i, "stem", 6, 3)
    y = L.BatchNormalization(name="norm_s")(L.SeparableConv2D(8, 3, padding="same", use_bias=False, name="s")(x))
    return head(i, L.Activation("relu", name="last")(L.Add(name="sum")([y, L.Conv2D(8, 1, name="short")(x)])))


NETWORKS = dict(vgg_like=vgg_like, inception_like=inception_like, residual=residual, separable=separable)


def filled(model, seed=0):
    "`model` with weights as after some training: negative scales, moving statistics off their start, a positive decision."
    draw, weights = rng(seed), []
    for layer in model.layers:
        for v, a in zip(layer.weights, layer.get_weights()):
            name = v.name.split("/")[-1].split(":")[0]
            if name == "moving_variance": a = draw.uniform(0.5, 2, a.shape)
            elif name == "gamma": a = draw.uniform(0.5, 1.5, a.shape) * np.where(draw.random(a.shape) < 0.2, -1, 1)
            elif name in ("beta", "bias", "moving_mean"): a = draw.normal(0, 0.2, a.shape)
            else: a = draw.normal(0, 1.5 / np.sqrt(np.prod(a.shape[:-1])), a.shape)
            weights.append(a.astype("float32"))
    weights[-1] += 2
    model.set_weights(weights)
    return model


def images_for(model, n=3, seed=1): return rng(seed).uniform(-1, 1, (n, *model.input_shape[1:])).astype("float32")


def error(a, b): return np.linalg.norm(a - b) / np.linalg.norm(b)


# --- iNNvestigate as oracle -------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def oracle(tmp_path_factory):
    "Networks, images and iNNvestigate's maps of them, by name."
    if importlib.util.find_spec("innvestigate") is None: pytest.skip("innvestigate is not installed (it needs TensorFlow below 2.15)")
    folder, cases = tmp_path_factory.mktemp("oracle"), {}
    for name, make in NETWORKS.items():
        model = filled(make())
        images = images_for(model)
        (folder / f"{name}.json").write_text(model.to_json())
        np.savez(folder / f"{name}.npz", images=images, **{f"w{k}": w for k, w in enumerate(model.get_weights())})
        cases[name] = model, images
    done = subprocess.run([sys.executable, str(HERE / "innvestigate_oracle.py"), str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: (*case, np.load(folder / f"{name}.maps.npz")["maps"].sum(-1)) for name, case in cases.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_innvestigate(oracle, name):
    model, images, expected = oracle[name]
    assert (np.abs(expected).sum((1, 2)) > 0.1).all()
    got = Explainer(model, "deep_taylor_innvestigate2")(images)
    assert error(got, expected) < 1e-5 and np.abs(got - expected).max() < 1e-5 * np.abs(expected).max()


def test_methods_differ_only_with_batch_normalisation(oracle):
    plain, images, _ = oracle["vgg_like"]
    np.testing.assert_array_equal(Explainer(plain)(images), Explainer(plain, "deep_taylor_innvestigate2")(images))
    normalised, images, expected = oracle["inception_like"]
    assert error(Explainer(normalised)(images), expected) > 1e-2


# --- the rule, slowly -------------------------------------------------------------------------------------------

def jacobian(layer, shape):
    "Matrix (inputs, outputs), float64, of the linear part of `layer`, from unit vectors."
    size = int(np.prod(shape))
    units = np.eye(size, dtype="float32").reshape(size, *shape)
    return (layer(units).numpy() - layer(np.zeros((1, *shape), "float32")).numpy()).reshape(size, -1).astype("float64")


def slow_alpha1_beta0(w, x, relevance):
    "The αβ-rule with α = 1, β = 0 and no bias, neuron by neuron, from its formula."
    r = np.zeros_like(x)
    for j in range(w.shape[1]):
        share = np.maximum(x, 0) * np.maximum(w[:, j], 0) + np.minimum(x, 0) * np.minimum(w[:, j], 0)
        z = share.sum()
        r += share / (z if z != 0 else 1e-7) * relevance[j]
    return r


LAYERS = {"dense": (L.Dense(5), (9,)), "dense on maps": (L.Dense(4), (3, 2, 5)),
          "valid": (L.Conv2D(4, 3), (6, 5, 3)), "same": (L.Conv2D(4, 3, padding="same"), (6, 5, 3)),
          "strides": (L.Conv2D(4, (3, 2), strides=(2, 1), padding="same"), (7, 6, 3)), "dilation": (L.Conv2D(3, 3, dilation_rate=2), (7, 6, 2)),
          "pointwise, strides 2": (L.Conv2D(3, 1, strides=2), (6, 5, 4)),
          "depthwise": (L.DepthwiseConv2D(3, padding="same", depth_multiplier=2), (5, 6, 3)), "depthwise, strides": (L.DepthwiseConv2D(3, strides=2), (7, 7, 3)),
          "depthwise, dilation": (L.DepthwiseConv2D(2, dilation_rate=2, padding="same"), (6, 6, 2))}


@pytest.mark.parametrize("signs", ["signed", "nonnegative", "sparse"])
@pytest.mark.parametrize("case", LAYERS)
def test_rule_against_matrix_form(case, signs):
    layer, shape = LAYERS[case]
    draw = rng(3)
    x = draw.normal(size=(2, *shape)).astype("float32")
    if signs != "signed": x = np.maximum(x, 0)
    if signs == "sparse": x *= draw.random(x.shape) < 0.3
    y = layer(x)
    layer.set_weights([draw.normal(size=w.shape) for w in layer.get_weights()])
    r = draw.normal(size=y.shape).astype("float32")
    w = jacobian(layer, shape)
    expected = np.stack([slow_alpha1_beta0(w, a.ravel().astype("float64"), b.ravel().astype("float64")).reshape(shape) for a, b in zip(x, r)])
    f, kernels = linear_map(layer)
    for shortcut in {False, signs != "signed"}:
        got = propagate(ALPHA1_BETA0, f, [tf.convert_to_tensor(k) for k in kernels], tf.constant(x), tf.constant(r), shortcut).numpy()
        assert np.abs(got - expected).max() < 2e-5 * np.abs(expected).max()


def test_separable_takes_both_positive_parts():
    layer, draw = L.SeparableConv2D(4, 3, padding="same", depth_multiplier=2), rng(4)
    x = np.abs(draw.normal(size=(1, 5, 6, 3))).astype("float32")
    y = layer(x)
    d, p, b = layer.get_weights()
    r = draw.random(y.shape).astype("float32")
    f, kernels = linear_map(layer)
    got = propagate(ALPHA1_BETA0, f, [tf.convert_to_tensor(k) for k in kernels], tf.constant(x), tf.constant(r)).numpy()
    layer.set_weights([np.maximum(d, 0), np.maximum(p, 0), b])
    w = jacobian(layer, x.shape[1:])
    assert error(got.ravel(), slow_alpha1_beta0(w, x.ravel().astype("float64"), r.ravel().astype("float64"))) < 1e-5


# --- what must hold of any map ----------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def network(): return filled(residual(), 5)


def test_batch_mates_and_batch_size_do_not_matter(network):
    explainer, images = Explainer(network), images_for(network, 7)
    whole = explainer(images)
    strange = np.concatenate([images[:1], 100 * images[1:4], np.zeros_like(images[:2])])
    assert error(explainer(images[:1]), whole[:1]) < 1e-6
    assert error(explainer(strange)[:1], whole[:1]) < 1e-6
    assert error(np.concatenate([explainer(images[:3]), explainer(images[3:])]), whole) < 1e-6


def test_maps_are_nonnegative_float32_and_of_the_right_shape(network):
    got = Explainer(network)(images_for(network, 4))
    assert got.shape == (4, 17, 17) and got.dtype == np.float32 and (got >= 0).all() and got.any()
    assert Explainer(network)(images_for(network, 4)[:0]).shape == (0, 17, 17)


def test_targets(network):
    explainer, images = Explainer(network), images_for(network, 6)
    relevance, logits = explainer.explain(images)
    np.testing.assert_allclose(logits, network(images, training=False).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(explainer(images, logits.argmax(1)), relevance)
    for target in range(5):
        got = explainer(images, target)
        assert ((got.sum((1, 2)) > 0) == (logits[:, target] > 0)).all()
    for wrong in (5, -1, 1.0, [0, 1], np.zeros((6, 1), int)):
        with pytest.raises(ValueError, match="target"): explainer(images, wrong)


def test_negative_logit_gives_zeros(network):
    weights = network.get_weights()
    changed = keras.models.clone_model(network)
    changed.set_weights([*weights[:-1], weights[-1] - 1000])
    assert not Explainer(changed)(images_for(network)).any()


def test_scaling_the_output_scales_the_map(network):
    changed = keras.models.clone_model(network)
    weights = network.get_weights()
    changed.set_weights([*weights[:-2], 3 * weights[-2], 3 * weights[-1]])
    images = images_for(network)
    assert error(Explainer(changed)(images), 3 * Explainer(network)(images)) < 1e-5


def test_model_is_unchanged():
    model, images = filled(residual(), 6), tf.constant(images_for(residual()))
    model.get_layer("expand").trainable = False
    def state():
        with tf.GradientTape() as tape:
            tape.watch(images)
            y = tf.reduce_sum(model(images, training=True)**2)
        slopes = tape.gradient(y, [images, *model.trainable_variables])
        return [t.numpy() for t in slopes], [layer.trainable for layer in model.layers], [len(layer.get_weights()) for layer in model.layers], model.to_json(), len(model.losses)
    saved = model.get_weights()
    before = state()
    model.set_weights(saved)
    Explainer(model)(images)
    layer_maps(Explainer(model, "deep_taylor_innvestigate2"), images, ["expand", "average"])
    for a, b in zip(saved, model.get_weights()): np.testing.assert_array_equal(a, b)
    after = state()
    for a, b in zip(before[0], after[0]): np.testing.assert_array_equal(a, b)
    assert before[1:] == after[1:]


def test_weights_are_shared(network):
    model, images = filled(residual(), 7), images_for(network)
    explainer = Explainer(model)
    model.set_weights(network.get_weights())
    np.testing.assert_array_equal(explainer(images), Explainer(network)(images))


def test_nonnegative_inputs_are_found(network):
    signed = [s.name for s in Explainer(network).network.layers if isinstance(s, Step) and not s.nonnegative and "norm" not in s.name and "relu" not in s.name]
    assert {"stem", "last"} <= set(signed) and not {"expand", "depthwise", "project", "logits"} & set(signed)


def test_nested_sequential_shared_and_rescaled():
    inner = keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(4, 3, activation="relu"), L.MaxPooling2D(), L.Flatten()], name="inner")
    i = L.Input((8, 8, 3))
    shared = L.Dense(6, use_bias=False, activation="relu", name="shared")
    a = shared(inner(L.Rescaling(1 / 127.5, -1)(i)))
    net = keras.Model(i, L.Dense(3, name="logits")(L.Concatenate()([shared(L.Activation("relu")(L.Rescaling(1.)(inner(i)))), a])))
    filled(net)
    flat_images = rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    relevance, logits = Explainer(net).explain(flat_images)
    np.testing.assert_allclose(logits, net(flat_images).numpy(), rtol=1e-4)
    assert relevance.shape == (2, 8, 8) and (relevance >= 0).all()


# --- refusals ---------------------------------------------------------------------------------------------------

def classifier(*layers): return keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(4, 3, name="first"), *layers, L.GlobalAveragePooling2D(), L.Dense(3, name="logits")])


@pytest.mark.parametrize("layer, name", [(L.LeakyReLU(name="leaky"), "leaky"), (L.Conv2DTranspose(4, 3, name="up"), "up"), (L.Lambda(lambda x: x, name="any"), "any"),
                                         (L.Activation("sigmoid", name="bent"), "sigmoid"), (L.Conv2D(4, 3, activation="gelu", name="bent"), "gelu"),
                                         (L.LayerNormalization(name="normal"), "normal"), (L.ReLU(negative_slope=0.1, name="slope"), "slope"),
                                         (L.Conv2D(4, 3, groups=2, name="grouped"), "grouped")])
def test_unsupported_layer_is_refused_by_name(layer, name):
    with pytest.raises(ValueError, match=name): Explainer(classifier(layer))


def test_subclass_is_not_taken_for_its_parent():
    class Doubled(L.Dense):
        def call(self, x): return 2 * super().call(x)
    with pytest.raises(ValueError, match="twice"): Explainer(classifier(Doubled(4, name="twice")))


@pytest.mark.parametrize("last", [L.Dense(3, activation="softmax", name="odds"), L.Softmax(name="odds"), L.Activation("softmax", name="odds")])
def test_softmax_is_refused_with_a_remedy(last):
    with pytest.raises(ValueError, match="odds.*(logits|supported layers)"): Explainer(keras.Sequential([L.Input((4, 4, 1)), L.Flatten(), L.Dense(3), last]))


def test_models_that_do_not_fit():
    i, j = L.Input((8, 8, 3)), L.Input((8, 8, 3))
    x = L.Flatten()(i)
    for model, message in [(keras.Model([i, j], L.Dense(2)(L.Flatten()(L.Add()([i, j])))), "2 inputs"), (keras.Model(i, [L.Dense(2)(x), L.Dense(3)(x)]), "2 outputs"),
                           (keras.Model(i, L.Conv2D(3, 3)(i)), "logits are"), (keras.Sequential([L.Dense(3)]), "keras.Input")]:
        with pytest.raises(ValueError, match=message): Explainer(model)


def test_inputs_that_do_not_fit(network):
    explainer, images = Explainer(network), images_for(network)
    with pytest.raises(TypeError, match="uint8.*preprocessing"): explainer((images * 100).astype("uint8"))
    with pytest.raises(ValueError, match="17, 17, 3"): explainer(images[:, 1:])
    with pytest.raises(ValueError, match=r"images\[None\]"): explainer(images[0])
    for bad in (np.nan, np.inf):
        broken = images.copy(); broken[1, 2, 3, 0] = bad
        with pytest.raises(ValueError, match=r"\[1\]"): explainer(broken)
    np.testing.assert_array_equal(explainer(images.astype("float64")), explainer(images))
    with pytest.raises(ValueError, match="unknown method"): Explainer(network, "deeptaylor")
    with pytest.raises(ValueError, match="no layer"): layer_maps(explainer, images, ["expnad"])


# --- the paper's architectures ----------------------------------------------------------------------------------

@pytest.mark.parametrize("architecture, size", [("InceptionV3", 75), ("MobileNetV2", 48), ("Xception", 71), ("VGGFace", 48)])
def test_architectures(architecture, size):
    from rbdm_nb.architectures import build
    keras.utils.set_random_seed(0)
    model = build(architecture, 8, (size, size, 3))
    *rest, bias = model.get_weights()
    model.set_weights([*rest, bias + 1])
    images = rng(2).uniform(-1, 1, (2, size, size, 3)).astype("float32") * (60 if architecture == "VGGFace" else 1)
    relevance, logits = Explainer(model).explain(images)
    assert relevance.shape == (2, size, size) and (relevance >= 0).all() and np.isfinite(relevance).all()
    np.testing.assert_allclose(logits, model(images, training=False).numpy(), rtol=1e-4, atol=1e-5)


# --- maps of a corpus -------------------------------------------------------------------------------------------

RUN = """
import os, sys, signal
sys.path.insert(0, {tests!r})
from test_relevance import toy_maps
toy_maps({folder!r}, int(sys.argv[1]))
"""


class Toy:
    "As much of a Corpus as `maps` needs."
    corpus, split = "toy", "train"
    def __init__(self, n): self.images, self.digest = rng(n).integers(0, 256, (n, 17, 17, 3), "uint8"), f"toy {n}"
    def __len__(self): return len(self.images)


def toy_maps(folder, kill_at=None):
    "Maps of 600 images; the process kills itself before batch `kill_at`. Returns maps and the number of batches that were made."
    from rbdm_nb.store import Store
    calls = []
    def prepare(images):
        calls.append(len(images))
        if len(calls) == kill_at: os.kill(os.getpid(), 9)
        return images.astype("float32") / 127.5 - 1
    return maps(lambda: filled(residual(), 5), Toy(600), prepare, Store(folder), batch_size=32, trainer="toy"), len(calls)


def test_killed_run_resumes_and_equals_an_undisturbed_one(tmp_path):
    undisturbed, full = toy_maps(str(tmp_path / "a"))
    killed = subprocess.run([sys.executable, "-c", RUN.format(tests=str(HERE), folder=str(tmp_path / "b")), "14"], capture_output=True, text=True,
                            cwd=HERE.parent, env=os.environ | {"PYTHONPATH": str(HERE.parent)})
    assert killed.returncode == -9, killed.stderr[-3000:]
    resumed, rest = toy_maps(str(tmp_path / "b"))
    assert rest < full
    assert resumed.entry.key == undisturbed.entry.key
    np.testing.assert_array_equal(resumed.relevance[:], undisturbed.relevance[:])
    np.testing.assert_array_equal(resumed.predictions[:], undisturbed.predictions[:])
    assert undisturbed.relevance[599].any() and undisturbed.predictions[599].any()
    assert toy_maps(str(tmp_path / "b"))[1] == 0


def test_maps_equal_the_explainer_and_depend_on_their_key(tmp_path):
    from rbdm_nb.store import Store
    model, corpus, prepare, store = filled(residual(), 5), Toy(21), lambda x: x.astype("float32") / 127.5 - 1, Store(tmp_path)
    kept = maps(model, corpus, prepare, store, batch_size=8, trainer="a")
    relevance, logits = Explainer(model).explain(prepare(corpus.images))
    assert error(kept.relevance[:], relevance) < 1e-6 and error(kept.predictions[:], logits) < 1e-6
    other = maps(model, corpus, prepare, store, "deep_taylor_innvestigate2", batch_size=8, trainer="a")
    assert other.entry.key != kept.entry.key != maps(model, corpus, prepare, store, batch_size=8, trainer="b").entry.key
    with pytest.raises(ValueError, match="trainer=run.key"): maps(model, corpus, prepare, store)
    with pytest.raises(ValueError, match="no images"): maps(model, Toy(0), prepare, store, trainer="a")

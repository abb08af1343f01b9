"Relevance: whole networks, bad input, the ledger, and maps of a corpus that survive a kill."
import os, subprocess, sys
from dataclasses import replace
from pathlib import Path
import numpy as np, pytest, tensorflow as tf
from rbdm_nb.explain.methods import maps
from rbdm_nb.explain.relevance import METHODS, Explainer, layer_maps

keras, L, HERE = tf.keras, tf.keras.layers, Path(__file__).resolve().parent


def rng(seed): return np.random.default_rng(seed)


# --- networks ---------------------------------------------------------------------------------------------------

def activate(x, name, cap=None, **norm):
    return L.ReLU(cap, name=f"relu_{name}")(L.BatchNormalization(name=f"norm_{name}", **norm)(x))


def unit(x, name, n, k, **o):
    return activate(L.Conv2D(n, k, use_bias=False, name=name, **({"padding": "same"} | o))(x), name, scale=False)


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
    x = L.Concatenate(name="mixed")([unit(x, "a", 5, 1), unit(unit(x, "b", 4, (1, 3)), "c", 5, (3, 1)),
                                     unit(pooled, "d", 4, 1)])
    return head(i, x)


def residual():
    i = L.Input((17, 17, 3))
    x = activate(L.Conv2D(6, 3, strides=2, use_bias=False, name="stem")(L.ZeroPadding2D(((0, 1), (0, 1)))(i)),
                 "stem", 6.)
    y = activate(L.Conv2D(8, 1, use_bias=False, name="expand")(x), "expand", 6.)
    y = activate(L.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(y), "depthwise", 6.)
    x = L.Add(name="sum")([x, L.BatchNormalization(name="norm_project")(L.Conv2D(6, 1, use_bias=False,
                                                                                 name="project")(y))])
    return head(i, unit(x, "last", 8, 1))


def separable():
    i = L.Input((12, 12, 3))
    x = unit(i, "stem", 6, 3)
    y = L.BatchNormalization(name="norm_s")(L.SeparableConv2D(8, 3, padding="same", use_bias=False, name="s")(x))
    return head(i, L.Activation("relu", name="last")(L.Add(name="sum")([y, L.Conv2D(8, 1, name="short")(x)])))


NETWORKS = dict(vgg_like=vgg_like, inception_like=inception_like, residual=residual, separable=separable)


def filled(model, seed=0):
    """`model` with weights as after some training: negative scales, moving statistics off their start, a positive
    decision."""
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
        layers = [(layer.trainable, len(layer.get_weights())) for layer in model.layers]
        return [t.numpy() for t in slopes], layers, model.to_json(), len(model.losses)
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
    signed = [c.layer.name for c in Explainer(network).graph.calls if not c.facts.nonnegative
              and "norm" not in c.layer.name and "relu" not in c.layer.name]
    assert {"stem", "last"} <= set(signed) and not {"expand", "depthwise", "project", "logits"} & set(signed)


def test_nested_sequential_shared_and_rescaled():
    inner = keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(4, 3, activation="relu"), L.MaxPooling2D(), L.Flatten()],
                             name="inner")
    i = L.Input((8, 8, 3))
    shared = L.Dense(6, use_bias=False, activation="relu", name="shared")
    a = shared(inner(L.Rescaling(1 / 127.5, -1)(i)))
    b = shared(L.Activation("relu")(L.Rescaling(1.)(inner(i))))
    net = keras.Model(i, L.Dense(3, name="logits")(L.Concatenate()([b, a])))
    filled(net)
    flat_images = rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    relevance, logits = Explainer(net).explain(flat_images)
    np.testing.assert_allclose(logits, net(flat_images).numpy(), rtol=1e-4)
    assert relevance.shape == (2, 8, 8) and (relevance >= 0).all()


# --- refusals ---------------------------------------------------------------------------------------------------

def classifier(*layers):
    return keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(4, 3, name="first"), *layers, L.GlobalAveragePooling2D(),
                             L.Dense(3, name="logits")])


@pytest.mark.parametrize("layer, name", [(L.LeakyReLU(name="leaky"), "leaky.*lrp_"), (L.ELU(name="elu"), "elu"),
                                         (L.Lambda(lambda x: x, name="any"), "any"),
                                         (L.Activation("sigmoid", name="bent"), "sigmoid"),
                                         (L.Conv2D(4, 3, activation="gelu", name="bent"), "gelu"),
                                         (L.LayerNormalization(name="normal"), "normal"),
                                         (L.ReLU(negative_slope=0.1, name="slope"), "slope")])
def test_unsupported_layer_is_refused_by_name(layer, name):
    with pytest.raises(ValueError, match=name): Explainer(classifier(layer))


def test_subclass_is_not_taken_for_its_parent():
    class Doubled(L.Dense):
        def call(self, x): return 2 * super().call(x)
    with pytest.raises(ValueError, match="twice"): Explainer(classifier(Doubled(4, name="twice")))


@pytest.mark.parametrize("last", [L.Dense(3, activation="softmax", name="odds"), L.Softmax(name="odds"),
                                  L.Activation("softmax", name="odds")])
@pytest.mark.parametrize("method", ["deep_taylor", "lrp_epsilon", "gradient"])
def test_softmax_is_explained_at_its_logits(last, method):
    "At the end, also of a model inside a model; in the middle it is refused."
    layers = [L.Flatten(), L.Dense(3, activation="relu"), *([L.Dense(3)] if not isinstance(last, L.Dense) else [])]
    inner = filled(keras.Sequential([L.Input((4, 4, 1)), *layers, last]))
    i, images = L.Input((4, 4, 1)), images_for(inner)
    outer = keras.Model(i, inner(i))
    plain = keras.Sequential([L.Input((4, 4, 1)), L.Flatten(), L.Dense(3, activation="relu"), L.Dense(3)])
    plain.set_weights(inner.get_weights())
    for model in (inner, outer):
        relevance, logits = Explainer(model, method).explain(images)
        np.testing.assert_allclose(logits, plain(images).numpy(), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(relevance, Explainer(plain, method)(images), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="inside the network.*logits"):
        Explainer(keras.Sequential([L.Input((4, 4, 1)), L.Softmax(name="odds"), L.Flatten(), L.Dense(3)]))


def test_models_that_do_not_fit():
    i = L.Input((8, 8, 3))
    x = L.Flatten()(i)
    for model, message in [(keras.Model(i, [L.Dense(2)(x), L.Dense(3)(x)]), "2 outputs"),
                           (keras.Model(i, L.Conv2D(3, 3)(i)), "logits are"),
                           (keras.Sequential([L.Dense(3)]), "keras.Input")]:
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


def test_several_inputs():
    a, b = L.Input((6, 6, 2)), L.Input((4,))
    net = filled(keras.Model([a, b], L.Dense(3)(L.Concatenate()([L.Flatten()(L.Conv2D(2, 3, activation="relu")(a)),
                                                                 L.Dense(5, activation="relu")(b)]))))
    x, y = rng(0).normal(size=(5, 6, 6, 2)).astype("float32"), rng(1).normal(size=(5, 4)).astype("float32")
    (r, s), logits = Explainer(net, "deep_taylor").explain([x, y])
    assert r.shape == (5, 6, 6) and s.shape == (5, 4) and (r >= 0).all() and s.any()
    np.testing.assert_allclose(r.sum((1, 2)) + s.sum(1), logits.max(1).clip(0), rtol=1e-3)
    bounded = Explainer(net, "deep_taylor_bounded", bounds=[(x.min(), x.max()), (y.min(), y.max())])([x, y])
    assert np.abs(bounded[0] - r).max() > 1e-3
    with pytest.raises(ValueError, match="takes 2 inputs"): Explainer(net)([x])
    with pytest.raises(ValueError, match="different lengths"): Explainer(net)([x, y[:2]])


def test_bounds(network):
    images = images_for(network)
    with pytest.raises(ValueError, match="bounds=.low, high."): Explainer(network, "deep_taylor_bounded")
    with pytest.raises(ValueError, match="low at most high"): Explainer(network, "lrp_composite", bounds=(1, -1))
    with pytest.raises(ValueError, match="beyond the bounds"):
        Explainer(network, "deep_taylor_bounded", bounds=(0, 1))(images)
    per_channel = Explainer(network, "deep_taylor_bounded", bounds=([-1, -1, -1], [1, 1, 1]))
    np.testing.assert_array_equal(per_channel(images),
                                  Explainer(network, "deep_taylor_bounded", bounds=(-1, 1))(images))


def test_deep_taylor_refuses_a_product_of_two_tensors():
    i = L.Input((4, 4, 2))
    x = L.Conv2D(2, 1)(i)
    with pytest.raises(ValueError, match="gate.*derived for ReLU"):
        Explainer(keras.Model(i, L.Dense(2)(L.Flatten()(L.Multiply(name="gate")([x, i])))))


# --- the ledger -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("method", [m for m in METHODS
                                    if m not in ("integrated_gradients", "smoothgrad", "cnn_fixations")])
@pytest.mark.parametrize("name", ["residual", "inception_like"])
def test_ledger_balances(name, method):
    "What the output has arrives at the pixels or is lost somewhere; and explaining afterwards gives the same maps."
    model = filled(NETWORKS[name](), 5)
    explainer, images = Explainer(model, method, bounds=(-1, 1)), images_for(model)
    before, logits = explainer.explain(images)
    pages = explainer.ledger(images)
    losses = pages[["bias", "dead", "padding", "other"]]
    np.testing.assert_allclose(pages.arrives - pages.hands_down, losses.sum(axis=1),
                               atol=1e-3*pages.arrives.abs().max())
    lost = pages.attrs["start"] - pages.attrs["pixels"]
    assert abs(lost - losses.to_numpy().sum()) < 1e-3*losses.abs().to_numpy().sum() + 1e-4
    if explainer.method.start == "value": assert np.isclose(pages.attrs["start"], logits.max(1).sum(), rtol=1e-4)
    if not explainer.method.times_input: assert np.isclose(pages.attrs["pixels"], before.sum(), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(explainer(images), before)


@pytest.mark.parametrize("name", NETWORKS)
def test_cnn_fixations_are_few_pixels_and_do_not_depend_on_batch_mates(name):
    model = filled(NETWORKS[name](), 5)
    explainer, images = Explainer(model, "cnn_fixations"), images_for(model, 4)
    got = explainer(images)
    assert set(np.unique(got)) == {0, 1} and (got.sum((1, 2)) >= 1).all() and (got.mean((1, 2)) < 0.9).all()
    np.testing.assert_array_equal(explainer(images[2:3]), got[2:3])


def test_cnn_fixations_of_a_pyramid_by_hand():
    "Two convolutions, a dense layer: the class is traced back neuron by neuron, slowly."
    i = L.Input((6, 6, 2))
    x = L.Conv2D(3, 3, activation="relu")(L.Conv2D(4, 2, activation="relu")(i))
    net = filled(keras.Model(i, L.Dense(3, activation=None)(L.Flatten()(x))), 3)
    images, (w1, _, w2, _, w3, _) = np.abs(images_for(net)), net.get_weights()
    hidden = keras.Model(i, [net.layers[1].output, net.layers[2].output])
    for x, got in zip(images, Explainer(net, "cnn_fixations")(images)):
        a1, a2 = (t.numpy()[0] for t in hidden(x[None]))
        k = int(net(x[None]).numpy().argmax())
        y2, x2, c2 = np.unravel_index((a2.ravel() * w3[:, k]).argmax(), a2.shape)
        def step(a, w, y, x, c):
            products = a[y:y + w.shape[0], x:x + w.shape[1]] * w[..., c]
            channel = products.sum((0, 1)).argmax()
            dy, dx = np.unravel_index(products[..., channel].argmax(), products.shape[:2])
            return y + dy, x + dx, channel
        y0, x0, _ = step(x, w1, *step(a1, w2, y2, x2, c2))
        assert got.sum() == 1 and got[y0, x0] == 1


def test_ledger_of_samples_is_refused(network):
    with pytest.raises(ValueError, match="averages over samples"):
        Explainer(network, "smoothgrad").ledger(images_for(network))


# --- the paper's architectures ----------------------------------------------------------------------------------

@pytest.mark.parametrize("architecture, size",
                         [("InceptionV3", 75), ("MobileNetV2", 48), ("Xception", 71), ("VGGFace", 48)])
def test_architectures(architecture, size):
    from rbdm_nb.networks.architectures import build
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


def test_a_method_is_one_entry(tmp_path, monkeypatch):
    "One function in METHODS, and everything that takes a method by name knows it."
    from rbdm_nb.store import Store
    def half_z():
        "Half of the z-rule's relevance."
        z = METHODS["lrp_z"]()
        return replace(z, kernel=replace(z.kernel, shares=tuple(replace(s, weight=.5) for s in z.kernel.shares)))
    monkeypatch.setitem(METHODS, "half_z", half_z)
    i = L.Input((5, 5, 3))
    model = filled(keras.Model(i, L.Dense(4, use_bias=False)(L.Flatten()(i))), 3)
    corpus, store = Toy(6), Store(str(tmp_path))
    prepare = lambda x: x[:, :5, :5].astype("float32")/255
    images = prepare(corpus.images[:])
    np.testing.assert_allclose(Explainer(model, "half_z")(images), Explainer(model, "lrp_z")(images)/2, atol=1e-6)
    kept = {name: maps(model, corpus, prepare, store, name, trainer="toy") for name in ("half_z", "lrp_z")}
    np.testing.assert_allclose(kept["half_z"].relevance[:], kept["lrp_z"].relevance[:]/2, atol=1e-6)
    assert kept["half_z"].entry.key != kept["lrp_z"].entry.key
    with pytest.raises(ValueError, match="did you mean 'half_z'"): Explainer(model, "haf_z")


def toy_maps(folder, kill_at=None):
    """Maps of 600 images; the process kills itself before batch `kill_at`. Returns maps and the number of batches
    that were made."""
    from rbdm_nb.store import Store
    calls = []
    def prepare(images):
        calls.append(len(images))
        if len(calls) == kill_at: os.kill(os.getpid(), 9)
        return images.astype("float32") / 127.5 - 1
    return maps(lambda: filled(residual(), 5), Toy(600), prepare, Store(folder), batch_size=32,
                trainer="toy"), len(calls)


def test_killed_run_resumes_and_equals_an_undisturbed_one(tmp_path):
    undisturbed, full = toy_maps(str(tmp_path / "a"))
    killed = subprocess.run([sys.executable, "-c", RUN.format(tests=str(HERE), folder=str(tmp_path / "b")), "14"],
                            capture_output=True, text=True,
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
    model, corpus, prepare, store = (filled(residual(), 5), Toy(21), lambda x: x.astype("float32") / 127.5 - 1,
                                     Store(tmp_path))
    kept = maps(model, corpus, prepare, store, batch_size=8, trainer="a")
    relevance, logits = Explainer(model).explain(prepare(corpus.images))
    assert error(kept.relevance[:], relevance) < 1e-6 and error(kept.predictions[:], logits) < 1e-6
    other = maps(model, corpus, prepare, store, "deep_taylor_innvestigate2", batch_size=8, trainer="a")
    assert other.entry.key != kept.entry.key != maps(model, corpus, prepare, store, batch_size=8, trainer="b").entry.key
    with pytest.raises(ValueError, match="trainer=run.key"): maps(model, corpus, prepare, store)
    with pytest.raises(ValueError, match="no images"): maps(model, Toy(0), prepare, store, trainer="a")


@pytest.mark.parametrize("merge", ["Add", "Average"])
def test_what_is_added_to_itself_has_its_relevance_once(merge):
    "x + x is one input twice: the same map as 2 x, and as much relevance as there is logit."
    def network(merged):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((16, 16, 3))
        x = merged(L.Conv2D(4, 3, activation="relu")(inputs))
        return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling2D()(x)))
    twice = network(lambda x: getattr(L, merge)()([x, x]))
    scaled = network(L.Rescaling(2. if merge == "Add" else 1.))
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype("float32")
    maps, logits = Explainer(twice, "lrp_z").explain(images)
    np.testing.assert_allclose(maps.sum((1, 2)), logits.max(1), rtol=1e-4)
    np.testing.assert_allclose(maps, Explainer(scaled, "lrp_z")(images), atol=1e-5*np.abs(maps).max())

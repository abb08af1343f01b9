"""The explained network is the model: separable layers written in two ways, ReLUs written in two ways, options of
calls,
classes with a call of their own, operators, layers that no rule knows; what is refused names the layer."""
import numpy as np, pytest, tensorflow as tf
from rbdm_nb.explain.relevance import METHODS, Explainer

keras, L = tf.keras, tf.keras.layers
KERAS_3 = hasattr(keras, "ops")
BOUNDS = (-1., 1.)
GRADIENTS = ("gradient", "input_x_gradient", "integrated_gradients", "smoothgrad")


def images(shape, n=3, seed=0): return np.random.default_rng(seed).uniform(-1, 1, (n, *shape)).astype("float32")


def filled(model, seed=0):
    "`model` with random weights, as after some training."
    draw = np.random.default_rng(seed)
    for v in model.weights:
        part, shape = getattr(v, "path", v.name).split("/")[-1].split(":")[0], tuple(v.shape)
        if "seed" in part: continue
        if part == "moving_variance": a = draw.uniform(0.5, 2, shape)
        elif part in ("beta", "bias", "moving_mean", "gamma"): a = draw.normal(0, 0.3, shape) + (part == "gamma")
        else: a = draw.normal(0, 1.5/np.sqrt(max(np.prod(shape[:-1]), 1)), shape)
        v.assign(a.astype("float32"))
    return model


def explained(model, x, method): return Explainer(model, method, bounds=BOUNDS).explain(x, target=0)


def error(a, b): return np.abs(a - b).max()/np.abs(b).max()


# --- separable layers -------------------------------------------------------------------------------------------

def separable_twice(d, before, after, first):
    "The same network with a separable convolution, and with a depthwise and a pointwise one."
    shape = (7, 6, 3)[-d - 1:]
    depthwise, pointwise, whole = (getattr(L, f"{name}{d}D") for name in ("DepthwiseConv", "Conv", "SeparableConv"))
    def network(middle):
        x = i = L.Input(shape)
        if not first: x = pointwise(4, 2)(x)
        if before: x = L.BatchNormalization()(x)
        x = middle(x)
        if after: x = L.BatchNormalization()(x)
        return keras.Model(i, L.Dense(3)(L.Flatten()(L.ReLU()(x))))
    one = network(whole(5, 3, padding="same", depth_multiplier=2))
    two = network(lambda x: pointwise(5, 1)(depthwise(3, padding="same", depth_multiplier=2, use_bias=False)(x)))
    filled(one).layers[-1].bias.assign([4.] * 3)
    two.set_weights(one.get_weights())
    return one, two, images(shape)


@pytest.mark.parametrize("method", [m for m in METHODS if m != "deep_taylor_innvestigate2"])
@pytest.mark.parametrize("d, before, after, first",
                         [(2, False, False, True), (2, True, True, False), (1, True, True, True)])
def test_separable_is_depthwise_and_pointwise(method, d, before, after, first):
    one, two, x = separable_twice(d, before, after, first)
    (r, y), (s, z) = explained(one, x, method), explained(two, x, method)
    assert error(y, z) < 1e-5 and np.abs(s).max() > 0
    assert error(r, s) < 1e-4


def test_deep_taylor_of_separable_blocks_is_not_negative():
    "On inputs of both signs, where the positive parts of both kernels at once make negative relevance."
    one, _, x = separable_twice(2, False, False, True)
    assert (explained(one, x, "deep_taylor")[0] >= 0).all()
    assert error(explained(one, x, "deep_taylor_innvestigate2")[0], explained(one, x, "deep_taylor")[0]) > 1e-2


# --- ReLUs written in two ways ----------------------------------------------------------------------------------

def relu_twice():
    "One network with ReLUs inside its convolutions, and with layers of their own; an average pooling follows."
    def network(inside):
        x = i = L.Input((6, 6, 2))
        for n in (4, 5):
            x = L.Conv2D(n, 3, padding="same", activation="relu" if inside else None)(x)
            x = x if inside else L.ReLU()(x)
            x = L.AveragePooling2D(2, 1)(x)
        return keras.Model(i, L.Dense(3)(L.Flatten()(x)))
    one, two = filled(network(True), 2), network(False)
    one.layers[-1].bias.assign([4.] * 3)
    two.set_weights(one.get_weights())
    return one, two, images((6, 6, 2))


@pytest.mark.parametrize("method", METHODS)
def test_two_ways_to_write_a_relu(method):
    "Deep Taylor as iNNvestigate has it tells them apart; no other method does."
    one, two, x = relu_twice()
    gap = error(explained(one, x, method)[0], explained(two, x, method)[0])
    if method in ("deep_taylor", "deep_taylor_innvestigate2", "deep_taylor_bounded"): assert gap > 1e-2
    else: assert gap < 1e-5


# --- options, operators, and layers without a rule --------------------------------------------------------------

class Mine(L.Layer):
    def call(self, y, scale=1.): return y*scale


class Twice(keras.Model):
    def call(self, x, training=None): return super().call(x, training=training)*2. + 1.


def after_conv(middle, last=None):
    i = L.Input((8, 8, 3))
    y = middle(L.Conv2D(6, 3)(i))
    y = L.GlobalAveragePooling2D()(L.Conv2D(8, 3, activation="relu")(y))
    return filled(keras.Model(i, (last or L.Dense(5))(y)))


OPTIONS = {"batch normalisation in training": lambda y: L.BatchNormalization()(y, training=True),
           "option of a layer": lambda y: Mine()(y, scale=3.),
           "attention": lambda y: L.Reshape((6, 6, 6))(L.MultiHeadAttention(2, 3)(*[L.Reshape((36, 6))(y)] * 2)),
           "normalisation": L.LayerNormalization(),
           "nested": lambda y: keras.Sequential([L.Input((6, 6, 6)), L.Conv2D(6, 3, padding="same"),
                                                 L.BatchNormalization()])(y, training=True)}
OPERATORS = {"leaky_relu": lambda y: tf.nn.leaky_relu(y, alpha=0.5), "gelu": lambda y: tf.nn.gelu(y, approximate=True),
             "softmax": lambda y: tf.nn.softmax(y, axis=1),
             "clip": lambda y: tf.clip_by_value(y, 0., 1.), "slice": lambda y: y[:, 1:],
             "concat": lambda y: tf.concat([y, y*2.], -1)}
if KERAS_3:
    ops = keras.ops
    OPERATORS = {"leaky_relu": lambda y: ops.leaky_relu(y, negative_slope=0.5),
                 "gelu": lambda y: ops.gelu(y, approximate=True), "softmax": lambda y: ops.softmax(y, axis=1),
                 "clip": lambda y: ops.clip(y, 0., 1.), "slice": lambda y: y[:, 1:],
                 "concat": lambda y: ops.concatenate([y, y*2.], -1)}
OPERATORS |= {"3 - y": lambda y: 3. - y}
TWICE = {   # what operators do, written with operators and with layers
    "x + y": (lambda y: y + L.Conv2D(6, 1)(y), lambda y: L.Add()([y, L.Conv2D(6, 1)(y)])),
    "x * y": (lambda y: y*L.Conv2D(6, 1)(y), lambda y: L.Multiply()([y, L.Conv2D(6, 1)(y)])),
    "y * 3": (lambda y: y*3., lambda y: L.Rescaling(3.)(y)),
    "3 + y": (lambda y: 3. + y, lambda y: L.Rescaling(1., 3.)(y)),
    "hard sigmoid": (lambda y: y*(L.ReLU(6.)(y + 3.)*(1/6)),
                     lambda y: L.Multiply()([L.Rescaling(1/6)(L.ReLU(6.)(L.Rescaling(1., 3.)(y))), y]))}


def true_gradient(model, x):
    t = tf.constant(x)
    kept = model.get_weights()
    with tf.GradientTape() as tape:
        tape.watch(t)
        y = model(t, training=False)
        s = tf.reduce_sum(y[:, 0])
    model.set_weights(kept)
    return tape.gradient(s, t).numpy(), y.numpy()


@pytest.mark.parametrize("what", TWICE)
@pytest.mark.parametrize("method", METHODS)
def test_operators_are_layers(what, method):
    "The same map, or the same refusal."
    models = [after_conv(middle) for middle in TWICE[what]]
    models[0].layers[-1].bias.assign([9.]*5)
    models[1].set_weights(models[0].get_weights())
    maps = []
    for model in models:
        try: maps.append(explained(model, images((8, 8, 3)), method)[0])
        except ValueError as refused: maps.append(str(refused).split(",")[-1])
    if isinstance(maps[0], str): assert maps[0] == maps[1] and what in ("x * y", "hard sigmoid")
    else: assert np.abs(maps[1]).max() > 0 and error(*maps) < 1e-5


@pytest.mark.parametrize("what", [*OPTIONS, *OPERATORS])
def test_gradient_methods_refuse_nothing(what):
    "They give the model's own logits and slope, and leave its moving averages alone."
    model, x = after_conv((OPTIONS | OPERATORS)[what]), images((8, 8, 3))
    slope, logits = true_gradient(model, x)
    before = model.get_weights()
    for method in ("gradient", "input_x_gradient"):
        got, y = explained(model, x, method)
        expected = slope*(x if method == "input_x_gradient" else 1)
        assert error(y, logits) < 1e-5 and error(got, expected.sum(-1)) < 1e-4
    for method in ("integrated_gradients", "smoothgrad"): assert np.isfinite(explained(model, x, method)[0]).all()
    for a, b in zip(before, model.get_weights()): np.testing.assert_array_equal(a, b)


TRAINING = ("batch normalisation in training", "nested")   # which Keras 3 overrules in inference mode


@pytest.mark.parametrize("what", [w for w in [*OPTIONS, *OPERATORS] if not KERAS_3 or w not in TRAINING])
@pytest.mark.parametrize("method", ["deep_taylor", "lrp_epsilon"])
def test_rules_refuse_what_they_do_not_know(what, method):
    if what in ("attention", "normalisation") and method == "lrp_epsilon":   # which LRP knows
        assert explained(after_conv(OPTIONS[what]), images((8, 8, 3)), method)[0].any()
        return
    with pytest.raises(ValueError, match="(layer|operation) '.*(gradient method|replace it|in its place)"):
        Explainer(after_conv((OPTIONS | OPERATORS)[what]), method)


def test_class_with_a_call_of_its_own():
    "Its gradient is its own; a rule refuses it, at the top and inside."
    i = L.Input((8, 8, 3))
    model = filled(Twice(i, L.Dense(5)(L.GlobalAveragePooling2D()(L.Conv2D(8, 3, activation="relu")(i)))))
    outer, x = keras.Model(i, model(i)), images((8, 8, 3))
    for net in (model, outer):
        slope, logits = true_gradient(net, x)
        got, y = explained(net, x, "gradient")
        assert error(y, logits) < 1e-6 and error(got, slope.sum(-1)) < 1e-5
        with pytest.raises(ValueError, match="call of its own"): Explainer(net, "deep_taylor")


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 keeps training=True")
@pytest.mark.parametrize("what", TRAINING)
def test_keras_3_overrules_training(what):
    model, x = after_conv(OPTIONS[what]), images((8, 8, 3))
    for method in ("gradient", "lrp_epsilon", "deep_taylor_canonized"):
        assert error(explained(model, x, method)[1], true_gradient(model, x)[1]) < 1e-5


@pytest.mark.skipif(KERAS_3, reason="Keras 3 overrules training=True")
def test_random_at_inference_is_refused():
    with pytest.raises(ValueError, match="dropout"):
        Explainer(after_conv(lambda y: L.Dropout(0.5, name="dropout")(y, training=True)), "gradient")
    with pytest.raises(ValueError, match="'dropout'.*training=True"):
        Explainer(after_conv(lambda y: L.Dropout(0.5, name="dropout")(y, training=True)), "lrp_z")


def test_shares_of_classes_are_no_logits():
    "A softmax that cannot be seen cannot be left out."
    with pytest.raises(ValueError, match="sum to 1"):
        Explainer(after_conv(L.ReLU(), lambda y: L.Lambda(lambda z: tf.nn.softmax(z))(L.Dense(5)(y))), "gradient")


def test_augmentation_is_nothing_and_normalisation_is_affine():
    "Behind an augmentation the maps are those without it; a normalising layer is a Rescaling with the same numbers."
    tail = lambda: [L.Conv2D(4, 3, activation="relu"), L.GlobalAveragePooling2D(), L.Dense(3)]
    plain = filled(keras.Sequential([L.Input((8, 8, 3)), L.Rescaling(2., -1.), *tail()]))
    plain.layers[-1].bias.assign([4.] * 3)
    other = keras.Sequential([L.Input((8, 8, 3)), L.RandomFlip(), L.RandomRotation(0.2), L.RandomContrast(0.1),
                              L.Normalization(mean=[0.5] * 3, variance=[0.25] * 3), *tail()])
    for a, b in zip(other.layers[-3:], plain.layers[-3:]): a.set_weights(b.get_weights())
    x = images((8, 8, 3))
    for method in METHODS: assert error(explained(other, x, method)[0], explained(plain, x, method)[0]) < 1e-4


def test_guided_backpropagation_sees_every_relu():
    "Written as an operator it is the layer; where one may be hidden the layer is refused."
    relu = (lambda y: keras.ops.relu(y)) if KERAS_3 else tf.nn.relu
    one, two = after_conv(relu), after_conv(L.ReLU())
    x = images((8, 8, 3))
    np.testing.assert_allclose(explained(one, x, "guided_backprop")[0], explained(two, x, "guided_backprop")[0],
                               rtol=1e-5, atol=1e-7)
    for hidden in (L.Lambda(tf.nn.relu, output_shape=(6, 6, 6), name="odd"), Mine(name="odd"),
                   L.TimeDistributed(L.Dense(6, activation="relu"), name="odd")):
        with pytest.raises(ValueError, match="'odd'.*guided backpropagation"):
            Explainer(after_conv(hidden), "guided_backprop")
    Explainer(after_conv(OPTIONS["attention"]), "guided_backprop")


def test_a_layer_that_lies_is_named():
    "A layer of the tables whose forward pass was changed by hand: the copy differs, and the message says where."
    model = after_conv(L.RandomFlip(name="flip"))
    model.get_layer("flip").call = lambda y, training=None: y[:, ::-1] + 1.
    with pytest.raises(ValueError, match="'flip'.*first that differs"): Explainer(model, "lrp_z")


@pytest.mark.parametrize("method", ["gradient", "input_x_gradient"])
def test_half_precision(method):
    "Gradients in the model's own precision; a rule refuses it by name."
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(8, 3, activation="relu"), L.GlobalAveragePooling2D(),
                                  L.Dense(8, activation="relu"), L.Dense(5, dtype="float32")])
    finally: keras.mixed_precision.set_global_policy("float32")
    single = filled(keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(8, 3, activation="relu"), L.GlobalAveragePooling2D(),
                                      L.Dense(8, activation="relu"), L.Dense(5)]), 1)
    model.set_weights(single.get_weights())
    x = images((8, 8, 3))
    assert error(explained(model, x, method)[0], explained(single, x, method)[0]) < 2e-2
    with pytest.raises(ValueError, match="float32 policy"): Explainer(model, "lrp_z")


@pytest.mark.skipif(not KERAS_3, reason="adapters of low rank and quantisation came with Keras 3")
def test_adapters_of_low_rank_and_quantisation():
    "LoRA: the maps of the merged network, by every method. int8: its gradient; rules refuse it."
    model = filled(keras.Sequential([L.Input((8, 8, 3)), L.Conv2D(6, 3, activation="relu"), L.GlobalAveragePooling2D(),
                                     L.Dense(6, activation="relu"), L.Dense(5)]))
    merged = keras.models.clone_model(model)
    for layer in (model.layers[0], model.layers[2]):
        layer.enable_lora(2)
        layer.lora_kernel_b.assign(np.random.default_rng(1).normal(0, 0.5, layer.lora_kernel_b.shape))
    for a, b in zip(merged.layers, model.layers):
        if a.weights: a.set_weights([np.asarray(b.kernel), np.asarray(b.bias)])
    x = images((8, 8, 3))
    for method in METHODS:
        (r, y), (s, z) = explained(model, x, method), explained(merged, x, method)
        np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(r, s, rtol=1e-3, atol=1e-5)
    merged.quantize("int8")
    got, y = explained(merged, x, "gradient")
    assert error(y, np.asarray(merged(x))) < 2e-2 and got.any()
    with pytest.raises(ValueError, match="quantize"): Explainer(merged, "lrp_z")

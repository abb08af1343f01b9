"""Every rule at every kind of layer against `lrp_reference`, a second implementation in matrix form, and what must hold
of any map.

Many small networks, the branches, are put side by side into one model, each with an input of its own; so a method is
traced once for all of them, and the maps of each are compared by themselves. Weights and biases are random and images
lie in −1…1, so that sums are not 0 and maxima are not tied; ties and zeros have tests of their own."""
import functools
import numpy as np, pytest, tensorflow as tf
import lrp_reference as slow
from rbdm_nb.explain import rules
from rbdm_nb.explain.relevance import Explainer

keras, L = tf.keras, tf.keras.layers
LOW, HIGH = -1., 1.2


# --- networks ---------------------------------------------------------------------------------------------------

def chain(*layers): return lambda x: functools.reduce(lambda x, layer: layer(x), layers, x)


def norm(**o): return L.BatchNormalization(**o)


def merged(merge, *branches): return lambda x: merge([branch(x) for branch in branches])


def conv(n=3, k=2, **o): return L.Conv2D(n, k, **o)


def residual(x):
    x = conv(padding="same", activation="relu")(x)
    return L.Add()([x, conv(k=1)(conv(k=3, padding="same", activation="relu")(x))])


def shared(x):
    layer = L.Dense(4, activation="relu")
    return L.Dense(3)(layer(layer(L.Dense(4)(x))))


def nested(x):
    inner = keras.Sequential([L.Input((3, 4, 3)), L.Conv2D(3, 2, padding="same"), L.ReLU()])
    return keras.Sequential([L.Input((4, 5, 2)), conv(activation="relu"), inner, L.MaxPooling2D(2, 1)])(x)


def pooling(kind, d):
    "Branches of one kind of pooling: valid, same (windows overlap), global, and at the input."
    shape, n = {1: ((8, 2), 3), 2: ((6, 5, 2), 3), 3: ((4, 4, 5, 2), 2)}[d]
    before, pool, whole = (getattr(L, name) for name in (f"Conv{d}D", f"{kind}Pooling{d}D", f"Global{kind}Pooling{d}D"))
    name = f"{kind.lower()} pooling {d}D"
    return {f"{name}, valid": (shape, chain(before(3, 2), pool(2, 1))),
            f"{name}, same": (shape, chain(before(3, 2), pool(n, 2, "same"))),
            f"{name}, global": (shape, chain(before(3, 2, activation="relu"), whole())),
            f"{name}, first": (shape, chain(pool(2), before(3, 1)))}


IMAGE = (5, 6, 2)
# each branch: shape of its input, function from input to output; first layers see signed inputs, later ones also of
# one sign
KERNELS = {
    "dense": ((7,), chain(L.Dense(6, activation="relu"), L.Dense(4))),
    "dense on maps": ((3, 4, 2), chain(L.Dense(3), L.Dense(2, activation="relu"))),
    "conv 1D, strides and dilation": ((9, 2), chain(L.Conv1D(3, 3, strides=2, padding="same"),
                                                    L.Conv1D(2, 2, dilation_rate=2, activation="relu"))),
    "conv 2D, strides and dilation": (IMAGE, chain(conv(3, (3, 2), strides=(2, 1), padding="same"),
                                                   conv(2, 2, dilation_rate=(1, 2), activation="relu"))),
    "conv 2D, after ReLU": (IMAGE, chain(conv(3, (2, 3), activation="relu"), conv(3, 1, strides=2))),
    "depthwise, multiplier": (IMAGE, chain(L.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
                                           L.DepthwiseConv2D(2, strides=2, activation="relu"))),
    "depthwise, dilation": (IMAGE, chain(L.DepthwiseConv2D(2, dilation_rate=2))),
    "separable": (IMAGE, chain(L.SeparableConv2D(3, (3, 2), padding="same", depth_multiplier=2),
                               L.SeparableConv2D(3, 2, strides=2, activation="relu"))),
    "depthwise 1D": ((9, 2), chain(L.DepthwiseConv1D(3, padding="same", depth_multiplier=2),
                                   L.DepthwiseConv1D(2, strides=2, activation="relu"))),
    "separable 1D": ((9, 2), chain(L.SeparableConv1D(3, 3, padding="same", depth_multiplier=2),
                                   L.SeparableConv1D(2, 2, dilation_rate=2, activation="relu"))),
    "separable, after ReLU": (IMAGE, chain(conv(activation="relu"), L.SeparableConv2D(3, 2)))}
SCALING = {
    "normalisation after conv": (IMAGE, chain(conv(), norm(), L.ReLU(), conv(k=3, padding="same"), norm(scale=False),
                                              L.Activation("relu"))),
    "normalisation before conv": (IMAGE, chain(conv(activation="relu"), norm(center=False),
                                               conv(2, 3, padding="same", activation="relu"))),
    "normalisation first": (IMAGE, chain(norm(), conv(activation="relu"))),
    "normalisation alone": (IMAGE, chain(conv(activation="relu"), norm(scale=False, center=False), L.ReLU())),
    "normalisation and dense": ((7,), chain(L.Dense(6, use_bias=False), norm(), L.ReLU(), norm(), L.Dense(4))),
    "normalisation and depthwise": (IMAGE, chain(L.DepthwiseConv2D(2, depth_multiplier=2), norm(), L.ReLU(), norm(),
                                                 L.DepthwiseConv2D(2, padding="same"))),
    "normalisation and separable": (IMAGE, chain(L.SeparableConv2D(3, 2), norm(), L.ReLU(), norm(),
                                                 L.SeparableConv2D(3, 2, padding="same"))),
    "normalising layer first": (IMAGE, chain(L.Normalization(mean=[0.1, -0.2], variance=[0.5, 2.]),
                                             conv(activation="relu"))),
    "rescaling first": ((7,), chain(L.Rescaling(0.5, 0.25), L.Dense(4))),
    "rescaling": ((7,), chain(L.Dense(5), L.Rescaling(-1.5, 0.25), L.Dense(4))),
    "multiplication": ((7,), chain(L.Dense(5), L.Rescaling(-2.), L.Dense(4)))}
SUMS = {
    "add": (IMAGE, merged(L.Add(), conv(activation="relu"), conv(), conv())),
    "subtract": (IMAGE, merged(L.Subtract(), conv(activation="relu"), conv())),
    "average": (IMAGE, merged(L.Average(), conv(activation="relu"), conv())),
    "upsampling": ((3, 3, 2), chain(conv(), L.UpSampling2D((2, 3)))),
    "upsampling, bilinear": ((3, 3, 2), chain(conv(), L.UpSampling2D(2, interpolation="bilinear"))),
    "upsampling first": ((3, 3, 2), chain(L.UpSampling2D(2), conv())),
    **pooling("Max", 1), **pooling("Max", 2), **pooling("Average", 1), **pooling("Average", 2)}
MOVES = {
    "ReLU layer": ((7,), chain(L.Dense(6), L.ReLU(), L.Dense(5))),
    "ReLU6": ((7,), chain(L.Dense(6), L.ReLU(0.7), L.Dense(5, activation=tf.nn.relu6))),
    "ReLU first": ((7,), chain(L.ReLU(), L.Dense(3))),
    "concatenate": (IMAGE, merged(L.Concatenate(), conv(activation="relu"), conv(2))),
    "concatenate rows": (IMAGE, merged(L.Concatenate(axis=1), conv(activation="relu"), conv())),
    "padding first": ((4, 5, 2), chain(L.ZeroPadding2D(((0, 1), (2, 1))), conv(k=3, strides=2, activation="relu"))),
    "padding": ((6, 2), chain(L.Conv1D(3, 2), L.ZeroPadding1D(1), L.Conv1D(2, 2))),
    "cropping": (IMAGE, chain(L.Cropping2D(((1, 0), (0, 1))), conv(), L.Cropping2D(((1, 0), (1, 1))))),
    "reshape and flatten": (IMAGE, chain(L.Reshape((10, 6)), L.Conv1D(3, 2), L.Flatten(), L.Dense(3))),
    "permute": (IMAGE, chain(L.Permute((3, 1, 2)), conv(), L.Permute((2, 3, 1)))),
    "dropout": (IMAGE, chain(conv(), L.SpatialDropout2D(0.5), L.GaussianNoise(1.), L.Dropout(0.5), conv())),
    "residual": ((4, 5, 2), residual), "shared": ((4,), shared), "nested": ((4, 5, 2), nested)}
VOLUMES = {   # kernels without a rule under lrp_argmax
    "conv 3D": ((3, 4, 3, 2), chain(L.Conv3D(2, 2, padding="same"),
                                    L.Conv3D(2, (1, 2, 1), strides=(1, 2, 1), activation="relu"))),
    "transposed": ((3, 4, 2), chain(L.Conv2DTranspose(3, 3, strides=2, padding="same"),
                                    L.Conv2DTranspose(2, 2, activation="relu"))),
    "normalisation and transposed": ((3, 3, 2), chain(L.Conv2DTranspose(3, 2, strides=2), norm(), L.ReLU(), norm(),
                                                      L.Conv2DTranspose(3, 2))),
    "padding and cropping 3D": ((3, 3, 3, 1),
                                chain(L.Conv3D(3, 2), L.ZeroPadding3D(1), L.Conv3D(2, 2), L.Cropping3D(1)))}
SUMS_3D = pooling("Max", 3) | pooling("Average", 3)
LEAKY = {
    "LeakyReLU": ((7,), chain(L.Dense(5), L.LeakyReLU(0.1), L.Dense(3))),
    "ReLU with a slope": ((7,), chain(L.Dense(5), L.ReLU(negative_slope=0.2), L.Dense(3))),
    "leaky activation": ((7,), chain(L.Dense(5, activation=tf.nn.leaky_relu), L.Dense(3)))}
# no sum so near 0 that float32 would be felt
SEEDS = {"kernels": (4, 0), "scaling": (0, 2), "sums": (0, 3), "moves": (4, 0), "volumes": (3, 0), "sums 3D": (6, 0),
         "leaky": (0, 0)}
GROUPS = {"kernels": KERNELS, "scaling": SCALING, "sums": SUMS, "moves": MOVES, "volumes": VOLUMES, "sums 3D": SUMS_3D,
          "leaky": LEAKY}


def fill(model, seed=0, sign=None):
    """Weights as after some training, scales of either sign (or of the given one), every mean and variance off its
    start."""
    draw = np.random.default_rng(seed)
    for v in model.weights:
        part, shape = getattr(v, "path", v.name).split("/")[-1].split(":")[0], tuple(v.shape)
        if part == "moving_variance": a = draw.uniform(0.5, 2, shape)
        elif part == "gamma": a = draw.uniform(0.5, 1.5, shape) * (sign or np.where(draw.random(shape) < 0.3, -1, 1))
        elif part in ("beta", "bias", "moving_mean"): a = draw.normal(0, 0.3, shape)
        else: a = draw.normal(0, 1.5 / np.sqrt(max(np.prod(shape[:-1]), 1)), shape)
        v.assign(a.astype("float32"))
    return model


def images(shape, n=3, seed=1, low=-1., high=1.):
    return np.random.default_rng(seed).uniform(low, high, (n, *shape)).astype("float32")


def flat(x): return x if len(x.shape) == 2 else L.Flatten()(x)


def side_by_side(branches, seed, drawn):
    """(model, its reference, images of every branch). The last kernel is positive: else deep Taylor may hand a
    branch nothing."""
    inputs = [L.Input(shape) for shape, _ in branches.values()]
    last = L.Dense(3, name="logits")
    model = fill(keras.Model(inputs, last(L.Concatenate()([flat(f(i)) for i,
                                                           (_, f) in zip(inputs, branches.values())]))), seed)
    last.set_weights([np.abs(last.get_weights()[0]), last.get_weights()[1] + 1])
    return model, slow.Reference(model), [images(shape, seed=100 * drawn + k) for k,
                                          (shape, _) in enumerate(branches.values())]


# --- methods ----------------------------------------------------------------------------------------------------

EPSILON, GAMMA = dict(epsilon=dict(epsilon=0.05)), dict(gamma=dict(gamma=0.4))
METHODS = {   # the explainer's method, and name and options of the reference's
    "gradient": (rules.gradient(), "gradient", {}),
    "input_x_gradient": (rules.input_x_gradient(), "input_x_gradient", {}),
    "integrated_gradients": (rules.integrated_gradients(4, 0.2), "integrated_gradients", dict(steps=4, baseline=0.2)),
    "guided_backprop": (rules.guided_backprop(), "guided_backprop", {}), "lrp_z": (rules.lrp_z(), "lrp_z", {}),
    "lrp_epsilon": (rules.lrp_epsilon(0.05), "lrp_epsilon", EPSILON),
    "lrp_gamma": (rules.lrp_gamma(0.4), "lrp_gamma", GAMMA),
    "lrp_alpha_beta 2, 1": (rules.lrp_alpha_beta(), "lrp_alpha_beta", {}),
    "lrp_alpha_beta 1, 0": (rules.lrp_alpha_beta(1., 0.), "lrp_alpha_beta", dict(alpha_beta=dict(alpha=1., beta=0.))),
    "lrp_wsquare": (rules.lrp_wsquare(), "lrp_wsquare", {}), "lrp_flat": (rules.lrp_flat(), "lrp_flat", {}),
    "deep_taylor": (rules.deep_taylor(), "deep_taylor", {}),
    "deep_taylor_innvestigate2": (rules.deep_taylor_innvestigate2(), "deep_taylor_innvestigate2", {}),
    "deep_taylor_bounded": (rules.deep_taylor_bounded(), "deep_taylor_bounded", {}),
    "deep_taylor_canonized": (rules.deep_taylor_canonized(), "deep_taylor_canonized", {}),
    "lrp_composite": (rules.lrp_composite(0.05, 0.4), "lrp_composite", EPSILON | GAMMA),
    "lrp_argmax": (rules.lrp_argmax(), "lrp_argmax", {})}
TAYLOR = [m for m in METHODS if m.startswith("deep_taylor")]
# what a group of layers and a method have to do with each other: layers that only move values know two ways of it,
# and so on
APPLIES = {
    "kernels": [m for m in METHODS if m != "deep_taylor_innvestigate2"],
    "scaling": ["gradient", "lrp_epsilon", "lrp_gamma", "lrp_alpha_beta 2, 1", "lrp_wsquare", *TAYLOR, "lrp_composite",
                "lrp_argmax"],
    "volumes": ["gradient", "lrp_epsilon", "lrp_gamma", "lrp_alpha_beta 2, 1", "lrp_wsquare", "lrp_flat",
                "deep_taylor_bounded", "deep_taylor_canonized", "lrp_composite"],
    "sums": ["gradient", "lrp_z", "lrp_epsilon", "lrp_wsquare", "deep_taylor", "deep_taylor_bounded",
             "deep_taylor_canonized", "lrp_composite", "lrp_argmax"],
    "sums 3D": ["gradient", "lrp_z", "lrp_flat", "deep_taylor", "deep_taylor_canonized"],
    "moves": ["gradient", "guided_backprop", "lrp_epsilon", "lrp_flat", "deep_taylor_bounded", "deep_taylor_canonized",
              "lrp_argmax"],
    # without a rule under deep Taylor and guided backpropagation
    "leaky": ["gradient", "lrp_epsilon", "lrp_alpha_beta 2, 1", "lrp_wsquare", "lrp_composite", "lrp_argmax"]}


@functools.cache
def made(group): return side_by_side(GROUPS[group], *SEEDS[group])


@functools.cache
def maps(group, method):
    "Branch -> (map of the explainer, map of the reference), channels summed."
    (model, reference, xs), (ours, name, options) = made(group), METHODS[method]
    got = Explainer(model, ours, bounds=(LOW, HIGH))(xs)
    expected = [summed(r) for r in reference.relevance(xs, name, bounds=(LOW, HIGH), **options)]
    return dict(zip(GROUPS[group], zip(got, expected)))


def summed(r): return r.sum(-1) if r.ndim > 2 else r


def error(a, b):
    "Larger of the relative errors in the Euclidean norm and in the largest value."
    return max(np.linalg.norm(a - b) / np.linalg.norm(b), np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("group, method, branch", [(g, m, b) for g in GROUPS for m in APPLIES[g] for b in GROUPS[g]],
                         ids=lambda v: v)
def test_equals_the_reference(group, method, branch):
    got, expected = maps(group, method)[branch]
    assert np.abs(expected).max() > 1e-4
    assert got.dtype == np.float32 and error(got, expected) < 1e-4


# --- whole models -----------------------------------------------------------------------------------------------

def compare(model, xs, method, bounds=(LOW, HIGH), target=None):
    "Errors of the explainer's maps against the reference's, one for each input."
    ours, name, options = METHODS[method]
    got = Explainer(model, ours, bounds=bounds)(xs, target)
    expected = slow.Reference(model).relevance(xs, name, target, bounds=bounds, **options)
    return [error(g, summed(e)) for g, e in zip(*(m if isinstance(xs, list) else [m] for m in (got, expected)))]


SOME = ("gradient", "lrp_epsilon", "lrp_flat", "deep_taylor_canonized", "lrp_composite")


def two_inputs():
    "An image and a vector meet in a sum; the image also goes round it."
    i, j = L.Input((5, 5, 2)), L.Input((6,))
    x = L.Flatten()(conv(activation="relu")(i))
    y = L.Dense(48, activation="relu")(j)
    return fill(keras.Model([i, j], L.Dense(3)(L.Concatenate()([L.Add()([x, y]), x]))), 2)


@pytest.mark.parametrize("method", SOME)
def test_two_inputs(method):
    model, xs = two_inputs(), [images((5, 5, 2)), images((6,), seed=2)]
    assert max(compare(model, xs, method)) < 1e-4


@pytest.mark.parametrize("method", SOME)
@pytest.mark.parametrize("target", [1, [0, 2, 0]])
def test_sequential_and_targets(method, target):
    model = fill(keras.Sequential([L.Input((6, 5, 2)), conv(4), norm(), L.ReLU(), L.MaxPooling2D(2), L.Flatten(),
                                   L.Dense(5, activation="relu"), L.Dense(3)]))
    model.layers[-1].bias.assign_add(np.full(3, 2., "float32"))
    assert max(compare(model, images((6, 5, 2)), method, target=target)) < 1e-4


@pytest.mark.parametrize("method", ["deep_taylor_bounded", "deep_taylor_canonized", "lrp_composite"])
def test_bounds_of_every_channel_and_place(method):
    model = fill(keras.Sequential([L.Input(IMAGE), L.ZeroPadding2D(1), conv(activation="relu"), L.Flatten(),
                                   L.Dense(3)]), 1)
    model.layers[-1].bias.assign_add(np.full(3, 2., "float32"))
    x = images(IMAGE)
    by_channel = np.array([-1., -2.], "float32"), np.array([1., 3.], "float32")
    by_place = tuple(np.broadcast_to(b, IMAGE) for b in by_channel)
    assert compare(model, x, method, by_channel)[0] < 1e-4
    ours = METHODS[method][0]
    np.testing.assert_allclose(Explainer(model, ours, bounds=by_place)(x), Explainer(model, ours, bounds=by_channel)(x),
                               rtol=1e-5, atol=1e-7)
    assert error(Explainer(model, ours, bounds=(LOW, HIGH))(x), Explainer(model, ours, bounds=by_channel)(x)) > 1e-3


@pytest.mark.parametrize("last", [[L.Dense(3, activation="softmax")], [L.Dense(3), L.Softmax()],
                                  [L.Dense(3), L.Activation("softmax")]], ids=["inside", "layer", "activation"])
@pytest.mark.parametrize("method", ["gradient", "lrp_epsilon"])
def test_softmax_is_explained_at_its_logits(last, method):
    model = fill(keras.Sequential([L.Input((7,)), L.Dense(5, activation="relu"), *last]))
    plain = keras.Sequential([L.Input((7,)), L.Dense(5, activation="relu"), L.Dense(3)])
    plain.set_weights(model.get_weights())
    x = images((7,))
    relevance, logits = Explainer(model, method).explain(x)
    expected, outputs = Explainer(plain, method).explain(x)
    np.testing.assert_array_equal(relevance, expected)
    np.testing.assert_allclose(logits, plain(x), rtol=1e-6)
    np.testing.assert_allclose(tf.nn.softmax(logits), model(x), rtol=1e-5)
    assert compare(model, x, method)[0] < 1e-4


# --- ties and zeros ---------------------------------------------------------------------------------------------

def summing(*layers, shape):
    """The layers, then the sum of everything, as one logit; kernels of ones, biases of zeros unless the layer says
    otherwise."""
    return keras.Sequential([L.Input(shape), *layers, L.Flatten(),
                             L.Dense(1, use_bias=False, kernel_initializer="ones")])


def ones(layer, *sizes, **o): return layer(*sizes, kernel_initializer="ones", **o)


@pytest.mark.parametrize("method", ["gradient", "lrp_z", "lrp_flat", "deep_taylor", "deep_taylor_canonized",
                                    "lrp_argmax"])
def test_first_of_equal_maxima(method):
    "A window of equal values hands its relevance to the first, in rows; what lies beside it does not matter."
    x = np.ones((1, 2, 4, 1), "float32")
    x[0, :, 2:, 0] = [[1, 5], [5, 1]]
    got = Explainer(summing(L.MaxPooling2D(2), shape=(2, 4, 1)), method, bounds=(0, 5))(x)[0]
    share = 1 if method in ("gradient", "lrp_flat") else 1 / 5   # of the two windows, to each other: by value, or equal
    np.testing.assert_allclose(got / got.max(), [[share, 0, 0, 1], [0, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("padding, expected",
                         [("valid", [[4, 4, 0], [4, 4, 0], [0, 0, 0]]), ("same", [[4, 4, 2], [4, 4, 2], [2, 2, 1]])])
def test_argmax_first_of_equal_contributions(padding, expected):
    """A kernel of ones on an image of ones: every output's relevance goes to its window's first pixel that is one of
    the image's."""
    got = Explainer(summing(ones(L.Conv2D, 1, 2, padding=padding), shape=(3, 3, 1)),
                    "lrp_argmax")(np.ones((1, 3, 3, 1), "float32"))
    np.testing.assert_allclose(got[0], expected, rtol=1e-6)


@pytest.mark.parametrize("layer", [conv(1, (1, 3), padding="same"), L.SeparableConv2D(1, (1, 3), padding="same"),
                                   L.DepthwiseConv2D((1, 3), padding="same"),
                                   conv(1, (1, 2), strides=2, padding="same")])
def test_argmax_never_takes_what_is_absent(layer):
    """All contributions are negative: padding and other channels' inputs, which are not there, must not win with
    their 0."""
    model = summing(layer, L.ReLU(), shape=(1, 5, 2))
    kernel, *others, bias = layer.get_weights()
    layer.set_weights([-np.ones(kernel.shape), *(np.ones(k.shape) for k in others), np.full(bias.shape, 9.)])
    x = images((1, 5, 2), low=0.1, high=0.9)
    relevance, logits = Explainer(model, "lrp_argmax").explain(x)
    assert (logits > 5).all()
    np.testing.assert_allclose(relevance.sum((1, 2)), logits[:, 0], rtol=1e-5)
    assert compare(model, x, "lrp_argmax")[0] < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_black_image_and_dead_network(method):
    "No number overflows where every value is 0; rules that share by value find nothing, those that do not keep all."
    model = keras.Sequential([L.Input((4, 4, 1)), conv(2, use_bias=False, activation="relu"), L.AveragePooling2D(2, 1),
                              L.Flatten(), L.Dense(2)])
    fill(model).layers[-1].bias.assign([1., 0.5])
    black = np.zeros((1, 4, 4, 1), "float32")
    got = Explainer(model, METHODS[method][0], bounds=(0., 1.))(black)
    assert np.isfinite(got).all()
    if method not in ("gradient", "integrated_gradients", "guided_backprop", "lrp_wsquare", "lrp_flat"):
        assert not got.any()


def test_dead_ends_lose_their_relevance():
    """z⁺ of an output without a positive contribution is 0, and its relevance is lost; also behind a folded
    normalisation, where an input that was recomputed from the normalised value, 1e-8 instead of 0, would take all of
    it."""
    for seed in (17, 35):
        model = fill(keras.Sequential([L.Input((3, 3, 2)), conv(2, 1, activation="relu"), norm(), conv(1), L.Flatten(),
                                       L.Dense(3)]), seed)
        model.layers[-1].bias.assign_add([3.] * 3)
        x = images((3, 3, 2), 8, seed)
        reference = slow.Reference(model).relevance(x, "deep_taylor_canonized", bounds=(LOW, HIGH))
        assert (reference.sum((1, 2, 3)) < 0.9 * model(x).numpy().max(1)).any()
        assert compare(model, x, "deep_taylor_canonized")[0] < 1e-4


# --- what must hold of any map ----------------------------------------------------------------------------------

def small(seed=0, bias=True, sign=None, norms=True, sums=True, positive=False, signed=True):
    """A network with convolutions, a sum and both poolings. `sums`: with Add and average pooling. `signed`: one summand
    has both signs. `positive`: no kernel is negative, so that nothing is a dead end."""
    normed = (lambda: [norm()]) if norms else list
    i = L.Input((7, 7, 2))
    x = chain(conv(4, 3, use_bias=bias), *normed(), L.ReLU())(i)
    y = chain(conv(4, 3, padding="same", use_bias=bias), *normed(), *[] if signed else [L.ReLU()])(x)
    x = L.MaxPooling2D(2, 1)(L.ReLU()(L.Add()([x, y]) if sums else y))
    x = conv(5, use_bias=bias, activation="relu", padding="same")(x)
    x = L.AveragePooling2D(2)(x) if sums else x
    model = fill(keras.Model(i, L.Dense(3, use_bias=bias, name="logits")(L.Flatten()(x))), seed, sign)
    if bias: model.layers[-1].bias.assign_add([2.] * 3)
    if positive: model.set_weights([np.abs(w) for w in model.get_weights()])
    return model


X = images((7, 7, 2), 6)
ALL = {name: make() for name, make in rules.METHODS.items()}


@functools.cache
def network():
    "The small network after a step of training, some of it frozen; and its `state` before anything was explained."
    model = small(3)
    model.layers[1].trainable = False
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, np.arange(6) % 3, verbose=0)
    return model, state(model)


def state(model):
    "(weights, the optimizer's variables and the model's own gradients; whatever else could be seen to change)."
    with tf.GradientTape() as tape: y = tf.reduce_sum(model(X, training=False)**2)
    slopes = tape.gradient(y, model.trainable_variables)
    optimizer = model.optimizer.variables() if callable(model.optimizer.variables) else model.optimizer.variables
    return [v.numpy() for v in (*slopes, *model.weights, *optimizer)], ([layer.trainable for layer in model.layers],
                                                                        [len(layer.weights) for layer in model.layers],
                                                                        model.to_json(), len(model.losses))


def explainer(model, method): return Explainer(model, ALL[method], bounds=(-1., 1.))


@functools.cache
def explained(method):
    "(explainer of the network, its maps and logits of X)."
    explain = explainer(network()[0], method)
    return explain, *explain.explain(X)


@pytest.mark.parametrize("method", ALL)
def test_batch_mates_batch_size_and_chunks_do_not_matter(method):
    explain, whole, logits = explained(method)
    strange = np.concatenate([X[:1], np.sign(X[1:4]), np.zeros_like(X[:2])])
    for got, expected in [(explain(X[:1]), whole[:1]), (explain(strange)[:1], whole[:1]),
                          (explain.explain(X, batch_size=2)[0], whole), (explain.explain(X, batch_size=5)[0], whole)]:
        assert error(got, expected) < 1e-4
    assert explain(X[:0]).shape == (0, 7, 7)
    np.testing.assert_allclose(logits, network()[0](X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ALL)
def test_scaling_the_output_layer_scales_the_map(method):
    """But for fixations, which are places: 1 or 0 whatever the logit. The explainer takes the weights as they are
    when it is called."""
    (explain, whole, _), last = explained(method), network()[0].layers[-1]
    weights = last.get_weights()
    last.set_weights([3 * w for w in weights])
    try: scaled = explain(X)
    finally: last.set_weights(weights)
    assert error(scaled, whole * (1 if method == "cnn_fixations" else 3)) < 1e-4


@pytest.mark.parametrize("method", [m for m, made in ALL.items()
                                    if m in ("deep_taylor_canonized", "lrp_composite", "lrp_argmax")])
def test_folding_leaves_the_outputs(method):
    """Logits that come with the maps are the model's; the reference's folded network, as it is written out, has them
    too."""
    model = network()[0]
    np.testing.assert_allclose(explained(method)[2], model(X), rtol=1e-5, atol=1e-5)
    reference = slow.Reference(model)
    assert not any(isinstance(call.layer, L.BatchNormalization) for call in reference.folded)
    folded = np.stack([reference.values([x], reference.folded)[reference.output] for x in X])
    np.testing.assert_allclose(folded, model(X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", TAYLOR)
def test_deep_taylor_is_not_negative(method):
    """For images in 0…1 and in −1…1 alike: x⁺w⁺ + x⁻w⁻ has no negative share, z^B none where images lie within the
    bounds, and what else there is has positive derivatives, but for a normalisation of negative scale under
    iNNvestigate 2's rule."""
    plain, mixed = explainer(small(3, sign=1, signed=False), method), explainer(small(3, signed=False), method)
    for low in (0., -1.):
        x = images((7, 7, 2), 5, 4, low, 1.)
        got = plain(x), mixed(x)
        assert (got[0] >= 0).all() and got[0].any() and got[1].any()
        assert (got[1] < 0).any() if method == "deep_taylor_innvestigate2" else (got[1] >= 0).all()


@pytest.mark.parametrize("method", TAYLOR)
def test_signed_summands_under_deep_taylor(method):
    """A sum of a ReLU's output and a signed branch, as in residual networks: its z-rule, which conserves, gives the
    summand of the other sign a negative share, even for images in 0…1; its gradient, which does not conserve, has
    none."""
    got = explainer(small(3, sign=1), method)(images((7, 7, 2), 5, 4, 0., 1.))
    assert (got < 0).any() == (method == "deep_taylor_canonized") and got.any()


@pytest.mark.parametrize("method", ["lrp_z", "lrp_epsilon", "lrp_gamma", "lrp_alpha_beta", "lrp_wsquare", "lrp_flat"])
def test_conservation_without_biases(method):
    """Every layer hands on what it got; ε is too small to be felt; every output has contributions of both signs. The
    w²- and the flat rule, which give to dead neurons too, only where no sum of dead neurons follows: there is nobody to
    share by value."""
    model = small(3, bias=False, norms=False, sums=method not in ("lrp_wsquare", "lrp_flat"))
    relevance, logits = explainer(model, method).explain(X)
    np.testing.assert_allclose(relevance.sum((1, 2)), logits.max(1), rtol=1e-4)


@pytest.mark.parametrize("method, norms", [("deep_taylor_canonized", True), ("lrp_argmax", True),
                                           ("deep_taylor_canonized", False), ("lrp_alpha_beta", False),
                                           ("deep_taylor_bounded", False), ("deep_taylor", False)])
def test_conservation_without_dead_ends(method, norms):
    """Positive kernels and images: every output has a positive contribution. Biases are left out of the rule; with
    α1β0, whose rule counts positive ones, they are 0. Deep Taylor takes the gradient at sums and average pooling, so it
    does not conserve."""
    model, x = small(3, norms=norms, positive=True), np.abs(X) + 0.01
    if method == "lrp_alpha_beta": model.set_weights([w * (w.ndim > 1) for w in model.get_weights()])
    chosen = rules.lrp_alpha_beta(1., 0.) if method == "lrp_alpha_beta" else ALL[method]
    relevance, logits = Explainer(model, chosen, bounds=(0., 1.1)).explain(x)
    kept = relevance.sum((1, 2)) / logits.max(1)
    if method in ("deep_taylor", "deep_taylor_bounded"): assert (np.abs(kept - 1) > 1e-2).all()
    else: np.testing.assert_allclose(kept, 1, rtol=1e-4)


def test_gradient_of_a_linear_model_is_its_weights():
    model = fill(keras.Sequential([L.Input((4, 3, 2)), L.Flatten(), L.Dense(3)]))
    x, w = images((4, 3, 2)), model.get_weights()[0].reshape(4, 3, 2, 3).sum(2)
    for method in ("gradient", "smoothgrad"):
        for target in range(3):
            np.testing.assert_allclose(Explainer(model, method)(x, target), np.broadcast_to(w[..., target], (3, 4, 3)),
                                       rtol=1e-5, atol=1e-6)
    vector = fill(keras.Sequential([L.Input((5,)), L.Dense(3)]))
    np.testing.assert_array_equal(Explainer(vector, "gradient")(images((5,)), 1),
                                  np.tile(vector.get_weights()[0][:, 1], (3, 1)))


def test_gradient_is_the_tapes():
    "Also of input times gradient; against TensorFlow's own differentiation, which knows nothing of rules."
    x, model = tf.constant(X), network()[0]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(tf.reduce_max(model(x, training=False), 1))
    slope = tape.gradient(y, x).numpy()
    assert error(explained("gradient")[1], slope.sum(-1)) < 1e-5
    assert error(explained("input_x_gradient")[1], (X * slope).sum(-1)) < 1e-5


@pytest.mark.parametrize("baseline", [0., 0.5])
def test_integrated_gradients_are_complete(baseline):
    """They sum to the change of the logit from the baseline (Sundararajan et al. 2017, proposition 1), the closer
    the more steps."""
    model = network()[0]
    target = model(X).numpy().argmax(1)
    value = lambda x: np.take_along_axis(model(x).numpy(), target[:, None], 1)[:, 0]
    change = value(X) - value(np.full_like(X, baseline))
    gap = [np.abs(Explainer(model, rules.integrated_gradients(steps, baseline))(X, target).sum((1, 2)) - change).max()
           for steps in (4, 256)]
    assert gap[1] < 5e-3 * np.abs(change).max() and gap[1] < gap[0] / 4


def test_smoothgrad_is_the_mean_over_noise():
    """Against as many samples of our own: within what two means of independent noise differ by. Noise 0 is the
    gradient; the same seed gives the same map, another seed another."""
    n, noise, x, model = 200, 0.1, X[:2], network()[0]
    got = Explainer(model, rules.smoothgrad(n, noise))(x, 0)
    width = noise * (x.max((1, 2, 3)) - x.min((1, 2, 3)))
    noisy = x + np.random.default_rng(0).normal(size=(n, *x.shape)) * width[:, None, None, None]
    gradient = explained("gradient")[0]
    samples = gradient(noisy.reshape(-1, *x.shape[1:]).astype("float32"), 0).reshape(n, *got.shape)
    deviation = np.sqrt(2 * samples.var(0) / n)
    assert np.abs(got - samples.mean(0)).mean() < 1.2 * deviation.mean() and (np.abs(got - samples.mean(0)) < 6
                                                                              * deviation + 1e-6).all()
    np.testing.assert_allclose(Explainer(model, rules.smoothgrad(3, 0.))(x, 0), gradient(x, 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(explainer(model, "smoothgrad")(x), explained("smoothgrad")[1][:2])
    assert error(Explainer(model, rules.smoothgrad(seed=1))(x), explained("smoothgrad")[1][:2]) > 1e-3


def test_explaining_leaves_the_model_alone():
    """Weights, optimizer, own gradients, what is trainable and the layers' lists, after every method has explained
    the network."""
    model, (arrays, rest) = network()
    for method in ALL: explained(method)
    after, same = state(model)
    assert rest == same and len(arrays) == len(after)
    for a, b in zip(arrays, after): np.testing.assert_array_equal(a, b)


# --- refusals ---------------------------------------------------------------------------------------------------

def classifier(layer):
    return keras.Sequential([L.Input((6, 6, 2)), conv(3, name="first"), layer, L.Flatten(), L.Dense(3, name="logits")])


REFUSED = {   # layer, what the message must name: the layer, and what to do
    "lambda": (lambda: L.Lambda(lambda x: x, name="odd"), "replace it by"),
    "tanh": (lambda: L.Activation("tanh", name="odd"), "ReLU"),
    "selu": (lambda: conv(activation="selu", name="odd"), "ReLU"),
    "unit normalisation": (lambda: L.UnitNormalization(name="odd"), "replace it by"),
    "ELU": (lambda: L.ELU(name="odd"), "replace it by"),
    "threshold": (lambda: L.ReLU(threshold=0.1, name="odd"), "threshold=0"),
    "softmax inside": (lambda: L.Softmax(name="odd"), "logits"),
    "maximum": (lambda: lambda x: L.Maximum(name="odd")([x, conv(3, 1)(x)]), "replace it by"),
    "added scores": (lambda: lambda x: L.Reshape((5, 5, 3))(L.Attention(score_mode="concat", name="odd")(
        [L.Reshape((25, 3))(x)]*2)), "gradient method"),
    "two axes": (lambda: lambda x: L.MultiHeadAttention(1, 2, name="odd")(x, x), "Reshape"),
    "causal": (lambda: lambda x: L.Conv1D(2, 2, padding="causal", name="odd")(L.Reshape((25, 3))(x)), "ZeroPadding1D"),
    "recurrent": (lambda: lambda x: L.LSTM(2, name="odd")(L.Reshape((25, 3))(x)), "replace it by"),
    "dilated transposition": (lambda: L.Conv2DTranspose(2, 2, dilation_rate=2, name="odd"), "plain transposed")}


def refusal(layer, method):
    i = L.Input((6, 6, 2))
    with pytest.raises(ValueError) as e:
        Explainer(keras.Model(i, L.Dense(3)(flat(layer(conv(3, name="first")(i))))), method, bounds=(-1, 1))
    return str(e.value)


@pytest.mark.parametrize("what", REFUSED)
def test_refusals(what):
    make, remedy = REFUSED[what]
    message = refusal(make(), "lrp_z")
    assert "'odd'" in message and remedy in message


SINCE = {   # layers that deep Taylor decomposition was not derived for
    "sigmoid": lambda: L.Activation("sigmoid", name="odd"), "silu": lambda: L.Activation("swish", name="odd"),
    "gelu": lambda: conv(activation="gelu", name="odd"), "layer norm": lambda: L.LayerNormalization(name="odd"),
    "group norm": lambda: L.GroupNormalization(1, name="odd"),
    "product": lambda: lambda x: L.Multiply(name="odd")([x, conv(3, 1)(x)]),
    "attention": lambda: lambda x: L.Reshape((5, 5, 3))(L.Attention(name="odd")([L.Reshape((25, 3))(x)]*2))}


@pytest.mark.parametrize("method", TAYLOR)
@pytest.mark.parametrize("what", SINCE)
def test_deep_taylor_refuses_what_came_after_it(what, method):
    message = refusal(SINCE[what](), method)
    assert "'odd'" in message and "derived for ReLU" in message and "lrp_" in message


@pytest.mark.parametrize("method, what", [("cnn_fixations", "product"), ("cnn_fixations", "layer norm"),
                                          ("cnn_fixations", "attention"), ("lrp_argmax", "attention")])
def test_methods_refuse_what_they_are_not_defined_for(method, what):
    message = refusal(SINCE[what](), method)
    assert "'odd'" in message and "not defined" in message


@pytest.mark.parametrize("what", ["silu", "gelu"])
def test_guided_backpropagation_refuses_smooth_relus(what):
    message = refusal(SINCE[what](), "guided_backprop")
    assert "'odd'" in message and "lrp_" in message


@pytest.mark.parametrize("method", ["guided_backprop", *TAYLOR])
@pytest.mark.parametrize("layer", [lambda: L.LeakyReLU(name="odd"), lambda: L.ReLU(negative_slope=0.1, name="odd"),
                                   lambda: conv(activation=tf.nn.leaky_relu, name="odd")])
def test_leaky_is_refused_where_only_relu_is_meant(method, layer):
    message = refusal(layer(), method)
    assert "'odd'" in message and "lrp_" in message


@pytest.mark.parametrize("layer", [lambda: lambda x: L.Conv3D(2, 2, name="odd")(L.Reshape((5, 5, 3, 1))(x)),
                                   lambda: L.Conv2DTranspose(2, 2, name="odd")])
def test_no_winner(layer):
    message = refusal(layer(), "lrp_argmax")
    assert "'odd'" in message and "lrp_composite" in message


@pytest.mark.parametrize("method", ["deep_taylor_bounded", "deep_taylor_canonized", "lrp_composite"])
def test_shared_layer_at_the_input_and_inside(method):
    "z^B at one call and another rule at the other cannot both be had."
    i, layer = L.Input((4,)), L.Dense(4, name="odd")
    with pytest.raises(ValueError, match="'odd'.*method that needs no bounds"):
        Explainer(keras.Model(i, L.Dense(3)(layer(layer(i)))), method, bounds=(0, 1))
    with pytest.raises(ValueError, match="bounds="): Explainer(small(), method)


def test_parameters_that_cannot_be():
    for wrong in (lambda: rules.lrp_alpha_beta(2., 2.), lambda: rules.lrp_alpha_beta(0.5, -0.5),
                  lambda: rules.lrp_epsilon(-1.), lambda: rules.lrp_gamma(-1.), lambda: rules.integrated_gradients(0)):
        with pytest.raises(ValueError, match="must"): wrong()


# --- the reference itself ---------------------------------------------------------------------------------------

def matrix(w, x, b=0.):
    "A `Linear` of the given matrix, and the input."
    layer = L.Dense(np.shape(w)[1])
    layer.build((None, np.shape(w)[0]))
    layer.set_weights([np.array(w, "float32"), np.full(np.shape(w)[1], b, "float32")])
    return slow.Linear(layer, (len(w),)), np.array(x, float)


def test_reference_by_hand():
    "One output of 3 = 4·1 + 1·(−2) + 1·1: shares 4, −2 and 1."
    m, x = matrix([[1], [-2], [1]], [4, 1, 1])
    r = np.array([3.])
    for rule, expected in [(slow.z(m, x, r), [4, -2, 1]), (slow.epsilon(m, x, r, epsilon=1.), [3, -1.5, 0.75]),
                           (slow.alpha_beta(m, x, r), [4.8, -3, 1.2]),
                           (slow.z_plus(m, x, r), [2.4, 0, 0.6]), (slow.gamma(m, x, r, gamma=1.), [3, -0.75, 0.75]),
                           (slow.wsquare(m, x, r), [0.5, 2, 0.5]),
                           (slow.flat(m, x, r), [1, 1, 1]), (slow.argmax(m, x, r), [3, 0, 0]),
                           (slow.bounded(m, x, r, np.zeros(3), np.full(3, 4.)), [12 / 11, 18 / 11, 3 / 11])]:
        np.testing.assert_allclose(rule, expected, rtol=1e-12)
    m, x = matrix([[1], [-2], [1]], [4, 1, 1], 2.)
    np.testing.assert_allclose(slow.alpha_beta(m, x, np.array([5.]), 1., 0.), [20 / 7, 0, 5 / 7])
    np.testing.assert_allclose(slow.alpha_beta(m, x, np.array([5.]), 1., 0., "none"), [4, 0, 1])


def test_reference_parts_of_kernels_are_parts_of_matrices():
    """What justifies sorting contributions by sign in the matrix: every entry is one weight, but for separable
    convolutions."""
    model, reference, _ = made("kernels")
    found = [call for call in reference.calls if call.kind == "kernel"]
    for call in found:
        m = call.data["map"]
        for part in ("+", "-", "square"):
            assert m.separable or np.array_equal(m.matrix(part), slow.PARTS[part](m.matrix()))
    assert len(found) > 15


def test_reference_evaluates_the_models():
    for group in GROUPS:
        model, reference, xs = made(group)
        np.testing.assert_allclose(reference.logits(xs), model(xs).numpy(), rtol=1e-4, atol=1e-5)

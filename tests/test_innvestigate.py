"""Relevance against iNNvestigate 2.1.2, method by method, on six small networks.

Where both mean the same, maps are equal. Where iNNvestigate's definition is another one, a test says which, and shows
it: its maps equal those of `lrp_reference` with that definition, while the explainer's equal `lrp_reference` with the
paper's (tests/test_rules.py), or a relation between the two maps is asserted.

The neuron: iNNvestigate takes the maximum of the outputs as one number (`reduce_max`; of equal outputs each would get
its share, here the first is taken). LRP and guided backpropagation start with its value, sign kept, deep Taylor with
its value after a ReLU, the gradient and what is made of it with 1. With `neuron_selection_mode="index"` likewise for
the given output."""
import importlib.util, json, subprocess, sys
from dataclasses import replace
from pathlib import Path
import numpy as np, pytest, tensorflow as tf
import lrp_reference as slow
from rbdm_nb.explain import rules
from rbdm_nb.explain.relevance import Explainer

keras, L, HERE = tf.keras, tf.keras.layers, Path(__file__).resolve().parent
pytestmark = pytest.mark.skipif(importlib.util.find_spec("innvestigate") is None,
                                reason="innvestigate is not installed (it needs Python below 3.12, TensorFlow below "
                                       "2.15)")


# --- networks ---------------------------------------------------------------------------------------------------

class Unit:
    "Adds a kernel layer with a ReLU; with `norm` batch normalisation and a ReLU of its own in between. Names count up."
    def __init__(self, bias=False, norm=False): self.bias, self.norm, self.count = bias, norm, 0

    def __call__(self, x, layer, *sizes, relu=True, **options):
        self.count += 1
        x = layer(*sizes, use_bias=self.bias, activation="relu" if relu and not self.norm else None,
                  name=f"kernel{self.count}", **options)(x)
        if not self.norm: return x
        x = L.BatchNormalization(name=f"norm{self.count}")(x)
        return L.Activation("relu", name=f"relu{self.count}")(x) if relu else x


def logits(i, x, bias=True): return keras.Model(i, L.Dense(4, use_bias=bias, name="logits")(x))


def vgg_like(unit):
    x = i = L.Input((8, 8, 3), name="image")
    for n in (4, 6): x = L.MaxPooling2D(name=f"pool{n}")(unit(x, L.Conv2D, n, 3, padding="same"))
    x = L.Dropout(0.5, name="dropout")(L.Dense(8, activation="relu", use_bias=unit.bias,
                                               name="dense")(L.Flatten(name="flat")(x)))
    return logits(i, x, unit.bias)


def inception_like(unit):
    i = L.Input((9, 9, 3), name="image")
    x = L.MaxPooling2D(2, 1, name="pool")(unit(i, L.Conv2D, 5, 3, strides=2))
    factors = unit(unit(x, L.Conv2D, 3, (1, 3), padding="same"), L.Conv2D, 4, (3, 1), padding="same")
    pooled = unit(L.AveragePooling2D(3, 1, padding="same", name="average")(x), L.Conv2D, 3, 1)
    x = L.Concatenate(name="mixed")([unit(x, L.Conv2D, 3, 1), factors, pooled])
    return logits(i, L.GlobalAveragePooling2D(name="global")(x), unit.bias)


def residual(unit):
    i = L.Input((9, 9, 3), name="image")
    x = unit(i, L.Conv2D, 5, 3, strides=2, padding="same")
    y = unit(unit(x, L.Conv2D, 5, 3, padding="same"), L.Conv2D, 5, 3, padding="same", relu=False)
    x = L.Activation("relu", name="after")(L.Add(name="sum")([x, y]))
    return logits(i, L.GlobalAveragePooling2D(name="global")(x), unit.bias)


def mobilenet_like(unit):
    i = L.Input((9, 9, 3), name="image")
    x = unit(L.ZeroPadding2D(((0, 1), (0, 1)), name="pad")(i), L.Conv2D, 4, 3, strides=2)
    y = unit(unit(x, L.Conv2D, 6, 1), L.DepthwiseConv2D, 3, padding="same")
    x = L.Add(name="sum")([x, unit(y, L.Conv2D, 4, 1, relu=False)])
    return logits(i, L.GlobalAveragePooling2D(name="global")(x), unit.bias)


def dense(unit):
    i = L.Input((5, 4, 2), name="image")
    x = unit(unit(L.Flatten(name="flat")(i), L.Dense, 9), L.Dense, 7)
    return logits(i, x, unit.bias)


def average(unit):
    i = L.Input((9, 8, 2), name="image")
    x = L.AveragePooling2D(2, name="average")(unit(i, L.Conv2D, 4, 3))
    x = L.AveragePooling2D(2, 1, padding="same", name="smooth")(unit(x, L.SeparableConv2D, 5, 2))
    return logits(i, L.Flatten(name="flat")(x), unit.bias)


def relu_layers(unit):
    i = L.Input((6, 6, 2), name="image")
    x = L.ReLU(name="first")(L.Conv2D(4, 3, use_bias=False, name="conv")(i))
    x = L.ReLU(name="second")(L.Dense(6, use_bias=False, name="dense")(L.Flatten(name="flat")(x)))
    return logits(i, x, False)


def linear(unit):
    i = L.Input((4, 3, 2), name="image")
    return logits(i, L.Dense(5, name="dense")(L.Flatten(name="flat")(i)))


SIX = dict(vgg_like=vgg_like, inception_like=inception_like, residual=residual, mobilenet_like=mobilenet_like,
           dense=dense, average=average)
NORMED = ("vgg_like", "inception_like", "residual", "mobilenet_like")
KINDS = {"biased": dict(bias=True), "bare": dict(), "normed": dict(norm=True), "plain": dict(norm=True)}


def network(name, kind):
    """The network with weights as after some training; "biased" and "bare" without batch normalisation.

    "plain": batch normalisation with gamma 1 and variance 1."""
    model, draw, weights = (SIX | dict(relu_layers=relu_layers,
                                       linear=linear))[name](Unit(**KINDS[kind])), np.random.default_rng(3), []
    for layer in model.layers:
        for variable, a in zip(layer.weights, layer.get_weights()):
            part = variable.name.split("/")[-1].split(":")[0]
            if part == "moving_variance": a = draw.uniform(0.5, 2, a.shape) if kind == "normed" else np.ones(a.shape)
            elif part == "gamma":
                a = draw.uniform(0.5, 1.5, a.shape) * np.where(draw.random(a.shape) < 0.2, -1,
                                                               1) if kind == "normed" else np.ones(a.shape)
            elif part in ("beta", "bias", "moving_mean"): a = draw.normal(0, 0.2, a.shape)
            else: a = draw.normal(0, 1.5 / np.sqrt(np.prod(a.shape[:-1])), a.shape)
            weights.append(a.astype("float32"))
    model.set_weights(weights)
    return model


# --- what is compared -------------------------------------------------------------------------------------------

BOUNDED, EPSILON, STEPS, OUTPUT = dict(low=-1, high=1), dict(epsilon=0.01), 8, 1
SAME = {"gradient": ({}, rules.gradient()), "input_t_gradient": ({}, rules.input_x_gradient()),
        "lrp.z": ({}, rules.lrp_z()), "lrp.epsilon": (EPSILON, rules.lrp_epsilon(0.01)),
        "lrp.w_square": ({}, rules.lrp_wsquare()), "lrp.flat": ({}, rules.lrp_flat()),
        "deep_taylor": ({}, rules.deep_taylor_innvestigate2()),
        "deep_taylor.bounded": (BOUNDED, rules.deep_taylor_bounded()),
        "lrp.alpha_2_beta_1": ({}, rules.lrp_alpha_beta()), "lrp.alpha_1_beta_0": ({}, rules.lrp_alpha_beta(1., 0.))}
ALPHA = ("lrp.alpha_2_beta_1", "lrp.alpha_1_beta_0")
EQUAL = [(n, "biased", a) for n in SIX for a in SAME if a not in ALPHA
         and (n, a) != ("mobilenet_like", "deep_taylor.bounded")] \
      + [(n, "bare", a) for n in SIX for a in ALPHA] + [(n, "normed", a) for n in NORMED
                                                        for a in ("gradient", "deep_taylor")] \
      + [(n, "plain", a) for n in ("vgg_like", "residual") for a in ("lrp.z", "lrp.epsilon")]

WRONG = "innvestigate"
VARIANTS = {   # iNNvestigate's own definitions: analyzer, its options, method of lrp_reference, options of its rules
    "alpha 2 beta 1, whole bias": ("lrp.alpha_2_beta_1", {}, slow.lrp(slow.alpha_beta, slow.alpha_beta, formula=WRONG),
                                   dict(alpha_beta=dict(bias="whole"))),
    "alpha 1 beta 0, whole bias": ("lrp.alpha_1_beta_0", {}, slow.lrp(slow.alpha_beta, slow.alpha_beta, formula=WRONG),
                                   dict(alpha_beta=dict(alpha=1., beta=0., bias="whole"))),
    "alpha 2 beta 1, no bias": ("lrp.alpha_2_beta_1_IB", {}, slow.lrp(slow.alpha_beta, slow.alpha_beta, formula=WRONG),
                                dict(alpha_beta=dict(bias="none"))),
    "z+": ("lrp.z_plus", {}, slow.lrp(slow.z_plus, slow.z_plus, formula=WRONG), {}),
    "z, wrong formula": ("lrp.z", {}, slow.lrp(slow.z, formula=WRONG), {}),
    "epsilon, wrong formula": ("lrp.epsilon", EPSILON, slow.lrp(slow.epsilon, slow.epsilon, formula=WRONG),
                               dict(epsilon=EPSILON)),
    "w^2, normalisation passed": ("lrp.w_square", {}, slow.lrp(slow.wsquare, "pass"), {}),
    "flat, normalisation passed": ("lrp.flat", {}, slow.lrp(slow.flat, "pass"), {}),
    "w^2, gradient of ReLU": ("lrp.w_square", {}, slow.lrp(slow.wsquare, activation="gradient"), {}),
    "z^B, gradient of normalisation": ("deep_taylor.bounded", BOUNDED, slow.taylor(slow.gradient, first=True), {})}
EXPLAINED = [(n, "biased", v) for n in ("vgg_like", "average") for v in list(VARIANTS)[:4]] \
          + [(n, "normed", v) for n in ("vgg_like", "residual") for v in list(VARIANTS)[4:8]] \
          + [("residual", "normed", "alpha 2 beta 1, whole bias"),
             ("residual", "normed", "z^B, gradient of normalisation"), ("relu_layers", "bare", "w^2, gradient of ReLU")]
INDEX = dict(neuron_selection_mode="index", neuron_selection=OUTPUT)
OTHERS = [(n, "biased", "guided_backprop", {}) for n in SIX] + [(n, "bare", "integrated_gradients", dict(steps=STEPS))
                                                                for n in SIX] \
       + [("vgg_like", "biased", "integrated_gradients", dict(steps=STEPS)),
          ("mobilenet_like", "biased", "deep_taylor.bounded", BOUNDED), ("vgg_like", "bare", "lrp.z_plus", {}),
          ("linear", "biased", "smoothgrad", dict(augment_by_n=4))] + [("residual", "biased", a, SAME[a][0] | INDEX)
                                                                       for a in ("gradient", "lrp.epsilon")]
JOBS = [(n, k, a, SAME[a][0]) for n, k, a in EQUAL] + [(n, k, *VARIANTS[v][:2]) for n, k, v in EXPLAINED] + OTHERS


def cases(rows): return pytest.mark.parametrize("name, kind, what", rows, ids=["-".join(r) for r in rows])


class Oracle:
    "Networks, their images, and iNNvestigate's maps of them."
    def __init__(self, folder):
        self.made = {}
        for name, kind in dict.fromkeys(job[:2] for job in JOBS):
            model = network(name, kind)
            images = np.random.default_rng(1).uniform(-1, 1, (3, *model.input_shape[1:])).astype("float32")
            self.made[name, kind] = model, images, slow.Reference(model)
            (folder / f"{name} {kind}.json").write_text(model.to_json())
            np.savez(folder / f"{name} {kind}.npz", images=images,
                     **{f"w{k}": w for k, w in enumerate(model.get_weights())})
        (folder / "jobs.json").write_text(json.dumps([(f"{n} {k}", a, o) for n, k, a, o in JOBS]))
        done = subprocess.run([sys.executable, str(HERE / "innvestigate_oracle.py"), str(folder)], capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        with np.load(folder / "maps.npz") as data:
            self.maps = {(*job[:3], job[3].get("neuron_selection")): data[str(k)] for k, job in enumerate(JOBS)}

    def __call__(self, name, kind, analyzer, output=None):
        "(model, images, reference, iNNvestigate's maps in the shape of the images); the maps are not trivial."
        maps = self.maps[name, kind, analyzer, output]
        assert (np.abs(maps).max((1, 2, 3)) > 1e-4).all()
        return *self.made[name, kind], maps


@pytest.fixture(scope="module")
def oracle(tmp_path_factory): return Oracle(tmp_path_factory.mktemp("oracle"))


def error(a, b):
    "Larger of the relative errors in the Euclidean norm and in the largest value."
    return max(np.linalg.norm(a - b) / np.linalg.norm(b), np.abs(a - b).max() / np.abs(b).max())


def as_one(name, method):
    """iNNvestigate takes a separable convolution, which network `average` has, for one map; so does `method`, ours
    or the reference's, then."""
    return replace(method, whole=True) if name == "average" else method


def explained(model, images, method, **o): return Explainer(model, method, bounds=(-1., 1.))(images, **o)


# --- where both mean the same -----------------------------------------------------------------------------------

@cases(EQUAL)
def test_equals_innvestigate(oracle, name, kind, what):
    """Equal to 1e-5. The αβ-rule on networks without biases (with them iNNvestigate's is another rule, see below), the
    z- and ε-rule through batch normalisation where gamma and the variance are 1 (likewise)."""
    model, images, _, expected = oracle(name, kind, what)
    assert error(explained(model, images, as_one(name, SAME[what][1])), expected.sum(-1)) < 1e-5


@pytest.mark.parametrize("what", ["lrp.z", "lrp.epsilon", "lrp.w_square", "lrp.flat"])
def test_separable_is_two_maps(oracle, what):
    """But to iNNvestigate. The z-rule is the same for both, as what lies between cancels out, and so is the flat
    one, where every output has as many inputs."""
    model, images, reference, expected = oracle("average", "biased", what)
    got = explained(model, images, SAME[what][1])
    assert (error(got, expected.sum(-1)) < 1e-4) == (what in ("lrp.z", "lrp.flat"))
    options = dict(epsilon=EPSILON) if what == "lrp.epsilon" else {}
    name = {"lrp.w_square": "lrp_wsquare"}.get(what, what.replace(".", "_"))
    assert error(got, reference.relevance(images, name, **options).sum(-1)) < 1e-4


@pytest.mark.parametrize("analyzer", ["gradient", "lrp.epsilon"])
def test_chosen_output(oracle, analyzer):
    "A given output, here one that is negative for some image: LRP starts with its value, the sign kept."
    model, images, _, expected = oracle("residual", "biased", analyzer, OUTPUT)
    assert (model(images).numpy()[:, OUTPUT] < 0).any()
    assert error(explained(model, images, SAME[analyzer][1], target=OUTPUT), expected.sum(-1)) < 1e-5


# --- where iNNvestigate means something else --------------------------------------------------------------------

@cases(EXPLAINED)
def test_innvestigate_has_another_definition(oracle, name, kind, what):
    """Its maps equal those of the slow reference with its definition, and not those of the explainer, which follows the
    paper.

    - αβ with bias: both sums, of positive and of negative contributions, get the whole bias; in Bach et al. (2015),
      equation 60, the positive sum gets b⁺ and the negative one b⁻. Its variants without bias leave it out of both.
    - Batch normalisation under LRP: the layer is rewritten as scale and shift with γ/√(var² + ε) and β − mean/√(var² +
    ε),
      which is not the layer (γ/√(var + ε) and β − γ·mean/√(var + ε)); the explainer's shares are those of the layer.
      w² and flat are divided out in a layer of one input for each output, so it passes R on; the explainer takes the
      z-rule.
    - A layer `ReLU` hands on LRP's relevance by its derivative, where `Activation("relu")` passes it: w² and flat give
      relevance to dead neurons, which is then lost.
    - Bounded deep Taylor: batch normalisation by its derivative, as in its deep Taylor; ours passes R on, as in the
    paper's time."""
    model, images, reference, maps = oracle(name, kind, VARIANTS[what][0])
    expected = reference.relevance(images, as_one(name, VARIANTS[what][2]), bounds=(-1., 1.), **VARIANTS[what][3])
    assert error(maps, expected) < 1e-4
    ours = SAME[VARIANTS[what][0].removesuffix("_IB").replace("z_plus", "alpha_1_beta_0")][1]
    assert error(explained(model, images, ours), maps.sum(-1)) > 1e-2


@pytest.mark.parametrize("name", SIX)
def test_guided_backpropagation_starts_with_the_logit(oracle, name):
    """iNNvestigate sends the output's value back, not 1; where it is positive the map is that many times the
    derivative's."""
    model, images, _, expected = oracle(name, "biased", "guided_backprop")
    values = model(images).numpy().max(1)
    assert (values > 0).all()
    assert error(values[:, None, None] * explained(model, images, rules.guided_backprop()), expected.sum(-1)) < 1e-5


@pytest.mark.parametrize("name", SIX)
def test_integrated_gradients_of_homogeneous_networks(oracle, name):
    """iNNvestigate takes the derivative at the left end of every step, of which the first is the baseline, the
    explainer in its middle.

    Without biases the derivative is the same on the whole way but at 0, where every ReLU is off: iNNvestigate misses
    one step."""
    model, images, _, expected = oracle(name, "bare", "integrated_gradients")
    ours = explained(model, images, rules.integrated_gradients(STEPS))
    assert error(ours * (STEPS - 1) / STEPS, expected.sum(-1)) < 1e-5
    assert error(ours, explained(model, images, rules.input_x_gradient())) < 1e-5


def test_integrated_gradients_left_ends(oracle):
    model, images, reference, expected = oracle("vgg_like", "biased", "integrated_gradients")
    assert error(reference.relevance(images, "integrated_gradients", steps=STEPS, place=0), expected) < 1e-5
    middle = reference.relevance(images, "integrated_gradients", steps=STEPS)
    assert error(explained(model, images, rules.integrated_gradients(STEPS)),
                 middle.sum(-1)) < 1e-5 and error(middle, expected) > 1e-2


def test_bounded_deep_taylor_behind_padding(oracle):
    """A convolution behind ZeroPadding2D is no input layer to iNNvestigate and gets z⁺; to the explainer it is, with
    padding that is 0 for sure."""
    model, images, reference, expected = oracle("mobilenet_like", "biased", "deep_taylor.bounded")
    assert error(reference.relevance(images, "deep_taylor"), expected) < 1e-5
    assert error(explained(model, images, rules.deep_taylor_bounded()),
                 reference.relevance(images, "deep_taylor_bounded", bounds=(-1, 1)).sum(-1)) < 1e-5


def test_z_plus_is_deep_taylor_where_only_kernels_divide(oracle):
    "Without sums and average pooling iNNvestigate's z⁺ is its deep Taylor."
    model, images, _, expected = oracle("vgg_like", "bare", "lrp.z_plus")
    for method in ("deep_taylor", "deep_taylor_innvestigate2"):
        assert error(explained(model, images, method), expected.sum(-1)) < 1e-5


def test_smoothgrad_of_a_linear_model(oracle):
    """Noise is random, and of deviation 1 in iNNvestigate whatever is asked for; the derivative of a linear model
    does not see it."""
    model, images, _, expected = oracle("linear", "biased", "smoothgrad")
    assert error(explained(model, images, rules.smoothgrad(4)), expected.sum(-1)) < 1e-5


def test_methods_of_the_two_times_differ_only_with_batch_normalisation(oracle):
    plain, images, *_ = oracle("vgg_like", "biased", "deep_taylor")
    np.testing.assert_array_equal(explained(plain, images, "deep_taylor"),
                                  explained(plain, images, "deep_taylor_innvestigate2"))
    normed, images, _, expected = oracle("inception_like", "normed", "deep_taylor")
    assert error(explained(normed, images, "deep_taylor"), expected.sum(-1)) > 1e-2

"""Relevance a second time: slow, plain matrix form, NumPy float64, straight from the papers.

    maps = Reference(model).relevance(images, "lrp_gamma", gamma=0.25)      # float64, shape of the images

Of every layer that mixes its inputs the matrix W (inputs x outputs, both flattened) is read off the layer itself: the
outputs of a float64 copy for unit vectors, less the output for zeros, which is the bias. Strides, paddings, dilation
and transposition thus need no code of their own, and each rule is its formula on W, x (inputs) and R (relevance of the
outputs) of a single image. Contributions are written out as a matrix, share[i, j] = x_i w_ij, so that rules that sort
contributions by sign read as in Bach et al. (2015) and those that pick one as in Huber et al. (2019).

Sources: Simonyan et al. 2014 (gradient), Springenberg et al. 2015 (guided backpropagation), Sundararajan et al. 2017
(integrated gradients), Bach et al. 2015 (z, epsilon, alpha-beta), Montavon et al. 2017 (w^2, z+, z^B), Montavon et al.
2019 (gamma, composite), Andeol et al. 2021 (gamma for any sign), Huber et al. 2019 (argmax), Arras et al. 2017 (gates),
Achtibat et al. 2024 (products, layer normalisation, attention). A Multiply whose name begins with "gate" has a gate as
its last factor; which is a gate is not worked out here.

Works on functional and Sequential models of Keras 2 and 3, also nested, with shared layers and with several inputs."""
from dataclasses import dataclass, field, replace
import numpy as np, tensorflow as tf

keras, L = tf.keras, tf.keras.layers


def layers(*names): return tuple(getattr(L, n) for n in names if hasattr(L, n))


KERNEL = layers("Dense", "EinsumDense", "Conv1D", "Conv2D", "Conv3D", "Conv1DTranspose", "Conv2DTranspose",
                "Conv3DTranspose", "DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D")
SEPARABLE, DEPTHWISE = layers("SeparableConv1D", "SeparableConv2D"), layers("DepthwiseConv1D", "DepthwiseConv2D")
TRANSPOSED = layers("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
DIAGONAL = layers("BatchNormalization", "Rescaling", "Normalization")
AVERAGE = layers(*[f"{g}AveragePooling{d}D" for g in ("", "Global") for d in (1, 2, 3)])
UPSAMPLING = layers(*[f"UpSampling{d}D" for d in (1, 2, 3)])
MAXIMUM = layers(*[f"{g}MaxPooling{d}D" for g in ("", "Global") for d in (1, 2, 3)])
MERGE = layers("Add", "Subtract", "Average")
NORM = layers("LayerNormalization", "GroupNormalization")
ATTENTION = layers("MultiHeadAttention", "Attention")
ACTIVATION = layers("Activation", "ReLU", "LeakyReLU", "Softmax")
PARTS = {"all": lambda k: k, "+": lambda k: np.maximum(k, 0), "-": lambda k: np.minimum(k, 0), "square": np.square,
         "one": np.ones_like}


# --- layers as matrices -----------------------------------------------------------------------------------------

def twin(layer, **changes):
    "A float64 copy of `layer` without its weights and its activation."
    config = layer.get_config() | {"dtype": "float64"} | changes
    if "activation" in config: config["activation"] = "linear"
    return type(layer).from_config(config)


def evaluate(layer, *xs):
    "Output of `layer` for float64 batches `xs`."
    xs = [tf.constant(x, layer.compute_dtype) for x in xs]
    return np.asarray(layer(xs[0] if len(xs) == 1 else xs), "float64")


class Linear:
    """The linear map of a layer: `matrix(part)` (I, J) with its kernels' `part` (key of `PARTS`), `bias` (J,),
    `present` (I, J).

    A separable convolution is two maps: `stages` are the depthwise and the pointwise one, as layers of their own. As
    one map its "all" is the product of its two kernels, any other part the product of the two kernels' parts."""
    def __init__(self, layer, shape):
        # the former has no float64
        self.copy, self.shape, self.matrices = twin(layer, dtype="float32" if "Pooling3D" in type(layer).__name__
                                                    else "float64"), shape, {}
        self.outputs = evaluate(self.copy, np.zeros((1, *shape))).shape[1:]
        weights = [w.astype("float64") for w in layer.get_weights()]
        with_bias = getattr(layer, "use_bias", getattr(layer, "bias", None) is not None)
        self.kernels, self.dense = weights[:-1] if with_bias else weights, isinstance(layer, L.Dense)
        self.separable, self.with_bias = isinstance(layer, SEPARABLE), with_bias
        self.bias = self._output(weights, np.zeros((1, *shape)))[0]
        self.stages = stages_of(layer, shape) if self.separable else [self]

    def _output(self, weights, x):
        if weights: self.copy.set_weights(weights)
        return evaluate(self.copy, x).reshape(len(x), -1)

    def matrix(self, part="all"):
        if part not in self.matrices:
            kernels = [PARTS[part](k) for k in self.kernels]
            if self.with_bias: kernels.append(np.zeros(self.copy.get_weights()[-1].shape))
            units = np.eye(int(np.prod(self.shape))).reshape(-1, *self.shape)
            self.matrices[part] = self._output(kernels, units)
        return self.matrices[part]

    @property
    def present(self): return self.matrix("one") != 0

    def after(self, scale, shift):
        """This map, then y * scale + shift (both per output channel): what is left of a batch normalisation that
        follows."""
        *first, last = self.kernels
        # kernels end in (channel, multiplier)
        if isinstance(self.copy, DEPTHWISE): last = last * scale.reshape(last.shape[-2:])
        elif isinstance(self.copy, TRANSPOSED): last = last * scale[:, None]                  # ... in (output, input)
        else: last = last * scale                                                             # ... in (input, output)
        whole = self._changed([*first, last],
                              self.bias * np.resize(scale, self.bias.shape) + np.resize(shift, self.bias.shape))
        if self.separable: whole.stages = [self.stages[0], self.stages[1].after(scale, shift)]
        return whole

    def before(self, scale, shift):
        """x * scale + shift (both per input channel), then this map. Padding comes after, so the shift counts only
        where there is an input."""
        first, *rest = self.kernels
        first = first * (scale if isinstance(self.copy, TRANSPOSED) else scale[:, None])
        whole = self._changed([first, *rest], self.bias + np.resize(shift, len(self.matrix())) @ self.matrix())
        if self.separable: whole.stages = [self.stages[0].before(scale, shift), self.stages[1]]
        return whole

    def _changed(self, kernels, bias):
        folded = Linear.__new__(Linear)
        vars(folded).update(vars(self) | {"kernels": kernels, "bias": bias, "matrices": {}})
        folded.stages = [folded]
        return folded


def stages_of(layer, shape):
    "The depthwise and the pointwise convolution of a separable `layer`, a `Linear` each."
    d = len(layer.kernel_size)
    options = {k: getattr(layer, k) for k in ("kernel_size", "padding", "dilation_rate", "depth_multiplier")}
    strides = layer.strides if d == 2 else layer.strides[0]
    depthwise = getattr(L, f"DepthwiseConv{d}D")(strides=strides, use_bias=False, **options)
    pointwise = getattr(L, f"Conv{d}D")(layer.filters, 1, use_bias=layer.use_bias)
    middle = depthwise(np.zeros((1, *shape), "float32")).shape[1:]
    pointwise.build((None, *middle))
    first, *rest = layer.get_weights()
    depthwise.set_weights([first])
    pointwise.set_weights(rest)
    return [Linear(depthwise, shape), Linear(pointwise, tuple(middle))]


class Normalisation:
    "A normalisation of one image, whose deviations are taken as given: y_j = s_j sum_i (delta_ij - mean_ij) x_i + b_j."
    separable, dense = False, False
    def __init__(self, layer, shape, x):
        index = np.indices(shape).reshape(len(shape), -1)
        if isinstance(layer, L.LayerNormalization):
            apart = [d for d in range(len(shape)) if d + 1 not in self.axes(layer, shape)]
        else:
            apart, index = [len(shape) - 1], index.copy()
            index[-1] //= shape[-1]//layer.groups
        label = np.unique(index[apart], axis=1, return_inverse=True)[1].ravel() if apart else np.zeros(x.size, int)
        self.mean = (label[:, None] == label)/np.bincount(label)[label]
        s = 1/np.sqrt((x - x @ self.mean)**2 @ self.mean + layer.epsilon)
        self.scale = s*self.along(layer, layer.gamma if layer.scale else None, shape, 1.)
        self.bias = self.along(layer, layer.beta if layer.center else None, shape, 0.)
        self.whole = (np.eye(x.size) - self.mean)*self.scale

    @staticmethod
    def axes(layer, shape): return [a % (len(shape) + 1) for a in np.ravel(layer.axis)]

    def along(self, layer, v, shape, default):
        if v is None: return np.full(int(np.prod(shape)), default)
        sizes = [n if d + 1 in self.axes(layer, shape) else 1 for d, n in enumerate(shape)]
        return np.broadcast_to(np.asarray(v, "float64").reshape(sizes), shape).ravel()

    def matrix(self, part="all"): return PARTS[part](self.whole)


class Attention:
    "An attention layer of one image: forward, and relevance of query, value and key by the sums of Achtibat et al."
    def __init__(self, layer, shapes):
        self.shapes = shapes
        self.dense, self.scale = None, 1.
        if isinstance(layer, L.Attention):
            if layer.scale is not None: self.scale = float(layer.scale)
            return
        dense = [getattr(layer, f"_{n}_dense") for n in ("query", "key", "value", "output")]
        self.dense = [(np.asarray(d.kernel, "float64"), np.asarray(d.bias, "float64")) for d in dense]
        self.scale = 1/np.sqrt(self.dense[0][0].shape[-1])

    def inputs(self, xs):
        "Query, value and key (the value again, where none is given), (T, D) each."
        return [x.reshape(s) for x, s in zip([*xs, xs[1]][:3], [*self.shapes, self.shapes[1]][:3])]

    def parts(self, xs):
        "Query, key and value by heads (T, h, k), scores before the scale and shares (h, T, S), what comes of them."
        query, value, key = self.inputs(xs)
        into = lambda x, w, b: np.einsum("td,dhk->thk", x, w) + b
        if self.dense: heads = [into(x, *dense) for x, dense in zip((query, key, value), self.dense)]
        else: heads = [x[:, None] for x in (query, key, value)]
        scores = np.einsum("thk,shk->hts", *heads[:2])
        e = np.exp(self.scale*scores)
        shares = e/e.sum(-1, keepdims=True)
        return heads, scores, shares, np.einsum("hts,shk->thk", shares, heads[2])

    def value(self, xs):
        mixed = self.parts(xs)[-1]
        return (np.einsum("thk,hkd->td", mixed, self.dense[3][0]) + self.dense[3][1] if self.dense else mixed).ravel()

    def back(self, xs, r, rule, options, eps):
        (q, k, v), scores, shares, mixed = self.parts(xs)
        half = lambda z, r: r/safe(2*z + eps*np.where(z >= 0, 1, -1))
        rows = lambda a: a.reshape(len(mixed), -1)
        r = self._at_dense(3, rows(mixed), rows(r), rule, options).reshape(mixed.shape)
        of_shares = shares*np.einsum("thk,shk->hts", half(mixed, r), v)
        of_v = v*np.einsum("hts,thk->shk", shares, half(mixed, r))
        of_scores = self.scale*scores*(of_shares - shares*of_shares.sum(-1, keepdims=True))
        of_q = q*np.einsum("hts,shk->thk", half(scores, of_scores), k)
        of_k = k*np.einsum("hts,thk->shk", half(scores, of_scores), q)
        query, value, key = self.inputs(xs)
        found = [self._at_dense(n, x, part.reshape(len(x), -1), rule, options).ravel()
                 for n, x, part in ((0, query, of_q), (2, value, of_v), (1, key, of_k))]
        return found if len(xs) == 3 else [found[0], found[1] + found[2]]

    def _at_dense(self, n, x, r, rule, options):
        "Relevance of the rows of `x` by the rule of the dense layer number `n`."
        if not self.dense: return r
        w, b = self.dense[n]
        m = Matrix(w.reshape(x.shape[1], -1), b.ravel())
        return np.stack([rule(m, row, part, **options.get(rule.__name__, {})) for row, part in zip(x, r)])


class Matrix:
    "A dense layer's kernel and bias."
    separable, dense = False, True
    def __init__(self, w, bias): self.w, self.bias = w, bias
    def matrix(self, part="all"): return PARTS[part](self.w)
    present = property(lambda self: np.ones(self.w.shape, bool))


class Diagonal:
    "Scale and shift as a linear map of matrix form, so that rules for kernels can be had for batch normalisation too."
    separable, dense = False, False
    def __init__(self, scale, shift): self.scale, self.bias = scale, shift
    def matrix(self, part="all"): return np.diag(PARTS[part](self.scale))
    present = property(lambda self: np.eye(len(self.scale), dtype=bool))


def scale_and_shift(layer, channels):
    """(scale, shift) per channel of a BatchNormalization at inference or a Rescaling: gamma / sqrt(var + eps), beta
    - mean * scale."""
    if isinstance(layer, L.Normalization):
        mean, deviation = (np.broadcast_to(np.ravel(v), channels).astype("float64")
                           for v in (layer.mean, np.sqrt(layer.variance)))
        deviation = np.maximum(deviation, 1e-7)
        return 1 / deviation, -mean / deviation
    if isinstance(layer, L.Rescaling):
        return np.broadcast_to(np.float64(layer.scale), channels).copy(), np.broadcast_to(np.float64(layer.offset),
                                                                                          channels).copy()
    if type(layer).__name__ == "LayerScale": return np.asarray(layer.gamma, "float64"), np.zeros(channels)
    value = lambda v, default: np.full(channels, default) if v is None else np.asarray(v, "float64")
    gamma, beta = value(layer.gamma if layer.scale else None, 1.), value(layer.beta if layer.center else None, 0.)
    scale = gamma / np.sqrt(value(layer.moving_variance, 1.) + layer.epsilon)
    return scale, beta - value(layer.moving_mean, 0.) * scale


def innvestigate_scale_and_shift(layer, channels):
    """As iNNvestigate 2.1.2 has it (backend/graph.py, apply_mapping_to_fused_bn_layer): the variance is squared, and
    the mean is not scaled by gamma."""
    gamma = np.asarray(layer.gamma, "float64") if layer.scale else np.ones(channels)
    beta = np.asarray(layer.beta, "float64") if layer.center else np.zeros(channels)
    deviation = np.sqrt(np.asarray(layer.moving_variance, "float64")**2 + layer.epsilon)
    return gamma / deviation, beta - np.asarray(layer.moving_mean, "float64") / deviation


# --- rules ------------------------------------------------------------------------------------------------------

def safe(z): return np.where(z == 0, 1e-7, z)


def divide(share, z, r):
    "Relevance r (J,) divided among the inputs: every input i has share[i, j] of the total z[j]."
    return share @ (r / safe(z))


def contributions(m, x, sign):
    """Contributions (I, J) of one sign. For one kernel: max(x_i w_ij, 0) or min(x_i w_ij, 0).

    For a separable convolution positive inputs see both kernels' parts of that sign, negative inputs the other part."""
    if not m.separable: return PARTS[sign](x[:, None] * m.matrix())
    other = {"+": "-", "-": "+"}[sign]
    return np.maximum(x, 0)[:, None] * m.matrix(sign) + np.minimum(x, 0)[:, None] * m.matrix(other)


def gradient(m, x, r): return m.matrix() @ r


def z(m, x, r, bias=True):
    share = x[:, None] * m.matrix()
    return divide(share, share.sum(0) + bias * m.bias, r)


def epsilon(m, x, r, epsilon=1e-6):
    share = x[:, None] * m.matrix()
    total = share.sum(0) + m.bias
    return divide(share, total + epsilon * np.where(total >= 0, 1, -1), r)


def alpha_beta(m, x, r, alpha=2., beta=1., bias="parts"):
    """Bach et al. 2015, equation 60: alpha * positive contributions - beta * negative ones, each over its own total.

    `bias`: "parts" (b+ is a positive contribution, b- a negative one), "none", or "whole" (iNNvestigate: b in both
    totals)."""
    b = {"parts": (np.maximum(m.bias, 0), np.minimum(m.bias, 0)), "none": (0., 0.), "whole": (m.bias, m.bias)}[bias]
    positive, negative = contributions(m, x, "+"), contributions(m, x, "-")
    return alpha * divide(positive, positive.sum(0) + b[0], r) - beta * divide(negative, negative.sum(0) + b[1], r)


def z_plus(m, x, r): return alpha_beta(m, x, r, 1., 0., "none")


def gamma(m, x, r, gamma=0.25):
    "Andeol et al. 2021: contributions of the output's own sign count 1 + gamma times."
    share, positive, negative = x[:, None] * m.matrix(), contributions(m, x, "+"), contributions(m, x, "-")
    total = share.sum(0) + m.bias
    up = divide(share + gamma * positive, total + gamma * (positive.sum(0) + np.maximum(m.bias, 0)),
                np.where(total > 0, r, 0))
    return up + divide(share + gamma * negative, total + gamma * (negative.sum(0) + np.minimum(m.bias, 0)),
                       np.where(total < 0, r, 0))


def wsquare(m, x, r): return divide(m.matrix("square"), m.matrix("square").sum(0), r)


def flat(m, x, r): return divide(m.matrix("one"), m.matrix("one").sum(0), r)


def bounded(m, x, r, low, high):
    "z^B (Montavon et al. 2017, equation 13); `low`, `high`: (I,), the range of every input."
    share = x[:, None] * m.matrix() - low[:, None] * m.matrix("+") - high[:, None] * m.matrix("-")
    return divide(share, share.sum(0), r)


def argmax(m, x, r):
    "Huber et al. 2019: all of an output's relevance to the input with the largest contribution; the first of equals."
    share, out = np.where(m.present, x[:, None] * m.matrix(), -np.inf), np.zeros_like(x)
    np.add.at(out, share.argmax(0), r)
    return out


# --- methods ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Method:
    """What a method does at each kind of layer.

    `start`: "one", "logit" or "positive" (max(logit, 0)). `dense`, `convolution`: rules of layers with a kernel.
    `first`: z^B where the input is seen, with relevance passed on by scaling before it. `norm`, `scale`
    (BatchNormalization, Rescaling; the latter as the former unless given): a rule, or "pass". `activation`, `inner`
    (activation inside a layer): "pass", "gradient", "guided". `average`, `merge`: "z", "gradient", average pooling also
    "argmax" (upsampling then z). `fold`: batch normalisation goes into its neighbour; one that has none follows `norm`.
    `whole`: separable convolutions as one map. `formula`: scale and shift of batch normalisation, as they are or as
    iNNvestigate has them."""
    start: str
    dense: object
    convolution: object
    norm: object
    scale: object = None
    activation: str = "pass"
    inner: str = "pass"
    average: str = "z"
    merge: str = "z"
    fold: bool = False
    first: bool = False
    formula: str = "map"
    whole: bool = False


def lrp(rule, norm=z, **o): return Method("logit", rule, rule, norm, **o)


def slopes(activation="gradient"):
    return Method("one", gradient, gradient, gradient, None, activation, activation, "gradient", "gradient")


def taylor(norm, **o):
    return Method("positive", z_plus, z_plus, norm,
                  **({"activation": "gradient", "average": "gradient", "merge": "gradient"} | o))


METHODS = {"gradient": slopes(), "guided_backprop": slopes("guided"),
           "lrp_z": lrp(z), "lrp_epsilon": lrp(epsilon, epsilon), "lrp_gamma": lrp(gamma),
           "lrp_alpha_beta": lrp(alpha_beta),
           "lrp_wsquare": lrp(wsquare), "lrp_flat": lrp(flat),
           "deep_taylor": taylor("pass"), "deep_taylor_innvestigate2": taylor(gradient, whole=True),
           "deep_taylor_bounded": taylor("pass", first=True),
           "deep_taylor_canonized": taylor(z_plus, scale="pass", activation="pass", average="z", merge="z", fold=True,
                                           first=True),
           "lrp_composite": Method("logit", epsilon, gamma, gamma, epsilon, fold=True, first=True),
           "lrp_argmax": Method("logit", z_plus, argmax, argmax, z, average="argmax", fold=True)}


# --- the network as a list of calls ---------------------------------------------------------------------------

@dataclass
class Call:
    "One call of a layer: keys of its inputs, key of its output; `kind` decides what is done with it."
    kind: str
    layer: object
    inputs: list
    output: object
    inner: bool = False
    data: dict = field(default_factory=dict)


def calls_of(model):
    "(calls in the order of evaluation, keys of the inputs, key of the output) of `model`; nested models are opened."
    calls, count = [], iter(range(10**9))

    def visit(net, given):
        known, done = dict(zip(map(id, net.inputs), given)), {}
        def key(tensor):
            if id(tensor) in known: return known[id(tensor)]
            layer, node, _ = tuple(tensor._keras_history)[:3]
            if (id(layer), node) not in done:
                inbound = layer._inbound_nodes[node]
                tensors = inbound.keras_inputs if hasattr(inbound, "keras_inputs") else inbound.input_tensors
                keys = [key(t) for t in tensors]
                done[id(layer), node] = visit(layer, keys) if isinstance(layer, keras.Model) else append(layer, keys)
            return done[id(layer), node]
        return key(net.outputs[0])

    def append(layer, keys):
        kinds = [(KERNEL, "kernel"), (DIAGONAL, "diagonal"), (AVERAGE, "average"), (UPSAMPLING, "upsampling"),
                 (MAXIMUM, "maximum"), (MERGE, "merge"), (ACTIVATION, "activation"), (NORM, "norm"),
                 (L.Multiply, "product"), (ATTENTION, "attention")]
        if type(layer).__name__ == "LayerScale": kinds = [(L.Layer, "diagonal")]
        kind = next((k for types, k in kinds if isinstance(layer, types)), "move")
        calls.append(Call(kind, layer, keys, next(count)))
        if kind == "kernel" and function(layer) != keras.activations.linear:
            calls.append(Call("activation", layer, [calls[-1].output], next(count), inner=True))
        return calls[-1].output

    given = [("input", k) for k in range(len(model.inputs))]
    return calls, given, visit(model, given)


def function(layer): return getattr(layer, "activation", keras.activations.linear)


def curve(layer):
    "(function, its derivative), both of NumPy arrays, of an activation or an activation layer."
    f = function(layer)
    if isinstance(layer, L.LeakyReLU):
        slope, cap, threshold = float(layer.get_config().get("negative_slope",
                                                             layer.get_config().get("alpha"))), None, 0.
    elif isinstance(layer, L.ReLU):
        slope, cap, threshold = float(layer.negative_slope or 0), layer.max_value, float(layer.threshold or 0)
    else:
        name = getattr(f, "__name__", "")
        if name == "linear": return (lambda x: x), np.ones_like
        if name not in ("relu", "relu6", "leaky_relu"): return (lambda x: np.asarray(f(tf.constant(x)))), None
        slope, cap, threshold = {"relu": (0., None, 0.), "relu6": (0., 6., 0.), "leaky_relu": (0.2, None, 0.)}[name]
    cap = np.inf if cap is None else float(cap)
    return (lambda x: np.where(x >= cap, cap,
                               np.where(x > threshold, x,
                                        slope * (x - threshold)))), (lambda x: np.where((x > threshold) & (x < cap), 1.,
                                                                                        np.where(x > threshold, 0.,
                                                                                                 slope)))


def is_softmax(call):
    return call.kind == "activation" and (isinstance(call.layer, L.Softmax)
                                          or getattr(function(call.layer), "__name__", "") == "softmax")


class Reference:
    """`model` opened into calls with a matrix each. `relevance` is all there is to ask for.

    Every call is evaluated in float64; a softmax at the end is left out, so that the outputs are the logits."""
    def __init__(self, model):
        self.calls, self.inputs, self.output = calls_of(model)
        if is_softmax(self.calls[-1]):
            self.output = self.calls[-1].inputs[0]
            self.calls = self.calls[:-1]
        self.shapes = {key: tuple(t.shape)[1:] for key, t in zip(self.inputs, model.inputs)}
        for call in self.calls: self._prepare(call)
        self.folded = self._fold()

    # preparation: shapes, matrices, index maps

    def _prepare(self, call):
        shapes = [self.shapes[k] for k in call.inputs]
        prepare = {"kernel": self._linear, "average": self._linear, "upsampling": self._linear,
                   "diagonal": self._diagonal, "maximum": self._windows, "move": self._moved,
                   "product": lambda call, shapes: np.broadcast_shapes(*shapes), "attention": self._attention}
        self.shapes[call.output] = prepare.get(call.kind, lambda call, shapes: shapes[0])(call, shapes)

    def _attention(self, call, shapes):
        call.data["attention"] = Attention(call.layer, shapes)
        return shapes[0]

    def _linear(self, call, shapes):
        call.data["map"] = Linear(call.layer, shapes[0])
        return call.data["map"].outputs

    def _diagonal(self, call, shapes):
        axis = getattr(call.layer, "axis", -1)
        axis = axis if isinstance(axis, int) else axis[0]
        axis = axis if axis < 0 else axis - 1
        along = [1] * len(shapes[0])
        along[axis] = shapes[0][axis]
        formulas = {"map": scale_and_shift} | ({"innvestigate": innvestigate_scale_and_shift}
                                               if isinstance(call.layer, L.BatchNormalization) else {})
        for name, formula in formulas.items():
            call.data[name] = Diagonal(*[np.broadcast_to(v.reshape(along), shapes[0]).ravel()
                                         for v in formula(call.layer, shapes[0][axis])])
        call.data["channels"] = scale_and_shift(call.layer, shapes[0][axis])
        return shapes[0]

    def _windows(self, call, shapes):
        "Which inputs each output of a maximum looks at: those that the average pooling of the same geometry sees."
        average = getattr(L, type(call.layer).__name__.replace("Max", "Average"))
        map_ = Linear(average.from_config(call.layer.get_config() | {"dtype": "float64"}), shapes[0])
        call.data["windows"] = map_.matrix() != 0
        return map_.outputs

    def _moved(self, call, shapes):
        "Where each output of a layer that only moves values comes from: 1, 2, ... count its inputs, 0 is padding."
        sizes = [int(np.prod(s)) for s in shapes]
        numbers = np.split(np.arange(1., sum(sizes) + 1), np.cumsum(sizes)[:-1])
        out = evaluate(twin(call.layer), *[n.reshape(1, *s) for n, s in zip(numbers, shapes)])[0]
        call.data["source"] = np.rint(out).astype(int).ravel()
        assert np.array_equal(call.data["source"], out.ravel()), f"{call.layer.name} does more than move values"
        return out.shape

    def _fold(self):
        "The calls with batch normalisation folded into the kernel layer before it, else after it."
        calls = [replace(c, data=dict(c.data)) for c in self.calls]
        used = lambda key: [c for c in calls if key in c.inputs]
        made = lambda key: next((c for c in calls if c.output == key), None)
        for call in [c for c in calls if isinstance(c.layer, L.BatchNormalization)]:
            scale, shift = call.data["channels"]
            before, after = made(call.inputs[0]), used(call.output)
            alone = before is not None and len(used(before.output)) == 1 and before.output != self.output
            if alone and before.kind == "kernel":
                before.data["map"], before.output = before.data["map"].after(scale, shift), call.output
            elif len(after) == 1 and after[0].kind == "kernel" and call.output != self.output:
                after[0].data["map"], after[0].inputs = after[0].data["map"].before(scale, shift), call.inputs
            else: continue
            calls.remove(call)
        return calls

    # evaluation of one image

    def _value(self, call, xs):
        if call.kind in ("kernel", "average", "upsampling"):
            return xs[0] @ call.data["map"].matrix() + call.data["map"].bias
        if call.kind == "diagonal": return xs[0] * call.data["map"].scale + call.data["map"].bias
        if call.kind == "activation": return curve(call.layer)[0](xs[0])
        if call.kind == "merge": return sum(s * x for s, x in zip(self._signs(call), xs))
        if call.kind == "maximum": return np.where(call.data["windows"], xs[0][:, None], -np.inf).max(0)
        if call.kind == "norm":
            m = Normalisation(call.layer, self.shapes[call.inputs[0]], xs[0])
            return xs[0] @ m.matrix() + m.bias
        if call.kind == "product":
            factors = [x.reshape(self.shapes[k]) for x, k in zip(xs, call.inputs)]
            return np.broadcast_to(factors[0]*factors[1], self.shapes[call.output]).ravel()
        if call.kind == "attention": return call.data["attention"].value(xs)
        return np.concatenate([[0.], *xs])[call.data["source"]]

    def _signs(self, call):
        "Factor of every input of a sum, difference or mean."
        n = len(call.inputs)
        return {"Subtract": [1, -1], "Average": [1 / n] * n}.get(type(call.layer).__name__, [1] * n)

    def values(self, xs, calls=None):
        "Value (flattened) of every key for one image, given as the list of the model's inputs."
        values = {key: np.asarray(x, "float64").ravel() for key, x in zip(self.inputs, xs)}
        for call in calls or self.calls: values[call.output] = self._value(call, [values[k] for k in call.inputs])
        return values

    def logits(self, images):
        "Logits (N, classes), float64."
        return np.stack([self.values(xs)[self.output] for xs in zip(*self._list(images))])

    # relevance

    def _list(self, images): return list(images) if isinstance(images, (list, tuple)) else [images]

    def _ranges(self, calls, bounds):
        """low and high of every value that the input reaches without a kernel or a sum; what lies between is
        monotone in each value."""
        ranges = {}
        for key in self.inputs:
            shape = self.shapes[key]
            ranges[key] = [np.broadcast_to(np.float64(b), shape).ravel() for b in bounds]
        for call in calls:
            known = [ranges.get(k) for k in call.inputs]
            if any(k is None for k in known) or call.kind in ("kernel", "merge"): continue
            ends = [self._value(call, list(xs)) for xs in zip(*known)]
            ranges[call.output] = [np.minimum(*ends), np.maximum(*ends)]
        return ranges

    def _at_kernel(self, call, x, r, method, options, ranges):
        m = call.data["map"]
        rule = method.dense if m.dense else method.convolution
        stages = [m] if method.whole else m.stages
        for k, stage in reversed(list(enumerate(stages))):
            given = x if k == 0 else x @ stages[0].matrix() + stages[0].bias
            first = k == 0 and method.first and call.inputs[0] in ranges
            r = bounded(stage, given, r, *ranges[call.inputs[0]]) if first else rule(stage, given, r,
                                                                                     **options.get(rule.__name__, {}))
        return r

    def _at_diagonal(self, call, x, r, method, options, ranges):
        rule = method.norm if isinstance(call.layer, L.BatchNormalization) or method.scale is None else method.scale
        if rule == "pass" or method.first and call.output in ranges: return r
        return rule(call.data[method.formula if method.formula in call.data else "map"], x, r,
                    **options.get(rule.__name__, {}))

    def _back(self, call, xs, r, method, options, ranges):
        "Relevance of the call's inputs, a list."
        x = xs[0]
        if call.kind == "kernel": return [self._at_kernel(call, x, r, method, options, ranges)]
        if call.kind == "diagonal": return [self._at_diagonal(call, x, r, method, options, ranges)]
        if call.kind == "norm":
            rule = method.scale or method.norm
            m = Normalisation(call.layer, self.shapes[call.inputs[0]], x)
            return [rule(m, x, r, **options.get(rule.__name__, {}))]
        if call.kind == "product":
            if call.layer.name.startswith("gate"): return [r, np.zeros_like(xs[1])]
            return [r/2, r/2]
        if call.kind == "attention":
            eps = 1e-6 if epsilon in (method.norm, method.scale) else 0.
            return call.data["attention"].back(xs, r, method.dense, options, eps)
        if call.kind == "average":
            return [{"z": z, "gradient": gradient, "argmax": argmax}[method.average](call.data["map"], x, r)]
        if call.kind == "upsampling": return [(gradient if method.average == "gradient" else z)(call.data["map"], x, r)]
        if call.kind == "activation":
            how = method.inner if call.inner else method.activation
            if how == "pass": return [r]
            slope = curve(call.layer)[1](x)
            return [slope * (np.maximum(r, 0) if how == "guided" else r)]
        if call.kind == "merge":
            signs = self._signs(call)
            if method.merge == "gradient": return [s * r for s in signs]
            total = safe(sum(s * x for s, x in zip(signs, xs)))
            return [s * x / total * r for s, x in zip(signs, xs)]
        if call.kind == "maximum":
            out = np.zeros_like(x)
            np.add.at(out, np.where(call.data["windows"], x[:, None], -np.inf).argmax(0), r)
            return [out]
        out = np.zeros(sum(map(len, xs)) + 1)
        np.add.at(out, call.data["source"], r)
        return np.split(out[1:], np.cumsum([len(x) for x in xs])[:-1])

    def _one(self, xs, target, method, options, bounds):
        "Relevance of the inputs of one image, a list of arrays."
        calls = self.folded if method.fold else self.calls
        values = self.values(xs, calls)
        logits = values[self.output]
        start = np.zeros_like(logits)
        chosen = logits.argmax() if target is None else target
        start[chosen] = {"one": 1., "logit": logits[chosen], "positive": max(logits[chosen], 0.)}[method.start]
        relevance, ranges = {self.output: start}, self._ranges(calls, bounds) if method.first else {}
        for call in reversed(calls):
            if call.output not in relevance: continue
            parts = self._back(call, [values[k] for k in call.inputs], relevance.pop(call.output), method, options,
                               ranges)
            for key, part in zip(call.inputs, parts): relevance[key] = relevance.get(key, 0.) + part
        return [np.asarray(relevance.get(key, np.zeros(np.prod(self.shapes[key])))).reshape(self.shapes[key])
                for key in self.inputs]

    def relevance(self, images, method, target=None, bounds=None, **options):
        """Relevance of all inputs, float64, in the shape of `images` (a list where `images` is one).

        `method`: a key of `METHODS`, "input_x_gradient", "integrated_gradients", or a `Method`. `options`: of its
        rules, by the rule's name (`alpha_beta=dict(alpha=1., beta=0.)`); of integrated gradients `steps`, `baseline`
        and `place` (0.5, midpoints; 0, left ends)."""
        xs = self._list(images)
        targets = np.full(len(xs[0]), -1) if target is None else np.broadcast_to(target, len(xs[0]))
        if target is None: targets = self.logits(xs).argmax(1)
        if method == "input_x_gradient":
            maps = [x * g for x, g in zip(xs, self._list(self.relevance(xs, "gradient", targets)))]
        elif method == "integrated_gradients": maps = self._integrated(xs, targets, **options)
        else:
            chosen = METHODS[method] if isinstance(method, str) else method
            rows = [self._one(row, t, chosen, options, bounds) for row, t in zip(zip(*xs), targets)]
            maps = [np.stack(m) for m in zip(*rows)]
        return maps if isinstance(images, (list, tuple)) else maps[0]

    def _integrated(self, xs, targets, steps=32, baseline=0., place=0.5):
        """Sundararajan et al. 2017, equation 3: (x - baseline) times the mean gradient on the straight line between
        the two."""
        total = [0.] * len(xs)
        for k in range(steps):
            along = [baseline + (k + place) / steps * (np.float64(x) - baseline) for x in xs]
            total = [t + g for t, g in zip(total, self._list(self.relevance(along, "gradient", targets)))]
        return [(np.float64(x) - baseline) * t / steps for x, t in zip(xs, total)]

"Class activation maps: what must be the same map, pytorch-grad-cam's where it is installed, and what says nothing."
import warnings
import numpy as np, pytest, tensorflow as tf
from rbdm_nb.explain.cams import CAMS, CamExplainer, scaled

keras = tf.keras
L = keras.layers
KINDS = "functional", "nested", "sequential", "residual", "softmax"


def network(kind="functional", classes=3, seed=0):
    "Convolutions, global average pooling, one dense layer, random weights; put together in one of KINDS."
    keras.utils.set_random_seed(seed)
    body = [L.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
            L.Conv2D(8, 3, padding="same", activation="relu")]
    end = "softmax" if kind == "softmax" else None
    head = [L.GlobalAveragePooling2D(), L.Dropout(.5), L.Dense(classes, bias_initializer="normal", activation=end)]
    if kind == "sequential": return keras.Sequential([keras.Input((16, 16, 3)), *body, *head])
    x = inputs = keras.Input((16, 16, 3))
    if kind == "nested": x = keras.Sequential([keras.Input((16, 16, 3)), *body], name="inner.body")(x)
    else:
        for layer in body: x = layer(x)
    if kind == "residual": x = L.ReLU(name="after_addition")(L.Add()([x, L.Conv2D(8, 3, padding="same")(x)]))
    for layer in head: x = layer(x)
    return keras.Model(inputs, x)


def images(n=5, size=16): return np.random.default_rng(1).normal(size=(n, size, size, 3)).astype("float32")


TARGET = np.array([0, 1, 2, 0, 1])


def raw(model, method, **options):
    return CamExplainer(model, method, rectify=False, size="layer", **options)(images(), TARGET)


@pytest.mark.parametrize("kind", KINDS)
def test_what_must_be_the_same_map(kind):
    model = network(kind)
    dense = model.layers[-1]
    cam, scale = raw(model, "cam"), np.abs(raw(model, "cam")).max()
    for method in ("grad_cam", "hires_cam"):
        np.testing.assert_allclose(raw(model, method)*64/scale, cam/scale, atol=1e-5)
    logits = CamExplainer(model, "cam").explain(images(), TARGET)[1]
    np.testing.assert_allclose(cam.mean((1, 2)) + dense.bias.numpy()[TARGET], logits[np.arange(5), TARGET], atol=1e-5)
    layer = raw(model, "layer_cam")
    kernel, bias = dense.get_weights()
    dense.set_weights([np.maximum(kernel, 0), bias])
    np.testing.assert_allclose(layer*64/scale, raw(model, "cam")/scale, atol=1e-5)


def test_the_layer_is_after_the_addition():
    model = network("residual")
    assert CamExplainer(model).tapped.layer.name == "after_addition"
    np.testing.assert_array_equal(raw(model, "grad_cam", layer="after_addition"), raw(model, "grad_cam"))


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "layer_cam", "xgrad_cam", "grad_cam_pp"])
def test_margins_of_two_classes_are_negatives_where_weights_are_linear(method):
    model = network(classes=2)
    ours = [CamExplainer(model, method, score="margin", rectify=False)(images(), k) for k in (0, 1)]
    opposite = np.allclose(ours[0], -ours[1], atol=1e-6)
    assert opposite == (method in ("grad_cam", "hires_cam", "xgrad_cam"))


@pytest.mark.parametrize("method", CAMS)
def test_maps_are_finite_and_blank_ones_are_counted(method):
    model = network(classes=2)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([np.stack([np.abs(kernel[:, 0]), -np.abs(kernel[:, 0])], 1), 0*bias])
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        maps = CamExplainer(model, method, rectify=True)(images(), [0, 1, 0, 1, 1])
    blank = ~maps.any((1, 2))
    assert maps.shape == (5, 16, 16) and maps.dtype == "float32" and np.isfinite(maps).all() and (maps >= 0).all()
    assert np.isfinite(scaled(maps)).all() and not scaled(maps)[blank].any()
    counts = [w for w in told if "blank" in str(w.message)]
    assert len(counts) == bool(blank.sum()) and all(f"{blank.sum()} of 5" in str(w.message) for w in counts)
    if method in ("cam", "grad_cam", "hires_cam", "layer_cam", "xgrad_cam"): assert blank.tolist()[1] and not blank[0]


def test_a_network_of_zeros_has_blank_maps():
    model = network()
    model.set_weights([0*w for w in model.get_weights()])
    for method in CAMS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert not CamExplainer(model, method)(images()).any(), method


# its Grad-CAM++ adds 1e-6 to denominators that can be as small; a slow reference in 03e stands in for it
PEERS = dict(grad_cam="GradCAM", hires_cam="HiResCAM", layer_cam="LayerCAM", xgrad_cam="XGradCAM")


@pytest.mark.parametrize("method", PEERS)
def test_maps_are_those_of_pytorch_grad_cam(method):
    "Before anything is enlarged or scaled; two dense layers behind the pictures, so that methods differ."
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip("pytorch_grad_cam")
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((16, 16, 3)), L.Conv2D(6, 3, strides=2, activation="relu"), L.Flatten(),
                              L.Dense(7, activation="relu"), L.Dense(3)])
    k, b, w1, b1, w2, b2 = (torch.tensor(w) for w in model.get_weights())

    class Pictures(torch.nn.Module):
        def forward(self, x): return torch.relu(torch.nn.functional.conv2d(x, k.permute(3, 2, 0, 1), b, stride=2))

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.pictures, self.bias = Pictures(), torch.nn.Parameter(b2)
        def forward(self, x):
            flat = self.pictures(x).permute(0, 2, 3, 1).flatten(1)
            return torch.relu(flat@w1 + b1)@w2 + self.bias

    theirs = Network()
    x = torch.tensor(images()).permute(0, 3, 1, 2).requires_grad_()
    cam = getattr(peer, PEERS[method])(model=theirs, target_layers=[theirs.pictures])
    theirs_of = cam.activations_and_grads
    logits = theirs_of(x)
    logits[np.arange(5), TARGET].sum().backward()
    a, g = theirs_of.activations[0].numpy(), theirs_of.gradients[0].numpy()
    expected = cam.get_cam_image(x, theirs.pictures, None, a, g, False)
    ours = CamExplainer(model, method, rectify=False, size="layer")(images(), TARGET)
    np.testing.assert_allclose(logits.detach(), model(images()), atol=1e-5)
    np.testing.assert_allclose(ours/np.abs(ours).max(), expected/np.abs(ours).max(), atol=1e-5)

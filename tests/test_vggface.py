"Weight files in every layout, made here: what each must give, and that nothing is assigned from a damaged one."
import h5py, numpy as np, pytest, scipy.io
from hypothesis import HealthCheck, given, settings, strategies as st
from rbdm_nb.networks.architectures import build
from rbdm_nb.networks.vggface import IMAGENET, NAMES, load_weights, read_weights
from rbdm_nb.reproducibility import fingerprint

CONVOLUTIONS = NAMES[:-2]


@pytest.fixture(scope="module")
def weights():
    "{layer: [kernel, bias]} as the package has them, of VGG-Face's form with a quarter of the channels."
    g = np.random.default_rng(0)
    layers = {layer.name: layer.get_weights() for layer in network().layers if layer.name in NAMES}
    return {n: [g.normal(size=w.shape).astype("float32")/30 for w in pair] for n, pair in layers.items()}


def network(): return build("VGGQuarter", 8, (32, 32, 3))


def write_h5(path, weights, names, nested=False):
    with h5py.File(path, "w") as file:
        top = file.create_group("model_weights") if nested else file
        top.attrs["layer_names"] = [n.encode() for n in (*names, "pool")]
        top.create_group("pool").attrs["weight_names"] = []
        for name, pair in zip(names, weights.values()):
            group = top.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            for part, array in zip(("kernel", "bias"), pair): group[f"{name}/{part}:0"] = array


def write_npz(path, weights):
    np.savez(path, **{f"{n}/{part}": w for n, pair in weights.items() for part, w in zip(("kernel", "bias"), pair)})


def write_mat(path, weights, old=False):
    layers = np.empty(2*len(weights), object)
    for k, (name, (kernel, bias)) in enumerate(weights.items()):
        pair = np.empty(2, object)
        pair[:] = [turned(name, kernel), bias[:, None]]
        layers[2*k] = dict(name=name, filters=pair[0], biases=pair[1]) if old else dict(name=name, weights=pair)
        layers[2*k + 1] = dict(name=f"relu{k}", type="relu")
    scipy.io.savemat(path, dict(layers=layers))


def turned(name, kernel): return kernel[:, :, ::-1] if name == "conv1_1" else kernel      # an RGB file


def made(tmp_path, layout, weights):
    "A file with `weights` in `layout`."
    path = tmp_path/f"w{dict(mat='.mat', old_mat='.mat', npz='.npz', torch='.pth').get(layout, '.h5')}"
    if layout == "keras": write_h5(path, weights, NAMES)
    if layout == "nested": write_h5(path, weights, NAMES, nested=True)
    if layout == "by order": write_h5(path, weights, [f"conv2d_{k}" for k in range(len(NAMES))])
    if layout == "imagenet": write_h5(path, weights, list(IMAGENET))
    if layout == "npz": write_npz(path, weights)
    if layout.endswith("mat"): write_mat(path, weights, layout == "old_mat")
    if layout == "torch":
        torch = pytest.importorskip("torch")
        flat = {n: (turned(n, k).transpose(3, 2, 0, 1) if k.ndim == 4 else k.T, b) for n, (k, b) in weights.items()}
        torch.save({f"{n}.{part}": torch.tensor(w.copy()) for n, pair in flat.items()
                    for part, w in zip(("weight", "bias"), pair)}, path)
    return path


@pytest.mark.parametrize("layout", ("keras", "nested", "by order", "imagenet", "npz", "mat", "old_mat", "torch"))
def test_every_layout_gives_the_same_network(tmp_path, layout, weights):
    model = network()
    new = {n: model.get_layer(n).get_weights() for n in ("fc6", "fc7", "logits")}
    report = load_weights(model, made(tmp_path, layout, weights))
    assert report["loaded"] == list(CONVOLUTIONS) and report["left"] == ["fc6", "fc7"]
    assert report["colours"] == ("RGB" if layout in ("mat", "old_mat", "torch") else "BGR")
    for name in CONVOLUTIONS:
        for got, own in zip(model.get_layer(name).get_weights(), weights[name]): np.testing.assert_array_equal(got, own)
    for name, pair in new.items():
        for got, own in zip(model.get_layer(name).get_weights(), pair): np.testing.assert_array_equal(got, own)


def test_an_rgb_file_sees_colours_as_they_are(tmp_path, weights):
    "A network that learned BGR, and the same with its channels turned round, on the same picture."
    path, model = made(tmp_path, "npz", weights), network()
    x = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype("float32")
    load_weights(model, path)
    straight = model(x).numpy()
    load_weights(model, path, colours="RGB")
    np.testing.assert_allclose(model(x[..., ::-1]).numpy(), straight, atol=1e-5)


@pytest.mark.parametrize("change, said", (
    (lambda w: w.pop("conv3_2"), "conv3_2 is missing"),
    (lambda w: w.update(conv2_1=[w["conv2_1"][0][..., :-1], w["conv2_1"][1]]), "conv2_1 has shapes"),
    (lambda w: w.update(conv5_3=[w["conv5_3"][0]*np.nan, w["conv5_3"][1]]), "not finite")))
def test_what_does_not_fit_is_refused_and_nothing_assigned(tmp_path, change, said, weights):
    wrong, model = dict(weights), network()
    change(wrong)
    before = fingerprint(model)
    with pytest.raises(ValueError, match=said): load_weights(model, made(tmp_path, "npz", wrong))
    assert fingerprint(model) == before


@pytest.fixture(scope="module")
def whole(tmp_path_factory, weights):
    "A file in each layout, as bytes, and a network."
    tiny = {n: [np.zeros((1, 1, 1, 1), "float32"), np.zeros(1, "float32")] for n in weights}
    folder = tmp_path_factory.mktemp("whole")
    return {layout: made(folder, layout, tiny) for layout in ("keras", "npz", "mat")}, network()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=st.sampled_from(("keras", "npz", "mat")), data=st.data())
def test_damaged_files_are_a_clear_error(whole, tmp_path, layout, data):
    files, model = whole
    content = bytearray(files[layout].read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=20)):
        content[place] ^= data.draw(st.integers(1, 255))
    content = content[:data.draw(st.integers(0, len(content)))]
    path, before = tmp_path/f"damaged{files[layout].suffix}", fingerprint(model)
    path.write_bytes(content)
    with pytest.raises(ValueError) as error: load_weights(model, path)      # at best, its shapes do not fit
    assert path.name in str(error.value) and len(str(error.value)) <= 400
    assert fingerprint(model) == before


@pytest.mark.parametrize("name", ("w.pkl", "w.t7", "w.ckpt"))
def test_nothing_is_unpickled(tmp_path, name):
    (tmp_path/name).write_bytes(b"\x80\x04.")
    with pytest.raises(ValueError, match="nothing is unpickled"): read_weights(tmp_path/name)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError): read_weights(tmp_path/"w.h5")

"Extremal perturbations against TorchRay's numbers (fixtures/torchray.npz, made by torchray_oracle.py) and by symmetry."
import warnings
import numpy as np, pytest, tensorflow as tf
import torchray_oracle as oracle
from rbdm_nb.explain.extremal import (EXTREMALS, Extremal, ExtremalExplainer, area_penalty, blend, extremal_area,
                                      pyramid, smooth_masks)

keras = tf.keras
L = keras.layers
HAS = oracle.FIXTURE.exists()
FIXTURE = dict(np.load(oracle.FIXTURE)) if HAS else {}
AS_THEIRS = dict(step=oracle.STEP, sigma=oracle.SIGMA, max_blur=20., areas=oracle.AREAS, ties="index", growth=1.0035)


def pooled(size=24, channels=2, classes=4, end=None):
    "Two convolutions, global average pooling, one dense layer of large weights, so that images make a difference."
    keras.utils.set_random_seed(0)
    large = keras.initializers.RandomNormal(stddev=20.)
    layers = [L.Conv2D(6, 3, padding="same", activation="relu"), L.Conv2D(8, 3, padding="same", activation="relu"),
              L.GlobalAveragePooling2D(),
              L.Dense(classes, kernel_initializer=large, bias_initializer="normal", activation=end)]
    return keras.Sequential([keras.Input((size, size, channels)), *layers])


@pytest.fixture(scope="module")
def theirs():
    "The oracle's network."
    model = pooled(oracle.SIZE)
    model.set_weights(oracle.network_weights())
    return model


def noise(*shape, seed=0): return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_the_fixture_is_small_and_whole():
    assert HAS and oracle.FIXTURE.stat().st_size < 150_000
    assert len(FIXTURE) == 2*len(oracle.GRIDS) + 4 + len(oracle.CASES)


@pytest.mark.parametrize("step, sigma", oracle.GRIDS)
def test_masks_are_torchrays(step, sigma):
    masks, canvas = smooth_masks((48, 48), step, sigma)(tf.constant(oracle.grid(step)))
    np.testing.assert_allclose(masks, FIXTURE[f"masks_{step}"], atol=1e-5)
    assert tuple(canvas.shape[1:]) == tuple(FIXTURE[f"canvas_{step}"])


@pytest.mark.parametrize("kind", ["blur", "fade"])
def test_blended_images_are_torchrays(kind):
    shown = np.random.default_rng(5).uniform(size=(1, 1, oracle.SIZE, oracle.SIZE)).astype("float32")
    shown[0, 0, 0], shown[0, 0, 1] = 0, 1
    ours = blend(tf.constant(pyramid(oracle.images(), kind)), tf.constant(shown))[:, 0]
    np.testing.assert_allclose(ours, FIXTURE[f"blend_{kind}"], atol=5e-6)


def test_one_step_from_ones_is_torchrays(theirs):
    masks, _ = ExtremalExplainer(theirs, iterations=1, **AS_THEIRS).masks(oracle.images(), 1)
    np.testing.assert_allclose(masks[0], FIXTURE["from_ones"], atol=1e-5)


@pytest.mark.parametrize("variant, score, perturbation", oracle.CASES)
def test_searches_are_torchrays(theirs, variant, score, perturbation):
    explainer = ExtremalExplainer(theirs, variant=variant, score=score, perturbation=perturbation,
                                  iterations=oracle.ITERATIONS, **AS_THEIRS)
    seed = int(FIXTURE["seeds"][oracle.CASES.index((variant, score, perturbation))])
    masks, history = explainer.masks(oracle.images(), 1, start=oracle.start(seed))
    np.testing.assert_allclose(masks[0], FIXTURE[oracle.case_name(variant, score, perturbation)], atol=1e-3)
    assert len(history) == 2*oracle.ITERATIONS and masks.std() > .1


def transposed(model):
    "`model` of the images' transposes."
    kernels = [w.transpose(1, 0, 2, 3) if w.ndim == 4 else w for w in model.get_weights()]
    other = pooled(model.input_shape[1])
    other.set_weights(kernels)
    return other


def test_ties_that_share_do_not_depend_on_the_pixels_order():
    model, images = pooled(16), noise(2, 16, 16, 2)
    options = dict(iterations=30, flip=False, areas=(.1, .3))
    ours = ExtremalExplainer(model, **options)(images, 1)
    other = ExtremalExplainer(transposed(model), **options)(images.transpose(0, 2, 1, 3), 1)
    np.testing.assert_allclose(other.transpose(0, 2, 1), ours, atol=1e-5)
    by_index = [ExtremalExplainer(m, ties="index", **options)(x, 1) for m, x in
                ((model, images), (transposed(model), images.transpose(0, 2, 1, 3)))]
    assert np.abs(by_index[1].transpose(0, 2, 1) - by_index[0]).max() > 1e-3    # what sharing is for


def test_a_mirrored_image_and_network_have_the_mirrored_mask():
    model, images = pooled(15), noise(2, 15, 15, 2)
    other = pooled(15)
    other.set_weights([w[:, ::-1] if w.ndim == 4 else w for w in model.get_weights()])
    options = dict(iterations=30, flip=False, step=1, sigma=3.)
    np.testing.assert_allclose(ExtremalExplainer(other, **options)(images[:, :, ::-1], 1)[:, :, ::-1],
                               ExtremalExplainer(model, **options)(images, 1), atol=1e-5)


@pytest.mark.parametrize("area", [.1, .3])
def test_a_network_that_says_nothing_is_left_the_area_asked_for(area):
    model = pooled(24)
    model.set_weights([0*w for w in model.get_weights()])
    masks = ExtremalExplainer(model, areas=area, area_of="image", iterations=200)(noise(2, 24, 24, 2))
    np.testing.assert_allclose(masks.mean((1, 2)), area, atol=.06)
    np.testing.assert_allclose(masks[0], masks[1], atol=1e-6)


def test_one_trace_for_all_images_and_weights():
    model = pooled(16)
    explainer = ExtremalExplainer(model, iterations=45)
    first = explainer(noise(3, 16, 16, 2), 1)
    model.set_weights([w[::-1].copy() for w in model.get_weights()])
    other = explainer(noise(3, 16, 16, 2), 1)
    alone = ExtremalExplainer(model, iterations=45)
    np.testing.assert_allclose(alone(noise(3, 16, 16, 2), 1), other, atol=1e-5)
    explainer(noise(5, 16, 16, 2), np.arange(5) % 4)
    explainer.masks(noise(2, 16, 16, 2), batch_size=1)
    assert explainer.traces == 1 and np.abs(first - other).max() > .01


def test_a_softmax_at_the_end_and_nested_networks_change_nothing():
    model = pooled(16)
    soft = pooled(16, end="softmax")
    soft.set_weights(model.get_weights())
    inputs = keras.Input((16, 16, 2))
    body = keras.Sequential([keras.Input((16, 16, 2)), *model.layers[:2]], name="inner")
    nested = keras.Model(inputs, model.layers[3](model.layers[2](body(inputs))))
    images = noise(2, 16, 16, 2)
    ours = [ExtremalExplainer(m, iterations=20).explain(images) for m in (model, soft, nested)]
    for masks, logits in ours[1:]:
        np.testing.assert_allclose(masks, ours[0][0], atol=1e-5)
        np.testing.assert_allclose(logits, model(images), atol=1e-5)


def test_the_prediction_is_of_the_image_as_it_is():
    model, images = pooled(16), noise(4, 16, 16, 2)
    explainer = ExtremalExplainer(model, iterations=10)
    np.testing.assert_array_equal(explainer(images), explainer(images, model(images).numpy().argmax(1)))


def test_the_margin_falls_with_the_logit_of_two_opposite_classes():
    model = pooled(16, classes=2)
    *rest, kernel, bias = model.get_weights()
    model.set_weights([*rest, np.stack([kernel[:, 0], -kernel[:, 0]], 1), np.array([bias[0], -bias[0]])])
    logit, margin = (ExtremalExplainer(model, score=s, iterations=1).masks(noise(2, 16, 16, 2), 0)[1]
                     for s in ("logit", "margin"))
    np.testing.assert_allclose(margin.reward, 2*logit.reward, rtol=1e-4)


def test_images_that_are_not_square():
    model = keras.Sequential([keras.Input((12, 20, 1)), L.Conv2D(3, 3, activation="relu"), L.GlobalAveragePooling2D(),
                              L.Dense(2)])
    masks, logits = ExtremalExplainer(model, iterations=3).explain(noise(2, 12, 20, 1))
    assert masks.shape == (2, 12, 20) and logits.shape == (2, 2) and masks.dtype == "float32"


def test_history_and_the_smallest_area():
    model, images = pooled(16), noise(3, 16, 16, 2)
    masks, history = ExtremalExplainer(model, areas=(.1, .2), iterations=25).masks(images, 2)
    assert list(history.columns) == ["image", "area", "iteration", "reward", "penalty", "nothing", "everything"]
    np.testing.assert_allclose(history.groupby("image").everything.first(), model(images).numpy()[:, 2], atol=1e-5)
    blurred = pyramid(images, max_blur=20*16/224)[:, 0]
    np.testing.assert_allclose(history.groupby("image").nothing.first(), model(blurred).numpy()[:, 2], atol=1e-5)
    assert set(extremal_area(history).dropna()) <= {.1, .2} and len(extremal_area(history)) == 3
    # what the last masks are worth is what the history's last rows say; the 25th step mirrors
    shown = blend(tf.constant(pyramid(images, max_blur=20*16/224)), tf.constant(masks))[:, :, :, ::-1]
    last = history[history.iteration == 24].pivot(index="image", columns="area", values="reward").to_numpy()
    for k in range(2): np.testing.assert_allclose(model(shown[:, k]).numpy()[:, 2], last[:, k], atol=1e-5)


@pytest.mark.parametrize("options, message", [
    (dict(variant="keep"), "variant must be one of"), (dict(score="probable"), "score must be one of"),
    (dict(areas=()), "areas must be"), (dict(areas=(1.,)), "areas must be"), (dict(sigma=0.), "sigma must be above 0"),
    (dict(levels=1), "levels must be at least 2"), (dict(method="extremel"), "did you mean 'extremal'"),
    (dict(blur=3), "no 'blur'")])
def test_settings_without_meaning_are_refused(options, message):
    with pytest.raises(ValueError, match=message): ExtremalExplainer(pooled(16), **options)


def test_images_and_models_that_cannot_be_explained_are_refused():
    explainer, images = ExtremalExplainer(pooled(16), iterations=2), noise(2, 16, 16, 2)
    with pytest.raises(ValueError, match="NaN"): explainer(np.where(images > 2, np.nan, images) + [np.nan, 0])
    with pytest.raises(ValueError, match="target must be a class"): explainer(images, 4)
    with pytest.raises(TypeError, match="float32"): explainer((images*50).astype("uint8"))
    i, j = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    two = keras.Model([i, j], L.Dense(2)(L.Flatten()(L.Concatenate()([i, j]))))
    with pytest.raises(ValueError, match="one picture"): ExtremalExplainer(two)
    with pytest.raises(ValueError, match="one picture"):
        ExtremalExplainer(keras.Sequential([keras.Input((5,)), L.Dense(2)]))


def test_a_registered_setting_is_a_method(monkeypatch):
    monkeypatch.setitem(EXTREMALS, "extremal_delete", Extremal(variant="delete", iterations=5))
    model, images = pooled(16), noise(1, 16, 16, 2)
    np.testing.assert_array_equal(ExtremalExplainer(model, "extremal_delete")(images, 1),
                                  ExtremalExplainer(model, variant="delete", iterations=5)(images, 1))


def test_penalties_are_those_of_sorted_masks():
    masks = np.random.default_rng(0).uniform(size=(4, 3, 6, 7)).astype("float32")
    areas = (.05, .5, .9)
    ordered, n = np.sort(masks.reshape(4, 3, 42), 2), 42
    expected = [[((m - (np.arange(n) >= int(n*(1 - a))))**2).mean() for m, a in zip(row, areas)] for row in ordered]
    np.testing.assert_allclose(area_penalty(tf.constant(masks), areas), expected, rtol=1e-5)


def test_blank_masks_are_counted(monkeypatch):
    model = pooled(16)
    explainer = ExtremalExplainer(model, iterations=2)
    monkeypatch.setattr(explainer, "masks", lambda *a, **o: (np.zeros((2, 1, 16, 16), "float32"), None))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert not explainer(noise(2, 16, 16, 2)).any()
    assert "2 of 2 masks are 0 everywhere" in str(told[0].message)

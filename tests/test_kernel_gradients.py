"""Kernels of 1 x 1 and stride 2 whose gradient ends the process: explained without it, refused in training. In child
processes."""
import subprocess, sys, textwrap
import numpy as np, pytest, tensorflow as tf
from rbdm_nb.networks.architectures import ARCHITECTURES, MINIMUM_SIZE, build, check_trainable, unsafe_to_train
from rbdm_nb.explain.relevance import Explainer

keras, L = tf.keras, tf.keras.layers

NETWORK = """
import numpy as np, tensorflow as tf
L = tf.keras.layers
tf.keras.utils.set_random_seed(0)
def one_by_one(x): return L.Conv2D(16, 1, strides=2, padding="same", use_bias=False, name="shortcut")(x)


def mini_xception(shortcut=one_by_one, side=64):
    x = i = L.Input((side, side, 1))
    for _ in range(2): x = L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 3, use_bias=False)(x)))
    y = L.BatchNormalization()(L.SeparableConv2D(16, 3, padding="same", use_bias=False)(x))
    y = L.MaxPooling2D(3, 2, padding="same")(y)
    x = L.Add()([y, L.BatchNormalization()(shortcut(x))])
    x = L.GlobalAveragePooling2D()(L.ReLU()(x))
    return tf.keras.Model(i, L.Dense(7, bias_initializer="ones", name="logits")(x))
images = np.random.default_rng(0).uniform(-1, 1, (8, 64, 64, 1)).astype("float32")
"""


def in_a_child(program):
    done = subprocess.run([sys.executable, "-c", NETWORK + textwrap.dedent(program)], capture_output=True, text=True,
                          timeout=600)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    return done.stdout


@pytest.mark.parametrize("method", ["deep_taylor", "lrp_composite", "gradient"])
def test_ledger_layers_and_slopes_live(method):
    out = in_a_child(f"""
    from rbdm_nb.explain.relevance import Explainer, layer_maps
    explainer = Explainer(mini_xception(), "{method}", (-1, 1))
    target = np.zeros(8, "int32")
    for _ in range(6):
        pages, inside = explainer.ledger(images, target), layer_maps(explainer, images, ["shortcut", "logits"], target)
        relevance, logits = explainer.slopes([images], target)
    assert np.isclose(pages.attrs["pixels"], float(tf.reduce_sum(relevance[0])), rtol=1e-3, atol=1e-4)
    print(inside["shortcut"][1].shape)""")
    assert "(8, 31, 31, 16)" in out or "(8, 30, 30, 16)" in out


def test_the_search_for_extremal_perturbations_lives():
    in_a_child("""
    from rbdm_nb.explain.extremal import ExtremalExplainer
    masks, history = ExtremalExplainer(mini_xception(), iterations=6).masks(images, 0)
    assert masks.shape == (8, 1, 64, 64) and len(history) == 48""")


def test_graphs_are_made_once():
    i = L.Input((6, 6, 1))
    explainer = Explainer(keras.Model(i, L.Dense(3)(L.Flatten()(L.Conv2D(2, 3, activation="relu", name="c")(i)))),
                          "lrp_z")
    x = np.ones((2, 6, 6, 1), "float32")
    from rbdm_nb.explain.relevance import layer_maps
    explainer.ledger(x), layer_maps(explainer, x, ["c"])
    graphs = dict(explainer._graphs)
    explainer.ledger(x[:1]), layer_maps(explainer, x[:1], ["c"]), explainer(x)
    assert graphs == explainer._graphs and len(graphs) == 3


def test_the_remedy_trains_and_computes_the_same():
    in_a_child("""
    from rbdm_nb.networks.architectures import check_trainable
    remedy = lambda x: L.Conv2D(16, 1, use_bias=False, name="shortcut")(L.MaxPooling2D(1, strides=2)(x))
    strided, model = mini_xception(), mini_xception(remedy)
    model.set_weights(strided.get_weights())
    np.testing.assert_array_equal(model(images).numpy(), strided(images).numpy())
    check_trainable(model)
    model.compile("sgd", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, np.arange(8) % 7, epochs=3, verbose=0)""")


def test_training_is_refused_by_name_before_it_begins(tmp_path):
    out = in_a_child(f"""
    import rbdm_nb.networks.training as training
    from rbdm_nb.corpora.datasets import load
    from rbdm_nb.store import Store
    training.build = lambda *settings: mini_xception()
    train, valid = (load("synthetic", split=s, n=16, image_size=64, seed=0) for s in ("train", "valid"))
    try: training.fit(Store({str(tmp_path)!r}), train, valid, architecture="MobileNetV2", image_size=64, epochs=1)
    except ValueError as error: print(error)""")
    assert "'shortcut'" in out and "MaxPooling2D(1, strides=2)" in out


def alone(layer, shape): return keras.Model(i := L.Input(shape), layer(i))


@pytest.mark.parametrize("layer, shape, unsafe", [
    (L.Conv2D(16, 1, 2), (60, 60, 8), True), (L.Conv2D(16, 1, 2, padding="same"), (60, 60, 15), True),
    (L.Conv2D(16, 1, 2), (60, 60, 16), False),
    (L.Conv2D(16, 1, 2), (61, 61, 8), False), (L.Conv2D(16, 1, 2), (61, 60, 8), True),
    (L.Conv2D(16, 1, 2), (None, None, 8), True),
    (L.Conv2D(16, 1, (1, 2)), (61, 60, 8), True), (L.Conv2D(16, 1, (2, 1)), (61, 60, 8), False),
    (L.Conv2D(16, 3, 2), (60, 60, 8), False),
    (L.Conv2D(16, (1, 3), 2), (60, 60, 8), False), (L.Conv2D(16, 1, 1), (60, 60, 8), False),
    (L.Conv2D(16, 1, 3), (60, 60, 8), False),
    (L.Conv1D(16, 1, 2), (3600, 8), True), (L.Conv1D(16, 1, 2), (3601, 8), False),
    (L.Conv2DTranspose(8, 1, 2), (30, 30, 16), True),
    (L.Conv2DTranspose(16, 1, 2), (30, 30, 8), False), (L.SeparableConv2D(16, 1, 2), (60, 60, 8), False),
    (L.DepthwiseConv2D(1, 2), (60, 60, 8), False)])
def test_which_layers_are_unsafe(layer, shape, unsafe):
    assert unsafe_to_train(alone(layer, shape)) == [layer.name]*unsafe


def test_layers_inside_models_and_wrappers_are_found_and_frozen_ones_are_not():
    inner = keras.Sequential([L.Input((60, 60, 8)), L.Conv2D(16, 1, 2, name="inside")])
    assert unsafe_to_train(alone(inner, (60, 60, 8))) == ["inside"]
    # sides not known
    assert unsafe_to_train(alone(L.TimeDistributed(L.Conv2D(16, 1, 2, name="wrapped")), (3, 61, 61, 8))) == ["wrapped"]
    frozen = alone(L.Conv2D(16, 1, 2, trainable=False), (60, 60, 8))
    assert unsafe_to_train(frozen) == []
    shared = L.Conv2D(8, 1, 2, name="shared")
    i = L.Input((63, 63, 8))
    assert unsafe_to_train(keras.Model(i, shared(shared(i)))) == ["shared"]
    with pytest.raises(ValueError, match="'inside'.*MaxPooling2D"): check_trainable(inner)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_architectures_are_safe(architecture):
    side = MINIMUM_SIZE[architecture] + MINIMUM_SIZE[architecture] % 2
    assert unsafe_to_train(build(architecture, 8, (side, side, 3))) == []

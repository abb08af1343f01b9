"""A network that reads one action unit: do its maps fit that unit better than the maps of networks that read others?

The networks are made, not trained: what they look at is known. A network that says the same of every picture is the
floor: an extremal perturbation has a map of it all the same."""
import numpy as np, pytest, tensorflow as tf
from rbdm_nb.corpora.datasets import load
from rbdm_nb.corpora.faces import ACTION_UNITS
from rbdm_nb.explain.cams import CAMS
from rbdm_nb.explain.methods import explainer
from rbdm_nb.humans.clickmaps import dice

keras = tf.keras
SIZE, UNITS = 48, (2, 5, 20)      # brows, eyes, lips
METHODS = (*CAMS, "extremal")


@keras.utils.register_keras_serializable("planted")
class Window(keras.layers.Layer):
    "What lies in a region of the picture; the rest is nothing."
    def __init__(self, region, **more):
        super().__init__(**more)
        self.region = region
    def call(self, x): return x*tf.constant(self.region[..., None], x.dtype)
    def get_config(self): return super().get_config() | dict(region=self.region)


def reader(region, sees=1.):
    "A network of two classes that reads the strength of edges within `region`, bool (H, W)."
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((SIZE, SIZE, 1))
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(Window(region.astype("float32"))(x))
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    kernel, bias = model.layers[1].get_weights()
    model.layers[1].set_weights([kernel - kernel.mean((0, 1), keepdims=True), bias])     # edges, and no brightness
    model.layers[-1].set_weights([np.float32([[-sees, sees]]*6)*50, np.zeros(2, "float32")])
    return model


@pytest.fixture(scope="module")
def planted():
    "(Pictures (N, H, W, 1), unit -> where it shows, bool (H, W))."
    faces = load("synthetic", split="test", n=64, image_size=SIZE, seed=0, difficulty=0)
    shown = faces.extras["action_units"][:]
    regions = {}
    for unit in UNITS:
        of_unit = shown[:, ACTION_UNITS.index(unit)]
        regions[unit] = of_unit[of_unit.any((1, 2))].mean(0) > .5
    return (faces.images[:4][..., :1]/127.5 - 1).astype("float32"), regions


def top(maps, area):
    "The largest values of the maps (N, H, W), a share `area` of each, as bool."
    flat = maps.reshape(len(maps), -1)
    rank = np.argsort(np.argsort(-flat, axis=1, kind="stable"), axis=1)
    return (rank < round(area*flat.shape[1])).reshape(maps.shape)


def overlaps(method, networks, regions, pictures):
    "(Unit that is held against, unit that the network reads): dice of its maps with where the first shows."
    options = dict(iterations=150, areas=(.1,)) if method == "extremal" else {}
    found = {}
    for read, network in networks.items():
        maps = explainer(network, method, **options)(pictures, np.ones(len(pictures), int))
        for unit, region in regions.items():
            found[unit, read] = dice(top(maps, region.mean()), np.broadcast_to(region, maps.shape)).mean()
    return found


def test_the_units_lie_apart(planted):
    _, regions = planted
    for unit in UNITS:
        assert .01 < regions[unit].mean() < .25
        for other in UNITS:
            if other != unit: assert dice(regions[unit], regions[other]) < .2


@pytest.mark.parametrize("method", METHODS)
def test_a_map_fits_the_unit_that_its_network_reads(planted, method):
    pictures, regions = planted
    found = overlaps(method, {unit: reader(region) for unit, region in regions.items()}, regions, pictures)
    for unit in UNITS:
        others = [found[unit, read] for read in UNITS if read != unit]
        assert found[unit, unit] > max(others) + .1, found


def test_an_extremal_perturbation_of_a_constant_network_is_the_same_for_all_units(planted):
    "The floor: a map it has, but which unit is asked about makes no difference to it."
    pictures, regions = planted
    says_nothing = {unit: reader(region, sees=0.) for unit, region in regions.items()}
    found = overlaps("extremal", says_nothing, regions, pictures)
    for unit in UNITS: assert len({found[unit, read] for read in UNITS}) == 1
    floor = explainer(says_nothing[UNITS[0]], "extremal", iterations=150, areas=(.1,))(pictures, np.ones(4, int))
    assert .05 < floor.mean() < .2 and floor.max() > .9


@pytest.mark.parametrize("method", [m for m in CAMS if CAMS[m].looks_at != "channels" and m != "eigen_cam"])
def test_a_constant_network_has_no_map(planted, method):
    "But by eigen_cam, which does not ask what the activations are for."
    pictures, regions = planted
    with pytest.warns(UserWarning): maps = explainer(reader(regions[UNITS[0]], sees=0.), method)(pictures)
    assert not maps.any()

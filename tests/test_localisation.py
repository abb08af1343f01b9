"""How much relevance falls on the truth: the measures against slow versions, and maps before and after weights are
randomised."""
import itertools, math
import numpy as np, pytest, tensorflow as tf
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from rbdm_nb.networks.architectures import CountedDropout
from rbdm_nb.corpora.datasets import EXPRESSIONS, Corpus, load
from rbdm_nb.explain.localisation import (baselines, localisation, mass_accuracy, mass_elsewhere, pointing_game,
                                          randomisation, rank_accuracy, unit_regions, weighted_layers)
from rbdm_nb.gaze.perception import spearman
from rbdm_nb.explain.relevance import METHODS, Explainer
from rbdm_nb.reproducibility import fingerprint, rng

keras, L = tf.keras, tf.keras.layers
MEASURES = (mass_accuracy, rank_accuracy, pointing_game)

# --- measures ---------------------------------------------------------------------------------------------------

few_values = st.integers(-2, 3).map(float)
pairs = st.tuples(arrays("float64", (1, 2, 3), elements=few_values), arrays(bool, (1, 2, 3)))

def slow(r, inside):
    """(mass, rank, points) of one map with few pixels: the mean over all orders of its pixels that sort them by
    relevance."""
    r, inside = r.ravel(), inside.ravel()
    positive = r.clip(0) if (r > 0).any() else np.ones(r.size)
    orders = [o for o in itertools.permutations(range(r.size)) if all(r[a] >= r[b] for a, b in zip(o, o[1:]))]
    ranks = [np.mean([inside[i] for i in order[:inside.sum()]]) for order in orders]
    return (positive*inside).sum()/positive.sum(), np.mean(ranks), np.mean([inside[order[0]] for order in orders])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(pairs)
def test_measures_against_all_orders(pair):
    found = [measure(*pair)[0] for measure in MEASURES]
    if not pair[1].any(): assert np.isnan(found).all()
    else: np.testing.assert_allclose(found, slow(*pair), atol=1e-12)


big = st.tuples(arrays("float64", (3, 6, 5), elements=st.floats(-10, 10).map(lambda x: round(x, 2))),
                arrays(bool, (3, 6, 5)))

@settings(max_examples=60, deadline=None, derandomize=True)
@given(big, st.sampled_from([.01, 7., 1e5]))
def test_properties(pair, factor):
    r, inside = pair
    inside[:, 0, 0] = True
    for measure in MEASURES:
        found = measure(r, inside)
        assert ((found >= 0) & (found <= 1 + 1e-12)).all()
        np.testing.assert_allclose(measure(r*factor, inside), found, atol=1e-9)
        np.testing.assert_allclose(measure(r[::-1], inside[::-1])[::-1], found, atol=1e-12)
        np.testing.assert_allclose(measure(inside.astype(float), inside), 1)
        np.testing.assert_allclose(measure(np.zeros_like(r), inside), inside.mean((1, 2)), atol=1e-12)
    some = ~inside.all((1, 2))
    np.testing.assert_allclose((mass_accuracy(r, inside) + mass_accuracy(r, ~inside))[some], 1, atol=1e-9)
    games = [pointing_game(r, inside, t) for t in (0, 1, 2, 20)]
    assert all((a <= b).all() for a, b in zip(games, games[1:])) and (games[-1] == 1).all()


def test_tolerance_is_a_distance():
    r, inside = np.zeros((1, 15, 15)), np.zeros((1, 15, 15), bool)
    inside[0, 7, 7] = True
    for y, x in ((7, 7), (4, 3), (10, 9), (0, 7)):
        r[:] = 0
        r[0, y, x] = 1
        distance = math.hypot(y - 7, x - 7)
        assert pointing_game(r, inside, distance)[0] == 1
        if distance: assert pointing_game(r, inside, distance - .01)[0] == 0


@pytest.mark.parametrize("measure", [*MEASURES, lambda r, g: mass_elsewhere(r, g, range(len(r)))])
def test_measures_refuse_rubbish(measure):
    r, g = np.ones((2, 4, 4)), np.ones((2, 4, 4), bool)
    for bad, message in [((r, g[:1]), "one shape"), ((r[0], g[0]), r"\(N, H, W\)"), ((r, g*1.), "bool"),
                         ((np.stack([r[0], r[1]*np.nan]), g), "image 1")]:
        with pytest.raises(ValueError, match=message): measure(*bad)


def test_negative_tolerance():
    with pytest.raises(ValueError, match="tolerance"): pointing_game(np.ones((1, 2, 2)), np.ones((1, 2, 2), bool), -1)


def test_no_maps_at_all():
    for measure in MEASURES: assert measure(np.zeros((0, 4, 4)), np.zeros((0, 4, 4), bool)).shape == (0,)
    assert np.isnan(list(localisation(np.zeros((0, 4, 4)), np.zeros((0, 4, 4), bool), []).values())).all()


def test_mass_elsewhere_against_loops():
    draw = rng(0, "elsewhere")
    r, inside, labels = draw.normal(size=(7, 5, 6)), draw.random((7, 5, 6)) < .3, np.array([0, 1, 1, 2, 0, 3, 3])
    inside[5] = False
    slow = []
    for k in range(7):
        others = [mass_accuracy(r[k:k + 1], inside[j:j + 1])[0] for j in range(7) if labels[j] != labels[k]
                  and inside[j].any()]
        slow.append(np.mean(others) if inside[k].any() else np.nan)
    np.testing.assert_allclose(mass_elsewhere(r, inside, labels), slow, atol=1e-12)
    assert np.isnan(mass_elsewhere(r, inside, np.zeros(7))).all()


def test_baselines_are_chance():
    region = np.zeros((300, 20, 20), bool)
    region[:, :8, :10] = True
    maps = baselines(300, 20, 1)
    share = {name: localisation(r, region, range(300)) for name, r in maps.items()}
    for measure in ("mass accuracy", "elsewhere", "rank accuracy", "pointing game"):
        assert abs(share["uniform"][measure] - .2) < 1e-9
    for measure in ("mass accuracy", "rank accuracy", "pointing game"):
        assert abs(share["random values"][measure] - .2) < .07
    assert np.array_equal(maps["random values"][:2], baselines(2, 20, 1)["random values"])
    assert maps["centre Gaussian"][0].argmax() in (9*20 + 9, 9*20 + 10, 10*20 + 9, 10*20 + 10)


def test_regions_are_the_active_units():
    corpus = load("synthetic", n=24, image_size=32, seed=2, domain="wild")
    found, units = unit_regions(corpus), corpus.extras["action_units"][:]
    hidden = corpus.extras["occluded"][:]
    assert hidden.any() and not (found & hidden).any()
    assert np.array_equal(found | (hidden & units.any(1)), units.any(1))
    assert not found[corpus.labels == EXPRESSIONS.index("neutral")].any()
    plain = Corpus(corpus.images, corpus.labels, corpus.classes, corpus.names, corpus="folder")
    with pytest.raises(ValueError, match="folder does not know"): unit_regions(plain)


# --- randomisation ----------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def trained():
    "A small network that has learned where a bright patch is, of four places, and images that it names rightly."
    tf.keras.utils.set_random_seed(0)
    draw, places = rng(0, "patches"), ((2, 2), (2, 11), (11, 2), (11, 11))
    label = draw.integers(0, 4, 400)
    images = draw.uniform(-1, .2, (400, 18, 18, 3)).astype("float32")
    for image, c in zip(images, label): image[places[c][0]:places[c][0] + 5, places[c][1]:places[c][1] + 5] += .8
    x = i = L.Input((18, 18, 3))
    for n in (8, 12): x = L.MaxPooling2D()(L.Conv2D(n, 3, padding="same", activation="relu")(x))
    x = L.Dense(16, activation="relu", name="dense")(L.Flatten()(x))
    model = keras.Model(i, L.Dense(4, name="output")(x))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, label, epochs=12, batch_size=32, verbose=0)
    right = model(images).numpy().argmax(1) == label
    assert right.mean() > .95
    return model, images[right][:12]


SLOW_TO_CHANGE = ("guided_backprop", "deep_taylor", "deep_taylor_innvestigate2", "deep_taylor_bounded",
                  "deep_taylor_canonized", "lrp_wsquare", "lrp_flat")

@pytest.mark.parametrize("method", [m for m in METHODS if m.startswith(("lrp_", "deep_taylor", "gradient", "guided"))])
def test_maps_depend_on_the_weights(trained, method):
    """All layers randomised: no method gives the same map; those that do not multiply by non-negative parts alone
    give quite another."""
    model, images = trained
    table = randomisation(model, images, method, bounds=(-1, 1))
    assert list(table.randomised) == [1, 2, 3, 4] and list(table.layer[:2]) == ["output", "dense"]
    last = table.iloc[-1]
    assert last.images >= 3
    assert last.spearman < (.95 if method in SLOW_TO_CHANGE else .3)


def test_deep_taylor_hardly_depends_on_the_upper_layers(trained):
    "Sixt et al. 2020; what the notebook says of it."
    model, images = trained
    first = {m: randomisation(model, images, m, bounds=(-1, 1)).magnitudes[0]
             for m in ("deep_taylor", "lrp_epsilon", "gradient")}
    assert first["deep_taylor"] > .9 > first["lrp_epsilon"] and first["deep_taylor"] > .9 > first["gradient"]


def test_the_model_is_left_alone_and_the_seed_decides(trained):
    model, images = trained
    before = fingerprint(model), fingerprint(Explainer(model)(images))
    a, b, c = (randomisation(model, images, "lrp_epsilon", seed=s) for s in (0, 0, 1))
    assert a.equals(b) and not a.equals(c)
    assert (fingerprint(model), fingerprint(Explainer(model)(images))) == before


def test_cascade_and_single_layers_by_hand(trained):
    model, images = trained
    def permuted(numbers):
        clone = keras.models.clone_model(model)
        clone.set_weights(model.get_weights())
        layers = [l for l in reversed(clone.layers) if l.get_weights()]
        for k in numbers:
            draw = rng(3, "randomisation", k)
            layers[k].set_weights([draw.permutation(w.ravel()).reshape(w.shape) for w in layers[k].get_weights()])
        return clone
    before, logits = Explainer(model, "gradient").explain(images)
    def by_hand(numbers):
        return np.mean([spearman(a, b) for a, b in zip(before, Explainer(permuted(numbers),
                                                                         "gradient")(images, logits.argmax(1)))])
    cascade, single = (randomisation(model, images, "gradient", cascade=how, seed=3) for how in (True, False))
    np.testing.assert_allclose(cascade.spearman, [by_hand(range(k + 1)) for k in range(4)], atol=1e-4)
    np.testing.assert_allclose(single.spearman, [by_hand([k]) for k in range(4)], atol=1e-4)
    assert list(single.randomised) == [1]*4
    np.testing.assert_allclose(cascade.attrs["other faces"]["spearman"],
                               np.mean([spearman(a, b) for a, b in zip(before, np.roll(before, 1, 0))]), atol=1e-6)


def test_models_in_models_steps_and_layers_without_weights():
    j = L.Input((6, 6, 2))
    inner = keras.Model(j, L.BatchNormalization(name="norm")(L.Conv2D(3, 3, name="conv")(j)), name="inner")
    i = L.Input((6, 6, 2))
    model = keras.Model(i, L.Dense(4, name="out")(CountedDropout(.5)(L.Flatten()(L.ReLU()(inner(i))))))
    draw = rng(0, "inner")
    model.set_weights([draw.uniform(.5, 1.5, w.shape).astype(w.dtype) for w in model.get_weights()])
    assert [layer.name for layer in weighted_layers(model)] == ["out", "norm", "conv"]
    images = draw.normal(size=(4, 6, 6, 2)).astype("float32")
    assert list(randomisation(model, images, "lrp_epsilon").layer) == ["out", "norm", "conv"]
    assert list(randomisation(model, images, "lrp_epsilon", steps=1).randomised) == [3]
    assert list(randomisation(model, images, "lrp_epsilon", steps=2).randomised) == [1, 3]


def test_maps_that_vanish_are_counted_out(trained):
    "Deep Taylor explains nothing where the class's output has become negative."
    model, images = trained
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    kernel, bias = clone.get_layer("output").get_weights()
    # the first class wins with 0: every map is empty
    clone.get_layer("output").set_weights([kernel*0, bias*0 - [0, 1, 2, 3]])
    table = randomisation(clone, images)
    assert (table.images == 0).all() and table.spearman.isna().all()


def test_what_cannot_be_randomised(trained):
    model, images = trained
    with pytest.raises(ValueError, match="did you mean 'deep_taylor'"): randomisation(model, images, "deep_tailor")
    with pytest.raises(ValueError, match="bounds"): randomisation(model, images, "deep_taylor_bounded")
    empty = keras.Sequential([L.Input((4, 4, 1)), L.Flatten()])
    with pytest.raises(ValueError, match="no weights"):
        randomisation(empty, np.zeros((1, 4, 4, 1), "float32"), "gradient")

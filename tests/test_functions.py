"""Relevance of any function: against slow versions and the lime package itself, whatever the batches, killed and
resumed, with rubbish."""
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from lime.lime_image import LimeImageExplainer
from sklearn.linear_model import LogisticRegression
from rbdm_nb.corpora.datasets import load
from rbdm_nb.masking import MASKS, corpus_masks, make_mask
from rbdm_nb.reproducibility import rng
from rbdm_nb.explain.functions import (COMBINATIONS, SOURCES, combine, combined_maps, function_maps, lime, occlusion,
                                       rise, rise_mask, shares, superpixels)
from rbdm_nb.store import Store

FEW = dict(occlusion=dict(window=5, stride=3), rise=dict(masks=30, cells=4), lime=dict(samples=30, segments=6))
METHODS = {name: (lambda predict, images, target=None, f=pair[0], o=FEW[name],
                  **more: f(predict, images, target, **o | more)) for name, pair in SOURCES.items()}


def parts(images):
    """A function whose score of an image depends on that image alone, to the last bit: brightness of three stripes,
    not linear."""
    x = np.asarray(images, "float64")
    return np.stack([np.stack([np.sin(s.sum()/s.size/40) + s.max()/255 for s in np.array_split(image, 3)])
                     for image in x])


def faces(n=5, size=17, dtype="uint8"):
    return rng(0, "test sources").integers(0, 256, (n, size, size + 2, 3)).astype(dtype)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_batches_and_batch_mates_do_not_matter(name, dtype):
    images, method = faces(dtype=dtype), METHODS[name]
    whole = method(parts, images)
    assert whole.shape == images.shape[:3] and whole.dtype == np.float32 and whole.any((1, 2)).all()
    for size in (1, 7, 1000): assert np.array_equal(method(parts, images, batch_size=size), whole)
    assert np.array_equal(method(parts, images[::-1])[::-1], whole)
    assert np.array_equal(np.concatenate([method(parts, images[k:k + 1]) for k in range(5)]), whole)
    own = parts(images).argmax(1)
    assert np.array_equal(method(parts, images, own), whole)
    assert np.array_equal(method(parts, images, 2)[1], method(parts, images[1:2], [2])[0])


@pytest.mark.parametrize("name", METHODS)
def test_what_the_function_gets(name):
    calls, images = [], faces(2)
    before = images.copy()
    def vandal(x):
        calls.append((len(x), x.dtype, x.shape[1:]))
        scores = parts(x)
        x[:] = 0
        return scores
    found = METHODS[name](vandal, images, batch_size=6)
    assert np.array_equal(images, before) and np.array_equal(found, METHODS[name](parts, images))
    assert max(n for n, *_ in calls) <= 6 and {c[1:] for c in calls} == {(np.dtype("uint8"), images.shape[1:])}


@pytest.mark.parametrize("name", METHODS)
def test_grey_empty_and_lists(name):
    grey = faces(2)[..., :1]
    assert METHODS[name](lambda x: parts(x).tolist(), grey).shape == grey.shape[:3]
    assert METHODS[name](lambda x: 1/0, grey[:0]).shape == (0, *grey.shape[1:3])


RUBBISH = [
    (lambda x: parts(x)[:, 0], {}, ValueError, "scores (N, classes)"),
    (lambda x: parts(x)[:-1], {}, ValueError, "images"),
    (lambda x: parts(x)*np.nan, {}, ValueError, "NaN"),
    (lambda x: parts(x).argmax(1), {}, ValueError, "int64"),
    (lambda x: [["happy"]]*len(x), {}, ValueError, "<U5"),
    (parts, dict(images=faces().astype("int32")), TypeError, "int32"),
    (parts, dict(images=faces()[0]), ValueError, "images[None]"),
    (parts, dict(images=faces(dtype="float32") + np.inf), ValueError, "infinite"),
    (parts, dict(target=3), ValueError, "0 to 2"),
    (parts, dict(target=-1), ValueError, "0 to 2"),
    (parts, dict(target=[0, 1]), ValueError, "5 classes"),
    (parts, dict(target=0.5), ValueError, "integers"),
    (parts, dict(batch_size=0), ValueError, "batch_size"),
    (parts, dict(fill=(1, 2)), ValueError, "3 numbers")]

@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("predict,options,error,message", RUBBISH)
def test_rubbish_is_refused_in_words(name, predict, options, error, message):
    images = options.get("images", faces())
    with pytest.raises(error) as told:
        METHODS[name](predict, images, **{k: v for k, v in options.items() if k != "images"})
    assert message in str(told.value)


@pytest.mark.parametrize("call,message", [
    (lambda: occlusion(parts, faces(), window=18), "1 to 17"),
    (lambda: occlusion(parts, faces(), window=4, stride=0), "stride"),
    (lambda: rise(parts, faces(), masks=0), "masks"), (lambda: rise(parts, faces(), cells=0), "cells"),
    (lambda: rise(parts, faces(), keep=1.5, masks=2), "keep"),
    (lambda: lime(parts, faces(), samples=1), "samples"),
    (lambda: lime(parts, faces(), segments=lambda x: x), "integers")])
def test_options_without_sense(call, message):
    with pytest.raises(ValueError, match=message): call()


def test_classes_that_come_and_go():
    with pytest.raises(ValueError, match="3 and 4 classes"):
        rise(lambda x: np.ones((len(x), 3 + (len(x) == 2))), faces(1), masks=8, cells=2, batch_size=7)


def test_occlusion_against_loops():
    image, window, stride = faces(1, 11, "float64")[0], 4, 3
    starts = lambda side: [s for s in range(side) if s + window <= side and (s % stride == 0 or s + window == side)]
    drops = [[[] for _ in range(13)] for _ in range(11)]
    for y in starts(11):
        for x in starts(13):
            hidden = image.copy()
            hidden[y:y + window, x:x + window] = 7
            drop = (parts(image[None]) - parts(hidden[None]))[0, 1]
            for i in range(y, y + window):
                for j in range(x, x + window): drops[i][j].append(drop)
    slow = np.array([[np.mean(d) for d in row] for row in drops])
    np.testing.assert_allclose(occlusion(parts, image[None], 1, window, stride, fill=7)[0], slow, rtol=1e-6)


def test_rise_against_its_formula():
    image, n = faces(1, 9, "float64")[0], 12
    masks = [rise_mask(k, (9, 11), 3, .4, 5).astype("float64") for k in range(n)]
    slow = sum(parts((image*m[..., None])[None])[0, 2]*m for m in masks)/(n*.4)
    np.testing.assert_allclose(rise(parts, image[None], 2, n, 3, .4, 5, fill=0)[0], slow, rtol=1e-6)


@pytest.mark.parametrize("shape,cells", [((12, 10), 3), ((7, 7), 7), ((5, 9), 1), ((48, 48), 7)])
def test_masks_of_rise(shape, cells):
    masks = np.stack([rise_mask(k, shape, cells, .3, 1) for k in range(3000)])
    assert masks.shape == (3000, *shape) and masks.min() >= 0 and masks.max() <= 1 + 1e-6
    error = masks.std(0)/np.sqrt(3000)
    assert (np.abs(masks.mean(0) - .3) < 5*error).all()
    assert np.array_equal(rise_mask(2, shape, cells, .3, 1),
                          masks[2]) and not np.array_equal(rise_mask(2, shape, cells, .3, 2), masks[2])


@pytest.mark.parametrize("fill", [None, 0])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_lime_is_the_package(fill, dtype):
    images = faces(2, 16, dtype)
    for image, ours in zip(images, lime(parts, images, 1, samples=50, segments=8, seed=3, fill=fill, batch_size=9)):
        segments = superpixels(image, 8)
        state = np.random.RandomState(rng(3, "lime").bit_generator)
        def score(x): return parts(np.rint(x).astype("uint8") if dtype == "uint8" else x)
        theirs = LimeImageExplainer(random_state=state).explain_instance(
            image.astype("float64"), score, labels=(1,), top_labels=None, hide_color=fill, num_samples=50,
            segmentation_fn=lambda _, segments=segments: segments, random_seed=0)
        weight = dict(theirs.local_exp[1])
        np.testing.assert_allclose(ours, np.vectorize(weight.get)(segments), rtol=1e-5, atol=1e-9)


def test_lime_against_weighted_ridge():
    "The package's regression once more, from the normal equations."
    image, k, n = faces(1, 16, "float64")[0, :, :16], 4, 80
    squares = np.arange(4).reshape(2, 2).repeat(8, 0).repeat(8, 1)
    on = np.random.RandomState(rng(0, "lime").bit_generator).randint(0, 2, (n, k))
    on[0] = 1
    y = np.array([parts(np.where(row[squares][..., None] == 1, image, 9.)[None])[0, 0] for row in on])
    cosine = on.sum(1)/np.sqrt(np.maximum(on.sum(1), 1)*k)
    weight = np.exp(-(1 - cosine)**2/.25**2)**.5
    x, z = on - np.average(on, 0, weight), y - np.average(y, weights=weight)
    slow = np.linalg.solve(x.T @ (x*weight[:, None]) + np.eye(k), x.T @ (z*weight))
    found = lime(parts, image[None], 0, samples=n, segments=lambda _: squares*10 + 3, fill=9.)[0]
    np.testing.assert_allclose(found, slow[squares], rtol=1e-5)


def test_superpixels_of_flat_and_odd_images():
    for image in (np.zeros((16, 16, 3), "uint8"), np.full((16, 16, 3), -3.), faces(1, 16, "float32")[0]*1000):
        found = superpixels(image, 9)
        assert found.shape == image.shape[:2] and sorted(set(found.ravel())) == list(range(found.max() + 1))
    assert np.isfinite(lime(parts, np.full((1, 16, 16, 3), -3.), samples=10)).all()


def test_a_classifier_is_seen_through():
    "The class is a bright patch at one of two places; every method must find it."
    draw, places = rng(0, "patches"), ((2, 3), (14, 12))
    label = draw.integers(0, 2, 160)
    images = draw.integers(0, 90, (160, 24, 24, 1), "uint8")
    for image, c in zip(images, label): image[places[c][0]:places[c][0] + 7, places[c][1]:places[c][1] + 7] += 100
    flat = lambda x: x.reshape(len(x), -1)/255
    trainer = LogisticRegression(C=.1).fit(flat(images), label)
    predict = lambda x: trainer.decision_function(flat(x))[:, None]*(-1, 1)
    for found in (occlusion(predict, images[:6], label[:6], 6, 3, 0),
                  rise(predict, images[:6], label[:6], 400, 6, fill=0),
                  lime(predict, images[:6], label[:6], 200, 16, fill=0)):
        for k, (row, column) in enumerate(places[c] for c in label[:6]):
            patch = np.zeros((24, 24), bool)
            patch[row:row + 7, column:column + 7] = True
            # most of the 25 most relevant pixels
            assert patch[found[k] >= np.sort(found[k], axis=None)[-25]].mean() > .7


# --- the store --------------------------------------------------------------------------------------------------

def simple(x): return np.asarray(x, "float64").reshape(len(x), 4, -1).mean(-1)


@pytest.fixture(scope="module")
def corpus(): return load("synthetic", n=40, image_size=16, seed=1)


def test_a_killed_run_goes_on(tmp_path, corpus):
    calls, options = [], dict(masks=4, cells=4)
    def dies(x):
        calls.append(len(x))
        if len(calls) > 36: raise KeyboardInterrupt
        return simple(x)
    with pytest.raises(KeyboardInterrupt):
        function_maps(dies, corpus, Store(tmp_path), "rise", options=options, trainer="t")
    seen = []
    kept = function_maps(lambda x: seen.append(len(x)) or simple(x), corpus, Store(tmp_path), "rise", options=options,
                         trainer="t")
    assert sum(seen) == 1 + 8*5                      # one image to count the classes, then the second chunk alone
    fresh = function_maps(simple, corpus, Store(tmp_path/"fresh"), "rise", options=options, trainer="t")
    for a, b in zip(kept[:2], fresh[:2]): assert np.array_equal(a[:], b[:])
    assert np.array_equal(kept.relevance[:], rise(simple, corpus.images[:], **options))
    assert np.allclose(kept.predictions[:], simple(corpus.images[:])) and kept.entry.complete


def test_what_makes_other_maps(tmp_path, corpus):
    few, store = corpus[:3], Store(tmp_path)
    def key(method="rise", seed=0, batch_size=64, corpus=few, trainer="t", **options):
        return function_maps(simple, corpus, store, method, seed, batch_size, options, trainer=trainer).entry.key
    base = dict(masks=2, cells=2)
    assert key(**base) == key(**base)
    assert len({key(**base), key(seed=1, **base), key(batch_size=8, **base), key(corpus=corpus[:2], **base),
                key(trainer="u", **base), key(masks=3, cells=2)}) == 6
    assert key("occlusion") == key("occlusion", seed=1) == key("occlusion", window=8) != key("occlusion", window=4)
    assert key("lime", samples=4) != key("lime", samples=4, seed=1)


@pytest.mark.parametrize("call,message", [
    (lambda c, s: function_maps(simple, c, s), "trainer="),
    (lambda c, s: function_maps(simple, c[:0], s, trainer="t"), "no images"),
    (lambda c, s: function_maps(simple, c, s, "occlusions", trainer="t"), "did you mean 'occlusion'"),
    (lambda c, s: function_maps(simple, c, s, "occlusion", options=dict(masks=3), trainer="t"),
     "known: fill, stride, window")])
def test_rubbish_for_the_store(tmp_path, corpus, call, message):
    with pytest.raises(ValueError, match=message): call(corpus, Store(tmp_path))


def test_masks_from_one_and_from_two_trainers(tmp_path, corpus):
    store, few = Store(tmp_path), corpus[:6]
    a = function_maps(simple, few, store, "occlusion", trainer="a")
    b = function_maps(lambda x: simple(x)[:, ::-1], few, store, "rise", options=dict(masks=20, cells=3), trainer="b")
    both = combined_maps(store, [a, b], "mean", (1, 3))
    assert np.array_equal(both.relevance[:], combine([a.relevance[:], b.relevance[:]], "mean", (1, 3)))
    votes = np.zeros((6, 4))
    for share, m in ((.25, a), (.75, b)): votes[np.arange(6), m.predictions[:].argmax(1)] += share
    assert np.allclose(both.predictions[:], votes)
    for m in (a, both):
        for name in (*MASKS,)[1:]:
            assert np.array_equal(corpus_masks(store, m, name, 16, fixations=9)[:], make_mask(name, m.relevance[:], 9))
    assert combined_maps(store, [both, a], "max", size=8).relevance.shape == (6, 8, 8)
    three = function_maps(lambda x: simple(x)[:, :3], few, store, "occlusion", trainer="three")
    with pytest.raises(ValueError, match="4, 3 classes"): combined_maps(store, [a, three])
    with pytest.raises(ValueError, match="weights"): combined_maps(store, [a, b], weights=(1, -1))


# --- combining --------------------------------------------------------------------------------------------------

values = st.floats(-1e6, 1e6).map(lambda x: 0. if abs(x) < 1e-3 else x)
some_maps = st.lists(arrays("float64", (2, 3, 4), elements=values), min_size=1, max_size=4)

@settings(max_examples=60, deadline=None, derandomize=True)
@given(some_maps, st.sampled_from(sorted(COMBINATIONS)), st.data())
def test_combinations_are_fair(maps, how, data):
    found = combine(maps, how)
    assert (found >= 0).all()
    sums = found.sum((1, 2), dtype="float64")
    assert (np.isclose(sums, 1, atol=1e-5) | (sums == 0)).all()
    voices = np.stack([(m > 0).any((1, 2)) for m in maps])
    if how != "product": assert np.array_equal(sums > 0, voices.any(0))
    louder = [m*data.draw(st.sampled_from([.001, 1, 1e4])) for m in maps]
    np.testing.assert_allclose(combine(louder, how), found, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(combine(maps[::-1], how), found, rtol=1e-5, atol=1e-9)
    # who abstains changes nothing
    np.testing.assert_allclose(combine([*maps, -np.abs(maps[0])], how), found, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(combine([maps[0]]*3, how), shares(maps[0]), rtol=1e-5, atol=1e-9)
    weights = [1.] + [0.]*(len(maps) - 1)
    np.testing.assert_allclose(combine(maps, how, weights), shares(maps[0]), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("maps,options,message", [
    ([], {}, "weights"), ([np.ones((1, 2, 2)), np.ones((1, 2, 3))], {}, "unequal shapes"),
    ([np.ones((2, 2))], {}, r"\(N, H, W\)"),
    ([np.full((1, 2, 2), np.nan)], {}, "finite"), ([np.ones((1, 2, 2))], dict(how="meen"), "did you mean 'mean'"),
    ([np.ones((1, 2, 2))]*2, dict(weights=(0, 0)), "weights"),
    ([np.ones((1, 2, 2))]*2, dict(weights=(1, np.nan)), "weights")])
def test_combining_rubbish(maps, options, message):
    with pytest.raises(ValueError, match=message): combine(maps, **options)

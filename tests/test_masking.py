"""Masks: their counts and places under any relevance, controls, people's masks, and what is kept in the store."""
import numpy as np, pandas as pd, pytest, zarr
from hypothesis import given, settings, strategies as st
from rbdm_nb import masking
from rbdm_nb.gaze import attention
from rbdm_nb.gaze.attention import Gaze, average_fixations
from rbdm_nb.gaze.comparison import derangement
from rbdm_nb.masking import (CONTROLS, MASKS, Mask, corpus_masks, ellipse_mask, human_mask, human_masks, look_of,
                             make_mask,
                             mean_mask, negative_mask, perceptive_mask, random_mask)
from rbdm_nb.gaze.perception import Setup, fixation_heatmap, network_fixations
from rbdm_nb.explain.relevance import Maps, resize_relevance
from rbdm_nb.reproducibility import fresh_process
from rbdm_nb.store import Store

examples = lambda n: settings(max_examples=n, deadline=None, derandomize=True)
seeds = st.integers(0, 10**6)
KINDS = ("normal", "ties", "constant", "zero", "one pixel", "tiny", "negative")


def relevance_of(kind, n, h, w, seed):
    g = np.random.default_rng(seed)
    spot = np.zeros((n, h, w)); spot[:, g.integers(h), g.integers(w)] = 5
    return dict(normal=g.normal(size=(n, h, w)), ties=g.integers(-1, 3, (n, h, w)), constant=np.full((n, h, w), 0.1),
                zero=np.zeros((n, h, w)), tiny=g.random((n, h, w))*1e-38,
                negative=-g.random((n, h, w)), **{"one pixel": spot})[kind].astype("float32")

maps_ = st.builds(relevance_of, st.sampled_from(KINDS), st.integers(1, 4), st.integers(1, 20), st.integers(1, 20),
                  seeds)


@given(maps_)
@examples(80)
def test_the_papers_masks_are_their_formulas(relevance):
    size = relevance[0].size
    hidden = ~negative_mask(relevance)
    assert (hidden.sum((1, 2)) == -(-size//10)).all()
    for r, h, keep in zip(relevance, hidden, mean_mask(relevance)):
        # what is hidden is at least as relevant as what is not
        assert r[h].min() >= np.max(r[~h], initial=-np.inf)
        assert (keep == (r >= r.astype("float64").mean())).all() and keep.any()


@given(maps_, st.integers(0, 60), st.floats(0.5, 30))
@examples(60)
def test_perceptive_mask_is_where_the_heatmap_is_not_zero(relevance, fixations, span):
    "The one is a dilation, the other the heatmap of section 5.3.2."
    expected = [fixation_heatmap(points, relevance.shape[1:], span, span/2) != 0
                for points in network_fixations(relevance, fixations)]
    assert (perceptive_mask(relevance, fixations, span) == np.stack(expected)).all()


@given(maps_.filter(lambda r: len(r) > 1), seeds)
@examples(40)
def test_controls_keep_as_much_as_the_mean_mask(relevance, seed):
    kept = mean_mask(relevance)
    for name in ("random", "ellipse"):
        assert (make_mask(name, relevance, seed=seed).sum((1, 2)) == kept.sum((1, 2))).all()
    assert (make_mask("other", relevance, seed=seed) == kept[derangement(len(kept), seed, "other mask")]).all()
    assert (random_mask(kept, seed)[1:] == random_mask(kept[1:], seed, 1)).all()


def test_random_places_are_even():
    "Each pixel is kept equally often: counts of a binomial distribution."
    kept = np.zeros((4000, 5, 6), bool); kept[:, :2] = True
    counts = random_mask(kept).sum(0)
    assert np.abs(counts - 4000*0.4).max() < 4.5*np.sqrt(4000*0.4*0.6)


def test_ellipse_is_one():
    kept = np.arange(48*48).reshape(48, 48) < np.array([800, 0, 48*48])[:, None, None]
    mask, none, everything = ellipse_mask(kept)
    assert (mask == mask[::-1]).mean() > 0.99 and (mask == mask[:, ::-1]).mean() > 0.99
    height, width = mask.any(1).sum(), mask.any(0).sum()
    assert height/width == pytest.approx(1.3, abs=0.06) and mask.sum() == pytest.approx(np.pi/4*height*width, rel=0.03)
    assert everything.all() and not none.any()


@given(seeds, st.integers(1, 40))
@examples(30)
def test_human_mask_is_the_area_of_the_study(seed, size):
    points = np.random.default_rng(seed).uniform(-0.2, 1.2, (5, 2))
    y, x = (np.mgrid[:size, :size] + 0.5)/size
    expected = sum((x - px)**2 + (y - py)**2 <= (Setup().relative_span()/2)**2 for px, py in points) > 0
    assert (human_mask([points, []], size) == np.stack([expected, np.zeros((size, size), bool)])).mean() > 1 - 1e-9


def test_rubbish_is_refused():
    for call, message in ((lambda: make_mask("maen", np.ones((1, 2, 2))), "did you mean 'mean'"),
                          (lambda: mean_mask(np.ones((3, 3))), "(N, H, W)"),
                          (lambda: make_mask("random", np.full((2, 3, 3), np.inf)), "image 0"),
                          (lambda: make_mask("other", np.ones((1, 3, 3))), "at least two"),
                          (lambda: perceptive_mask(np.ones((1, 3, 3)), -1), "negative"),
                          (lambda: perceptive_mask(np.ones((1, 3, 3)), 2, 0), "positive"),
                          (lambda: negative_mask(np.ones((1, 3, 3)), 1.5), "share")):
        with pytest.raises(ValueError) as error: call()
        assert message in str(error.value)


# Masks of a corpus

@pytest.fixture
def kept(tmp_path):
    "(Store, Maps of 11 images) without a network."
    store = Store(tmp_path)
    entry = store.entry("maps", made="at random")
    array = zarr.create_array(entry.file("relevance.zarr"), shape=(11, 20, 20), dtype="float32", chunks=(4, 20, 20))
    array[:] = np.random.default_rng(0).gamma(0.4, size=(11, 20, 20))
    return store, Maps(array, None, entry)


@pytest.mark.parametrize("name", (*MASKS, *CONTROLS)[1:])
def test_corpus_masks_are_the_masks_of_its_maps(kept, name):
    store, relevance = kept
    small = resize_relevance(relevance.relevance[:], 12)
    masks = corpus_masks(store, relevance, name, 12, fixations=5, seed=3)
    expected = make_mask(name, small, 5, 3)
    assert len(masks) == 11 and masks.size == 12 and (masks[:] == expected).all() and (masks[np.array([7, 2])]
                                                                                       == expected[[7, 2]]).all()
    again = corpus_masks(store, relevance, name, 12, fixations=5, seed=3)
    assert again.entry.key == masks.entry.key and again.entry.meta["images"] == 11


def test_keys_hold_what_decides_a_mask(kept):
    store, relevance = kept
    key = lambda name, **options: corpus_masks(store, relevance, name, 12, **(dict(fixations=5) | options)).entry.key
    assert len({key(name, seed=s) for name in ("random", "other") for s in (0, 1)}) == 4
    assert key("mean") == key("mean", fixations=9,
                              seed=4) and key("ellipse") == key("ellipse", seed=9) and key("perceptive") != key(
                                  "perceptive", fixations=6)


def test_masks_in_parts_are_the_whole(kept, monkeypatch):
    "As after an interruption: chunks of four rows, made one after another."
    store, relevance = kept
    whole = {name: corpus_masks(store, relevance, name, 12, seed=1)[:] for name in ("random", "other", "mean")}
    parts = masking._kept
    monkeypatch.setattr(masking, "_kept", lambda *a, **k: parts(*a, chunk=4, **k))
    other = Store(store.path/"second")
    again = Maps(relevance.relevance, None, other.entry("maps", made="at random"))
    assert all((corpus_masks(other, again, name, 12, seed=1)[:] == m).all() for name, m in whole.items())


def write_tables(folder, people, points):
    for name in range(people):
        rows = [f"{image},{680 + 10*k},{200 + 7*k},200,happy" for image in "abc" for k in range(points)]
        (folder/f"person{name}.csv").write_text("\n".join(["image,x,y,duration,label", *rows]))


def test_a_mask_is_one_entry(kept, monkeypatch):
    "One line in a table, and everything that takes a mask by name knows it."
    def left(r, seed): return np.broadcast_to(np.arange(r.shape[2]) < r.shape[2]//2 + seed, r.shape)
    monkeypatch.setitem(CONTROLS, "left", Mask("left", left, ("seed",), look=("crimson", "*")))
    store, relevance = kept
    expected = np.broadcast_to(np.arange(12) < 7, (11, 12, 12))
    assert (make_mask("left", resize_relevance(relevance.relevance[:], 12), seed=1) == expected).all()
    masks = corpus_masks(store, relevance, "left", 12, seed=1)
    assert (masks[:] == expected).all() and masks.entry.inputs["seed"] == 1
    assert look_of("left") == ("crimson", "*") != look_of("leftt")
    def left(r, seed): return np.broadcast_to(np.arange(r.shape[2]) < seed, r.shape)
    monkeypatch.setitem(CONTROLS, "left", Mask("left", left, ("seed",)))   # its code is part of the key
    assert (corpus_masks(store, relevance, "left", 12, seed=1)[:] == (np.arange(12) < 1)).all()
    with pytest.raises(ValueError, match="did you mean 'left'"): make_mask("lefft", relevance.relevance[:])


def test_a_mask_that_sees_all_rows(kept, monkeypatch):
    "In chunks as at once: the maps of the whole corpus, at the size of the masks."
    store, relevance = kept
    def brighter(maps, rows): return maps[rows] > np.mean([maps[k:k + 1] for k in range(len(maps))])
    monkeypatch.setitem(CONTROLS, "brighter", Mask("brighter", brighter, ("rows",)))
    parts = masking._kept
    monkeypatch.setattr(masking, "_kept", lambda *a, **k: parts(*a, chunk=4, **k))
    masks = corpus_masks(store, relevance, "brighter", 12)
    small = resize_relevance(relevance.relevance[:], 12)
    assert (masks[:] == make_mask("brighter", small)).all() and (masks[:] == (small > small.mean())).mean() > .999


def test_what_is_no_mask_is_refused(kept, monkeypatch):
    store, relevance = kept
    for make, needs in ((lambda r: r, ()), (lambda r: r > 0, ("fixations",)), (lambda r: (r > 0)[0], ())):
        monkeypatch.setitem(CONTROLS, "wrong", Mask("wrong", make, needs))
        with pytest.raises(ValueError, match="wrong"): corpus_masks(store, relevance, "wrong", 12)
        with pytest.raises(ValueError, match="wrong"): make_mask("wrong", relevance.relevance[:])
    with pytest.raises(ValueError, match="did you mean 'seed'"): Mask("wrong", mean_mask, ("seeds",))
    with pytest.raises(ValueError, match="average_fixations"):
        corpus_masks(store, relevance, "perceptive", 12, fixations=0)


def test_fixations_flow_from_the_recordings(kept, tmp_path):
    "The average number in the recordings is what the perceptive mask takes."
    store, relevance = kept
    folder = tmp_path/"recordings"; folder.mkdir()
    for points in (3, 7):
        write_tables(folder, 2, points)
        assert average_fixations(store, str(folder)) == points
        masks = corpus_masks(store, relevance, "perceptive", 12, average_fixations(store, str(folder)))
        assert (masks[:] == perceptive_mask(resize_relevance(relevance.relevance[:], 12), points)).all()


def test_the_average_is_counted_once(kept, tmp_path, monkeypatch):
    store, _ = kept
    folder = tmp_path/"recordings"; folder.mkdir()
    write_tables(folder, 1, 4)
    assert average_fixations(store, str(folder)) == 4
    monkeypatch.setattr(attention, "read_study", lambda *a: pytest.fail("read again"))
    assert average_fixations(store, str(folder)) == 4


def test_simulated_annotators_where_there_are_no_recordings(kept):
    store, relevance = kept
    n = average_fixations(store, images=8)
    assert 5 <= n <= 12                                        # the annotators' habits are 7 to 9 fixations a look
    assert average_fixations(store, counted="samples", images=8) > 5*n
    assert store.contents().query("kind == 'gaze'").complete.tolist() == [True, True]


def test_the_average_is_found_again_in_another_process(tmp_path):
    "Its key must not depend on where Python put a function."
    (tmp_path/"gaze").mkdir()
    write_tables(tmp_path/"gaze", 1, 4)
    kept = f"__import__('rbdm_nb.store').store.Store({str(tmp_path/'store')!r})"
    call = f"[average_fixations({kept}, {str(tmp_path/'gaze')!r}), len({kept}.contents())]"
    assert [fresh_process(call, "rbdm_nb.gaze.attention") for _ in range(2)] == [[4, 1]]*2


def test_human_masks_follow_the_corpus_and_refuse_what_nobody_saw(tmp_path):
    gaze = Gaze(pd.DataFrame([("u", "a", None), ("v", "a", None), ("u", "b", None)],
                             columns=["person", "image", "label"]),
                pd.DataFrame([("u", "a", .2, .2), ("v", "a", .8, .8), ("u", "b", .5, .5)],
                             columns=["person", "image", "x", "y"]).assign(duration=200., samples=12), False)
    store = Store(tmp_path)
    assert (human_masks(store, gaze, ["b", "a"], 24)[:] == human_mask([[[.5, .5]], [[.2, .2], [.8, .8]]], 24)).all()
    assert (human_masks(store, gaze, ["a"], 24, "v")[:] == human_mask([[[.8, .8]]], 24)).all()
    with pytest.raises(ValueError, match="'b'"): human_masks(store, gaze, ["a", "b"], 24, "v")

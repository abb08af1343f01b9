"""Geometry, heatmaps and measures of gaze: against direct sums, closed forms, second implementations, and pysaliency
where it is installed."""
import math
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from rbdm_nb.gaze import perception, recordings, simulation
from rbdm_nb.gaze.attention import NETWORK, gaze_of, read_study, table1
from rbdm_nb.gaze.comparison import (EPSILON, MEASURES, auc_judd, bootstrap, cc, chance_level, compare, derangement,
                                     kl, nss, sim, summary)
from rbdm_nb.gaze.perception import (Setup, cosine_distance, fixation_heatmap, network_fixations, spearman,
                                     top_pixels, zero_measure)
from rbdm_nb.reproducibility import rng

examples = lambda n: settings(max_examples=n, deadline=None, derandomize=True)
seeds = st.integers(0, 10**6)


def direct_sum(points, shape, visual_span, cutoff=None, weights=None):
    "The heatmap's formula as the paper writes it (5.3.2), pixel by pixel."
    y, x = np.mgrid[:shape[0], :shape[1]]
    heat, c = np.zeros(shape), 0.17*visual_span
    for (fx, fy), w in zip(points, np.ones(len(points)) if weights is None else weights):
        square = (x - fx)**2 + (y - fy)**2
        heat += np.where(True if cutoff is None else square <= cutoff**2, w*np.exp(-square/(2*c**2)), 0)
    return heat


# Geometry

def test_the_numbers_of_the_study():
    study = Setup()
    assert study.visual_span()*study.pixel_cm*10 == pytest.approx(61.1, abs=0.05)
    assert study.visual_span() == pytest.approx(262, abs=0.5) and study.relative_span() == pytest.approx(0.218,
            abs=5e-4)
    assert study.visual_span(reading="radius") == pytest.approx(131, abs=0.25)
    # the width of a 27-inch screen of 16 : 9
    assert 27*2.54/math.hypot(16, 9)*16 == pytest.approx(study.pixel_cm*2560)


@given(st.floats(20, 200), st.floats(5, 60), st.integers(400, 5000), st.integers(300, 3000), seeds)
@examples(40)
def test_degrees_and_coordinates_are_inverse(distance, diagonal, width, height, seed):
    setup = Setup(distance, diagonal, (width, height), min(width, height)//2)
    xy = np.random.default_rng(seed).uniform(-0.5, 1.5, (6, 2))*(width, height)
    np.testing.assert_allclose(setup.to_pixels(setup.to_degrees(xy)), xy)
    for size in (None, 48): np.testing.assert_allclose(setup.to_screen(setup.to_image(xy, size), size), xy, atol=1e-9)
    image = setup.to_image(xy, 48)
    assert (setup.on_image(xy) == ((image >= -0.5 - 1e-9) & (image <= 47.5 + 1e-9)).all(1)).all()


def test_angles_are_those_of_the_lines_of_sight():
    setup, g = Setup(distance_cm=63), np.random.default_rng(0)
    for a, b in g.uniform(0, 1440, (50, 2, 2)):
        eye = [np.r_[(p - (np.array(setup.resolution) - 1)/2)*setup.pixel_cm, 63] for p in (a, b)]
        expected = math.degrees(math.acos(eye[0] @ eye[1]/np.linalg.norm(eye[0])/np.linalg.norm(eye[1])))
        assert setup.angle_between(a, b) == pytest.approx(expected, rel=1e-6)
    assert setup.angle_between([0, 0], [1e-7, 0]) > 0                              # where an arc cosine gives 0


@pytest.mark.parametrize("wrong", [dict(distance_cm=-1), dict(resolution=(0, 10)), dict(resolution=(10,)),
                                   dict(image_px=0), dict(screen_diagonal_in=float("nan"))])
def test_lengths_must_be_lengths(wrong):
    with pytest.raises(ValueError, match="positive"): Setup(**wrong)


# Heatmaps

@given(seeds, st.integers(0, 25), st.integers(1, 40), st.integers(1, 40), st.floats(0.5, 60),
       st.one_of(st.none(), st.floats(0, 80)), st.booleans())
@examples(80)
def test_heatmap_is_the_direct_sum(seed, n, height, width, span, cutoff, whole):
    g = np.random.default_rng(seed)
    points, weights = g.uniform(-10, 50, (n, 2)), g.choice([0, 1e-6, 1, 300], n)
    if whole: points = points.round()
    fast, slow = (f(points, (height, width), span, cutoff, weights) for f in (fixation_heatmap, direct_sum))
    np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-300)
    if cutoff is not None: assert ((fast > 0) == (slow > 0)).all()


@given(seeds, st.integers(60, 200), st.sampled_from(["any", "whole", "half", "one"]), st.floats(150, 260),
       st.floats(0.3, 1))
@examples(25)
def test_convolution_is_the_direct_sum(seed, n, kind, span, reach):
    g = np.random.default_rng(seed)
    points, weights = g.uniform(-150, 250, (n, 2)), g.choice([1e-7, 1, 2.5], n)
    points = dict(any=points, whole=points.round(), half=points.round() + 0.5, one=np.repeat(points[:1], n, 0))[kind]
    cutoff = reach*span/2
    fast, slow = (perception._convolved(points, weights, (60, 80), 0.17*span, cutoff),
                  direct_sum(points, (60, 80), span, cutoff, weights))
    np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-7*max(slow.max(), 1e-7))
    assert ((fast > 0) == (slow > 0)).all()


def test_which_way_is_taken_makes_no_difference(monkeypatch):
    points = np.random.default_rng(0).uniform(0, 100, (300, 2))
    taken = []
    for way in ("_convolved", "_stamped"):
        f = getattr(perception, way)
        monkeypatch.setattr(perception, way, lambda *a, f=f, way=way: taken.append(way) or f(*a))
    many, few = (fixation_heatmap(points, (100, 100), 160, 80),
                 sum(fixation_heatmap(points[i:i + 5], (100, 100), 160, 80) for i in range(0, 300, 5)))
    assert set(taken) == {"_convolved", "_stamped"} and taken[0] == "_convolved"
    np.testing.assert_allclose(many, few, rtol=1e-7)


def test_mass_of_whole_gaussians():
    "Far from the edges the sum over all pixels is n · 2π c²."
    points = np.random.default_rng(0).uniform(90, 110, (50, 2))
    assert fixation_heatmap(points, (200, 200), 60).sum() == pytest.approx(50*2*math.pi*(0.17*60)**2, rel=1e-9)


def test_half_of_the_maximum_is_reached_at_a_fifth_of_the_span():
    """FWHM is 40 % of the visual span, so half of the height is reached 20 % away (Blignaut 2010; 2.358 · 0.17 =
    0.4009)."""
    heat = fixation_heatmap([[500, 0]], (1, 1000), 500)
    assert heat[0, 600] == pytest.approx(0.5, abs=0.002)


@pytest.mark.parametrize("call, message", [
    (dict(points=[[1, 2, 3]]), "(n, 2)"), (dict(points=[1, 2]), "(n, 2)"), (dict(points=[[np.nan, 1]]), "finite"),
                                           (dict(points=[[np.inf, 1]]), "finite"),
    (dict(visual_span=0), "visual_span"), (dict(visual_span=float("nan")), "visual_span"), (dict(cutoff=-1), "cutoff"),
                                           (dict(cutoff=float("nan")), "cutoff"),
    (dict(weights=[1, 2]), "1 numbers"), (dict(weights=[-1]), "not negative"),
                                           (dict(weights=[np.nan]), "not negative")])
def test_rubbish_is_refused(call, message):
    with pytest.raises(ValueError) as error:
        fixation_heatmap(**(dict(points=[[1, 2]], shape=(4, 4), visual_span=2) | call))
    assert message in str(error.value)


@given(seeds, st.integers(0, 40))
@examples(25)
def test_networks_fixations_are_its_top_pixels(seed, n):
    relevance = np.random.default_rng(seed).integers(-1, 4, (3, 5, 6)).astype("float32")
    for r, points in zip(relevance, network_fixations(relevance, n)):
        order = sorted(range(r.size), key=lambda i: (-r.flat[i], i))[:n]
        assert {(x, y) for x, y in points} == {(i % 6, i//6) for i in order if r.flat[i] > 0}
    assert (top_pixels(relevance, min(n, 30)).sum((1, 2)) == min(n, 30)).all()


# Measures, once more from their definitions, in plain Python

def slow_auc(a, points):
    at = {(int(y), int(x)) for x, y in points}
    hits, others = [a[int(y), int(x)] for x, y in points], [a[i] for i in np.ndindex(a.shape) if i not in at]
    line = ([(0., 0.)] + [(sum(o >= t for o in others)/len(others), sum(h >= t for h in hits)/len(hits))
                          for t in sorted(set(hits), reverse=True)] + [(1., 1.)])
    return sum((x1 - x0)*(y0 + y1)/2 for (x0, y0), (x1, y1) in zip(line, line[1:]))

def slow_nss(a, points):
    mean = sum(a.flat)/a.size
    deviation = math.sqrt(sum((v - mean)**2 for v in a.flat)/a.size)
    return sum((a[int(y), int(x)] - mean)/deviation for x, y in points)/len(points)

def slow_kl(a, b):
    return sum(q/b.sum()*math.log(EPSILON + q/b.sum()/(p/a.sum() + EPSILON)) for p, q in zip(a.flat, b.flat))

def slow_ranks(v): return [sum(w < x for w in v) + (sum(w == x for w in v) + 1)/2 for x in v]

def slow_cc(a, b):
    a, b = list(a), list(b)
    ma, mb = sum(a)/len(a), sum(b)/len(b)
    return sum((x - ma)*(y - mb) for x, y in zip(a, b))/math.sqrt(sum((x - ma)**2 for x in a)*sum((y - mb)**2
            for y in b))


@given(seeds, st.booleans())
@examples(40)
def test_measures_are_their_definitions(seed, ties):
    g = np.random.default_rng(seed)
    a, b = (g.integers(0, 4, (6, 7)).astype(float) if ties else g.gamma(1, size=(6, 7)) for _ in range(2))
    a[0, 0], a[0, 1], b[0, 0], b[0, 1] = 0, 1, 2, 0
    points = np.stack([g.integers(0, 7, 9), g.integers(0, 6, 9)], 1)
    assert auc_judd(a, points) == pytest.approx(slow_auc(a, points))
    assert nss(a, points) == pytest.approx(slow_nss(a, points))
    assert kl(a, b) == pytest.approx(slow_kl(a, b))
    assert sim(a, b) == pytest.approx(sum(min(p, q) for p, q in zip(a.flat/a.sum(), b.flat/b.sum())))
    assert cc(a, b) == pytest.approx(slow_cc(a.flat, b.flat))
    assert spearman(a, b) == pytest.approx(slow_cc(slow_ranks(list(a.flat)), slow_ranks(list(b.flat))))
    assert cosine_distance(a, b) == pytest.approx(1 - sum(x*y
                                                          for x, y in zip(a.flat, b.flat))/math.sqrt(sum(x*x
            for x in a.flat)*sum(y*y for y in b.flat)))
    assert zero_measure(a, b) == pytest.approx(sum(x > 0 and y > 0 for x, y in zip(a.flat, b.flat))/sum(x > 0 or y > 0
            for x, y in zip(a.flat, b.flat)))


@given(seeds)
@examples(20)
def test_what_does_not_matter_to_a_measure(seed):
    g = np.random.default_rng(seed)
    a, b, points = g.gamma(1, size=(8, 8)), g.gamma(1, size=(8, 8)), g.integers(0, 8, (5, 2))
    for f in (cc, spearman): assert f(3*a + 2, b) == pytest.approx(f(a, b)) == pytest.approx(f(b, a))
    assert nss(3*a + 2, points) == pytest.approx(nss(a, points)) and auc_judd(np.exp(a), points) == auc_judd(a, points)
    for f in (sim, kl, cosine_distance, zero_measure): assert f(3*a, b/7) == pytest.approx(f(a, b))
    on = np.unique(points, axis=0)
    others = np.delete(a.ravel(), on[:, 1]*8 + on[:, 0])
    # Judd's straight lines lie above the steps, by at most half a fixation
    true_area = np.mean(others < a[on[:, 1], on[:, 0]][:, None])
    assert true_area <= auc_judd(a, on) <= true_area + 1/(2*len(on))
    assert kl(a, b) >= 0 and 0 <= sim(a, b) == pytest.approx(1 - np.abs(a/a.sum() - b/b.sum()).sum()/2)


def test_constant_and_empty_maps():
    some, flat, none, point = np.arange(12.).reshape(3, 4), np.full((3, 4), 0.1), np.zeros((3, 4)), [[1, 1]]
    value = lambda a, b: {name: f(a, b) for name, f in MEASURES.items()}
    assert all(math.isnan(value(a, b)[m]) for m in ("cc", "spearman")
               for a, b in ((flat, some), (some, flat), (flat, flat), (none, some), (none, none)))
    assert {m: v for m, v in value(none, none).items()
            if not math.isnan(v)} == dict(zero_measure=1, cosine_distance=0, sim=1, kl=0)
    assert (value(none, some)["zero_measure"], value(none, some)["cosine_distance"], value(none, some)["sim"]) == (0, 1,
            0)
    assert 25 < kl(none, some) < 40 and math.isnan(kl(some, none))
    assert sim(flat, flat) == pytest.approx(1) and kl(flat, flat) == pytest.approx(0, abs=1e-12)
    assert (nss(flat, point), auc_judd(flat, point), nss(none, point), auc_judd(none, point)) == (0, 0.5, 0, 0.5)
    assert math.isnan(nss(some, [])) and math.isnan(auc_judd(some, [[99, 0]])) and math.isnan(auc_judd(np.ones((1, 1)),
            [[0, 0]]))


def test_maps_that_do_not_fit():
    for f in MEASURES.values():
        with pytest.raises(ValueError, match="shapes"): f(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="another number"): compare([np.ones((2, 2))], [])
    with pytest.raises(ValueError, match="negative"): kl(-np.ones((2, 2)), np.ones((2, 2)))


def test_against_pysaliency():
    "Where pysaliency is installed: its CC, SIM, KL (as in the MIT benchmark), NSS and AUC-Judd."
    metrics = pytest.importorskip("pysaliency.metrics", reason="pysaliency is not installed")
    pysaliency = pytest.importorskip("pysaliency")
    g = np.random.default_rng(0)
    sets = [[g.uniform(5, 35, (k, 2)) for k in (6, 9)] for _ in range(12)]
    stimuli, heats = [], []
    for k, (one, two) in enumerate(sets):
        cut = 8 if k % 2 else None
        a, b = (fixation_heatmap(x, (40, 44), 16, cut) for x in (one, two))
        assert cc(a, b) == pytest.approx(metrics.CC(a, b)) and sim(a, b) == pytest.approx(metrics.SIM(a, b))
        with np.errstate(divide="ignore"): assert kl(a, b) == pytest.approx(metrics.MIT_KLDiv(a, b), rel=1e-6)
        at = np.rint(two)
        assert nss(a, at) == pytest.approx(metrics.NSS(a, at[:, 0], at[:, 1]).mean())
        heats.append(a); stimuli.append(np.full((40, 44, 3), k, "uint8"))
    stimuli = pysaliency.Stimuli(stimuli)
    for k, (_, two) in enumerate(sets):
        fixations = pysaliency.FixationTrains.from_fixation_trains([list(np.rint(two)[:, 0])],
                                                                   [list(np.rint(two)[:, 1])], [list(range(len(two)))],
                                                                   [k], [0])
        model = type("Heat", (pysaliency.SaliencyMapModel,),
                     dict(_saliency_map=lambda self, s: heats[int(s[0, 0, 0])]))()
        assert auc_judd(heats[k], np.rint(two)) == pytest.approx(model.AUC_Judd(stimuli, fixations, jitter=False))


# Many images

def test_compare_and_chance_keep_rows_apart():
    g = np.random.default_rng(0)
    points = g.uniform(0, 30, (10, 4, 2))
    maps = [fixation_heatmap(q, (30, 30), 9, 4.5) for q in points]
    same, other = (compare(maps, maps, points, images=list("abcdefghij")),
                   chance_level(maps, maps, points, seed=3, draws=2))
    assert list(same.index) == list(
        "abcdefghij") and (same.zero_measure == 1).all() and same.sim.to_numpy() == pytest.approx(1)
    order = derangement(10, 3, "chance", 0)
    assert len(other) == 20 and other.cc.to_numpy()[:10] == pytest.approx([cc(maps[i], maps[order[i]])
                                                                           for i in range(10)])
    assert other.nss.to_numpy()[:10] == pytest.approx([nss(maps[i], points[order[i]]) for i in range(10)])
    table = summary(same, other, same)
    assert table.loc["zero_measure", ["mean", "std", "low", "high", "ceiling"]].tolist() == [1, 0, 1, 1,
            1] and table.loc["cc", "chance"] == pytest.approx(other.cc.mean())


@given(st.integers(2, 200), seeds)
@examples(30)
def test_derangement(n, seed):
    order = derangement(n, seed)
    assert sorted(order) == list(range(n)) and (order != np.arange(n)).all() and (order == derangement(n, seed)).all()


def test_bootstrap_interval_covers_the_mean():
    """About 95 % of intervals hold the true mean; with 40 numbers the percentile bootstrap is known to hold it a
    little less often."""
    held = [low <= 0 <= high for low, high in (bootstrap(rng(k, "sample").normal(size=40), seed=k, draws=500)
                                               for k in range(300))]
    assert 0.89 <= np.mean(held) <= 0.98
    assert bootstrap([1, 5, np.nan, 2]) == bootstrap([1, 5, 2]) and np.isnan(bootstrap([np.nan])).all()


def test_summary_counts_what_has_a_value():
    frame = pd.DataFrame(dict(cc=[0.5, np.nan, 0.7], sim=[0.1, 0.2, 0.3]))
    table = summary(frame)
    assert table.images.tolist() == [2, 3] and table.loc["cc", "mean"] == pytest.approx(0.6)


# From recordings to Table 1

@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "(Study, folder with its recordings): two simulated annotators and three faces."
    folder = tmp_path_factory.mktemp("recordings")
    return simulation.simulated_study(n_images=3, folder=folder, image_size=96), folder


def test_a_folder_of_recordings_is_the_study(made):
    study, folder = made
    # what BIDS keeps beside recordings is none
    (folder/"participants.tsv").write_text("participant_id\n")
    gaze, again = gaze_of(study.recordings), gaze_of(read_study(folder))
    assert again.fixations.equals(
        gaze.fixations) and again.trials.equals(gaze.trials) and gaze.simulated and again.simulated
    assert gaze.people == list(study.recordings) and gaze.shared == sorted(map(str, study.images.names))


def test_gaze_lies_where_the_annotators_looked(made):
    study, _ = made
    gaze = gaze_of(study.recordings)
    for name in gaze.people:
        for image, found in zip(gaze.shared, gaze.at(gaze.shared, name)):
            known = study.truth[(study.truth["annotator"] == name) & (study.truth["image"] == image)
                                & (study.truth["seen"] > 0.8) & (study.truth["duration"] > 120)]
            known = (study.setup.to_image(known[["x", "y"]].to_numpy(), 1) + 0.5)
            known = known[(np.abs(known - 0.5) < 0.45).all(1)]
            nearest = np.linalg.norm(known[:, None] - found, axis=2).min(1)
            assert np.median(nearest)*1200/study.setup.to_pixels(1) < 1            # degrees
    assert gaze.average() == pytest.approx(len(study.truth)/6, rel=0.2)


def test_an_image_shown_elsewhere(made, tmp_path):
    "A recording that says where its image stood is believed: positions are shares of that image."
    rows = ["image,x,y,duration,label", "a,1000,500,200,fear"]
    (tmp_path/"p.csv").write_text("\n".join(rows))
    gaze = gaze_of({"p": recordings.read(tmp_path/"p.csv")}, Setup(image_px=400, image_corner=(900, 400)))
    assert gaze.at(["a"])[0] == pytest.approx(np.array([[100.5/400, 100.5/400]]))


def test_a_study_with_bad_files_names_them(tmp_path):
    (tmp_path/"good.csv").write_text("image,x,y,duration\na,1000,500,200\n")
    (tmp_path/"bad.tsv").write_text("timestamp\ttime\n1\n")
    (tmp_path/"copy").mkdir(); (tmp_path/"copy"/"good.csv").write_text("image,x,y,duration\na,1000,500,200\n")
    with pytest.raises(ValueError) as error: read_study(tmp_path)
    assert "bad.tsv" in str(error.value) and "second recording of good" in str(error.value)
    with pytest.raises(FileNotFoundError, match="no folder"): read_study(tmp_path/"none")


def test_table1_numbers_are_those_of_its_images():
    g = np.random.default_rng(0)
    points = {name: [g.uniform(5, 43, (5, 2)) for _ in range(7)] for name in ("u", "v", "w", NETWORK)}
    heats = {name: np.stack([fixation_heatmap(x, (48, 48), 10, 5) for x in xy]) for name, xy in points.items()}
    table = table1(heats, points, seed=2).set_index(["first", "second", "measure"])
    assert [(a, b) for a, b, m in table.index if m == "kl"] == [("u", "v"), ("u", "w"), ("v", "w"), ("u", NETWORK),
                                                                ("v", NETWORK), ("w", NETWORK)]
    row = lambda a, b, m: table.loc[(a, b, m)]
    predicts = lambda f, a, b: np.mean([f(heats[b][i], x)
                                        for i, x in enumerate(points[a] if f in (nss, auc_judd) else heats[a])])
    for name, f in (("nss", nss), ("auc_judd", auc_judd), ("kl", kl), ("zero_measure", zero_measure)):
        assert row("v", NETWORK, name)["mean"] == pytest.approx(predicts(f, "v", NETWORK))
        assert row("v", NETWORK,
                   name)["ceiling"] == pytest.approx(np.mean([predicts(f, "v", "u"), predicts(f, "v", "w")]))
    order = derangement(7, 2, "chance", 0)
    assert row("u", NETWORK,
               "sim")["chance"] == pytest.approx(np.mean([sim(heats[NETWORK][i], heats["u"][order[i]])
                                                          for i in range(7)]))
    published = table["published"].unstack()
    assert published.loc[[("u", "v"), ("u", NETWORK), ("v", NETWORK)],
                         ["zero_measure", "spearman", "cosine_distance"]].values.tolist() == [
        [0.546, 0.689, 0.296], [0.405, 0.548, 0.423], [0.371, 0.515, 0.454]]
    assert published.loc[[("u", "w"), ("w", NETWORK)]].isna().all(axis=None)


def test_two_alike_are_above_chance():
    """One who looks where another does, give or take a degree, on images that differ: agreement far beyond chance;
    strangers: none."""
    g, span = np.random.default_rng(1), Setup().relative_span()*60
    truth = [g.uniform(10, 50, (6, 2)) for _ in range(30)]
    near, far = [t + g.normal(0, 1, t.shape) for t in truth], [g.uniform(10, 50, (6, 2)) for _ in range(30)]
    heats = dict(u=truth, v=near, network=far)
    heats = {name: np.stack([fixation_heatmap(x, (60, 60), span, span/2) for x in xy]) for name, xy in heats.items()}
    table = table1(heats, dict(u=truth, v=near)).set_index(["first", "second", "measure"])
    for m in ("zero_measure", "spearman", "cc", "sim", "nss", "auc_judd"):
        like, strange = table.loc[("u", "v", m)], table.loc[("u", NETWORK, m)]
        assert like["low"] > like["chance"] and strange["low"] < strange["ceiling"] and abs(strange["mean"]
                - strange["chance"]) < (strange["ceiling"] - strange["chance"])/4

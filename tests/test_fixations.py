"Fixations: both rules against second implementations, gaps, units, and scores by hand."
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from rbdm_nb.gaze.fixations import (ALGORITHMS, FIXATION_COLUMNS, detect, detect_all, idt, ivt, match, merged, pieces,
                                    regular, score, velocities)
from rbdm_nb.gaze.perception import Setup
from rbdm_nb.gaze.recordings import Trial
from rbdm_nb.reproducibility import rng

FEW = dict(max_examples=40, deadline=None, derandomize=True)
SETUP = Setup()
DEGREE = float(SETUP.to_pixels(1))


def gaze(degrees, rate=60, start=0.):
    "Samples at whole ms from places (n,) or (n, 2) in degrees from the screen's centre; NaN is lost."
    d = np.asarray(degrees, float)
    d = np.stack([d, np.where(np.isnan(d), np.nan, 0)], 1) if d.ndim == 1 else d
    return pd.DataFrame(dict(time=start + np.rint(np.arange(len(d))*1000/rate), x=1279.5 + d[:, 0]*DEGREE,
                             y=719.5 + d[:, 1]*DEGREE, reason=np.where(np.isnan(d).any(1), "lost", "")))


def rests(places, ms=300, rate=60, noise=0., seed=0):
    "Places (degrees) where the eye rests for `ms` each, sampled at `rate`."
    x = np.repeat(places, round(ms*rate/1000)).astype(float)
    return x + noise*rng(seed, "noise").normal(size=len(x))


# --- second implementations

def dispersion_rule(xy, most, least):
    "Salvucci and Goldberg (2000), step by step."
    out, a = [], 0
    size = lambda w: np.ptp(w, axis=0).sum()
    while a + least <= len(xy):
        if size(xy[a:a + least]) > most: a += 1; continue
        b = a + least
        while b < len(xy) and size(xy[a:b + 1]) <= most: b += 1
        out.append([a, b - 1]); a = b
    return out


walks = st.tuples(st.integers(0, 10**6), st.integers(2, 90), st.floats(0, 1))


@settings(**FEW)
@given(walks, st.integers(2, 12), st.floats(.2, 5))
def test_idt_is_the_published_rule(walk, least, most):
    seed, n, noise = walk
    xy = (rng(seed, "walk").normal(size=(n, 2))*noise + np.repeat(rng(seed, "places").uniform(-5, 5, (9, 2)), 10,
                                                                  axis=0)[:n])
    assert idt(xy, most, least).tolist() == dispersion_rule(xy, most, least)


@pytest.mark.parametrize("least", [4, 300])
def test_idt_is_the_published_rule_beyond_what_is_searched_at_once(least):
    g = rng(0, "long")
    xy = g.normal(size=(1500, 2))*.2 + np.repeat(g.uniform(-5, 5, (5, 2)), 300, axis=0)
    xy[700:1100] += g.normal(size=(400, 2))*9                    # no rest for longer than that
    assert idt(xy, 2., least).tolist() == dispersion_rule(xy, 2., least)


def test_idt_of_pymovements_is_one_sample_late():
    from pymovements.events import idt as theirs
    xy = np.repeat([[0., 0], [5, 0], [0, 5]], 12, axis=0)
    late = theirs(xy, minimum_duration=4, dispersion_threshold=1.).frame
    assert late["offset"].to_list() == [12, 24, 35] and late["onset"].to_list() == [0, 13, 25]
    assert idt(xy, 1., 4).tolist() == [[0, 11], [12, 23], [24, 35]]


@settings(**FEW)
@given(walks, st.sampled_from([3, 5, 7]), st.floats(5, 80))
def test_ivt_is_a_threshold_on_the_slope(walk, window, threshold):
    seed, n, noise = walk
    xy = rng(seed, "walk").normal(size=(n, 2))*noise
    if n < window: window = n - 1 + n % 2
    if window < 3: return
    k, padded = np.arange(window) - window//2, np.pad(xy, ((window//2, window//2), (0, 0)), mode="edge")
    speed = np.array([np.hypot(*np.polyfit(k/60, padded[i:i + window], 1)[0]) for i in range(n)])
    assert np.allclose(np.hypot(*velocities(xy, 60, window).T), speed, atol=1e-8)
    got = np.zeros(n, bool)
    for a, b in ivt(xy, 60, threshold, window): got[a:b + 1] = True
    assert (got == (speed < threshold))[np.abs(speed - threshold) > 1e-6].all()


@settings(**FEW)
@given(st.lists(st.tuples(st.booleans(), st.integers(14, 40)), min_size=1, max_size=50),
       st.sampled_from([0, 30, 75, 200]))
def test_the_grid_bridges_short_gaps_only(rows, bridge):
    time, good = np.cumsum([0] + [t for _, t in rows[1:]]).astype(float), np.array([g for g, _ in rows])
    s = pd.DataFrame(dict(time=time, x=np.where(good, 2*time, np.nan), y=np.where(good, 5., np.nan),
                          reason=np.where(good, "", "lost")))
    grid, xy = regular(s, 60, bridge)
    if not good.any(): assert len(grid) == 0; return
    t = time[good]
    assert grid[0] == t[0] and abs(grid[-1] - t[-1]) <= 1000/60 and np.allclose(np.diff(grid), 1000/60)
    for g, (x, y) in zip(grid, xy):
        gap = next((b - a for a, b in zip(t, t[1:]) if a <= g <= b), 0)
        near = np.abs(t - g).min() < 500/60 - 1e-6
        if near or gap <= bridge + 1000/60 - 1e-6: assert abs(x - 2*np.clip(g, t[0], t[-1])) < 1e-6 and y == 5
        elif np.abs(t - g).min() > 500/60 + 1e-6 and gap > bridge + 1000/60 + 1e-6: assert np.isnan(x) and np.isnan(y)


# --- what is found

@pytest.mark.parametrize("algorithm", ["ivt", "idt"])
@pytest.mark.parametrize("rate", [30, 60, 120, 250, 1000])
def test_rests_are_found_at_any_rate(algorithm, rate):
    places = [0, 5, -3, 4, 9]
    f = detect(gaze(rests(places, rate=rate), rate), SETUP, algorithm)
    assert np.allclose((f["x"] - 1279.5)/DEGREE, places, atol=1e-6) and list(f.columns) == FIXATION_COLUMNS
    assert np.abs(f["onset"] - np.arange(5)*300).max() <= 50 and np.abs(f["offset"] - np.arange(1, 6)*300).max() <= 50
    assert np.allclose(f["duration"],
                       f["offset"] - f["onset"]) and (f["samples"] == np.rint(f["duration"]*rate/1000)).all()


@pytest.mark.parametrize("algorithm", ["ivt", "idt"])
def test_moving_everything_in_time_or_space_changes_nothing_else(algorithm):
    x = rests([0, 4, 1, 6], noise=.3)
    a, b = detect(gaze(x), SETUP, algorithm), detect(gaze(x, start=5000), SETUP, algorithm)
    assert np.allclose(b - a, [5000, 5000, 0, 0, 0, 0])
    s = gaze(x); s["y"] += 40
    assert np.allclose(detect(s, SETUP, algorithm)["y"],
                       a["y"] + 40) and np.allclose(detect(s, SETUP, algorithm)["onset"], a["onset"])


def test_thresholds_are_degrees_of_the_setup():
    far = Setup(distance_cm=700)   # ten times as far away, the same pixels are a tenth of the degrees
    s = gaze(rests([0, 4, 0]))
    assert len(detect(s, SETUP)) == 3 and len(detect(s, far)) == 1 and len(detect(s, far,
            velocity=3.)) == 1 and len(detect(s, far, velocity=3., merge_angle=.1)) == 3
    assert len(detect(s, SETUP, "idt", dispersion=3.)) == 3 and len(detect(s, SETUP, "idt", dispersion=5.,
                                                                           merge_angle=0)) == 1


@pytest.mark.parametrize("algorithm", ["ivt", "idt"])
@pytest.mark.parametrize("lost_ms,options,n", [(50, {}, 1), (300, {}, 1), (600, {}, 2), (300, dict(blink=200.), 2),
                                               (50, dict(bridge=0., blink=0.), 2)])
def test_gaps_and_blinks(algorithm, lost_ms, options, n):
    x = np.zeros(90); x[40:40 + round(lost_ms*.06)] = np.nan
    assert len(detect(gaze(x), SETUP, algorithm, **options)) == n


@pytest.mark.parametrize("algorithm", ["ivt", "idt"])
def test_a_blink_in_which_the_eye_moves_on_separates(algorithm):
    x = np.r_[np.zeros(30), [np.nan]*10, np.full(30, 3.)]
    assert len(detect(gaze(x), SETUP, algorithm)) == 2


def test_the_trackers_flag():
    s = gaze(np.zeros(120)).assign(fix=False)
    s.loc[10:39, "fix"] = True; s.loc[80:99, "fix"] = True; s.loc[110:111, "fix"] = True
    f = detect(s, SETUP, "tracker")
    # the last one is too short
    assert np.allclose(f["onset"], np.array([10, 80])*1000/60, atol=1) and np.allclose(f["duration"], [500, 333.3],
            atol=1)
    s.loc[20:22, ["x", "y", "fix"]] = [np.nan, np.nan, False]; s.loc[20:22, "reason"] = "lost"
    assert len(detect(s, SETUP, "tracker")) == 2
    with pytest.raises(ValueError, match="ivt or idt"): detect(gaze(np.zeros(50)), SETUP, "tracker")


@settings(**FEW)
@given(st.lists(st.sampled_from([0., .2, 5., -5., np.nan]), min_size=0, max_size=60), st.sampled_from(ALGORITHMS),
       st.sampled_from([30, 60, 500]))
def test_any_samples_give_fixations_in_order(x, algorithm, rate):
    s = gaze(x, rate).assign(fix=True)
    f = detect(s, SETUP, algorithm)
    assert np.isfinite(f.to_numpy(float)).all() and (f["duration"] >= 60 - 1e-6).all() and (f["samples"] > 0).all()
    assert (f["onset"].to_numpy()[1:] >= f["offset"].to_numpy()[:-1] - 1e-6).all()
    if len(f): assert f["onset"].iloc[0] >= -1e-6 and f["offset"].iloc[-1] <= s["time"].iloc[-1] + 1500/rate + 1


@pytest.mark.parametrize("bad,says", [(dict(algorithm="idtt"), "did you mean 'idt'"), (dict(velocity=0), "positive"),
                                      (dict(dispersion=-1), "positive"), (dict(bridge=-1), "not negative"),
                                      (dict(minimum=float("nan")), "not negative")])
def test_senseless_options(bad, says):
    with pytest.raises(ValueError, match=says): detect(gaze(np.zeros(30)), SETUP, **bad)


def test_trials_of_a_recording_and_of_a_table():
    trial = Trial("a", 0, 900, gaze(rests([0, 5, 0])), 60., "happy")
    table = Trial("b", 0, 500, gaze([]), np.nan, "sad",
                  fixations=pd.DataFrame(dict(onset=[0.], offset=[500.], duration=[500.], x=[3.], y=[4.])))
    f = detect_all([trial, table, Trial("c", 900, 900, gaze([]), 60.)], SETUP)
    assert f["image"].tolist() == ["a"]*3 + ["b"] and f["trial"].tolist() == [0, 0, 0,
            1] and f["label"].tolist() == ["happy"]*3 + ["sad"]
    assert detect_all([]).columns.tolist() == ["trial", "image", "label", *FIXATION_COLUMNS]


def test_merging_takes_place_and_time_into_account():
    angles = np.zeros((100, 2)); angles[50:, 0] = .8
    assert merged([(0, 49), (52, 99)], angles, 60, 75, 400, 1.) == [(0, 99)]
    assert merged([(0, 49), (52, 99)], angles, 60, 75, 400, .5) == [(0, 49), (52, 99)]
    assert merged([(0, 40), (52, 99)], angles, 60, 75, 400, 1.) == [(0, 40), (52, 99)]
    assert pieces(np.full((3, 2), np.nan)) == []


# --- scores

def table(rows, **more):
    return pd.DataFrame(rows, columns=["onset", "offset"]).astype(float).assign(x=1279.5, y=719.5, **more)


@settings(**FEW)
@given(st.lists(st.integers(1, 60), min_size=2, max_size=24), st.lists(st.integers(1, 60), min_size=2, max_size=24))
def test_no_fixation_matches_twice(a, b):
    rows = lambda steps: table(np.cumsum(steps)[:len(steps)//2*2].reshape(-1, 2))
    f, t = rows(a), rows(b)
    got = [tuple(x) for x in match(f, t)]
    want = []
    for i, (p, q) in enumerate(f[["onset", "offset"]].to_numpy()):
        for j, (u, v) in enumerate(t[["onset", "offset"]].to_numpy()):
            both = min(q, v) - max(p, u)
            if both > 0 and both/(max(q, v) - min(p, u)) > .5: want.append((i, j))
    assert got == want and len({i for i, _ in got}) == len({j for _, j in got}) == len(got)


def test_splitting_and_joining_both_cost():
    t = table([(0, 300), (350, 650)], seen=1.)
    whole, split, joined = table([(10, 290), (360, 650)]), table([(0, 140), (150, 300), (350, 650)]), table([(0, 650)])
    both = lambda f: tuple(score([(f, t)])[k] for k in ("recall", "precision"))
    assert both(whole) == (1, 1) and both(split) == (.5, 1/3) and both(joined) == (0, 0)
    assert score([(whole, t), (split, t)])["recall"] == .75 and score([(whole, t)])["longer"] == -15


def test_what_the_tracker_did_not_see_is_set_aside():
    t = table([(0, 300), (350, 650)], seen=[1., .3])
    assert score([(table([(0, 300), (400, 480)]), t)]) == dict(recall=1, precision=1, error=0, longer=0, true=1,
                                                               found=1)
    nothing = score([(table([]), table([(0, 300)], seen=.2))])
    assert np.isnan(nothing["recall"]) and np.isnan(nothing["precision"]) and nothing["true"] == 0


def test_error_is_an_angle():
    t = table([(0, 300)], seen=1.)
    assert abs(score([(table([(0, 300)]).assign(x=1279.5 + DEGREE), t)], SETUP)["error"] - 1) < 1e-3

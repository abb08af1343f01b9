"The simulated study: it is what it says, it is labelled, and detection holds its bar on it."
import time

import numpy as np, pandas as pd, pytest
from rbdm_nb.corpora.datasets import load
from rbdm_nb.gaze.fixations import detect_all, score
from rbdm_nb.gaze.perception import Setup
from rbdm_nb.reproducibility import rng
from rbdm_nb.gaze.simulation import (ANNOTATORS, SHORTEST, Annotator, Tracker, clock, eye, log_text, places,
                                     saccade_ms, scan_path, session, shares, simulate, states, simulated_study, track)

SETUP = Setup()


@pytest.fixture(scope="module")
def faces(): return load("synthetic", split="test", n=12, image_size=64, seed=1)


@pytest.fixture(scope="module")
def noisy():
    "Studies at the bar's noise, on seeds that no threshold was set on."
    return [simulated_study(n_images=12, seed=seed, tracker=Tracker(noise=.5)) for seed in (11, 12, 13)]


# --- the bar

@pytest.mark.parametrize("algorithm", ["ivt", "idt"])
def test_detection_holds_its_bar_at_half_a_degree(noisy, algorithm):
    pairs = [(detect_all(r.trials(), s.setup, algorithm=algorithm), s.truth[s.truth["annotator"] == name])
             for s in noisy for name, r in s.recordings.items()]
    got = score(pairs, SETUP)
    assert got["true"] > 400 and got["recall"] >= .95 and got["precision"] >= .95 and got["error"] < .4, got


def test_less_noise_places_fixations_better(noisy):
    s = simulated_study(n_images=12, seed=11, tracker=Tracker(noise=.1, drift=0))
    error = lambda s: score([(detect_all(r.trials(), s.setup), s.truth[s.truth["annotator"] == n])
                             for n, r in s.recordings.items()])["error"]
    assert error(s) < .6*error(noisy[0])


# --- labels and seeds

def test_everything_says_that_it_is_simulated(faces, tmp_path):
    r, truth = simulate(faces[:2], ANNOTATORS[0], tmp_path/"a.tsv")
    first = next(l for l in (tmp_path/"a.tsv").read_text().split("\n") if l[:3] == "MSG")
    assert first.split(
        "\t")[3].startswith(
        "simulated") and r.simulated and "SIMULATED" in r.report(
        )["annotator"] and set(truth["annotator"]) == {"simulated-1"}


def test_same_seed_same_file_other_seed_another(faces, tmp_path):
    text = lambda name, **o: (simulate(faces[:2], ANNOTATORS[0], tmp_path/name, **o), (tmp_path/name).read_bytes())[1]
    assert text("a") == text("b") != text("c", seed=1)
    assert text("d", tracker=Tracker(noise=0)) != text("a")


def test_a_study_keeps_its_files_and_knows_its_annotators(tmp_path):
    s = simulated_study(n_images=3, annotators=(Annotator("simulated-x", fixations=3),), folder=tmp_path, image_size=48)
    assert [f.name
            for f in tmp_path.iterdir(
        )] == ["simulated-x.tsv"] and list(s.recordings) == ["simulated-x"] and len(s.images) == 3
    assert {t.image for t in s.recordings["simulated-x"].trials()} == set(s.images.names) == set(s.truth["image"])
    for n in (0, 5):
        with pytest.raises(ValueError, match="from 1 to 4"): simulated_study(annotators=n)


# --- eyes

def test_scan_paths_follow_habits(faces):
    at = places(faces.extras["landmarks"][0], faces.extras["action_units"][0])
    for a in ANNOTATORS:
        looks = [r for k in range(150) for r, *_ in scan_path(at, a, SETUP, 64, rng(k, a.name))]
        share, p = pd.Series(looks).value_counts(normalize=True), pd.Series(shares(at, a))
        p = p*(1 - p)                                           # where the chain that never stays settles
        assert (share - p/p.sum()).abs().max() < .04, a.name
    assert shares(at, ANNOTATORS[0])["left eye"] > shares(at, ANNOTATORS[1])["left eye"]


def test_action_units_are_looked_at_where_they_show(faces):
    masks = faces.extras["action_units"][:]
    k = int(np.flatnonzero(masks.any((1, 2, 3)))[0])
    only = Annotator("simulated-units", eyes=0, nose=0, mouth=0, elsewhere=0, landing=0, fixations=40)
    at = places(faces.extras["landmarks"][k], masks[k])
    for region, x, y, _ in scan_path(at, only, SETUP, 64, rng(0)):
        column, row = np.rint(SETUP.to_image([x, y], 64)).astype(int)
        assert region.startswith("AU") and masks[k][:, row, column].any()


def test_fixations_last_as_they_should(faces):
    ms = np.array([d for k in range(200) for *_, d in scan_path(places(faces.extras["landmarks"][0], []), ANNOTATORS[0],
                                                                SETUP, 64, rng(k))])
    assert abs(np.median(ms)/250 - 1) < .06 and abs(np.log(ms).std()/.35 - 1) < .15 and ms.min() >= SHORTEST


def test_the_main_sequence_and_its_profile(faces):
    stops, _, _ = session(faces, ANNOTATORS[0], SETUP, 0)
    xy = stops[["x", "y"]].to_numpy()
    gap = stops["onset"].to_numpy()[1:] - stops["offset"].to_numpy()[:-1]
    assert np.allclose(gap, saccade_ms(SETUP.angle_between(xy[:-1], xy[1:])))
    a, b = stops.iloc[3], stops.iloc[4]
    t = np.linspace(a["offset"], b["onset"], 401)
    path = eye(stops, t)
    speed = np.hypot(*np.gradient(path, t, axis=0).T)
    length = np.hypot(b["x"] - a["x"], b["y"] - a["y"])
    # 15/8 of the mean: least jerk
    assert np.allclose(speed.max(), 1.875*length/(b["onset"] - a["offset"]),
                       rtol=1e-3) and abs(speed.argmax() - 200) <= 1
    assert np.allclose(eye(stops, stops[["onset", "offset"]].to_numpy().mean(1)), xy)


# --- tracker

def still(n=1): return pd.DataFrame(dict(image="a", region="centre", onset=[0.], offset=[1e9], x=[1279.5], y=[719.5]))


def test_noise_and_drift_are_what_is_asked_for():
    t = track(still(), 60_000, SETUP, Tracker(noise=.5, drift=0, blinks=0, losses=0, dropped=0), 0, "a")
    assert len(t) == 3600
    for c, at in (("rawx", 1279.5), ("rawy", 719.5)):
        assert abs((t[c] - at).std()/float(SETUP.to_pixels(.5))
                   - 1) < .05 and abs(np.corrcoef(t[c][1:], t[c][:-1])[0, 1]) < .06
    ends = [track(still(), 60_000, SETUP, Tracker(noise=0, drift=.3, blinks=0, losses=0, dropped=0), k,
                  "a")[["rawx", "rawy"]].iloc[-1].to_numpy() - (1279.5, 719.5) for k in range(60)]
    assert abs(np.std(ends)/float(SETUP.to_pixels(.3)) - 1) < .25


def test_blinks_losses_and_dropped_samples():
    times = np.arange(0, 1_200_000, 1000/60)
    s = states(times, Tracker(losses=0), rng(0))
    assert set(s) == {7, 4} and abs((s == 4).mean()/(12*.175/60) - 1) < .15
    assert set(states(times, Tracker(blinks=0), rng(0))) == {7, 16}
    t = track(still(), 600_000, SETUP, Tracker(dropped=.05), 0, "a")
    assert abs(len(t)/36000 - .95) < .005 and (t.loc[t["state"] != 7,
                                                     ["rawx", "rawy", "avgx", "avgy",
                                                      "psize"]] == 0).all().all() and not t.loc[t["state"] != 7,
            "fix"].any()


@pytest.mark.parametrize("rate", [30, 60, 500])
def test_recordings_have_the_trackers_rate(faces, tmp_path, rate):
    r, truth = simulate(faces[:1], ANNOTATORS[0], tmp_path/"a.tsv", tracker=Tracker(rate=rate))
    assert abs(r.rate/rate - 1) < .01 and truth["seen"].between(0, 1).all()


# --- the file

def pytribe_line(s):
    "A sample as PyTribe's _log_sample writes it."
    keys = ("timestamp time fix state rawx rawy avgx avgy psize Lrawx Lrawy Lavgx Lavgy Lpsize Lpupilx Lpupily Rrawx "
            "Rrawy Ravgx Ravgy Rpsize Rpupilx Rpupily".split())
    return "\t".join(map(str, [s[k] for k in keys]))


def test_lines_are_pytribes():
    t = track(still(), 2000, SETUP, Tracker(), 3, "a")
    header, *lines = log_text(t, [(-1., "simulated"), (40.2, "hello there")]).removesuffix("\n").split("\n")
    for line, row in zip((l for l in lines if l[:3] != "MSG"), t.to_dict("records")):
        f = dict(zip(header.split("\t"), line.split("\t")))
        s = (row | {k: v for e in "LR" for k, v in {f"{e}rawx": row["rawx"], f"{e}rawy": row["rawy"],
                                                    f"{e}avgx": row["avgx"], f"{e}avgy": row["avgy"],
                                                    f"{e}psize": row["psize"], f"{e}pupilx": f[f"{e}pupilx"],
                                                    f"{e}pupily": f[f"{e}pupily"]}.items()})
        assert line == pytribe_line(s | dict(timestamp=f["timestamp"], time=f["time"]))
        assert f["timestamp"] == f"2020-01-01 10:00:{row['time']/1000:06.3f}" and int(
            f["time"]) - int(lines[1].split("\t")[1]) == row["time"]
    assert lines[0] == "MSG\t2020-01-01 09:59:59.999\t\tsimulated"
    assert "MSG\t2020-01-01 10:00:00.40\t80125236\thello there" in lines and lines.index(
        "MSG\t2020-01-01 10:00:00.40\t80125236\thello there") == 4


@pytest.mark.parametrize("ms", [0, 7, 70, 700, 999, 61_005])
def test_clock_of_messages_as_pytribe_has_it(ms):
    t = 1577872800 + ms/1000   # 2020-01-01 10:00 in UTC
    pytribe = "%s.%d" % (time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(t)), round(t % 1, 3)*1000)
    assert clock(ms, False) == pytribe and clock(ms, True).split(".")[1] == f"{ms % 1000:03d}"


def test_trials_and_truth_agree(noisy):
    s = noisy[0]
    for name, r in s.recordings.items():
        trials, known = r.trials(), s.truth[s.truth["annotator"] == name]
        assert sorted(t.image for t in trials) == sorted(s.images.names) and all(t.complete
                and t.rect == (680, 120, 1200, 1200) for t in trials)
        for t in trials:
            k = known[known["image"] == t.image]
            assert k["onset"].min(
                ) >= t.onset - 1 and k[
                "offset"].max() <= t.offset + 18 and k["region"].iloc[0] == "centre" and (k["duration"] > 0).all()
    a, b = ([t.image for t in r.trials()] for r in s.recordings.values())
    assert a != b                                               # an order of its own for everyone
    right = np.mean([t.label == s.images.classes[s.images.labels[list(s.images.names).index(t.image)]]
                     for r in s.recordings.values() for t in r.trials()])
    assert .6 < right <= 1


def test_gaze_is_where_the_truth_says(faces, tmp_path):
    r, truth = simulate(faces[:4], ANNOTATORS[1], tmp_path/"a.tsv",
                        tracker=Tracker(noise=0, drift=0, blinks=0, losses=0, dropped=0))
    for row in truth.to_dict("records"):
        s = r.samples[(r.samples["time"] > row["onset"] + 1) & (r.samples["time"] < row["offset"] - 1)]
        assert len(s) and np.allclose(s[["x", "y"]], [row["x"], row["y"]], atol=1e-3) and row["seen"] > .85

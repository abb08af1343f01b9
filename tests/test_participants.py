"Simulated participants: what is known about them must come out of the same functions that people's clicks go through."
from dataclasses import replace
import numpy as np, pytest
from rbdm_nb.corpora.datasets import load
from rbdm_nb.humans.agreement import exclusion, kept_trials, pair_correlations
from rbdm_nb.humans.clickmaps import attention_map, click_masks, click_trials, dice
from rbdm_nb.humans.clicks import clicks, pair_design, read_study, save_bids, trials
from rbdm_nb.humans.participants import (GUESSER, SKIPPER, Clicker, clickers, kind_of_participants, scene,
                                         simulated_people)
from rbdm_nb.masking import ellipse_mask

SIZE, DIFFICULTY = 64, .3


@pytest.fixture(scope="module")
def study():
    corpus = load("synthetic", split="test", n=64, image_size=SIZE, seed=0, difficulty=DIFFICULTY)
    return corpus, pair_design(corpus, per_pair=1)


@pytest.fixture(scope="module")
def people(study): return simulated_people(*study, 24, difficulty=DIFFICULTY)[0]


def excluded(people, rule):
    table = exclusion(trials(people), rule)
    return set(table.index[table.excluded])


def test_exactly_the_two_planted_ones_are_excluded(people):
    "By the paper's rule; the robust one finds them too, but its scale is small where people are alike."
    names = {f"simulated{k + 1:02d}" for k in (GUESSER, SKIPPER)}
    assert excluded(people, "sigma") == names and excluded(people, "mad") >= names


def test_accuracy_and_clicks_are_those_of_people(people):
    answers = trials(people)
    able = kept_trials(answers, exclusion(answers))
    assert .75 <= able.correct.mean() <= .92 and 4 <= able.clicks.mean() <= 9
    r = pair_correlations(able).set_index(["one", "other"]).r
    assert r["clicks", "time_ms"] > .8 and r["clicks", "accuracy"] < 0      # neither is put in


def test_clicks_of_who_looks_for_evidence_recover_its_regions(study):
    corpus, design = study
    keen = tuple(Clicker(f"simulatedkeen{k}", habit=0, landing=.01, noise=.2) for k in range(4))
    made = clicks(simulated_people(corpus, design, keen, difficulty=DIFFICULTY)[0])
    masks, rows = click_masks(made, list(corpus.names), SIZE, .08), click_trials(made, list(corpus.names))
    maps = attention_map(masks, rows.image, list(design.image))
    seen = ~np.isnan(maps).all((1, 2))
    truth = np.stack([scene(corpus, row, DIFFICULTY).masks.any(0) for _, row in design.iterrows()])[seen]
    found = maps[seen] >= .5
    assert dice(found, truth).mean() > dice(ellipse_mask(found, aspect=1), truth).mean() + .1


def test_events_survive_files(study, people, tmp_path):
    who = f"simulated{SKIPPER + 1:02d}"
    starts = people.index[people.event == "run_start"]
    own = people.iloc[starts[SKIPPER]:starts[SKIPPER + 1]].reset_index(drop=True)
    own.to_csv(tmp_path/"one.csv", index=False)
    save_bids(own, tmp_path/"bids")
    for path in (tmp_path/"one.csv", tmp_path/"bids"):
        back = read_study(path, study[1])
        assert kind_of_participants(back) == "simulated" and set(trials(back).participant) == {who}
        assert (trials(back).label.to_numpy() == trials(own).label.to_numpy()).all()
        np.testing.assert_allclose(clicks(back)[["x", "y"]], clicks(own)[["x", "y"]])


def test_groups_of_fewer_have_nobody_planted():
    assert all(c.gain and not c.skips for c in clickers(12)) and len({c.name for c in clickers(24)}) == 24
    assert clickers(24)[:3] == tuple(replace(c) for c in clickers(12)[:3])

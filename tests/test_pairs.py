"""Networks of two expressions: killed and resumed, chance in counted draws, votes against slow ones."""
import os, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from rbdm_nb.corpora.datasets import Corpus
from rbdm_nb.humans.pairs import (PAIRS, TIES, VOTES, of_classes, pair_corpus, pairs_of, restricted, revealed,
                                  score_matrix, two_afc, vote, without)

RUN = [sys.executable, str(Path(__file__).with_name("pairs_run.py"))]
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(*args):
    done = subprocess.run([*RUN, *map(str, args)], capture_output=True, text=True, env=QUIET, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    return [l for l in done.stdout.splitlines() if l.startswith("FINGERPRINT")]


def finished_epochs(store): return len(list(Path(store).glob("epoch/*/meta.json")))


def test_killed_pairs_end_like_undisturbed_ones(tmp_path):
    "Killed within the first pair or the second; then the state that training would go on from is lost, too."
    undisturbed = run(tmp_path/"undisturbed", 3)
    assert len(undisturbed) == 2 and len({l.split()[1] for l in undisturbed}) == 2
    for least in (1, 4):
        process = subprocess.Popen([*RUN, str(tmp_path/"killed"), "3"], env=QUIET, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        end = time.time() + 600
        while finished_epochs(tmp_path/"killed") < least and process.poll() is None and time.time() < end:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert least <= finished_epochs(tmp_path/"killed") < 6, "the run was to be killed before its last epoch"
    assert run(tmp_path/"killed", 3) == undisturbed
    for state in (tmp_path/"killed").glob("epoch/*/state.npz"): state.unlink()
    assert run(tmp_path/"killed", 3) == undisturbed


# --- chance is counted

COUNTS = st.lists(st.integers(1, 9), min_size=2, max_size=5)


def corpus_of(counts, seed=0):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    images = np.arange(len(labels)).astype("uint8").reshape(-1, 1, 1, 1)
    return Corpus(images, labels, [f"class {k}" for k in range(len(counts))], [f"i{i}" for i in range(len(labels))])


@given(COUNTS, st.integers(0, 2**32 - 1), st.none() | st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_a_pair_is_balanced_and_depends_on_its_counters_alone(counts, seed, epoch):
    corpus = corpus_of(counts)
    for a, b in pairs_of(len(counts)):
        pair = pair_corpus(corpus, a, b, seed, epoch)
        assert list(pair.counts()) == [min(counts[a], counts[b])]*2
        rows = [list(corpus.names).index(n) for n in pair.names]
        assert rows == sorted(rows)
        assert [(a, b)[k] for k in pair.labels] == list(corpus.labels[rows])
        assert pair.digest == pair_corpus(corpus, a, b, seed, epoch).digest


def test_each_image_of_the_larger_class_is_taken_equally_often():
    corpus = corpus_of([3, 12])
    taken = sum(np.isin(corpus.names, pair_corpus(corpus, 0, 1, 0, epoch).names) for epoch in range(2000))
    assert (taken[corpus.labels == 0] == 2000).all()
    assert np.abs(taken[corpus.labels == 1]/2000 - 0.25).max() < 5*np.sqrt(.25*.75/2000)


def test_what_is_asked_of_classes_that_are_not_there_is_refused():
    corpus = corpus_of([2, 2, 2])
    for pair in ((1, 1), (1, 0), (0, 3), (-1, 1)):
        with pytest.raises(ValueError, match="no pair of the 3 classes"): pair_corpus(corpus, *pair)
    with pytest.raises(ValueError, match="no image shows 'class 1'"):
        pair_corpus(corpus[corpus.labels != 1], 0, 1)
    with pytest.raises(ValueError, match="unknown label"): of_classes(corpus, ["class 0", "cat"])
    assert of_classes(corpus, ["class 2", "class 0"]).counts().tolist() == [2, 2]


def test_faces_of_the_study_leave_with_their_copies_and_by_name():
    corpus = corpus_of([3, 3])
    study = corpus[[1, 4]]
    assert list(without(corpus, study).names) == ["i0", "i2", "i3", "i5"]
    again = Corpus(study.images[:], study.labels, study.classes, ["x", "y"], split="valid")
    assert list(without(corpus, again).names) == ["i0", "i2", "i3", "i5"]
    other = Corpus(study.images[:] + 100, study.labels, study.classes, study.names, split="valid")
    assert len(without(corpus, other)) == 6
    large = Corpus(np.zeros((1, 2, 2, 1), "uint8"), [0], corpus.classes, ["z"])
    with pytest.raises(ValueError, match="cannot be told"): without(corpus, large)


# --- votes

def slowly(scheme, logits, counts):
    "Scores of one image, one class and one pair at a time."
    n = len(counts)
    raw, r = np.zeros((n, n)), np.zeros((n, n))
    for k, (i, j) in enumerate((i, j) for i in range(n) for j in range(i + 1, n)):
        raw[i, j], raw[j, i] = logits[k]
        e = np.exp(logits[k] - logits[k].max())
        r[i, j], r[j, i] = e/e.sum()
    others = [[j for j in range(n) if j != i] for i in range(n)]
    if scheme == "simple": return [sum(raw[i, j] > raw[j, i] for j in others[i]) for i in range(n)]
    if scheme == "max_logit": return [sum(raw[i, j] for j in others[i] if raw[i, j] > raw[j, i]) for i in range(n)]
    if scheme == "weighted": return [sum(r[i, j] for j in others[i]) for i in range(n)]
    if scheme == "confidence": return [sum(r[i, j] for j in others[i] if raw[i, j] > raw[j, i]) for i in range(n)]
    if scheme == "nd": return [1 - max(max(r[j, i] - r[i, j], 0) for j in others[i]) for i in range(n)]
    if scheme == "lvpc":
        def part(i, j):
            low, high = min(r[i, j], r[j, i]), max(r[i, j], r[j, i])
            return r[i, j] - low + low/2 + counts[i]/(counts[i] + counts[j])*(1 - high)
        return [sum(part(i, j) for j in others[i]) for i in range(n)]
    # pe: least squares with the sum as an equation of overwhelming weight
    rows = [r[j, i]*np.eye(n)[i] - r[i, j]*np.eye(n)[j] for i in range(n) for j in others[i]]
    return np.linalg.lstsq(np.array([*rows, 1e6*np.ones(n)]), [*[0]*len(rows), 1e6], rcond=None)[0]


LOGITS = st.integers(2, 8).flatmap(lambda n: hnp.arrays(
    "float32", (3, n*(n - 1)//2, 2), elements=st.floats(-4, 4, width=32)))


@pytest.mark.parametrize("scheme", VOTES)
@given(logits=LOGITS)
@settings(max_examples=30, deadline=None)
def test_votes_are_those_of_slow_ones(scheme, logits):
    n = score_matrix(logits).shape[1]
    counts = np.arange(1, n + 1)
    labels, scores, tied = vote(logits, scheme, counts=counts)
    for one, said, got, tie in zip(logits.astype(float), labels, scores, tied):
        expected = slowly(scheme, one, counts)
        np.testing.assert_allclose(got, expected, atol=1e-6)
        assert got[said] == got.max() and tie == ((got == got.max()).sum() > 1)


@given(LOGITS)
@settings(max_examples=60, deadline=None)
def test_scores_of_a_pair_sum_to_one_and_rules_choose_among_the_best(logits):
    r = score_matrix(logits)
    np.testing.assert_allclose(r + r.transpose(0, 2, 1), np.broadcast_to(1 - np.eye(r.shape[1]), r.shape), atol=1e-12)
    for ties in TIES:
        labels, scores, tied = vote(logits, ties=ties)
        best = scores == scores.max(1, keepdims=True)
        assert best[np.arange(3), labels].all() and (tied == (best.sum(1) > 1)).all()
        assert (labels == vote(logits, ties=ties)[0]).all()
        if ties == "first": assert (labels == best.argmax(1)).all()
    true, false = np.zeros(3, int), np.full(3, r.shape[1] - 1)
    assert (two_afc(logits, true, false) == (r[:, 0, -1] > r[:, -1, 0])).all()
    assert not (two_afc(logits, true, false) & two_afc(logits, false, true)).any()


def test_a_chance_rule_does_not_depend_on_the_images_around():
    logits = np.zeros((5, 28, 2))
    alone = [vote(logits[:k + 1], ties="random", seed=3)[0][k] for k in range(5)]
    assert alone == vote(logits, ties="random", seed=3)[0].tolist()


@pytest.mark.parametrize("logits, said", [
    (np.zeros((3, 27, 2)), "28 of 8"), (np.zeros((3, 28)), "28 of 8"), (np.zeros((3, 28, 3)), "28 of 8"),
    (np.zeros((3, 0, 2)), "28 of 8"), (np.full((3, 28, 2), np.nan), "3 of 3 images"),
    (np.full((3, 28, 2), np.inf), "3 of 3 images")])
def test_logits_that_cannot_be_are_refused(logits, said):
    for ask in (score_matrix, vote, lambda x: two_afc(x, [0]*3, [1]*3)):
        with pytest.raises(ValueError, match=said): ask(logits)


@pytest.mark.parametrize("true, false", [([0, 1], [0, 2]), ([0, 8], [1, 1]), ([-1, 0], [1, 1]), ([0], [1]),
                                         ([0., 1.], [2., 3.])])
def test_trials_that_cannot_be_are_refused(true, false):
    with pytest.raises(ValueError, match="true|class"): two_afc(np.zeros((2, 28, 2)), true, false)
    with pytest.raises(ValueError, match="true|class"): restricted(np.zeros((2, 8)), true, false)


def test_pairs_are_those_of_the_expressions():
    assert len(PAIRS) == 28 and len(set(PAIRS)) == 28 and all(a < b < 8 for a, b in PAIRS)


@given(hnp.arrays(bool, st.tuples(st.just(2), st.integers(1, 5), st.integers(1, 5))), st.floats(0, 3))
@settings(max_examples=40, deadline=None)
def test_what_is_revealed_was_shown_and_the_ratio_is_kept(masks, ratio):
    images = np.random.default_rng(0).integers(1, 255, (*masks.shape, 3), "uint8")
    hidden = np.zeros_like(images)
    taught = revealed(images, masks, [0, 1], ("a", "b"), hidden, ratio)
    assert len(taught) == 18 + round(18*ratio)
    shown = taught.images[:18].reshape(2, 9, *images.shape[1:])
    for m in range(2):
        assert (shown[m, 4] == np.where(masks[m][..., None], images[m], 0)).all()
        for k, (y, x) in enumerate((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)):
            for row, column in np.ndindex(masks.shape[1:]):
                inside = 0 <= row - y < masks.shape[1] and 0 <= column - x < masks.shape[2]
                seen = inside and masks[m, row - y, column - x]
                assert (shown[m, k, row, column] == (images[m, row, column] if seen else 0)).all()

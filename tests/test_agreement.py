"""Agreement of people and machines: each number against a plain second way, SciPy, a closed form or the paper's."""
import time, warnings
from itertools import permutations
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from scipy import stats
from rbdm_nb.corpora.datasets import EXPRESSIONS
from rbdm_nb.humans.agreement import (FIGURE_2, afc_accuracy, anova, answered, as_trials, compare_methods, confusion,
                                      confusion_halves, consistency, converted, correlation, counted, dprime,
                                      error_consistency, exclusion, f_of_t, friedman, kept_trials, largest_confusions,
                                      likeness, likeness_intervals, mantel, means_by, one_scale, pair_correlations,
                                      right_answers, row_shares, sign_flip, tukey, two_level, wide)

examples = lambda n: settings(max_examples=n)
seeds = st.integers(0, 10**6)
DESIGN = pd.DataFrame([dict(image=f"{t}-{f}-{k}", true=t, false=f) for t in EXPRESSIONS for f in EXPRESSIONS if t != f
                       for k in range(2)])


def people_of(accuracies, seed=0, design=DESIGN):
    "Trials of people who are right as often as `accuracies` say, on images that chance decides."
    g, parts = np.random.default_rng(seed), []
    for k, accuracy in enumerate(accuracies):
        right = g.permutation(len(design)) < round(accuracy*len(design))
        clicks = g.integers(1, 9, len(design))
        times = clicks*600. + g.normal(size=len(right))
        parts.append(as_trials(design, right, f"p{k}").assign(clicks=clicks, time_ms=times,
                                                              block=1 + np.arange(len(design))//28))
    return pd.concat(parts, ignore_index=True)


# who counts

def test_the_guesser_and_who_skipped_a_block_of_24_are_left_out():
    accuracies = [*np.linspace(.78, .9, 22), .5, .85]
    trials = people_of(accuracies)
    trials = trials[(trials.participant != "p23") | (trials.block != 3)]
    for rule in ("sigma", "mad", "binomial"):
        table = exclusion(trials, rule)
        assert list(table.index[table.excluded]) == ["p22", "p23"], rule
        assert table.why["p23"] == "28 of 112 trials are missing, all of block 3" and not table.why["p0"]
    others = np.array([round(a*112)/112 for a in accuracies[:23]])
    assert exclusion(trials).score["p22"] == pytest.approx((others[22] - others.mean())/others.std(ddof=1))
    assert kept_trials(trials, table).participant.nunique() == 22


@given(st.integers(2, 14), seeds)
@examples(25)
def test_three_sigma_cannot_leave_out_anyone_of_ten_and_says_so(n, seed):
    "The furthest of n values is (n − 1)/√n standard deviations away; one who differs from all others reaches it."
    accuracies = np.full(n, .9)
    accuracies[seed % n] = .1
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        table = exclusion(people_of(accuracies))
    assert table.score.min() == pytest.approx(-(n - 1)/np.sqrt(n))
    assert table.excluded.sum() == (n > 10) and any("leaves out nobody" in str(w.message) for w in told) == (n <= 10)


def test_chance_and_spread_by_closed_forms():
    trials = people_of([.5, .6, .7, .8])
    table = exclusion(trials, "binomial")
    tails = [sum(stats.binom.pmf(k, 112, .5) for k in range(round(a*112), 113)) for a in (.5, .6, .7, .8)]
    np.testing.assert_allclose(table.score, tails, rtol=1e-9)
    assert table.excluded.tolist() == [True, False, False, False]
    scores = exclusion(people_of([.6, .7, .8, .85, .9]), "mad").score
    x = np.array([round(a*112)/112 for a in (.6, .7, .8, .85, .9)])
    np.testing.assert_allclose(scores, (x - x[2])/(1.4826*np.sort(abs(x - x[2]))[2]))
    with pytest.raises(ValueError, match="median deviation is 0"): exclusion(people_of([.8, .8, .8, .5]), "mad")
    with pytest.raises(ValueError, match="did you mean 'sigma'"): exclusion(trials, "sigmas")


def test_who_answered_nothing_is_not_forgotten():
    trials = people_of([.8]*11 + [.8])
    trials.loc[trials.participant == "p11", ["label"]] = None
    with pytest.warns(UserWarning, match="112 of 1344 trials have no answer"): table = exclusion(trials)
    assert table.loc["p11", "missing"] == 112 and table.excluded["p11"] and len(table) == 12


# trials

FAULTS = {"lacks a participant": dict(participant=None), "a class that is none of": dict(false="joy"),
          "one label twice": dict(false="true"), "not on offer": dict(label="other"),
          "called right": dict(correct="not"), "the second of one participant": dict(image="another")}


@pytest.mark.parametrize("said, change", FAULTS.items())
@given(row=st.integers(0, 111))
@examples(5)
def test_a_faulty_trial_is_refused_and_named(said, change, row):
    trials = people_of([1.])
    trials["correct"] = trials.correct.astype(object)
    (column, value), = change.items()
    third = next(e for e in EXPRESSIONS if e not in (trials.true[row], trials.false[row]))
    values = {"true": trials.true[row], "other": third, "not": False, "another": trials.image[(row + 1) % 112]}
    trials.loc[row, column] = values.get(value, value)
    if column == "label": trials.loc[row, "correct"] = False
    for use in (answered, confusion, exclusion, means_by):
        with pytest.raises(ValueError, match=said) as error: use(trials)
        assert "the first is of participant" in str(error.value)


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="no column label"): confusion(people_of([.8]).drop(columns="label"))
    with pytest.raises(ValueError, match="no column clicks"): means_by(people_of([.8]).drop(columns="clicks"))
    with pytest.raises(ValueError, match="right must be bool"): as_trials(DESIGN, np.ones(112))


# confusions

@given(seeds)
@examples(8)
def test_confusions_by_counting(seed):
    trials = people_of([.6, .9], seed).sample(frac=.7, random_state=seed)
    count, row, offer = (confusion(trials, per) for per in ("count", "row", "opportunity"))
    for true in EXPRESSIONS:
        own = trials[trials.true == true]
        for label in EXPRESSIONS:
            n = (own.label == label).sum()
            on_offer = len(own) if label == true else (own.false == label).sum()
            assert count.loc[true, label] == n
            np.testing.assert_allclose(row.loc[true, label], n/len(own))
            np.testing.assert_allclose(offer.loc[true, label], n/on_offer if on_offer else np.nan)
    pd.testing.assert_frame_equal(row_shares(count), row, check_names=False)


def test_the_papers_matrix_says_what_the_paper_says():
    assert FIGURE_2.shape == (8, 8) and FIGURE_2.sum(axis=1).between(.99, 1.01).all()
    assert np.diag(FIGURE_2).mean() == pytest.approx(.84) and (np.diag(FIGURE_2) > .79).all()
    named = {("contempt", "neutral"), ("fear", "surprise"), ("anger", "disgust"), ("disgust", "contempt")}
    assert set(largest_confusions(FIGURE_2)) == named
    # a cell's label was on offer in a seventh of the trials: .06 is 42 % of them
    assert .06*7 == pytest.approx(.42)
    assert likeness(FIGURE_2, np.eye(8) + 1e-3*FIGURE_2.to_numpy())["r"] == pytest.approx(.998, abs=5e-4)


def test_correlations_of_pairs_against_scipy():
    trials = people_of([.7, .8, .9])
    table, pairs = means_by(trials), pair_correlations(trials)
    assert len(table) == 56 and (table.trials == 6).all() and (pairs.n == 56).all()
    for row in pairs.itertuples():
        r, p = stats.pearsonr(table[row.one], table[row.other])
        assert row.r == pytest.approx(r) and row.p == pytest.approx(p) and row.low < r < row.high
    assert [len(means_by(trials, u)) for u in ("image", "participant", "trial")] == [112, 3, 336]
    assert np.isnan(correlation([1, 1, 1], [1, 2, 3])["r"]) and correlation([1, np.nan, 2, 3], [1, 5, 2, 4])["n"] == 3
    # at the paper's n its three r have the p that follow from them
    for r, p in ((.93, 4e-25), (-.56, 7e-6), (-.65, 6e-8)):
        x, noise = np.linalg.qr(np.c_[np.ones(56), np.random.default_rng(0).normal(size=(56, 2))])[0].T[1:]
        found = correlation(x, r*x + np.sqrt(1 - r**2)*noise)
        assert found["r"] == pytest.approx(r) and found["p"] == pytest.approx(p, rel=.35)


# matrices

@given(st.integers(3, 5), seeds, st.sampled_from(["pearson", "spearman"]))
@examples(15)
def test_mantel_by_trying_all_namings(k, seed, method):
    g = np.random.default_rng(seed)
    a, b = g.random((2, k, k))
    b = b + a*g.random()
    off = ~np.eye(k, dtype=bool)
    r_of = dict(pearson=lambda x, y: np.corrcoef(x, y)[0, 1], spearman=lambda x, y: stats.spearmanr(x, y)[0])[method]
    every = [r_of(a[off], b[np.ix_(o, o)][off]) for o in map(list, permutations(range(k)))]
    found = mantel(a, b, method)
    assert found["r"] == pytest.approx(every[0]) and found["namings"] == len(every)
    assert found["p"] == pytest.approx(np.mean(np.array(every) >= every[0] - 1e-12))


def test_mantel_over_40320_namings_in_less_than_a_second():
    g = np.random.default_rng(0)
    spent, p = [], []
    for _ in range(3):
        start = time.process_time()
        p.append(mantel(g.random((8, 8)), g.random((8, 8)))["p"])
        spent.append(time.process_time() - start)
    assert min(spent) < 1 and all(0 < x <= 1 for x in p)
    renamed = list(g.permutation(8))
    assert mantel(FIGURE_2.iloc[renamed, renamed], FIGURE_2)["p"] == pytest.approx(1/40320)   # frames find their names
    m = FIGURE_2.to_numpy()
    assert mantel(m, m[np.ix_(renamed, renamed)])["r"] < .99


def test_what_cannot_be_compared_is_refused():
    m = FIGURE_2.to_numpy()
    for bad, said in ((m[:7, :7], "of one size"), (np.where(m == .8, np.nan, m), "not a number"),
                      (np.eye(8), "all off-diagonal cells")):
        with pytest.raises(ValueError, match=said): likeness(m, bad)
    with pytest.raises(ValueError, match="too many namings"): mantel(np.random.rand(10, 10), np.random.rand(10, 10))
    with pytest.raises(ValueError, match="different classes: .*joy"):
        likeness(FIGURE_2, FIGURE_2.rename(index=dict(happy="joy"), columns=dict(happy="joy")))
    with pytest.raises(ValueError, match="different orders"): likeness(FIGURE_2, FIGURE_2.iloc[::-1])


def test_random_confusions_look_like_people_over_all_cells_only():
    g, off = np.random.default_rng(0), ~np.eye(8, dtype=bool)
    found = []
    for _ in range(40):
        m = np.diag(np.clip(g.normal(.5, .05, 8), .1, .9))
        m[off] = ((1 - m.diagonal())[:, None]*g.dirichlet(np.ones(7), 8)).ravel()
        found.append(likeness(FIGURE_2, m))
    found = pd.DataFrame(found)
    assert found.r.median() > .88 and abs(found.off_diagonal.median()) < .1 and .3 < found.mantel_p.median() < .7


def test_intervals_of_likeness_lie_about_the_value_and_tell_a_like_machine_from_another():
    g = np.random.default_rng(1)
    wrong = np.where(g.random(len(DESIGN)) < .25, .7, .05)
    trials = pd.concat([as_trials(DESIGN, g.random(len(DESIGN)) > wrong, f"p{k}") for k in range(20)])
    like = sum(confusion(as_trials(DESIGN, g.random(len(DESIGN)) > wrong), "count") for _ in range(8))
    other = confusion(people_of([.8]*8, 5), "count")
    table = likeness_intervals(trials, dict(like=like, other=other), draws=60)
    assert ((table.low <= table.value) & (table.value <= table.high)).all() and (table.undefined == 0).all()
    values = table.set_index(["machine", "against", "measure"]).value
    off_diagonal = likeness(confusion(trials), row_shares(like))["off_diagonal"]
    assert values["like", "", "off-diagonal"] == pytest.approx(off_diagonal)
    apart = table[(table.against == "other") & (table.measure == "off-diagonal")].iloc[0]
    assert apart.low > 0
    assert confusion_halves(trials, 20).reliability.median() > .8 > confusion_halves(people_of([.8]*6), 20).r.median()
    with pytest.raises(ValueError, match="whole numbers"): likeness_intervals(trials, dict(m=row_shares(like)), draws=2)


# error consistency

@given(seeds, st.integers(4, 60))
@examples(25)
def test_error_consistency_is_cohens_kappa(seed, n):
    from sklearn.metrics import cohen_kappa_score
    g = np.random.default_rng(seed)
    a, b = g.random((2, n)) < g.random((2, 1))
    found = error_consistency(a, b, draws=50)
    if len({*a, *b}) == 1: assert np.isnan(found["kappa"])
    else: assert found["kappa"] == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
    assert found["trials"] == n and 0 <= found["undefined"] <= 50


def test_the_interval_of_kappa_covers_as_often_as_it_says():
    g, covered = np.random.default_rng(0), 0
    for k in range(200):
        a, b = g.random((2, 150)) < .75
        found = error_consistency(a, b, seed=k, draws=200)
        covered += found["low"] <= 0 <= found["high"]
    assert .9 <= covered/200 <= .985
    with pytest.raises(ValueError, match="to the same trials"): error_consistency(a, b[:-1])


def test_consistency_with_people_by_hand():
    trials = people_of([.7, .8, .9]).sample(frac=.9, random_state=0)
    machine = as_trials(DESIGN, np.random.default_rng(3).random(len(DESIGN)) < .8)
    images = list(dict.fromkeys(trials.image))
    machine = machine[machine.image.isin(images)]
    table = consistency(trials, dict(machine=machine), draws=30).set_index("who")
    rows = right_answers(trials, images)
    def kappa(x, y):
        both = x.notna() & y.notna()
        return error_consistency(x[both] == 1, y[both] == 1, draws=1)["kappa"]
    own = right_answers(machine, images).iloc[0]
    assert table.kappa["machine"] == pytest.approx(np.mean([kappa(r, own) for _, r in rows.iterrows()]))
    among = [kappa(rows.iloc[i], rows.iloc[k]) for i in range(3) for k in range(i)]
    assert table.kappa["people among themselves"] == pytest.approx(np.mean(among)) and table.pairs.tolist() == [3, 3]
    assert (table.low <= table.high).all() and (table.undefined == 0).all()
    with pytest.raises(ValueError, match="are unknown"): right_answers(trials, images[1:])


# one scale

def test_published_conversions():
    "83.9 % of two alternatives are d′ 1.40, 52.0 % of eight; machines' 49, 50, 54 % are 82.3, 82.9, 84.9 % of two."
    table = one_scale(dict(people=(.839, 2), simple=(.49, 8), weighted=(.50, 8), multiclass=(.54, 8)))
    np.testing.assert_allclose(table.dprime["people"], 1.40, atol=5e-3)
    np.testing.assert_allclose(table.eight["people"], .520, atol=5e-4)
    np.testing.assert_allclose(table.two[1:], [.823, .829, .849], atol=5e-4)


@given(st.floats(.001, .999), st.integers(2, 12), st.integers(2, 12))
@examples(25)
def test_conversions_come_back(accuracy, m, to):
    there = converted(accuracy, m, to)
    assert 0 < there < 1 and converted(there, to, m) == pytest.approx(accuracy, abs=1e-7)
    assert (dprime(accuracy, m) > 0) == (accuracy > 1/m) or accuracy == pytest.approx(1/m)


def test_dprime_by_a_second_integral_and_by_drawing():
    for m, d in ((2, .5), (3, 1.), (8, 1.4), (8, -1.)):
        x = np.linspace(-9, 12, 40_001)
        mass = stats.norm.pdf(x - d)*stats.norm.cdf(x)**(m - 1)
        assert afc_accuracy(d, m) == pytest.approx(np.trapz(mass, x), abs=1e-7)
        assert dprime(afc_accuracy(d, m), m) == pytest.approx(d, abs=1e-6)
    felt = np.random.default_rng(0).normal(size=(300_000, 4))
    felt[:, 0] += .8
    assert afc_accuracy(.8, 4) == pytest.approx((felt.argmax(1) == 0).mean(), abs=3e-3)
    for bad in (0, 1, np.nan, -.1):
        with pytest.raises(ValueError, match="give trials"): dprime(bad)
    assert dprime(1., 2, trials=50) == pytest.approx(np.sqrt(2)*stats.norm.ppf(.99))
    with pytest.raises(ValueError, match="2 or more"): afc_accuracy(1, 1)


# methods

def dice_frame(seed, pairs=28, shift=(0, .02, .2)):
    g = np.random.default_rng(seed)
    common = g.normal(.4, .1, pairs)
    return pd.DataFrame([dict(method=m, true=f"t{k}", false="f", dice=common[k] + s + g.normal(0, .03))
                         for m, s in zip(("cam", "grad_cam", "extremal"), shift) for k in range(pairs)])


@given(seeds, st.integers(3, 40))
@examples(10)
def test_anova_and_tukey_against_scipy(seed, pairs):
    frame = dice_frame(seed, pairs)
    groups = [g.dice for _, g in frame.groupby("method", sort=False)]
    table, t = anova(frame), tukey(frame)
    found = stats.f_oneway(*groups)
    assert table["F"] == pytest.approx(found.statistic, rel=1e-9)
    assert table["p"] == pytest.approx(found.pvalue, rel=1e-9)
    np.testing.assert_allclose(t.p, stats.tukey_hsd(*groups).pvalue[[0, 0, 1], [1, 2, 2]], atol=1e-9)
    assert f_of_t(t.t) == pytest.approx(table["F"], rel=1e-9)
    # unequal groups: Tukey and Kramer's
    some = frame.drop(frame.index[:1])
    groups = [g.dice for _, g in some.groupby("method", sort=False)]
    np.testing.assert_allclose(tukey(some).p, stats.tukey_hsd(*groups).pvalue[[0, 0, 1], [1, 2, 2]], atol=1e-9)


def test_the_papers_f_and_t_agree_with_each_other():
    "F is the mean of the squared t of balanced groups: the three t that are printed give 85.49, printed is 85.45."
    assert f_of_t([10.31, 12.12, 1.81]) == pytest.approx(85.49, abs=5e-3)
    # groups that have these t: the differences that they imply, with any spread
    g = np.random.default_rng(0)
    noise = [x - x.mean() for x in g.normal(size=(3, 56))]
    mse = sum((x**2).sum() for x in noise)/(3*55)
    means = np.array([1.81, 0, 12.12])*np.sqrt(2*mse/56)
    frame = pd.concat([pd.DataFrame(dict(method=k, dice=m + x)) for k, m, x in zip("abc", means, noise)])
    table = tukey(frame)
    np.testing.assert_allclose(table.t.abs(), [1.81, 10.31, 12.12])
    assert anova(frame)["F"] == pytest.approx(85.49, abs=5e-3) and table.p[0] == pytest.approx(.17, abs=.01)


def test_what_an_analysis_of_variance_refuses():
    frame = dice_frame(0)
    for bad, said in ((frame.assign(dice=np.nan), "missing or infinite"), (frame[:29], "two values each"),
                      (frame[:28], "at least two levels"), (frame.assign(dice=.5), "the same within")):
        for use in (anova, tukey):
            with pytest.raises(ValueError, match=said): use(bad)
    with pytest.raises(ValueError, match="1 of 28 pairs have no dice"): wide(frame[1:])
    with pytest.raises(ValueError, match="at least three methods"): friedman(wide(frame[:56]))


@given(seeds, st.integers(1, 8))
@examples(20)
def test_sign_flips_by_trying_all(seed, n):
    d = np.random.default_rng(seed).normal(.3, 1, n).round(1)
    every = np.array([abs((d*s).sum()) for s in np.array(np.meshgrid(*[(-1, 1)]*n)).reshape(n, -1).T])
    assert sign_flip(d) == pytest.approx((every >= abs(d.sum()) - 1e-9).mean())


def test_sign_flips_by_drawing_agree_with_scipy_and_keep_their_level():
    d = np.random.default_rng(0).normal(.15, 1, 200)
    assert sign_flip(d) == pytest.approx(stats.ttest_1samp(d, 0).pvalue, abs=.02)
    p = [sign_flip(np.random.default_rng(k).normal(size=20), seed=k, draws=400) for k in range(200)]
    assert .01 <= np.mean(np.array(p) <= .05) <= .1
    with pytest.raises(ValueError, match="finite"): sign_flip([1, np.nan])
    with pytest.raises(ValueError, match="at least one"): sign_flip([])


def test_pairs_compared_with_themselves():
    table = wide(dice_frame(0))
    tests = compare_methods(table)
    assert (tests.p_holm >= tests.p).all()
    assert ((tests.low <= tests.difference) & (tests.difference <= tests.high)).all()
    assert tests.set_index(["one", "other"]).p_holm["cam", "extremal"] < .001
    assert friedman(table)["statistic"] == pytest.approx(stats.friedmanchisquare(*table.to_numpy().T).statistic)
    assert friedman(table)["p"] < 1e-6


# people and images

@given(seeds, st.integers(1, 9), st.lists(st.integers(0, 3), min_size=1, max_size=20))
@examples(20)
def test_draws_keep_the_number_of_people_and_of_images_of_each_pair(seed, people, groups):
    of_people, of_images = counted(people, groups, seed, 0)
    assert of_people.sum() == people and len(of_images) == len(groups)
    for group in set(groups): assert of_images[np.array(groups) == group].sum() == groups.count(group)
    again = counted(people, groups, seed, 0)
    assert (of_people == again[0]).all() and (of_images == again[1]).all()


def test_two_levels_know_that_people_differ():
    "The mean of a table of people × images has the variance of both; people alone, or images alone, have less."
    g = np.random.default_rng(0)
    values = g.normal(0, 1, (30, 1)) + g.normal(0, .5, (1, 40)) + g.normal(0, .2, (30, 40))
    def statistic(of_people, of_images):
        weights = np.outer(of_people, of_images)
        return {"mean": np.array([(values*weights).sum()/weights.sum(), np.nan]), "none": np.zeros(2)}
    table = two_level(statistic, 30, np.zeros(40), draws=300).set_index(["one", "other"])
    half = 1.96*np.sqrt(values.mean(1).var(ddof=1)/30 + values.mean(0).var(ddof=1)/40)
    row = table.loc["mean", ""]
    assert row.value == pytest.approx(values.mean()) and (row.high - row.low)/2 == pytest.approx(half, rel=.15)
    assert table.loc["mean", "none"].value == row.value and table.loc["none", ""].high == 0
    with pytest.raises(ValueError, match="none has no value"):
        two_level(lambda people, images: {"none": [np.nan]}, 3, [0], draws=2)


def test_two_levels_of_dice_from_clicks():
    from rbdm_nb.humans.clickmaps import click_masks, click_trials, dice_of, pair_dice, attention_map
    design, g = DESIGN[:6].reset_index(drop=True), np.random.default_rng(0)
    clicks = pd.DataFrame([dict(participant=f"p{k}", trial=i, image=d.image, true=d.true, false=d.false, label=d.true,
                                correct=True, n=n, x=x, y=y) for k in range(6)
                           for i, d in enumerate(design.itertuples(index=False))
                           for n, (x, y) in enumerate(g.normal(.35, .08, (4, 2)).clip(0, 1))])
    masks, trials = click_masks(clicks, design.image, 20, .12), click_trials(clicks, design.image)
    y, x = np.mgrid[:20, :20]
    near, far = (np.stack([np.exp(-((x - c)**2 + (y - c)**2)/12)]*6) for c in (6.5, 14.))
    statistic = dice_of(masks, trials, dict(near=near, far=far), design)
    table = two_level(statistic, 6, list(zip(design.true, design.false)), draws=40).set_index(["one", "other"])
    human = attention_map(masks, trials.image, design.image)
    assert table.value["near", ""] == pytest.approx(pair_dice(human, dict(near=near), design).dice.mean())
    assert table.low["near", "far"] > 0

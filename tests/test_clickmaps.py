"""Click maps: discs and maps against a plain second way, dice and its floors by closed forms, faulty frames refused."""
import warnings
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from rbdm_nb.explain.localisation import unit_regions
from rbdm_nb.humans.clickmaps import (Reading, attention_map, binary, click_masks, click_regions, click_trials, dice,
                                      dice_of, floors, leave_one_out, pair_dice, random_discs, region_table,
                                      sequence_map, split_halves, threshold_curve, to_bytes)

examples = lambda n: settings(max_examples=n)
seeds = st.integers(0, 10**6)
LABELS = ("happy", "sad", "fear")
DESIGN = pd.DataFrame([dict(image=f"{t}-{f}-{k}", true=t, false=f) for t in LABELS for f in LABELS if t != f
                       for k in range(2)])


def clicks_of(people=4, seed=0, right=.8, design=DESIGN):
    "Clicks of made-up people on every image of the design, at places that only chance decides."
    g, rows = np.random.default_rng(seed), []
    for person in range(people):
        for trial, d in enumerate(design.itertuples(index=False)):
            label = d.true if g.random() < right else d.false
            rows += [dict(participant=f"p{person}", trial=trial, image=d.image, true=d.true, false=d.false, label=label,
                          correct=label == d.true, n=n + 1, x=x, y=y)
                     for n, (x, y) in enumerate(g.random((g.integers(1, 6), 2)))]
    return pd.DataFrame(rows)


def discs_again(trial, size, radius):
    "The union of discs, pixel by pixel."
    found = np.zeros((size, size), bool)
    for i in range(size):
        for k in range(size):
            y, x = (i + .5)/size, (k + .5)/size
            found[i, k] = any((x - c.x)**2 + (y - c.y)**2 <= radius**2 for c in trial.itertuples())
    return found


@given(seeds, st.integers(5, 14), st.floats(.15, .6))
@examples(8)
def test_masks_are_the_union_of_discs_of_every_trial_in_order(seed, size, radius):
    clicks = clicks_of(2, seed, design=DESIGN[:4])
    shuffled = clicks.sample(frac=1, random_state=seed)
    trials = click_trials(shuffled, DESIGN.image, correct=False)
    masks = click_masks(shuffled, DESIGN.image, size, radius, correct=False)
    for row, mask in zip(trials.itertuples(), masks, strict=True):
        own = clicks[(clicks.participant == row.participant) & (clicks.trial == row.trial)]
        assert row.clicks == len(own) and row.image == own.image.iloc[0]
        assert (mask == discs_again(own, size, radius)).all()
    # with another order of the rows the masks are the same ones
    first = click_trials(clicks, DESIGN.image, correct=False)
    both = first.merge(trials.assign(at=range(len(trials))), on=["participant", "trial"])
    assert (click_masks(clicks, DESIGN.image, size, radius, correct=False) == masks[both["at"]]).all()


def test_only_right_answers_count_unless_all_are_wanted():
    clicks = clicks_of(3)
    trials = click_trials(clicks, DESIGN.image)
    assert trials.correct.all() and 0 < len(trials) < 3*len(DESIGN)
    assert len(click_masks(clicks, DESIGN.image, 20, .1)) == len(trials)
    assert len(click_masks(clicks, DESIGN.image, 20, .1, correct=False)) == 3*len(DESIGN)
    assert len(click_masks(clicks[:0], DESIGN.image, 20, .1)) == 0 == len(click_trials(clicks[:0], DESIGN.image))
    none = clicks.assign(label=clicks.false, correct=False)
    assert len(click_masks(none, DESIGN.image, 20, .1)) == 0 == len(click_trials(none, DESIGN.image))


FAULTS = {"not on the image": dict(x=1.0001), "lacks a value": dict(y=np.nan),
          "not one of the names": dict(image="other"), "called right": dict(correct=None),
          "neither the true nor the false label": dict(label="anger"),
          "several images or answers": dict(image="sad-fear-1"), "the number n of another": dict(n=None),
          "had in another trial": dict(trial=99)}


@pytest.mark.parametrize("said, change", FAULTS.items())
@given(data=st.data())
@examples(6)
def test_a_fault_in_any_click_is_refused_and_named(said, change, data):
    clicks = clicks_of(2, right=1.)
    sizes = clicks.groupby(["participant", "trial"]).n.transform("size")
    row = data.draw(st.sampled_from(list(clicks.index[(sizes > 1) & (clicks.image != "sad-fear-1")])))
    (column, value), = change.items()
    mate = clicks.index[(clicks.participant == clicks.participant[row]) & (clicks.trial == clicks.trial[row])]
    if column == "n": value = clicks.n[[k for k in mate if k != row][0]]
    if said == "called right": value = not clicks.correct[row]
    clicks = clicks.astype({"correct": object, "x": float})
    clicks.loc[row, column] = value
    if column == "label": clicks.loc[row, "correct"] = False
    with pytest.raises(ValueError, match=said) as error: click_masks(clicks, DESIGN.image, 20, .1)
    assert "the first is click" in str(error.value) and "Correct the file" in str(error.value)


def test_missing_columns_and_senseless_radii_are_refused():
    with pytest.raises(ValueError, match="no column x"): click_trials(clicks_of(1).drop(columns="x"), DESIGN.image)
    for radius in (0, .03, 1.1, np.nan):
        with pytest.raises(ValueError, match="radius"): click_masks(clicks_of(1), DESIGN.image, 20, radius)


@given(seeds)
@examples(15)
def test_attention_maps_are_means_and_weights_are_repetitions(seed):
    g = np.random.default_rng(seed)
    masks, by = g.random((9, 4, 5)) < .5, g.choice(list("ab"), 9)
    by[:2] = "a", "b"
    maps = attention_map(masks, by, ["b", "a"])
    for key, m in zip("ba", maps): np.testing.assert_allclose(m, masks[by == key].mean(0))
    weights = g.integers(0, 3, 9)
    weights[:2] = 1
    again = attention_map(masks.repeat(weights, 0), by.repeat(weights), ["b", "a"])
    np.testing.assert_allclose(attention_map(masks, by, ["b", "a"], weights), again)


def test_what_attention_maps_refuse():
    masks = np.ones((2, 3, 3), bool)
    for bad, said in ((masks*1., "must be bool"), (masks[0], "must be bool")):
        with pytest.raises(ValueError, match=said): attention_map(bad, "ab")
    with pytest.raises(ValueError, match="2 masks, but `by` names 3"): attention_map(masks, "abc")
    for weights in ([1], [1, -1], [1, np.nan]):
        with pytest.raises(ValueError, match="weights"): attention_map(masks, "ab", weights=weights)


def test_the_sequence_is_the_mean_of_what_is_painted_in_order():
    clicks = clicks_of(3, right=1., design=DESIGN[:1])
    y, x = (np.mgrid[:30, :30] + .5)/30
    pictures = []
    for _, trial in clicks.groupby("participant"):
        picture = np.zeros((30, 30, 3))
        for k, c in enumerate(trial.itertuples()):
            late = k/(len(trial) - 1) if len(trial) > 1 else 0
            picture[(x - c.x)**2 + (y - c.y)**2 <= .15**2] = 1, late, 0
        pictures.append(picture)
    np.testing.assert_allclose(sequence_map(clicks, 30, .15), np.mean(pictures, 0))
    with pytest.raises(ValueError, match="of one image"): sequence_map(clicks_of(1), 30, .15)


@given(seeds, st.floats(0, 254), st.sampled_from(["max", "minmax"]))
@examples(30)
def test_bytes_and_thresholds_are_their_formulas(seed, threshold, how):
    m = np.random.default_rng(seed).normal(size=(3, 6, 5))
    lifted = m - m.min((1, 2), keepdims=True) if how == "minmax" else m.clip(0)
    byte = to_bytes(m, how)
    assert np.abs(byte - 255*lifted/lifted.max((1, 2), keepdims=True)).max() <= .5 + 1e-9
    assert (byte.max((1, 2)) == 255).all() and (binary(byte, threshold) == (byte > threshold)).all()
    assert (to_bytes(3*m, how) == byte).all()


@given(seeds, st.sampled_from([.05, .1, .3, .9]), st.integers(2, 40))
@examples(20)
def test_the_top_share_has_its_area_and_nothing_above_it_is_left_out(seed, share, levels):
    v = np.random.default_rng(seed).integers(0, levels, (4, 10, 10)).astype("uint8")
    for map_, top in zip(v, binary(v, ("top", share))):
        if np.ptp(map_) == 0: assert not top.any()
        else: assert top.sum() == round(100*share) and map_[top].min() >= map_[~top].max()


@given(seeds)
@examples(20)
def test_dice_by_sets(seed):
    g = np.random.default_rng(seed)
    a, b = g.random((2, 5, 4, 4)) < g.random((2, 5, 1, 1))
    for x, y, value in zip(a, b, dice(a, b)):
        one, other = ({*map(tuple, np.argwhere(m))} for m in (x, y))
        total = len(one) + len(other)
        assert value == (2*len(one & other)/total if total else 1)
        assert dice(x, y) == dice(y, x) == value and isinstance(dice(x, y), float)
    with pytest.raises(ValueError, match="must be bool"): dice(1.*a, 1.*b)


def pair_dice_again(human, machine, design, ordered, unit, threshold, how):
    "Dice of each unit in plain loops: {unit: dice}."
    order = ["neutral", "happy", "sad", "surprise", "fear"]
    found, groups = {}, {}
    for k, d in enumerate(design.itertuples(index=False)):
        pair = (d.true, d.false)
        if not ordered: pair = tuple(sorted(pair, key=order.index))
        groups.setdefault((*pair, d.image) if unit == "image" else pair, []).append(k)
    for key, rows in groups.items():
        masks = []
        for maps, way in ((human, "max"), (machine, how)):
            m = np.mean([maps[k] for k in rows], 0)
            m = m - m.min() if way == "minmax" else np.maximum(m, 0)
            masks.append(np.round(255*m/m.max()) > threshold)
        found[key] = 2*(masks[0] & masks[1]).sum()/(masks[0].sum() + masks[1].sum())
    return found


@given(seeds, st.booleans(), st.sampled_from(["pair", "image"]), st.integers(0, 240),
       st.sampled_from(["max", "minmax"]))
@examples(25)
def test_dice_by_pair_a_second_way(seed, ordered, unit, threshold, how):
    g = np.random.default_rng(seed)
    design = DESIGN.sample(frac=1, random_state=seed)
    human, machine = g.random((len(design), 6, 6)), g.normal(size=(len(design), 6, 6))
    table = pair_dice(human, dict(method=machine), design, ordered=ordered, unit=unit, threshold=threshold,
                      how=dict(method=how))
    again = pair_dice_again(human, machine, design, ordered, unit, threshold, how)
    keys = [tuple(r) for r in table[["true", "false", *(["image"] if unit == "image" else [])]].to_numpy()]
    assert len(keys) == len(again) == (12 if unit == "image" else 6 if ordered else 3)
    np.testing.assert_allclose(table.dice, [again[k] for k in keys])


def test_scaling_before_averaging_is_another_reading():
    human = np.random.default_rng(0).random((2, 4, 4))*np.array([1, 100])[:, None, None]
    design = DESIGN[:2]
    first = pair_dice(human, dict(m=human), design, order="scale", threshold=127)
    want = np.round(255*np.mean([m/m.max() for m in human], 0)) > 127
    assert first.area_human[0] == want.mean() != pair_dice(human, dict(m=human), design, threshold=127).area_human[0]


@given(seeds)
@examples(10)
def test_images_without_people_are_left_out_of_the_machines_too_and_counted(seed):
    g = np.random.default_rng(seed)
    human, machine = g.random((2, len(DESIGN), 5, 5))
    lost = g.choice(len(DESIGN), 3, replace=False)
    without = human.copy()
    without[lost] = np.nan
    keep = np.setdiff1d(np.arange(len(DESIGN)), lost)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        a, b = (pair_dice(h, dict(m=m), d) for h, m, d in ((without, machine, DESIGN),
                                                            (human[keep], machine[keep], DESIGN.iloc[keep])))
    assert a.images_without_people.sum() + 2*(6 - len(a)) == 3 and a.images.sum() == len(keep)
    pd.testing.assert_frame_equal(a.drop(columns="images_without_people"), b.drop(columns="images_without_people"))


def test_pairs_without_people_and_blank_maps_are_said():
    g = np.random.default_rng(0)
    human = g.random((len(DESIGN), 5, 5))
    human[:2] = np.nan
    with pytest.warns(UserWarning, match="1 of 6 pairs are left out"):
        assert len(pair_dice(human, dict(m=g.random(human.shape)), DESIGN)) == 5
    with pytest.warns(UserWarning, match="one value everywhere: blank 6 of 6"):
        table = pair_dice(g.random((len(DESIGN), 5, 5)), dict(blank=np.zeros((len(DESIGN), 5, 5))), DESIGN)
    assert table.blank_machine.all() and (table.dice == 0).all()
    with pytest.raises(ValueError, match="no map of any image"):
        pair_dice(human*np.nan, dict(m=np.ones(human.shape)), DESIGN)


def test_what_a_comparison_refuses():
    human = np.random.default_rng(0).random((len(DESIGN), 5, 5))
    bad = human.copy()
    bad[3, 0, 0] = np.nan
    cases = [((human, dict(m=bad), DESIGN), "m: 1 of 12 maps have nan.* of image 'happy-fear-1'"),
             ((bad, dict(m=human), DESIGN), "human: 1 of 12 maps"),
             ((human, dict(m=human[:3]), DESIGN), "one for each row of pairs"),
             ((human, dict(m=human[..., :3]), DESIGN), "resize_relevance"),
             ((human, dict(m=human), DESIGN.drop(columns="false")), "no column false"),
             ((human, dict(m=human), DESIGN.assign(image="same")), "stands in pairs twice"),
             ((human, {}, DESIGN), "no method")]
    for given_, said in cases:
        with pytest.raises(ValueError, match=said): pair_dice(*given_)
    with pytest.raises(ValueError, match="how names 'cm'.*did you mean 'm'"):
        pair_dice(human, dict(m=human), DESIGN, how=dict(cm="minmax"))
    with pytest.raises(TypeError): pair_dice(human, dict(m=human), DESIGN, treshold=3)
    for wrong in (dict(threshold=-1), dict(threshold=("top", 1.)), dict(threshold=("bottom", .1)), dict(order="both")):
        with pytest.raises(ValueError): Reading(**wrong)


def test_floors_of_a_map_of_two_eyes_and_a_mouth():
    "Discs of the same area by their geometry: the one in the middle, and the mean over all places where it fits."
    y, x = np.mgrid[:60, :60]
    features = ((21, 24, 7, 5), (39, 24, 7, 5), (30, 43, 10, 5))
    face = sum((((x - a)/w)**2 + ((y - b)/h)**2 <= 1).astype(float) for a, b, w, h in features)
    human = np.stack([face]*len(DESIGN))
    table = floors(human, dict(same=human), DESIGN, constant=human, draws=30)
    assert (table.other_pair == 1).all() and (table.mean_face == 1).all() and (table.constant_model == 1).all()
    radius = np.sqrt(face.sum()/np.pi)
    def share(a, b): return (((x - a)**2 + (y - b)**2 <= radius**2) & (face > 0)).sum()/face.sum()
    places = np.linspace(radius - .5, 59.5 - radius, 30)
    np.testing.assert_allclose(table.central_disc, share(29.5, 29.5), atol=.02)
    everywhere = np.mean([share(a, b) for a in places for b in places])
    np.testing.assert_allclose(table.random_disc.mean(), everywhere, atol=.03)


@given(seeds)
@examples(10)
def test_a_map_of_this_pair_is_above_its_floors(seed):
    g = np.random.default_rng(seed)
    y, x = np.mgrid[:24, :24]
    where = g.permutation(6).repeat(2)
    human = np.exp(-((x - 3 - 3.5*where[:, None, None])**2 + (y - 3 - 3*where[::-1, None, None])**2)/8)
    near = human + .05*g.random(human.shape)
    own, below = pair_dice(human, dict(near=near), DESIGN), floors(human, dict(near=near), DESIGN, seed=seed, draws=5)
    assert own[["true", "false"]].equals(below[["true", "false"]])
    assert (own.dice > below[["other_pair", "random_disc", "mean_face"]].max(axis=1)).all()


@given(seeds, st.integers(0, 40))
@examples(20)
def test_random_discs_keep_the_area_and_are_discs(seed, area):
    mask = np.zeros((1, 9, 11), bool)
    mask.flat[:area] = True
    disc, = random_discs(mask, seed)
    assert disc.sum() == area
    y, x = np.argwhere(disc).T if area else (np.zeros(1), np.zeros(1))
    assert max(np.ptp(x), np.ptp(y)) <= 2*np.sqrt(area/np.pi) + 1


def test_halves_and_single_people_by_hand():
    "Two people: a half is a person, and so is everybody else; the order of halves does not matter."
    clicks = clicks_of(2, right=1.)
    masks, trials = click_masks(clicks, DESIGN.image, 16, .2), click_trials(clicks, DESIGN.image)
    halves, single = split_halves(masks, trials, DESIGN, draws=5), leave_one_out(masks, trials, DESIGN)
    one, other = (attention_map(masks[trials.participant == k], trials.image[trials.participant == k], DESIGN.image)
                  for k in ("p0", "p1"))
    want = pair_dice(one, dict(other=other), DESIGN).dice.mean()
    np.testing.assert_allclose(halves.dice, want)
    np.testing.assert_allclose(single.dice, want)
    pairs = [np.mean(m.reshape(6, 2, -1), 1) for m in (one, other)]
    # r is that of the grey maps, which are rounded to bytes
    r = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*pairs)])
    np.testing.assert_allclose(halves.r, r, atol=.01)
    np.testing.assert_allclose(halves.reliability, 2*halves.r/(1 + halves.r))


def test_people_who_click_alike_agree_and_others_do_not():
    alike = clicks_of(1, right=1.)
    same = pd.concat([alike.assign(participant=f"p{k}") for k in range(6)])
    masks, trials = click_masks(same, DESIGN.image, 16, .1), click_trials(same, DESIGN.image)
    assert (split_halves(masks, trials, DESIGN, 4).dice == 1).all()
    assert (leave_one_out(masks, trials, DESIGN).dice == 1).all()
    others = clicks_of(6, right=1.)
    masks, trials = click_masks(others, DESIGN.image, 16, .1), click_trials(others, DESIGN.image)
    assert (split_halves(masks, trials, DESIGN, 4).dice < .8).all()
    with pytest.raises(ValueError, match="at least 2 people"):
        split_halves(masks[trials.participant == "p0"], trials[trials.participant == "p0"], DESIGN)
    with pytest.raises(ValueError, match="of the same clicks"): split_halves(masks[1:], trials, DESIGN)


def test_the_curve_passes_through_the_dice_of_each_threshold():
    human, machine = np.random.default_rng(0).random((2, len(DESIGN), 8, 8))
    curve = threshold_curve(human, dict(m=machine), DESIGN, (20, 50, 200)).set_index("threshold")
    for t in (20, 50, 200):
        table = pair_dice(human, dict(m=machine), DESIGN, threshold=t)
        np.testing.assert_allclose(curve.loc[t, ["dice", "area_human", "area_machine"]].to_numpy(float),
                                   table[["dice", "area_human", "area_machine"]].mean())
        np.testing.assert_allclose(curve.central_disc[t], floors(human, dict(m=machine), DESIGN, draws=1,
                                                                 threshold=t).central_disc.mean())


@given(seeds)
@examples(8)
def test_counts_of_people_and_images_are_repetitions(seed):
    "Counting a person or an image twice is having a second one alike."
    g = np.random.default_rng(seed)
    clicks = clicks_of(3, seed, right=.9)
    masks, trials = click_masks(clicks, DESIGN.image, 12, .2), click_trials(clicks, DESIGN.image)
    machine = g.random((len(DESIGN), 12, 12))
    people, images = g.integers(0, 3, 3), g.integers(0, 3, len(DESIGN))
    people[0], images[0] = 1, 1
    found = dice_of(masks, trials, dict(m=machine), DESIGN)(people, images)["m"]
    copies = [clicks[clicks.participant == f"p{k}"].assign(participant=f"p{k}.{c}") for k, n in enumerate(people)
              for c in range(n)]
    again = pd.concat(copies)
    m, t = click_masks(again, DESIGN.image, 12, .2), click_trials(again, DESIGN.image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        human = attention_map(m, t.image, DESIGN.image)
        rows = np.repeat(np.arange(len(DESIGN)), images)
        repeated = DESIGN.iloc[rows].assign(image=[f"{i}" for i in range(len(rows))])
        table = pair_dice(human[rows], dict(m=machine[rows]), repeated)
    units = Reading().units(DESIGN)[0]
    want = units.merge(table, how="left", on=["true", "false"]).dice
    np.testing.assert_allclose(found, want)
    ones = dice_of(masks, trials, dict(m=machine), DESIGN)([1]*3, [1]*len(DESIGN))["m"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = pair_dice(attention_map(masks, trials.image, DESIGN.image), dict(m=machine), DESIGN)
    np.testing.assert_allclose(ones[np.isfinite(ones)], whole.dice)


def test_regions_of_a_built_in_face():
    from rbdm_nb.corpora.datasets import load
    faces = load("synthetic", n=4, image_size=64, seed=1)
    points, name = faces.extras["landmarks"][:], faces.names[0]
    middle = lambda part: (points[0, part].mean(0) + .5)/64
    places = {"left eye": middle(slice(36, 42)), "right eye": middle(slice(42, 48)), "mouth": middle(slice(48, 68)),
              "elsewhere": np.array([.02, .02])}
    assert places["left eye"][0] < places["right eye"][0]      # the viewer's left
    clicks = pd.DataFrame([dict(participant="p", trial=1, image=name, true="sad", false="fear", label="sad",
                                correct=True, n=n, x=x, y=y) for n, (x, y) in enumerate(places.values(), 1)])
    found = click_regions(clicks, faces.names, points, 64)
    assert found.region.tolist() == [*places] and found.place.tolist() == ["first", "second", "middle", "last"]
    points[0] = np.nan
    with pytest.warns(UserWarning, match="4 of 4 clicks are on faces without landmarks"):
        assert region_table(click_regions(clicks, faces.names, points, 64)).clicks.sum() == 0
    with pytest.raises(ValueError, match="landmarks must have shape"):
        click_regions(clicks, faces.names, points[1:], 64)


def test_clicks_on_action_units_are_nearer_to_them_than_a_central_disc():
    from rbdm_nb.corpora.datasets import EXPRESSIONS, load
    faces = load("synthetic", n=40, image_size=48, seed=2, difficulty=.2)
    faces = faces[np.flatnonzero(np.isin(faces.labels, [1, 3]) & unit_regions(faces).any((1, 2)))][:6]
    truth = unit_regions(faces)
    design = pd.DataFrame(dict(image=faces.names, true=[EXPRESSIONS[k] for k in faces.labels], false="neutral"))
    g, rows = np.random.default_rng(0), []
    for person in range(5):
        for k, d in enumerate(design.itertuples(index=False)):
            at = np.argwhere(truth[k])[g.integers(0, truth[k].sum(), 12)]
            rows += [dict(participant=person, trial=k, image=d.image, true=d.true, false=d.false, label=d.true,
                          correct=True, n=n, x=(x + .5)/48, y=(y + .5)/48) for n, (y, x) in enumerate(at, 1)]
    clicks = pd.DataFrame(rows)
    human = attention_map(click_masks(clicks, design.image, 48, .06), click_trials(clicks, design.image).image,
                          design.image)
    own = pair_dice(human, dict(truth=1.*truth), design, unit="image")
    below = floors(human, dict(truth=1.*truth), design, unit="image", draws=3)
    assert (own.dice > below.central_disc).all() and own.dice.mean() > .5

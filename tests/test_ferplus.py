"FERPlus: the paper's counts on the real table, both layouts and both tables, distributions, and what is refused."
import csv, io, shutil, warnings
from pathlib import Path

import numpy as np, pandas as pd, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from rbdm_nb.corpora import ferplus
from rbdm_nb.corpora.datasets import EXPRESSIONS, check, load
from rbdm_nb.corpora.ferplus import (LABELS, RAW, TABLE, VOTE_COLUMNS, VOTES, differences, distribution, elect,
                                     label_counts, read_labels, read_table, write)
from rbdm_nb.project import root

REAL = Path(root()).parent / "shared" / "data" / "ferplus"
real = pytest.mark.skipif(not (REAL / TABLE).is_file(), reason=f"FERPlus is licence-bound and not in {REAL}")
FORMS = ("folder", *RAW)
HAPPY, SAD, UNKNOWN, NF = ([10 * (c == k) for c in range(10)] for k in (1, 3, 8, 9))


def some(n=12, **changed):
    "Arguments of write(): n pictures, half train, the rest valid and test, alternately happy and sad."
    usage = ["Training"] * (n // 2) + ["PublicTest"] * (n // 4) + ["PrivateTest"] * (n - n // 2 - n // 4)
    rows = dict(images=np.random.default_rng(0).integers(0, 256, (n, 48, 48), np.uint8), votes=[HAPPY, SAD] * (n // 2),
                usage=usage, names=[f"fer{i:07d}.png" for i in range(n)])
    return list((rows | changed).values())


def edit(path, old, new): path.write_text(path.read_text().replace(old, new, 1))


# --- votes

def authors(row, mode):
    "The published procedure of FERPlus's authors, followed step by step with counters, as an oracle."
    row = [v if v > 1 else 0 for v in row]
    total, chosen = sum(row), [0] * 10
    unknown = [0] * 8 + [1, 0]
    if mode == "majority":
        if max(row) > total / 2: chosen[int(np.argmax(row))] = max(row)
        else: chosen = unknown
    else:
        covered = count = 0; go_on = True
        while covered < 0.75 * total and count < 3 and go_on:
            top = max(row)
            for k in range(10):
                if row[k] != top: continue
                chosen[k], row[k] = top, 0
                covered += top; count += 1
                if k >= 8:
                    go_on = False
                    if sum(chosen) > top: chosen[k] = 0; count -= 1
                    break
        if sum(chosen) <= total / 2 or count > 3: chosen = unknown
    return np.array(chosen)


def many():
    g = np.random.default_rng(0)
    return np.concatenate([g.multinomial(10, g.dirichlet(np.full(10, a)), 400) for a in (0.1, 0.2, 0.3, 0.5, 1, 3)])


@pytest.mark.parametrize("mode", ["majority", "cross_entropy"])
def test_rules_of_the_authors_against_a_transcription(mode):
    votes, rule = many(), f"ferplus_{mode}"
    chosen = np.array([authors(list(v), mode) for v in votes])
    want, got = chosen.argmax(1), VOTES[rule](votes)
    assert (np.where(got < 8, got, 8) == np.where(want < 8, want, 8)).all()
    # what they train towards, in the table's order
    target = chosen[want < 8, :8] / chosen[want < 8, :8].sum(1, keepdims=True)
    order = [VOTE_COLUMNS.index(dict(happy="happiness", sad="sadness").get(e, e)) for e in EXPRESSIONS]
    assert np.allclose(distribution(votes[got < 8], rule), target[:, order], atol=1e-6)


@pytest.mark.parametrize("vote", VOTES)
def test_distributions(vote):
    votes = many()
    column = VOTES[vote](votes)
    kept = votes[column < 8]
    d, doubtful = distribution(kept, vote), distribution(kept, vote, unknown=True)
    label = np.array([EXPRESSIONS.index(dict(happiness="happy", sadness="sad").get(VOTE_COLUMNS[c], VOTE_COLUMNS[c]))
                      for c in column[column < 8]])
    assert d.dtype == np.float32 and d.shape == (len(kept), 8) and np.allclose(d.sum(1), 1, atol=1e-6)
    # the label is a winner of its own distribution
    assert (d[np.arange(len(d)), label] == d.max(1)).all()
    assert (doubtful <= d + 1e-6).all() and np.allclose(doubtful / doubtful.sum(1, keepdims=True), d, atol=1e-6)
    if vote == "majority": assert np.allclose(1 - doubtful.sum(1), kept[:, 8:].sum(1) / 10, atol=1e-6)


def test_distribution_of_nothing_is_nothing():
    assert not distribution([NF, UNKNOWN, [0] * 10], "majority").any()


def test_majority_takes_the_first_of_equals():
    v = np.array([[5, 5, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 5, 0, 0, 5, 0], [0, 0, 0, 0, 0, 0, 0, 0, 5, 5],
                  [1, 0, 0, 0, 0, 0, 0, 0, 4, 5]])
    assert list(VOTES["majority"](v)) == [0, 5, 8, 9]
    assert list(VOTES["majority_emotions"](v)) == [0, 5, 9, 0]


@real
def test_the_papers_counts():
    counts = {v: label_counts(REAL, v) for v in VOTES}
    assert counts["majority"].sum(axis=1).to_dict() == ferplus.KEPT_IN_PAPER == dict(train=28389, valid=3553, test=3546)
    known = dict(majority=35488, majority_emotions=35711, ferplus_majority=31412, ferplus_cross_entropy=34966)
    assert {v: c.to_numpy().sum() for v, c in counts.items()} == known
    assert {v: c.to_numpy().tolist() for v, c in counts.items()} == ferplus.PUBLISHED
    assert dict(counts["majority"].loc["train"]) == dict(neutral=10309, happy=7528, surprise=3562, sad=3515, anger=2467,
                                                         disgust=191, fear=652, contempt=165)


@real
def test_every_kept_row_has_a_name_and_every_row_is_accounted_for():
    table = read_table(REAL)
    assert len(table) == 35887 and (table["name"] == "").sum() == 173
    kept, total = [], 0
    for split in ferplus.USAGE:
        rows, out = elect(table, split); kept.append(rows); total += len(rows) + len(out)
    kept = pd.concat(kept)
    assert total == 35887 and len(kept) == 35488 and (kept["name"] != "").all() and kept["id"].is_unique and kept[
        "name"].duplicated().sum() == 3


@real
def test_real_validation_set():
    c = load("ferplus", REAL, "valid")
    assert len(c) == 3553 and c.images.shape[1:] == (48, 48, 1) and len(c) + len(c.skipped) == 3589
    with pytest.raises(FileNotFoundError, match="FER2013Test"): load("ferplus", REAL, "test")


@real
def test_the_real_second_table():
    apart, both = differences(REAL), read_labels(REAL)
    usage = both["usage"].value_counts()
    assert (not set(both["name"]) - set(read_table(REAL)["name"]) and usage["Training"] == 28558
            and usage["PublicTest"] == 3579)
    changed = apart[TABLE] != apart[LABELS]
    if "PrivateTest" in usage: assert (len(apart), changed.sum()) == (1601, 281)
    else: assert (len(apart), changed.sum()) == (1319, 232)      # of the 1,601 and 281 those outside of the test set


# --- the second table

def test_label_csv(tmp_path):
    images, votes, usage, names = some()
    labels = [list(v) for v in votes]; labels[2] = SAD; labels[4] = [0, 9, 0, 0, 0, 0, 0, 0, 1, 0]; names[11] = ""
    write(tmp_path, images, votes, usage, names, labels=labels)
    first, second = load("ferplus", tmp_path), load("ferplus", tmp_path, table=LABELS)
    assert list(first.names) == list(second.names) and list(np.flatnonzero(first.labels != second.labels)) == [2]
    assert (second.extras["votes"] == labels[:6]).all()
    apart = differences(tmp_path)
    assert (list(apart["name"]) == [names[2], names[4]] and list(apart[TABLE]) == ["happiness"] * 2
            and list(apart[LABELS]) == [
        "sadness", "happiness"])
    assert label_counts(tmp_path, table=LABELS).sum().sum() == 11 and label_counts(tmp_path).sum().sum() == 12
    assert any("2 images have other votes" in n and "1 of them another majority" in n
               for n in check("ferplus", tmp_path).notes)
    edit(tmp_path / "FER2013Train" / LABELS, "0,10,0,0", "0,many,0,0")
    with pytest.raises(ValueError, match="FER2013Train/label.csv line 1: ten counts"):
        load("ferplus", tmp_path, table=LABELS)
    with pytest.raises(ValueError, match="did you mean 'label.csv'"): load("ferplus", tmp_path, table="labels.csv")
    for folder in ferplus.FOLDERS.values(): (tmp_path / folder / LABELS).unlink()
    with pytest.raises(FileNotFoundError, match="no label.csv in FER2013Train"): load("ferplus", tmp_path, table=LABELS)


def test_label_csv_does_not_go_with_raw_tables(tmp_path):
    write(tmp_path / "a", *some(), "fer2013.csv"); write(tmp_path / "b", *some(), labels=some()[1])
    shutil.move(tmp_path / "b" / "FER2013Train", tmp_path / "a")
    with pytest.raises(ValueError, match="table='label.csv' is for PNG files"):
        load("ferplus", tmp_path / "a", "valid", table=LABELS)


# --- layouts

@pytest.mark.parametrize("form", FORMS)
def test_layouts_agree(tmp_path, form):
    images, votes, usage, names = some()
    write(tmp_path, images, votes, usage, names, form)
    for split, part in (("train", slice(0, 6)), ("valid", slice(6, 9)), ("test", slice(9, 12))):
        c = load("ferplus", tmp_path, split)
        assert (c.images[..., 0] == images[part]).all() and list(c.names) == names[part] and c.split == split
        assert [EXPRESSIONS[l] for l in c.labels] == (["happy", "sad"] * 6)[part]
        assert (c.extras["votes"] == votes[part]).all() and not len(c.skipped)
        assert (c.extras["distribution"] == np.eye(8)[c.labels]).all()
    assert load("ferplus", tmp_path, image_size=24, channels=3).images.shape == (6, 24, 24, 3)


def test_folders_under_data(tmp_path):
    write(tmp_path, *some())
    (tmp_path / "data").mkdir(); shutil.move(tmp_path / "FER2013Valid", tmp_path / "data")
    assert len(load("ferplus", tmp_path, "valid")) == 3


@pytest.mark.parametrize("form", FORMS)
def test_names_lag_repeat_and_are_blank(tmp_path, form):
    names = ["fer0000000.png", "", "fer0000001.png", "fer0000001.png", "fer0000001.png",
             "fer0000005.png"] + [f"fer{i:07d}.png" for i in range(6, 12)]
    images, votes, usage, _ = some(); votes[1] = NF; votes[5] = UNKNOWN
    images[3:5] = images[2]
    write(tmp_path, images, votes, usage, names, form)
    c = load("ferplus", tmp_path)
    assert list(c.names) == ["fer0000000.png", "fer0000001.png", "fer0000001.png#2", "fer0000001.png#3"]
    assert (c.images[..., 0] == images[[0, 2, 3, 4]]).all()
    assert list(c.skipped["name"]) == ["", "fer0000005.png"]
    assert "line 3" in c.skipped["reason"][0] and "NF" in c.skipped["reason"][0] and "unknown" in c.skipped["reason"][1]


# --- bad input

def test_missing_parts(tmp_path):
    write(tmp_path, *some())
    shutil.rmtree(tmp_path / "FER2013Test")
    with pytest.raises(FileNotFoundError, match="test split.*FER2013Test.*fer2013.csv or icml_face_data.csv"):
        load("ferplus", tmp_path, "test")
    (tmp_path / "FER2013Train" / "fer0000002.png").unlink()
    with pytest.raises(FileNotFoundError, match="fer0000002.png .*line 4.*not found"): load("ferplus", tmp_path)
    (tmp_path / TABLE).unlink()
    with pytest.raises(FileNotFoundError, match=TABLE): load("ferplus", tmp_path)


def test_wrong_columns(tmp_path):
    write(tmp_path, *some())
    edit(tmp_path / TABLE, "contempt", "contemp")
    with pytest.raises(ValueError, match="no column 'contempt'; did you mean 'contemp'"): load("ferplus", tmp_path)


@pytest.mark.parametrize("old, new", [("Training,fer0000001.png,0,", "Training,fer0000001.png,many,"),
                                      ("Training,fer0000001.png,0,", "Training,fer0000001.png,-1,"),
                                      ("Training,fer0000001.png,0,", "Training,fer0000001.png,0.5,"),
                                      ("Training,fer0000001.png,0,", "Training,fer0000001.png,,"),
                                      ("Training,fer0000001.png,0,", "Trainig,fer0000001.png,0,"),
                                      ("Training,fer0000001.png,0,", "Training,fer0000001.png,1e300,"),
                                      ("Training,fer0000001.png,0,", "Training,fer0000001.png,inf,"),
                                      ("Training,fer0000001.png,0,0,0,10,", "Training,fer0000001.png,0,0,0,0,"),
                                      ("Training,fer0000001.png,0,", "Training,fer0000001.png,")])
def test_bad_rows(tmp_path, old, new):
    write(tmp_path, *some())
    edit(tmp_path / TABLE, old, new)
    with pytest.raises(ValueError, match="line 3"): load("ferplus", tmp_path)
    with pytest.raises(ValueError, match="line 3"): label_counts(tmp_path)
    with pytest.warns(UserWarning, match="1 left out"): c = load("ferplus", tmp_path, on_bad="skip")
    assert len(c) == 5 and c.skipped["name"].str.contains("fer0000001|Trainin?g").any()


@pytest.mark.parametrize("name, why", [("../secret.png", "leads out"), ("", "blank"), ("fer9999999.png", "not found"),
                                       ("fer0000000.png\0", "NUL in the picture's name")])
def test_bad_names(tmp_path, name, why):
    write(tmp_path / "c", *some())
    Image.new("L", (48, 48)).save(tmp_path / "c" / "secret.png")
    edit(tmp_path / "c" / TABLE, "fer0000001.png", name)
    with pytest.raises((ValueError, FileNotFoundError), match=f"(?s){TABLE} line 3.*{why}|{why}"):
        load("ferplus", tmp_path / "c")
    with pytest.warns(UserWarning): c = load("ferplus", tmp_path / "c", on_bad="skip")
    # the picture that is now unnamed is listed as well
    assert len(c) == 5 and {"fer0000001.png"} < set(c.skipped["name"]) | {""}


def test_damaged_pictures(tmp_path):
    write(tmp_path, *some())
    folder = tmp_path / "FER2013Train"
    (folder / "fer0000000.png").write_bytes(b"")
    (folder / "fer0000003.png").write_bytes((folder / "fer0000003.png").read_bytes()[:200])
    with pytest.raises(ValueError, match="(?s)2 cannot be used.*fer0000000.png .*line 2.*empty.*line 5.*truncated"):
        load("ferplus", tmp_path)
    with pytest.warns(UserWarning): c = load("ferplus", tmp_path, on_bad="skip")
    assert len(c) + len(c.skipped) == 6


@pytest.mark.parametrize("form", RAW)
def test_raw_tables_that_do_not_fit(tmp_path, form):
    images, votes, usage, names = some()
    write(tmp_path, images, votes, usage, names, form)
    whole = (tmp_path / form).read_text()
    edit(tmp_path / form, f"{images[1, 0, 0]} {images[1, 0, 1]} ", f"{images[1, 0, 0]} 256 ")
    with pytest.raises(ValueError, match=f"{form} line 3.*0 to 255"): load("ferplus", tmp_path)
    (tmp_path / form).write_text(whole)
    edit(tmp_path / form, f"{images[1, 0, 0]} {images[1, 0, 1]} ", "")
    with pytest.warns(UserWarning, match="line 3"): assert len(load("ferplus", tmp_path, on_bad="skip")) == 5
    lines = whole.splitlines(keepends=True)
    (tmp_path / form).write_text("".join(lines[:-1]))
    with pytest.raises(ValueError, match="do not correspond"): load("ferplus", tmp_path)
    (tmp_path / form).write_text("".join([lines[0], *lines[:0:-1]]))
    with pytest.raises(ValueError, match="do not correspond"): load("ferplus", tmp_path)
    (tmp_path / form).write_text(whole.replace("pixels", "pixel", 1))
    with pytest.raises(ValueError, match="did you mean 'pixel'"): load("ferplus", tmp_path)


def test_unknown_options(tmp_path):
    write(tmp_path, *some())
    with pytest.raises(ValueError, match="did you mean 'majority'"): load("ferplus", tmp_path, vote="majorty")
    with pytest.raises(ValueError, match="did you mean 'skip'"): load("ferplus", tmp_path, on_bad="skp")
    with pytest.raises(ValueError, match="did you mean 'train'"): ferplus.load(tmp_path, "training")


# --- check and fake

@pytest.mark.parametrize("form", FORMS)
def test_a_fake_is_usable(tmp_path, form):
    ferplus.fake(tmp_path, 150, 1, form)
    c = check("ferplus", tmp_path)
    assert c.usable and not len(c.bad) and list(c.counts.index) == ["train", "valid", "test"]
    assert (c.counts > 0).all(axis=None)
    assert (c.counts == label_counts(tmp_path)).all(axis=None)
    assert (c.published.sum(axis=1) == pd.Series(ferplus.KEPT_IN_PAPER)).all()
    assert c.release == f"{TABLE} with " + ("PNG files" if form == "folder" else form)
    again = ferplus.fake(tmp_path / "again", 150, 1, form)
    assert load("ferplus", tmp_path).digest == load("ferplus", again).digest


def test_check_lists_every_bad_file(tmp_path):
    ferplus.fake(tmp_path)
    train, folder = load("ferplus", tmp_path), tmp_path / "FER2013Train"
    (folder / train.names[0]).write_bytes(b"")
    (folder / train.names[5]).unlink()
    shutil.copy(folder / train.names[6], folder / "stray.png")
    shutil.rmtree(tmp_path / "FER2013Test"); edit(tmp_path / TABLE, f"{train.names[7]},", f"{train.names[7]},x")
    c = check("ferplus", tmp_path)
    assert c.usable and c.counts.loc["train"].sum() == len(train) - 3 and list(c.counts.index) == ["train", "valid"]
    for reason in ("line 9: ten counts", f"{train.names[0]} .*empty", f"{train.names[5]} .*not found",
                   "stray.png: not in the table"):
        assert c.bad["reason"].str.contains(reason).sum() == 1
    # the picture of the bad row is unnamed now
    assert len(c.bad) == 5 and any("no test split" in n for n in c.notes)
    for f in ("FER2013Train", "FER2013Valid"): shutil.rmtree(tmp_path / f)
    with pytest.raises(FileNotFoundError, match="FER2013Train"): check("ferplus", tmp_path)


# --- whatever the files hold

@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    "A small FERPlus, and labels by name: of its training part by each table, and of its validation part."
    root = ferplus.fake(tmp_path_factory.mktemp("sound"))
    corpora = {TABLE: load("ferplus", root), LABELS: load("ferplus", root, table=LABELS),
               "valid": load("ferplus", root, "valid")}
    return root, {k: dict(zip(c.names, c.labels)) for k, c in corpora.items()}


def survives(root, split="train", **options):
    "Labels by name of what `load` makes of `root`; None for a clear error. Anything else is raised."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try: c = load("ferplus", root, split, on_bad="skip", **options)
        except (ValueError, FileNotFoundError) as e: assert str(e); return None
    assert len(c.images[:]) == len(c) and np.isfinite(c.extras["distribution"]).all()
    return dict(zip(c.names, c.labels))


def damage(data, cut, edits):
    data = bytearray(data[:cut] if cut else data)
    for at, value in edits:
        if data: data[at % len(data)] = value
    return bytes(data)


edits = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6)
quick = settings(max_examples=40, deadline=None, derandomize=True,
                 suppress_health_check=[HealthCheck.function_scoped_fixture])


strange = st.one_of(st.text(max_size=8), st.sampled_from(["-1", "1e400", "nan", "../x.png", "a\0b", "0x2", "9" * 400]))

@settings(quick, max_examples=25)
@given(cells=st.lists(st.tuples(st.integers(1, 120), st.integers(0, 11), strange), min_size=1, max_size=4),
       table=st.sampled_from([TABLE, LABELS]))
def test_damaged_cells(sound, cells, table):
    "Rows that were not touched keep their labels, whatever stands in the others."
    root, truth = sound
    path = root / (table if table == TABLE else f"FER2013Train/{LABELS}")
    whole, touched = path.read_bytes(), set()
    lines = list(csv.reader(io.StringIO(whole.decode())))
    for row, column, value in cells:
        name = lines[row][1 if table == TABLE else 0]
        touched |= {name, name + "#2"}
        lines[row][column] = value
    try:
        with open(path, "w", newline="", encoding="utf-8") as f: csv.writer(f).writerows(lines)
        found = survives(root, table=table)
    finally: path.write_bytes(whole)
    if found is None: return
    for name, label in truth[table].items(): assert name in touched or found[name] == label


@quick
@given(cut=st.one_of(st.none(), st.integers(1, 3000)), edits=edits,
       name=st.sampled_from([TABLE, f"FER2013Train/{LABELS}"]))
def test_damaged_bytes(sound, cut, edits, name):
    root, _ = sound
    path = root / name; whole = path.read_bytes()
    try: path.write_bytes(damage(whole, cut, edits)); survives(root, table=Path(name).name)
    finally: path.write_bytes(whole)


@quick
@given(cut=st.one_of(st.none(), st.integers(1, 2000)), edits=edits)
def test_damaged_pictures_are_skipped_or_read(sound, cut, edits):
    root, truth = sound
    name = next(iter(truth["valid"])); path = root / "FER2013Valid" / name; whole = path.read_bytes()
    try: path.write_bytes(damage(whole, cut, edits)); found = survives(root, "valid")
    finally: path.write_bytes(whole)
    assert found is not None and {n: l for n, l in truth["valid"].items() if n != name}.items() <= found.items()


@quick
@given(st.lists(st.tuples(st.integers(0, 20),
                          st.one_of(st.text(max_size=6), st.sampled_from(["256", "-1", "1e9", "", "nan"]))), min_size=1,
                          max_size=3))
def test_damaged_raw_pixels(raw, cells):
    path = raw / "fer2013.csv"; whole = path.read_text()
    lines = whole.splitlines()
    for row, value in cells: lines[1 + row] = lines[1 + row].replace(" ", f" {value} ", 1)
    try: path.write_text("\n".join(lines), encoding="utf-8", errors="replace"); survives(raw)
    finally: path.write_text(whole)


@pytest.fixture(scope="module")
def raw(tmp_path_factory): return ferplus.fake(tmp_path_factory.mktemp("raw"), release="fer2013.csv")


# --- the order of the raw tables

def reordered(root, form, change):
    t = pd.read_csv(root / form)
    change(t).to_csv(root / form, index=False)


@pytest.fixture(scope="module")
def many_of_a_form(tmp_path_factory):
    return {form: ferplus.fake(tmp_path_factory.mktemp("many"), 600, release=form) for form in RAW}


@pytest.mark.parametrize("form, how", [*((f, h) for f in RAW[:1]
                                         for h in ("sorted", "shuffled", "one split", "one stretch",
                                                   "moved by one row")), (RAW[1], "sorted")])
def test_another_order_is_refused(tmp_path, many_of_a_form, form, how):
    shutil.copytree(many_of_a_form[form], tmp_path, dirs_exist_ok=True)
    usage = "Usage" if form == RAW[0] else " Usage"
    within = lambda change: lambda t: pd.concat(change(part) for _, part in t.groupby(usage, sort=False))
    shuffle = lambda t: t.sample(frac=1, random_state=1)
    change = {"sorted": within(lambda t: t.sort_values("emotion", kind="stable")), "shuffled": within(shuffle),
              "one split": lambda t: pd.concat([t[:480], shuffle(t[480:540]), t[540:]]),
              "one stretch": lambda t: pd.concat([t[:50], shuffle(t[50:460]), t[460:]]),
              "moved by one row": within(lambda t: pd.concat([t[1:], t[:1]]))}[how]
    reordered(tmp_path, form, change)
    with pytest.raises(ValueError, match=f"{form}: another order.*kappa.*that Kaggle released"):
        load("ferplus", tmp_path)
    with pytest.raises(ValueError, match="another order"): load("ferplus", tmp_path, on_bad="skip")
    with pytest.raises(ValueError, match="another order"): check("ferplus", tmp_path)


def test_labels_that_disagree_here_and_there_are_the_right_order(tmp_path, many_of_a_form, form=RAW[0]):
    "FERPlus corrected a third of FER's labels."
    truth = load("ferplus", shutil.copytree(many_of_a_form[form], tmp_path, dirs_exist_ok=True)).digest
    g = np.random.default_rng(0)
    corrected, other = g.random(600) < .35, g.integers(0, 7, 600)
    reordered(tmp_path, form, lambda t: t.assign(emotion=np.where(corrected, other, t["emotion"])))
    assert load("ferplus", tmp_path).digest == truth
    names = np.array(["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"])
    reordered(tmp_path, form, lambda t: t.assign(emotion=names[t["emotion"]]))
    assert load("ferplus", tmp_path).digest == truth
    reordered(tmp_path, form, lambda t: pd.concat(part.sample(frac=1, random_state=0) for _,
                                                  part in t.groupby("Usage", sort=False)))
    with pytest.raises(ValueError, match="another order"): load("ferplus", tmp_path)


@pytest.mark.parametrize("change", [lambda t: t.drop(columns="emotion"), lambda t: t.assign(emotion=0),
                                    lambda t: t.assign(emotion=[f"x{k % 2}" for k in range(len(t))])])
def test_an_order_that_cannot_be_verified_is_said(tmp_path, raw, change):
    truth = load("ferplus", shutil.copytree(raw, tmp_path, dirs_exist_ok=True)).digest
    reordered(tmp_path, "fer2013.csv", change)
    with pytest.warns(UserWarning, match="order of fer2013new.csv cannot be verified"):
        assert load("ferplus", tmp_path).digest == truth
    assert sum("cannot be verified" in note for note in check("ferplus", tmp_path).notes) == 1


def test_more_rows_and_another_usage_are_refused(tmp_path, raw):
    shutil.copytree(raw, tmp_path, dirs_exist_ok=True); whole = pd.read_csv(tmp_path / "fer2013.csv")
    for wrong in (pd.concat([whole, whole[-1:]]), whole[:-1],
                  whole.assign(Usage=whole["Usage"].replace("PublicTest", "PrivateTest"))):
        wrong.to_csv(tmp_path / "fer2013.csv", index=False)
        with pytest.raises(ValueError, match="do not correspond.*that Kaggle released"): load("ferplus", tmp_path)


def test_a_name_that_stands_in_a_table_twice_is_not_compared(tmp_path):
    images, votes, usage, names = some()
    names[3] = names[2]
    votes = [list(v) for v in votes]
    votes[3] = SAD
    labels = [list(v) for v in votes]
    labels[2] = SAD
    write(tmp_path, images, votes, usage, names, labels=labels)
    assert not len(differences(tmp_path))

"""The doors of a user's own corpus: links, hidden folders, published parts, groups, names as tables write them,
pixels in parquet."""
import json, shutil, unicodedata, warnings

import numpy as np, pandas as pd, pyarrow as pa, pyarrow.parquet as pq, pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from rbdm_nb.corpora import folder
from rbdm_nb.corpora.datasets import check, load
from rbdm_nb.corpora.files import divide, files_below, Problems, split_of_name

KINDS = ("happy", "sad", "fear")


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((12, 12), value, np.uint8)).save(path)


def quiet(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load("folder", *args, **options)


def names(root, **options): return {s: set(quiet(root, s, **options).names) for s in ("train", "valid")}


@pytest.fixture
def classes(tmp_path):
    for k in range(30): picture(tmp_path / "faces" / KINDS[k % 3] / f"{k}.png", k)
    return tmp_path / "faces"


@pytest.fixture
def table(tmp_path):
    for k in range(30): picture(tmp_path / "faces" / "images" / f"{k}.png", k)
    write(tmp_path / "faces")
    return tmp_path / "faces"


def write(root, sep=",", encoding="utf-8", file="t.csv", **columns):
    pictures = columns.pop("image", [f"{k}.png" for k in range(30)])
    table = pd.DataFrame({"image": pictures, "label": [KINDS[k % 3] for k in range(30)]} | columns)
    table.to_csv(root / file, index=False, sep=sep, encoding=encoding)


def right(c):
    return all(c.images[k][0, 0, 0] % 3 == ("happy", "sad", "fear").index(c.classes[c.labels[k]])
               for k in range(len(c)))


# --- what is not the corpus's own

@pytest.mark.parametrize("hidden", [".ipynb_checkpoints", "@eaDir", "__MACOSX", ".git", "#recycle", ".Trash-1000"])
@pytest.mark.parametrize("place", [".", "happy"])
def test_folders_of_the_machine(classes, hidden, place):
    before = names(classes)
    picture(classes / place / hidden / "deep" / "1-checkpoint.png"); picture(classes / place / hidden / "2.png")
    with pytest.warns(UserWarning, match="2 pictures, passed over"): c = load("folder", classes, classes="found")
    assert names(classes) == before and set(c.classes) == set(KINDS)
    assert list(c.skipped["name"]) == [f"{place}/{hidden}".removeprefix("./")]


def test_hidden_files_are_counted_and_others_are_no_noise(classes):
    for file in ("happy/.DS_Store", "happy/Thumbs.db", "desktop.ini", ".git/config"):
        (classes / file).parent.mkdir(exist_ok=True); (classes / file).write_bytes(b"x")
    with warnings.catch_warnings(): warnings.simplefilter("error"); assert not len(load("folder", classes).skipped)
    for k in range(3): (classes / "happy" / f"._{k}.png").write_bytes(b"\0\5\x16\7Mac OS X")
    with pytest.warns(UserWarning, match="a hidden file, 3 of them"): assert len(load("folder", classes)) == 27


def test_hidden_files_beside_a_table_and_parquet(table):
    (table / "._t.csv").write_bytes(b"\0\5"); (table / "._t.parquet").write_bytes(b"\0\5")
    picture(table / "images" / "@eaDir" / "0.png")
    with pytest.warns(UserWarning, match="1 left out.*@eaDir"): assert len(load("folder", table)) == 27


# --- links

def test_a_class_folder_that_is_a_link(classes):
    before = {s: quiet(classes, s).digest for s in ("train", "valid")}
    shutil.move(classes / "happy", classes / ".store"); (classes / "happy").symlink_to(".store")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        after = {s: load("folder", classes, s).digest for s in ("train", "valid")}
    assert after == before


def test_links_out_are_refused_or_followed_by_choice(classes, tmp_path):
    before = quiet(classes).digest
    shutil.move(classes / "happy", tmp_path / "elsewhere"); (classes / "happy").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="happy: a link that leads out .*10 pictures.*follow_links=True"):
        load("folder", classes)
    with pytest.warns(UserWarning): c = load("folder", classes, on_bad="skip", valid_fraction=0)
    assert len(c) == 20 and list(c.skipped["name"]) == ["happy"]
    assert quiet(classes, follow_links=True).digest == before


def test_loops_broken_links_and_second_names(classes):
    (classes / "happy" / "up").symlink_to("..")
    (classes / "joy").symlink_to("happy")
    (classes / "happy" / "again.png").symlink_to("0.png")
    with pytest.warns(UserWarning, match="3 left out"): c = load("folder", classes)
    assert len(c) == 27 and set(c.skipped["name"]) == {"happy/up", "joy", "happy/again.png"}
    (classes / "anger").symlink_to("nowhere")
    with pytest.raises(ValueError, match="anger: a link to nothing"): load("folder", classes)


# --- published parts

@pytest.mark.parametrize("column", ["split", "Usage", "set", "Partition", "subset", "data_split", "part of the corpus"])
@pytest.mark.parametrize("words", [("train", "val", "test"), ("Training", "PublicTest", "PrivateTest"),
                                   ("TRAIN", "dev", "Testing"), ("tr", "va", "te")])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_split_column_is_kept(table, column, words, form):
    told = [words[(k % 5 == 0) + (k % 5 < 2)] for k in range(30)]
    write(table, **{column: told})
    if form == "parquet":
        pq.write_table(pa.Table.from_pandas(pd.read_csv(table / "t.csv")), table / "all.parquet")
        (table / "t.csv").unlink()
    for split, word in zip(("train", "valid", "test"), words):
        assert set(quiet(table, split).names) == {f"{k}.png" for k in range(30) if told[k] == word}


def test_a_published_test_part_stays_apart(table):
    write(table, split=["test" if k % 5 == 0 else "train" for k in range(30)])
    test = {f"{k}.png" for k in range(0, 30, 5)}
    found = names(table)
    assert set(quiet(table, "test").names) == test and not test & (found["train"] | found["valid"])
    assert len(found["train"]) == 21 and len(found["valid"]) == 3
    assert any("valid is drawn from train" in n for n in check("folder", table).notes)
    anew = names(table, split_column="")
    assert names(table, split_column=False) == anew
    assert anew["train"] | anew["valid"] == {f"{k}.png" for k in range(30)}


def test_columns_that_do_not_say_the_split(table):
    write(table, set=["A", "B"] * 15)
    with pytest.raises(ValueError, match="t.csv: column 'set' holds 'A', 'B'.*wanted train .*split_column="):
        load("folder", table)
    assert len(quiet(table, split_column="")) == 27
    write(table, set=["A", "B"] * 15, mine=["train", "test", "valid"] * 10)
    assert len(quiet(table)) == 10 and len(quiet(table, split_column="mine")) == 10
    write(table, split=["train", "test"] * 15, Usage=["test", "train"] * 15)
    with pytest.raises(ValueError, match="columns split, Usage contradict"): load("folder", table)
    assert len(quiet(table, "test", split_column="Usage")) == 15
    write(table, split=["train"] * 29 + ["extra"])
    with pytest.raises(ValueError, match="line 31: split is 'extra'; wanted train"): load("folder", table)
    with pytest.warns(UserWarning, match="1 left out"):
        assert len(load("folder", table, on_bad="skip", valid_fraction=0)) == 29
    with pytest.raises(ValueError, match="no split column 'none'.*one of"): load("folder", table, split_column="none")
    write(table, fold=[str(k % 5) for k in range(30)])
    with pytest.raises(ValueError, match="column 'fold'"): load("folder", table)
    write(table, is_test=[str(k % 2) for k in range(30)])
    with pytest.raises(ValueError, match="column 'is_test'"): load("folder", table)


def test_a_parquet_file_and_its_column_may_not_contradict(table):
    (table / "t.csv").unlink()
    t = pa.table({"image": [f"{k}.png" for k in range(30)], "label": [KINDS[k % 3] for k in range(30)],
                  "split": ["train", "test"] * 15})
    pq.write_table(t, table / "train.parquet")
    assert len(quiet(table, "test")) == 15                      # all of it lies in one file, the column tells more
    (table / "train.parquet").rename(table / "test.parquet")
    with pytest.raises(ValueError, match="test.parquet: its name says test, but 15 rows are train"):
        load("folder", table)


@pytest.mark.parametrize("parts", [("Training", "PublicTest", "PrivateTest"), ("train_set", "ValidSet", "Test"),
                                   ("FER2013Train", "FER2013Valid", "FER2013Test"),
                                   ("data/train", "data/dev", "data/test")])
def test_folders_named_after_parts(tmp_path, parts):
    for part, n in zip(parts, (12, 6, 3)):
        for k in range(n): picture(tmp_path / part / str(k % 3) / f"{k}.png", k)
    with pytest.raises(ValueError, match="labels are numbers .*FER2013's: names="): load("folder", tmp_path)
    counts = folder.label_counts(tmp_path, names=KINDS)
    assert counts[list(KINDS)].to_numpy().tolist() == [[4] * 3, [2] * 3, [1] * 3] and counts.to_numpy().sum() == 21
    assert folder.label_counts(tmp_path, classes="found").shape == (3, 3)


def test_parts_within_classes_and_in_names(tmp_path):
    for k in range(20):
        picture(tmp_path / "a" / KINDS[k % 2] / ("test" if k < 6 else "train") / f"{k}.png", k)
        picture(tmp_path / "b" / KINDS[k % 2] / f"{'PrivateTest' if k < 6 else 'Training'}_{k}.png", k)
    for root in (tmp_path / "a", tmp_path / "b"):
        assert len(quiet(root, "test")) == 6 and len(quiet(root)) == 12 and len(quiet(root, "valid")) == 2


def test_parts_in_the_names_of_a_table(tmp_path):
    for k in range(30): picture(tmp_path / ("test" if k < 6 else "train") / f"{k}.png", k)
    write(tmp_path, image=[f"{'test' if k < 6 else 'train'}/{k}.png" for k in range(30)])
    assert len(quiet(tmp_path, "test")) == 6 and not any(n.startswith("test") for n in quiet(tmp_path).names)


def test_names_of_parts():
    for word in ("Testing", "test_set", "TestSet", "PrivateTest", "private-test"): assert split_of_name(word) == "test"
    for word in ("happy", "trainval", "train/test", "contest", "0", "A", ""): assert split_of_name(word) == ""


# --- groups

def sequences(root, people=24):
    for k in range(people * 3): picture(root / KINDS[k // 3 % 3] / f"S{10 + k // 3:03d}_004_{k % 3 + 17:08d}.png", k)


def people_of(c): return {n.rpartition("/")[2][:4] for n in c.names}


def test_sequences_of_ckplus_are_kept_together(tmp_path):
    sequences(tmp_path)
    with pytest.warns(UserWarning, match="names are those of CK\\+: 24 groups"):
        train = load("folder", tmp_path, test_fraction=.2)
    parts = [train, *(quiet(tmp_path, s, test_fraction=.2) for s in ("valid", "test"))]
    assert sum(map(len, parts)) == 72 and sum(len(people_of(c)) for c in parts) == 24 and min(map(len, parts)) > 0
    assert set(train.extras["group"]) == people_of(train)
    with warnings.catch_warnings(): warnings.simplefilter("error"); alone = load("folder", tmp_path, group="")
    assert people_of(alone) & people_of(quiet(tmp_path, "valid", group="")) and not alone.extras


def test_groups_by_column_and_by_pattern(table):
    who = [f"p{k // 3}" for k in range(30)]
    write(table, person=who)
    for options in (dict(group="person"),):
        found = names(table, valid_fraction=.3, **options)
        assert not {who[int(n[:-4])] for n in found["train"]} & {who[int(n[:-4])] for n in found["valid"]}
        assert len(found["valid"]) == 9
    found = names(table, valid_fraction=.3, group=r"(\d)\.png")
    assert not {n[-5] for n in found["train"]} & {n[-5] for n in found["valid"]} and found["valid"]
    for wrong, why in (("persn", "one pair of brackets"), ("(a)(b)", "one pair"), ("(", "no regular expression"),
                       ("(zz)", "fits none of 30 names")):
        with pytest.raises(ValueError, match=why): load("folder", table, group=wrong)
    write(table, person=who[:-1] + [""])
    with pytest.raises(ValueError, match="line 31: blank person"): load("folder", table, group="person")


def test_groups_that_cross_published_parts_are_counted(table):
    write(table, person=[f"p{k // 3}" for k in range(30)],
          split=["test" if k % 15 == 0 else "train" for k in range(30)])
    with pytest.warns(UserWarning, match="2 of 10 groups .6 pictures. in more than one part, the first: p0 in train "
                                         "and test"):
        load("folder", table, group="person")
    assert any("2 of 10 groups" in n for n in check("folder", table, group="person").notes)
    assert len(names(table, group="person", split_column="")["valid"]) == 3


def test_a_class_without_validation_pictures_is_told(table):
    "One person shows all sad faces: she stays in training, and valid has none."
    feelings = ["sad" if k < 3 else "happy" for k in range(30)]
    write(table, emotion=feelings, person=[f"p{k // 3}" for k in range(30)])
    told = "no valid pictures of sad: scores on valid leave them out"
    with pytest.warns(UserWarning, match=told): valid = load("folder", table, "valid", group="person")
    assert valid.counts()["sad"] == 0 and valid.counts()["happy"] > 0
    assert any(told in note for note in check("folder", table, group="person").notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load("folder", table, "valid", group="").counts()["sad"] == 1
    assert not any("no valid pictures" in note for note in check("folder", table, group="").notes)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 3)), max_size=60), st.sampled_from([.1, .25, .4]),
       st.sampled_from([0, .2]), st.integers(0, 3))
def test_no_group_is_ever_divided(rows, valid, test, seed):
    groups, labels = [f"g{g}" for g, _ in rows], [l for _, l in rows]
    try: parts = divide(list(range(len(rows))), labels, valid, test, seed, groups)
    except ValueError as e: assert "cannot be divided" in str(e); return
    assert all(len({p for p, g in zip(parts, groups) if g == one}) == 1 for one in set(groups))
    assert {l for l, p in zip(labels, parts) if p == "train"} == set(labels)
    back = np.random.default_rng(seed).permutation(len(rows))
    assert list(divide(back, np.array(labels, int)[back], valid, test, seed,
                       np.array(groups, "U8")[back])) == list(parts[back])


# --- names as tables write them

def whole(root, **options):
    c = quiet(root, valid_fraction=0, **options)
    return len(c) == 30 and right(c)


@pytest.mark.parametrize("change", [lambda r, n: f"images\\{n}", lambda r, n: f"./images/{n}", lambda r,
                                    n: f".\\images\\{n}", lambda r, n: str(r / "images" / n), lambda r, n: n.upper(),
                                    lambda r, n: n[:-4], lambda r, n: f"Images/{n}", lambda r, n: f" {n} "])
@pytest.mark.parametrize("sep, encoding", [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16"), ("|", "utf-8")])
def test_names_are_found(table, change, sep, encoding):
    write(table, sep, encoding, image=[change(table, f"{k}.png") for k in range(30)])
    assert whole(table)


@pytest.mark.parametrize("on_disk, in_table", [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents(table, on_disk, in_table):
    for k in range(30):
        (table / "images" / f"{k}.png").rename(table / "images" / unicodedata.normalize(on_disk, f"Zoë_{k}.png"))
    write(table, image=[unicodedata.normalize(in_table, f"Zoë_{k}.png") for k in range(30)])
    assert whole(table)


def test_a_table_with_tabs_as_tsv(table):
    write(table, "\t", file="t.tsv"); (table / "t.csv").unlink()
    assert whole(table)


def test_names_that_several_files_fit_and_paths_of_other_machines(table):
    picture(table / "images" / "0.PNG", 77); picture(table / "images" / "1.jpg", 77)
    write(table, image=["0.Png", "1", *(f"{k}.png" for k in range(2, 30))])
    with pytest.raises(ValueError, match="(?s)line 2: '0.Png' may be any of 0.PNG, 0.png.*line 3: '1' may be any"):
        load("folder", table)
    assert len(quiet(table, on_bad="skip", valid_fraction=0)) == 28
    for name in ("C:\\faces\\images\\0.png", "/home/someone/0.png", "..\\images\\0.png"):
        write(table, image=[name, *(f"{k}.png" for k in range(1, 30))])
        with pytest.raises(ValueError, match="line 2: .*leads out of the corpus folder"):
            load("folder", table, valid_fraction=0)


def test_two_rows_that_mean_one_picture(table):
    # line 2 is happy, line 3 sad, both of 1.png
    write(table, image=["1.PNG", *(f"{k}.png" for k in range(1, 30))])
    with pytest.warns(UserWarning): c = load("folder", table, valid_fraction=0)
    assert "1.png" not in c.names and c.skipped["reason"].str.contains("contradict").sum() == 2


# --- pixels in parquet

X = np.random.default_rng(0).integers(0, 256, (12, 6, 6), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (12, 6, 6, 3), np.uint8)
CODES = [k % 3 for k in range(12)]


def numbers(root, pictures, column="image", label="emotion", type_=None, **more):
    root.mkdir(exist_ok=True)
    explained = json.dumps({"info": {"features": {label: {"names": list(KINDS), "_type": "ClassLabel"}}}})
    t = pa.table({column: pa.array(pictures, type_), label: CODES} | more)
    pq.write_table(t.replace_schema_metadata({"huggingface": explained}), root / "all.parquet", row_group_size=5,
                   write_page_checksum=True)
    return root


FORMS = {"rows": (X.tolist(), None, X), "rows of bytes": (X.tolist(), pa.list_(pa.list_(pa.uint8())), X),
         "fixed rows": (X.tolist(), pa.list_(pa.list_(pa.uint8(), 6), 6), X),
         "one list": ([x.ravel().tolist() for x in X], None, X),
         "floats": (X.astype(float).tolist(), pa.large_list(pa.large_list(pa.float32())), X),
         "text": ([" ".join(map(str, x.ravel())) for x in X], None, X),
         "colour behind": (COLOUR.tolist(), None, COLOUR),
         "colour before": (COLOUR.transpose(0, 3, 1, 2).tolist(), None, COLOUR),
         "grey behind": (X[..., None].tolist(), None, X), "grey before": (X[:, None].tolist(), None, X)}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("column", ["image", "pixels"])
def test_pixels(tmp_path, form, column):
    pictures, type_, want = FORMS[form]
    c = quiet(numbers(tmp_path / "p", pictures, column, type_=type_), valid_fraction=0)
    assert (c.images[:] == want.reshape(c.images.shape)).all()
    assert [c.classes[l] for l in c.labels] == [KINDS[k] for k in CODES]


def test_the_explained_label_is_taken(tmp_path):
    c = quiet(numbers(tmp_path / "p", X.tolist(), label="label", emotion=["none"] * 12), valid_fraction=0)
    assert [c.classes[l] for l in c.labels] == [KINDS[k] for k in CODES]


@pytest.mark.parametrize("pictures, why", [((X / 255).tolist(), "first value is no picture: pixels from"),
                                           ([[1, 2, 3]] * 12, "no square"), ([[[300, 0], [0, 0]]] * 12, "to 300"),
                                           ([[["a"]]] * 12, "no numbers"), (["1 2 3 4 5"] * 12, "5 pixels in one row"),
                                           (["1 2 3 999"] * 12, "to 999")])
def test_pixels_that_are_none(tmp_path, pictures, why):
    with pytest.raises(ValueError, match=why): load("folder", numbers(tmp_path / "p", pictures), valid_fraction=0)


def test_single_rows_of_pixels_that_are_none(tmp_path):
    odd = X.tolist(); odd[3] = [[1, 2], [3]]; odd[5] = None; odd[7] = [[None] * 6] * 6
    root = numbers(tmp_path / "p", odd)
    with pytest.raises(ValueError, match="(?s)3 cannot be used.*row 3: no picture .its rows of pixels are of unequal "
                                         "length"):
        load("folder", root, valid_fraction=0)
    with pytest.warns(UserWarning, match="3 left out"): c = load("folder", root, valid_fraction=0, on_bad="skip")
    assert (c.images[..., 0] == np.delete(X, [3, 5, 7], 0)).all()


# --- whatever the tables hold

@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    base = tmp_path_factory.mktemp("doors")
    (base / "csv").mkdir()
    for k in range(30): picture(base / "csv" / "images" / f"{k}.png", k)
    write(base / "csv", ";", "utf-16", split=["train", "val", "test"] * 10, person=[f"p{k // 3}" for k in range(30)])
    for form in ("rows", "text"):
        numbers(base / form, FORMS[form][0], split=["train"] * 8 + ["test"] * 4,
                person=[f"p{k // 4}" for k in range(12)])
    return base


def outcome(root, file):
    "The names that can be read from `root`; None for a clear error, which names the folder or the file."
    try:
        return {s: set(quiet(root, s, on_bad="skip", group="person", valid_fraction=.3).names)
                for s in ("train", "test")}
    except (ValueError, FileNotFoundError) as e:
        assert file in str(e) or root.name in str(e) or "folder" in str(e) or "group" in str(e), e


@settings(max_examples=150, deadline=None, derandomize=True)
@given(door=st.sampled_from(["csv/t.csv", "rows/all.parquet", "text/all.parquet"]),
       cut=st.one_of(st.none(), st.integers(0, 4000)),
       edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=5))
def test_damaged_tables(doors, door, cut, edits):
    path = doors / door
    data = path.read_bytes()
    damaged = bytearray(data[:cut])
    for at, value in edits:
        if damaged: damaged[at % len(damaged)] = value
    try: path.write_bytes(damaged); outcome(path.parent, path.name)
    finally: path.write_bytes(data)


strange = st.one_of(st.text(max_size=6), st.sampled_from(["test", "\0", "train ", "C:\\x.png", "/etc/passwd"]))
cell = st.tuples(st.integers(0, 29), st.sampled_from(["image", "label", "split", "person"]), strange)

@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(cell, min_size=1, max_size=4))
def test_strange_cells_move_no_other_picture(tmp_path_factory, cells):
    root = tmp_path_factory.mktemp("cells")
    for k in range(30): picture(root / "images" / f"{k}.png", k)
    rows = {"image": [f"{k}.png" for k in range(30)], "split": ["train", "val", "test"] * 10,
            "person": [f"p{k // 3}" for k in range(30)]}
    t = pd.DataFrame({"image": rows["image"], "label": [KINDS[k % 3] for k in range(30)], "split": rows["split"],
                      "person": rows["person"]})
    for k, c, v in cells: t.loc[k, c] = v
    t.to_csv(root / "t.csv", index=False)
    touched = {f"{k}.png" for k, _, _ in cells} | set(t["image"][[k for k, _, _ in cells]])
    for split, word in (("train", "train"), ("valid", "val"), ("test", "test")):
        try: c = quiet(root, split, on_bad="skip", group="person")
        except (ValueError, FileNotFoundError) as e: assert str(e); continue
        want = {f"{k}.png" for k in range(30) if rows["split"][k] == word}
        assert set(c.names) - touched == want - touched or len(set(t["image"])) < 30
    shutil.rmtree(root)


def test_files_below_is_one_list(classes):
    notes = Problems()
    assert files_below(classes, notes) == sorted(f"{KINDS[k % 3]}/{k}.png" for k in range(30)) and not notes


# --- the other corpora list pictures in the same way

def test_other_corpora_pass_over_what_is_the_machines(tmp_path):
    from rbdm_nb.corpora import affectnet, ckplus, ferplus, rafdb
    places = {ckplus: ("cohn-kanade-images/@eaDir/S001", "cohn-kanade-images/S005/@eaDir"),
              rafdb: ("DATASET/train/1/@eaDir",), ferplus: ("FER2013Train",), affectnet: ("train_set/images",)}
    made = {ckplus: dict(n=60, frames=2, height=49), rafdb: dict(release="folders"), ferplus: {},
            affectnet: dict(n=40, release="affectnet8")}
    for module, options in made.items():
        root = tmp_path / module.__name__
        module.fake(root, **options)
        before = quiet_of(module, root)
        for place in places[module]:
            (root / place).mkdir(parents=True, exist_ok=True)
            for junk in ("._1.jpg", "._1.png"): (root / place / junk).write_bytes(b"\0\5\x16\7")
        assert quiet_of(module, root) == before


def quiet_of(module, root):
    with warnings.catch_warnings(): warnings.simplefilter("error", UserWarning); c = module.load(root)
    return c.digest, len(c.skipped)

"A user's own corpus: class folders and tables, repeats, splits, and what is refused."
import shutil, warnings
from pathlib import Path

import numpy as np, pytest
from PIL import Image
from rbdm_nb import folder
from rbdm_nb.datasets import EXPRESSIONS, load
from rbdm_nb.folder import divide
from rbdm_nb.notebooks import root

REAL = Path(root()).parent / "shared" / "data" / "facial_expressions"
real = pytest.mark.skipif(not (REAL / "legend.csv").is_file(), reason=f"facial_expressions is not in {REAL}")


def picture(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((12, 12), value, np.uint8)).save(path)


@pytest.fixture
def classes(tmp_path):
    for k in range(40): picture(tmp_path / ("happy", "Sadness", "ANGER", "neutral")[k % 4] / f"{k}.png", k)
    return tmp_path


@pytest.fixture
def table(tmp_path):
    for k in range(20): picture(tmp_path / "images" / f"{k}.png", k)
    (tmp_path / "legend.csv").write_text("id,image,emotion\n" + "".join(f"{k},{k}.png,{('Happiness', 'SAD')[k % 2]}\n" for k in range(20)))
    return tmp_path


def add(path, text): path.write_text(path.read_text() + text)


# --- class folders

def test_class_folders(classes):
    train, valid = load("folder", classes), load("folder", classes, "valid")
    assert len(train) == 36 and len(valid) == 4 and not set(train.names) & set(valid.names) and train.classes == EXPRESSIONS
    for c in (train, valid):
        for name, label, image in zip(c.names, c.labels, c.images):
            kind, file = name.split("/")
            assert EXPRESSIONS[label] == dict(happy="happy", Sadness="sad", ANGER="anger", neutral="neutral")[kind] and (image == int(file[:-4])).all()
    assert list(valid.counts()[["happy", "sad", "anger", "neutral"]]) == [1] * 4
    with pytest.raises(FileNotFoundError, match="no test split.*test_fraction"): load("folder", classes, "test")
    assert len(load("folder", classes, "test", test_fraction=0.2)) == 8


def test_split_folders(classes, tmp_path):
    other = tmp_path / "other"
    for split, folder_name in (("train", "Train"), ("valid", "val")):
        for k in range(6): picture(other / folder_name / ("happy", "sad")[k % 2] / "deep" / f"{split}{k}.png", k)
    assert len(load("folder", other)) == 6 and len(load("folder", other, "valid")) == 6
    with pytest.raises(FileNotFoundError, match="test"): load("folder", other, "test")
    assert len(load("folder", other, "test", test_fraction=0.34)) == 2      # taken from train, valid stays what it is
    assert len(load("folder", other, test_fraction=0.34)) == 4 and len(load("folder", other, "valid", test_fraction=0.34)) == 6


def test_other_tasks(tmp_path):
    for k, c in enumerate(["cat", "dog", "cat", "Fox"]): picture(tmp_path / c / f"{k}.png")
    c = load("folder", tmp_path, classes="found", valid_fraction=0)
    assert c.classes == ("Fox", "cat", "dog") and list(c.counts()) == [1, 2, 1]
    assert list(load("folder", tmp_path, classes=("dog", "cat", "fox", "owl"), valid_fraction=0).counts()) == [1, 2, 1, 0]
    with pytest.raises(ValueError, match="unknown label 'Fox'"): load("folder", tmp_path, classes=("dog", "cat"))
    with pytest.raises(ValueError, match="found"): load("folder", tmp_path, classes="cat")


def test_what_is_no_labelled_picture_is_listed(classes):
    (classes / "happy" / "notes.txt").write_text("x"); picture(classes / "stray.png")
    with pytest.warns(UserWarning, match="2 left out"): c = load("folder", classes)
    assert set(c.skipped["name"]) == {"happy/notes.txt", "stray.png"}


def test_unknown_class_folder(classes):
    (classes / "ANGER").rename(classes / "angre")
    with pytest.raises(ValueError, match="(?s)10 cannot be used.*angre/10.png: unknown label 'angre'; did you mean 'angry'"): load("folder", classes)
    with pytest.warns(UserWarning): c = load("folder", classes, on_bad="skip", valid_fraction=0)
    assert len(c) == 30 and len(c.skipped) == 10


def test_links_that_lead_out(classes, tmp_path_factory):
    out = tmp_path_factory.mktemp("out"); picture(out / "secret.png", 7); picture(out / "d" / "x.png", 7)
    (classes / "happy" / "link.png").symlink_to(out / "secret.png"); (classes / "happy" / "dir").symlink_to(out / "d")
    with pytest.raises(ValueError, match="link.png.*leads out"): load("folder", classes, valid_fraction=0)
    with pytest.warns(UserWarning): c = load("folder", classes, on_bad="skip", valid_fraction=0)
    assert len(c) == 40 and "happy/link.png" in set(c.skipped["name"])


# --- tables

def test_table_is_found(table):
    c = load("folder", table, valid_fraction=0.2)
    assert len(c) == 16 and c.images.shape == (16, 12, 12, 1) and c.corpus == table.name and not len(c.skipped)
    assert all((i == int(n[:-4])).all() and EXPRESSIONS[l] == ("happy", "sad")[int(n[:-4]) % 2] for n, l, i in zip(c.names, c.labels, c.images))


def test_columns_and_places(table):
    (table / "images").rename(table / "faces")
    (table / "legend.csv").rename(table / "a.csv"); (table / "b.csv").write_text("x,y\n0.png,happy\n")
    with pytest.raises(ValueError, match="several CSV files.*a.csv, b.csv"): load("folder", table)
    assert len(load("folder", table, csv="a.csv", images="faces")) == 18
    with pytest.raises(ValueError, match="no image column .*x, y"): load("folder", table, csv="b.csv", images="faces")
    with pytest.raises(ValueError, match="no label column 'z'.*one of x, y"): load("folder", table, csv="b.csv", image_column="x", label_column="z")
    with pytest.warns(UserWarning, match="19 left out"): assert len(load("folder", table, csv="b.csv", image_column="x", label_column="y", images="faces")) == 1
    with pytest.raises(FileNotFoundError, match="c.csv"): load("folder", table, csv="c.csv")
    with pytest.raises(FileNotFoundError, match="pictures"): load("folder", table, csv="a.csv", images="pictures")


def test_a_table_for_each_split(table):
    lines = (table / "legend.csv").read_text().splitlines()
    (table / "legend.csv").unlink()
    (table / "train.csv").write_text("\n".join(lines[:15])); (table / "valid.csv").write_text("\n".join([lines[0], *lines[15:]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [len(load("folder", table, s, csv="{split}.csv")) for s in ("train", "valid")] == [14, 6]


def test_repeats(table):
    add(table / "legend.csv", "x,0.png,happy\nx,./1.png,happy\nx,2.png,sad\nx,2.png,sad\n")
    whole = dict(valid_fraction=0)
    with pytest.warns(UserWarning, match="6 left out"): c = load("folder", table, **whole)
    assert len(c) == 18 and not {"1.png", "2.png"} & set(c.names) and "0.png" in c.names
    assert sorted(c.skipped["name"]) == ["0.png", "1.png", "1.png", "2.png", "2.png", "2.png"]
    assert c.skipped["reason"].str.contains("legend.csv line 22: 0.png is happy, as in legend.csv line 2 already").sum() == 1
    assert c.skipped["reason"].str.contains("contradict").sum() == 5
    with pytest.warns(UserWarning, match="4 left out"): c = load("folder", table, duplicates="first", **whole)
    assert len(c) == 20 and EXPRESSIONS[c.labels[list(c.names).index("2.png")]] == "happy"
    with pytest.raises(ValueError, match="line 22"): load("folder", table, duplicates="error", **whole)
    with pytest.raises(ValueError, match="did you mean 'drop'"): load("folder", table, duplicates="dropp")


def test_pictures_without_a_row_are_listed(table):
    picture(table / "images" / "extra.png")
    with pytest.warns(UserWarning, match="1 left out, the first: extra.png: not named in legend.csv"): c = load("folder", table)
    assert len(c) == 18


# --- bad input

@pytest.mark.parametrize("row, why", [("x,none.png,sad", "none.png .*line 22.*not found"), ("x,0.png,", "line 22: blank label"), ("x,,sad", "line 22: blank picture name"),
                                      ("x,0.png,hapy", "line 22: unknown label 'hapy'; did you mean 'happy'"), ("x,../legend.csv,sad", "line 22.*leads out"),
                                      ("x,/etc/hostname,sad", "line 22.*leads out"), ("x,0.png", "line 22: 2 fields")])
def test_bad_rows(table, row, why):
    add(table / "legend.csv", row + "\n")
    with pytest.raises((ValueError, FileNotFoundError), match=why): load("folder", table, valid_fraction=0)
    with pytest.warns(UserWarning, match="1 left out"): c = load("folder", table, valid_fraction=0, on_bad="skip")
    assert len(c) == 20 and len(c.skipped) == 1


def test_bad_pictures(table):
    images = table / "images"
    (images / "0.png").write_bytes(b""); (images / "1.png").write_text("no"); (images / "2.png").write_bytes((images / "2.png").read_bytes()[:50])
    (images / "3.png").unlink(); (images / "3.png").mkdir()
    Image.new("CMYK", (20, 16)).save(images / "4.png", "JPEG")     # another format than its name says, another size, in colour
    with pytest.raises(ValueError, match="(?s)4 cannot be used.*0.png .*line 2.*empty.*not an image.*damaged"): load("folder", table, valid_fraction=0)
    with pytest.warns(UserWarning, match="4 left out"): c = load("folder", table, valid_fraction=0, on_bad="skip")
    assert len(c) == 16 and c.images.shape == (16, 12, 12, 3)


def test_nothing_there(tmp_path):
    with pytest.raises(ValueError, match="no labelled pictures"): load("folder", tmp_path)
    (tmp_path / "t.csv").write_text("image,label\n")
    with pytest.raises(ValueError, match="no labelled pictures"): load("folder", tmp_path)
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(ValueError, match="t.csv"): load("folder", tmp_path)


# --- splits

def test_splits_depend_on_names_alone():
    g = np.random.default_rng(0)
    names = np.array([f"p{k}.jpg" for k in range(500)]); labels = g.choice(5, 500, p=[.6, .3, .07, .02, .01])
    parts = divide(names, labels, 0.2, 0.1, seed=3)
    order = g.permutation(500)
    assert (divide(names[order], labels[order], 0.2, 0.1, seed=3) == parts[order]).all() and (divide(names, labels, 0.2, 0.1, seed=4) != parts).any()
    for c in range(5):
        n = (labels == c).sum(); got = [((labels == c) & (parts == s)).sum() for s in ("train", "valid", "test")]
        assert got[0] >= 1 and abs(got[1] - n * 0.2) <= 1 and abs(got[2] - n * 0.1) <= 1
    assert list(divide(["a"], [0])) == ["train"] and sorted(divide(["a", "b"], [0, 0])) == ["train", "valid"]
    for bad in ((1.0, 0), (0.5, 0.5), (-0.1, 0)):
        with pytest.raises(ValueError, match="fraction"): divide(["a"], [0], *bad)


@real
def test_facial_expressions():
    counts = folder.label_counts(REAL)
    assert counts.to_numpy().sum() == 13681 and (counts.loc["train"] >= 1).all() and (counts.loc["valid"] >= 1).all()
    with pytest.warns(UserWarning, match="45 left out"): c = load("folder", REAL, "valid")
    assert len(c) == counts.loc["valid"].sum() and c.images.shape[1:] == (128, 128, 1)
    gone = c.skipped["reason"]
    assert gone.str.contains("not named").sum() == 36 and gone.str.contains("already").sum() == 7 and gone.str.contains("contradict").sum() == 2

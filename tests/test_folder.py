"A user's own corpus: class folders, tables, parquet, arrays and pipelines; repeats, splits, and what is refused."
import io, json, os, warnings
from pathlib import Path

import numpy as np, pyarrow as pa, pyarrow.parquet as pq, pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from rbdm_nb.corpora import datasets, folder, tables
from rbdm_nb.corpora.datasets import EXPRESSIONS, check, load
from rbdm_nb.corpora.folder import divide, from_arrays, from_tfdata
from rbdm_nb.project import root

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
    rows = [f"{k},{k}.png,{('Happiness', 'SAD')[k % 2]}\n" for k in range(20)]
    (tmp_path / "legend.csv").write_text("id,image,emotion\n" + "".join(rows))
    return tmp_path


def add(path, text): path.write_text(path.read_text() + text)


# --- class folders

def test_class_folders(classes):
    train, valid = load("folder", classes), load("folder", classes, "valid")
    assert (len(train) == 36 and len(valid) == 4 and not set(train.names) & set(valid.names)
            and train.classes == EXPRESSIONS)
    for c in (train, valid):
        for name, label, image in zip(c.names, c.labels, c.images):
            kind, file = name.split("/")
            assert EXPRESSIONS[label] == dict(happy="happy", Sadness="sad", ANGER="anger", neutral="neutral")[kind]
            assert (image == int(file[:-4])).all()
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
    assert len(load("folder", other, test_fraction=0.34)) == 4
    assert len(load("folder", other, "valid", test_fraction=0.34)) == 6


def test_other_tasks(tmp_path):
    for k, c in enumerate(["cat", "dog", "cat", "Fox"]): picture(tmp_path / c / f"{k}.png")
    c = load("folder", tmp_path, classes="found", valid_fraction=0)
    assert c.classes == ("Fox", "cat", "dog") and list(c.counts()) == [1, 2, 1]
    assert list(load("folder", tmp_path, classes=("dog", "cat", "fox", "owl"),
                     valid_fraction=0).counts()) == [1, 2, 1, 0]
    with pytest.raises(ValueError, match="unknown label 'Fox'"): load("folder", tmp_path, classes=("dog", "cat"))
    with pytest.raises(ValueError, match="found"): load("folder", tmp_path, classes="cat")


def test_what_is_no_labelled_picture_is_listed(classes):
    (classes / "happy" / "notes.txt").write_text("x"); picture(classes / "stray.png")
    with pytest.warns(UserWarning, match="2 left out"): c = load("folder", classes)
    assert set(c.skipped["name"]) == {"happy/notes.txt", "stray.png"}


def test_unknown_class_folder(classes):
    (classes / "ANGER").rename(classes / "angre")
    with pytest.raises(ValueError, match="(?s)10 cannot be used.*angre/10.png: unknown label 'angre'; did you mean "
                                         "'angry'"):
        load("folder", classes)
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
    assert all((i == int(n[:-4])).all() and EXPRESSIONS[l] == ("happy", "sad")[int(n[:-4]) % 2] for n, l,
               i in zip(c.names, c.labels, c.images))


def test_columns_and_places(table):
    (table / "images").rename(table / "faces")
    (table / "legend.csv").rename(table / "a.csv"); (table / "b.csv").write_text("x,y\n0.png,happy\n")
    with pytest.raises(ValueError, match="several CSV files.*a.csv, b.csv"): load("folder", table)
    assert len(load("folder", table, csv="a.csv", images="faces")) == 18
    with pytest.raises(ValueError, match="no image column .*x, y"): load("folder", table, csv="b.csv", images="faces")
    with pytest.raises(ValueError, match="no label column 'z'.*one of x, y"):
        load("folder", table, csv="b.csv", image_column="x", label_column="z")
    with pytest.warns(UserWarning, match="19 left out"):
        assert len(load("folder", table, csv="b.csv", image_column="x", label_column="y", images="faces")) == 1
    with pytest.raises(FileNotFoundError, match="c.csv"): load("folder", table, csv="c.csv")
    with pytest.raises(FileNotFoundError, match="pictures"): load("folder", table, csv="a.csv", images="pictures")


def test_a_table_for_each_split(table):
    lines = (table / "legend.csv").read_text().splitlines()
    (table / "legend.csv").unlink()
    (table / "train.csv").write_text("\n".join(lines[:15]))
    (table / "valid.csv").write_text("\n".join([lines[0], *lines[15:]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert [len(load("folder", table, s, csv="{split}.csv")) for s in ("train", "valid")] == [14, 6]


def test_repeats(table):
    add(table / "legend.csv", "x,0.png,happy\nx,./1.png,happy\nx,2.png,sad\nx,2.png,sad\n")
    whole = dict(valid_fraction=0)
    with pytest.warns(UserWarning, match="6 left out"): c = load("folder", table, **whole)
    assert len(c) == 18 and not {"1.png", "2.png"} & set(c.names) and "0.png" in c.names
    assert sorted(c.skipped["name"]) == ["0.png", "1.png", "1.png", "2.png", "2.png", "2.png"]
    again = "legend.csv line 22: 0.png is happy, as in legend.csv line 2 already"
    assert c.skipped["reason"].str.contains(again).sum() == 1
    assert c.skipped["reason"].str.contains("contradict").sum() == 5
    with pytest.warns(UserWarning, match="4 left out"): c = load("folder", table, duplicates="first", **whole)
    assert len(c) == 20 and EXPRESSIONS[c.labels[list(c.names).index("2.png")]] == "happy"
    with pytest.raises(ValueError, match="line 22"): load("folder", table, duplicates="error", **whole)
    with pytest.raises(ValueError, match="did you mean 'drop'"): load("folder", table, duplicates="dropp")


def test_pictures_without_a_row_are_listed(table):
    picture(table / "images" / "extra.png")
    with pytest.warns(UserWarning, match="1 left out, the first: extra.png: not named in legend.csv"):
        c = load("folder", table)
    assert len(c) == 18


# --- bad input

@pytest.mark.parametrize("row, why", [("x,none.png,sad", "none.png .*line 22.*not found"),
                                      ("x,0.png,", "line 22: blank label"), ("x,,sad", "line 22: blank picture name"),
                                      ("x,0.png\0,sad", "line 22: NUL in the picture name"),
                                      ("x,0.png,sad\0happy", "line 22: unknown label"),
                                      ("x,0.png,hapy", "line 22: unknown label 'hapy'; did you mean 'happy'"),
                                      ("x,../legend.csv,sad", "line 22.*leads out"),
                                      ("x,/etc/hostname,sad", "line 22.*leads out"), ("x,0.png", "line 22: 2 fields")])
def test_bad_rows(table, row, why):
    add(table / "legend.csv", row + "\n")
    with pytest.raises((ValueError, FileNotFoundError), match=why): load("folder", table, valid_fraction=0)
    with pytest.warns(UserWarning, match="1 left out"): c = load("folder", table, valid_fraction=0, on_bad="skip")
    assert len(c) == 20 and len(c.skipped) == 1


def test_bad_pictures(table):
    images = table / "images"
    (images / "0.png").write_bytes(b"")
    (images / "1.png").write_text("no")
    (images / "2.png").write_bytes((images / "2.png").read_bytes()[:50])
    (images / "3.png").unlink(); (images / "3.png").mkdir()
    # another format than its name says, another size, in colour
    Image.new("CMYK", (20, 16)).save(images / "4.png", "JPEG")
    with pytest.raises(ValueError, match="(?s)4 cannot be used.*0.png .*line 2.*empty.*not an image.*damaged"):
        load("folder", table, valid_fraction=0)
    with pytest.warns(UserWarning, match="4 left out"): c = load("folder", table, valid_fraction=0, on_bad="skip")
    assert len(c) == 16 and c.images.shape == (16, 12, 12, 3)


def test_nothing_there(tmp_path):
    with pytest.raises(ValueError, match="no labelled pictures"): load("folder", tmp_path)
    (tmp_path / "t.csv").write_text("image,label\n")
    with pytest.raises(ValueError, match="no labelled pictures"): load("folder", tmp_path)
    (tmp_path / "t.csv").write_text("")
    with pytest.raises(ValueError, match="t.csv"): load("folder", tmp_path)


# --- parquet

def encoded(value=0, form="PNG", size=12):
    out = io.BytesIO()
    Image.fromarray(np.full((size, size), value, np.uint8)).save(out, form)
    return out.getvalue()


def parquet(path, image, label, **metadata):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": image, "label": label}).replace_schema_metadata(metadata or None), path,
                   row_group_size=3, write_page_checksum=True)
    return path


def struct(rows): return pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


NAMES = ["anger", "happy", "sad"]      # not the order of EXPRESSIONS
CLASSLABEL = json.dumps({"info": {"features": {"image": {"_type": "Image"},
                                               "label": {"names": NAMES, "_type": "ClassLabel"}}}})


@pytest.mark.parametrize("kind", ["struct", "binary", "large_binary", "names", "names in a dictionary"])
@pytest.mark.parametrize("labels", ["names", "numbers", "numbers and names"])
def test_parquet(tmp_path, kind, labels):
    data, numbers = [encoded(20 * k) for k in range(8)], [k % 3 for k in range(8)]
    for k, d in enumerate(data):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{k}.png").write_bytes(d)
    files = [f"{k}.png" for k in range(8)]
    image = {"struct": struct([{"bytes": d, "path": None} for d in data]), "binary": pa.array(data, pa.binary()),
             "large_binary": pa.array(data, pa.large_binary()),
             "names": pa.array(files), "names in a dictionary": pa.array(files).dictionary_encode()}[kind]
    label = pa.array([NAMES[k].upper() for k in numbers]) if labels == "names" else pa.array(numbers, pa.int64())
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", image, label,
            **({"huggingface": CLASSLABEL} if labels == "numbers" else {}))
    options = dict(valid_fraction=0) | ({"names": NAMES} if labels == "numbers and names" else {})
    with warnings.catch_warnings(): warnings.simplefilter("error"); c = load("folder", tmp_path, **options)
    assert [int(i[0, 0, 0]) for i in c.images[:]] == [20 * k for k in range(8)]
    assert [EXPRESSIONS[l] for l in c.labels] == [NAMES[k] for k in numbers]
    assert list(c.names) == (files if "names" in kind
                             else [f"data/train-00000-of-00001.parquet#{k}"
                                   for k in range(8)]) and c.images.shape == (8, 12, 12, 1)


def test_numbers_are_not_guessed(tmp_path, table):
    parquet(tmp_path / "p" / "train.parquet", pa.array([encoded()] * 3), pa.array([0, 1, 2]))
    with pytest.raises(ValueError, match=r"labels are numbers \(0, 1, 2\); give names"): load("folder", tmp_path / "p")
    assert load("folder", tmp_path / "p", classes="found", valid_fraction=0).classes == ("0", "1", "2")
    with pytest.raises(ValueError, match="(?s)1 cannot be used.*row 2: unknown label '2'"):
        load("folder", tmp_path / "p", names=["sad", "anger"], valid_fraction=0)
    text = (table / "legend.csv").read_text().replace("Happiness", "0").replace("SAD", "1")
    (table / "legend.csv").write_text(text)
    with pytest.raises(ValueError, match="labels are numbers"): load("folder", table, parquet=False)
    assert list(load("folder", table, parquet=False, names=("fear", "disgust"),
                     valid_fraction=0).counts()[["fear", "disgust"]]) == [10, 10]


def test_parquet_splits_and_several_files(tmp_path):
    for file, n, start in (("data/train-00000-of-00002.parquet", 5, 0), ("data/train-00001-of-00002.parquet", 4, 5),
                           ("validation/0000.parquet", 2, 9), ("test.parquet", 3, 11)):
        parquet(tmp_path / file, pa.array([encoded(start + k) for k in range(n)]),
                pa.array(["sad", "happy", "sad", "happy", "sad"][:n]))
    for split, pixels in (("train", range(9)), ("valid", range(9, 11)), ("test", range(11, 14))):
        assert [int(i[0, 0, 0]) for i in load("folder", tmp_path, split).images[:]] == list(pixels)
    assert len(load("folder", tmp_path, "train", parquet="data/*-00001-*", valid_fraction=.25)) == 2
    assert len(load("folder", tmp_path, "valid", parquet="data/*-00001-*", valid_fraction=.25)) == 2
    assert folder.label_counts(tmp_path).sum(axis=1).to_dict() == dict(train=9, valid=2, test=3)
    assert check("folder", tmp_path).counts.sum(axis=1).to_dict() == dict(train=9, valid=2, test=3)
    (tmp_path / "a.csv").write_text("image,label\n1.png,sad\n")
    with pytest.raises(ValueError, match="a.csv and parquet files; choose with csv=False or parquet=False"):
        load("folder", tmp_path)
    assert len(load("folder", tmp_path, csv=False)) == 9
    for pattern, why in (("../*.parquet", "leads out"), ("/etc/*", "leads out"), ("none*.parquet", "no none")):
        with pytest.raises((ValueError, FileNotFoundError), match=why): load("folder", tmp_path, parquet=pattern)
    with pytest.raises(ValueError, match="give one of them"):
        load("folder", tmp_path, csv="a.csv", parquet="test.parquet")


def test_large_parquet_is_read_on_demand(tmp_path, monkeypatch):
    folder.fake(tmp_path / "p", 32, release="parquet")
    whole = load("folder", tmp_path / "p")
    monkeypatch.setattr("rbdm_nb.corpora.files.MEMORY", 1); monkeypatch.setenv("RBDM_CACHE", str(tmp_path / "cache"))
    lazy, kept = load("folder", tmp_path / "p"), load("folder", tmp_path / "p", unpacked=tmp_path / "kept")
    assert hasattr(lazy.images, "read") and lazy.digest == whole.digest == kept.digest
    assert (lazy.images[5] == whole.images[5]).all()
    files = {f: f.stat().st_mtime_ns for f in (tmp_path / "kept").rglob("*") if f.is_file()}
    load("folder", tmp_path / "p", unpacked=tmp_path / "kept")
    # not written again
    assert len(files) == len(whole) and all(f.stat().st_mtime_ns == t for f, t in files.items())
    source = tmp_path / "p" / "data" / "train-00000-of-00001.parquet"
    folder.write_parquet(source, [encoded(7)] * 4, [0, 1, 2, 3], EXPRESSIONS)
    # another file, other pictures
    assert (load("folder", tmp_path / "p", unpacked=tmp_path / "kept").images[:] == 7).all()
    monkeypatch.setattr(tables, "KEPT", 1)
    assert (load("folder", tmp_path / "p").images[:]
            == 7).all() and len([f for f in (tmp_path / "cache" / "unpacked").rglob("*") if f.is_file()]) == 4


def test_bad_rows_of_parquet(tmp_path):
    (tmp_path / "near.png").write_bytes(encoded(9)); (tmp_path.parent / "secret.png").write_bytes(encoded(8))
    rows = [{"bytes": encoded(1), "path": "../x"}, {"bytes": b"", "path": None}, {"bytes": None, "path": "near.png"},
            {"bytes": None, "path": "../secret.png"}, None, {"bytes": b"no", "path": "n"},
            {"bytes": encoded(2), "path": "p"}, {"bytes": encoded(3), "path": "q"}]
    parquet(tmp_path / "train.parquet", struct(rows), pa.array(["sad"] * 6 + [None, "sda"]))
    with pytest.raises(ValueError, match="(?s)2 cannot be used.*row 6: blank label.*row 7: unknown label 'sda'; did "
                                         "you mean 'sad'"):
        load("folder", tmp_path, valid_fraction=0)
    with pytest.warns(UserWarning, match="6 left out"): c = load("folder", tmp_path, valid_fraction=0, on_bad="skip")
    assert [int(i[0, 0, 0]) for i in c.images[:]] == [1, 9]
    for text in ("row 1.*empty", "row 3: no picture .*leads out", "row 4: no picture", "row 5.*not an image",
                 "row 6: blank", "row 7: unknown"):
        assert c.skipped["reason"].str.contains(text).sum() == 1


@pytest.mark.parametrize("image, label, why",
                         [(pa.array([1, 2]), pa.array(["sad", "sad"]), "column 'image' is int64; wanted bytes"),
                          (pa.array([[1], [2]]), pa.array(["sad", "sad"]), "column 'image' is list"),
                                               (pa.array([b"", b""]), pa.array([["sad"], ["sad"]]), "unknown label"),
                                               (pa.array([b"", b""]), pa.array([2.5, 1.5]), "unknown label '2.5'")])
def test_parquet_of_other_types(tmp_path, image, label, why):
    parquet(tmp_path / "train.parquet", image, label)
    with pytest.raises(ValueError, match=why): load("folder", tmp_path)


def test_parquet_without_the_columns(tmp_path):
    pq.write_table(pa.table({"x": [b""], "y": ["sad"]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="t.parquet: no image column .*one of x, y"): load("folder", tmp_path)
    with pytest.raises(ValueError, match="t.parquet: no label column 'z'"):
        load("folder", tmp_path, image_column="x", label_column="z")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="t.parquet: not a parquet file"): load("folder", tmp_path)


# --- arrays and pipelines

def faces(n=6): return np.arange(n * 16, dtype=np.uint8).reshape(n, 4, 4, 1)


@pytest.mark.parametrize("y, classes", [([0, 1, 2, 0, 1, 2], NAMES), (np.array([[0], [1], [2]] * 2), tuple(NAMES)),
                                        (np.eye(3)[[0, 1, 2, 0, 1, 2]], NAMES), ([0., 1, 2, 0, 1, 2], NAMES),
                                        (NAMES * 2, None), (np.array(NAMES * 2, object), NAMES),
                                        ([n.encode() for n in NAMES * 2], EXPRESSIONS),
                                        ([n.upper() for n in NAMES * 2], None)])
def test_arrays(y, classes):
    c = from_arrays(faces(), y, classes, "valid")
    assert [c.classes[l] for l in c.labels] == NAMES * 2 and (c.images == faces()).all()
    assert c.split == "valid" and len(set(c.names)) == 6


def test_arrays_are_not_copied_and_extras_go_along():
    x, points = faces(), np.zeros((6, 68, 2))
    c = from_arrays(x, ["sad"] * 6, names=list("abcdef"), landmarks=points)
    assert np.shares_memory(c.images, x) and c[1:3].extras["landmarks"].shape == (2, 68, 2) and list(c[1:3].names) == [
        "b", "c"]
    assert from_arrays(x[..., 0], ["sad"] * 6).images.shape == (6, 4, 4, 1)
    assert from_arrays(x, ["sad"] * 6, image_size=8, channels=3).images.shape == (6, 8, 8, 3)


@pytest.mark.parametrize("white, dtype", [(1, np.float32), (255, np.float64), (255, np.int64), (65535, np.uint16),
                                          (1, np.float16)])
def test_other_pictures_are_rounded_when_white_is_said(white, dtype):
    x = (faces() * (white / 255)).astype(dtype)
    with pytest.raises(ValueError, match=f"pictures are {np.dtype(dtype)} from .* give white=1 or white=255"):
        from_arrays(x, ["sad"] * 6)
    assert (from_arrays(x, ["sad"] * 6, white=white).images == faces()).all()


@pytest.mark.parametrize("changed, why", [
    (dict(x=np.zeros((6, 4))), "of shape"), (dict(x=np.zeros((6, 4, 4, 2), np.uint8)), "of shape"),
    (dict(x=np.full((6, 4, 4), "a")), "wanted numbers"), (dict(x=np.zeros((6, 4, 4), complex)), "wanted numbers"),
    (dict(x=np.full((6, 4, 4), np.nan), white=1), "between 0 and white"),
    (dict(x=-np.ones((6, 4, 4)), white=1), "between 0 and white"),
    (dict(x=np.full((6, 4, 4), 2.), white=1), "between 0 and white"),
    (dict(y=[0] * 5), "unequal lengths"), (dict(y=[0] * 5 + [3]), "from 0 to 3, but 3 classes"),
    (dict(y=[-1] * 6), "from -1"), (dict(y=[.5] * 6), "wanted whole numbers"),
    (dict(y=[np.nan] * 6), "wanted whole numbers"),
    (dict(y=np.full((6, 3), 1 / 3)), "one-hot"), (dict(y=np.eye(4)[[0] * 6]), "4 classes, but classes names 3"),
    (dict(y=np.zeros((6, 1, 1))), "of shape"), (dict(classes=None), "labels are numbers; give classes"),
    (dict(y=["sad"] * 5 + ["sda"]), "label 5: unknown label 'sda'; did you mean 'sad'"),
    (dict(split="training"), "did you mean 'train'"), (dict(names=["a"] * 6), "share 1 names")])
def test_arrays_that_do_not_fit(changed, why):
    with pytest.raises(ValueError, match=why): from_arrays(**(dict(x=faces(), y=[0] * 6, classes=NAMES) | changed))


def test_pipelines():
    tf = pytest.importorskip("tensorflow")
    x, y = faces(10), np.arange(10) % 3
    ds = tf.data.Dataset.from_tensor_slices((x, y))
    want = from_arrays(x, y, NAMES)
    as_dicts = tf.data.Dataset.from_tensor_slices({"image": x, "label": [NAMES[k] for k in y], "id": y})
    for pipeline in (ds, ds.batch(4), ds.batch(3, drop_remainder=False).prefetch(1), as_dicts.batch(4),
                     ds.map(lambda a, b: (tf.cast(a, tf.float32) / 255, tf.one_hot(b, 3)))):
        c = from_tfdata(pipeline, NAMES, white=1)
        assert (c.images == want.images).all() and (c.labels == want.labels).all() and c.classes == tuple(NAMES)
    assert len(from_tfdata(ds.repeat().batch(4), NAMES, limit=7)) == 7
    for pipeline, why in ((ds.repeat(), "repeats for ever"), (ds.take(0), "gives nothing"),
                          (tf.data.Dataset.from_tensor_slices(x), "wanted pairs"),
                          (ds.map(lambda a, b: (a, b, 1.)), "3 things"),
                          (ds.map(lambda a, b: (tf.cast(a, tf.float32), b)), "not uint8"),
                          (as_dicts.map(lambda d: {"image": d["image"]}), "no label column")):
        with pytest.raises(ValueError, match=why): from_tfdata(pipeline, NAMES)
    shapes = tf.TensorSpec((None, None, 1), tf.uint8), tf.TensorSpec((), tf.int32)
    mixed = tf.data.Dataset.from_generator(lambda: ((faces(1)[0, :k], 0) for k in (4, 3)), output_signature=shapes)
    with pytest.raises(ValueError, match="picture 1 has shape .*give image_size"): from_tfdata(mixed, NAMES)
    assert from_tfdata(mixed, NAMES, image_size=4).images.shape == (2, 4, 4, 1)


# --- check and fake

@pytest.mark.parametrize("release", folder.RELEASES)
def test_a_fake_is_usable(tmp_path, release):
    folder.fake(tmp_path, 24, 3, release)
    c = check("folder", tmp_path)
    assert c.usable and not len(c.bad) and c.counts.to_numpy().sum() == 24 and c.published.isna().all(axis=None)
    assert (c.counts == folder.label_counts(tmp_path)).all(axis=None)
    assert len(c.notes) == 1 and "an imitation of built-in faces" in c.notes[0]
    again = folder.fake(tmp_path.parent / f"again {release}" / tmp_path.name, 24, 3, release)
    assert load("folder", tmp_path).digest == load("folder", again).digest


def test_check_lists_what_is_bad_once(classes):
    (classes / "happy" / "0.png").write_bytes(b"")
    (classes / "neutral").rename(classes / "nutral")
    picture(classes / "stray.png")
    c = check("folder", classes)
    assert (c.usable and len(c.bad) == 11 and c.counts.sum().sum() == 29 and c.release == "class folders"
            and c.notes == [
        "1 more are left out, the first: stray.png: not in a class folder"])
    with pytest.raises(TypeError, match="folder has no option 'clases'; did you mean 'classes'"):
        check("folder", classes, clases="found")
    assert len(check("folder", classes, classes="found").bad) == 1


# --- whatever the files hold

quick = settings(max_examples=40, deadline=None, derandomize=True)
edits = st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6)
cut = st.one_of(st.none(), st.none(), st.integers(0, 20000))
strange = st.one_of(st.text(max_size=8), st.sampled_from(["/etc/hostname", "../secret.png", "images/../../secret.png",
                                                          "a\0b", ".", "x" * 3000, "C:\\x.png", "\\..\\secret.png",
                                                          "-1", "\U0001f600"]))


def damage(data, cut, edits):
    data = bytearray(data if cut is None else data[:cut])
    for at, value in edits:
        if data: data[at % len(data)] = value
    return bytes(data)


def survives(root, **options):
    "{name: (label, first pixel)} of what `load` makes of `root`; None for a clear error. No pixel is the secret's."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try: c = load("folder", root, valid_fraction=0, on_bad="skip", **options)
        except (ValueError, FileNotFoundError) as e: assert str(e); return None
    assert not (c.images[:] == SECRET).any()
    return {n: (int(l), int(i[0, 0, 0])) for n, l, i in zip(c.names, c.labels, c.images[:])}


SECRET = 251


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    "Three corpora of twelve pictures, beside a picture that none may read."
    base = tmp_path_factory.mktemp("sound"); picture(base / "secret.png", SECRET)
    for k in range(12):
        picture(base / "csv" / "images" / f"{k}.png", k)
        picture(base / "classes" / ("sad", "happy", "fear")[k % 3] / f"{k}.png", k)
    rows = [f"{k}.png,{('sad', 'happy', 'fear')[k % 3]}\n" for k in range(12)]
    (base / "csv" / "t.csv").write_text("image,label\n" + "".join(rows))
    parquet(base / "parquet" / "train.parquet", struct([{"bytes": encoded(k), "path": f"{k}.png"} for k in range(12)]),
            pa.array([k % 3 for k in range(12)]), huggingface=CLASSLABEL)
    return base


@quick
@given(cells=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 1), strange), min_size=1, max_size=4))
def test_strange_cells(sound, cells):
    "What was not touched keeps label and pixels, in a CSV file and in a parquet file of names."
    rows = [[f"{k}.png", ("sad", "happy", "fear")[k % 3]] for k in range(12)]
    truth = {name: ({"sad": 2, "happy": 1, "fear": 4}[label], k) for k, (name, label) in enumerate(rows)}
    for k, column, value in cells: rows[k][column] = value
    touched, before = {f"{k}.png" for k, _, _ in cells}, (sound / "csv" / "t.csv").read_text()
    try:
        with open(sound / "csv" / "t.csv", "w", newline="") as f: folder_csv(f, rows)
        pq.write_table(pa.table({"image": [r[0] for r in rows], "label": [r[1] for r in rows]}),
                       sound / "csv" / "t.parquet")
        for options in (dict(parquet=False), dict(csv=False)):
            found = survives(sound / "csv", **options)
            if found is not None:
                assert all(found.get(n) == t for n, t in truth.items() if n not in touched
                           and n not in {os.path.normpath(v) for _, _, v in cells})
    finally: (sound / "csv" / "t.csv").write_text(before); (sound / "csv" / "t.parquet").unlink(missing_ok=True)


def folder_csv(f, rows):
    import csv
    csv.writer(f).writerows([["image", "label"], *rows])


@quick
@given(cut=cut, edits=edits, file=st.sampled_from(["csv/t.csv", "csv/images/3.png", "classes/sad/3.png"]))
def test_damaged_files(sound, cut, edits, file):
    path, whole = sound / file, (sound / file).read_bytes()
    before = survives(sound / file.split("/")[0])
    try: path.write_bytes(damage(whole, cut, edits)); found = survives(sound / file.split("/")[0])
    finally: path.write_bytes(whole)
    if file.endswith(".png"):
        assert found is not None and all(found.get(n) == t for n, t in before.items() if not n.endswith("3.png"))


@settings(quick, max_examples=150)
@given(cut=cut, edits=edits)
def test_damaged_parquet(sound, cut, edits):
    """Pages carry checksums: what is read all the same is what was written, except where the damage is in the
    description of the columns."""
    path, whole = sound / "parquet" / "train.parquet", (sound / "parquet" / "train.parquet").read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    data = damage(whole, cut, edits)
    try: path.write_bytes(data); found = survives(sound / "parquet")
    finally: path.write_bytes(whole)
    if found and data[footer:] == whole[footer:]:
        assert all(label == (6, 1, 2)[pixel % 3] for label, pixel in found.values())


@quick
@given(st.lists(st.one_of(st.text(max_size=5), st.integers(-9, 9), st.floats(), st.none(), st.binary(max_size=3)),
                min_size=6, max_size=6), st.sampled_from([None, NAMES, "found", "x"]))
def test_strange_labels_of_arrays(y, classes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try: c = from_arrays(faces(), y, classes)
        except (ValueError, TypeError) as e: assert str(e); return
    assert len(c) == 6 and all(str(v).strip().casefold() == str(c.classes[l]).casefold()
                               or isinstance(v, (int, float, bytes)) or v in datasets.ALIASES for v,
                               l in zip(y, c.labels))


# --- splits

def test_splits_depend_on_names_alone():
    g = np.random.default_rng(0)
    names = np.array([f"p{k}.jpg" for k in range(500)]); labels = g.choice(5, 500, p=[.6, .3, .07, .02, .01])
    parts = divide(names, labels, 0.2, 0.1, seed=3)
    order = g.permutation(500)
    assert (divide(names[order], labels[order], 0.2, 0.1, seed=3) == parts[order]).all()
    assert (divide(names, labels, 0.2, 0.1, seed=4) != parts).any()
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
    assert gone.str.contains("not named").sum() == 36 and gone.str.contains("already").sum() == 7 and gone.str.contains(
        "contradict").sum() == 2

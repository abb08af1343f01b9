"AffectNet: both releases, the cleaning, the index, and rubbish of every kind."
import csv, io, os, pickle, re, shutil, sys, warnings

import numpy as np, pandas as pd, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from rbdm_nb.corpora import affectnet, images
from rbdm_nb.corpora.affectnet import CODES, check, cleaning, fake, label_counts, read_npy
from rbdm_nb.corpora.datasets import EXPRESSIONS, load as load_corpus

some = settings(max_examples=40, deadline=None, derandomize=True,
                suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
LIST = "Manually_Annotated_file_lists/training.csv"
HEAD = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
POINTS = ";".join(f"{v}" for v in range(136))


def load(root, split="train", **options):
    "The corpus at 24 pixels, without what is bad, and without its warnings."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_corpus("affectnet", root, split, **(dict(image_size=24, on_bad="skip") | options))


# --- what is opened: an audit hook sees every file that this process opens

class Opened(list):
    on = False
OPENED = Opened()

def _hook(event, args):
    if OPENED.on and event == "open" and isinstance(args[0], (str, bytes)):
        OPENED.append(os.path.realpath(os.fsdecode(args[0])))
sys.addaudithook(_hook)


@pytest.fixture
def opened():
    OPENED.clear(); OPENED.on = True
    yield OPENED
    OPENED.on = False


# --- small AffectNets

@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = {}
    for release in affectnet.RELEASES:
        out[release] = tmp_path_factory.mktemp(release)
        fake(out[release], 50, release=release)
    return out


@pytest.fixture
def copies(made, tmp_path):
    "Copies that a test may damage."
    for release, root in made.items(): shutil.copytree(root, tmp_path / "in" / release)
    return {release: tmp_path / "in" / release for release in made}


def picture(value=0, size=40):
    g = np.random.default_rng(value)
    return Image.fromarray(np.kron(g.integers(0, 256, (5, 5, 3)), np.ones((size // 5, size // 5, 1))).astype(np.uint8))


def saved(folder, name, value=0, size=40):
    path = folder / "Manually_Annotated_Images" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(value, size).save(path)
    return path


def written(folder, rows, valid=None, head=HEAD):
    "An original release of PNG files from {name: (content, code)}, or from lines of text."
    for split, rows in (("training", rows), ("validation", valid)):
        if rows is None: continue
        lines = [head] if head else []
        for row in rows:
            if isinstance(row, tuple):
                name, content, code = row
                saved(folder, name, content)
                row = f"{name},0,0,40,40,{POINTS},{code},0.5,-0.5"
            lines.append(row)
        (folder / "Manually_Annotated_file_lists").mkdir(parents=True, exist_ok=True)
        (folder / f"Manually_Annotated_file_lists/{split}.csv").write_text("\n".join(lines) + "\n")
    return folder


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as f:
        return [{k.lstrip("#"): v for k, v in row.items()} for row in csv.DictReader(f)]


# --- the releases

def test_original_gives_the_labels_of_its_list(made):
    root = made["original"]
    assert open(root / LIST).read(1) == "#" and open(root / LIST.replace("training", "validation")).read(1) == "s"
    for split, name in (("train", "training"), ("valid", "validation")):
        c, rows = load(root, split, duplicates="keep"), rows_of(root / LIST.replace("training", name))
        wanted = {r["subDirectory_filePath"]: r for r in rows if int(r["expression"]) < 8}
        assert list(c.names) == list(wanted) and len(c.skipped) == 0
        assert [c.classes[l] for l in c.labels] == [CODES[int(r["expression"])] for r in wanted.values()]
        assert np.allclose(c.extras["valence"], [float(r["valence"]) for r in wanted.values()])
        assert c.images.dtype == np.uint8
        assert split == "valid" or any(n.endswith(".tif") for n in c.names)
        assert c.images[:].shape == (len(c), 24, 24, 3)


def test_affectnet8_gives_the_labels_of_its_files(made):
    c = load(made["affectnet8"], duplicates="keep")
    folder = made["affectnet8"] / "train_set" / "annotations"
    assert list(c.names) == [f"{i}.jpg" for i in range(40)]
    assert list(c.labels) == [int(np.load(folder / f"{i}_exp.npy")) for i in range(40)]
    assert np.allclose(c.extras["arousal"], [float(np.load(folder / f"{i}_aro.npy")) for i in range(40)])
    points = np.load(folder / "7_lnd.npy").reshape(68, 2)
    assert np.allclose(c.extras["landmarks"][7], (points + .5) * 24 / 224 - .5, atol=1e-4)


def test_both_releases_and_none(copies, tmp_path):
    both = copies["original"]
    shutil.move(copies["affectnet8"] / "train_set", both / "train_set")
    with pytest.raises(ValueError, match="both releases"): load(both)
    assert len(load(both, release="affectnet8", duplicates="keep")) == 40
    with pytest.raises(ValueError, match="did you mean 'original'"): load(both, release="orginal")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="Looked for"): load(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match="never released"): load(both, "test")
    (both / LIST).unlink()
    with pytest.raises(FileNotFoundError, match="no train split"): load(both, release="original")


@pytest.mark.parametrize("lists, pictures",
                         [("", "Manually_Annotated/Manually_Annotated_Images"),
                          ("Manually_Annotated/Manually_Annotated_file_lists",
                           "Manually_Annotated/Manually_Annotated_Images")])
def test_other_places(copies, lists, pictures):
    root = copies["original"]
    n = len(load(root))
    (root / pictures).parent.mkdir(exist_ok=True); (root / lists).mkdir(parents=True, exist_ok=True)
    (root / "Manually_Annotated_Images").rename(root / pictures)
    (root / LIST).rename(root / lists / "training.csv")
    assert len(load(root)) == n


def test_landmarks_move_with_the_face(tmp_path):
    """White dots at the landmarks are where the moved landmarks are, also where the box reaches over the edge, is
    missing, or is widened."""
    g, root = np.random.default_rng(0), tmp_path
    lines = []
    for k, box in enumerate(((30, 20, 60, 60), (-20, 10, 70, 70), (70, 60, 60, 40), (-2, -2, -2, -2), (5, 5, 300, 20))):
        xy = g.integers((62, 50), (66, 65))
        a = np.zeros((100, 120, 3), np.uint8); a[xy[1] - 1:xy[1] + 2, xy[0] - 1:xy[0] + 2] = 255
        path = root / "Manually_Annotated_Images" / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(a).save(path)
        lines.append(f"{k}.png,{','.join(map(str, box))},{';'.join([f'{xy[0]};{xy[1]}'] * 68)},{k},0,0")
    written(root, lines)
    for margin, size in ((0, 64), (.2, 64), (0, 30), (0, 200)):
        c = load(root, image_size=size, margin=margin)
        assert len(c) == 5
        for i in range(5):
            light = c.images[i][..., 0].astype(float)
            centre = (light.sum(0) @ np.arange(size) / light.sum(), light.sum(1) @ np.arange(size) / light.sum())
            assert np.allclose(c.extras["landmarks"][i][3], centre, atol=.35), (margin, size, i)
    assert load(root, crop="none", image_size=100).images[0].max() == 255


def test_missing_values_are_nan(tmp_path):
    root = written(tmp_path, ["a.png,0,0,40,40,,0,-2,-2", f"b.png,,,,,{POINTS},1,0.1,"])
    for name in "ab": saved(root, f"{name}.png")
    c = load(root, duplicates="keep")
    assert np.isnan(c.extras["valence"]).tolist() == [True, False] and np.isnan(c.extras["arousal"]).all()
    assert np.isnan(c.extras["landmarks"][0]).all() and np.isfinite(c.extras["landmarks"][1]).all()


# --- the list's form

@pytest.mark.parametrize("change", [lambda t: t.replace(b"\n", b"\r\n"), lambda t: b"\xef\xbb\xbf" + t,
                                    lambda t: t.replace(b"#", b""), lambda t: t.replace(b"#", b" # "),
                                    lambda t: t.split(b"\n", 1)[1], lambda t: t + b"\n\n"])
def test_forms_of_a_list(copies, change):
    path = copies["original"] / LIST
    before = load(copies["original"])
    path.write_bytes(change(path.read_bytes()))
    after = load(copies["original"])
    assert list(after.names) == list(before.names) and (after.labels == before.labels).all()


@pytest.mark.parametrize("text, why", [("", "empty"), ("a,b,c\n1,2,3\n", "no column 'subDirectory_filePath'"),
                                       (HEAD.replace("expression", "expresion") + "\n", "did you mean 'expresion'"),
                                       (HEAD + ",expression\n", "twice"), (b"\xff\xfe\0\0", "UTF-8")])
def test_what_is_no_list(tmp_path, text, why):
    root = written(tmp_path, [])
    (root / LIST).write_bytes(text if isinstance(text, bytes) else text.encode())
    (root / "Manually_Annotated_Images").mkdir()
    with pytest.raises(ValueError, match=why): load(root)


BAD_ROWS = [("a.png,0,0,40,40,,3.5,0,0", "not a code"), ("a.png,0,0,40,40,,11,0,0", "from 0 to 10"),
            ("a.png,0,0,40,40,,1_0,0,0", "expression"), ("a.png,0,0,40,40,,٣,0,0", "expression"),
            ("a.png,0,0,40,40,,,0,0", "not a code"), ("a.png,0,0,40,40,,3,7,0", "valence"),
            ("a.png,0,0,40,40,,3,0,x", "arousal"), ("a.png,x,0,40,40,,3,0,0", "face_x"),
            ("a.png,0,0,1e9,40,,3,0,0", "face_width"), ("a.png,0,0,40,40,1;2;3,3,0,0", "68 pairs"),
            (f"a.png,0,0,40,40,{POINTS}x,3,0,0", "68 pairs"), ("a.png,0,0,40,40,,3,0", "8 fields"),
            (",0,0,40,40,,3,0,0", "blank"), ("../out.png,0,0,40,40,,3,0,0", "leads out"),
            ("/etc/passwd,0,0,40,40,,3,0,0", "leads out"), ("none.png,0,0,40,40,,3,0,0", "not found"),
            ("a.png,500,500,40,40,,3,0,0", "outside the picture"), ("a.png,-90,0,40,40,,3,0,0", "outside the picture")]

@pytest.mark.parametrize("row, why", BAD_ROWS)
def test_bad_rows_are_named(tmp_path, row, why):
    root = written(tmp_path, [("good.png", 1, 0), row])
    saved(root, "a.png")
    c = load(root)
    assert (list(c.names) == ["good.png"] and len(c.skipped) == 1 and re.search(why, c.skipped["reason"][0])
            and "line 3" in c.skipped[
        "reason"][0])
    with pytest.raises((ValueError, FileNotFoundError), match=why): load(root, on_bad="error")


def test_bad_rows_are_told_again_when_the_list_is_remembered(tmp_path):
    root = written(tmp_path, [("good.png", 1, 0), "a.png,0,0,40,40,,99,0,0"])
    assert load(root).skipped.equals(load(root).skipped) and len(load(root).skipped) == 1
    written(root, [("good.png", 1, 5)])
    assert len(load(root).skipped) == 0 and load(root).labels == [5]


# --- the cleaning

@pytest.fixture
def repeats(tmp_path):
    """Content 1 occurs under three labels, 2 twice under one, 3 as happy and as uncertain, 4 in both sets; 5 once, 6
    as none."""
    return written(tmp_path, [("1a.png", 1, 0), ("1b.png", 1, 1), ("1c.png", 1, 2), ("2a.png", 2, 3), ("2b.png", 2, 3),
                              ("3a.png", 3, 1), ("3b.png", 3, 9), ("4a.png", 4, 4), ("5.png", 5, 5), ("6.png", 6, 8)],
                   [("4b.png", 4, 6), ("7.png", 7, 7)])


def test_one_of_each_repeated_picture_is_kept(repeats):
    kept = set()
    for seed in range(12):
        train, valid = load(repeats, seed=seed), load(repeats, "valid", seed=seed)
        names = set(train.names)
        assert len(names & {"1a.png", "1b.png", "1c.png"}) == 1 and {"2a.png", "2b.png", "5.png"} <= names
        assert len(names & {"3a.png", "3b.png"}) <= 1 and not names & {"3b.png", "4a.png", "6.png"}
        assert list(valid.names) == ["4b.png", "7.png"]
        assert set(load(repeats, seed=seed).names) == names
        kept |= names
    assert {"1a.png", "1b.png", "1c.png", "3a.png"} <= kept


def test_the_choice_does_not_depend_on_the_order_of_rows(repeats):
    before = [set(load(repeats, seed=s).names) for s in range(5)]
    head, *lines = (repeats / LIST).read_text().splitlines()
    (repeats / LIST).write_text("\n".join([head, *lines[::-1]]) + "\n")
    assert [set(load(repeats, seed=s).names) for s in range(5)] == before


def test_other_rules(repeats):
    assert len(load(repeats, duplicates="keep")) == 8
    names = set(load(repeats, duplicates="all").names)
    assert len(names & {"2a.png", "2b.png"}) == 1 and len(names & {"1a.png", "1b.png", "1c.png"}) == 1
    for wrong in (dict(duplicates="al"), dict(same="dhsh"), dict(crop="fac"), dict(margin=-1.), dict(margin=np.nan)):
        with pytest.raises(ValueError): load(repeats, **wrong)


def test_steps_of_the_cleaning(repeats):
    t = cleaning(repeats, image_size=24)["found"]
    assert t["annotated"] == 12 and t["pictures that occur repeatedly"] == 3 and t["dropped as repeated"] == 4 and t[
        "cannot be read"] == 0
    assert (t["left"] + t["dropped without expression"] == 8
            and t["left"] == label_counts(repeats, image_size=24).to_numpy().sum())
    paper = cleaning(repeats, image_size=24)["paper"]
    assert [paper[k] for k in ("annotated", "pictures that occur repeatedly", "dropped as repeated",
                               "left")] == [420_299, 22_198, 34_000, 269_118]
    skipped = load(repeats).skipped
    assert len(skipped) == t["dropped as repeated"] and skipped["reason"].str.contains("shown elsewhere").all()


def test_a_naive_second_cleaning_agrees(made):
    "The numbers that go, counted with pandas from the files' content."
    rows = pd.DataFrame([dict(r, split=s) for s in ("training", "validation")
                         for r in rows_of(made["original"] / LIST.replace("training", s))])
    content = [(made["original"] / "Manually_Annotated_Images" / n).read_bytes() for n in rows["subDirectory_filePath"]]
    groups = rows.groupby(content)["expression"]
    conflicting = groups.transform("nunique") > 1
    t = cleaning(made["original"], image_size=24)["found"]
    assert t["pictures that occur repeatedly"] == len(set(np.array(content, object)[conflicting])) > 0
    assert t["dropped as repeated"] == conflicting.sum() - t["pictures that occur repeatedly"] and t["annotated"] == 50


def test_dhash_finds_copies_that_were_saved_anew(tmp_path):
    root = written(tmp_path, [("a.png", 1, 0), ("b.png", 2, 1)])
    picture(1).resize((80, 80), Image.NEAREST).save(root / "Manually_Annotated_Images" / "c.bmp")
    (root / LIST).write_text((root / LIST).read_text() + "c.bmp,0,0,80,80,,2,0,0\n")
    assert len(load(root)) == 3 and len(load(root, same="dhash")) == 2 and "b.png" in load(root, same="dhash").names


def test_plain_pictures_are_false_positives_of_dhash(tmp_path):
    root = written(tmp_path, [f"{k}.png,0,0,40,40,,{k},0,0" for k in range(2)])
    for k in range(2):
        (root / "Manually_Annotated_Images").mkdir(exist_ok=True)
        Image.new("RGB", (40, 40), (90 * k, 10, 10)).save(root / "Manually_Annotated_Images" / f"{k}.png")
    assert len(load(root)) == 2 and len(load(root, same="dhash")) == 1


def test_broken_pictures_are_not_chosen(repeats):
    "A broken picture cannot be the one that is kept, and one without expression need not be whole."
    for name in ("1a.png", "6.png"): (repeats / "Manually_Annotated_Images" / name).write_bytes(b"broken")
    c = load(repeats)
    assert len({"1b.png", "1c.png"}
               & set(c.names)) == 1 and c.skipped["name"].tolist()[0] == "1a.png" and not c.skipped["name"].isin([
                   "6.png"]).any()
    with pytest.raises(ValueError, match="1a.png .training.csv line 2.: not an image"): load(repeats, on_bad="error")


def test_repeated_names(tmp_path):
    root = written(tmp_path, [("a.png", 1, 0), ("a.png", 1, 0), ("ä.png", 2, 1), ("a.png", 1, 0)])
    assert list(load(root).names) == ["a.png", "a.png#2", "ä.png", "a.png#3"]


# --- what is remembered

def opened_pictures(opened, root):
    return sorted(os.path.relpath(p, root) for p in opened if p.startswith(str(root))
                  and p.endswith((".png", ".jpg", ".tif", ".csv", ".npy")))


@pytest.mark.parametrize("release", affectnet.RELEASES)
def test_a_second_opening_reads_nothing(copies, release, opened):
    root = copies[release]
    before = load(root)
    assert opened_pictures(opened, root)
    opened.clear()
    after = load(root)
    assert opened_pictures(opened, root) == []
    assert before.digest == after.digest and (before.images[:] == after.images[:]).all()
    assert opened_pictures(opened, root) == []                                                # pixels are on disk, too


def test_what_changes_is_read_again(repeats, opened):
    before = load(repeats)
    folder = repeats / "Manually_Annotated_Images"
    picture(77).save(folder / "5.png"); (folder / "2a.png").unlink(); (folder / "2b.png").write_bytes(b"")
    opened.clear()
    after = load(repeats)
    again = [p for p in opened_pictures(opened, repeats) if "_Images" in p]
    assert again == [f"Manually_Annotated_Images/{n}.png" for n in ("2a", "2b", "5")]
    assert set(before.names) - set(after.names) == {"2a.png", "2b.png"} and before.digest != after.digest
    five = images.decode((folder / "5.png").read_bytes(), image_size=24)
    assert (after.images[list(after.names).index("5.png")] == five).all()
    picture(2).save(folder / "2a.png")
    assert "2a.png" in load(repeats).names


def test_kept_pixels_and_decoded_ones_are_the_same(made, monkeypatch):
    kept = load(made["original"], image_size=31)
    monkeypatch.setattr(images, "DISK", 0)
    anew = load(made["original"], image_size=31)
    assert kept.digest == anew.digest and (kept.images[:] == anew.images[:]).all()
    for threads in (1, 7):
        anew.images.threads = threads
        assert (anew.images[::-1] == kept.images[:][::-1]).all()


@pytest.mark.parametrize("name", ["files.npy", "pixels", "rows.npy", "points.f32", "meta.json"])
def test_a_damaged_cache_is_made_anew(repeats, tmp_path, monkeypatch, name):
    monkeypatch.setenv("RBDM_CACHE", str(tmp_path / "cache"))
    before = load(repeats)
    pixels, points = before.images[:], before.extras["landmarks"][:]
    found = list((tmp_path / "cache").rglob(name))
    assert found
    for path in found: path.write_bytes(path.read_bytes()[:20])
    after = load(repeats)
    assert after.digest == before.digest and (after.images[:] == pixels).all()
    assert (after.extras["landmarks"][:] == points).all()


def test_without_a_cache(repeats, tmp_path, monkeypatch):
    before = load(repeats)
    (tmp_path / "file").touch()
    monkeypatch.setenv("RBDM_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="RBDM_CACHE"): after = load_corpus("affectnet", repeats, image_size=24)
    assert after.digest == before.digest and (after.images[:] == before.images[:]).all()
    assert (after.extras["landmarks"][:] == before.extras["landmarks"][:]).all()


# --- .npy files

class Trap:
    "Unpickling this makes a file."
    def __init__(self, path): self.path = path
    def __reduce__(self): return (open, (self.path, "w"))


def test_pickles_are_refused_with_the_way_out(copies, tmp_path):
    root, trap = copies["affectnet8"], tmp_path / "sprung"
    folder = root / "train_set" / "annotations"
    np.save(folder / "3_exp.npy", np.array([Trap(str(trap))], object), allow_pickle=True)
    (folder / "5_val.npy").write_bytes(pickle.dumps(Trap(str(trap))))
    (root / "val_set" / "annotations" / "1_lnd.npy").write_bytes(pickle.dumps(Trap(str(trap))))
    c = load(root)
    assert not trap.exists() and c.skipped["name"].tolist()[:2] == ["3", "5"] and c.skipped["reason"].str.contains(
        "numpy.load").sum() == 2
    with pytest.raises(ValueError, match="pickled objects"): load(root, "valid", on_bad="error")
    assert not trap.exists()
    np.save(folder / "3_exp.npy", np.asarray(["2"], float)); np.save(folder / "5_val.npy", np.array(.5))
    assert len(load(root).skipped["reason"].loc[lambda r: r.str.contains("pickled")]) == 0


def test_missing_annotations(copies):
    root = copies["affectnet8"]
    for part in ("val", "lnd"): (root / "train_set" / "annotations" / f"4_{part}.npy").unlink()
    (root / "train_set" / "annotations" / "6_exp.npy").unlink()
    c = load(root, duplicates="keep")
    k = list(c.names).index("4.jpg")
    assert (np.isnan(c.extras["valence"][k]) and np.isnan(c.extras["landmarks"][k]).all() and "6.jpg" not in c.names
            and "not found" in c.skipped[
        "reason"][0])


@some
@given(st.data())
def test_damaged_npy_files_give_numbers_or_a_clear_error(tmp_path, data):
    a = data.draw(st.sampled_from([np.array(3), np.array("3"), np.array(b"3"), np.arange(136.),
                                   np.arange(136, dtype="f4").reshape(68, 2), np.zeros(0), np.array("", "U1"),
                                   np.array([1j])]))
    f = io.BytesIO(); np.save(f, a)
    raw = bytearray(f.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = bytes(raw[:data.draw(st.integers(0, len(raw)))]) if data.draw(st.booleans()) else bytes(raw)
    (tmp_path / "x_lnd.npy").write_bytes(raw)
    for n in (1, 136):
        try: values = read_npy(tmp_path / "x_lnd.npy", "x_lnd.npy", n)
        except ValueError as e: assert "x_lnd.npy" in str(e)
        else: assert values.shape == (n,) and values.dtype == float


@pytest.mark.parametrize("shape", ["(10000000000000,)", "(18446744073709551617,)", "(1, 136, 99999999999)", "(-1,)",
                                   "('a',)"])
def test_an_npy_head_is_not_believed(tmp_path, shape):
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + b"\0" * 64)
    for n in (1, 136):
        with pytest.raises(ValueError, match="x.npy"): read_npy(tmp_path / "x.npy", "x.npy", n)


# --- rubbish

def independent(path):
    """{name: set of codes} that a list can be read to say: every line whose seventh field is a plain whole number;
    Python's csv, row by row."""
    said = {}
    with open(path, newline="", encoding="utf-8", errors="replace") as f:
        try:
            for row in csv.reader(f):
                if len(row) == 9 and re.fullmatch(r"\s*[+-]?0*\d{1,2}\.?0*([eE][+-]?0+)?\s*", row[6], re.ASCII):
                    said.setdefault(row[0].strip(), set()).add(int(float(row[6])))
        except csv.Error: pass
    return said


NASTY = st.sampled_from(["../../secret.png", "../secret.png", "/etc/passwd", "link.png", "away/secret.png", "C:\\x.png",
                         "\0", "", "1/../../../secret.png", "good.png", "11", "-1", "nan", "1e400",
                         "-2", "٣", "2.5", "0x2", "1_0", "\"", "\n", ",", ";", "\ufeff", "  ", "9" * 400, "inf", "-inf",
                         "é", "None"])

@some
@given(st.data())
def test_damaged_lists_give_right_labels_or_a_clear_error(tmp_path_factory, data):
    base = tmp_path_factory.mktemp("lists")
    root = written(base / "root", [(f"{k}.png", k, k) for k in range(8)], [("8.png", 8, 7)])
    picture(50).save(base / "secret.png")
    (base / "elsewhere").mkdir()
    picture(51).save(base / "elsewhere" / "secret.png")
    (root / "Manually_Annotated_Images" / "link.png").symlink_to(base / "secret.png")
    (root / "Manually_Annotated_Images" / "away").symlink_to(base / "elsewhere")
    text = (root / LIST).read_text().splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        line = data.draw(st.integers(0, len(text) - 1))
        fields = text[line].split(",")
        field = data.draw(st.integers(0, len(fields) - 1))
        how = data.draw(st.integers(0, 4))
        if how <= 1: fields[field] = data.draw(NASTY)
        elif how == 2: fields[field] = data.draw(st.text(max_size=6))
        elif how == 3: del fields[field]
        text[line] = ",".join(fields)
        if how == 4: text[line] = text[line][:data.draw(st.integers(0, len(text[line])))]
    (root / LIST).write_bytes("\n".join(text).encode("utf-8", "surrogatepass"))
    OPENED.clear(); OPENED.on = True
    try: c = load(root)
    except (ValueError, FileNotFoundError) as e: assert str(e)
    else:
        said = independent(root / LIST)
        for name, label in zip(c.names, c.labels): assert label in said[name.split("#")[0]], (name, label)
        assert len(c.images[:]) == len(c) and np.isin(c.labels, range(8)).all() and np.nanmax(np.abs(np.r_[c.extras[
            "valence"], 0])) <= 1
    finally: OPENED.on = False
    outside = [p for p in OPENED if p.startswith(os.path.realpath(base))
               and not p.startswith(os.path.realpath(root) + os.sep)]
    assert outside == [] and not any("passwd" in p for p in OPENED)


@some
@given(st.lists(st.one_of(st.integers(-300, 300), st.floats(-1e6, 1e6),
                          st.sampled_from(["", "nan", "inf", "-2", "x", "1e99", "-0"])), min_size=4, max_size=4),
                          st.floats(0, 3))
def test_any_box_gives_a_square_inside_or_a_report(tmp_path, box, margin):
    root = written(tmp_path, ["a.png," + ",".join(f"{b}" for b in box) + f",{POINTS},3,0,0"])
    a = np.arange(40 * 60 * 3, dtype=np.uint32).reshape(40, 60, 3).astype(np.uint8)
    (root / "Manually_Annotated_Images").mkdir(exist_ok=True)
    Image.fromarray(a).save(root / "Manually_Annotated_Images" / "a.png")
    c = load(root, margin=margin, image_size=16)
    if len(c):
        assert (c.images[0].shape == (16, 16, 3) and np.isfinite(c.extras["landmarks"][0]).all()
                and list(c.labels) == [3])
    else: assert len(c.skipped) == 1 and "line 2" in c.skipped["reason"][0]


@some
@given(st.integers(1, 700), st.integers(1, 700), st.lists(st.floats(-1e5, 1e5, width=32), min_size=2, max_size=2),
       st.lists(st.floats(2**-10, 1e5, width=32), min_size=2, max_size=2))
def test_squares_lie_inside(w, h, corner, size):
    left, top, side = images.square(w, h, (*corner, *size))
    assert 0 <= left <= w - side and 0 <= top <= h - side and 1 <= side <= min(w, h)
    many = images.square(np.array([w, w]), np.array([h, h]), np.array([[*corner, *size]] * 2).T)
    assert (np.array(many)[:, 1] == (left, top, side)).all()


@some
@given(st.data())
def test_damaged_pictures_are_read_or_reported(copies_once, data):
    root, originals = copies_once
    names = sorted(originals)
    for name in names: (root / "Manually_Annotated_Images" / name).write_bytes(originals[name])
    hit = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
    for name in hit:
        raw = bytearray(originals[name])
        for _ in range(data.draw(st.integers(0, 6))):
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()): raw = raw[:data.draw(st.integers(0, len(raw)))]
        (root / "Manually_Annotated_Images" / name).write_bytes(bytes(raw))
    c = load(root, duplicates="keep")
    rows = {r["subDirectory_filePath"]: int(r["expression"]) for r in rows_of(root / LIST)}
    assert all(rows[n] == l for n, l in zip(c.names, c.labels))
    assert set(c.names) | set(c.skipped["name"]) == {n for n, code in rows.items() if code < 8}
    assert set(c.skipped["name"]) <= set(hit) and c.images[:].shape[1:] == (24, 24, 3)


class Files(dict):
    "{name: bytes}, too large to be shown."
    def __repr__(self): return f"{len(self)} files"


@pytest.fixture(scope="module")
def copies_once(tmp_path_factory):
    root = tmp_path_factory.mktemp("damaged")
    fake(root, 20)
    names = [r["subDirectory_filePath"] for r in rows_of(root / LIST) if int(r["expression"]) < 8]
    return root, Files({name: (root / "Manually_Annotated_Images" / name).read_bytes() for name in names})


def test_links_that_stay_inside_are_followed(tmp_path, opened):
    root = written(tmp_path / "root", [("a.png", 1, 0), "b.png,0,0,40,40,,1,0,0", "out.png,0,0,40,40,,2,0,0"])
    (root / "Manually_Annotated_Images" / "b.png").symlink_to(root / "Manually_Annotated_Images" / "a.png")
    picture(3).save(tmp_path / "secret.png")
    (root / "Manually_Annotated_Images" / "out.png").symlink_to(tmp_path / "secret.png")
    opened.clear()
    c = load(root, duplicates="keep")
    assert list(c.names) == ["a.png", "b.png"] and "leads out" in c.skipped["reason"][0] and str(tmp_path /
        "secret.png") not in opened


def test_links_out_of_affectnet8(copies, tmp_path, opened):
    root = copies["affectnet8"]
    np.save(tmp_path / "secret.npy", np.array(3)); picture(3).save(tmp_path / "secret.jpg")
    for name, secret in (("train_set/annotations/2_exp.npy", "secret.npy"), ("train_set/images/3.jpg", "secret.jpg"),
                         ("train_set/annotations/5_lnd.npy", "secret.npy")):
        (root / name).unlink(); (root / name).symlink_to(tmp_path / secret)
    opened.clear()
    c = load(root, duplicates="keep")
    assert len(c) == 37 and not {str(tmp_path / "secret.npy"),
                                 str(tmp_path / "secret.jpg")} & set(opened) and c.skipped["reason"].str.contains(
                                     "leads out").sum() == 3


# --- check and fake

def test_check_counts_beside_the_published(made):
    for release, root in made.items():
        report = check(root)
        assert (report.usable and len(report.bad) == 0 and report.published.loc["train", "happy"] == 134_415
                and report.published.to_numpy().sum() == 291_651)
        assert report.counts.to_numpy().sum() == sum(len(load(root, s, duplicates="keep")) for s in ("train", "valid"))
        assert list(report.counts.columns) == list(EXPRESSIONS)
        assert any("22,198" in n for n in report.notes) == (release == "original")


def test_check_finds_every_bad_file(copies):
    root = copies["original"]
    first = [r["subDirectory_filePath"] for r in rows_of(root / LIST) if int(r["expression"]) < 8][:3]
    for name in first: (root / "Manually_Annotated_Images" / name).write_bytes(b"x")
    assert list(check(root).bad["name"]) == first and check(root).usable
    shutil.rmtree(root / "Manually_Annotated_Images"); (root / "Manually_Annotated_Images").mkdir()
    assert not check(root).usable and len(check(root).bad) > 30


def test_fake_is_repeatable_and_overwrites_nothing(made, tmp_path):
    fake(tmp_path / "a", 50)
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (made["original"] / path.relative_to(tmp_path / "a")).read_bytes()
    with pytest.raises(FileExistsError): fake(tmp_path / "a", 20)
    with pytest.raises(FileExistsError): fake(tmp_path / "a", 20, release="affectnet8")
    with pytest.raises(ValueError, match="did you mean"): fake(tmp_path / "b", 20, release="affectnet")
    with pytest.raises(ValueError, match="at least"): fake(tmp_path / "b", 5)


def test_broken_files_of_the_fake(tmp_path):
    for release in affectnet.RELEASES:
        fake(tmp_path / release, 20, seed=3, release=release, broken=2)
        with pytest.raises(ValueError, match="cannot be used"): load(tmp_path / release, on_bad="error")
        assert len(check(tmp_path / release).bad) >= 2

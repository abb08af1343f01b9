"RAF-DB: both forms, splits, points and boxes of original pictures, and what is refused."
import re, shutil, warnings
from pathlib import Path

import cv2, numpy as np, pandas as pd, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from rbdm_nb.corpora import ckplus, datasets, rafdb
from rbdm_nb.corpora.datasets import EXPRESSIONS, load
from rbdm_nb.corpora.files import IMITATION
from rbdm_nb.corpora.rafdb import BY_CODE, CODES, LISTS, POINTS, check, fake, label_counts, label_of, photo, similarity

N, TRAIN = 70, 56
README = "1: Surprise\n2: Fear\n3: Disgust\n4: Happiness\n5: Sadness\n6: Anger\n7: Neutral"
some = settings(max_examples=40, deadline=None, derandomize=True,
                suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(scope="module")
def made(tmp_path_factory): return {r: fake(tmp_path_factory.mktemp("rafdb") / r, N, release=r) for r in rafdb.RELEASES}


@pytest.fixture(params=["basic", "folders"])
def either(request, made, tmp_path): return Path(shutil.copytree(made[request.param], tmp_path / "c"))


@pytest.fixture
def copy(made, tmp_path): return Path(shutil.copytree(made["basic"], tmp_path / "c"))


@pytest.fixture
def folders(made, tmp_path): return Path(shutil.copytree(made["folders"], tmp_path / "c"))


def skipping(root, split="train", **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load("rafdb", root, split, on_bad="skip", **options)


def number(name): return int(re.search(r"_(\d+)", name)[1]) - 1
def true_label(name): return label_of(1 + number(name) % 7)
def right(c): return c.labels.tolist() == [true_label(n) for n in c.names]
def listed(root): return root / "basic" / "EmoLabel" / LISTS[0]
def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


# --- what is read

def test_codes_and_published_counts():
    assert [c.capitalize() for c in CODES] == re.findall(r"\d: (\w+)", README)
    sizes = {"train": 12_271, "test": 3_068}
    assert {s: sum(k) for s, k in BY_CODE.items()} == sizes == pd.DataFrame(rafdb.PUBLISHED).sum().to_dict()
    assert (rafdb.PUBLISHED["train"]["happy"] == 4772 and rafdb.PUBLISHED["test"]["sad"] == 478
            and "contempt" not in rafdb.PUBLISHED[
        "train"])


def test_both_forms_give_the_same(made):
    for split in ("train", "valid", "test"):
        a, b = (load("rafdb", made[r], split) for r in rafdb.RELEASES)
        assert (a.digest == b.digest and right(a) and a.images.shape[1:] == (100, 100, 3) and a.split == split
                and not len(a.skipped))
    assert len(a) == N - TRAIN and label_counts(made["basic"]).equals(label_counts(made["folders"]))
    assert load("rafdb", made["folders"] / "DATASET",
                "test").digest == a.digest and load("rafdb", made["basic"] / "basic", "test").digest == a.digest


def test_layout_of_the_real_corpus(made):
    base = made["basic"] / "basic"
    assert {f.name for f in base.iterdir()} == {"EmoLabel", "Image", "Annotation", IMITATION}
    assert LISTS[0] == "list_patition_label.txt"
    assert re.fullmatch(r"(train_\d{5}\.jpg [1-7]\n){56}(test_\d{4}\.jpg [1-7]\n){14}",
                        listed(made["basic"]).read_text())
    for folder, name in (("Image/aligned", "_aligned.jpg"), ("Image/original", ".jpg"),
                         ("Annotation/manual", "_manu_attri.txt"), ("Annotation/auto", "_auto_attri.txt"),
                         ("Annotation/boundingbox", "_boundingbox.txt")):
        stems = [f"train_{k + 1:05d}" for k in range(TRAIN)] + [f"test_{k + 1:04d}" for k in range(N - TRAIN)]
        assert {f.name for f in (base / folder).iterdir()} == {f"{stem}{name}" for stem in stems} | {IMITATION}
    xy = r"-?\d+\.\d+\t-?\d+\.\d+\n"
    assert re.fullmatch(rf"({xy}){{5}}([0-2]\n){{2}}[0-4]\n",
                        (base / "Annotation/manual/train_00001_manu_attri.txt").read_text())
    assert re.fullmatch(rf"({xy}){{37}}", (base / "Annotation/auto/test_0001_auto_attri.txt").read_text())
    assert re.fullmatch(r"(\d+\.\d+ ){4}\n", (base / "Annotation/boundingbox/test_0001_boundingbox.txt").read_text())
    assert {Image.open(f).size for f in (base / "Image/aligned").glob("*.jpg")} == {(100, 100)}
    assert len({Image.open(f).size for f in (base / "Image/original").glob("*.jpg")}) > 20
    assert (made["folders"] / "test_labels.csv").read_text().startswith("image,label\ntest_0001_aligned.jpg,1\n")
    assert (made["folders"] / "DATASET/train/2/train_00002_aligned.jpg").is_file()


def test_a_list_that_is_far_too_long(copy, monkeypatch):
    monkeypatch.setattr(rafdb, "MAX_LIST", listed(copy).stat().st_size)
    assert len(load("rafdb", copy, "test", image_size=8)) == N - TRAIN
    monkeypatch.setattr(rafdb, "MAX_LIST", listed(copy).stat().st_size - 1)
    with pytest.raises(ValueError, match="has over .* bytes"): load("rafdb", copy, "test")


def test_the_readmes_spelling_of_the_list(copy):
    want = load("rafdb", copy, "test").digest
    listed(copy).rename(listed(copy).parent / "list_partition_label.txt")
    text = (listed(copy).parent / "list_partition_label.txt")
    text.write_bytes(b"\xef\xbb\xbf" + text.read_bytes().replace(b"\n", b"\r\n"))
    assert load("rafdb", copy, "test").digest == want


def test_alignment_is_a_similarity():
    g = np.random.default_rng(0)
    for _ in range(20):
        angle, scale, shift, points = (g.uniform(-3, 3), g.uniform(.2, 3), g.uniform(-50, 50, 2),
                                       g.uniform(0, 100, (3, 2)))
        m = np.c_[scale * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))]), shift]
        assert np.allclose(similarity(points, points @ m[:, :2].T + m[:, 2]), m)
        # best of all similarities: those around it are worse
        noisy = points + g.normal(0, 5, (3, 2))
        best = similarity(points, noisy)
        error = lambda m, points=points, noisy=noisy: ((points @ m[:, :2].T + m[:, 2] - noisy) ** 2).sum()
        for da, db, dx, dy in g.normal(0, .01, (10, 4)):
            assert error(best + [(da, -db, dx), (db, da, dy)]) >= error(best)


def test_same_fake_twice(made, tmp_path):
    assert load("rafdb", fake(tmp_path / "c", N), "test").digest == load("rafdb", made["basic"], "test").digest
    with pytest.raises(FileExistsError, match="holds a RAF-DB"): fake(tmp_path / "c", N, release="folders")
    with pytest.raises(ValueError, match="at least 5"): fake(tmp_path / "d", 4)
    with pytest.raises(ValueError, match="did you mean 'folders'"): fake(tmp_path / "d", release="folder")


def test_larger_than_memory(made, monkeypatch, tmp_path):
    kinds = [dict(), dict(images="original", landmarks="auto", image_size=40)]
    want = [load("rafdb", made["basic"], "test", **o) for o in kinds]
    monkeypatch.setenv("RBDM_CACHE", str(tmp_path))
    monkeypatch.setattr("rbdm_nb.corpora.files.MEMORY", 100)
    monkeypatch.setattr(ckplus, "MEMORY", 100)
    for c, o in zip(want, kinds):
        lazy = load("rafdb", made["basic"], "test", **o)
        assert not isinstance(lazy.images, np.ndarray) and (lazy.images[:] == c.images).all()
        assert lazy.digest == c.digest


# --- splits

def test_validation_is_a_stratified_part_of_training(made):
    root = made["basic"]
    parts = {s: load("rafdb", root, s, valid_share=.25, image_size=8) for s in ("train", "valid", "test")}
    names = [n for c in parts.values() for n in c.names]
    assert len(names) == N == len(set(names))
    assert all(n.startswith("test_") == (s == "test") for s, c in parts.items() for n in c.names)
    assert (parts["valid"].counts()[:7] == 2).all() and (parts["train"].counts()[:7] == 6).all()
    assert (parts["test"].counts() == label_counts(root).loc["test"]).all()
    again, other = (load("rafdb", root, "valid", valid_share=.25, split_seed=k, image_size=8).names for k in (0, 1))
    assert list(again) == list(parts["valid"].names) != list(other)
    stems = lambda c: sorted(re.search(r"\w+_\d+", n)[0] for n in c.names)
    assert stems(load("rafdb", root, "valid", valid_share=.25, image_size=8,
                      images="original")) == stems(parts["valid"])
    assert label_counts(root, valid_share=0).sum(axis=1).to_dict() == {"train": TRAIN, "test": N - TRAIN}
    assert len(load("rafdb", root, valid_share=0)) == TRAIN
    with pytest.raises(FileNotFoundError, match="no valid split; valid_share=0"):
        load("rafdb", root, "valid", valid_share=0)
    for bad in (1, -.1, 2):
        with pytest.raises(ValueError, match="valid_share"): load("rafdb", root, valid_share=bad)


# --- points and boxes

def test_points_belong_to_original_pictures(made):
    for part, n in POINTS.items():
        with pytest.raises(ValueError, match=f"the {n} points belong to the original pictures.*images=\"original\""):
            load("rafdb", made["basic"], landmarks=part)
    with pytest.raises(ValueError, match="aligned pictures only"):
        load("rafdb", made["folders"], images="original", landmarks="auto")
    with pytest.raises(ValueError, match="does not have"): load("rafdb", made["folders"], attributes=True)


@pytest.mark.parametrize("crop, size, margin",
                         [("none", None, 0), ("none", 41, 0), ("box", 37, .2), ("box", 200, 0), ("box", None, .1),
                          ("box", 30, 2.)])
@pytest.mark.parametrize("part", POINTS)
def test_points_stay_on_their_pixels(copy, part, crop, size, margin):
    """Pictures whose colour is twice their coordinates: at each point that has moved along, the colour still says
    where it came from."""
    x, y = np.meshgrid(np.arange(120), np.arange(90))
    ramp, g, base = np.stack([2 * x, 2 * y, 0 * x], -1).astype(np.uint8), np.random.default_rng(0), copy / "basic"
    for f in (base / "Image/original").glob("test*"): f.unlink(); Image.fromarray(ramp).save(f, "PNG")
    for f in (base / "Annotation/boundingbox").glob("test*"):
        low, true = g.uniform(15, 35, 2), g.uniform(25, 50, 2)
        f.write_text(" ".join(map(str, (*low, *(low + true)))) + " \n")
        points = f.parents[1] / part / f.name.replace("boundingbox", f"{part[:4]}_attri")
        np.savetxt(points, low + g.uniform(0, 1, (POINTS[part], 2)) * true, delimiter="\t")
        if part == "manual": points.write_text(points.read_text() + "0\n1\n2\n")
    c = load("rafdb", copy, "test", images="original", landmarks=part, crop=crop, image_size=size, margin=margin)
    assert c.extras["landmarks"].shape == (N - TRAIN, POINTS[part], 2)
    for name, image, moved in zip(c.names, c.images, c.extras["landmarks"]):
        beside = base / f"Annotation/{part}/{name[:-4]}_{part[:4]}_attri.txt"
        true = np.array([line.split() for line in beside.read_text().splitlines()[:POINTS[part]]], float)
        shown = ((moved > 1) & (moved < np.array(image.shape[1::-1]) - 2)).all(1)
        seen = cv2.remap(image.astype(np.float32), *moved[shown].T[:, :, None], cv2.INTER_LINEAR)[:, 0, :2] / 2
        assert shown.any() and np.abs(seen - true[shown]).max() < .6, name


def test_points_against_the_geometry(made):
    c = load("rafdb", made["basic"], "test", images="original", landmarks="manual", crop="none", attributes=True,
             image_size=64)
    for name, points in zip(c.names, c.extras["landmarks"]):
        code, picture, true, _ = photo(number(name), "test")
        assert label_of(code) == true_label(name)
        h, w = picture.shape[:2]
        five = np.array([true[36:42].mean(0), true[42:48].mean(0), true[30], true[48], true[54]])
        side = min(h, w)
        corner = (w - side) // 2, (h - side) // 2
        assert np.abs((points + .5) * side / 64 - .5 - five + corner).max() < .01
    assert {k: set(map(type, v.tolist())) for k, v in c.extras.items()
            if k != "landmarks"} == {k: {int} for k in ("gender", "race", "age")}
    assert right(c) and c.extras["age"].max() <= 4
    assert set(load("rafdb", made["basic"], "test", attributes=True).extras) == {"gender", "race", "age"}


def test_the_first_version_has_no_boxes(copy):
    shutil.rmtree(copy / "basic/Annotation/boundingbox")
    with pytest.raises(FileNotFoundError, match="since version 1.1.*crop=\"none\""):
        load("rafdb", copy, images="original")
    assert len(load("rafdb", copy, "test", images="original", crop="none",
                    image_size=16)) == N - TRAIN and not len(check(copy).bad)


def test_pictures_on_their_side(copy):
    f = copy / "basic/Image/original/test_0003.jpg"
    exif = Image.Exif(); exif[0x0112] = 6
    Image.open(f).save(f, exif=exif)
    assert len(load("rafdb", copy, "test", images="original", crop="none", image_size=16)) == N - TRAIN
    with pytest.raises(ValueError, match="test_0003.jpg: stored on its side"):
        load("rafdb", copy, "test", images="original")
    assert f.name not in skipping(copy, "test", images="original", crop="none", landmarks="auto").names


@pytest.mark.parametrize("part, text, why", [
    ("boundingbox", "", "empty"), ("boundingbox", "1 2 3 ", "4 numbers"), ("boundingbox", "1 2 3 x ", "4 numbers"),
    ("boundingbox", "5 5 5 5", "outside the picture"), ("boundingbox", "9 9 1 1", "outside the picture"),
    ("boundingbox", "900 900 950 950", "outside the picture"), ("auto", "1\t2\n" * 36, "36 lines"),
    ("auto", "1\t2\n" * 36 + "1\n", "line 37"), ("auto", "1\tnan\n" * 37, "line 1"),
    ("manual", "1\t2\n" * 5, "5 lines"), ("manual", "1\t2\n" * 5 + "0\n0\n9\n", "age 9"),
    ("manual", "1\t2\n" * 5 + "0\n.5\n0\n", "line 7"), ("manual", "1\t2\n" * 5 + "0\n1.5\n0\n", "race 1.5")])
def test_bad_annotations(copy, part, text, why):
    ending = {"boundingbox": "boundingbox", "auto": "auto_attri", "manual": "manu_attri"}[part]
    f = copy / "basic/Annotation" / part / f"test_0003_{ending}.txt"
    f.write_text(text)
    options = dict(images="original", landmarks="none" if part == "boundingbox" else part)
    with pytest.raises(ValueError, match=f"(?s)1 cannot be used.*test_0003.*{why}"):
        load("rafdb", copy, "test", **options)
    c = skipping(copy, "test", **options)
    assert (len(c) == N - TRAIN - 1 == len(skipping(copy, "test")) - 1 and right(c) and "test_0003.jpg" not in c.names
            and len(c.skipped) == 1)
    assert len(check(copy).bad) == 1
    f.unlink()
    with pytest.raises(FileNotFoundError, match=f"Annotation/{part}/{f.name}: file not found"):
        load("rafdb", copy, "test", **options)
    assert check(copy).bad["reason"].str.contains(f.name).sum() == 1


# --- bad labels

@pytest.mark.parametrize("line", ["train_00002.jpg 0", "train_00002.jpg 8", "train_00002.jpg 3.5", "train_00002.jpg",
                                  "train_00002.jpg sad", "train_00002.jpg 2 3", "train_00002.jpg -2",
                                  "train_00002.jpg ２",
                                  "../train_00002.jpg 2", "/etc/train_00002.jpg 2", "train_2.jpg 2",
                                  "train_00002.png 2", "valid_00002.jpg 2", "2 train_00002.jpg", "train_00002.jpg,2",
                                  "\0", "train_00003.jpg 2"])
def test_bad_line(copy, line):
    edit(listed(copy), "train_00002.jpg 2", line)
    repeated = line == "train_00003.jpg 2"
    with pytest.raises(ValueError, match=f"{LISTS[0]} line 2"): load("rafdb", copy)
    with pytest.raises(ValueError, match=f"{LISTS[0]} line 2"): label_counts(copy)
    c = skipping(copy, valid_share=0)
    assert (right(c) and len(c) == TRAIN - 1 - repeated and "train_00002_aligned.jpg" not in c.names
            and len(c.skipped) == 1 + repeated)


@some
@given(st.one_of(st.binary(max_size=30),
                 st.from_regex(rb"\A(train|test)_0{0,4}[0-9]{1,3}\.jpg[ \t]{0,2}[0-9.]{0,3}\Z")))
def test_a_line_is_a_name_and_a_code_or_nothing(copy, line):
    lines = (whole := listed(copy).read_bytes()).splitlines()
    lines[1] = line.replace(b"\n", b"").replace(b"\r", b"")
    listed(copy).write_bytes(b"\n".join(lines))
    try: c = skipping(copy, valid_share=0, image_size=8)
    finally: listed(copy).write_bytes(whole)
    good = re.fullmatch(rb"\s*train_(\d{4,5})\.jpg\s+([1-7])\s*", lines[1])
    mine = good and [l for n, l in zip(c.names, c.labels) if n == f"train_{good[1].decode()}_aligned.jpg"]
    if good and good[1] == b"00002": assert mine == [label_of(good[2].decode())]
    # no such picture, or one that has another line
    else: assert not mine and "train_00002_aligned.jpg" not in c.names
    others = [(n, l) for n, l in zip(c.names, c.labels) if n != "train_00002_aligned.jpg"]
    assert all(true_label(n) == l for n, l in others) and len(others) >= TRAIN - 2


@pytest.mark.parametrize("row, why", [("train_00002_aligned.jpg,0", "line 3: code '0'"),
                                      ("train_00002_aligned.jpg,8", "code '8'"),
                                      ("train_00002_aligned.jpg,2.0", "code '2.0'"),
                                      ("train_00002_aligned.jpg,", "code ''"),
                                      ("train_00002_aligned.jpg,fear", "code 'fear'"),
                                      ("train_00002_aligned.jpg", "line 3: 1 fields"),
                                      ("train_00002_aligned.jpg,3", "not in train_labels.csv"),
                                      ("train_00999_aligned.jpg,2", "not in train_labels.csv"),
                                      ("../../secret.jpg,2", "not in train_labels.csv"),
                                      ("train_00003_aligned.jpg,2", "not in train_labels.csv")])
def test_tables_that_contradict_the_folders(folders, row, why):
    edit(folders / "train_labels.csv", "train_00002_aligned.jpg,2", row)
    with pytest.raises((ValueError, FileNotFoundError), match=f"(?s){re.escape(why)}"): load("rafdb", folders)
    c = skipping(folders, valid_share=0)
    assert right(c) and len(c) in (TRAIN - 1, TRAIN - 2) and "train_00002_aligned.jpg" not in c.names and len(c.skipped)


def test_a_picture_in_two_folders(folders):
    shutil.copy(folders / "DATASET/train/2/train_00002_aligned.jpg", folders / "DATASET/train/3")
    with pytest.raises(ValueError, match="train/3/train_00002_aligned.jpg: disgust by its folder"):
        load("rafdb", folders)
    for split in ("train", "test"): (folders / f"{split}_labels.csv").unlink()
    with pytest.raises(ValueError, match="train_00002 occurs more than once"): load("rafdb", folders)
    c = skipping(folders, valid_share=0)
    assert right(c) and len(c) == TRAIN - 1 and len(c.skipped) == 2


def test_folders_without_tables(folders):
    want = load("rafdb", folders, "test").digest
    for split in ("train", "test"): (folders / f"{split}_labels.csv").unlink()
    (folders / "DATASET/test/8").mkdir()
    shutil.copy(folders / "DATASET/test/1/test_0001_aligned.jpg", folders / "DATASET/test/8/x.jpg")
    (folders / "DATASET/test/1/._test_0001_aligned.jpg").write_bytes(b"\0")
    assert load("rafdb", folders, "test").digest == want


def test_wrong_tables(folders):
    (folders / "train_labels.csv").write_text("image,lable\nx,1\n")
    with pytest.raises(ValueError, match="no column 'label'; did you mean 'lable'"): load("rafdb", folders)
    (folders / "train_labels.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a CSV file"): load("rafdb", folders)


# --- bad pictures

@pytest.mark.parametrize("how", ["missing", "folder", "empty", "text", "cut"])
def test_bad_picture(either, how):
    f = next(either.rglob("test_0003_aligned.jpg")); data = f.read_bytes()
    f.unlink()
    if how == "folder": f.mkdir()
    elif how != "missing": f.write_bytes({"empty": b"", "text": b"hello", "cut": data[:900]}[how])
    with pytest.raises((ValueError, FileNotFoundError), match="(?s)1 cannot be used.*test_0003_aligned.jpg"):
        load("rafdb", either, "test")
    c = skipping(either, "test")
    assert right(c) and len(c) == N - TRAIN - 1 and len(c.skipped) == 1 and c.skipped["reason"].str.contains(
        "test_0003").all()
    found = check(either)
    assert (found.usable and found.bad["reason"].str.contains("test_0003_aligned").sum() == len(found.bad) == 1
            and found.counts.loc[
        "test"].sum() == len(c))


@some
@given(st.data())
def test_damage_never_changes_a_label(copy, data):
    """Any picture or annotation, cut short, overwritten or with a changed byte: what is loaded keeps its label, and
    everything else is listed."""
    f = data.draw(st.sampled_from(sorted(f for part in ("Image", "Annotation")
                                         for f in (copy / "basic" / part).rglob("test_*"))))
    whole = f.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    f.write_bytes(data.draw(st.sampled_from([whole[:at], whole[:at] + bytes([data.draw(st.integers(0, 255))])
                                             + whole[at + 1:], data.draw(st.binary(max_size=50))])))
    options = data.draw(st.sampled_from([dict(), dict(images="original"),
                                         dict(images="original", crop="none", landmarks="manual"),
                                         dict(images="original", landmarks="auto", attributes=True)]))
    try: c = skipping(copy, "test", image_size=12, **options)
    finally: f.write_bytes(whole)
    assert right(c) and len(c) + len(c.skipped) == N - TRAIN and len(c.skipped) <= 1
    assert not len(c.skipped) or f.name[:9] in c.skipped["reason"][0]


def test_nothing_outside_is_read(either, tmp_path):
    for k, place in enumerate(next(either.rglob(f"test_000{k}_aligned.jpg")) for k in (3, 5)):
        shutil.move(place, tmp_path / f"{k}"); place.symlink_to(tmp_path / f"{k}")
    with pytest.raises(ValueError, match="leads out of the corpus folder"): load("rafdb", either, "test")
    c = skipping(either, "test")
    assert right(c) and len(c) == N - TRAIN - 2 and c.skipped["reason"].str.contains("leads out").all()


@pytest.mark.parametrize("place", ["EmoLabel/list_patition_label.txt", "EmoLabel",
                                   "Annotation/auto/test_0001_auto_attri.txt", "Annotation/boundingbox"])
def test_no_list_or_annotation_outside_is_read(copy, tmp_path, place):
    shutil.move(copy / "basic" / place, tmp_path / "out"); (copy / "basic" / place).symlink_to(tmp_path / "out")
    with pytest.raises(ValueError, match="leads out of the corpus folder"):
        load("rafdb", copy, "test", images="original", landmarks="auto")


def test_no_table_outside_is_read(folders, tmp_path):
    shutil.move(folders / "test_labels.csv", tmp_path / "out.csv")
    (folders / "test_labels.csv").symlink_to(tmp_path / "out.csv")
    with pytest.raises(ValueError, match="leads out of the corpus folder"): load("rafdb", folders)


# --- options and checks

def test_wrong_places_and_options(made, copy, tmp_path):
    with pytest.raises(FileNotFoundError, match="neither basic/EmoLabel/list_patition_label.txt nor DATASET/train"):
        load("rafdb", tmp_path)
    for option, near in (("images", "original"), ("landmarks", "manual"), ("crop", "box"), ("on_bad", "skip")):
        with pytest.raises(ValueError, match=f"did you mean '{near}'"):
            load("rafdb", made["basic"], **{option: near[:-1]})
    with pytest.raises(TypeError, match="did you mean 'valid_share'"): load("rafdb", made["basic"], valid_shar=.1)
    with pytest.raises(ValueError, match="did you mean 'train'"): rafdb.load(made["basic"], "training")
    listed(copy).write_text("")
    with pytest.raises(ValueError, match="no usable label"): load("rafdb", copy)


def test_check(made, copy):
    for release, root in made.items():
        found = datasets.check("rafdb", root)
        assert (found.usable and not len(found.bad) and found.counts.equals(label_counts(root, valid_share=0))
                and found.published.sum(axis=1).to_dict() == {
            "train": 12_271, "test": 3_068})
        assert (release in found.release
                and list(found.counts.columns) == list(found.published.columns) == list(EXPRESSIONS))
    edit(listed(copy), "train_00002.jpg 2", "train_00002.jpg 9")
    next(copy.rglob("test_0001.jpg")).write_bytes(b"")
    next(copy.rglob("test_0002_aligned.jpg")).write_bytes(b"")
    found = check(copy)
    assert found.usable and len(found.bad) == 3
    assert found.counts.sum(axis=1).to_dict() == {"train": TRAIN - 1, "test": N - TRAIN - 1}
    shutil.rmtree(copy / "basic/Image/aligned")
    found = check(copy)
    assert found.notes[0] == "pictures: original" and len(found.bad) == 2 and found.usable
    with pytest.raises(FileNotFoundError, match="no aligned pictures"): check(copy, images="aligned")
    shutil.rmtree(copy / "basic/Image/original")
    assert not check(copy).usable

"CK+: labels and frames, people into folds, landmarks through crop and resize, and what is refused."
import re, shutil, string, warnings
from pathlib import Path

import cv2, numpy as np, pandas as pd, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from rbdm_nb.corpora import ckplus, datasets
from rbdm_nb.corpora.ckplus import (CODES, PARTS, acted, check, fake, fold_of, frame_faces, frame_size, label_counts,
                                    read_numbers)
from rbdm_nb.corpora.datasets import EXPRESSIONS, load
from rbdm_nb.corpora.files import IMITATION
from rbdm_nb.corpora.faces import ACTION_UNITS, landmarks

N, SMALL = 20, 98      # sequences, lines of a frame
some = settings(max_examples=40, deadline=None, derandomize=True,
                suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture(scope="module")
def made(tmp_path_factory): return fake(tmp_path_factory.mktemp("ckplus") / "made", N, frames=3, height=SMALL)


@pytest.fixture
def copy(made, tmp_path): return Path(shutil.copytree(made, tmp_path / "c"))


def whole(root, **options): return load("ckplus", root, whole=True, **options)
def skipping(root, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return whole(root, on_bad="skip", **options)


def sequence(name): return next(i for i in range(N) if name.startswith("_".join(acted(i)[:2])))
def expected(name): return "neutral" if name.endswith("_00000001.png") else acted(sequence(name))[2]
def emotion(root, k=0): return sorted((root / "Emotion").glob("*/*/*_emotion.txt"))[k]


# --- what is read

def test_first_and_last_frames_of_labelled_sequences(made):
    c = whole(made)
    labelled = [acted(i)[:2] for i in range(N) if acted(i)[3]]
    assert sorted(c.names) == sorted(f"{p}_{s}_{k:08d}.png" for p, s in labelled for k in (1, 3)) and c.split == "whole"
    assert [EXPRESSIONS[l] for l in c.labels] == [expected(n) for n in c.names] and set(c.labels) == set(range(8))
    assert list(c.extras["person"]) == [n[:4] for n in c.names] and not len(c.skipped)
    for name, image in zip(c.names, whole(made, channels=1, image_size=SMALL).images):
        file = Image.open(made / "cohn-kanade-images" / name[:4] / name[5:8] / name)
        assert file.size == frame_size(sequence(name), SMALL)[1::-1]
        if file.mode == "L": assert (image[..., 0] == np.asarray(file)[:, (file.width - SMALL) // 2:][:, :SMALL]).all()


def test_codes():
    # from the corpus's readme
    text = "(i.e. 0=neutral, 1=anger, 2=contempt, 3=disgust, 4=fear, 5=happy, 6=sadness, 7=surprise)"
    assert dict(enumerate(CODES)) == {int(k): name for k, name in re.findall(r"(\d)=(\w+)", text)}


def test_layout_of_the_real_corpus(tmp_path):
    root = fake(tmp_path / "c", 10, frames=2)
    assert {p.name for p in root.iterdir()} == {"cohn-kanade-images", "Emotion", "FACS", "Landmarks", IMITATION}
    sizes = {(im.size, im.mode) for f in root.glob("cohn-kanade-images/S*/0*/*.png") for im in [Image.open(f)]}
    assert sizes == {((640, 490), "L"), ((640, 480), "RGB")}
    number = r" {1,3}-?\d\.\d{7}e[+-]\d\d"
    for part, ending, lines in (("Emotion", "emotion", number), ("FACS", "facs", f"({number}{number}\n?)+"),
                                ("Landmarks", "landmarks", f"({number}{number}\n){{68}}")):
        files = list((root / part).glob("S*/0*/*.txt"))
        assert files and all(re.fullmatch(rf"{f.parts[-3]}_{f.parts[-2]}_\d{{8}}_{ending}\.txt", f.name) for f in files)
        assert all(re.fullmatch(lines + r"\s*", f.read_text()) for f in files), part
    folders = [f for f in (root / "Emotion").glob("S*/0*")]
    assert len(folders) == 10
    bare = [f for f in folders if {g.name for g in f.iterdir()} == {IMITATION}]      # empty in the corpus
    assert len(bare) == sum(not acted(i)[3] for i in range(10)) == 4
    assert (root / "cohn-kanade-images/S005/.DS_Store").is_file() and len(list((root / "FACS").glob("*/*/*.txt"))) == 10


@pytest.mark.parametrize("form", ["archives", "CK+", "archives in CK+", "doubled"])
def test_other_places(made, copy, form):
    want, moved = whole(made, image_size=16).digest, copy.parent / "moved"
    base = moved / "CK+" if "CK+" in form else moved
    for name, archive in PARTS.values():
        to = base / {"CK+": "", "doubled": name}.get(form, archive) / name
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(copy / name, to)
    assert whole(moved, image_size=16).digest == want


def test_same_fake_twice(made, tmp_path):
    assert whole(fake(tmp_path / "c", N, frames=3, height=SMALL),
                 image_size=16).digest == whole(made, image_size=16).digest
    with pytest.raises(FileExistsError, match="holds a CK"): fake(tmp_path / "c", N)
    with pytest.raises(ValueError, match="at least 6"): fake(tmp_path / "d", 2)


def test_units_and_their_intensities(made):
    c = whole(made, image_size=16)
    for name, label, active, strength, coded in zip(c.names, c.labels,
                                                    *(c.extras[k] for k in ("action_units", "intensities", "coded"))):
        truth = frame_faces(sequence(name), 3)[-1].strength.max(1)
        assert coded == (label > 0) and not (active & ~coded).any() and np.isnan(strength[~active]).all()
        if coded: assert set(np.flatnonzero(active)) == {u for u, s in zip(ACTION_UNITS, truth) if s}
        for u in np.flatnonzero(~np.isnan(strength)): assert 0 <= strength[u] - 5 * truth[ACTION_UNITS.index(u)] < 1
    given = c.extras["intensities"][c.extras["action_units"]]
    assert np.isnan(given).any() and not np.isnan(given).all()


def test_without_landmarks_and_units(copy):
    shutil.rmtree(copy / "Landmarks"); shutil.rmtree(copy / "FACS")
    assert set(whole(copy, image_size=16).extras) == {"person"}
    with pytest.raises(FileNotFoundError, match="landmarks not found"): whole(copy, image_size=16, crop="face")
    assert [n for n in check(copy, folds=5).notes
            if n.startswith("no folder")] == ["no folder Landmarks: images come without landmarks",
                                              "no folder FACS: images come without action units"]


def test_larger_than_memory(made, monkeypatch, tmp_path):
    want = {crop: whole(made, image_size=24, crop=crop) for crop in ckplus.CROPS}
    monkeypatch.setenv("RBDM_CACHE", str(tmp_path))
    monkeypatch.setattr("rbdm_nb.corpora.files.MEMORY", 100)
    monkeypatch.setattr(ckplus, "MEMORY", 100)
    for crop, c in want.items():
        lazy = whole(made, image_size=24, crop=crop)
        assert not isinstance(lazy.images, np.ndarray) and (lazy.images[:] == c.images).all()
        assert lazy.digest == c.digest


# --- landmarks

@pytest.mark.parametrize("crop, size, margin",
                         [("none", None, 0), ("none", 41, 0), ("face", 37, .2), ("face", 200, 0.), ("face", None, .1),
                          ("face", 30, 3.)])
def test_landmarks_stay_on_their_pixels(copy, crop, size, margin):
    """Pictures whose colour is twice their coordinates: at each landmark that has moved along, the colour still says
    where it came from."""
    x, y = np.meshgrid(np.arange(127), np.arange(98))
    ramp, g = np.stack([2 * x, 2 * y, 0 * x], -1).astype(np.uint8), np.random.default_rng(0)
    for f in (copy / "cohn-kanade-images").glob("*/*/*.png"): Image.fromarray(ramp).save(f)
    for f in (copy / "Landmarks").glob("*/*/*.txt"):
        low = g.uniform(25, 45, 2)
        np.savetxt(f, low + g.uniform(0, 1, (68, 2)) * g.uniform(25, 50))
    c = whole(copy, crop=crop, image_size=size, margin=margin)
    for name, image, points in zip(c.names, c.images, c.extras["landmarks"]):
        true = np.loadtxt(copy / "Landmarks" / name[:4] / name[5:8] / f"{name[:17]}_landmarks.txt")
        inside = ((points > 1) & (points < np.array(image.shape[1::-1]) - 2)).all(1)
        seen = cv2.remap(image.astype(np.float32), *points[inside].T[:, :, None], cv2.INTER_LINEAR)[:, 0, :2] / 2
        assert inside.sum() > 10 and np.abs(seen - true[inside]).max() < .5, name
    # at most so wide is a pixel of the frame; windows are in whole ones
    pixel = c.images.shape[1] / 25
    if crop == "face" and margin < 1:
        assert (c.extras["landmarks"] >= -.5 - pixel).all()
        assert (c.extras["landmarks"] <= c.images.shape[1] - .5 + pixel).all()


def test_landmarks_against_the_geometry(made):
    c = whole(made, image_size=SMALL)
    for name, points in zip(c.names, c.extras["landmarks"]):
        assert np.abs(points - landmarks(frame_faces(sequence(name), 3)[int(name[9:17]) - 1], SMALL)).max() < 1e-3
    assert (c[3:9].extras["landmarks"] == c.extras["landmarks"][3:9]).all()


def test_crop_holds_the_landmarks(made):
    tight, wide = (whole(made, crop="face", margin=m, image_size=60).extras["landmarks"] for m in (0, .3))
    # windows are in whole pixels, of about one of these
    for points in (tight, wide): assert points.min() > -1.5 and points.max() < 60.5
    extent = [(points.max(1) - points.min(1)).max(1) for points in (tight, wide)]
    assert (extent[0] > 56).all() and (extent[1] < extent[0] - 3).all()


@pytest.mark.parametrize("margin", [-.1, 11, np.nan])
def test_margins_that_make_no_sense(made, margin):
    with pytest.raises(ValueError, match="margin"): whole(made, crop="face", margin=margin)


# --- people

def test_nobody_is_in_two_splits(made):
    parts = {s: load("ckplus", made, s, image_size=8, folds=5) for s in ("train", "valid", "test")}
    people = [set(c.extras["person"]) for c in parts.values()]
    assert (all(people) and sum(map(len, people)) == len(set.union(*people))
            and sum(map(len, parts.values())) == len(whole(made, image_size=8)))
    counts = pd.DataFrame({s: c.counts() for s, c in parts.items()}).T.rename_axis("split")
    assert label_counts(made, folds=5).equals(counts)
    assert (label_counts(made, whole=True).loc["whole"] == label_counts(made).sum()).all()


def test_each_image_is_tested_once(made):
    names = [n for k in range(5) for n in load("ckplus", made, "test", image_size=8, folds=5, fold=k).names]
    assert sorted(names) == sorted(whole(made, image_size=8).names)
    people = sorted(set(whole(made, image_size=8).extras["person"]))
    left_out = [set(load("ckplus", made, "test", image_size=8, folds=len(people), fold=k).extras["person"])
                for k in range(len(people))]
    assert sorted(map(sorted, left_out)) == [[p] for p in people]


def test_folds_are_even_and_depend_on_nothing_else():
    g = np.random.default_rng(0)
    people = g.choice([f"S{k:03d}" for k in range(118)], 654)
    labels = g.choice(8, 654, p=np.array(list(ckplus.PUBLISHED.values())) / 654)
    group, order = fold_of(people, labels), g.permutation(654)
    assert (fold_of(people[order], labels[order]) == group[order]).all()
    assert (fold_of(people, labels, seed=1) != group).any()
    for e in range(8):
        n = np.bincount(group[labels == e], minlength=10)
        assert n.max() - n.min() <= max(6, .2 * n.mean())
    for bad in (2, 0, 119, -1):
        with pytest.raises(ValueError, match="from 3 to 118"): fold_of(people, labels, bad)


def test_folds_that_do_not_exist(made):
    with pytest.raises(ValueError, match="fold=10: from 0 to 9"): load("ckplus", made, fold=10)
    with pytest.raises(ValueError, match="folds=11: from 3 to 10"): load("ckplus", made, folds=11)


# --- bad labels

BAD_LABELS = ["", " \n", "8", "-1", "3.5", "happy", "nan", "inf", "3 3", "3\n4", "1_0", "３", "0x3", "1e30", "\0",
              "3,0", "3;", "+", "." * 200_000]

@pytest.mark.parametrize("text", BAD_LABELS)
def test_bad_label(copy, text):
    f = emotion(copy)
    f.write_text(text)
    with pytest.raises(ValueError, match=rf"1 cannot be used[^$]*Emotion/S005/001/{f.name}"): whole(copy)
    with pytest.raises(ValueError, match=f.name): label_counts(copy)
    c = skipping(copy, image_size=8)
    assert not [n for n in c.names if n.startswith("S005_001")]
    assert [EXPRESSIONS[l] for l in c.labels] == [expected(n) for n in c.names]
    assert c.skipped["name"].to_list() == [f"Emotion/S005/001/{f.name}"]


@some
@given(st.one_of(st.binary(max_size=30), st.text(string.digits + " .e+-\n", max_size=8).map(str.encode),
                 st.floats(-2, 10).map(lambda v: f"  {v:.7e}\n".encode()),
                 st.integers(-1, 9).map(lambda v: f"   {v}.0000000e+00\n".encode())))
def test_a_label_is_a_whole_number_or_nothing(copy, data):
    f = emotion(copy)
    f.write_bytes(data)
    try: value = float(data.decode("ascii"))
    except ValueError: value = None
    plain = value is not None and re.fullmatch(rb"\s*[+-]?\d[\d.]*(e[+-]?\d+)?\s*", data, re.I)
    c = skipping(copy, image_size=8)
    got = [EXPRESSIONS[l] for n, l in zip(c.names, c.labels) if n == f"{f.name[:17]}.png"]
    if plain and value in range(8): assert got == [EXPRESSIONS[datasets.class_index(CODES[int(value)])]]
    else: assert got == [] and len(c.skipped) == 1
    assert all(EXPRESSIONS[l] == expected(n) for n, l in zip(c.names, c.labels) if not n.startswith("S005_001"))


def test_a_neutral_peak_is_neutral(copy):
    emotion(copy).write_text("   0.0000000e+00\n")       # no sequence of CK+ has it, but its readme allows it
    c = whole(copy, image_size=8)
    assert {l for n, l in zip(c.names, c.labels) if n.startswith("S005_001")} == {0}


@pytest.mark.parametrize("name, why", [("S006_001_00000003_emotion.txt", "not named S005_001_<frame>"),
                                       ("S005_002_00000003_emotion.txt", "not named"),
                                       ("S005_001_3_emotion.txt", "not named"),
                                       ("emotion.txt", "not named"),
                                       ("S005_001_00000009_emotion.txt", "S005_001_00000009.png: file not found"),
                                       ("S005_001_00000001_emotion.txt", "cannot be both")])
def test_labels_of_other_frames(copy, name, why):
    emotion(copy).rename(emotion(copy).parent / name)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(why)): whole(copy)
    c = skipping(copy, image_size=8)
    assert len(c.skipped) == 1 and all(EXPRESSIONS[l] == expected(n) for n, l in zip(c.names, c.labels))
    assert not [n for n in c.names if n.startswith("S005_001") and n != "S005_001_00000001.png"]


def test_two_labels(copy):
    f = emotion(copy)
    (f.parent / "S005_001_00000002_emotion.txt").write_text("   5.0000000e+00\n")
    with pytest.raises(ValueError, match="a second label beside S005_001_00000002"): whole(copy)
    assert not [n for n in skipping(copy).names if n.startswith("S005_001")]


def test_stray_files(copy):
    f = emotion(copy)
    for stray in ("._" + f.name, ".DS_Store", "Thumbs.db"): (f.parent / stray).write_bytes(b"\0\5\26\7")
    (copy / "cohn-kanade-images/S005/001/._S005_001_00000009.png").write_bytes(b"\0")
    (copy / "Emotion/.hidden/001").mkdir(parents=True)
    c = whole(copy, image_size=8)
    assert len(c) == 2 * sum(acted(i)[3] for i in range(N)) and not len(check(copy, folds=5).bad)


def test_an_earlier_label_is_noted(copy):
    f, frames = emotion(copy), copy / "cohn-kanade-images/S005/001"
    shutil.copy(frames / "S005_001_00000003.png", frames / "S005_001_00000004.png")
    notes = check(copy, folds=5).notes
    assert f.name[:17] in notes[-1] and "1 labels are not for the last frame" in notes[-1]


def test_no_first_frame(copy):
    (copy / "cohn-kanade-images/S005/001/S005_001_00000001.png").unlink()
    with pytest.raises(FileNotFoundError, match="cohn-kanade-images/S005/001/S005_001_00000001.png"): whole(copy)
    # and frame 2 is not taken for neutral
    assert [n for n in skipping(copy).names if n.startswith("S005_001")] == ["S005_001_00000003.png"]


# --- bad pictures and the files beside them

def break_picture(f, how):
    data = f.read_bytes()
    f.unlink()
    if how == "folder": f.mkdir()
    elif how != "missing":
        f.write_bytes({"empty": b"", "text": b"hello", "cut": data[:200],
                       "flipped": data[:100] + bytes([data[100] ^ 255]) + data[101:]}[how])


@pytest.mark.parametrize("crop", ckplus.CROPS)
@pytest.mark.parametrize("how", ["missing", "folder", "empty", "text", "cut", "flipped"])
def test_bad_picture(copy, how, crop):
    f = copy / "cohn-kanade-images/S005/001/S005_001_00000003.png"
    break_picture(f, how)
    with pytest.raises((ValueError, FileNotFoundError), match=f"1 cannot be used[^$]*{f.name}"):
        whole(copy, image_size=16, crop=crop)
    c = skipping(copy, image_size=16, crop=crop)
    assert len(c) == 2 * sum(acted(i)[3] for i in range(N)) - 1
    assert [EXPRESSIONS[l] for l in c.labels] == [expected(n) for n in c.names]
    assert c.skipped["reason"].str.contains(f.name).all() and len(c.skipped) == 1
    found = check(copy, folds=5)
    assert found.usable and len(found.bad) == 1 and found.counts.loc["all"].sum() == len(c)


@pytest.mark.parametrize("text, why", [("", "0 lines"), ("1 2\n" * 67, "67 lines"), ("1 2\n" * 69, "69 lines"),
                                       ("1 2\n" * 10 + "1\n" + "1 2\n" * 57, "line 11"),
                                       ("1 2\n" * 67 + "1 nan\n", "line 68"), ("1 2\n" * 67 + "1e999 2\n", "line 68"),
                                       ("1 2 3\n" * 68, "line 1"), ("\x89PNG" * 10, "line 1")])
def test_bad_landmarks(copy, text, why):
    f = copy / "Landmarks/S005/001/S005_001_00000003_landmarks.txt"
    f.write_text(text)
    with pytest.raises(ValueError, match=f"Landmarks/S005/001/{f.name}.*{why}"): whole(copy)
    c = skipping(copy, image_size=16)
    assert ("S005_001_00000003.png" not in c.names and "S005_001_00000001.png" in c.names and len(c.skipped) == 1
            and np.isfinite(c.extras[
        "landmarks"]).all())


def test_missing_landmarks(copy):
    (copy / "Landmarks/S005/001/S005_001_00000003_landmarks.txt").unlink()
    c = whole(copy, image_size=16)
    assert np.isnan(c.extras["landmarks"]).any((1, 2)).sum() == 1 and "S005_001_00000003.png" in c.names
    with pytest.raises(FileNotFoundError, match="S005_001_00000003: landmarks not found"):
        whole(copy, image_size=16, crop="face")
    assert len(skipping(copy, image_size=16, crop="face")) == len(c) - 1


def test_landmarks_in_one_place(copy):
    (copy / "Landmarks/S005/001/S005_001_00000003_landmarks.txt").write_text("50 50\n" * 68)
    with pytest.raises(ValueError, match="S005_001_00000003: landmarks all in one place"):
        whole(copy, image_size=16, crop="face")
    assert len(skipping(copy, image_size=16, crop="face")) == len(whole(copy, image_size=16)) - 1


def test_landmarks_beside_the_picture(copy):
    (copy / "Landmarks/S005/001/S005_001_00000003_landmarks.txt").write_text("900 900\n" * 67 + "950 950\n")
    assert len(whole(copy, image_size=16)) == len(skipping(copy, image_size=16, crop="face")) + 1
    with pytest.raises(ValueError, match="S005_001_00000003.png: the face's box .* lies outside the picture of 128 x "
                                         "98"):
        whole(copy, image_size=16, crop="face")


@pytest.mark.parametrize("text, why", [("9", "line 1: 2 numbers"), ("9 x", "line 1"), ("65 1", "unit 65"),
                                       ("0 1", "unit 0"), ("9.5 1", "unit 9.5"), ("9 6", "intensity 6"),
                                       ("9 -1", "intensity -1"), ("9 .5", "line 1")])
def test_bad_units(copy, text, why):
    f = copy / "FACS/S005/001/S005_001_00000003_facs.txt"
    f.write_text(text)
    with pytest.raises(ValueError, match=f"FACS/S005/001/{f.name}.*{why}"): whole(copy)
    assert "S005_001_00000003.png" not in skipping(copy, image_size=16).names


@some
@given(st.data())
def test_damage_never_changes_a_label(copy, data):
    """Any file but those of emotion, cut short, overwritten or with a changed byte: what is loaded keeps its label,
    and everything else is listed."""
    files = sorted(f for part in ("cohn-kanade-images", "FACS", "Landmarks") for f in (copy / part).glob("*/*/*.*"))
    f = data.draw(st.sampled_from(files)); whole_file = f.read_bytes()
    at = data.draw(st.integers(0, len(whole_file) - 1))
    kinds = [whole_file[:at], whole_file[:at] + bytes([data.draw(st.integers(0, 255))]) + whole_file[at + 1:],
             data.draw(st.binary(max_size=50))]
    f.write_bytes(data.draw(st.sampled_from(kinds)))
    try: c = skipping(copy, image_size=12, crop=data.draw(st.sampled_from(ckplus.CROPS)))
    finally: f.write_bytes(whole_file)
    assert [EXPRESSIONS[l] for l in c.labels] == [expected(n) for n in c.names]
    assert len(c) + len(c.skipped) == 2 * sum(acted(i)[3] for i in range(N)) and len(c.skipped) <= 1
    assert len(c.skipped) == 0 or f.name[:17] in c.skipped["reason"][0]


# --- files outside

@pytest.mark.parametrize("what", ["label", "picture", "landmarks", "sequence", "emotions"])
def test_nothing_outside_is_read(copy, tmp_path, what):
    place = {"label": "Emotion/S005/001/S005_001_00000003_emotion.txt",
             "picture": "cohn-kanade-images/S005/001/S005_001_00000003.png",
             "landmarks": "Landmarks/S005/001/S005_001_00000003_landmarks.txt", "sequence": "Emotion/S005/001",
             "emotions": "Emotion"}[what]
    shutil.move(copy / place, tmp_path / "outside"); (copy / place).symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match="leads out of the corpus folder|no usable label"): whole(copy)
    if what == "emotions": return
    c = skipping(copy, image_size=16)
    assert ("S005_001_00000003.png" not in c.names and c.skipped["reason"].str.contains("leads out").all()
            and len(c.skipped) == 1)


def test_links_within_are_followed(copy):
    f = copy / "cohn-kanade-images/S005/001/S005_001_00000003.png"
    shutil.move(f, copy / "peak.png"); f.symlink_to(copy / "peak.png")
    assert f.name in whole(copy, image_size=16).names


# --- options and checks

def test_wrong_places_and_options(made, copy, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder cohn-kanade-images"): load("ckplus", tmp_path / "c" / "FACS")
    with pytest.raises(FileNotFoundError, match="no folder Emotion .*Emotion_labels.zip"):
        shutil.rmtree(copy / "Emotion")
        load("ckplus", copy)
    (copy / "Emotion").mkdir()
    with pytest.raises(ValueError, match="no usable label"): load("ckplus", copy)
    with pytest.raises(ValueError, match="did you mean 'face'"): load("ckplus", made, crop="faces")
    with pytest.raises(ValueError, match="did you mean 'skip'"): load("ckplus", made, on_bad="skp")
    with pytest.raises(TypeError, match="did you mean 'whole'"): load("ckplus", made, hole=True)
    with pytest.raises(ValueError, match="did you mean 'train'"): ckplus.load(made, "training")


def test_check(made, copy):
    found = check(made, folds=5)
    assert (found.usable and not len(found.bad) and found.counts.drop("all").equals(label_counts(made, folds=5))
            and found.published.loc[
        "all"].sum() == 654)
    assert found.published.drop("all").isna().all(axis=None) and f"{N} sequences of {N // 2} people" in found.notes[0]
    emotion(copy, 0).write_text("8")
    emotion(copy, 1).write_text("")
    break_picture(copy / "cohn-kanade-images/S005/001/S005_001_00000003.png", "cut")
    (copy / "FACS/S007/001/S007_001_00000003_facs.txt").write_text("x")
    found = datasets.check("ckplus", copy, folds=5)
    # the picture of a sequence without label is not in use
    assert found.usable and len(found.bad) == 3
    assert found.bad["reason"].str.contains("S005_001_00000003_emotion.txt " "line 1: code 8").sum() == 1


def test_numbers(tmp_path):
    f = tmp_path / "n.txt"
    f.write_bytes(b" 1 2\r\n\r\n3.5e+00 -4\r\n")
    assert read_numbers(f, "n.txt", 2) == read_numbers(f, "n.txt", [2, 2]) == [[1, 2], [3.5, -4]]
    with pytest.raises(ValueError, match="n.txt line 3: 1 number expected, found '3.5e\\+00 -4'"):
        read_numbers(f, "n.txt", [2, 1])
    with pytest.raises(FileNotFoundError): read_numbers(tmp_path / "m.txt", "m.txt", 1)
    with pytest.raises(FileNotFoundError): read_numbers(tmp_path, "folder", 1)

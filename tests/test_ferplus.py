"FERPlus: the paper's counts on the real table, both layouts, and what is refused."
import shutil
from pathlib import Path

import numpy as np, pandas as pd, pytest
from PIL import Image
from rbdm_nb import ferplus
from rbdm_nb.datasets import EXPRESSIONS, load
from rbdm_nb.ferplus import COLUMNS, RAW, TABLE, VOTES, elect, label_counts, read_table, write
from rbdm_nb.notebooks import root

REAL = Path(root()).parent / "shared" / "data" / "ferplus"
real = pytest.mark.skipif(not (REAL / TABLE).is_file(), reason=f"FERPlus is licence-bound and not in {REAL}")
FORMS = ("folder", *RAW)
HAPPY, SAD, UNKNOWN, NF = ([10 * (c == k) for c in range(10)] for k in (1, 3, 8, 9))


def some(n=12, **changed):
    "Arguments of write(): n pictures, half train, the rest valid and test, alternately happy and sad."
    usage = ["Training"] * (n // 2) + ["PublicTest"] * (n // 4) + ["PrivateTest"] * (n - n // 2 - n // 4)
    rows = dict(images=np.random.default_rng(0).integers(0, 256, (n, 48, 48), np.uint8), votes=[HAPPY, SAD] * (n // 2), usage=usage, names=[f"fer{i:07d}.png" for i in range(n)])
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
    return int(np.argmax(chosen))


def test_rules_of_the_authors_against_a_transcription():
    g = np.random.default_rng(0)
    votes = np.concatenate([g.multinomial(10, g.dirichlet(np.full(10, a)), 400) for a in (0.1, 0.2, 0.3, 0.5, 1, 3)])
    for mode in ("majority", "cross_entropy"):
        want = np.array([authors(list(v), mode) for v in votes])
        got = VOTES[f"ferplus_{mode}"](votes)
        assert (np.where(got < 8, got, 8) == np.where(want < 8, want, 8)).all()


def test_majority_takes_the_first_of_equals():
    v = np.array([[5, 5, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 5, 0, 0, 5, 0], [0, 0, 0, 0, 0, 0, 0, 0, 5, 5], [1, 0, 0, 0, 0, 0, 0, 0, 4, 5]])
    assert list(VOTES["majority"](v)) == [0, 5, 8, 9]
    assert list(VOTES["majority_emotions"](v)) == [0, 5, 9, 0]


@real
def test_the_papers_counts():
    counts = {v: label_counts(REAL, v).sum(axis=1).to_dict() for v in VOTES}
    assert counts["majority"] == ferplus.PAPER == dict(train=28389, valid=3553, test=3546)
    assert {v: sum(c.values()) for v, c in counts.items()} == dict(majority=35488, majority_emotions=35711, ferplus_majority=31412, ferplus_cross_entropy=34966)
    train = label_counts(REAL).loc["train"]
    assert dict(train) == dict(neutral=10309, happy=7528, surprise=3562, sad=3515, anger=2467, disgust=191, fear=652, contempt=165)


@real
def test_every_kept_row_has_a_name_and_every_row_is_accounted_for():
    table = read_table(REAL)
    assert len(table) == 35887 and (table["name"] == "").sum() == 173
    kept, total = [], 0
    for split in ferplus.USAGE:
        rows, out = elect(table, split); kept.append(rows); total += len(rows) + len(out)
    kept = pd.concat(kept)
    assert total == 35887 and len(kept) == 35488 and (kept["name"] != "").all() and kept["id"].is_unique and kept["name"].duplicated().sum() == 3


@real
def test_real_validation_set():
    c = load("ferplus", REAL, "valid")
    assert len(c) == 3553 and c.images.shape[1:] == (48, 48, 1) and len(c) + len(c.skipped) == 3589
    with pytest.raises(FileNotFoundError, match="FER2013Test"): load("ferplus", REAL, "test")


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
    assert load("ferplus", tmp_path, image_size=24, channels=3).images.shape == (6, 24, 24, 3)


def test_folders_under_data(tmp_path):
    write(tmp_path, *some())
    (tmp_path / "data").mkdir(); shutil.move(tmp_path / "FER2013Valid", tmp_path / "data")
    assert len(load("ferplus", tmp_path, "valid")) == 3


@pytest.mark.parametrize("form", FORMS)
def test_names_lag_repeat_and_are_blank(tmp_path, form):
    names = ["fer0000000.png", "", "fer0000001.png", "fer0000001.png", "fer0000001.png", "fer0000005.png"] + [f"fer{i:07d}.png" for i in range(6, 12)]
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
    with pytest.raises(FileNotFoundError, match="test split.*FER2013Test.*fer2013.csv or icml_face_data.csv"): load("ferplus", tmp_path, "test")
    (tmp_path / "FER2013Train" / "fer0000002.png").unlink()
    with pytest.raises(FileNotFoundError, match="fer0000002.png .*line 4.*not found"): load("ferplus", tmp_path)
    (tmp_path / TABLE).unlink()
    with pytest.raises(FileNotFoundError, match=TABLE): load("ferplus", tmp_path)


def test_wrong_columns(tmp_path):
    write(tmp_path, *some())
    edit(tmp_path / TABLE, "contempt", "contemp")
    with pytest.raises(ValueError, match="no column 'contempt'; did you mean 'contemp'"): load("ferplus", tmp_path)


@pytest.mark.parametrize("old, new", [("Training,fer0000001.png,0,", "Training,fer0000001.png,many,"), ("Training,fer0000001.png,0,", "Training,fer0000001.png,-1,"),
                                      ("Training,fer0000001.png,0,", "Training,fer0000001.png,0.5,"), ("Training,fer0000001.png,0,", "Training,fer0000001.png,,"),
                                      ("Training,fer0000001.png,0,", "Trainig,fer0000001.png,0,"), ("Training,fer0000001.png,0,", "Training,fer0000001.png,")])
def test_bad_rows(tmp_path, old, new):
    write(tmp_path, *some())
    edit(tmp_path / TABLE, old, new)
    with pytest.raises(ValueError, match="line 3"): load("ferplus", tmp_path)
    with pytest.raises(ValueError, match="line 3"): label_counts(tmp_path)
    with pytest.warns(UserWarning, match="1 left out"): c = load("ferplus", tmp_path, on_bad="skip")
    assert len(c) == 5 and c.skipped["name"].str.contains("fer0000001|Trainin?g").any()


@pytest.mark.parametrize("name, why", [("../secret.png", "leads out"), ("", "blank"), ("fer9999999.png", "not found")])
def test_bad_names(tmp_path, name, why):
    write(tmp_path / "c", *some())
    Image.new("L", (48, 48)).save(tmp_path / "c" / "secret.png")
    edit(tmp_path / "c" / TABLE, "fer0000001.png", name)
    with pytest.raises((ValueError, FileNotFoundError), match=f"(?s){TABLE} line 3.*{why}|{why}"): load("ferplus", tmp_path / "c")
    with pytest.warns(UserWarning): c = load("ferplus", tmp_path / "c", on_bad="skip")
    assert len(c) == 5 and {"fer0000001.png"} < set(c.skipped["name"]) | {""}      # the picture that is now unnamed is listed as well


def test_damaged_pictures(tmp_path):
    write(tmp_path, *some())
    folder = tmp_path / "FER2013Train"
    (folder / "fer0000000.png").write_bytes(b""); (folder / "fer0000003.png").write_bytes((folder / "fer0000003.png").read_bytes()[:200])
    with pytest.raises(ValueError, match="(?s)2 cannot be used.*fer0000000.png .*line 2.*empty.*line 5.*truncated"): load("ferplus", tmp_path)
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

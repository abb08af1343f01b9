"Files of the store that are lost, cut or changed: the same result, or an error that names the file; never another."
import os, shutil, warnings
from pathlib import Path
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from rbdm_nb.store import Damaged, Store, resumable_array

ROWS, CHUNK = 11, 4

def compute(a, b):
    k = np.arange(a, b)
    zeros_first = np.where(k[:, None] < 4, 0, k[:, None]).astype("int64")   # a chunk of zeros
    return np.stack([k, k % 3], 1).astype("float32"), zeros_first

def made(folder):
    "The entry in `folder`, made or taken from there, and what its readers get."
    entry = Store(folder).entry("demo", what="pair")
    with entry.lock():
        if not entry.complete:
            resumable_array(entry, "x", (ROWS, 2), "float32", CHUNK, compute, beside=dict(y=((ROWS, 1), "int64")))
            if not entry.path.joinpath("z.npy").exists() or not entry.has("z.npy"):
                np.save(entry.file("z.npy"), np.arange(5))
            entry.finish(rows=ROWS)
    return entry, entry.array("x")[:], entry.array("y")[:], np.load(entry.checked("z.npy")), entry.meta

@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    made(folder)
    return folder

def files(folder): return sorted(f for f in folder.rglob("*") if f.is_file() and not f.name.endswith(".lock"))

def quiet(f):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        return f(), [str(w.message) for w in said]

def same(result):
    x, y = compute(0, ROWS)
    np.testing.assert_array_equal(result[1], x); np.testing.assert_array_equal(result[2], y)
    np.testing.assert_array_equal(result[3], np.arange(5)); assert result[4] == dict(rows=ROWS)


def test_every_chunk_is_a_file(whole):
    assert len([f for f in files(whole) if "/c/" in f.as_posix()]) == 6


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_damage_is_found_and_mended(whole, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("copy")/"store"
    shutil.copytree(whole, folder)
    file = data.draw(st.sampled_from(files(folder)))
    content = file.read_bytes()
    how = data.draw(st.sampled_from(["gone", "empty", "cut", "flip", "garbage", "swap"]))
    if how == "gone": file.unlink()
    if how == "empty": file.write_bytes(b"")
    if how == "cut": file.write_bytes(content[:data.draw(st.integers(0, max(len(content) - 1, 0)))])
    if how == "garbage": file.write_bytes(data.draw(st.binary(max_size=60)))
    if how == "swap":
        shutil.copy(data.draw(st.sampled_from(files(folder))), folder/"spare")
        shutil.move(folder/"spare", file)
    if how == "flip":
        at = data.draw(st.integers(0, len(content) - 1))
        file.write_bytes(content[:at] + bytes([content[at] ^ (1 << data.draw(st.integers(0, 7)))]) + content[at + 1:])
    changed = not file.exists() or file.read_bytes() != content
    result, said = quiet(lambda: made(folder))
    same(result)
    told = any(file.name in s or "lost or damaged" in s for s in said)
    assert not changed or how == "gone" and file.name == "meta.json" or told, (file, how, said)
    again, said = quiet(lambda: made(folder))
    same(again)
    assert not said


def test_damage_while_it_is_being_made(tmp_path):
    entry = Store(tmp_path).entry("demo", what="pair")
    def stops(a, b):
        if a >= 8: raise KeyboardInterrupt
        return compute(a, b)
    with pytest.raises(KeyboardInterrupt):
        resumable_array(entry, "x", (ROWS, 2), "float32", CHUNK, stops, beside=dict(y=((ROWS, 1), "int64")))
    (entry.path/"y.zarr"/"c"/"1"/"0").unlink()
    result, said = quiet(lambda: made(tmp_path))
    same(result)
    assert any("y.zarr/c/1/0" in s for s in said)


def test_a_damaged_entry_can_be_listed_and_its_error_names_the_file(whole, tmp_path):
    folder = tmp_path/"store"
    shutil.copytree(whole, folder)
    entry = Store(folder).entry("demo", what="pair")
    (entry.path/"meta.json").write_text("")
    assert Store(folder).contents().complete.tolist() == [False]
    with pytest.raises(Damaged, match="meta.json is damaged"): entry.meta
    with pytest.raises(Damaged, match="meta.json is damaged"): entry.array("x")


def test_files_are_on_the_disk_before_they_are_renamed(tmp_path, monkeypatch):
    from rbdm_nb import project as notebooks
    done, opened = [], Path("/proc/self/fd")
    named = lambda handle: os.readlink(opened/str(handle)) if opened.exists() else ""
    monkeypatch.setattr(notebooks.os, "fsync", lambda handle: done.append(named(handle)))
    replace = os.replace
    monkeypatch.setattr(notebooks.os, "replace", lambda a, b: (done.append("rename"), replace(a, b)))
    notebooks.write_atomic(tmp_path/"a"/"b.txt", "text")
    assert len(done) == 3 and done[1] == "rename" and done[2] in ("", str(tmp_path/"a"))

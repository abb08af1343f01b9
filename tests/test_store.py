"Files of the store that are lost, cut or changed: the same result, or an error that names the file; never another."
import os, shutil, signal, subprocess, sys, time, warnings
from pathlib import Path
import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from rbdm_nb.store import Damaged, Store, _layout, resumable_array

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


# --- an array that several processes make

SHARE = '''
import os, sys, time
import numpy as np
from rbdm_nb.store import Store, resumable_array
folder, slow, told = sys.argv[1], float(sys.argv[2]), sys.argv[3]
def compute(start, stop):
    with open(told, "a") as f: f.write(f"{start} {os.getpid()}\\n")
    time.sleep(slow)
    rows = np.arange(start, stop)
    return np.sin(rows)[:, None].astype("float32"), rows[:, None] % 5
entry = Store(folder).entry("demo", what="shared")
if not entry.complete:
    resumable_array(entry, "x", (47, 1), "float32", 4, compute, beside=dict(y=((47, 1), "int64")))
    entry.finish(rows=47)
print(float(np.nansum(entry.array("x")[:])), int(entry.array("y")[:].sum()))
'''

def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)

def begin(folder, slow=0.05):
    return subprocess.Popen([sys.executable, "-c", SHARE, str(folder/"store"), str(slow), str(folder/"told")],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def end(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Warning" not in err, err
    return out

def told(folder): return [line.split() for line in (folder/"told").read_text().splitlines()]

def content(folder):
    "Bytes of all files of the store, but the seconds that chunks took and what depends on them."
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in files(folder/"store")
            if "progress" not in f.as_posix() and f.name != "meta.json"}

@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return end(begin(folder, 0)), content(folder)


@pytest.mark.parametrize("processes", [2, 3])
def test_processes_that_ask_for_an_array_share_its_chunks(tmp_path, alone, processes):
    assert {end(p) for p in [begin(tmp_path) for _ in range(processes)]} == {alone[0]}
    assert content(tmp_path) == alone[1]
    starts, makers = zip(*told(tmp_path))
    assert sorted(map(int, starts)) == list(range(0, 47, 4)) and len(set(makers)) == processes
    entry = Store(tmp_path/"store").entry("demo", what="shared")
    assert entry.complete and not list(entry.path.glob(".*")) and entry.seconds > 12*0.05


def test_a_killed_process_leaves_its_chunk_to_another(tmp_path, alone):
    first, other = begin(tmp_path, 0.2), begin(tmp_path, 0.2)
    wait_for(lambda: (tmp_path/"told").exists() and [p for _, p in told(tmp_path)].count(str(first.pid)) == 2)
    first.kill()
    assert first.wait(60) == -9 and end(other) == alone[0] and content(tmp_path) == alone[1]
    starts = [int(s) for s, _ in told(tmp_path)]
    assert sorted(set(starts)) == list(range(0, 47, 4)) and len(starts) == 13    # the chunk that it was in
    assert [s for s, p in told(tmp_path) if p == str(first.pid)][-1] in [s for s, p in told(tmp_path)
                                                                         if p == str(other.pid)]


def test_a_chunk_is_left_to_who_is_at_it(tmp_path):
    "Its owner is stopped, not dead: the others wait, make the rest, and end when it goes on."
    owner = begin(tmp_path, 0.2)
    wait_for((tmp_path/"told").exists)
    os.kill(owner.pid, signal.SIGSTOP)
    other = begin(tmp_path, 0)
    wait_for(lambda: len(told(tmp_path)) == 12)
    with pytest.raises(subprocess.TimeoutExpired): other.wait(1)
    os.kill(owner.pid, signal.SIGCONT)
    assert end(owner) == end(other) and len(told(tmp_path)) == 12


def test_what_another_layout_left_is_made_anew(tmp_path):
    entry = Store(tmp_path).entry("demo", what="layout")
    ones, made = lambda a, b: np.ones((b - a, 2)), []
    resumable_array(entry, "x", (9, 2), "float32", 3, ones)
    def twos(a, b):
        made.append(a)
        return np.full((b - a, 2), 2)
    array, said = quiet(lambda: resumable_array(entry, "x", (9, 2), "float64", 3, twos)[:])
    assert made == [0, 3, 6] and (array == 2).all() and array.dtype == "float64" and any("x.zarr" in s for s in said)


def test_a_change_under_a_writer_is_refused(tmp_path):
    entry = Store(tmp_path).entry("demo", what="layout")
    def other(a, b):
        if not a: (entry.path/"x.zarr"/"zarr.json").write_bytes(_layout((9, 2), "float64", 9))
        return np.ones((b - a, 2))
    with pytest.raises(ValueError, match="zarr.json was changed by another process"):
        resumable_array(entry, "x", (9, 2), "float32", 3, other)


def test_what_a_killed_writer_left_of_a_chunk_goes(tmp_path):
    entry = Store(tmp_path).entry("demo", what="left")
    (entry.path/"x.zarr"/"c"/"1").mkdir(parents=True)
    (entry.path/"x.zarr"/"c"/"1"/"0.0123abcd.partial").write_bytes(b"cut")
    resumable_array(entry, "x", (9, 2), "float32", 3, lambda a, b: np.zeros((b - a, 2)))
    entry.finish()
    assert not [n for n in entry.record["files"] if "partial" in n]

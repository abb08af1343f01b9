"Files that parameters point at: what is seen of a change, what is not one, and users without a home."
import os, subprocess, sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings, strategies as st
from rbdm_nb.inputs import file_digests, input_change, inputs, pointed

REPOSITORY = Path(__file__).resolve().parents[1]
DECLARED = {n: SimpleNamespace(help=h, choices=()) for n, h in dict(
    data_root="folder of that corpus", trainer="architecture or path of a Keras model",
    recordings="folder with recordings",
    label="put into names", output="folder for results").items()}


@pytest.fixture
def faces(tmp_path):
    (tmp_path/"faces"/"images").mkdir(parents=True)
    for name, text in {"labels.csv": "a,b", "images/0.png": "0", "images/1.png": "1"}.items():
        (tmp_path/"faces"/name).write_text(text)
    return tmp_path/"faces"


def look(folder): return inputs(dict(data_root=str(folder)), DECLARED)["data_root"]


def test_a_change_of_equal_size_whose_time_was_set_back_is_seen(faces):
    before, times = look(faces), os.stat(faces/"labels.csv")
    (faces/"labels.csv").write_text("b,a")
    os.utime(faces/"labels.csv", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert input_change("data_root", before, look(faces)) == "input data_root: labels.csv changed"


def test_touching_and_what_systems_leave_behind_change_nothing(faces):
    before = look(faces)
    for f in faces.rglob("*"): os.utime(f)
    (faces/".DS_Store").write_text("x")
    (faces/"images"/"._0.png").write_text("x")
    assert look(faces) == before


def test_pictures_behind_a_link_to_a_folder_count(faces, tmp_path):
    (faces/"images").rename(tmp_path/"elsewhere")
    (faces/"images").symlink_to(tmp_path/"elsewhere")
    before = look(faces)
    (tmp_path/"elsewhere"/"0.png").write_text("other")
    assert input_change("data_root", before, look(faces)) == "input data_root: images/0.png changed"


def test_a_damaged_memory_costs_time_only(faces, monkeypatch, tmp_path):
    monkeypatch.setenv("RBDM_CACHE", str(tmp_path/"cache"))
    before = file_digests(faces)
    for content in ("", "[]", '{"labels.csv": [1]}', "\0"):
        for f in (tmp_path/"cache"/"inputs").iterdir(): f.write_text(content)
        assert file_digests(faces) == before


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(DECLARED)), st.text(max_size=300)))
@example({"recordings": "\0", "label": "a\0b"})
def test_any_text_is_a_path_or_none(values):
    assert set(pointed(values, DECLARED)) <= set(values) - {"output"}
    inputs(values | dict.fromkeys({"data_root"} & values.keys(), "nowhere"), DECLARED)


def test_without_a_home_a_temporary_folder_serves_and_is_said(tmp_path):
    code = ("import pathlib; pathlib.os.path.expanduser = lambda p: p\n"
            "from rbdm_nb.project import cache_folder; print(cache_folder())")
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "RBDM_CACHE", "XDG_CACHE_HOME")}
    environment |= {"TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.strip().startswith(str(tmp_path/"rbdm-")) and done.stderr.startswith("no home folder: ")

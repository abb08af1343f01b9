"rbdm data: every corpus from a made-up copy through the check, exit statuses, messages."
import os, shutil, subprocess, sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from rbdm_nb.roof.cli import main
from rbdm_nb.corpora.datasets import CORPORA

REPOSITORY = Path(__file__).resolve().parents[1]
SMALL = {"ckplus": 12, "affectnet": 120}
MADE = [("ferplus", ()), ("ferplus", ("--release", "fer2013.csv")), ("folder", ()), ("folder", ("--release", "csv")),
        ("folder", ("--release", "parquet")),
        ("affectnet", ()), ("affectnet", ("--release", "affectnet8")), ("ckplus", ()), ("rafdb", ())]


@pytest.fixture
def rbdm(tmp_path, monkeypatch):
    "Function that calls `rbdm` in this process, from an empty folder."
    monkeypatch.setenv("RBDM_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "home"; home.mkdir(); monkeypatch.chdir(home)
    return lambda *args: CliRunner().invoke(main, [str(a) for a in args], prog_name="rbdm", catch_exceptions=False)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    "A folder corpus; tests that change it take a copy."
    from rbdm_nb.corpora.folder import fake
    return fake(tmp_path_factory.mktemp("faces") / "faces", 32)


def process(*args, cwd):
    code = "from rbdm_nb.roof.cli import main; main(prog_name='rbdm')"
    return subprocess.run([sys.executable, "-c", code, *args], cwd=cwd,
                          env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
                          timeout=300)


# --- every corpus

def test_every_corpus_is_tried_here():
    assert {name for name, _ in MADE} == set(CORPORA) - {"synthetic"}


@pytest.mark.parametrize("name, more", MADE)
def test_fake_then_check(rbdm, name, more):
    n = ("--n", SMALL[name]) if name in SMALL else ()
    made = rbdm("data", "fake", name, "--out", "some/corpus", "--seed", 3, *n, *more)
    assert made.exit_code == 0 and "rbdm data check" in made.stdout, made.stderr
    done = rbdm("data", "check", name, "--root", "some/corpus", *(("--option", "folds=3") if name == "ckplus" else ()))
    assert (done.exit_code == 0 and done.stdout.startswith(f"{name} in ")
            and done.stdout.endswith("\nusable\n")), done.stdout + done.stderr
    head = next(line for line in done.stdout.splitlines() if line.startswith("class "))
    assert "train" in head and ("(published)" in head) == (name != "folder")
    again = rbdm("data", "fake", name, "--out", "some/corpus")
    assert again.exit_code == 2 and "not empty" in again.stderr


@pytest.mark.parametrize("name", CORPORA)
def test_describe(rbdm, name):
    one, all_ = rbdm("data", "describe", name), rbdm("data", "describe")
    assert one.exit_code == all_.exit_code == 0 and one.stdout.strip() in all_.stdout
    assert "On disk" in one.stdout and "Asked for:" in one.stdout and len(one.stdout.splitlines()) < 10


# --- what is wrong with a corpus

def test_bad_files_are_listed(rbdm, faces, tmp_path):
    shutil.copytree(faces, tmp_path / "c")
    (tmp_path / "c" / "happy").rename(tmp_path / "c" / "hapy")
    for f in (tmp_path / "c").glob("*/*.png"):
        if f.parent.name != "sad": f.write_bytes(b"")
    done = rbdm("data", "check", "folder", "--root", tmp_path / "c")
    assert (done.exit_code == 0 and "28 cannot be used:" in done.stdout
            and "  and 8 more; --all lists them" in done.stdout and done.stdout.endswith(
        "usable\n"))
    assert sum(line.startswith("  ") for line in done.stdout.splitlines()) == 21
    everything = rbdm("data", "check", "folder", "--root", tmp_path / "c", "--all").stdout
    assert everything.count("the file is empty") == 24
    assert everything.count("unknown label 'hapy'; did you mean " "'happy'?") == 4
    assert "--all" not in everything


def test_what_cannot_be_used_at_all(rbdm, faces, tmp_path):
    for empty in sorted(faces.rglob("*.png")):
        place = tmp_path / "c" / empty.relative_to(faces)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"")
    done = rbdm("data", "check", "folder", "--root", tmp_path / "c")
    assert done.exit_code == 1 and done.stdout.endswith("not usable: no images in train, valid\n")
    (tmp_path / "empty").mkdir()
    for name in list(CORPORA)[1:]:
        done = rbdm("data", "check", name, "--root", tmp_path / "empty")
        assert (done.exit_code == 1 and done.stdout.splitlines()[1].startswith("not usable: ") and done.stderr == ""
                and len(done.stdout.splitlines()) == 2), (name, done.stdout)


def test_options_reach_the_corpus(rbdm, faces):
    done = rbdm("data", "check", "folder", "--root", faces, "--option", "valid_fraction=2.5e-1", "--option",
                "test_fraction=0.25", "--option",
                "classes=[sad, happy, joyless, neutral, surprise, fear, disgust, anger, contempt]")
    assert done.exit_code == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()[2:]]
    assert lines[0] == ["class", "train", "valid", "test"] and lines[1] == ["sad", "2", "1", "1"]
    assert lines[3] == ["joyless", "0", "0", "0"] and lines[10] == ["all", "16", "8", "8"]


# --- wrong use

@pytest.mark.parametrize("args, message", [
    (("check", "ferpls", "--root", "."), "unknown corpus 'ferpls'; did you mean 'ferplus'?"),
    (("check", "ferplus", "--root", "nowhere"), "ferplus: no folder nowhere (looked for "),
    (("check", "affectnet", "--root", "nowhere"), "Manually_Annotated"),
    (("check", "folder", "--root", "file"), "file is a file; root is the folder that holds the corpus"),
    (("check", "synthetic", "--root", "."), "nothing on disk to check"),
    (("check", "folder", "--root", "faces", "--option", "clases=found"),
     "folder has no option 'clases'; did you mean 'classes'?"),
    (("check", "folder", "--root", "faces", "--option", "duplicates=dropp"),
     "duplicates='dropp'; did you mean 'drop'?"),
    (("check", "folder", "--root", "faces", "--option", "classes"), "--option classes: write key=value"),
    (("check", "folder", "--root", "faces", "--option", "classes=[a, b"),
     "cannot read the value; lists are written [a, b]"),
    (("describe", "rafbd"), "unknown corpus 'rafbd'; did you mean 'rafdb'?"),
    (("fake", "synthetic", "--out", "x"), "there is nothing to write"),
    (("fake", "folder", "--out", "."), ". is not empty"),
    (("fake", "folder", "--out", "file"), "file is not empty; name a new or an empty folder"),
    (("fake", "folder", "--out", "x", "--release", "parket"), "release='parket'; did you mean 'parquet'?"),
    (("fake", "ckplus", "--out", "x", "--release", "1"), "ckplus has no option 'release'"),
    (("fake", "folder", "--out", "x", "--n", "2"), "n=2: at least 16"),
    (("fake", "folder", "--out", "file/x"), "cannot write to file/x: Not a directory"),
    (("chek", "ferplus"), "no command 'chek'; did you mean 'check'?")])
def test_mistakes_are_one_line_and_exit_2(rbdm, faces, args, message):
    Path("file").write_text("x"); Path("faces").symlink_to(faces)
    done = rbdm("data", *args)
    assert done.exit_code == 2 and message in done.stderr and done.stdout == ""
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert not Path("x").exists()


def test_help_has_examples(rbdm):
    whole = rbdm("data", "--help").stdout
    for word in ("check", "describe", "fake", *CORPORA): assert word in whole
    assert "rbdm data check" in rbdm("--help").stdout
    for command in ("check", "fake"):
        text = rbdm("data", command, "--help").stdout
        assert f"rbdm data {command} " in text and "--" in text


def test_nothing_here_loads_tensorflow(tmp_path):
    code = ("import sys; from rbdm_nb.roof.cli import main; main(['data', 'describe'], standalone_mode=False); "
            "sys.exit('tensorflow' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                          stdout=subprocess.DEVNULL).returncode == 0
    code = ("import sys; from rbdm_nb.roof.cli import main; main(['data', '--help'], standalone_mode=False); "
            "sys.exit(bool({'pandas', 'numpy', 'tensorflow'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                          stdout=subprocess.DEVNULL).returncode == 0


def test_a_process_of_its_own_gives_the_status(tmp_path):
    (tmp_path / "empty").mkdir()
    done = process("data", "check", "folder", "--root", "empty", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout.count("\n") == 2 and done.stderr == ""

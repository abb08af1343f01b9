"The command line: exit statuses, messages, help."
import os, subprocess, sys
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner
from rbdm_nb.roof.cli import main

REPOSITORY = Path(__file__).resolve().parents[1]


def process(*args, cwd):
    "Run `rbdm` in a process of its own."
    code = "from rbdm_nb.roof.cli import main; main(prog_name='rbdm')"
    return subprocess.run([sys.executable, "-c", code, *args], cwd=cwd,
                          env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
                          timeout=900)


@pytest.fixture
def rbdm(project, monkeypatch):
    "Function that calls `rbdm` in this process, from the project's folder or one below it."
    monkeypatch.delenv("IN_TEST", raising=False)
    def call(*args, cwd=""):
        monkeypatch.chdir(project/cwd)
        return CliRunner().invoke(main, args, prog_name="rbdm", catch_exceptions=False)
    return call


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    "A project with two notebooks, of which the second fails for mask=negative."
    folder = tmp_path_factory.mktemp("project")
    (folder/"settings.ini").write_text("[DEFAULT]\nlib_name = rbdm_nb\n")
    for part in ("nbs", "params/sets"): (folder/part).mkdir(parents=True)
    make, spec = nbformat.v4.new_code_cell, dict(kernelspec=dict(name="python3", language="python",
                                                                 display_name="python3"))
    cell = lambda more="": make('output: str = "outputs/demo"  # folder of results\n' + more,
                                metadata={"tags": ["parameters"]})
    first = [cell(), make("#| default_exp one"), make("print('one')")]
    second = [cell('mask: str = "mean"  # what to hide; one of: none, mean, negative'),
              make("assert mask != 'negative', 'too dark'\nprint('mask is', mask)")]
    for name, cells in {"01_one": first, "06_trainee": second}.items():
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), folder/"nbs"/f"{name}.ipynb")
    (folder/"params"/"sets"/"demo.yaml").write_text("name: demo\nnotebooks:\n  06_trainee:\n    - {mask: none}\n    - "
                                                    "{mask: mean}\n  01_one:\n")
    return folder


def test_the_command_line_starts_without_tensorflow():
    done = subprocess.run([sys.executable, "-c", "import sys, rbdm_nb.roof.cli; sys.exit('tensorflow' in sys.modules)"],
                          cwd=REPOSITORY)
    assert done.returncode == 0


def test_help_is_complete(project, rbdm):
    done = process("--help", cwd=project)
    assert done.returncode == 0
    for word in ("run", "status", "params", "readme"): assert f"  {word} " in done.stdout
    assert "--set NAME=VALUE" in rbdm("run", "--help").stdout


def test_tensorflow_is_not_loaded(project):
    code = ("import sys, rbdm_nb.roof.cli, rbdm_nb.roof.pipeline, rbdm_nb.roof.runner; sys.exit('tensorflow' in "
            "sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                          cwd=project).returncode == 0


@pytest.mark.parametrize("args, message", [
    (("run", "params/sets/demo.yaml", "--set", "maks=mean"), "unknown parameter 'maks'; did you mean 'mask'?"),
    (("run", "params/sets/demo.yaml", "--set", "mask=men"),
     "mask must be one of none, mean, negative, got 'men'; did you mean 'mean'?"),
    (("run", "params/sets/demo.yaml", "--only", "06_traine"),
     "--only 06_traine: not in this set; did you mean '06_trainee'?"),
    (("run", "params/sets/dmeo.yaml"), "no parameter set params/sets/dmeo.yaml; did you mean 'demo'?"),
    (("status", "dmeo"), "no parameter set dmeo; did you mean 'demo'?"),
    (("params", "06_traine"), "no notebook '06_traine'; did you mean '06_trainee'?"),
    (("statsu",), "no command 'statsu'; did you mean 'status'?")])
def test_mistakes_are_one_line_and_exit_2(project, rbdm, args, message):
    done = rbdm(*args)
    assert done.exit_code == 2 and message in done.stderr
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("Error: ") and done.stdout == ""


def test_run_status_and_failure(project, rbdm):
    done = rbdm("run", "params/sets/demo.yaml", "--only", "06_trainee.mask=mean")
    assert done.exit_code == 0, done.stderr
    (last,) = [l for l in done.stdout.splitlines() if l.startswith("[1/1] 06_trainee.mask=mean: done in ")]
    assert " on CPU (" in last and last.endswith(", without TensorFlow)")
    assert "mask is mean" in (project/"outputs/demo/notebooks/06_trainee.mask=mean.ipynb").read_text()
    again = rbdm("run", "demo", "--only", "06_trainee.mask=mean", cwd="nbs")  # from a folder below, by bare name
    assert again.exit_code == 0 and "[1/1] 06_trainee.mask=mean: up to date" in again.stdout
    lines = rbdm("status", "params/sets/demo.yaml").stdout.splitlines()
    assert lines[0] == "params/sets/demo.yaml:" and lines[1].split() == ["notebook", "run", "state", "why"]
    assert [l.split()[2] for l in lines[2:]] == ["missing", "missing", "there"]

    failed = process("run", "demo", "--set", "06_trainee.mask=negative", cwd=project)
    assert failed.returncode == 1
    # on a busy machine a dying kernel may add its own
    errors = [l for l in failed.stderr.splitlines() if not l.startswith("[IPKernelApp]")]
    copy = "outputs/demo+06_trainee.mask=negative/notebooks/06_trainee.mask=negative.ipynb"
    assert errors == [f"Error: 06_trainee.mask=negative failed in cell 3: AssertionError: too dark; see {copy}"]
    assert "too dark" in (project/copy).read_text()
    assert "01_one: done" in failed.stdout  # what does not stand on it goes on


def test_changed_runs_have_a_set_of_their_own(project, rbdm):
    assert rbdm("run", "demo", "--only", "06_trainee.mask=mean").exit_code == 0
    files = {f: f.read_bytes() for f in (project/"outputs/demo").rglob("*") if f.is_file() and "store" not in f.parts}
    done = rbdm("run", "demo", "--only", "06_trainee", "--set", "mask=mean")
    assert done.exit_code == 0 and "results go to outputs/demo+mask=mean\n" in done.stdout
    assert {f: f.read_bytes() for f in (project/"outputs/demo").rglob("*") if f.is_file()
            and "store" not in f.parts} == files
    (state,) = [l for l in rbdm("status", "demo+mask=mean").stdout.splitlines() if "06_trainee" in l]
    assert state.split() == ["06_trainee", "06_trainee.mask=mean", "there"]
    assert "outputs/demo+mask=mean:\n" in rbdm("status").stdout
    assert "up to date" in rbdm("run", "demo+mask=mean").stdout
    assert "did you mean 'demo+mask=mean'?" in rbdm("status", "demo+mask=maen").stderr
    page = rbdm("report", "--set", "demo+mask=mean")
    assert page.exit_code == 0, page.stderr
    assert (project/"outputs/demo+mask=mean/report.html").is_file()


def test_a_gpu_that_is_not_there_is_refused_before_anything_runs(project, rbdm):
    done = process("run", "demo", "--device", "gpu", "--force", cwd=project)
    if done.returncode == 0: pytest.skip("there is a GPU here")
    assert done.returncode == 2 and done.stderr.startswith("Error: device is gpu, but TensorFlow sees no GPU")
    assert "RBDM_GPU=1 make setup" in done.stderr and done.stderr.count("\n") == 1 and done.stdout == ""


def test_a_broken_set_does_not_hide_behind_a_traceback(project, rbdm):
    (project/"params"/"sets"/"bad.yaml").write_text("name: bad\nnotebooks:\n  06_trainee: {mask: off}\n")
    done = rbdm("run", "params/sets/bad.yaml")
    assert done.exit_code == 2 and done.stderr == "Error: params/sets/bad.yaml:3: mask must be str, got False\n"
    (project/"params"/"sets"/"bad.yaml").unlink()


def test_params_lists_defaults_and_choices(project, rbdm):
    done = rbdm("params", "06_trainee")
    assert done.stdout.splitlines()[2].split(maxsplit=3) == ["mask", "str", "'mean'",
                                                             "what to hide; one of: none, mean, negative"]


def test_readme_is_deterministic(project, rbdm):
    text, code = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
    cells = [text("# RBDM\n\n![process](../outputs/demo/figures/f.png) and [a notebook](01_one.ipynb)"),
             code("#| eval: false\nload('folder')")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), project/"nbs"/"index.ipynb")
    assert rbdm("readme", "--check").exit_code == 1
    assert rbdm("readme").exit_code == 0
    first = (project/"README.md").read_bytes()
    assert rbdm("readme", "--check").exit_code == 0 and rbdm("readme").exit_code == 0
    assert first == (project/"README.md").read_bytes()
    assert (first.decode()
            == "# RBDM\n\n![process](outputs/demo/figures/f.png) and [a "
               "notebook](nbs/01_one.ipynb)\n\n```python\nload('folder')\n```\n")


def test_a_dry_run_says_what_would_run_and_runs_nothing(project, rbdm):
    said = rbdm("run", "demo", "--dry-run", "--only", "06_trainee.mask=none")
    assert said.exit_code == 0 and said.stdout.splitlines()[0].split() == ["notebook", "run", "state", "why"]
    assert [l.split()[1:3] for l in said.stdout.splitlines()[1:]] == [["06_trainee.mask=none", "missing"]]
    assert not (project/"outputs/demo/notebooks/06_trainee.mask=none.ipynb").exists()
    assert rbdm("run", "demo", "--dry-run", "--set", "maks=mean").exit_code == 2


def test_a_new_set_is_a_copy_under_its_own_name(project, rbdm):
    made = rbdm("new", "mine", "--from", "demo")
    assert made.exit_code == 0 and "rbdm run mine" in made.stdout
    text = (project/"params/sets/mine.yaml").read_text()
    assert text == (project/"params/sets/demo.yaml").read_text().replace("name: demo", "name: mine", 1)
    assert rbdm("run", "mine", "--dry-run").exit_code == 0
    assert "already" in rbdm("new", "mine").stderr and rbdm("new", "Mine").exit_code == 2
    assert "did you mean" in rbdm("new", "other", "--from", "demoo").stderr


def test_params_lists_notebooks(project, rbdm):
    assert "06_trainee" in rbdm("params").stdout.splitlines()

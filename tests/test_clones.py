"Two clones and one environment: the library of one must not compute the other's notebooks."
import os, shutil, subprocess, sys
from pathlib import Path

import nbformat
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture
def clone(tmp_path):
    "A second clone, with a library of its own and one small notebook; `rbdm` as a script."
    folder = tmp_path/"second clone"
    shutil.copytree(REPOSITORY/"rbdm_nb", folder/"rbdm_nb", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY/"settings.ini", folder)
    for part in ("nbs", "params"): (folder/part).mkdir()
    cells = [nbformat.v4.new_code_cell("import rbdm_nb\nprint(rbdm_nb.__file__)")]
    spec = dict(kernelspec=dict(name="python3", language="python", display_name="python3"))
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=spec), folder/"nbs"/"01_small.ipynb")
    (folder/"params"/"two.yaml").write_text("name: two\nnotebooks:\n  01_small:\n")
    (tmp_path/"rbdm").write_text("from rbdm_nb.roof.cli import main\nmain(prog_name='rbdm')\n")
    return folder


def python(*args, cwd, library):
    environment = {k: v for k, v in os.environ.items() if k != "RBDM_CLONE"} | {"PYTHONPATH": str(library)}
    return subprocess.run([sys.executable, *map(str, args)], cwd=cwd, env=environment, capture_output=True, text=True,
                          timeout=300)


def output(path): return nbformat.read(path, as_version=4).cells[0].outputs[0]["text"].strip()


@pytest.mark.parametrize("where", ["nbs", "params"])
def test_importing_the_other_library_is_refused(clone, where):
    done = python("-c", "import rbdm_nb", cwd=clone/where, library=REPOSITORY)
    refused = f"ImportError: this is the clone {clone}, but rbdm_nb comes from {REPOSITORY},"
    assert done.returncode and refused in done.stderr
    assert "make setup" in done.stderr and f"PYTHONPATH={clone}" in done.stderr
    assert python("-c", "import rbdm_nb", cwd=clone/where, library=clone).returncode == 0
    assert python("-c", "import rbdm_nb", cwd=clone.parent, library=REPOSITORY).returncode == 0


@pytest.mark.parametrize("where", ["second clone", "second clone/nbs", "."])
def test_papermill_is_refused_wherever_it_is_called(clone, where):
    "Also from outside of any clone, where only papermill's command line tells which notebook it is."
    cwd, target = clone.parent/where, clone.parent/"out.ipynb"
    notebook = os.path.relpath(clone/"nbs"/"01_small.ipynb", cwd)
    call = ("-m", "papermill", notebook, target, "--no-progress-bar")
    done = python(*call, cwd=cwd, library=REPOSITORY)
    assert done.returncode and "but rbdm_nb comes from" in done.stderr
    assert python(*call, cwd=cwd, library=clone).returncode == 0
    assert output(target) == str(clone/"rbdm_nb"/"__init__.py")


def test_the_command_takes_the_library_of_the_clone_that_it_is_in(clone):
    done = python(clone.parent/"rbdm", "run", "two", cwd=clone, library=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert f"rbdm: with the library of {clone}" in done.stderr
    executed = clone/"outputs"/"two"/"notebooks"/"01_small.ipynb"
    assert output(executed) == "rbdm_nb/__init__.py"    # without the clone's path

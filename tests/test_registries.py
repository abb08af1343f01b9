"A corpus is added in one place: its notebook, and its line in CORPORA."
import os, shutil, subprocess, sys
from pathlib import Path

import nbformat, pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TOY = '''"Four grey squares."
from pathlib import Path
import numpy as np, pandas as pd
from rbdm_nb.corpora.datasets import Check, Corpus

DESCRIPTION = """toy: four grey squares, dark or light.
On disk: squares.txt, their four values.
Asked for: nowhere."""

def load(root, split="train", image_size=None, channels=None, on_bad="error", tone=0):
    "The squares in the folder `root` as a Corpus; `tone` is added to each."
    values = np.array((Path(root)/"squares.txt").read_text().split(), np.uint8) + tone
    images = values[:, None, None, None]*np.ones((1, image_size or 4, image_size or 4, channels or 1), np.uint8)
    return Corpus(images, values > 100, ("dark", "light"), [f"{split}{k}" for k in range(4)], split, "toy")

def check(root):
    "The `Check` of the squares in `root`."
    counts = pd.DataFrame({"train": load(root).counts()}).T
    return Check("squares", counts, counts*np.nan)

def fake(out, n=4, seed=0):
    "Squares in the folder `out`."
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out)/"squares.txt").write_text("1 2 201 202")
    return Path(out)
'''
USE = '''
from rbdm_nb.corpora import datasets
assert list(datasets.CORPORA)[-1] == "toy"
assert datasets.__file__.startswith({root!r}), datasets.__file__
toy = datasets.load("toy", "made", "train", image_size=8, tone=1)
assert toy.images.shape == (4, 8, 8, 1) and toy.counts().to_dict() == {{"dark": 2, "light": 2}}
assert datasets.read_options("tone=3", "toy") == {{"tone": 3}}
assert datasets.label_counts("toy", "made").loc["valid", "dark"] == 2
assert datasets.run_options("toy", 48, seed=1) == {{"image_size": 48}}
assert datasets.check("toy", "made").usable
'''


@pytest.fixture
def copy(tmp_path):
    "A copy of the project, to which the corpus `toy` is added: a notebook, and a line."
    for name in ("nbs", "rbdm_nb", "params"): shutil.copytree(REPOSITORY/name, tmp_path/name)
    for name in ("settings.ini", "setup.py", "README.md"): shutil.copy(REPOSITORY/name, tmp_path)
    cells = ["#| default_exp corpora.toy", f"#| export\n{TOY}"]
    toy = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbformat.write(toy, tmp_path/"nbs"/"01z_toy.ipynb")
    door = tmp_path/"nbs"/"01_datasets.ipynb"
    notebook, last = nbformat.read(door, 4), '    "rafdb": "rbdm_nb.corpora.rafdb",\n'
    cell, = [c for c in notebook.cells if last in c.source]
    cell.source = cell.source.replace(last, f'{last}    "toy": "rbdm_nb.corpora.toy",\n')
    nbformat.write(notebook, door)
    return tmp_path


def run(copy, *command):
    "What `command` prints, run in `copy`, whose package it uses."
    environment = os.environ | {"PYTHONPATH": str(copy), "RBDM_CACHE": str(copy/"cache")}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_corpus_is_added_in_one_place(copy):
    run(copy, sys.executable, "-c", "from nbdev.export import nb_export; "
        "[nb_export(f'nbs/{n}.ipynb', lib_path='rbdm_nb') for n in ('01_datasets', '01z_toy')]")
    rbdm = (sys.executable, "-c", "from rbdm_nb.roof.cli import main; main()", "data")
    run(copy, *rbdm, "fake", "toy", "--out", "made")
    run(copy, sys.executable, "-c", USE.format(root=str(copy)))
    assert "four grey squares" in run(copy, *rbdm, "describe", "toy")
    assert "four grey squares" in run(copy, *rbdm, "describe")
    assert "usable" in run(copy, *rbdm, "check", "toy", "--root", "made").splitlines()[-1]


def test_every_corpus_keeps_the_protocol():
    from rbdm_nb.corpora.datasets import CORPORA, EXPRESSIONS, corpus_module, is_drawn
    for name in CORPORA:
        module = corpus_module(name)
        assert module.DESCRIPTION and callable(module.load)
        assert callable(module.check) and (is_drawn(name) or callable(module.fake))
        if not hasattr(module, "published"): continue
        assert set(module.published().index) <= set(EXPRESSIONS)

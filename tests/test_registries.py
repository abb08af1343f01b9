"A corpus, a mask, a method and a claim are each added in one place, tried in a copy of the project."
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
    "A copy of the project."
    for name in ("nbs", "rbdm_nb", "params", ".ci"): shutil.copytree(REPOSITORY/name, tmp_path/name)
    for name in ("settings.ini", "setup.py", "README.md"): shutil.copy(REPOSITORY/name, tmp_path)
    return tmp_path


def new_notebook(copy, name, *cells):
    "A notebook of these code cells."
    kernel = dict(kernelspec=dict(name="python3", language="python", display_name="python3"))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells], metadata=kernel)
    nbformat.write(notebook, copy/"nbs"/f"{name}.ipynb")


def add_line(copy, name, after, line):
    "Adds a `line` to the notebook `name`, after the one place where `after` stands."
    notebook = nbformat.read(copy/"nbs"/f"{name}.ipynb", 4)
    cell, = [c for c in notebook.cells if c.cell_type == "code" and after in c.source]
    assert cell.source.count(after) == 1
    cell.source = cell.source.replace(after, after + line)
    nbformat.write(notebook, copy/"nbs"/f"{name}.ipynb")


def export(copy, *names):
    run(copy, sys.executable, "-c", "from nbdev.export import nb_export; "
        f"[nb_export(f'nbs/{{n}}.ipynb', lib_path='rbdm_nb') for n in {names}]")


def run(copy, *command):
    "What `command` prints, run in `copy`, whose package it uses."
    environment = os.environ | {"PYTHONPATH": str(copy), "RBDM_CACHE": str(copy/"cache")}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_corpus_is_added_in_one_place(copy):
    new_notebook(copy, "01z_toy", "#| default_exp corpora.toy", f"#| export\n{TOY}")
    add_line(copy, "01_datasets", '    "rafdb": "rbdm_nb.corpora.rafdb",\n', '    "toy": "rbdm_nb.corpora.toy",\n')
    export(copy, "01_datasets", "01z_toy")
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


MASK = '''
import numpy as np
from rbdm_nb.masking import CONTROLS, look_of, make_mask
maps = np.ones((2, 4, 4), "float32")*np.arange(4)[:, None]
assert list(CONTROLS)[0] == "upper" and look_of("upper") == ("crimson", "*")
assert make_mask("upper", maps).tolist() == [[[True]*4]*2 + [[False]*4]*2]*2
'''
METHOD = '''
import numpy as np, tensorflow as tf
from rbdm_nb import METHODS, Explainer
assert list(METHODS)[-1] == "twice"
model = tf.keras.Sequential([tf.keras.layers.Input((4, 4, 1)), tf.keras.layers.Flatten(), tf.keras.layers.Dense(2)])
images = np.random.default_rng(0).uniform(-1, 1, (3, 4, 4, 1)).astype("float32")
assert np.array_equal(Explainer(model, "twice")(images), Explainer(model, "input_x_gradient")(images))
'''


def choices(copy, name):
    "What the notebook's parameters cell says after the shared lines were written anew."
    run(copy, sys.executable, ".ci/parameters.py")
    cells = nbformat.read(copy/"nbs"/f"{name}.ipynb", 4).cells
    return next(c.source for c in cells if "parameters" in c.metadata.get("tags", []))


def test_a_mask_is_added_in_one_place(copy):
    add_line(copy, "05_masking", 'Mask("none", paper=True, look=(OKABE_ITO[6], "o")),   # plain images\n',
             '    Mask("upper", lambda r: np.ones_like(r, bool) & (np.arange(r.shape[1]) < r.shape[1]//2)[:, None],\n'
             '         look=("crimson", "*")),\n')
    export(copy, "05_masking")
    run(copy, sys.executable, "-c", MASK)
    assert "upper" in choices(copy, "06_trainee")


TWICE = """
def twice() -> Method:
    "Input times gradient, by another name."
    return input_x_gradient()

"""


def test_a_method_is_added_in_one_place(copy):
    add_line(copy, "03a_rules", "    lrp_composite, lrp_argmax, cnn_fixations", ", twice")
    notebook = nbformat.read(copy/"nbs"/"03a_rules.ipynb", 4)
    cell, = [c for c in notebook.cells if "METHODS = {" in c.source]
    cell.source = cell.source.replace("METHODS = {", TWICE + "METHODS = {")
    nbformat.write(notebook, copy/"nbs"/"03a_rules.ipynb")
    export(copy, "03a_rules")
    run(copy, sys.executable, "-c", METHOD)
    assert "twice" in " ".join(choices(copy, "03_relevance").split())


CLAIM = """- {id: toys, section: "4.2", claim: toys that are kept, quote: "3 toys", kind: exact, expect: {equals: 3}}
"""
PAPER = "title: A toy\nname: Toy 2020\nclaims:\n" + CLAIM
CELLS = ('output: str = "outputs/toy"  # folder for figures, tables and the store',
         "from rbdm_nb.parameters import parameters\nfrom rbdm_nb.project import claim",
         'p = parameters("08z_toy", globals())')


@pytest.mark.parametrize("paper", ["schiller2020", "toy2020"])
def test_a_claim_is_one_entry_and_one_call(copy, paper):
    "In a list that is there, or in one of another paper; and neither goes without the other."
    mismatches = (sys.executable, "-c", "from rbdm_nb.roof.claims import mismatches; print(*mismatches(), sep='\\n')")
    assert run(copy, *mismatches).strip() == ""
    file = copy/"params"/"claims"/f"{paper}.yaml"
    file.write_text(file.read_text() + CLAIM if file.exists() else PAPER)
    assert run(copy, *mismatches).startswith(f"params/claims/{paper}.yaml: no notebook measures 'toys'")
    new_notebook(copy, "08z_toy", *CELLS, f'claim(p, "toys", 3, paper="{paper}")')
    notebook = nbformat.read(copy/"nbs"/"08z_toy.ipynb", 4)
    notebook.cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(notebook, copy/"nbs"/"08z_toy.ipynb")
    assert run(copy, *mismatches).strip() == ""
    (copy/"params"/"sets"/"toy.yaml").write_text("name: toy\nnotebooks:\n  08z_toy: {}\n")
    rbdm = (sys.executable, "-c", "from rbdm_nb.roof.cli import main; main()")
    run(copy, *rbdm, "run", "toy")
    said = run(copy, *rbdm, "claims", "--set", "toy")
    assert "reproduced   toys that are kept" in said and "1 reproduced, 0 differs" in said
    assert "| 4.2 | toys that are kept | 3 toys | 3 | reproduced |" in run(copy, *rbdm, "claims", "--set", "toy",
                                                                              "--markdown")

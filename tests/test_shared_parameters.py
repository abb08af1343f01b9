"Parameter lines that notebooks share have one source; .ci/parameters.py writes them into the notebooks."
import importlib.util
from pathlib import Path

import nbformat
import pytest
from rbdm_nb.parameters import declared

REPOSITORY = Path(__file__).resolve().parents[1]
SPEC = importlib.util.spec_from_file_location("shared_parameters", REPOSITORY/".ci"/"parameters.py")
tool = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tool)
SHARED = """# a comment
seed: int = 0  # seed of every random choice

method: str = "deep_taylor"  # how relevance
    # is propagated; one of: explain.rules.METHODS
split: str = "test"  # one of: corpora.datasets.SPLITS
momentum: str = "0.9"  # of batch normalisation
"""


@pytest.fixture
def clone(tmp_path):
    "The folder of a clone with these shared lines; `write` makes its one notebook, `run` runs the tool."
    for part in ("nbs", "params"): (tmp_path/part).mkdir()
    (tmp_path/"params"/"shared.py").write_text(SHARED)
    return tmp_path


def write(clone, source):
    cell = nbformat.v4.new_code_cell(source, metadata=dict(tags=["parameters"]))
    other = nbformat.v4.new_code_cell("seed: int = 3")
    nbformat.write(nbformat.v4.new_notebook(cells=[other, cell]), clone/"nbs"/"01_a.ipynb")


def source(clone): return nbformat.read(clone/"nbs"/"01_a.ipynb", as_version=4).cells[1].source


def run(clone, check=False):
    "What is wrong, as the tool says it; empty if nothing is."
    try: tool.main(clone, check)
    except SystemExit as left: return left.code
    return ""


def test_comments_come_from_the_source_and_defaults_stay(clone):
    own = "# a group\n\nn: int = 3  # of mine\nrate: float = 1e-3  # of mine, too"
    write(clone, f"seed: int = 7  # another text\n{own}\nsplit: str = \"train\"  # old; one of: train")
    before = (clone/"nbs"/"01_a.ipynb").read_text()
    assert run(clone, check=True) == ("Error: 01_a.ipynb: parameters not in step with params/shared.py; "
                                      "run `make clean` and commit")
    assert (clone/"nbs"/"01_a.ipynb").read_text() == before
    assert run(clone) == run(clone, check=True) == ""
    assert source(clone) == ("seed: int = 7  # seed of every random choice\n" + own +
                             "\nsplit: str = \"train\"  # one of: train, valid, test")


def test_choices_are_those_of_the_registry_in_lines_that_can_be_read(clone):
    from rbdm_nb.explain.rules import METHODS
    write(clone, 'method: str = "lrp_z"  # ?')
    assert run(clone) == ""
    lines = source(clone).splitlines()
    assert len(lines) > 1 and max(map(len, lines)) <= 120 and all(line.startswith("    # ") for line in lines[1:])
    parameter = declared(clone/"nbs"/"01_a.ipynb")["method"]
    assert parameter.choices == tuple(METHODS) and parameter.default == "lrp_z"
    assert run(clone, check=True) == ""      # written twice, it is the same


def test_a_notebooks_own_meaning_stays(clone):
    write(clone, "seed: int = 0  # here: seed of the noise")
    assert run(clone, check=True) == ""
    assert declared(clone/"nbs"/"01_a.ipynb")["seed"].help == "seed of the noise"


def test_a_default_of_another_type_is_refused(clone):
    write(clone, "momentum: float = 0.9  # old")
    assert "01_a.ipynb: momentum is 0.9, but params/shared.py says str; give it a default of that type" in run(clone)
    assert source(clone) == "momentum: float = 0.9  # old"


def test_a_registry_that_does_not_exist_is_refused(clone):
    (clone/"params"/"shared.py").write_text('method: str = "a"  # one of: explain.rules.METHOD\n')
    write(clone, "seed: int = 0  # seed")
    assert "no registry explain.rules.METHOD in rbdm_nb" in run(clone)


def test_shared_lines_can_be_read_and_fit():
    shared = tool.read_shared(REPOSITORY)
    used = [set(declared(path)) & set(shared) for path in (REPOSITORY/"nbs").glob("*.ipynb")]
    assert set().union(*used) == set(shared)      # a line that no notebook has any more is to be taken out
    assert max(map(len, (REPOSITORY/"params"/"shared.py").read_text().splitlines())) <= 120

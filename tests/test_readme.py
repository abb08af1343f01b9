"README.md and the pages of sets: whole, hostile, damaged and absent results; in step; small enough."
import json, re, shutil
from pathlib import Path
from urllib.parse import unquote

import mistune, nbformat, pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st
from rbdm_nb.roof import readme as R
from rbdm_nb.roof.cli import main
from test_report import HOSTILE, make_hostile, make_set, picture, save

REPOSITORY = Path(__file__).resolve().parents[1]
MARKDOWN = mistune.create_markdown(renderer="ast", plugins=["table"])


@pytest.fixture
def project(tmp_path, monkeypatch):
    "A project with the lists of claims, a set `demo`, and an index that shows it."
    save(tmp_path/"settings.ini", "[DEFAULT]\nlib_name = rbdm_nb\n")
    shutil.copytree(REPOSITORY/"params"/"claims", tmp_path/"params"/"claims")
    save(tmp_path/"params"/"sets"/"demo.yaml", "name: demo\ndescription: faces & more\nnotebooks:\n  06_trainee: {}\n")
    index(tmp_path, "# T\n\n<!-- results:demo -->\n\n<!-- figures:demo -->\n\nend")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def index(project, text):
    (project/"nbs").mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)]), project/"nbs"/"index.ipynb")


def rbdm(*args): return CliRunner().invoke(main, args, prog_name="rbdm", catch_exceptions=False)


def tables(text):
    "Every table of the Markdown `text`, as another program reads it: a list of rows of cells."
    parse = lambda cell: "".join(c.get("raw") or "".join(x.get("raw", "") for x in c.get("children", []))
                                 for c in cell["children"])
    found = [t for t in MARKDOWN(text) if t["type"] == "table"]
    rows = lambda t: [t["children"][0], *t["children"][1]["children"]]
    return [[[parse(c) for c in row["children"]] for row in rows(t)] for t in found]


def links(text): return [unquote(t) for t in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:|#", t)]


def test_a_page_has_what_the_set_has(project):
    folder = make_set(project/"outputs"/"demo")
    text = R.set_page("demo")
    places, files = tables(text)[-2:]
    assert [row[0] for row in places[1:]] == ["Figure 3", "Figure 10"]
    assert places[1][1:3] == ["confusion matrix of the Trainer", "no record"]
    assert {row[0]: row[1:3] for row in files[1:]} == {
        "fig03_confusion.png": ["Shares of eight classes & more", "Figure 3"],
        "fig10_curves.png": ["Seven curves", "Figure 10"], "my_figure.png": ["my figure", ""],
        "fig03_confusion.csv": ["2 rows", "Figure 3"], "long.csv": ["700 rows", ""]}
    assert "faces & more" in text and "Nothing in this set stands beside Figure 1," in text
    for link in links(text): assert (folder/link).exists(), link


def test_hostile_texts_break_no_table(project):
    make_hostile(project/"outputs"/"demo")
    text = R.set_page("demo")
    for table in tables(text): assert len({len(row) for row in table}) == 1
    assert "<script" not in text and "\x00" not in text and "\x1b" not in text
    files = tables(text)[-1]
    assert any("{{ 7*7 }}" in row[1] for row in files)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(max_size=60) | st.just(HOSTILE))
def test_any_text_is_one_cell(text):
    ((head, row),) = tables("\n".join(R.table(["a", "b"], [[R.cell(text), "x"]])))
    assert len(row) == 2 and row[1] == "x" and "\n" not in R.cell(text)


def test_nothing_has_been_run(project):
    text = R.set_page("demo")
    assert text.count("not run.") == 2 and "There are no figures." in text and "There are no records of runs" in text
    assert rbdm("readme").exit_code == 0
    assert "`outputs/demo`: not run." in (project/"README.md").read_text()
    assert all(row[-1] == "not run" for row in tables((project/"README.md").read_text())[0][1:])


@pytest.mark.parametrize("part", ["figures", "tables", "provenance", "notebooks", "claims.json"])
def test_any_part_may_be_missing(project, part):
    folder = make_set(project/"outputs"/"demo")
    (shutil.rmtree if (folder/part).is_dir() else Path.unlink)(folder/part)
    assert rbdm("readme").exit_code == 0 and rbdm("readme", "--check").exit_code == 0


def test_a_figure_of_an_earlier_set_comes_first_and_a_figure_before_a_table(project):
    save(project/"params"/"sets"/"b.yaml", "name: b\nnotebooks: {}\n")
    save(project/"outputs"/"demo"/"tables"/"fig03_confusion.csv", "a\n1\n")
    for name in ("demo", "b"): picture(project/"outputs"/name/"figures"/"x.png", caption="x", shows="Figure 8")
    picture(project/"outputs"/"b"/"figures"/"fig03.png", caption="y", shows="Figure 3")
    found = dict(re.findall(r"(?m)^\| \[([^]]+)\]\(([^)]+)\)", R.figure_map(["demo", "b"])))
    assert found == {"Figure 8": "outputs/demo/figures/x.png", "Figure 3": "outputs/b/figures/fig03.png"}


def test_a_second_paper_joins_the_map(project):
    save(project/"params"/"claims"/"toy2021.yaml", """title: A toy
name: Toy 2021
parts: [{label: Figure 3, section: "2", shows: a toy's curves, says: They rise.}]
claims:
- {id: toy, section: Results, claim: curves rise, quote: they rise, kind: directional, expect: {above: 0}}
""")
    picture(project/"outputs"/"demo"/"figures"/"toy.png", caption="Curves", shows="Toy 2021, Figure 3")
    row = "| [Toy 2021, Figure 3](outputs/demo/figures/toy.png) | a toy's curves | no record |"
    assert row in R.figure_map(["demo"])


@pytest.mark.parametrize("mark", ["results:dmeo", "figures:demo,dmeo"])
def test_a_set_that_is_none_is_refused(project, mark):
    index(project, f"# T\n\n<!-- {mark} -->\n")
    done = rbdm("readme")
    assert done.exit_code == 2 and "no set dmeo; did you mean 'demo'?" in done.stderr
    assert not (project/"README.md").exists()


def test_pages_are_held_to_their_results(project):
    folder = make_set(project/"outputs"/"demo")
    assert rbdm("readme", "--check").exit_code == 1
    assert rbdm("readme").exit_code == 0 and rbdm("readme", "--check").exit_code == 0
    save(folder/"figures"/"fig10_curves.json", json.dumps(dict(caption="Six curves", shows="Figure 10")))
    done = rbdm("readme", "--check")
    assert done.exit_code == 1 and done.stderr.startswith("Error: outputs/demo/README.md is not what")
    assert rbdm("readme", "--set", "demo").exit_code == 0 and rbdm("readme", "--check").exit_code == 0


def test_a_damaged_table_of_findings_is_named(project):
    save(project/"outputs"/"demo"/"tables"/"findings_bn0.9.csv", "about\nstudy\n")
    done = rbdm("readme")
    assert done.exit_code == 2 and "findings_bn0.9.csv: no column 'sentence'" in done.stderr


def test_the_front_page_is_short_and_its_links_lead_somewhere():
    text = (REPOSITORY/"README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= 9_000
    for link in links(text): assert (REPOSITORY/link).exists(), link
    for page in (REPOSITORY/"outputs").glob("*/README.md"):
        for link in links(page.read_text(encoding="utf-8")): assert (page.parent/link).exists(), (page, link)

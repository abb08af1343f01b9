"The lists of claims, what runs state, verdicts, and what becomes of them when results are gone or damaged."
import json, random, re, shutil, subprocess, sys
from pathlib import Path

import nbformat, pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st
from scipy.stats import ttest_1samp
from rbdm_nb.roof import claims as C
from rbdm_nb.roof.cli import main
from rbdm_nb.project import write_atomic
from rbdm_nb.reproducibility import file_digest

REPOSITORY = Path(__file__).resolve().parents[1]
PAPER = "schiller2020"


def left(folder, run, stated, status="done", paper=PAPER, notebook=None):
    "Writes what a `run` stated, {id or id@study: content of the file}, and the record that lists the files."
    names = {f"claims/{paper}/{id}.json": content for id, content in stated.items()}
    for name, content in names.items():
        write_atomic(folder/name, content if isinstance(content, (str, bytes)) else json.dumps(content))
    record = dict(run=run, notebook=notebook or run.split(".")[0], status=status,
                  outputs={n: file_digest(folder/n) for n in names})
    write_atomic(folder/"provenance"/f"{run}.json", json.dumps(record))
    return folder


def value(*values, seeds=(), **setting): return dict(values=values, seeds=list(seeds), setting=setting)


def claim(expect, **more):
    kind = C.Expect(**expect).kind
    return C.Claim.model_validate(dict(id="x", section="6", claim="a claim", quote="a quote", kind=kind, expect=expect)
                                  | more)


def settle(folder, expect, paper=None, **more):
    one = claim(expect, **more)
    return C.settle(one, C.read_stated(folder, PAPER).get("x", []), paper or {})


@pytest.fixture(scope="module")
def ledger(): return C.read_ledger(REPOSITORY/"params"/"claims"/f"{PAPER}.yaml")


@pytest.fixture
def project(tmp_path, monkeypatch):
    "An empty project."
    (tmp_path/"settings.ini").write_text("[DEFAULT]\nlib_name = rbdm_nb\n")
    for part in ("nbs", "params/claims"): (tmp_path/part).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IN_TEST", raising=False)
    return tmp_path


def rbdm(*args): return CliRunner().invoke(main, args, prog_name="rbdm", catch_exceptions=False)


def notebook(project, name, *cells, head="from rbdm_nb.project import claim, save_table"):
    "A notebook of the `project` that begins with the code `head` and has these code cells."
    cells = [head, *cells]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbformat.write(nb, project/"nbs"/f"{name}.ipynb")


# --- the lists

HEAD = """title: A toy
name: Toy 2020
settings: {corpus: ferplus}
claims:
- id: kept
  section: '4.2'
  claim: images kept
  quote: 35,488 images
"""
GOOD = HEAD + "  kind: exact\n  expect: {equals: 3}\n"


def test_the_list_is_complete(ledger):
    "Every number of the paper that the project names is in the list."
    quotes = " ".join(c.quote for c in ledger.claims)
    numbers = """420,000 22,198 34,000 269,118 600 1,000 35,887 35,488 654 210 36,000 79.6 50.8 0.59 0.58 42 0.001 32 25
                 10 85 20 50 150 70 27 2560 1440 1200 500 200 5 2.358 40% 0.17 0.546 0.689 0.296 0.405 0.548 0.423 0.371
                 0.515 0.454 23.8 3.5 19.06 0.8 700,000 9""".split()
    assert not [n for n in numbers if not re.search(rf"(?<![\d.,]){re.escape(n)}(?![\d]|[.,]\d)", quotes)]
    words = ("almost seven", "half", "seven different", "five million", "nine|9 epochs", "conservation", "fear",
             "contempt",
             "happy|Happy", "worst", "accelerat", "exact progression")
    for word in words: assert re.search(word, quotes), word
    assert {c.section[0] for c in ledger.claims} == {"A", "4", "5", "6", "7"}
    assert len(ledger.claims) == 133
    assert [p.label for p in ledger.parts if p.label.startswith("Figure")] == [f"Figure {k}" for k in range(1, 14)]


def test_no_claim_on_people_or_on_an_absent_corpus_has_a_way_around(ledger):
    for c in ledger.claims:
        if not c.expect: continue
        if c.figure == "Table 1": assert c.needs == c.needs | dict(corpus="ckplus", annotators="people"), c.id
        if c.id.startswith("affectnet"): assert c.needs == dict(corpus="affectnet"), c.id
        if c.section == "6" and c.id != "any-model": assert "trainer_corpus" in c.names(ledger.settings), c.id


@pytest.mark.parametrize("text, message", [
    ("", "toy2020.yaml:1: empty"),
    ("title: [\n", "toy2020.yaml:2: not YAML"),
    ("title: !!python/object/apply:os.system ['true']\nclaims: []\n", "toy2020.yaml:1: not YAML"),
    (GOOD + "  id: again\n", "toy2020.yaml:11: key 'id' is given twice; keep one"),
    (GOOD.replace("quote", "qoute"), "toy2020.yaml:8: unknown key 'qoute'; did you mean 'quote'?"),
    (GOOD.replace("  section: '4.2'\n", ""), "toy2020.yaml:5: key 'section' is missing"),
    (GOOD.replace("'4.2'", "4:2"), "toy2020.yaml:6: section: "),
    (GOOD.replace("exact", "exakt"),
     "toy2020.yaml:9: kind: Input should be 'exact', 'tolerance', 'directional' or 'setting', got 'exakt'"),
    (GOOD.replace("kind: exact", "kind: tolerance"),
     "toy2020.yaml:5: kind is tolerance, but expect is that of a claim that is exact"),
    (GOOD.replace("equals: 3", "equal: 3"), "toy2020.yaml:10: unknown key 'equal'; did you mean 'equals'?"),
    (GOOD.replace("equals: 3", "equals: 3, above: 1"), "toy2020.yaml:10: give one of equals, above and below"),
    (GOOD.replace("equals: 3", "equals: 3, within: -1"),
     "toy2020.yaml:10: within: Input should be greater than 0, got '-1'"),
    (GOOD.replace("equals: 3", "equals: x, within: 1"), "toy2020.yaml:10: within goes with a number under equals"),
    (GOOD + "  notebook: 01_datasets\n", "toy2020.yaml:11: unknown key 'notebook'"),
    (GOOD + "  measure: {by: rows, table: t}\n", "toy2020.yaml:11: unknown key 'measure'"),
    (GOOD + "  setting: [corpse]\n", "toy2020.yaml:11: the paper has no setting 'corpse'; did you mean 'corpus'?"),
    (GOOD + GOOD.partition("claims:\n")[2], "toy2020.yaml:11: id 'kept' is given twice; rename one"),
    (HEAD + "  kind: exact\n", "toy2020.yaml:5: a claim has expect, or says why nobody can measure it"),
    (GOOD + "  why: it cannot\n", "toy2020.yaml:5: a claim has expect, or says why nobody can measure it"),
    (GOOD.replace("claim: images kept", "claim: images | kept"), "toy2020.yaml:7: claim: String should match pattern"),
    (GOOD.replace("name: Toy 2020", "name: Toy, 2020"), "toy2020.yaml:2: name: String should match pattern"),
    (GOOD.replace("claims:", "parts: [{label: Figur 1}]\nclaims:"), "toy2020.yaml:4: ")])
def test_mistakes_in_a_list_name_file_and_line(project, text, message):
    (project/"params"/"claims"/"toy2020.yaml").write_text(text)
    with pytest.raises(ValueError) as error: C.read_ledgers()
    assert str(error.value).startswith(f"params/claims/{message}"), str(error.value)
    assert "\n" not in str(error.value)
    done = rbdm("claims")
    assert done.exit_code == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: params/claims/toy2020.yaml:")


def test_missing_lists_are_said(project):
    done = rbdm("claims")
    assert done.exit_code == 2 and "no params/claims/*.yaml" in done.stderr


def test_papers_come_in_the_order_of_their_years(project):
    for name in ("toy2022", "park2021", "toy2019", PAPER): (project/"params"/"claims"/f"{name}.yaml").write_text(GOOD)
    assert [*C.read_ledgers()] == [PAPER, "toy2019", "park2021", "toy2022"]


# --- judging

NUMBERS = st.lists(st.floats(-1, 1).map(lambda x: round(x, 4)), min_size=3, max_size=8)

@settings(max_examples=200, deadline=None, derandomize=True)
@given(NUMBERS, st.floats(-0.5, 0.5).map(lambda x: round(x, 4)), st.booleans())
def test_directions_over_seeds_agree_with_the_t_test(values, bound, up):
    "One side of a 95 % interval is one side of a t-test at 2.5 %."
    if len(set(values)) == 1: return
    expect = C.Expect(**{"above" if up else "below": bound})
    p = ttest_1samp(values, bound, alternative="greater" if up else "less").pvalue
    if abs(p - 0.025) > 1e-9: assert C.judge(expect, values, len(values))[0] == (p < 0.025)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(NUMBERS)
def test_turning_every_sign_turns_the_direction(values):
    more, less = C.Expect(above=0, clear=0.01), C.Expect(below=0, clear=0.01)
    turned = [-v for v in values]
    for n in (1, 2, len(values)): assert C.judge(more, values[:n], n) == C.judge(less, turned[:n], n)


def test_boundaries():
    more = C.Expect(above=0, clear=0.01)
    tolerance = C.Expect(equals=0.59, within=0.005)
    assert [C.judge(tolerance, [v])[0] for v in (0.586, 0.594, 0.584, 0.596)] == [True, True, False, False]
    assert [C.judge(more, [v], 1)[0] for v in (0.0101, 0.01, 0.0)] == [True, False, False]
    assert [C.judge(C.Expect(above=0), [v])[0] for v in (1e-12, 0)] == [True, False]
    assert [C.judge(C.Expect(equals=True), [v])[0] for v in (True, False, 1)] == [True, False, False]
    assert C.judge(C.Expect(equals=3), [3, 3, 4], 3)[0] is False
    said = [C.judge(more, v, len(v))[1] for v in ([0.009], [-0.009], [-0.011], [0.2, -0.1], [-0.1, -0.2])]
    assert said == ["no clear difference"]*2 + ["the other way round", "no clear difference", "the other way round"]


def test_values_of_several_seeds(tmp_path):
    left(tmp_path, "07_results", dict(x=value(0.02, 0.03, 0.025, seeds=range(3))))
    found = settle(tmp_path, dict(above=0, clear=0.01))
    assert (found.verdict, found.seeds, found.runs) == ("reproduced", 3, ("07_results",))
    assert found.here == "+0.025 (+0.0126 … +0.0374, 3 seeds)"
    left(tmp_path/"b", "07_results", dict(x=value(0.02, seeds=[4])))
    lone = settle(tmp_path/"b", dict(above=0, clear=0.01))
    assert lone.verdict == "reproduced" and lone.here == "+0.02 (one seed)"


@pytest.mark.parametrize("expect, stated, said", [
    (dict(equals=35488), 35487, ("differs", "35,487", "by −1")),
    (dict(equals=0.59, within=0.005), 0.6, ("differs", "0.6", "by +0.01")),
    (dict(equals="balanced"), "none", ("differs", "none", "not balanced")),
    (dict(equals=True), False, ("differs", "no", "not yes")),
    (dict(above=99.9), 12.5, ("differs", "12.5", "not above 99.9")),
    (dict(below=2), 2, ("differs", "2", "not below 2")),
    (dict(above=0), -0.2, ("differs", "−0.2", "the other way round")),
    (dict(equals=3), 3.0, ("reproduced", "3", "")),
    (dict(above=0.5), "0.9", ("not run", "", "07_results states '0.9', which is no number")),
    (dict(above=0.5), True, ("not run", "", "07_results states True, which is no number")),
    (dict(equals=1), True, ("not run", "", "07_results states True, which is no number")),
    (dict(equals=True), 1, ("not run", "", "07_results states 1, which is no truth")),
    (dict(equals="balanced"), 3, ("not run", "", "07_results states 3, which is no text"))])
def test_what_is_said_of_a_value(tmp_path, expect, stated, said):
    found = settle(left(tmp_path, "07_results", dict(x=value(stated))), expect)
    assert (found.verdict, found.here, found.why) == said


# --- several studies

SETTING = dict(corpus="ferplus", trainer_corpus="expressions", architecture="MobileNetV2", momentum=0.999, epochs=20)
GAIN = dict(above=0, clear=0.01)


def test_the_study_nearest_to_the_paper_decides_and_the_other_is_told(tmp_path, ledger):
    left(tmp_path, "07_results", {"x@near": value(-0.05, seeds=[0], **SETTING, conditions=7),
                                  "x@far": value(0.02, 0.03, 0.025, seeds=range(3), **SETTING | dict(momentum=0.9),
                                                 conditions=7)})
    found = settle(tmp_path, GAIN, ledger.settings, setting="all")
    assert (found.verdict, found.why, found.here) == ("differs", "the other way round", "−0.05 (one seed)")
    assert found.setting == ("Trainer on expressions", "20 epochs")
    assert found.decides == "nearest to the paper's settings"
    assert [(s["study"], s["verdict"]) for s in found.studies] == [("near", "differs"), ("far", "reproduced")]
    assert found.studies[1]["here"].startswith("+0.025 (") and "momentum 0.9" in found.studies[1]["setting"]


def test_the_study_with_more_of_the_papers_conditions_decides(tmp_path, ledger):
    left(tmp_path, "07_results", {"x@near": value(-0.05, seeds=[0], **SETTING, conditions=2),
                                  "x@far": value(0.02, 0.03, 0.025, seeds=range(3), **SETTING | dict(momentum=0.9),
                                                 conditions=3)})
    found = settle(tmp_path, GAIN, ledger.settings, setting="all")
    assert found.verdict == "reproduced" and "momentum 0.9" in found.setting
    assert found.decides == "most of the paper's conditions" and found.studies[1]["study"] == "near"


def test_of_equals_the_study_with_more_seeds_decides_and_then_the_name(tmp_path, ledger):
    left(tmp_path, "07_results", {"x@a": value(-0.05, seeds=[0], **SETTING),
                                  "x@b": value(0.02, 0.03, seeds=[0, 1], **SETTING)})
    found = settle(tmp_path, GAIN, ledger.settings, setting="all")
    assert found.decides == "most seeds" and found.studies[0]["study"] == "b"
    left(tmp_path, "07_results", {"x@b": value(0.02, seeds=[0], **SETTING), "x@a": value(-0.05, seeds=[0], **SETTING)})
    found = settle(tmp_path, GAIN, ledger.settings, setting="all")
    assert found.decides == "first by name" and found.studies[0]["study"] == "a"


def test_a_study_that_is_damaged_leaves_the_decision_to_the_others(tmp_path, ledger):
    left(tmp_path, "07_results", {"x@near": value(-0.05, seeds=[0], **SETTING),
                                  "x@far": value(0.05, seeds=[0], momentum=0.9)})
    write_atomic(tmp_path/"claims"/PAPER/"x@near.json", "{}")
    found = settle(tmp_path, GAIN, ledger.settings, setting="all")
    assert (found.verdict, found.studies) == ("reproduced", ()) and found.setting == ("momentum 0.9",)


def test_studies_stand_side_by_side(tmp_path, ledger):
    gains = {0.999: 0.05, 0.9: -0.05, 0.99: 0.0}
    studies = {f"x@bn{m}": value(gain, seeds=[0], **SETTING | dict(momentum=m)) for m, gain in gains.items()}
    left(tmp_path, "07_results", studies)
    heads, rows, notes = C.side_by_side([settle(tmp_path, GAIN, ledger.settings, setting="all")])
    assert heads == ["claim", "momentum 0.999", "momentum 0.9", "momentum 0.99"]
    assert rows == [["a claim", "[+0.05 ✓]", "−0.05 ≠", "0 ≠"]]
    assert notes == ["[ ] momentum 0.999 decides 1 of 1: nearest to the paper's settings"]
    assert C.side_by_side([settle(left(tmp_path/"one", "a", dict(x=value(0.1, **SETTING))),
                                  GAIN)]) == (["claim"], [], [])


@pytest.mark.parametrize("n", [1, 2, 6, 7, 20])
def test_any_number_of_studies_fits_the_terminal(tmp_path, ledger, n):
    settings = [SETTING | dict(trainer_corpus=f"a_corpus_with_a_long_name_{k}") for k in range(n)]
    studies = {f"x@s{k}": value(k/100, seeds=[0], **setting) for k, setting in enumerate(settings)}
    left(tmp_path, "07_results", studies)
    found = settle(tmp_path, dict(above=0), ledger.settings, setting="all")
    text = C.lines("set", [found])
    assert max(map(len, text)) <= 100
    cells = sum("".join(text).count(sign) for sign in C.SIGNS.values())
    assert cells == (n if n > 1 else 0)


# --- corpora

def test_built_in_faces_settle_nothing_about_real_ones(tmp_path):
    left(tmp_path, "07_results", dict(x=value(0.05, 0.05, 0.06, seeds=range(3), corpus="synthetic",
                                              trainer_corpus="synthetic")))
    found = settle(tmp_path, dict(above=0), dict(corpus="ferplus"), setting="all")
    assert found.verdict == "not run" and "only measured on built-in faces (+0.05" in found.why
    left(tmp_path, "05_masking", dict(x=value(64, corpus="ferplus", trainer_corpus="synthetic")))
    assert settle(tmp_path, dict(above=50), setting=["trainer_corpus"]).verdict == "not run"
    assert settle(tmp_path, dict(above=50)).verdict == "reproduced"      # a claim about any image
    left(tmp_path, "05_masking", dict(x=value(10, corpus="synthetic")))
    assert settle(tmp_path, dict(above=50), setting=["corpus"]).verdict == "not run"      # nor do they refute


def test_another_real_corpus_is_named_and_cannot_stand_in_for_a_number(tmp_path, ledger):
    left(tmp_path, "02_trainer", dict(x=value(0.59, trainer_corpus="expressions")))
    needs = dict(trainer_corpus="affectnet")
    found = settle(tmp_path, dict(equals=0.59, within=0.005), needs=needs)
    assert found.verdict == "not run" and found.why == "needs a Trainer on affectnet; this is expressions (0.59)"
    found = settle(tmp_path, dict(above=0.5), ledger.settings, setting=["trainer_corpus"])
    assert found.verdict == "reproduced" and found.setting == ("Trainer on expressions",)
    left(tmp_path, "02_trainer", dict(x=value(0.59, trainer_corpus="affectnet")))
    assert settle(tmp_path, dict(equals=0.59, within=0.005), needs=needs).verdict == "reproduced"
    left(tmp_path, "02_trainer", dict(x=value(0.59)))
    assert "nothing says that this was one" in settle(tmp_path, dict(equals=0.59, within=0.005), needs=needs).why


@pytest.mark.parametrize("who, verdict", [("people", "reproduced"), ("simulated", "not run"), (None, "not run")])
def test_table_1_needs_people(tmp_path, ledger, who, verdict):
    one = next(c for c in ledger.claims if c.id == "table1-u1-u2-zero-measure")
    setting = dict(corpus="ckplus", trainer_corpus="affectnet") | (dict(annotators=who) if who else {})
    left(tmp_path, "04f_attention", {one.id: value(0.546, **setting)})
    found = C.settle(one, C.read_stated(tmp_path, PAPER)[one.id], ledger.settings)
    assert found.verdict == verdict, found
    if who == "simulated": assert found.why == "needs people who look; this is simulated annotators (0.546)"
    left(tmp_path, "04f_attention", {one.id: value(0.546, **setting | dict(corpus="synthetic"))})
    assert C.settle(one, C.read_stated(tmp_path, PAPER)[one.id], ledger.settings).verdict == "not run"


@pytest.mark.parametrize("device, verdict", [("GPU", "reproduced"), ("gpu", "reproduced"), ("cpu", "not run")])
def test_a_device_by_any_spelling(tmp_path, device, verdict):
    left(tmp_path, "00_reproducibility", dict(x=value(3, device=device)))
    assert settle(tmp_path, dict(above=1), needs=dict(device="GPU")).verdict == verdict


# --- what is gone or damaged

def rich(folder, ledger):
    "A set in which every claim was measured, made up: some as expected, some not."
    draw = random.Random(0)
    for c in ledger.claims:
        if not c.expect: continue
        e, off = c.expect, draw.random() < 0.4
        if isinstance(e.equals, (bool, str)): values = [e.equals]
        elif e.equals is not None: values = [e.equals + (2*(e.within or 1) if off else 0)]
        else: values = [(e.above if e.above is not None else e.below) + (1 if (e.above is not None) != off else -1)]
        setting = dict(ledger.settings) | dict(c.needs)
        left(folder, f"07_results.{c.id}", {c.id: value(*values, **setting)})
    return folder


def verdicts(folder, ledger): return {r.id: r.verdict for r in C.verdicts(folder, {PAPER: ledger})}


def test_deleting_or_damaging_any_file_never_makes_a_claim_hold(tmp_path, ledger):
    folder = rich(tmp_path/"set", ledger)
    before = verdicts(folder, ledger)
    assert sum(v == "reproduced" for v in before.values()) > 40 and sum(v == "differs" for v in before.values()) > 20
    files = sorted((folder/"claims"/PAPER).iterdir())
    for file in files[::3]:
        kept = file.read_bytes()
        for damage in (None, kept[:len(kept)//2], b"\0\xff" + kept, b"", kept.replace(b"[", b"[ ")):
            if damage is None: file.unlink()
            else: file.write_bytes(damage)
            now = verdicts(folder, ledger)
            assert now == before | {file.stem: "not run"}, (file.name, damage)
        file.write_bytes(kept)
    assert verdicts(folder, ledger) == before


RUBBISH = [b"", b"{}", b"[]", b"null", b'{"values": []}', b'{"values": [NaN]}', b'{"values": [Infinity]}',
           b'{"values": 3}',
           b'{"values": [[1]]}', b'{"values": [null]}', b'{"values": [1, 2], "seeds": [1]}',
           b'{"values": [1], "why": "no"}',
           b'{"values": [1], "setting": 3}', b'{"values": [1], "setting": {"corpus": {}}}', b"["*100_000]

@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode), st.sampled_from(RUBBISH)))
def test_rubbish_that_a_run_vouches_for_is_not_run(tmp_path_factory, rubbish):
    folder = left(tmp_path_factory.mktemp("set"), "05_masking", dict(x=rubbish))
    found = settle(folder, dict(above=0))
    assert found.verdict == "not run" and found.why.startswith(f"claims/{PAPER}/x.json cannot be read: "), found


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_each_kind_of_rubbish(tmp_path, rubbish):
    found = settle(left(tmp_path, "05_masking", dict(x=rubbish)), dict(above=0))
    assert found.verdict == "not run" and "cannot be read: " in found.why and "\n" not in found.why


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"outputs": 3}', "\xff"])
def test_damaged_records_of_runs(tmp_path, text):
    left(tmp_path, "05_masking", dict(x=value(3)))
    (tmp_path/"provenance"/"05_masking.json").write_text(text, encoding="latin-1")
    assert settle(tmp_path, dict(equals=3)).why == f"claims/{PAPER}/x.json: no run of this set says that it wrote it"


def test_failed_and_foreign_files_do_not_count(tmp_path):
    left(tmp_path, "05_masking", dict(x=value(3)), "failed")
    assert settle(tmp_path, dict(equals=3)).why == "05_masking failed"
    left(tmp_path, "05_masking.a", dict(x=value(3)))
    assert settle(tmp_path, dict(equals=3)).verdict == "reproduced"      # another run wrote the same
    write_atomic(tmp_path/"claims"/PAPER/"x.json", json.dumps(value(4)))
    assert settle(tmp_path, dict(equals=4)).why == f"claims/{PAPER}/x.json is not what a run of this set wrote"


def test_a_run_says_why_there_is_no_value(tmp_path):
    left(tmp_path, "01e_ferplus", dict(x=dict(values=[], why="ferplus_root is not given")))
    assert settle(tmp_path, dict(equals=3)).why == "ferplus_root is not given"
    left(tmp_path, "01e_ferplus.b", {"x@other": value(3)})
    assert settle(tmp_path, dict(equals=3)).verdict == "reproduced"


# --- who measures what

@pytest.mark.parametrize("code, ids", [
    ('claim(p, "a-b", 3)', ["a-b"]), ('x = claim(p, id="a", value=3)', ["a"]),
    ('if x: claim(p, "a" if y else "b", 3)', ["a", "b"]),
    ('for i in ("a", "b"): claim(p, i, 3)', ["a", "b"]),
    ('for i, (j, v) in {"a": (1, 2)}.items(): claim(p, i, v)', ["a"]),
    ('values = {"a": 1, "b": 2}\nfor i in values: claim(p, i, values[i])', ["a", "b"]),
    ('[claim(p, i, v) for i, v in [("a", 1), ("b", 2)]]', ["a", "b"]),
    ('for v, i in zip(x, ["a"]): claim(p, i, v)', ["a"]),
    ('i = "a"\nclaim(p, i, 3)', ["a"]), ("%time x\n!ls\nclaim(p, 'a', 3)", ["a"]), ("claims(p, 'a')", []),
    ("def f(p):\n    claim(p, 'a', 3)", ["a"]), ('claim(p, f"a-{x}", 3)', [None]),
    ("for i in ids: claim(p, i, 3)", [None]),
    ('for i in ["a", x]: claim(p, i, 3)', [None])])
def test_ids_are_read_in_the_code(code, ids): assert C.stated_in(code) == [(C.FIRST, i) for i in ids]


def test_what_does_not_match_is_an_error(project):
    (project/"params"/"claims"/f"{PAPER}.yaml").write_text(GOOD)
    nobody = GOOD.replace("expect: {equals: 3}", "why: nobody can count them")
    (project/"params"/"claims"/"toy2021.yaml").write_text(nobody)
    notebook(project, "01_datasets", 'claim(p, "kept", 3)')
    assert C.mismatches() == [] and C.measured() == {(PAPER, "kept"): ["01_datasets"]}
    notebook(project, "01_datasets", "from rbdm_nb.project import (save_figure,\n    claim)\nclaim(p, 'kept', 3)",
             head="x = 1")
    assert C.mismatches() == []
    notebook(project, "01_datasets", "pass")
    notebook(project, "00a_project", "claim(p, 'kept', 3)", head="def claim(): pass")      # only shows how it is used
    assert C.mismatches() == [f"params/claims/{PAPER}.yaml: no notebook measures 'kept'; state it with "
                              "claim(p, 'kept', …), or say why nobody can"]
    notebook(project, "01_datasets", 'claim(p, "kept", 3)', 'claim(p, "kept", 3, paper="toy2021"); claim(p, "kpet", 3)',
             'claim(p, "kept", 3, paper="toy2022")', 'claim(p, f"k{x}", 3)')
    assert C.mismatches() == [
        "nbs/01_datasets.ipynb: params/claims/toy2021.yaml says why nobody can measure 'kept'; drop one",
        f"nbs/01_datasets.ipynb: params/claims/{PAPER}.yaml has no 'kpet'; did you mean 'kept'?",
        "nbs/01_datasets.ipynb: no params/claims/toy2022.yaml; did you mean 'toy2021'?",
        "nbs/01_datasets.ipynb: the id in a call of claim(…) is no text; write it in the cell that measures it"]


def test_who_has_not_left_it_is_named(project):
    small(project)
    notebook(project, "01_datasets", 'claim(p, "kept", 3)')
    shutil.rmtree(project/"outputs"/"demo"/"claims")
    found = json.loads(rbdm("claims", "--set", "demo", "--json").stdout)["claims"]
    assert [(c["why"], c["notebook"]) for c in found] == [("01_datasets has not left it", "01_datasets")]


# --- the command

def small(project, equals=3, kind="exact"):
    within = ", within: 0.5" if kind == "tolerance" else ""
    text = GOOD.replace("equals: 3", f"equals: {equals}{within}").replace("kind: exact", f"kind: {kind}")
    (project/"params"/"claims"/f"{PAPER}.yaml").write_text(text)
    left(project/"outputs"/"demo", "01_datasets", dict(kept=value(3)))


def test_exit_statuses(project):
    small(project)
    done = rbdm("claims", "--set", "demo")
    assert done.exit_code == 0 and "demo: 1 reproduced, 0 differs, 0 not run" in done.stdout and done.stderr == ""
    small(project, 4)
    done = rbdm("claims", "--set", "params/demo.yaml")
    assert done.exit_code == 1 and "0 reproduced, 1 differs" in done.stdout
    assert done.stderr == "Error: claims marked exact are contradicted: demo: kept (3, by −1)\n"
    for kind in ("tolerance", "setting"):
        small(project, 4, kind)
        assert rbdm("claims").exit_code == 0
    (project/"outputs"/"demo"/"claims"/PAPER/"kept.json").unlink()
    done = rbdm("claims")
    assert done.exit_code == 0 and "1 not run" in done.stdout
    assert "no notebook measures it" in " ".join(done.stdout.split())
    done = rbdm("claims", "--set", "dmeo")
    assert done.exit_code == 2 and "did you mean 'demo'?" in done.stderr and done.stderr.count("\n") == 1


def test_json_is_written_printed_and_always_the_same(project):
    small(project)
    first = rbdm("claims", "--set", "demo", "--json").stdout
    file = project/"outputs"/"demo"/"claims.json"
    assert file.read_text() == first and json.loads(first)["counts"] == {"reproduced": 1, "differs": 0, "not run": 0}
    assert rbdm("claims", "--set", "demo", "--json").stdout == first and str(project) not in first
    assert json.loads(rbdm("claims", "--json").stdout) == [json.loads(first)]


def test_two_papers_follow_each_other(project):
    small(project)
    (project/"params"/"claims"/"toy2021.yaml").write_text(GOOD.replace("'4.2'", "Results"))
    left(project/"outputs"/"demo", "08_humans", dict(kept=value(4)), paper="toy2021")
    done = rbdm("claims", "--set", "demo")
    text = done.stdout
    first, second = text.index(f"{PAPER}: 1 reproduced, 0 differs"), text.index("toy2021: 0 reproduced, 1 differs")
    assert first < text.index("section 4.2") < second < text.index("Results")
    assert text.rstrip().endswith("demo: 1 reproduced, 1 differs, 0 not run")
    assert done.exit_code == 1 and "kept (4, by +1)" in done.stderr
    found = json.loads((project/"outputs"/"demo"/"claims.json").read_text())["claims"]
    assert [(c["paper"], c["verdict"]) for c in found] == [(PAPER, "reproduced"), ("toy2021", "differs")]
    text = rbdm("claims", "--set", "demo", "--markdown").stdout
    assert f"**{PAPER}**" in text and "**toy2021**" in text
    assert "| Results | images kept | 35,488 images | 4: by +1 | differs |" in text


def test_tables_in_markdown(project):
    small(project)
    text = rbdm("claims", "--set", "demo", "--markdown").stdout
    assert text.startswith("In `outputs/demo`: 1 reproduced, 0 differs, 0 not run.\n\n| section |")
    assert "| 4.2 | images kept | 35,488 images | 3 | reproduced |" in text and "<details>" not in text
    shutil.rmtree(project/"outputs"/"demo"/"claims")
    text = rbdm("claims", "--set", "demo", "--markdown").stdout
    assert "<summary>1 not run, and why</summary>" in text and "no notebook measures it | not run |" in text
    left(project/"outputs"/"demo", "01_datasets", {"kept@a": value(3, momentum=0.9), "kept@b": value(4, momentum=0.99)})
    text = rbdm("claims", "--set", "demo", "--markdown").stdout
    assert "| claim | momentum 0.9 | momentum 0.99 |\n|---|---|---|\n| images kept | [3 ✓] | 4 ≠ |" in text


def test_the_same_tables_are_on_the_page_of_the_set(project):
    small(project)
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# T\n\n<!-- figures:demo -->\n\nend")])
    nbformat.write(nb, project/"nbs"/"index.ipynb")
    assert rbdm("readme").exit_code == 0 and rbdm("readme", "--check").exit_code == 0
    text = (project/"outputs"/"demo"/"README.md").read_text()
    assert rbdm("claims", "--set", "demo", "--markdown").stdout.strip() in text
    assert "| 4.2 | images kept | 35,488 images | 3 | reproduced |" in text
    shutil.rmtree(project/"outputs"/"demo"/"claims")
    assert rbdm("readme", "--check").exit_code == 1
    nb.cells[0].source = "<!-- figures:other -->"
    nbformat.write(nb, project/"nbs"/"index.ipynb")
    assert rbdm("readme").exit_code == 2


def test_results_that_are_out_of_date_are_marked(project):
    small(project)
    text = rbdm("claims", "--set", "demo").stdout
    assert "reproduced*" in text
    assert "01_datasets is of no set demo that is there to compare with" in " ".join(text.split())
    (found,) = json.loads(rbdm("claims", "--set", "demo", "--json").stdout)["claims"]
    assert len(found["stale"]) == 1
    assert C.evaluate("demo", stale=False)[0].stale == ()


def test_the_lists_are_no_parameter_sets(project):
    small(project)
    assert PAPER not in rbdm("status").stdout
    for command in ("run", "status"):
        done = rbdm(command, f"params/claims/{PAPER}.yaml")
        assert done.exit_code == 2 and f"{PAPER}.yaml" in done.stderr and done.stderr.count("\n") == 1


def test_no_tensorflow_and_no_pandas_are_imported(project):
    small(project)
    code = """import sys
from click.testing import CliRunner
from rbdm_nb.roof.cli import main
assert "1 reproduced" in CliRunner().invoke(main, ["claims"]).output
print([m for m in ("tensorflow", "pandas", "matplotlib", "scipy.stats") if m in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", ["demo", "ferplus"])
def test_the_committed_results(name, tmp_path, monkeypatch):
    "On a copy, since the command writes claims.json."
    for part in ("nbs", "params", "rbdm_nb"): (tmp_path/part).symlink_to(REPOSITORY/part)
    shutil.copy(REPOSITORY/"settings.ini", tmp_path)
    outputs = REPOSITORY/"outputs"/name
    for part in ("provenance", "notebooks", "claims"):
        if (outputs/part).is_dir(): shutil.copytree(outputs/part, tmp_path/"outputs"/name/part)
    monkeypatch.chdir(tmp_path)
    done = rbdm("claims", "--set", name)
    assert done.exit_code == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    every = json.loads((tmp_path/"outputs"/name/"claims.json").read_text())["claims"]
    found, ledgers = {(c["paper"], c["id"]): c for c in every}, C.read_ledgers()
    assert len(found) == sum(len(ledger.claims) for ledger in ledgers.values())
    for c in found.values(): assert c["verdict"] == "reproduced" or c["why"], c["id"]
    for c in ledgers[PAPER].claims:
        verdict = found[PAPER, c.id]["verdict"]
        absent = c.needs.get("corpus") in ("affectnet", "ckplus") or "annotators" in c.needs
        if absent or name == "demo" and (c.needs or c.setting): assert verdict == "not run", c.id
    if name == "ferplus": assert found[PAPER, "ferplus-kept"]["verdict"] == "reproduced"

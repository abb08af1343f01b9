"The list of claims: its schema, every kind of measurement, verdicts, and what becomes of them when results are gone or damaged."
import json, random, re, shutil
from pathlib import Path

import numpy as np, pandas as pd, pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st
from pydantic import TypeAdapter
from scipy.stats import ttest_1samp
from rbdm_nb.roof import claims as C, selectors as S
from rbdm_nb.roof.cli import main
from rbdm_nb.project import write_atomic
from rbdm_nb.reproducibility import file_digest

REPOSITORY = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted(p.stem for p in (REPOSITORY/"nbs").glob("*.ipynb"))
measure = TypeAdapter(S.Measure).validate_python


def left(folder, run, files, status="done", notebook=None, environment=None, **parameters):
    "Writes `files` (name -> text) below `folder`/tables, and the record of a `run` that lists them."
    for name, text in files.items(): write_atomic(folder/"tables"/name, text)
    record = dict(run=run, notebook=notebook or run.split(".")[0], status=status, made_from=dict(parameters=parameters), environment=environment or {},
                  outputs={f"tables/{n}": file_digest(folder/"tables"/n) for n in files})
    write_atomic(folder/"provenance"/f"{run}.json", json.dumps(record))
    return folder


def record(condition, f1, seed=0, momentum=0.999, corpus="ferplus", trainer="affectnet", confusion=None, **more):
    "The text of a Trainee's record with the learning curve `f1`; made up."
    mask, _, then = condition.partition(" → ")
    classes = ["happy", "fear", "contempt"]
    return json.dumps(dict(tag=f"{mask}_{bool(then)}_{momentum}_{seed}", condition=condition, mask=mask, switch_epoch=9 if then else 0, momentum=momentum, seed=seed, architecture="MobileNetV2",
                           image_size=48, batch_size=32, class_weights="balanced", augment=True, corpus=corpus, train_images=28389, classes=classes,
                           trainer=None if mask == "none" else dict(corpus=trainer, architecture="InceptionV3", size=75, epochs=42, untrained=False, method="deep_taylor"),
                           curve=[dict(epoch=i, images_seen=28389*i, val_f1=v) for i, v in enumerate(f1, 1)], confusion=confusion or [[8, 1, 1], [2, 8, 0], [1, 1, 8]], fusion=None) | more)


def trainees(folder, runs, **parameters):
    "Leaves a record for each of `runs`, arguments of `record`; one run of 06_trainee each."
    for i, kwargs in enumerate(runs): left(folder, f"06_trainee.{i}", {f"run_{i}.json": record(**kwargs)}, **(dict(corpus="ferplus", data_root="x/ferplus") | parameters))
    return folder


def claim(measured, expect, **more):
    kind = C.Expect(**expect).kind
    return C.Claim.model_validate(dict(id="x", section="6", claim="a claim", quote="a quote", kind=kind, notebook="06_trainee", measure=measured, expect=expect) | more)


def settle(folder, measured, expect, paper=None, **more):
    return C.settle(claim(measured, expect, **more), S.read_outputs(folder), paper or {})


@pytest.fixture(scope="module")
def ledger(): return C.read_claims(REPOSITORY/C.FILE)


@pytest.fixture
def project(tmp_path, monkeypatch):
    "A project with the names of the real notebooks and nothing else."
    (tmp_path/"settings.ini").write_text("[DEFAULT]\nlib_name = rbdm_nb\n")
    for part in ("nbs", "params"): (tmp_path/part).mkdir()
    for name in NOTEBOOKS: (tmp_path/"nbs"/f"{name}.ipynb").write_text(json.dumps(dict(cells=[], metadata={}, nbformat=4, nbformat_minor=5)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IN_TEST", raising=False)
    return tmp_path


def rbdm(*args): return CliRunner().invoke(main, args, prog_name="rbdm", catch_exceptions=False)


# --- the list

HEAD = "paper: {corpus: ferplus}\nclaims:\n- id: kept\n  section: '4.2'\n  claim: images kept\n  quote: 35,488 images\n"
GOOD = HEAD + "  kind: exact\n  notebook: 01_datasets\n  measure: {by: rows, table: t}\n  expect: {equals: 3}\n"


def test_the_list_is_complete(ledger):
    "Every number of the paper that the project names is in the list."
    quotes = " ".join(c.quote for c in ledger.claims)
    numbers = """420,000 22,198 34,000 269,118 600 1,000 35,887 35,488 654 210 36,000 79.6 50.8 0.59 0.58 42 0.001 32 25 10 85 20 50 150 70 27 2560 1440 1200 500 200 5 2.358 40% 0.17
                 0.546 0.689 0.296 0.405 0.548 0.423 0.371 0.515 0.454 23.8 3.5 19.06 0.8 700,000 9""".split()
    assert not [n for n in numbers if not re.search(rf"(?<![\d.,]){re.escape(n)}(?![\d]|[.,]\d)", quotes)]
    for word in ("almost seven", "half", "seven different", "five million", "nine|9 epochs", "conservation", "fear", "contempt", "happy|Happy", "worst", "accelerat", "exact progression"):
        assert re.search(word, quotes), word
    assert {c.section[0] for c in ledger.claims} == {"A", "4", "5", "6", "7"}


def test_no_claim_on_people_or_on_an_absent_corpus_has_a_way_around(ledger):
    for c in ledger.claims:
        if c.figure == "Table 1" and c.measure: assert c.needs == c.needs | dict(corpus="ckplus", annotators="people"), c.id
        if c.id.startswith("affectnet") and c.measure: assert c.needs == dict(corpus="affectnet"), c.id
        if c.section == "6" and c.measure and not c.measure.conditions() and c.id != "any-model": assert "trainer_corpus" in c.setting, c.id


@pytest.mark.parametrize("text, message", [
    ("", "claims.yaml:1: empty"),
    ("paper: [\n", "claims.yaml:2: not YAML"),
    ("paper: !!python/object/apply:os.system ['true']\nclaims: []\n", "claims.yaml:1: not YAML"),
    (GOOD + "  id: again\n", "claims.yaml:11: key 'id' is given twice; keep one"),
    (GOOD.replace("quote", "qoute"), "claims.yaml:6: unknown key 'qoute'; did you mean 'quote'?"),
    (GOOD.replace("  section: '4.2'\n", ""), "claims.yaml:3: key 'section' is missing"),
    (GOOD.replace("exact", "exakt"), "claims.yaml:7: kind: Input should be 'exact', 'tolerance', 'directional' or 'setting', got 'exakt'"),
    (GOOD.replace("kind: exact", "kind: tolerance"), "claims.yaml:3: kind is tolerance, but expect is that of a claim that is exact"),
    (GOOD.replace("by: rows", "by: row"), "claims.yaml:9: no kind of measurement 'row'; did you mean 'rows'?"),
    (GOOD.replace("by: rows, ", ""), "claims.yaml:9: key 'by' is missing; one of cell, rows"),
    (GOOD.replace("table: t", "table: t, code: 1+1"), "claims.yaml:9: unknown key 'code'"),
    (GOOD.replace("equals: 3", "equals: 3, above: 1"), "claims.yaml:10: give one of equals, above and below"),
    (GOOD.replace("equals: 3", "equals: 3, within: -1"), "claims.yaml:10: within: Input should be greater than 0, got '-1'"),
    (GOOD.replace("01_datasets", "01_dataset"), "claims.yaml:8: no notebook '01_dataset'; did you mean '01_datasets'?"),
    (GOOD + GOOD.partition("claims:\n")[2], "claims.yaml:11: id 'kept' is given twice; rename one"),
    (HEAD + "  kind: exact\n", "claims.yaml:3: a claim has notebook, measure and expect, or says why it is not measured"),
    (GOOD + "  why: it cannot\n", "claims.yaml:3: a claim with why has no notebook, measure or expect"),
    (GOOD.replace("claim: images kept", "claim: images | kept"), "claims.yaml:5: claim: String should match pattern"),
    (GOOD.replace("corpus: ferplus", "corpse: ferplus"), "claims.yaml:1: "),
    (GOOD.replace("{by: rows, table: t}", "{by: difference, of: {by: rows, table: t}, minus: {by: rows, tabel: t}}"), "claims.yaml:9: ")])
def test_mistakes_in_the_list_name_file_and_line(project, text, message):
    (project/"params"/"claims.yaml").write_text(text)
    with pytest.raises(ValueError) as error: C.read_claims()
    assert str(error.value).startswith(f"params/{message}"), str(error.value)
    assert "\n" not in str(error.value)
    done = rbdm("claims")
    assert done.exit_code == 2 and done.stderr.startswith("Error: params/claims.yaml:") and done.stderr.count("\n") == 1


def test_a_missing_list_is_said(project):
    done = rbdm("claims")
    assert done.exit_code == 2 and "no params/claims.yaml" in done.stderr


# --- kinds of measurement

TABLE = "mask,share,note,empty\nnegative,10.5,a,\nmean,64,b,\nperceptive,88.25,a,\n"


@pytest.mark.parametrize("data, value", [
    (dict(by="cell", table="t", where=dict(mask="mean"), column="share"), 64),
    (dict(by="cell", table="t", where=dict(share=64), column="mask"), "mean"),
    (dict(by="rows", table="t"), 3),
    (dict(by="rows", table="t", where=dict(mask=["mean", "negative", "other"])), 2),
    (dict(by="distinct", table="t", column="note"), 2),
    (dict(by="highest", table="t", column="share"), 88.25),
    (dict(by="highest", table="t", column="share", at="mask"), "perceptive"),
    (dict(by="difference", of=dict(by="rows", table="t"), minus=dict(by="rows", table="t", where=dict(note="a"))), 1),
    (dict(by="ratio", of=dict(by="rows", table="t"), to=dict(by="rows", table="t", where=dict(note="a"))), 1.5),
    (dict(by="lowest", of=[dict(by="rows", table="t"), dict(by="rows", table="t", where=dict(note="a"))]), 2),
    (dict(by="highest_of", of=[dict(by="rows", table="t"), dict(by="rows", table="t", where=dict(note="a"))]), 3)])
def test_selectors_on_tables(tmp_path, data, value):
    left(tmp_path, "05_masking", {"t.csv": TABLE})
    assert measure(data).value(S.Reader(S.read_outputs(tmp_path))) == value


@pytest.mark.parametrize("data, message", [
    (dict(by="cell", table="t", where=dict(mask="mean"), column="shares"), "no column 'shares'"),
    (dict(by="cell", table="t", where=dict(maks="mean"), column="share"), "no column 'maks'"),
    (dict(by="cell", table="t", where=dict(note="a"), column="share"), "2 rows with note = a, not one"),
    (dict(by="cell", table="t", where=dict(mask="none"), column="share"), "no row with mask = none"),
    (dict(by="cell", table="t", where=dict(mask="mean"), column="empty"), "empty is empty for mask = mean"),
    (dict(by="rows", table="t", where=dict(mask="none")), "no row with mask = none"),
    (dict(by="distinct", table="t", column="empty"), "empty is empty"),
    (dict(by="highest", table="t", column="note"), "not all values are numbers"),
    (dict(by="share", table="t", actual="happy", predicted="happy"), "no column 'true'"),
    (dict(by="difference", of=dict(by="cell", table="t", where=dict(mask="mean"), column="note"), minus=dict(by="rows", table="t")), "'b' is not a number"),
    (dict(by="ratio", of=dict(by="rows", table="t"), to=dict(by="difference", of=dict(by="rows", table="t"), minus=dict(by="rows", table="t"))), "denominator is 0"),
    (dict(by="rows", table="u"), "no tables/u.csv")])
def test_what_is_not_there_is_absent(tmp_path, data, message):
    left(tmp_path, "05_masking", {"t.csv": TABLE})
    with pytest.raises(S.Absent, match=re.escape(message)): measure(data).value(S.Reader(S.read_outputs(tmp_path)))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=3, max_size=3))
def test_confusion_matrices(tmp_path_factory, counts):
    "Shares and skew against pairs of labels counted one by one."
    folder, names = tmp_path_factory.mktemp("set"), ["happy", "sad", "fear"]
    left(folder, "02_trainer", {"c.csv": pd.DataFrame(counts, names, names).rename_axis("true").to_csv()})
    pairs = [(names[i], names[j]) for i in range(3) for j in range(3) for _ in range(counts[i][j])]
    for one in names:
        mine = [q for t, q in pairs if t == one]
        for other in names:
            read = lambda: measure(dict(by="share", table="c", actual=one, predicted=other)).value(S.Reader(S.read_outputs(folder)))
            if mine: assert read() == pytest.approx(sum(q == other for q in mine)/len(mine))
            else: pytest.raises(S.Absent, read)
        if mine: assert measure(dict(by="skew", table="c", expression=one)).value(S.Reader(S.read_outputs(folder))) == pytest.approx((sum(q == one for _, q in pairs) - len(mine))/len(pairs))


RUN = lambda condition, value, **more: dict(by="run", condition=condition, value=value, **more)
CURVES = {"none": [0.1, 0.3, 0.5, 0.6], "mean": [0.2, 0.4, 0.4, 0.3], "mean → none": [0.2, 0.4, 0.55, 0.65, 0.9]}


@pytest.mark.parametrize("data, value", [
    (RUN("none", "best_f1"), 0.6), (RUN("mean", "best_f1"), 0.4), (RUN("mean → none", "best_f1"), 0.9),
    (dict(by="difference", of=RUN("mean → none", "best_f1"), minus=RUN("none", "best_f1")), 0.05),      # only the epochs that both have
    (RUN("none", "mean_f1", epochs=[2, 3]), 0.4), (RUN("none", "mean_f1", epochs=[3, 99]), 0.55),
    (RUN("mean → none", "switch_epoch"), 9), (RUN("none", "images"), 4*28389), (RUN("none", "recall", expression="fear"), 0.8),
    (dict(by="crossing", of="mean", under="none"), 3*28389),
    (dict(by="largest_change", of="mean → none", minus="none", expressions=["fear", "contempt"]), 0.2),
    (dict(by="conditions", masks=["none", "mean"]), 3), (dict(by="setting", name="batch_size"), 32),
    (RUN("mean", "fusion_gain", rule="mean"), 0.1)])
def test_selectors_on_trainees(tmp_path, data, value):
    runs = [dict(condition=c, f1=f1) for c, f1 in CURVES.items()]
    runs[1]["fusion"] = [dict(rule="trainee", f1=0.4), dict(rule="mean", f1=0.5), dict(rule="weighted", f1=0.45)]
    runs[2]["confusion"] = [[8, 2, 0], [4, 6, 0], [5, 1, 4]]
    found = settle(trainees(tmp_path, runs), data, dict(equals=value) if value in (9, 3, 32) else dict(equals=value, within=1e-9))
    assert found.verdict == "reproduced", found
    assert settle(tmp_path, data, dict(equals=value + 1, within=0.5)).verdict == "differs"


@pytest.mark.parametrize("data, message", [
    (RUN("negative", "best_f1"), "not run with the same settings and seed: negative"),
    (dict(by="difference", of=RUN("mean", "best_f1"), minus=RUN("perceptive", "best_f1")), "mean, perceptive"),
    (RUN("none", "mean_f1", epochs=[9, 20]), "end after 4 epochs, before epoch 9"),
    (dict(by="crossing", of="mean → none", under="none"), "still above none after 113,556 images"),
    (RUN("mean", "fusion_gain", rule="mean"), "no fusion by mean"), (RUN("none", "recall", expression="sad"), "no validation images of sad"),
    (dict(by="largest_change", of="mean", minus="none", expressions=["sad"]), "no validation images of sad")])
def test_what_trainees_cannot_say(tmp_path, data, message):
    found = settle(trainees(tmp_path, [dict(condition=c, f1=f1) for c, f1 in CURVES.items()]), data, dict(above=0))
    assert found.verdict == "not run" and message in found.why


@pytest.mark.parametrize("mean", [[0.2, 0.3], [0.305, 0.3]])
def test_a_curve_that_never_was_clearly_above_crosses_at_0(tmp_path, mean):
    trainees(tmp_path, [dict(condition="none", f1=[0.3, 0.4]), dict(condition="mean", f1=mean)])
    found = settle(tmp_path, dict(by="crossing", of="mean", under="none"), dict(above=0))
    assert (found.verdict, found.here) == ("differs", "0 (one seed)")


# --- judging

@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.floats(-1, 1).map(lambda x: round(x, 3)), min_size=3, max_size=8), st.sampled_from([1, -1]))
def test_directions_over_seeds_agree_with_a_t_test(values, sign):
    holds, why = C.judge(C.Expect(**{"above" if sign > 0 else "below": 0}), values, len(values))
    if len(set(values)) == 1: expected = sign*values[0] > 0
    else:
        test = ttest_1samp(values, 0, alternative="two-sided")
        if abs(test.pvalue - 0.05) < 1e-9: return
        expected = test.pvalue < 0.05 and sign*np.mean(values) > 0
    assert holds == expected and (why == "") == holds


def test_one_and_two_seeds():
    more = C.Expect(above=0, clear=0.01)
    assert C.judge(more, [0.011], 1)[0] and not C.judge(more, [0.009], 1)[0]
    assert C.judge(more, [0.009, 0.001], 2)[0] and not C.judge(more, [0.2, -0.001], 2)[0]
    assert [C.judge(more, v, len(v))[1] for v in ([0.009], [-0.009], [-0.011], [0.2, -0.1], [-0.1, -0.2])] == ["no clear difference"]*2 + ["the other way round", "no clear difference", "the other way round"]


def seeds(gains, **more): return [dict(condition=c, f1=[0.3 + (g if c == "mean" else 0)], seed=s, **more) for s, g in enumerate(gains) for c in ("none", "mean")]


GAIN = dict(by="difference", of=RUN("mean", "best_f1"), minus=RUN("none", "best_f1"))


def test_several_seeds_are_compared_seed_by_seed(tmp_path):
    found = settle(trainees(tmp_path, seeds([0.02, 0.03, 0.025])), GAIN, dict(above=0, clear=0.01))
    assert (found.verdict, found.seeds) == ("reproduced", 3) and "3 seeds" in found.here
    assert len(found.runs) == 6
    lone = settle(trainees(tmp_path/"b", seeds([0.02])), GAIN, dict(above=0, clear=0.01))
    assert lone.verdict == "reproduced" and lone.here == "+0.02 (one seed)"


def test_the_study_nearest_to_the_paper_decides_and_the_other_is_told(tmp_path, ledger):
    trainees(tmp_path, seeds([-0.05], trainer="folder") + seeds([0.02, 0.03, 0.025], momentum=0.9, trainer="folder"), trainer_root="x/expressions")
    found = settle(tmp_path, GAIN, dict(above=0, clear=0.01), ledger.paper)
    assert (found.verdict, found.why, found.here) == ("differs", "the other way round", "−0.05 (one seed)")
    assert found.setting == ("Trainer on expressions", "1 epochs")
    assert len(found.also) == 1 and found.also[0].startswith("momentum 0.9: +0.025 (")


def test_the_study_with_more_of_the_papers_conditions_decides(tmp_path, ledger):
    more = [dict(condition="negative", f1=[0.3], seed=0, momentum=0.9, trainer="folder")]
    trainees(tmp_path, seeds([-0.05], trainer="folder") + seeds([0.02, 0.03, 0.025], momentum=0.9, trainer="folder") + more, trainer_root="x/expressions")
    found = settle(tmp_path, GAIN, dict(above=0, clear=0.01), ledger.paper)
    assert found.verdict == "reproduced" and "momentum 0.9" in found.setting and found.also == ("momentum 0.999: −0.05 (one seed)",)


def test_masks_of_different_trainers_are_not_mixed(tmp_path):
    runs = [dict(condition="none", f1=[0.3]), dict(condition="mean", f1=[0.4], trainer="a"), dict(condition="negative", f1=[0.5], trainer="b")]
    found = settle(trainees(tmp_path, runs), dict(by="difference", of=RUN("mean", "best_f1"), minus=RUN("negative", "best_f1")), dict(above=0))
    assert found.verdict == "not run"
    untrained = dict(condition="mean", f1=[0.9], trainer="a", )
    text = json.loads(record(**untrained)); text["trainer"]["untrained"] = True
    left(tmp_path/"u", "06_trainee.0", {"run_0.json": json.dumps(text), "run_1.json": record("none", [0.3])})
    assert settle(tmp_path/"u", GAIN, dict(above=0)).verdict == "not run"


# --- corpora

def test_built_in_faces_settle_nothing_about_real_ones(tmp_path):
    trainees(tmp_path, seeds([0.05]*3, corpus="synthetic", trainer="synthetic"))
    found = settle(tmp_path, GAIN, dict(above=0))
    assert found.verdict == "not run" and "only measured on built-in faces (+0.05" in found.why
    left(tmp_path, "05_masking", {"t.csv": TABLE}, corpus="ferplus", trainer_corpus="synthetic")
    cell = dict(by="cell", table="t", where=dict(mask="perceptive"), column="share")
    assert settle(tmp_path, cell, dict(above=50), setting=["trainer_corpus"]).verdict == "not run"
    assert settle(tmp_path, cell, dict(above=50)).verdict == "reproduced"      # a claim about any image


def test_another_real_corpus_is_named_and_cannot_stand_in_for_a_number(tmp_path, ledger):
    left(tmp_path, "02_trainer", {"curve.csv": "epoch,val_f1\n1,0.59\n"}, corpus="ferplus", trainer_corpus="folder", trainer_root="../shared/data/expressions")
    best = dict(by="highest", table="curve", column="val_f1")
    found = settle(tmp_path, best, dict(equals=0.59, within=0.005), needs=dict(trainer_corpus="affectnet"))
    assert found.verdict == "not run" and found.why == "needs a Trainer on affectnet; this is expressions (0.59)"
    found = settle(tmp_path, best, dict(above=0.5), ledger.paper, setting=["trainer_corpus"])
    assert found.verdict == "reproduced" and found.setting == ("Trainer on expressions",)
    left(tmp_path, "02_trainer", {"curve.csv": "epoch,val_f1\n1,0.59\n"}, trainer_corpus="affectnet", trainer_root="x/affectnet")
    assert settle(tmp_path, best, dict(equals=0.59, within=0.005), needs=dict(trainer_corpus="affectnet")).verdict == "reproduced"


@pytest.mark.parametrize("who, verdict", [("people", "reproduced"), ("SIMULATED annotators", "not run")])
def test_table_1_needs_people(tmp_path, ledger, who, verdict):
    rows = "first,second,measure,mean,published,data\n" + f"p1,p2,zero_measure,0.55,0.546,{who}\n"
    left(tmp_path, "04f_attention", {"table1.csv": rows}, gaze_corpus="ckplus", gaze_root="x", trainer_corpus="affectnet")
    one = next(c for c in ledger.claims if c.id == "table1-u1-u2-zero-measure")
    found = C.settle(one, S.read_outputs(tmp_path), ledger.paper)
    assert found.verdict == verdict, found
    left(tmp_path, "04f_attention", {"table1.csv": rows}, gaze_corpus="synthetic", trainer_corpus="affectnet")
    assert C.settle(one, S.read_outputs(tmp_path), ledger.paper).verdict == "not run"


def test_a_corpus_without_counts_is_absent(tmp_path, ledger):
    left(tmp_path, "01_datasets", {"table_totals.csv": "corpus,happy,contempt,all,published,paper\nferplus,9355,216,35488,35488,35488\naffectnet,,,,291651,269118\nckplus,,,,654,654\n"}, corpus="ferplus")
    verdicts = {c.id: C.settle(c, S.read_outputs(tmp_path), ledger.paper) for c in ledger.claims if c.id in ("ferplus-kept", "affectnet-kept", "ck-images", "ck-small", "imbalance")}
    assert verdicts.pop("ferplus-kept").verdict == "reproduced"
    assert {v.verdict for v in verdicts.values()} == {"not run"} and all("is not there" in v.why for v in verdicts.values())


# --- what is gone or damaged

def rich(folder, ledger):
    "A set in which most claims can be judged, made up: all seven conditions in two studies, of several seeds, and tables."
    draw, runs = random.Random(0), []
    for momentum, n in ((0.999, 1), (0.9, 3)):
        for s in range(n):
            for condition in ("none", "negative", "mean", "perceptive", "negative → none", "mean → none", "perceptive → none"):
                f1 = [round(0.1 + 0.02*e + 0.05*draw.random() + (0.04 if "mean" in condition and e < 9 else 0), 4) for e in range(12)]
                runs.append(dict(condition=condition, f1=f1, seed=s, momentum=momentum, fusion=[dict(rule="trainee", f1=0.4), dict(rule="mean", f1=0.42)]))
    trainees(folder, runs)
    left(folder, "05_masking", {"masks_hidden.csv": "mask,mean\nnegative,10.02\nmean,52\nperceptive,80\n"}, corpus="ferplus", trainer_corpus="affectnet")
    left(folder, "01_datasets", {"table_totals.csv": "corpus,happy,contempt,all\nferplus,1,1,35488\nckplus,1,1,654\n", "table_counts.csv": "corpus,all\nferplus,1\nferplus,2\nferplus,3\n"})
    names = ["neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt"]
    left(folder, "02_trainer", {"fig03_confusion.csv": pd.DataFrame(np.eye(8, dtype=int)*5 + 1, names, names).rename_axis("true").to_csv(), "trainer_curve.csv": "epoch,val_f1\n42,0.59\n"}, trainer_corpus="affectnet")
    left(folder, "00_reproducibility", {"fig09_runs.csv": "run,threads,weights,identical to run 1\nrun 1,1,a,True\nrun 2,1,a,True\nrun 3,1,a,True\n"})
    return folder


def verdicts(folder, ledger): return {c.id: C.settle(c, S.read_outputs(folder), ledger.paper).verdict for c in ledger.claims}


def test_deleting_or_damaging_any_one_table_never_makes_a_claim_hold(tmp_path, ledger):
    folder = rich(tmp_path/"set", ledger)
    before = verdicts(folder, ledger)
    assert sum(v == "reproduced" for v in before.values()) > 12 and sum(v == "differs" for v in before.values()) > 12
    for file in sorted((folder/"tables").iterdir()):
        kept = file.read_bytes()
        for damage in (None, kept[:len(kept)//2], b"\0\xff" + kept, b""):
            if damage is None: file.unlink()
            else: file.write_bytes(damage)
            now = verdicts(folder, ledger)
            assert not [i for i, v in now.items() if v == "reproduced" and before[i] != "reproduced"], (file.name, damage)
            assert now != before or file.name in ("trainer_curve.csv",), file.name
            if damage is None and file.suffix == ".json": break     # what is damaged has another digest, as tables show
        file.write_bytes(kept)
    assert verdicts(folder, ledger) == before


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode), st.sampled_from([b"", b"mask", b"mask,mean\n", b"mask,mean\nmean,NaN\n", b"{}", b"[]", b'{"curve": []}', b"mask,mean\nmean,x\n", b"mask,mean\nmean,True\n", b"mask,mean\nmean,inf\nmean,1\n"])))
def test_rubbish_that_a_run_vouches_for_is_not_run(tmp_path_factory, rubbish):
    folder = tmp_path_factory.mktemp("set")
    left(folder, "05_masking", {"masks_hidden.csv": "x", "run_0.json": "x"})
    for name in ("masks_hidden.csv", "run_0.json"): (folder/"tables"/name).write_bytes(rubbish)
    write_atomic(folder/"provenance"/"05_masking.json", json.dumps(dict(run="05_masking", notebook="05_masking", status="done", outputs={f"tables/{n}": file_digest(folder/"tables"/n) for n in ("masks_hidden.csv", "run_0.json")})))
    for data in (dict(by="cell", table="masks_hidden", where=dict(mask="mean"), column="mean"), dict(by="highest", table="masks_hidden", column="mean"), GAIN):
        assert settle(folder, data, dict(above=0)).verdict == "not run"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"outputs": 3}'])
def test_damaged_records_of_runs(tmp_path, text):
    trainees(tmp_path, seeds([0.05]*3))
    left(tmp_path, "05_masking", {"t.csv": TABLE})
    (tmp_path/"provenance"/"05_masking.json").write_text(text)
    assert "no run of this set says that it wrote it" in settle(tmp_path, dict(by="rows", table="t"), dict(equals=3)).why
    assert "05_masking.json cannot be read" in settle(tmp_path, GAIN, dict(above=0)).why


def test_failed_and_foreign_files_do_not_count(tmp_path):
    left(tmp_path, "05_masking", {"t.csv": TABLE}, status="failed")
    assert settle(tmp_path, dict(by="rows", table="t"), dict(equals=3)).why == "05_masking failed"
    write_atomic(tmp_path/"tables"/"u.csv", TABLE)
    assert "no run of this set" in settle(tmp_path, dict(by="rows", table="u"), dict(equals=3)).why
    left(tmp_path, "05_masking", {"t.csv": TABLE})
    write_atomic(tmp_path/"tables"/"t.csv", TABLE + "random,1,a,\n")
    assert "not what a run of this set wrote" in settle(tmp_path, dict(by="rows", table="t"), dict(equals=4)).why


# --- the command

def small(project, equals=3, kind="exact"):
    (project/"params"/"claims.yaml").write_text(GOOD.replace("equals: 3", f"equals: {equals}" + (", within: 0.5" if kind == "tolerance" else "")).replace("kind: exact", f"kind: {kind}"))
    left(project/"outputs"/"demo", "01_datasets", {"t.csv": TABLE})


def test_exit_statuses(project):
    small(project)
    done = rbdm("claims", "--set", "demo")
    assert done.exit_code == 0 and "demo: 1 reproduced, 0 differs, 0 not run" in done.stdout and done.stderr == ""
    small(project, 4)
    done = rbdm("claims", "--set", "params/demo.yaml")
    assert done.exit_code == 1 and done.stderr == "Error: claims marked exact are contradicted: demo: kept (3, by −1)\n" and "0 reproduced, 1 differs" in done.stdout
    for kind in ("tolerance", "setting"):
        small(project, 4, kind)
        assert rbdm("claims").exit_code == 0
    (project/"outputs"/"demo"/"tables"/"t.csv").unlink()
    done = rbdm("claims")
    assert done.exit_code == 0 and "no tables/t.csv" in " ".join(done.stdout.split()) and "1 not run" in done.stdout
    done = rbdm("claims", "--set", "dmeo")
    assert done.exit_code == 2 and "did you mean 'demo'?" in done.stderr and done.stderr.count("\n") == 1


def test_json_is_written_printed_and_always_the_same(project):
    small(project)
    first = rbdm("claims", "--set", "demo", "--json").stdout
    file = project/"outputs"/"demo"/"claims.json"
    assert file.read_text() == first and json.loads(first)["counts"] == {"reproduced": 1, "differs": 0, "not run": 0}
    assert rbdm("claims", "--set", "demo", "--json").stdout == first and str(project) not in first
    assert json.loads(rbdm("claims", "--json").stdout) == [json.loads(first)]


def test_a_table_of_markdown_in_the_readme(project):
    import nbformat
    small(project)
    cells = [nbformat.v4.new_markdown_cell("# T\n\n<!-- claims:demo -->\n\nend")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), project/"nbs"/"index.ipynb")
    assert rbdm("readme").exit_code == 0 and rbdm("readme", "--check").exit_code == 0
    text = (project/"README.md").read_text()
    assert rbdm("claims", "--set", "demo", "--markdown").stdout.strip() in text and "| 4.2 | images kept | 35,488 images | 3 | reproduced |" in text
    (project/"outputs"/"demo"/"tables"/"t.csv").unlink()
    assert rbdm("readme", "--check").exit_code == 1
    cells[0].source = "<!-- claims:other -->"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), project/"nbs"/"index.ipynb")
    assert rbdm("readme").exit_code == 2


def test_the_list_is_not_a_parameter_set(project):
    small(project)
    assert "claims" not in rbdm("status").stdout
    for command in ("run", "status"):
        done = rbdm(command, "params/claims.yaml")
        assert done.exit_code == 2 and "is the list of claims, not a parameter set" in done.stderr


@pytest.mark.parametrize("name", ["demo", "ferplus"])
def test_the_committed_results(name, tmp_path, monkeypatch):
    "On a copy, since the command writes claims.json."
    for part in ("nbs", "params", "rbdm_nb"): (tmp_path/part).symlink_to(REPOSITORY/part)
    shutil.copy(REPOSITORY/"settings.ini", tmp_path)
    for part in ("tables", "provenance", "notebooks", "figures"): shutil.copytree(REPOSITORY/"outputs"/name/part, tmp_path/"outputs"/name/part)
    monkeypatch.chdir(tmp_path)
    done = rbdm("claims", "--set", name)
    assert done.exit_code == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    found = {c["id"]: c for c in json.loads((tmp_path/"outputs"/name/"claims.json").read_text())["claims"]}
    assert len(found) == len(C.read_claims().claims)
    for c in found.values(): assert c["verdict"] == "reproduced" or c["why"], c["id"]
    for c in C.read_claims().claims:
        if c.needs.get("corpus") in ("affectnet", "ckplus") or "annotators" in c.needs: assert found[c.id]["verdict"] == "not run", c.id
        if name == "demo" and (c.needs or c.setting or c.measure and c.measure.conditions()): assert found[c.id]["verdict"] == "not run", c.id
    if name == "ferplus": assert found["ferplus-kept"]["verdict"] == "reproduced"

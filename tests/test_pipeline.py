"The runner on small projects: order, failure, time limits, interruption, states."
import json, os, signal, subprocess, sys, textwrap, time
from pathlib import Path

import nbformat
import pytest

from rbdm_nb import pipeline
from rbdm_nb.runner import execute, run_set

REPOSITORY = Path(__file__).resolve().parents[1]
COMMON = 'output: str = "outputs/demo"  # folder of results\nmask: str = "mean"  # what to hide; one of: none, mean, negative\nrate: float = 0.5  # learning rate\n'


def write_notebook(name, *cells, parameters=COMMON):
    "nbs/<name>.ipynb with code `cells`; the parameters cell comes first."
    make = nbformat.v4.new_code_cell
    first = [make(parameters, metadata={"tags": ["parameters"]})] if parameters else []
    spec = dict(kernelspec=dict(name="python3", language="python", display_name="python3"))
    nbformat.write(nbformat.v4.new_notebook(cells=[*first, *map(make, cells)], metadata=spec), f"nbs/{name}.ipynb")


def write_set(text, name="demo"):
    Path(f"params/{name}.yaml").write_text(f"name: {name}\n" + textwrap.dedent(text))
    return f"params/{name}.yaml"


@pytest.fixture
def project(tmp_path, monkeypatch):
    "An empty project with three modules, as the working folder."
    (tmp_path/"settings.ini").write_text("[DEFAULT]\nlib_name = rbdm_nb\n")
    for folder in ("nbs", "params", "rbdm_nb"): (tmp_path/folder).mkdir()
    (tmp_path/"rbdm_nb"/"__init__.py").write_text("")
    for module in ("low", "middle", "high"): (tmp_path/"rbdm_nb"/f"{module}.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IN_TEST", raising=False)
    return tmp_path


def record(run, folder="outputs/demo"): return json.loads(Path(folder, "provenance", f"{run}.json").read_text())
def states(path, **options): return {r.name: pipeline.state(r).state for r in pipeline.runs(pipeline.read_set(path), **options)}


# --- order

def test_order_comes_from_declarations_not_from_names(project):
    write_notebook("01_high", "#| default_exp high", "from rbdm_nb.middle import x")
    write_notebook("02_low", "#| default_exp low")
    write_notebook("03_middle", "#| default_exp middle", "#| export\nimport rbdm_nb.low")
    write_notebook("04_alone", "import os")
    path = write_set("notebooks: {01_high: , 02_low: , 03_middle: , 04_alone: }\n")
    assert [r.name for r in pipeline.runs(pipeline.read_set(path))] == ["02_low", "03_middle", "01_high", "04_alone"]


def test_order_leads_through_notebooks_outside_the_set(project):
    write_notebook("01_high", "#| default_exp high", "from rbdm_nb.middle import x")
    write_notebook("02_middle", "#| default_exp middle", "#| export\nfrom rbdm_nb.low import x")
    write_notebook("03_low", "#| default_exp low")
    path = write_set("notebooks: {01_high: , 03_low: }\n")
    assert [r.name for r in pipeline.runs(pipeline.read_set(path))] == ["03_low", "01_high"]


def test_example_that_looks_ahead_is_no_circle(project):
    write_notebook("01_low", "#| default_exp low", "from rbdm_nb.high import x")
    write_notebook("02_high", "#| default_exp high", "#| export\nfrom rbdm_nb.low import x")
    path = write_set("notebooks: {01_low: , 02_high: }\n")
    assert [r.name for r in pipeline.runs(pipeline.read_set(path))] == ["01_low", "02_high"]


def test_circle_is_an_error_that_names_the_notebooks(project):
    write_notebook("01_low", "#| default_exp low", "#| export\nfrom rbdm_nb.high import x")
    write_notebook("02_high", "#| default_exp high", "#| export\nfrom rbdm_nb.low import x")
    with pytest.raises(ValueError, match="no order.*01_low.*02_high|no order.*02_high.*01_low"): run_set(write_set("notebooks: {01_low: , 02_high: }\n"))


# --- what is refused

@pytest.mark.parametrize("text, message", [
    ("notebooks:\n  01_low: {maks: mean}\n", r"params/demo.yaml:3: unknown parameter 'maks'; did you mean 'mask'\?"),
    ("shared: {raet: 1}\nnotebooks:\n  01_low:\n", r"params/demo.yaml:2: unknown parameter 'raet'; did you mean 'rate'\?"),
    ("notebooks:\n  01_low:\n    - {rate: 1}\n    - rate: fast\n", r"params/demo.yaml:5: rate must be float, got 'fast'"),
    ("notebooks:\n  01_low: {mask: men}\n", r"params/demo.yaml:3: mask must be one of none, mean, negative, got 'men'; did you mean 'mean'\?"),
    ("notebooks:\n  01_lwo:\n", r"params/demo.yaml:3: no notebook '01_lwo'; did you mean '01_low'\?"),
    ("notbooks:\n  01_low:\n", r"params/demo.yaml:\d: (key 'notebooks' is missing|unknown key 'notbooks'; did you mean 'notebooks'\?)"),
    ("notebooks:\n  01_low: {mask: mean, mask: none}\n", r"params/demo.yaml:3: key 'mask' is given twice"),
    ("notebooks:\n  01_low: [{mask: mean}, {mask: mean}]\n", r"params/demo.yaml:3: the same run of 01_low is listed twice"),
    ("timeout: -1\nnotebooks:\n  01_low:\n", r"params/demo.yaml:2: timeout: .*greater than 0"),
    ("notebooks:\n  01_low: {output: elsewhere}\n", r"params/demo.yaml:3: output follows from the set's name"),
    ("notebooks: {}\n", r"params/demo.yaml:2: notebooks must hold at least one"),
    ("notebooks: [01_low]\n", r"params/demo.yaml:2: notebooks"),
    ("notebooks:\n  01_low: {mask: [a\n", r"params/demo.yaml:\d: not YAML"),
])
def test_refused_parameter_sets_name_the_line(project, text, message):
    write_notebook("01_low", "#| default_exp low")
    with pytest.raises(ValueError, match=message): run_set(write_set(text))
    assert not Path("outputs").exists()


def test_name_must_be_that_of_the_file(project):
    write_notebook("01_low")
    Path("params/mine.yaml").write_text("name: demo\nnotebooks: {01_low: }\n")
    with pytest.raises(ValueError, match="params/mine.yaml:1: name is 'demo', but the file is mine.yaml"): run_set("params/mine.yaml")


@pytest.mark.parametrize("change, message", [
    ("maks=mean", r"unknown parameter 'maks'; did you mean 'mask'\?"), ("mask=men", "mask must be one of"), ("rate=fast", "rate must be float"),
    ("01_lwo.mask=mean", r"no notebook '01_lwo' is to run; did you mean '01_low'\?"), ("mask", "write name=value"), ("output=x", "output follows from")])
def test_refused_changes(project, change, message):
    write_notebook("01_low")
    with pytest.raises(ValueError, match=message): run_set(write_set("notebooks: {01_low: }\n"), changes=[change])
    assert not Path("outputs").exists()


def test_numbers_that_yaml_reads_as_text(project):
    write_notebook("01_low")
    run, = pipeline.runs(pipeline.read_set(write_set("notebooks: {01_low: {rate: 1e-3}}\n")))
    assert run.parameters["rate"] == 0.001
    run, = pipeline.runs(pipeline.read_set("params/demo.yaml"), changes=["rate=2e-3"])
    assert run.parameters["rate"] == 0.002


def test_changes_make_one_run_of_several(project):
    write_notebook("01_low")
    params = pipeline.read_set(write_set("notebooks:\n  01_low: [{mask: none}, {mask: mean}]\n"))
    assert [r.name for r in pipeline.runs(params)] == ["01_low.mask=none", "01_low.mask=mean"]
    assert [r.name for r in pipeline.runs(params, changes=["mask=negative"])] == ["01_low.mask=negative"]
    assert [r.name for r in pipeline.runs(params, only=["01_low.mask=mean"])] == ["01_low.mask=mean"]


def test_the_projects_own_sets_are_valid(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    known = pipeline.notebooks()
    for path in sorted(Path("params").glob("*.yaml")):
        if "notebooks:" in path.read_text(): assert pipeline.runs(pipeline.read_set(path, known), known), path


# --- running

def test_a_set_from_start_to_end(project):
    write_notebook("01_low", "#| default_exp low", "from pathlib import Path\nPath(output, 'tables').mkdir(exist_ok=True)\nPath(output, 'tables/t.csv').write_text(mask)")
    write_notebook("02_middle", "#| default_exp middle\nimport os\nfrom rbdm_nb.low import x", "print('in', os.getcwd(), 'test mode', 'IN_TEST' in os.environ)")
    write_notebook("03_fails", "from rbdm_nb.low import x\nprint('so far')", "raise RuntimeError('over\\nand out')", "print('never')")
    write_notebook("04_high", "#| default_exp high", "from rbdm_nb.middle import x")
    path = write_set("notebooks:\n  01_low: {mask: none}\n  02_middle:\n  03_fails:\n  04_high: {rate: 1}\n")

    outcomes = {o.run.name: o for o in run_set(path)}
    assert {n: o.status for n, o in outcomes.items()} == {"01_low": "done", "02_middle": "done", "03_fails": "failed", "04_high": "done"}
    assert outcomes["03_fails"].why.endswith("RuntimeError: over and out")
    assert Path("outputs/demo/tables/t.csv").read_text() == "none"
    first = record("01_low")
    assert first["made_from"]["parameters"] == dict(output="outputs/demo", mask="none", rate=0.5)
    assert list(first["outputs"]) == ["tables/t.csv"] and list(first["made_from"]["modules"]) == ["low"]
    copy = Path("outputs/demo/notebooks/02_middle.ipynb").read_text()
    assert "test mode False" in copy and f"{project}/" not in copy
    failed = nbformat.read("outputs/demo/notebooks/03_fails.ipynb", as_version=4)
    assert "so far" in str(failed) and not any("never\n" in str(c.get("outputs")) for c in failed.cells)
    assert not list(Path("outputs/demo/notebooks").glob(".*"))
    assert states(path) == {"01_low": "there", "02_middle": "there", "03_fails": "failed", "04_high": "there"}

    # again: only what failed; then after changes: what they concern
    assert [o.status for o in run_set(path, only=["01_low", "02_middle"])] == ["there", "there"]
    Path("rbdm_nb/low.py").write_text("x = 2\n")
    assert states(path) == {"01_low": "stale", "02_middle": "stale", "03_fails": "failed", "04_high": "there"}
    why = {r.name: pipeline.state(r).why for r in pipeline.runs(pipeline.read_set(path))}
    assert why["02_middle"] == "module low changed" and "over and out; since then: module low changed" in why["03_fails"]
    Path("rbdm_nb/low.py").write_text("'''Doc.'''\nx = 1  # as it was\n")
    assert states(path)["01_low"] == "there"
    Path("outputs/demo/tables/t.csv").unlink()
    assert states(path)["01_low"] == "missing"
    assert states(path, changes=["04_high.rate=2"])["04_high"] == "stale"
    write_notebook("04_high", "#| default_exp high", "from rbdm_nb.middle import x", "print(1)")
    assert states(path)["04_high"] == "stale"
    Path("outputs/demo/notebooks/02_middle.ipynb").unlink()
    assert states(path)["02_middle"] == "missing"


def test_failure_stops_what_stands_on_it_and_nothing_else(project):
    write_notebook("01_low", "#| default_exp low", "1/0")
    write_notebook("02_middle", "#| default_exp middle", "from rbdm_nb.low import x")
    write_notebook("03_other", "import os")
    outcomes = run_set(write_set("notebooks: {01_low: , 02_middle: , 03_other: }\n"))
    assert [o.status for o in outcomes] == ["failed", "stopped", "done"]
    assert not Path("outputs/demo/notebooks/02_middle.ipynb").exists()


def test_dead_kernel_counts_as_failure(project):
    write_notebook("01_dies", "print('so far')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "print('never')")
    outcome, = run_set(write_set("notebooks: {01_dies: }\n"))
    assert outcome.status == "failed" and "DeadKernel" in outcome.why
    cells = nbformat.read("outputs/demo/notebooks/01_dies.ipynb", as_version=4).cells
    assert [c.metadata.papermill.status for c in cells] == ["completed", "completed", "completed", "failed", "pending"]
    assert "so far" in str(cells[2].outputs) and cells[3].outputs[0].ename == "DeadKernel"


def test_time_limit_is_for_the_notebook(project):
    write_notebook("01_slow", *["import time\ntime.sleep(5)"]*5)
    outcome, = run_set(write_set("timeout: 12\nnotebooks: {01_slow: }\n"))
    assert outcome.status == "failed" and "Timeout" in outcome.why
    cells = nbformat.read("outputs/demo/notebooks/01_slow.ipynb", as_version=4).cells
    statuses = [c.metadata.papermill.status for c in cells]
    assert statuses.count("failed") == 1 and statuses[-1] == "pending" and record("01_slow")["status"] == "failed"


def test_progress_within_a_cell_is_shown(project):
    write_notebook("01_slow", "import json, os, time\nfor n in range(3):\n    with open(os.environ['RBDM_PROGRESS'], 'w') as f: json.dump(dict(desc='epoch', n=n, total=3, rate=2), f)\n    time.sleep(0.8)")
    import io
    from rbdm_nb.runner import Display
    run, = pipeline.runs(pipeline.read_set(write_set("notebooks: {01_slow: }\n")))
    log = io.StringIO()
    execute(run, display=Display(1, log, every=0.1))
    assert "epoch 2/3, 2.0/s" in log.getvalue()


def _runner(project):
    "A runner in a process of its own."
    code = "from rbdm_nb.runner import run_set; run_set('params/demo.yaml', force=True)"
    return subprocess.Popen([sys.executable, "-c", code], cwd=project, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_for(path, seconds=300):
    end = time.monotonic() + seconds
    while not Path(path).exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.05)


def test_a_killed_runner_leaves_no_half_written_notebook(project):
    for module in ("__init__", "low", "middle", "high"): Path(f"rbdm_nb/{module}.py").unlink()
    Path("rbdm_nb").rmdir()  # the runner's own package must be found
    big = "print('x'*3_000_000)\nopen('here', 'w').close()\nimport time\ntime.sleep(30 if open('long').read() == 'yes' else 0)"
    write_notebook("01_low", big)
    path, copy = write_set("notebooks: {01_low: }\n"), Path("outputs/demo/notebooks/01_low.ipynb")
    Path("long").write_text("no")
    assert [o.status for o in run_set(path)] == ["done"]
    before, kept = copy.read_bytes(), record("01_low")
    Path("here").unlink()
    Path("long").write_text("yes")
    runner = _runner(project)
    try:
        _wait_for("here")
        with pytest.raises(ValueError, match="another `rbdm run` works in outputs/demo"): run_set(path)
    finally:
        runner.send_signal(signal.SIGKILL)
        runner.wait()
    assert copy.read_bytes() == before and record("01_low") == kept and states(path) == {"01_low": "there"}
    Path("long").write_text("no")
    assert [o.status for o in run_set(path, force=True)] == ["done"]
    assert not list(copy.parent.glob(".*"))


def test_a_runner_that_is_asked_to_stop_says_so_in_the_record(project):
    for module in ("__init__", "low", "middle", "high"): Path(f"rbdm_nb/{module}.py").unlink()
    Path("rbdm_nb").rmdir()
    write_notebook("01_low", "open('here', 'w').close()\nimport time\ntime.sleep(30)")
    path = write_set("notebooks: {01_low: }\n")
    runner = _runner(project)
    _wait_for("here")
    runner.terminate()
    assert runner.wait(20) == 143
    assert record("01_low")["error"]["name"] == "Interrupted" and states(path) == {"01_low": "failed"}

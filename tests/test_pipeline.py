"The runner on small projects: order, failure, time limits, interruption, states."
import io, json, os, signal, subprocess, sys, textwrap, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest

from rbdm_nb import code
from rbdm_nb.roof import pipeline
from rbdm_nb.roof.runner import Display, execute, run_set

REPOSITORY = Path(__file__).resolve().parents[1]
COMMON = ('output: str = "outputs/demo"  # folder of results\nmask: str = "mean"  # what to hide; one of: none, mean, '
          'negative\nrate: float = 0.5  # learning rate\n')


def write_notebook(name, *cells, parameters=COMMON):
    "nbs/<name>.ipynb with code `cells`; the parameters cell comes first."
    make = nbformat.v4.new_code_cell
    first = [make(parameters, metadata={"tags": ["parameters"]})] if parameters else []
    spec = dict(kernelspec=dict(name="python3", language="python", display_name="python3"))
    nbformat.write(nbformat.v4.new_notebook(cells=[*first, *map(make, cells)], metadata=spec), f"nbs/{name}.ipynb")


def write_set(text, name="demo"):
    Path(f"params/sets/{name}.yaml").write_text(f"name: {name}\n" + textwrap.dedent(text))
    return f"params/sets/{name}.yaml"


@pytest.fixture
def project(tmp_path, monkeypatch):
    "An empty project with three modules beside the package's own, as the working folder."
    (tmp_path/"settings.ini").write_text("[DEFAULT]\nlib_name = rbdm_nb\n")
    for folder in ("nbs", "params/sets", "rbdm_nb"): (tmp_path/folder).mkdir(parents=True)
    (tmp_path/"rbdm_nb"/"__init__.py").write_text(f"__path__.append({str(REPOSITORY/'rbdm_nb')!r})\n")
    for module in ("low", "middle", "high"): (tmp_path/"rbdm_nb"/f"{module}.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IN_TEST", raising=False)
    return tmp_path


# for cells: save a result; wait for another notebook, which in vain is an error
SAVE = ("from types import SimpleNamespace\nfrom rbdm_nb.project import save_text\nsave = lambda text, name: "
        "save_text(text, SimpleNamespace(output=output), name)\n")
WAIT = """import os, time
def tell(name): open(name, "w").close()
def wait(name, end=time.monotonic() + 60):
    while not os.path.exists(name):
        assert time.monotonic() < end, f"{name} did not come"
        time.sleep(0.05)
"""


def record(run, folder="outputs/demo"): return json.loads(Path(folder, "provenance", f"{run}.json").read_text())
def states(path, **options):
    return {r.name: pipeline.state(r).state for r in pipeline.runs(pipeline.read_set(path), **options)}


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
    with pytest.raises(ValueError, match="no order.*01_low.*02_high|no order.*02_high.*01_low"):
        run_set(write_set("notebooks: {01_low: , 02_high: }\n"))


# --- what is refused

@pytest.mark.parametrize("text, message", [
    ("notebooks:\n  01_low: {maks: mean}\n",
     r"params/sets/demo.yaml:3: unknown parameter 'maks'; did you mean 'mask'\?"),
    ("shared: {raet: 1}\nnotebooks:\n  01_low:\n",
     r"params/sets/demo.yaml:2: unknown parameter 'raet'; did you mean 'rate'\?"),
    ("notebooks:\n  01_low:\n    - {rate: 1}\n    - rate: fast\n",
     r"params/sets/demo.yaml:5: rate must be float, got 'fast'"),
    ("notebooks:\n  01_low: {mask: men}\n",
     r"params/sets/demo.yaml:3: mask must be one of none, mean, negative, got 'men'; did you mean 'mean'\?"),
    ("notebooks:\n  01_lwo:\n", r"params/sets/demo.yaml:3: no notebook '01_lwo'; did you mean '01_low'\?"),
    ("notbooks:\n  01_low:\n",
     r"params/sets/demo.yaml:\d: (key 'notebooks' is missing|unknown key 'notbooks'; did you mean 'notebooks'\?)"),
    ("notebooks:\n  01_low: {mask: mean, mask: none}\n", r"params/sets/demo.yaml:3: key 'mask' is given twice"),
    ("notebooks:\n  01_low: [{mask: mean}, {mask: mean}]\n",
     r"params/sets/demo.yaml:3: the same run of 01_low is listed twice"),
    ("timeout: -1\nnotebooks:\n  01_low:\n", r"params/sets/demo.yaml:2: timeout: .*greater than 0"),
    ("notebooks:\n  01_low: {output: elsewhere}\n", r"params/sets/demo.yaml:3: output follows from the set's name"),
    ("notebooks: {}\n", r"params/sets/demo.yaml:2: notebooks must hold at least one"),
    ("notebooks: [01_low]\n", r"params/sets/demo.yaml:2: notebooks"),
    ("notebooks:\n  01_low: {mask: [a\n", r"params/sets/demo.yaml:\d: not YAML"),
])
def test_refused_parameter_sets_name_the_line(project, text, message):
    write_notebook("01_low", "#| default_exp low")
    with pytest.raises(ValueError, match=message): run_set(write_set(text))
    assert not Path("outputs").exists()


def test_name_must_be_that_of_the_file(project):
    write_notebook("01_low")
    Path("params/sets/mine.yaml").write_text("name: demo\nnotebooks: {01_low: }\n")
    with pytest.raises(ValueError, match="params/sets/mine.yaml:1: name is 'demo', but the file is mine.yaml"):
        run_set("params/sets/mine.yaml")


@pytest.mark.parametrize("change, message", [
    ("maks=mean", r"unknown parameter 'maks'; did you mean 'mask'\?"), ("mask=men", "mask must be one of"),
    ("rate=fast", "rate must be float"),
    ("01_lwo.mask=mean", r"no notebook '01_lwo' is to run; did you mean '01_low'\?"), ("mask", "write name=value"),
    ("output=x", "output follows from")])
def test_refused_changes(project, change, message):
    write_notebook("01_low")
    with pytest.raises(ValueError, match=message): run_set(write_set("notebooks: {01_low: }\n"), changes=[change])
    assert not Path("outputs").exists()


def test_numbers_that_yaml_reads_as_text(project):
    write_notebook("01_low")
    run, = pipeline.runs(pipeline.read_set(write_set("notebooks: {01_low: {rate: 1e-3}}\n")))
    assert run.parameters["rate"] == 0.001
    run, = pipeline.runs(pipeline.read_set("params/sets/demo.yaml"), changes=["rate=2e-3"])
    assert run.parameters["rate"] == 0.002


def test_changes_make_one_run_of_several(project):
    write_notebook("01_low")
    params = pipeline.read_set(write_set("notebooks:\n  01_low: [{mask: none}, {mask: mean}]\n"))
    assert [r.name for r in pipeline.runs(params)] == ["01_low.mask=none", "01_low.mask=mean"]
    assert [r.name for r in pipeline.runs(params, changes=["mask=negative"])] == ["01_low.mask=negative"]
    assert [r.name for r in pipeline.runs(params, only=["01_low.mask=mean"])] == ["01_low.mask=mean"]
    # mean is the default
    params = pipeline.read_set(write_set("notebooks:\n  01_low: [{}, {mask: mean}, {mask: none}, {rate: 2}]\n"))
    assert [r.parameters["mask"] for r in pipeline.runs(params)] == ["mean", "none", "mean"]
    assert [(r.parameters["mask"], r.parameters["rate"])
            for r in pipeline.runs(params, changes=["mask=negative"])] == [("negative", 0.5), ("negative", 2)]


def test_the_projects_own_sets_are_valid(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    known = pipeline.notebooks()
    for path in sorted(Path("params/sets").glob("*.yaml")):
        if "notebooks:" in path.read_text(): assert pipeline.runs(pipeline.read_set(path, known), known), path


# --- running

def test_a_set_from_start_to_end(project):
    write_notebook("01_low", "#| default_exp low", SAVE + "save(mask, 't.csv')")
    write_notebook("02_middle", "#| default_exp middle\nimport os\nfrom rbdm_nb.low import x",
                   "print('in', os.getcwd(), 'test mode', 'IN_TEST' in os.environ)")
    write_notebook("03_fails", "from rbdm_nb.low import x\nprint('so far')", "raise RuntimeError('over\\nand out')",
                   "print('never')")
    write_notebook("04_high", "#| default_exp high", "from rbdm_nb.middle import x")
    path = write_set("notebooks:\n  01_low: {mask: none}\n  02_middle:\n  03_fails:\n  04_high: {rate: 1}\n")

    outcomes = {o.run.name: o for o in run_set(path)}
    assert {n: o.status for n, o in outcomes.items()} == {"01_low": "done", "02_middle": "done", "03_fails": "failed",
                                                          "04_high": "done"}
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
    assert why["02_middle"] == "module low changed" and "over and out; since then: module low changed" in why[
        "03_fails"]
    Path("rbdm_nb/low.py").write_text("'''Doc.'''\nx = 1  # as it was\n")
    assert states(path)["01_low"] == "there"
    Path("outputs/demo/tables/t.csv").unlink()
    assert states(path)["01_low"] == "missing"
    assert states(path, changes=["04_high.rate=2"])["04_high"] == "stale"
    write_notebook("04_high", "#| default_exp high", "from rbdm_nb.middle import x", "print(1)")
    assert states(path)["04_high"] == "stale"
    Path("outputs/demo/notebooks/02_middle.ipynb").unlink()
    assert states(path)["02_middle"] == "missing"


@pytest.mark.parametrize("jobs", [1, 3])
def test_failure_stops_what_stands_on_it_and_nothing_else(project, jobs):
    write_notebook("01_low", "#| default_exp low", "1/0")
    write_notebook("02_middle", "#| default_exp middle", "from rbdm_nb.low import x")
    write_notebook("03_other", "import os")
    outcomes = run_set(write_set("notebooks: {01_low: , 02_middle: , 03_other: }\n"), jobs=jobs)
    assert [o.status for o in outcomes] == ["failed", "stopped", "done"]
    assert not Path("outputs/demo/notebooks/02_middle.ipynb").exists()


def test_dead_kernel_counts_as_failure(project):
    write_notebook("01_dies", "print('so far')", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
                   "print('never')")
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
    write_notebook("01_slow", "import json, os, time\nfor n in range(3):\n    with open(os.environ['RBDM_PROGRESS'], "
                              "'w') as f: json.dump(dict(desc='epoch', n=n, total=3, rate=2), f)\n    time.sleep(0.8)")
    run, = pipeline.runs(pipeline.read_set(write_set("notebooks: {01_slow: }\n")))
    log = io.StringIO()
    execute(run, display=Display(1, log, every=0.1))
    assert "epoch 2/3, 2.0/s" in log.getvalue()


def _runner(project, jobs=1):
    "A runner in a process of its own."
    code = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from rbdm_nb.roof.runner import "
            f"run_set; run_set('params/sets/demo.yaml', force=True, jobs={jobs})")
    return subprocess.Popen([sys.executable, "-c", code], cwd=project,
                            env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)


def _wait_for(path, seconds=300):
    end = time.monotonic() + seconds
    while not Path(path).exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.05)


def test_a_killed_runner_leaves_no_half_written_notebook(project):
    for module in ("__init__", "low", "middle", "high"): Path(f"rbdm_nb/{module}.py").unlink()
    Path("rbdm_nb").rmdir()  # the runner's own package must be found
    big = ("print('x'*3_000_000)\nopen('here', 'w').close()\nimport time\ntime.sleep(30 if open('long').read() == "
           "'yes' else 0)")
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


def test_a_result_that_no_run_lists_is_named(project):
    write_notebook("01_low", SAVE + "save('1', 'mine.csv')\nopen(f'{output}/tables/nobodys.csv', 'w').close()")
    path, log = write_set("notebooks: {01_low: }\n"), io.StringIO()
    run_set(path, stream=log)
    assert list(record("01_low")["outputs"]) == ["tables/mine.csv"]
    assert "tables/nobodys.csv is in no record" in log.getvalue() and "mine.csv is" not in log.getvalue()


# --- side by side

@pytest.mark.parametrize("jobs", [0, -1, 1.5, "2", None])
def test_refused_numbers_of_jobs(project, jobs):
    write_notebook("01_low")
    with pytest.raises(ValueError, match="jobs must be a whole number from 1 on"):
        run_set(write_set("notebooks: {01_low: }\n"), jobs=jobs)
    assert not Path("outputs").exists()


def test_runs_overlap_keep_their_order_and_own_what_they_save(project):
    "Two runs of 02_middle wait for each other; 03_high needs both, 04_alone none. Names sort against the order."
    write_notebook("05_low", "#| default_exp low", WAIT + "time.sleep(1)\ntell('low')")
    write_notebook("02_middle", "#| default_exp middle", "#| export\nfrom rbdm_nb.low import x",
                   SAVE + WAIT + "assert os.path.exists('low')",
                   "other = dict(none='mean', mean='none')[mask]\nsave(mask, "
                   "f'first_{mask}.csv')\ntell(mask)\nwait(other)",
                   "save(mask, f'second_{mask}.csv')\ntell(f'{mask}.over')\nprint(os.environ['RBDM_PROGRESS'])")
    write_notebook("03_high", "#| default_exp high", "from rbdm_nb.middle import x",
                   WAIT + "assert os.path.exists('none.over') and os.path.exists('mean.over')")
    write_notebook("04_alone", "import os")
    path, log = (write_set("notebooks:\n  03_high:\n  02_middle: [{mask: none}, {mask: mean}]\n  05_low:\n  "
                           "04_alone:\n"), io.StringIO())
    before = dict(os.environ)
    outcomes = run_set(path, jobs=3, stream=log)
    assert [(o.run.name, o.status, o.why) for o in outcomes] == [(n, "done", "")
                                                                 for n in ("04_alone", "05_low", "02_middle.mask=none",
                                                                           "02_middle.mask=mean", "03_high")]
    for mask in ("none", "mean"):
        assert list(record(f"02_middle.mask={mask}")["outputs"]) == [f"tables/first_{mask}.csv",
                                                                     f"tables/second_{mask}.csv"]
    assert record("03_high")["outputs"] == {} and dict(os.environ) == before and Path.cwd() == project
    lines = log.getvalue().splitlines()
    assert all(sum(f"[{i}/5] {o.run.name}: " in line for line in lines) == 2 for i,
               o in enumerate(outcomes, 1)) and len(lines) == 10
    assert set(states(path).values()) == {"there"}


def test_sources_are_parsed_one_at_a_time(monkeypatch):
    "In two threads at once, ast.parse of Python 3.11 fails now and then."
    parse, inside, most = code.ast.parse, [], []
    def slow(source):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return parse(source)
    monkeypatch.setattr(code.ast, "parse", slow)
    with ThreadPoolExecutor(4) as pool: list(pool.map(code.source_digest, ["x = 1"]*8))
    assert most == [1]*8


def test_results_do_not_depend_on_the_number_of_jobs(project):
    write_notebook("01_low", "#| default_exp low", SAVE + "save(f'{mask} {rate}', f'{mask}.csv')")
    write_notebook("02_middle", "from rbdm_nb.low import x",
                   SAVE + "from pathlib import Path\nsave(''.join(f.read_text() for f in sorted(Path(output, "
                          "'tables').glob('*.csv'))), 'all.txt')")
    path = write_set("notebooks:\n  01_low: [{mask: none}, {mask: mean}]\n  02_middle:\n")
    kept = []
    for jobs in (1, 2):
        outcomes = run_set(path, jobs=jobs, force=True)
        records = [record(o.run.name) for o in outcomes]
        kept.append([(o.run.name, o.status, r["outputs"], r["made_from"]) for o, r in zip(outcomes, records)])
    assert kept[0] == kept[1] and list(kept[0][-1][2]) == ["tables/all.txt"]


def test_who_waits_for_a_thing_that_another_run_makes_says_so(project):
    entry = "from rbdm_nb.store import Store\nentry = Store(f'{output}/store').entry('maps', method='deep_taylor')\n"
    write_notebook("01_makes", WAIT + entry
                   + "with entry.lock():\n    tell('held')\n    wait('seen')\n    entry.finish(images=3)")
    write_notebook("02_waits", WAIT + entry + "wait('held')\nwith entry.lock(): assert entry.complete")

    class Log(io.StringIO):
        "Lets the one go on when the other has said that it waits."
        def write(self, text):
            if "waiting for maps" in text: Path("seen").touch()
            return super().write(text)
    log = Log()
    assert [o.status for o in run_set(write_set("notebooks: {01_makes: , 02_waits: }\n"), jobs=2,
                                      stream=log)] == ["done", "done"]
    assert ("[2/2] 02_waits: cell 3/3, waiting for maps" in log.getvalue()
            and "which another run is making" in log.getvalue())


def _alive(pid):
    "Whether process `pid` runs; one that is over and only not yet collected does not."
    try: return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError): return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks /proc which processes there are")
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_a_stopped_runner_leaves_records_and_no_kernels(project, number, status):
    for module in ("__init__", "low", "middle", "high"): Path(f"rbdm_nb/{module}.py").unlink()
    Path("rbdm_nb").rmdir()
    cell = ("import os, subprocess, time\nchild = subprocess.Popen(['sleep', '60'])\nwith open('.new' + mask, 'w') as "
            "f: f.write(f'{os.getpid()} {child.pid}')\nos.rename('.new' + mask, mask)\ntime.sleep(60)")
    write_notebook("01_low", cell)
    path = write_set("notebooks:\n  01_low: [{mask: none}, {mask: mean}, {mask: negative}]\n")
    runner = _runner(project, jobs=2)
    for mask in ("none", "mean"): _wait_for(mask)
    runner.send_signal(number)
    time.sleep(0.2)
    runner.send_signal(number)   # impatience changes nothing
    assert runner.wait(60) == status
    assert not any(_alive(pid) for mask in ("none", "mean") for pid in Path(mask).read_text().split())
    for mask in ("none", "mean"):
        assert record(f"01_low.mask={mask}")["error"]["name"] == "Interrupted"
        assert nbformat.read(f"outputs/demo/notebooks/01_low.mask={mask}.ipynb",
                             as_version=4).cells[-1].metadata.papermill.status == "failed"
    assert states(path) == {"01_low.mask=none": "failed", "01_low.mask=mean": "failed",
                            "01_low.mask=negative": "missing"} and not Path("negative").exists()
    assert not list(Path("outputs/demo/notebooks").glob(".*"))


def test_each_running_notebook_has_a_line_in_a_terminal():
    class Terminal(io.StringIO):
        def isatty(self): return True
    screen = Terminal()
    display = Display(3, screen)
    none, mean = display.start(1, "06_trainee.mask=none", 4), display.start(2, "06_trainee.mask=mean", 4)
    none.inner(dict(desc="epoch", n=1, total=3, rate=2))
    mean.cell()
    # the second line is below the first
    assert "\n" in screen.getvalue() and "[2/3] 06_trainee.mask=mean" in screen.getvalue().rpartition("\n")[2]
    none.end("done in 0:07")
    mean.end("failed in 0:08")
    text = screen.getvalue()
    assert "[1/3] 06_trainee.mask=none |" in text and "epoch 1/3, 2.0/s" in text and "1/4 cells" in text
    assert "[1/3] 06_trainee.mask=none: done in 0:07\n" in text and text.rstrip().endswith(
        "[2/3] 06_trainee.mask=mean: failed in 0:08")

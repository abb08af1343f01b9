"""Runs on a Dask cluster: two workers on this machine, one of them killed in the middle; and a real SLURM, where it
is installed."""
import io, json, os, shutil, signal, socket, subprocess, sys, threading, time
from pathlib import Path

import nbformat
import numpy as np
import pytest

distributed = pytest.importorskip("distributed")
from rbdm_nb.roof.runner import run_set

REPOSITORY = Path(__file__).resolve().parents[1]
PARAMETERS = 'output: str = "outputs/demo"  # folder of results\nn: int = 0  # a number'
SAVE = """from types import SimpleNamespace
from rbdm_nb.project import save_text
import os, time, socket
with open(f"began_{n}", "a") as f: f.write(f"{os.getppid()}\\n")
"""
# keeps ten rows in the store, slowly
ROWS = """import numpy as np
from rbdm_nb.store import Store, resumable_array
entry = Store(f"{output}/store").entry("rows", n=n)
def compute(start, stop):
    with open(f"rows_{n}", "a") as f: f.write(f"{start}\\n")
    time.sleep(0.3)
    return np.arange(start, stop, dtype="int64")*(n + 1)
with entry.lock():
    if not entry.complete:
        rows = resumable_array(entry, "rows", (10,), "int64", 1, compute)
        entry.finish()
save_text(str(entry.array("rows")[:].tolist()), SimpleNamespace(output=output), f"rows_{n}.txt")
"""
# keeps twelve rows in the store, together with all runs that do so at the same time
SHARED = """import numpy as np
from rbdm_nb.store import Store, resumable_array
shared = Store(f"{output}/store").entry("shared", what="maps")
def make(start, stop):
    with open("shared", "a") as f: f.write(f"{start} {os.getpid()}\\n")
    time.sleep(0.3)
    return np.arange(start, stop)**2
if not shared.complete:
    resumable_array(shared, "maps", (24,), "int64", 2, make)
    shared.finish()
save_text(str(shared.array("maps")[:].tolist()), SimpleNamespace(output=output), f"shared_{n}.txt")
"""


def write_notebook(name, *cells):
    make, spec = nbformat.v4.new_code_cell, dict(kernelspec=dict(name="python3", language="python",
                                                                 display_name="python3"))
    first = make(PARAMETERS, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[first, *map(make, cells)], metadata=spec), f"nbs/{name}.ipynb")


@pytest.fixture
def project(tmp_path, monkeypatch):
    "A project with one notebook of four runs, and a cluster of two workers on this machine."
    (tmp_path/"settings.ini").write_text("[DEFAULT]\nlib_name = rbdm_nb\n")
    for folder in ("nbs", "params/sets", "clusters"): (tmp_path/folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IN_TEST", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    Path("clusters/local.yaml").write_text("kind: local\nworkers: 2\nresources: {memory: 1 GB}\n")
    Path("params/sets/demo.yaml").write_text("name: demo\nresources: {memory: 500 MB}\nnotebooks:\n  01_rows: [{n: 1}, "
                                             "{n: 2}, {n: 3}]\n")
    write_notebook("01_rows", SAVE, ROWS)
    return tmp_path


def results(): return {f.name: f.read_text() for f in sorted(Path("outputs/demo/tables").glob("*"))}
def made(n): return json.loads(Path(f"outputs/demo/provenance/01_rows.n={n}.json").read_text())["outputs"]
def rows(n): return Path(f"rows_{n}").read_text().split()


EXPECTED = {f"rows_{n}.txt": str([i*(n + 1) for i in range(10)]) for n in (1, 2, 3)}


def test_two_workers_make_what_two_threads_make(project):
    log = io.StringIO()
    assert [o.status for o in run_set("params/sets/demo.yaml", cluster="local",
                                      stream=log)] == ["done"]*3, log.getvalue()
    there, digests = results(), [made(n) for n in (1, 2, 3)]
    assert there == EXPECTED and all(rows(n) == [str(i) for i in range(10)] for n in (1, 2, 3))
    # the kernels are the workers'
    assert str(os.getpid()) not in {Path(f"began_{n}").read_text().strip() for n in (1, 2, 3)}
    assert "2 workers at " in log.getvalue() and log.getvalue().count("done in") == 3
    assert [o.status for o in run_set("params/sets/demo.yaml", cluster="local")] == ["there"]*3
    shutil.rmtree("outputs")
    assert [o.status for o in run_set("params/sets/demo.yaml", jobs=2)] == ["done"]*3
    assert (results(), [made(n) for n in (1, 2, 3)]) == (there, digests)


def kill_in_the_middle():
    "Kill the worker of the first run, once that has kept three rows."
    end = time.monotonic() + 100
    while not (Path("rows_1").exists() and len(rows(1)) > 3):
        if time.monotonic() > end: return
        time.sleep(0.02)
    os.kill(int(Path("began_1").read_text()), signal.SIGKILL)


def test_a_killed_worker_loses_nothing_and_does_nothing_twice(project):
    log, killer = io.StringIO(), threading.Thread(target=kill_in_the_middle)
    killer.start()
    outcomes = run_set("params/sets/demo.yaml", cluster="local", stream=log)
    killer.join()
    assert [o.status for o in outcomes] == ["done"]*3, log.getvalue()
    assert results() == EXPECTED and "its worker was lost; begins again" in log.getvalue()
    assert len(Path("began_1").read_text().split()) == 2 and len(Path("began_2").read_text().split()) == 1
    assert len(set(rows(1))) == 10 and len(rows(1)) <= 11    # at most the row that it was in
    assert len(rows(2)) == 10 and not list(Path("outputs/demo/notebooks").glob(".*"))


def kill_at(seconds, which):
    """Kill one of the workers, `seconds` after the first run has begun: that of the first or of the last run that has
    begun by then."""
    end = time.monotonic() + 100
    while not list(Path().glob("began_*")):
        if time.monotonic() > end: return
        time.sleep(0.02)
    time.sleep(seconds)
    workers = [int(pid) for f in sorted(Path().glob("began_*")) for pid in f.read_text().split()]
    try: os.kill(workers[which], signal.SIGKILL)
    except ProcessLookupError: return
    Path("killed").touch()


SHARED_RESULT = str([i**2 for i in range(24)])
MOMENTS = int(os.environ.get("RBDM_MOMENTS", 2))    # ten take about two minutes


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_a_worker_killed_at_any_moment(project, moment):
    write_notebook("01_rows", SAVE, SHARED, ROWS.replace("0.3", "0.1"))
    draw, log = np.random.default_rng(moment), io.StringIO()
    killer = threading.Thread(target=kill_at, args=(draw.uniform(0, 5), draw.choice([0, -1])))
    killer.start()
    outcomes = run_set("params/sets/demo.yaml", cluster="local", stream=log)
    killer.join()
    assert Path("killed").exists() and [o.status for o in outcomes] == ["done"]*3, log.getvalue()
    assert results() == EXPECTED | {f"shared_{n}.txt": SHARED_RESULT for n in (1, 2, 3)}
    made = [line.split()[0] for line in Path("shared").read_text().splitlines()]
    again = log.getvalue().count("its worker was lost; begins again")
    assert {*map(int, made)} == {*range(0, 24, 2)} and again <= 1
    twice = len(made) - 12 + sum(len(rows(n)) - 10 for n in (1, 2, 3))
    assert 0 <= twice <= again and all(len(set(rows(n))) == 10 for n in (1, 2, 3))    # the one it was in
    assert [o.status for o in run_set("params/sets/demo.yaml")] == ["there"]*3


@pytest.mark.parametrize("machines", [dict(jobs=2), dict(cluster="local")])
def test_notebooks_that_work_together_share_an_array(project, machines):
    "The second stands on the first, and does not wait for it; the third does."
    write_notebook("01_rows", "#| default_exp rows", "#| export\nx = 1", SAVE, SHARED)
    write_notebook("02_more", "if 0: from rbdm_nb.rows import x", SAVE, SHARED)
    write_notebook("03_last", "if 0: from rbdm_nb.rows import x", SAVE)
    Path("params/sets/demo.yaml").write_text("name: demo\ntogether: [01_rows, 02_more]\n"
                                             "notebooks: {01_rows: {n: 1}, 02_more: {n: 2}, 03_last: {n: 3}}\n")
    assert [o.status for o in run_set("params/sets/demo.yaml", **machines)] == ["done"]*3
    starts, makers = zip(*(line.split() for line in Path("shared").read_text().splitlines()))
    assert sorted(map(int, starts)) == list(range(0, 24, 2)) and len({*makers}) == 2
    assert results() == {f"shared_{n}.txt": SHARED_RESULT for n in (1, 2)}
    begun = {n: json.loads(Path(f"outputs/demo/provenance/{n}.json").read_text()) for n in ("01_rows", "03_last")}
    assert begun["03_last"]["started"] >= begun["01_rows"]["started"]


def test_a_running_scheduler_by_its_address(project):
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        code = "from rbdm_nb.roof.cli import main; main(prog_name='rbdm')"
        run = [sys.executable, "-c", code, "run", "demo", "--cluster", cluster.scheduler_address]
        there = subprocess.run(run, capture_output=True, text=True)
        # resources are offered by nobody here, so nobody could take the runs
        assert there.returncode and "memory=500000000, which no worker of tcp://" in there.stderr
        path = Path("params/sets/demo.yaml")
        path.write_text(path.read_text().replace("resources: {memory: 500 MB}\n", ""))
        there = subprocess.run(run, capture_output=True, text=True)
        assert there.returncode == 0 and results() == EXPECTED, there.stdout + there.stderr
        assert "2 workers at tcp://" in there.stdout
        assert len(cluster.scheduler_info["workers"]) == 2    # it goes on: it is not the runner's
    gone = subprocess.run([*run[:-1], "tcp://127.0.0.1:1"], capture_output=True, text=True)
    assert gone.returncode and "no Dask scheduler answers at tcp://127.0.0.1:1" in gone.stderr


def test_a_stopped_runner_stops_its_workers(project):
    code = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from rbdm_nb.roof.runner import "
            "run_set; run_set('params/sets/demo.yaml', cluster='local')")
    runner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True)
    end = time.monotonic() + 100
    while not (Path("rows_1").exists() and Path("rows_2").exists()):
        assert time.monotonic() < end and runner.poll() is None
        time.sleep(0.05)
    os.killpg(runner.pid, signal.SIGINT)    # as a terminal does
    assert runner.wait(60) == -signal.SIGINT
    for n in (1, 2):
        record = json.loads(Path(f"outputs/demo/provenance/01_rows.n={n}.json").read_text())
        assert (record["status"], record["error"]["name"]) == ("failed", "Interrupted")
    assert not Path("rows_3").exists()
    before = {n: len(rows(n)) for n in (1, 2)}
    assert [o.status for o in run_set("params/sets/demo.yaml", cluster="local")] == ["done"]*3    # goes on
    assert results() == EXPECTED and all(len(rows(n)) <= 11
                                         for n in (1, 2)) and all(0 < k < 10 for k in before.values())


def test_a_failing_notebook_fails_as_here(project):
    write_notebook("01_rows", "1/(n - 1)")
    outcomes = run_set("params/sets/demo.yaml", cluster="local")
    assert [o.status for o in outcomes] == ["failed", "done",
                                            "done"] and outcomes[0].why.endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize("change, message", [
    (("resources: {memory: 500 MB}", "resources: {memory: 2 GB}"),
     "a run asks for memory=2000000000, which no worker of .*local.yaml has"),
    (("resources: {memory: 500 MB}", "resources: {01_rows: {gpu: 1}}"), "a run asks for gpu=1, which no worker"),
    (("resources: {memory: 500 MB}", "resources: {01_row: {gpu: 1}}"),
     "demo.yaml:2: no notebook '01_row' in this set; did you mean '01_rows'"),
    (("resources: {memory: 500 MB}", "together: [01_rows, 01_row]"),
     "demo.yaml:2: no notebook '01_row' in this set; did you mean '01_rows'"),
    (("resources: {memory: 500 MB}", "resources: {memory: much}"),
     "demo.yaml:2: .*write a number or an amount such as 8 GB")])
def test_what_no_worker_has_is_refused(project, change, message):
    path = Path("params/sets/demo.yaml")
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ValueError, match=message): run_set(path, cluster="local")
    assert not Path("outputs/demo/notebooks").exists()


# --- SLURM

SLURM = """ClusterName=test
SlurmctldHost={host}
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
AuthType=auth/munge
SlurmUser=root
SlurmctldPort={port}
SlurmdPort={other}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture
def slurm(tmp_path_factory, monkeypatch):
    "A SLURM of one node, this machine: slurmctld, slurmd, and munged where none runs."
    wanted = ("slurmctld", "slurmd", "sbatch", "munged")
    if os.getuid() or any(shutil.which(name, path="/usr/sbin:/usr/bin") is None for name in wanted):
        pytest.skip("SLURM is not installed, or cannot be started by this user")
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().split(".")[0]
    for part in ("state", "spool"): (folder/part).mkdir()
    (folder/"slurm.conf").write_text(SLURM.format(host=host, cpus=os.cpu_count(), folder=folder, port=free_port(),
                                                  other=free_port()))
    monkeypatch.setenv("SLURM_CONF", str(folder/"slurm.conf"))
    started, own = [], subprocess.run(["munge", "-n"], capture_output=True).returncode != 0
    if own:
        Path("/run/munge").mkdir(exist_ok=True)
        shutil.chown("/run/munge", "munge", "munge")
        subprocess.run(["runuser", "-u", "munge", "--", "/usr/sbin/munged"], check=True)
    logs = [open(folder/f"{name}.log", "w") for name in ("slurmctld", "slurmd")]
    for log, command in zip(logs, (["/usr/sbin/slurmctld", "-D"], ["/usr/sbin/slurmd", "-D", "-N", host])):
        started.append(subprocess.Popen(command, stdout=log, stderr=log))
    end = time.monotonic() + 60
    while b"idle" not in subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True).stdout:
        if time.monotonic() > end:
            pytest.fail((folder/"slurmctld.log").read_text()[-2000:] + (folder/"slurmd.log").read_text()[-2000:])
        time.sleep(0.5)
    yield
    subprocess.run(["scancel", "-u", "root"])
    for process in reversed(started):
        process.terminate()
        process.wait(30)
    if own: subprocess.run(["/usr/sbin/munged", "--stop"])


def test_a_set_runs_on_slurm(project, slurm):
    memory = ("options: {cores: 1, memory: 1 GB, walltime: '0:10:00', job_directives_skip: [--mem], interface: lo, "
              "log_directory: logs}")
    Path("clusters/slurm.yaml").write_text(f"kind: slurm\nworkers: 2\nresources: {{memory: 1 GB}}\n{memory}\n")
    log, killer = io.StringIO(), threading.Thread(target=kill_in_the_middle)
    killer.start()
    outcomes = run_set("params/sets/demo.yaml", cluster="slurm", stream=log)
    killer.join()
    assert [o.status for o in outcomes] == ["done"]*3, log.getvalue()
    assert results() == EXPECTED and len(set(rows(1))) == 10 and len(rows(1)) <= 11
    assert "its worker was lost; begins again" in log.getvalue()
    assert list(Path("logs").glob("dask-worker-*.err"))    # the jobs were there

"""Notebooks through plain papermill, as a reader runs them, from the project's folder and from nbs/."""
import re, shutil, subprocess, sys
import nbformat, pytest, yaml
from rbdm_nb.project import root

SMALL = dict(limit=64, trainer="MobileNetV2", trainer_size=48, trainer_epochs=1, trainer_limit=64, epochs=2,
             switch_epoch=1, baseline=False, mask="mean")


def papermill(notebook, target, cwd, **values):
    options = [part for name, value in values.items() for part in ("-p", name, str(value))]
    call = [sys.executable, "-m", "papermill", str(notebook), str(target), "--no-progress-bar", *options]
    return subprocess.run(call, cwd=cwd, capture_output=True, text=True, timeout=900)


def fingerprint(path):
    text = "".join(o.get("text", "") for c in nbformat.read(path, as_version=4).cells for o in c.get("outputs", []))
    return re.search(r"fingerprint (\w{64})", text)[1]


@pytest.fixture(scope="module")
def output():
    folder = root()/"outputs"/"test-papermill"
    yield "outputs/test-papermill"
    shutil.rmtree(folder, ignore_errors=True)


def test_from_both_folders_computing_upstream_once(tmp_path, output):
    first = papermill("nbs/06_trainee.ipynb", tmp_path/"a.ipynb", root(), output=output, **SMALL)
    assert first.returncode == 0, first.stderr[-3000:]
    kept = {d: d.stat().st_mtime_ns for d in (root()/output/"store").rglob("meta.json")}
    assert {d.parts[-3] for d in kept} == {"epoch", "maps", "masks"}
    second = papermill("06_trainee.ipynb", tmp_path/"b.ipynb", root()/"nbs", output=output, **SMALL)
    assert second.returncode == 0, second.stderr[-3000:]
    assert fingerprint(tmp_path/"a.ipynb") == fingerprint(tmp_path/"b.ipynb")
    assert {d: d.stat().st_mtime_ns for d in (root()/output/"store").rglob("meta.json")} == kept


@pytest.mark.parametrize("name, value, message", [
    ("maks", "mean", "did you mean 'mask'?"), ("mask", "maen", "did you mean 'mean'?"),
    ("epochs", "many", "epochs must be int")])
def test_a_mistyped_parameter_stops_the_notebook(tmp_path, name, value, message):
    done = papermill("nbs/06_trainee.ipynb", tmp_path/"out.ipynb", root(), **{name: value})
    assert done.returncode and message in done.stderr


def test_every_notebook_with_parameters_is_in_the_smoke_set():
    "Otherwise nbdev_test would run it at full size."
    def is_tagged(path):
        return any("parameters" in c.metadata.get("tags", []) for c in nbformat.read(path, as_version=4).cells)
    tagged = {n.stem for n in (root()/"nbs").glob("*.ipynb") if is_tagged(n)}
    assert tagged == set(yaml.safe_load((root()/"params"/"sets"/"smoke.yaml").read_text())["notebooks"])

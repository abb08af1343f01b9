"""Training that is killed, continued, branched and fed rubbish."""
import json, os, shutil, signal, subprocess, sys, time
from pathlib import Path
import pytest

RUN = [sys.executable, str(Path(__file__).with_name("training_run.py"))]
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(*args):
    done = subprocess.run([*RUN, *map(str, args)], capture_output=True, text=True, env=QUIET, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(l for l in done.stdout.splitlines() if l.startswith("FINGERPRINT"))


def finished_epochs(store): return len(list(Path(store).glob("epoch/*/meta.json")))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    store = tmp_path_factory.mktemp("undisturbed")
    return store, run(store, 4, 2)


def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path, undisturbed):
    process = subprocess.Popen([*RUN, str(tmp_path), "4", "2"], env=QUIET, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.time() + 300
    while finished_epochs(tmp_path) < 1 and process.poll() is None and time.time() < end: time.sleep(0.02)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 1 <= finished_epochs(tmp_path) < 4, "the run was to be killed after its first and before its last epoch"
    assert run(tmp_path, 4, 2) == undisturbed[1]


def test_runs_share_their_first_epochs(undisturbed):
    "Masked throughout and switched after two epochs: the first two epochs are there once."
    store, _ = undisturbed
    before = finished_epochs(store)
    run(store, 4, 4)
    assert (before, finished_epochs(store)) == (4, 4 + 2)


def test_a_dropped_state_is_computed_again_to_the_same_bits(undisturbed):
    store, line = undisturbed
    for state in Path(store).glob("epoch/*/state.npz"): state.unlink()
    assert run(store, 4, 2) == line


def test_damaged_epochs_are_computed_again_to_the_same_bits(undisturbed, tmp_path):
    store, line = undisturbed
    copy = tmp_path/"store"
    shutil.copytree(store, copy)
    epochs = sorted(copy.glob("epoch/*/meta.json"))
    assert len(epochs) >= 4
    for n, meta in enumerate(epochs):
        state, logits = meta.parent/"state.npz", meta.parent/"val_logits.npy"
        if state.exists(): state.write_bytes(state.read_bytes()[:1000 + n])
        if n % 3 == 0: meta.write_text("")
        if n % 3 == 1: logits.write_bytes(logits.read_bytes()[:-1] + b"x")
    assert run(copy, 4, 2) == line


def test_weights_that_differ_from_the_record_are_refused(undisturbed):
    store, _ = undisturbed
    for meta in Path(store).glob("epoch/*/meta.json"):
        record = json.loads(meta.read_text())
        record["meta"]["weights"] = "0" * 64
        meta.write_text(json.dumps(record))
        (meta.parent/"state.npz").unlink(missing_ok=True)
    done = subprocess.run([*RUN, str(store), "4", "2"], capture_output=True, text=True, env=QUIET)
    assert done.returncode and "delete that folder to start over" in done.stderr


def test_masks_that_do_not_fit_are_refused(tmp_path):
    from rbdm_nb.trainee import train
    class Few:
        size = 32
        def __len__(self): return 3
    class Corpus:
        def __len__(self): return 4
    with pytest.raises(ValueError, match="3 masks of 32 pixels a side do not fit 4 images of 48"): train(None, Corpus(), None, Few())

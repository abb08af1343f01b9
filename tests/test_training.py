"""Training that is killed, continued, branched and fed rubbish."""
import json, os, shutil, signal, subprocess, sys, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np, pytest, tensorflow as tf
from rbdm_nb.corpora.datasets import load
from rbdm_nb.networks.training import CrossEntropy, fit
from rbdm_nb.store import Store

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
    process = subprocess.Popen([*RUN, str(tmp_path), "4", "2"], env=QUIET, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
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
    with pytest.raises(ValueError, match="3 masks of 32 pixels a side do not fit 4 images of 48"):
        train(None, Corpus(), None, Few())


# --- objectives

@dataclass(frozen=True)
class Smoothed:
    """Label smoothing: an objective of one's own is one class. Half of what the priors say is added, where there are
    any."""
    share: float = 0.1

    def loss(self, model, images, labels, weights, priors=None):
        logits = model(images, training=True)
        wanted = tf.one_hot(labels, logits.shape[-1])*(1 - self.share) + self.share/logits.shape[-1]
        loss = tf.reduce_mean(weights*tf.nn.softmax_cross_entropy_with_logits(wanted, logits))
        return loss if priors is None else loss + tf.reduce_mean(priors)/2


@dataclass(frozen=True)
class Pulled:
    "Asks for the gradient of what the network computes within, as losses of attribution do."
    layer: str = "Conv1_relu"

    def loss(self, model, images, labels, weights, priors=None):
        both = tf.keras.Model(model.inputs, [model.get_layer(self.layer).output, model.outputs[0]])
        with tf.GradientTape() as tape:
            inner, logits = both(images, training=True)
            tape.watch(inner)
            chosen = tf.gather(logits, labels, batch_dims=1)
        attribution = tf.reduce_sum(inner*tape.gradient(chosen, inner), -1)
        usual = tf.keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        shrunk = tf.image.resize(priors[..., None], attribution.shape[1:3])[..., 0]
        return tf.reduce_mean(weights*usual) + tf.reduce_mean((attribution - shrunk)**2)


class Priors:
    "A map for each image, with an entry, as `fit` takes them."
    def __init__(self, store, maps):
        self.maps, self.shape, self.entry = maps, maps.shape, store.entry("priors", mean=float(maps.mean()))
    def __getitem__(self, index): return self.maps[index]


@pytest.fixture(scope="module")
def pair():
    return [load("synthetic", split=s, n=n, domain="wild", image_size=32) for s, n in (("train", 32), ("valid", 16))]


def fitted(store, pair, **settings):
    return fit(store, *pair, architecture="MobileNetV2", image_size=32, epochs=1, batch_size=16, bn_momentum=0.9,
               **settings)


def test_an_objective_is_one_class(tmp_path, pair):
    "Its name and each of its fields make another run; without smoothing it is cross-entropy."
    store = Store(tmp_path)
    usual, none, some = (fitted(store, pair, objective=o) for o in (CrossEntropy(), Smoothed(0.), Smoothed(0.3)))
    assert len({r.key for r in (usual, none, some)}) == 3
    assert none.curve.loss[0] == pytest.approx(usual.curve.loss[0], rel=1e-3)
    assert some.fingerprint != none.fingerprint and some.recipe["objective"] == dict(name="Smoothed", share=0.3)
    assert fitted(store, pair, objective=Smoothed(0.3)).key == some.key and finished_epochs(tmp_path) == 3


def test_an_objective_sees_the_images_maps(tmp_path, pair):
    "In the order of the batch; a constant is added to the loss and changes no weight."
    store, ones = Store(tmp_path), np.ones((32, 32, 32), "float32")
    without, one, more = (fitted(store, pair, objective=Smoothed(), priors=priors)
                          for priors in (None, Priors(store, ones), Priors(store, 3*ones)))
    assert one.curve.loss[0] == pytest.approx(without.curve.loss[0] + 0.5, abs=1e-5)
    assert more.curve.loss[0] == pytest.approx(without.curve.loss[0] + 1.5, abs=1e-5)
    assert len({r.key for r in (without, one, more)}) == 3
    assert one.fingerprint == more.fingerprint == without.fingerprint


def test_an_objective_may_ask_for_inner_gradients(tmp_path, pair):
    store = Store(tmp_path)
    near, far = (fitted(store, pair, objective=Pulled(), priors=Priors(store, np.full((32, 32, 32), v, "float32")))
                 for v in (0., 9.))
    assert np.isfinite(near.curve.loss[0]) and far.curve.loss[0] > near.curve.loss[0]
    assert near.fingerprint != far.fingerprint


@pytest.mark.parametrize("objective, priors, error, why", [
    (CrossEntropy, None, TypeError, "frozen dataclass"), (lambda *x: 0, None, TypeError, "frozen dataclass"),
    (CrossEntropy(), np.zeros((3, 32, 32)), ValueError, "map of each training image"),
    (CrossEntropy(), np.zeros((32, 9, 9)), ValueError, "map of each training image")])
def test_what_is_no_objective_is_refused(tmp_path, pair, objective, priors, error, why):
    with pytest.raises(error, match=why): fitted(Store(tmp_path), pair, objective=objective, priors=priors)

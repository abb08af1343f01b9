"Guidance by attributions: against torch, in chains that are stopped, at the edges, and where it must help."
import os, signal, subprocess, sys, time
from dataclasses import replace
from pathlib import Path
import numpy as np, pytest, tensorflow as tf
from guidance_run import SETTINGS, faces
from rbdm_nb.guidance.guidance import LOSSES, Guidance, Guided, attributed, guidance_loss, guided_fit
from rbdm_nb.guidance.priors import LandmarkPriors
from rbdm_nb.networks.training import learning_by
from rbdm_nb.store import Store
from torch_guidance import CASES, FIXTURE, LAYERS, by_torch, names

HERE = Path(__file__).parent
RUN = [sys.executable, str(HERE/"guidance_run.py")]
QUIET = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
CHANNELS = dict(all="all", half=.5)


# --- against torch

@pytest.fixture(scope="module")
def kept():
    with np.load(FIXTURE, allow_pickle=False) as file: return dict(file)


def network(made, dtype):
    "The fixture's network with its weights, in `dtype`."
    L = tf.keras.layers
    x = inputs = L.Input((16, 16, 3), dtype=dtype)
    for name in LAYERS:
        kernel = made[f"{name}_kernel"]
        x = L.Conv2D(kernel.shape[-1], 3, padding="same", activation="relu", name=name, dtype=dtype)(x)
        if name != "two": x = L.MaxPooling2D(2, dtype=dtype)(x)
    x = L.Flatten(dtype=dtype)(x)
    model = tf.keras.Model(inputs, L.Dense(made["logits_bias"].size, name="logits", dtype=dtype)(x))
    for name in (*LAYERS, "logits"):
        model.get_layer(name).set_weights([made[f"{name}_kernel"], made[f"{name}_bias"]])
    return model


def ours(model, made, case, dtype):
    "(Loss, {weight: gradient}) as guidance has them."
    layer, method, channels, output = case
    guidance = Guidance(layer=layer, method=method, channels=CHANNELS[channels], output=output)
    two = tf.keras.Model(model.inputs, [model.get_layer(layer).output, model.outputs[0]])
    variables = {f"{n}_{k}": v for n in (*LAYERS, "logits")
                 for k, v in zip(("kernel", "bias"), model.get_layer(n).trainable_variables)}
    with tf.GradientTape() as tape:
        a, _ = attributed(two, tf.constant(made["images"], dtype), tf.constant(made["labels"], tf.int32), guidance)
        loss, _ = guidance_loss(a, tf.constant(made[f"prior_{a.shape[1]}"], dtype), guidance)
    found = tape.gradient(loss, variables, unconnected_gradients="zero")
    return float(loss), {k: v.numpy() for k, v in found.items()}


def as_row(loss, gradients): return np.concatenate([[loss], *(gradients[k].ravel() for k in sorted(gradients))])


def close(value, truth, eps): assert np.abs(value - truth).max() <= eps*max(1, np.abs(truth).max())


@pytest.mark.parametrize("dtype, eps", (("float64", 1e-12), ("float32", 5e-6)))
@pytest.mark.parametrize("case", CASES, ids=names)
def test_loss_and_gradient_are_those_of_torch(case, dtype, eps, kept):
    truth = kept[names(case)]
    assert np.abs(truth[1:]).max() > 1e-3, "a gradient of nothing would show nothing"
    close(as_row(*ours(network(kept, dtype), kept, case, dtype)), truth, eps)


@pytest.mark.parametrize("case", CASES[::5], ids=names)
def test_the_fixture_is_what_torch_gives(case, kept):
    pytest.importorskip("torch")
    made = {k: v for k, v in kept.items() if "/" not in k}
    close(as_row(*by_torch(case, made)), kept[names(case)], 1e-12)


# --- chains

def run(store, epochs):
    "Line with the fingerprint of a guided run in a process of its own."
    out = subprocess.run([*RUN, str(store), str(epochs)], capture_output=True, text=True, env=QUIET)
    assert out.returncode == 0, out.stderr
    return next(line for line in out.stdout.splitlines() if line.startswith("FINGERPRINT"))


def finished(store): return len(list(Path(store).glob("epoch/*/meta.json")))


def test_a_killed_run_goes_on_to_the_bits_of_another_process(tmp_path):
    "Killed three times at moments that differ, each after at least one more epoch."
    whole, parts = tmp_path/"whole", tmp_path/"parts"
    line, end = run(whole, 5), time.time() + 400
    for k in range(3):
        process = subprocess.Popen([*RUN, str(parts), "5"], env=QUIET, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while finished(parts) <= k and process.poll() is None and time.time() < end: time.sleep(.01)
        time.sleep(float(np.random.default_rng(k).uniform(0, .05)))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert 1 <= finished(parts) < 5, "the run was to be killed after its first and before its last epoch"
    assert run(parts, 5) == line


def test_weight_0_is_plain_training(tmp_path):
    train, valid, store = faces(), faces(16, "valid"), Store(tmp_path)
    plain = guided_fit(store, train, valid, epochs=2, **SETTINGS)
    off = guided_fit(Store(tmp_path/"other"), train, valid, Guidance(weight=0), epochs=2, **SETTINGS)
    on = guided_fit(store, train, valid, Guidance(), epochs=2, **SETTINGS)
    assert off.fingerprint == plain.fingerprint != on.fingerprint
    assert [e.key for e in off.entries] == [e.key for e in plain.entries]


# --- edges

def small():
    L = tf.keras.layers
    return tf.keras.Sequential([L.Input((16, 16, 3)), L.Conv2D(4, 3, padding="same", activation="relu", name="map"),
                                L.MaxPooling2D(2), L.Conv2D(4, 3, activation="relu", name="last"), L.Flatten(),
                                L.Dense(3)])


def batch(n, seed=0, missing=0):
    g = np.random.default_rng(seed)
    priors = g.random((n, 6, 6)).astype("float32")
    priors[:missing] = np.nan
    return (g.random((n, 16, 16, 3)).astype("float32"), g.integers(0, 3, n).astype("int32"),
            np.ones(n, "float32"), priors)


def test_one_trace_with_a_short_last_batch():
    traces = []
    class Counting(Guided):
        def loss(self, *given):
            traces.append(1)
            return super().loss(*given)
    model = small()
    optimizer = tf.keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)      # as `fit` does; making them costs a trace
    model.compile(optimizer, jit_compile=False)
    learning_by(model, Counting(guidance=Guidance()))
    signature = tuple(tf.TensorSpec((None, *v.shape[1:]), v.dtype) for v in batch(1))
    whole = batch(19)
    def parts():
        for k in range(0, 19, 8): yield tuple(v[k:k + 8] for v in whole)
    model.fit(tf.data.Dataset.from_generator(parts, output_signature=signature), epochs=2, verbose=0)
    assert len(traces) == 1


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("what", ("black", "dead", "no landmarks", "one landmarked", "one image"))
def test_edges_are_finite_and_counted(what, loss):
    model = small()
    missing = {"no landmarks": 5, "one landmarked": 4}.get(what, 0)
    images, labels, weights, priors = batch(1 if what == "one image" else 5, missing=missing)
    if what == "black": images = 0*images
    if what == "dead": model.get_layer("last").set_weights([w - 9 for w in model.get_layer("last").get_weights()])
    model.compile(tf.keras.optimizers.Adam(), jit_compile=False)
    objective = Guided(guidance=Guidance(loss=loss, channels="mean"))
    with tf.GradientTape() as tape:
        value, logits, told = objective.loss(model, *map(tf.constant, (images, labels, weights, priors)))
    gradients = tape.gradient(value, model.trainable_variables, unconnected_gradients="zero")
    assert np.isfinite(value) and all(np.isfinite(g).all() for g in gradients)
    if what == "dead": assert float(told["flat"]) == 1
    if what in ("dead", "no landmarks"): assert float(told["guidance"]) == 0
    if what == "no landmarks": assert float(told["flat"]) == 0


def test_a_corpus_without_landmarks_is_refused_before_anything_is_trained(tmp_path):
    bare = replace(faces(), extras={})
    with pytest.raises(ValueError, match="with_landmarks"):
        guided_fit(Store(tmp_path), bare, faces(16, "valid"), Guidance(), epochs=1, **SETTINGS)
    assert not list(tmp_path.glob("epoch/*"))


def test_images_without_landmarks_learn_and_are_not_dropped(tmp_path):
    train = faces()
    points = train.extras["landmarks"][:].copy()
    points[::2] = np.nan
    part = replace(train, extras=dict(train.extras, landmarks=points))
    run = guided_fit(Store(tmp_path), part, faces(16, "valid"), Guidance(), epochs=1, **SETTINGS)
    assert run.curve.images_seen.iloc[-1] == len(train) and np.isfinite(run.told.guidance).all()


def test_the_key_follows_the_priors(tmp_path):
    points = faces().extras["landmarks"][:]
    entries = [LandmarkPriors(points, 24, 6, **kw).entry for kw in ({}, dict(noise=2), dict(sigma=.02),
                                                                    dict(control="mean"), dict(subset="mouth"))]
    assert len({str(e) for e in entries}) == 5 and all(len(e["code"]) == 12 for e in entries)

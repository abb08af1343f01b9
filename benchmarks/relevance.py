"""Speed of deep Taylor maps on this machine, as ratios from one run.

    python benchmarks/relevance.py [--size 139] [--batch 16] [--seconds 20] [--threads 2] [--innvestigate]

Prints, for InceptionV3: seconds until the first map, and the cost of a map against that of the plain gradient (the
floor is 1.5: three products of the kernel's size a layer against two). With --innvestigate, which needs TensorFlow
below 2.15, also images/s on VGG16 64 x 64 against iNNvestigate, in a process of its own."""
import argparse, json, os, subprocess, sys, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np, tensorflow as tf


def network(name, size):
    "Untrained `name` with eight logits, shifted to be positive so that there is a decision to explain."
    applications, L = tf.keras.applications, tf.keras.layers
    base = dict(InceptionV3=applications.InceptionV3, VGG16=applications.VGG16)[name](weights=None, include_top=False, input_shape=(size, size, 3))
    out = L.Dense(8, bias_initializer="ones")(L.GlobalAveragePooling2D(name="last_pooling")(base.output))
    return tf.keras.Model(base.input, out)


def images_for(n, size): return np.random.default_rng(0).uniform(-1, 1, (n, size, size, 3)).astype("float32")


def alternate(functions, seconds):
    "Median seconds of a call of each function, called in turn for `seconds`."
    for f in functions.values(): f()
    times, end = {name: [] for name in functions}, time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < 3:
        for name, f in functions.items():
            start = time.perf_counter(); f(); times[name].append(time.perf_counter() - start)
    return {name: float(np.median(t)) for name, t in times.items()}


def gradient_of(model, images):
    "Function that computes the plain gradient of the largest logit with respect to `images`."
    x = tf.constant(images)
    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_max(model(x, training=False), 1)
        return tf.reduce_sum(tape.gradient(y, x), -1)
    return lambda: run(x).numpy()


def against_gradient(size, batch, seconds):
    from rbdm_nb.relevance import Explainer
    model, images = network("InceptionV3", size), images_for(batch, size)
    start = time.perf_counter()
    explainer = Explainer(model)
    explainer(images[:1])
    first = time.perf_counter() - start
    forward = tf.function(lambda x: model(x, training=False))
    x = tf.constant(images)
    t = alternate({"forward": lambda: forward(x).numpy(), "gradient": gradient_of(model, images), "deep_taylor": lambda: explainer(images)}, seconds)
    print(f"InceptionV3 {size} x {size}, batch {batch}, TensorFlow {tf.__version__}")
    print(f"  first map after {first:.1f} s")
    for name, s in t.items(): print(f"  {name:12} {batch / s:7.1f} images/s")
    print(f"  deep_taylor costs {t['deep_taylor'] / t['gradient']:.2f} x the plain gradient")


def ours(size, batch, seconds):
    from rbdm_nb.relevance import Explainer
    model, images = network("VGG16", size), images_for(batch, size)
    start = time.perf_counter()
    explainer = Explainer(model, "deep_taylor_innvestigate2")
    explainer(images)
    first = time.perf_counter() - start
    return dict(first=first, rate=batch / alternate({"map": lambda: explainer(images)}, seconds)["map"])


def theirs(size, batch, seconds):
    tf.compat.v1.disable_eager_execution()
    import innvestigate
    model, images = network("VGG16", size), images_for(batch, size)
    start = time.perf_counter()
    analyzer = innvestigate.create_analyzer("deep_taylor", model)
    analyzer.analyze(images)
    first = time.perf_counter() - start
    return dict(first=first, rate=batch / alternate({"map": lambda: analyzer.analyze(images)}, seconds)["map"])


def against_innvestigate(options):
    results = {}
    for who in ("ours", "theirs"):
        command = [sys.executable, __file__, "--part", who, "--batch", str(options.batch), "--seconds", str(options.seconds), "--threads", str(options.threads)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode: sys.exit(f"{who} failed:\n{done.stderr[-2000:]}")
        results[who] = json.loads(done.stdout.splitlines()[-1])
    print(f"VGG16 64 x 64, batch {options.batch}, deep Taylor")
    for who, name in (("ours", "rbdm_nb"), ("theirs", "iNNvestigate")): print(f"  {name:12} {results[who]['rate']:7.1f} images/s, first map after {results[who]['first']:.1f} s")
    print(f"  rbdm_nb makes {results['ours']['rate'] / results['theirs']['rate']:.2f} x the images/s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=139, help="side of InceptionV3's input in pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20, help="length of a measurement")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--innvestigate", action="store_true", help="also compare with iNNvestigate")
    parser.add_argument("--part", choices=["ours", "theirs"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    for pool in ("intra_op", "inter_op"): getattr(tf.config.threading, f"set_{pool}_parallelism_threads")(options.threads)
    if options.part: print(json.dumps(globals()[options.part](64, options.batch, options.seconds)))
    else:
        against_gradient(options.size, options.batch, options.seconds)
        if options.innvestigate: against_innvestigate(options)

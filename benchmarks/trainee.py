"""What training a Trainee costs on this machine, as ratios from one run, and what killing it does.

    python benchmarks/trainee.py [--images 3200] [--rounds 5] [--threads 2] [--size 48] [--only
    masks|pipeline|kills|repeat]

masks     an epoch on masked images against one on plain images, the same network going on in turn; both augmented,
without validation.
          Bar: at most 1.03 times as long.
pipeline  images/s of `training.fit`, with everything that it does (order and augmentation that can be counted, masks,
validation,
          fingerprint, checkpoint), against a bare `model.fit` with the same augmentation and validation set, on the
          same arrays in
          memory, shuffled by tf.data; epochs in turn. Bar: at least 0.9. Below, the same for a short epoch's training
          alone.
kills     a run is killed with SIGKILL at --times random moments, started again each time, and must end with the weights
and the
          curve of a run that nobody disturbed. Exit status 1 if it does not.
repeat    only when named: the first --epochs epochs of a committed run (--set, --run) are trained again by papermill,
in a process and
          a store of their own, and must give the committed rows to the last bit, weights included. Exit status 1 if
          they do not.
          Needs the corpus of that set, and the same kind of machine; a masked run needs its Trainer and relevance maps
          anew as well.

Images are built-in faces at 48 x 48; the network is MobileNetV2, batches of 32. The measure is the ratio: the median of
the rounds' ratios, and their range."""
import argparse, json, os, random, signal, subprocess, sys, tempfile, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from pathlib import Path
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import numpy as np
from rbdm_nb.corpora.datasets import load
from rbdm_nb.masking import Masks
from rbdm_nb.reproducibility import deterministic, rng
from rbdm_nb.store import Store

RECIPE = dict(architecture="MobileNetV2", bn_momentum=0.9, class_weights="balanced", batch_size=32, learning_rate=0.001)
# of a row of a curve; the rest is time
COMPARED = ("epoch", "images_seen", "masked", "loss", "val_loss", "val_f1", "val_accuracy", "f1", "weights")


def half_masks(store, n, size):
    "Masks that hide a random half of each image, bit-packed as those of a corpus are."
    bits = rng(0, "benchmark masks").random((n, size, size)) < 0.5
    return Masks(np.packbits(bits.reshape(n, -1), axis=1), size,
                 store.entry("masks", made="half of the pixels", n=n, size=size))


def faces(options):
    n = options.images
    return tuple(load("synthetic", split=s, n=m, domain="wild", image_size=options.size) for s,
                 m in (("train", n), ("valid", n//8)))


def seconds(function):
    start = time.perf_counter(); function()
    return time.perf_counter() - start


def said(name, ratios, bar):
    print(f"  {name}: {np.median(ratios):.3f}, range {min(ratios):.3f} to {max(ratios):.3f} over {len(ratios)} "
          f"rounds; bar {bar}", flush=True)


def model_and_weights(learn, options):
    import tensorflow as tf
    from rbdm_nb.networks.training import class_weights, compiled
    model = compiled(dict(RECIPE, seed=0, classes=len(learn.classes), image_size=options.size))
    model.compile(model.optimizer, tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    return model, class_weights(learn.labels, len(learn.classes), "balanced")


def masks(options):
    from rbdm_nb.networks.training import batches
    learn, _ = faces(options)
    model, weights = model_and_weights(learn, options)
    half, epochs = half_masks(Store(options.folder), len(learn), options.size), iter(range(1, 10**6))
    epoch = lambda m: lambda: model.fit(batches(learn, "MobileNetV2", options.size, 32, 0, epoch=next(epochs),
                                                weights=weights, masks=m), verbose=0)
    plain, masked = epoch(None), epoch(half)
    plain(), masked()
    pairs = [(seconds(plain), seconds(masked)) if i % 2 else (seconds(masked), seconds(plain))[::-1]
             for i in range(options.rounds)]
    print(f"masks: {len(learn):,} images, {options.size} x {options.size}, {options.threads} threads; plain "
          f"{len(learn)/np.median([a for a, _ in pairs]):.0f} images/s")
    said("masked / plain seconds", [b/a for a, b in pairs], "at most 1.03")


def bare_data(learn, weights, tf):
    "What one writes without this package: arrays, shuffled, in batches, augmented."
    from rbdm_nb.networks.architectures import scale
    from rbdm_nb.networks.training import augment
    images, table = learn.images[:], rng(0, "bare").random((len(learn), 9), dtype="float32")
    def prepare(x, row, label):
        x = tf.ensure_shape(tf.numpy_function(augment, [x, row], tf.float32), (None, *images.shape[1:]))
        return scale("MobileNetV2", tf.image.grayscale_to_rgb(x) if images.shape[-1] == 1
                     else x), label, tf.gather(weights, label)
    data = tf.data.Dataset.from_tensor_slices((images, table, learn.labels)).shuffle(len(learn), seed=0)
    return data.batch(32).map(prepare).prefetch(4)


def pipeline(options):
    import tensorflow as tf
    from rbdm_nb.networks.architectures import preprocess
    from rbdm_nb.networks.training import batches, fit
    learn, valid = faces(options)
    store, (model, weights) = Store(options.folder), model_and_weights(learn, options)
    data, check = bare_data(learn, weights, tf), (preprocess("MobileNetV2", valid.images[:], options.size),
                                                  valid.labels)
    bare = lambda: model.fit(data, validation_data=check, validation_batch_size=256, verbose=0)
    alone, epochs = lambda: model.fit(data, verbose=0), iter(range(1, 10**6))
    own = lambda: model.fit(batches(learn, "MobileNetV2", options.size, 32, 0, epoch=next(epochs), weights=weights),
                            verbose=0)
    def whole(seed, epochs=3):
        run = fit(store, learn, valid, image_size=options.size, epochs=epochs, seed=seed, **RECIPE)
        ends = [(e.path/"meta.json").stat().st_mtime for e in run.entries]
        return (ends[-1] - ends[0])/(epochs - 1)     # from the first epoch's end: no building of the graph
    bare(), own()
    rounds = [((seconds(bare) + seconds(bare))/2, whole(i), seconds(alone), seconds(own))
              for i in range(options.rounds)]
    a, b, c, d = np.array(rounds).T
    print(f"pipeline: {len(learn):,} images, {options.threads} threads; bare {len(learn)/np.median(a):.0f}, ours "
          f"{len(learn)/np.median(b):.0f} images/s")
    said("ours / bare images/s, with validation", list(a/b), "at least 0.9")
    said("ours / bare images/s, training alone", list(c/d), "at least 0.9")


# --- kills

def child(options):
    "Trains in this process: two epochs masked, two plain; prints fingerprint and curve."
    from rbdm_nb.trainee import train
    learn, valid = faces(options)
    store = Store(options.part)
    run = train(store, learn, valid, half_masks(store, len(learn), options.size), switch_epoch=2,
                image_size=options.size, epochs=4, bn_momentum=0.9)
    print(json.dumps([run.fingerprint, run.curve.to_dict("records")]))


def start(folder, options):
    command = [sys.executable, __file__, "--part", str(folder), "--images", str(options.images), "--size",
               str(options.size), "--threads", str(options.threads)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def end_of(process):
    out = process.communicate()[0]
    if process.returncode: sys.exit(f"a run ended with status {process.returncode}")
    return json.loads(out.splitlines()[-1])


def kills(options):
    draw, began = random.Random(options.seed), time.perf_counter()
    undisturbed = end_of(start(options.folder/"undisturbed", options))
    length, done = time.perf_counter() - began, 0
    print(f"kills: {options.images:,} images, 4 epochs, {options.threads} threads; undisturbed {length:.1f} s, "
          f"fingerprint {undisturbed[0][:16]}", flush=True)
    while done < options.times:
        process, moment = start(options.folder/"killed", options), draw.uniform(0.1, 0.9)*length
        try: process.wait(moment)
        except subprocess.TimeoutExpired: os.kill(process.pid, signal.SIGKILL)
        else:                                   # it ended first: the next kills go to a run from the start
            if end_of(process) != undisturbed: sys.exit("a killed run ended otherwise")
            options.folder = options.folder/"again"; continue
        process.communicate(); done += 1
        left = len(list((options.folder/"killed").glob("epoch/*/meta.json")))
        print(f"  kill {done}: after {moment:.1f} s, with {left} of 4 epochs kept", flush=True)
    ended = end_of(start(options.folder/"killed", options))
    print(f"  fingerprint {ended[0][:16]}, curve {'the same' if ended[1] == undisturbed[1] else 'DIFFERENT'}")
    if ended != undisturbed: sys.exit("a killed run ended otherwise")


# --- the first epochs again

def repeat(options):
    committed, wanted = ROOT/"outputs"/options.set, options.folder/"parameters.yaml"
    source = json.loads((committed/"provenance"/f"{options.run}.json").read_text())
    record = next(committed/f for f in source["outputs"] if Path(f).name.startswith("run_"))
    wanted.write_text(json.dumps(source["made_from"]["parameters"] | dict(output=str(options.folder/"again"),
                                                                          epochs=options.epochs, fuse=False)))
    subprocess.run([str(Path(sys.executable).parent/"papermill"), "--no-progress-bar", "-f", wanted,
                    ROOT/"nbs"/"06_trainee.ipynb", options.folder/"06_trainee.ipynb"], check=True, cwd=ROOT,
                    stdout=subprocess.DEVNULL)
    rows = [[{k: row[k] for k in COMPARED} for row in json.loads(file.read_text())["curve"][:options.epochs]]
            for file in (record, options.folder/"again"/"tables"/record.name)]
    for a, b in zip(*rows):
        print(f"repeat: {record.stem}, epoch {a['epoch']}: F1 {b['val_f1']:.6f}, weights {b['weights'][:16]}: "
              f"{'the same' if a == b else 'DIFFERENT from ' + str(a)}")
    if rows[0] != rows[1]: sys.exit("the committed run was not repeated")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3_200, help="training images")
    parser.add_argument("--size", type=int, default=48, help="side of the images in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--times", type=int, default=10, help="kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--set", default="ferplus", help="repeat: the set under outputs/")
    parser.add_argument("--run", default="06_trainee.mask=none",
                        help="repeat: the run, as its file in provenance/ is called")
    parser.add_argument("--epochs", type=int, default=2, help="repeat: epochs")
    parser.add_argument("--only", choices=["masks", "pipeline", "kills", "repeat"])
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    deterministic(0, options.threads)
    if options.part: child(options)
    else:
        with tempfile.TemporaryDirectory() as folder:
            options.folder = Path(folder)
            for part in (masks, pipeline, kills, repeat):
                if options.only == part.__name__ or (options.only is None and part is not repeat): part(options)

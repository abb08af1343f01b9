"""Speed of extremal perturbations on this machine, beside the bars they should meet.

    python benchmarks/extremal.py [--faces 56] [--iterations 200] [--size 48] [--threads 2]

  cost    CPU time of an iteration for a mask, against 4 forward passes of an image and 4 ms
  search  seconds for all faces, tracing included, against 3 minutes
The load of the machine is told, since seconds depend on it; CPU time hardly does."""
import argparse, json, os, sys, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np, tensorflow as tf

BATCH = 16


def network(size):
    "Convolutions of stride 4 in all, global average pooling, one dense layer: 12 x 12 places at 48 pixels."
    L = tf.keras.layers
    layers = [tf.keras.Input((size, size, 1))]
    for filters, stride in ((16, 1), (32, 2), (64, 2), (64, 1)):
        layers += [L.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False), L.BatchNormalization(),
                   L.ReLU()]
    return tf.keras.Sequential([*layers, L.GlobalAveragePooling2D(), L.Dense(8)])


def cpu_seconds(function, least=3.):
    "CPU seconds of one call, after a first one."
    function()
    start, calls = time.process_time(), 0
    while time.process_time() - start < least: function(); calls += 1
    return (time.process_time() - start)/calls


def main(faces, iterations, size):
    from rbdm_nb.explain.extremal import ExtremalExplainer
    model = network(size)
    images = np.random.default_rng(0).normal(size=(faces, size, size, 1)).astype("float32")
    few, steps = images[:BATCH], 40
    forward = tf.function(lambda x: model(x, training=False))
    image = cpu_seconds(lambda: forward(tf.constant(few)))/BATCH
    short = ExtremalExplainer(model, iterations=steps)
    mask = cpu_seconds(lambda: short.masks(few, 0, BATCH))/BATCH/steps
    start = time.perf_counter()
    explainer = ExtremalExplainer(model, iterations=iterations)
    explainer(images, 0)
    seconds = time.perf_counter() - start
    print(json.dumps(dict(forward_ms=round(1000*image, 2), iteration_ms=round(1000*mask, 2),
                          bar_ms=round(4000*image + 4, 2), met=mask <= 4*image + 4e-3, faces=faces,
                          iterations=iterations, search_seconds=round(seconds, 1), in_time=seconds < 180,
                          traces=explainer.traces, load=os.getloadavg()[0]), indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(faces=56, iterations=200, size=48, threads=2).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = vars(parser.parse_args())
    tf.config.threading.set_intra_op_parallelism_threads(options.pop("threads"))
    main(**options)

"""Deep Taylor maps by iNNvestigate itself, in a process of its own because it turns eager execution off.

    python tests/innvestigate_oracle.py FOLDER

For each FOLDER/<name>.json (a Keras model as JSON, with FOLDER/<name>.npz holding its weights as w0, w1, ... and the
images as `images`) writes FOLDER/<name>.maps.npz: `maps`, the relevance of the inputs, (N, H, W, C)."""
import os, sys
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from pathlib import Path
import numpy as np
import tensorflow as tf

tf.compat.v1.disable_eager_execution()
import innvestigate


def maps(path):
    with np.load(path.with_suffix(".npz")) as data:
        weights, images = [data[f"w{k}"] for k in range(len(data.files) - 1)], data["images"]
    tf.keras.backend.clear_session()   # its graph grows with every model, and each evaluation slows down with it
    model = tf.keras.models.model_from_json(path.read_text())
    model.set_weights(weights)
    return innvestigate.create_analyzer("deep_taylor", model).analyze(images)


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        np.savez(path.with_suffix(".maps.npz"), maps=maps(path))

"""Maps by iNNvestigate itself, in a process of its own because it turns eager execution off.

    python tests/innvestigate_oracle.py FOLDER

FOLDER/jobs.json is a list of [network, analyzer, options]; `options` are iNNvestigate's, and "neuron_selection", the
output to explain, where its "neuron_selection_mode" is "index". FOLDER/<network>.json is a Keras model as JSON, with
FOLDER/<network>.npz holding its weights as w0, w1, ... and the images as `images`. Writes FOLDER/maps.npz: for every
job, under its number, the relevance of the inputs, in the shape of the images.

iNNvestigate 2.1.2 as it is; its checks of the model are off, since they refuse LRP for depthwise convolutions although
it treats them rightly. Layers need names of their own, as it builds new models of them. Keras would evaluate every
constant of the graph in a session of its own, to be able to save the model; it is told not to, which saves half the
time."""
import json, os, sys
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from pathlib import Path
import numpy as np
import tensorflow as tf

tf.compat.v1.disable_eager_execution()
import innvestigate
from keras.src.engine import base_layer_utils

base_layer_utils._UNSAFE_GRAPH_OP_LAYER_CREATION = True


def maps(path, analyzer, options):
    with np.load(path.with_suffix(".npz")) as data:
        weights, images = [data[f"w{k}"] for k in range(len(data.files) - 1)], data["images"]
    tf.keras.backend.clear_session()   # its graph grows with every analyzer, and each evaluation slows down with it
    # else batch normalisation waits for a placeholder, and some analyzers fail on it
    tf.keras.backend.set_learning_phase(0)
    model = tf.keras.models.model_from_json(path.read_text())
    model.set_weights(weights)
    output = options.pop("neuron_selection", None)
    return innvestigate.create_analyzer(analyzer, model, disable_model_checks=True,
                                        **options).analyze(images, neuron_selection=output)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    jobs = json.loads((folder / "jobs.json").read_text())
    np.savez(folder / "maps.npz", **{str(k): maps(folder / f"{network}.json", *job) for k,
                                     (network, *job) in enumerate(jobs)})

"""A small guided training in a process of its own: guidance_run.py STORE EPOCHS prints the weights' fingerprint."""
import sys
from rbdm_nb.corpora.datasets import load
from rbdm_nb.guidance.guidance import Guidance, guided_fit
from rbdm_nb.reproducibility import deterministic
from rbdm_nb.store import Store

SETTINGS = dict(architecture="ResNet20", image_size=24, bn_momentum=.9, class_weights="none", batch_size=16)


def faces(n=40, split="train"): return load("synthetic", split=split, n=n, image_size=24)


def main(folder, epochs):
    deterministic(0, 1)
    guidance = Guidance(output="random_signs", first=2)
    run = guided_fit(Store(folder), faces(), faces(16, "valid"), guidance, epochs=epochs, **SETTINGS)
    print("FINGERPRINT", run.fingerprint, run.curve.val_f1.tolist())


if __name__ == "__main__": main(sys.argv[1], int(sys.argv[2]))

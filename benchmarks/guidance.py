"""What a guided epoch costs against a plain one, as ratios from one run.

    python benchmarks/guidance.py [--images 330] [--rounds 3] [--epochs 3] [--size 48]
                                  [--architectures VGGHalf,MobileNetV2] [--threads 1]

Each network is trained on built-in faces without and with the paper's guidance (its default layer, grad × input, half
of the channels, correlation), which begins alternates. The last batch is a short one. The first epoch, which builds and
traces, is left out; seconds are those of the CPU, validation and checkpoint included. The measure is the ratio of a
guided epoch to a plain one of the same round: the median, and the range. Bar: at most 1.5. Exit status 1 above it."""
import argparse, os, sys, tempfile, warnings
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np
from rbdm_nb.corpora.datasets import load
from rbdm_nb.guidance.guidance import PAPER, guided_fit
from rbdm_nb.reproducibility import deterministic
from rbdm_nb.store import Store

BAR = 1.5


def epochs_of(store, faces, guidance, seed, architecture, options):
    "CPU seconds of each epoch but the first."
    run = guided_fit(store, *faces, guidance, seed=seed, architecture=architecture, image_size=options.size,
                     epochs=options.epochs, augmented=False, class_weights="none")
    return [entry.meta["cpu_seconds"] for entry in run.entries[1:]]


def ratios(architecture, options):
    faces = [load("synthetic", split=split, n=n, image_size=options.size, seed=0, difficulty=.3)
             for split, n in (("train", options.images), ("valid", 64))]
    for corpus in faces: corpus.images[:]      # drawn before the clock runs
    found = []
    for k in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            arms = [None, PAPER] if k % 2 == 0 else [PAPER, None]
            seconds = {arm: np.median(epochs_of(Store(folder), faces, arm, k, architecture, options)) for arm in arms}
        found.append(seconds[PAPER]/seconds[None])
    return found


def main(options):
    warnings.simplefilter("ignore")
    deterministic(0, options.threads)
    worst = 0.
    for architecture in options.architectures.split(","):
        load_before, found = os.getloadavg()[0], ratios(architecture, options)
        worst = max(worst, float(np.median(found)))
        print(f"{architecture}: {np.median(found):.2f} plain epochs ({min(found):.2f} to {max(found):.2f}, "
              f"{options.rounds} rounds; load {load_before:.1f} before, {os.getloadavg()[0]:.1f} after)", flush=True)
    print(f"bar: {BAR}")
    return worst > BAR


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in dict(images=330, rounds=3, epochs=3, size=48, threads=1).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--architectures", default="VGGHalf,MobileNetV2")
    sys.exit(main(parser.parse_args()))

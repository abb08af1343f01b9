"""What the 28 networks of two expressions cost on this machine, against a bar, and what tracing once saves.

    python benchmarks/pairs.py [--each 60] [--size 48] [--max-epochs 20] [--pairs 28] [--threads 2]

pairs     ResNet20 for each pair on built-in faces, `--each` training images a class, until the running training
          accuracy is 0.9 or for --max-epochs epochs, with validation, fingerprint and checkpoint of every epoch.
          Bar: under 6 minutes for 28 pairs of 60 a class at 48 pixels on two cores.
tracing   seconds of the first epoch of the first pair, which builds and traces, against those of the first epochs
          of the others, which do not.

Wall and CPU seconds, and the load of the machine before and after, since others may be at work on it."""
import argparse, os, sys, tempfile, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np
from rbdm_nb.humans.pairs import PAIRS, PairSettings, fit_pairs, training_table
from rbdm_nb.networks.trainer import corpora
from rbdm_nb.reproducibility import deterministic
from rbdm_nb.store import Store


def main(options):
    deterministic(0, options.threads)
    learn, valid = corpora("synthetic", limit=8*options.each, size=options.size, difficulty=0.3)
    for corpus in (learn, valid): corpus.images[:]      # drawn before the clock runs
    settings = PairSettings("ResNet20", options.size, max_epochs=options.max_epochs, batch_size=16,
                            learning_rate=0.001, momentum="0.6", augment=False)
    load, wall, cpu = os.getloadavg()[0], time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        runs = fit_pairs(Store(folder), learn, valid, settings, pairs=PAIRS[:options.pairs])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        table = training_table(runs)
        first = [run.entries[0].meta["cpu_seconds"] for run in runs]
    print(f"pairs: {len(runs)} pairs, {options.each} a class, {options.size} x {options.size}, {options.threads} "
          f"threads: {wall:.0f} s ({cpu:.0f} s of CPU); load {load:.1f} before, {os.getloadavg()[0]:.1f} after; "
          "bar 360 s for 28 pairs")
    print(f"  {table.epochs.sum()} epochs, {table.epochs.min()} to {table.epochs.max()} a pair; {table.reached.sum()} "
          f"pairs reached 0.9; validation accuracy {table.val_accuracy.mean():.3f} on average")
    print(f"tracing: first epoch of the first pair {first[0]:.1f} s of CPU, of the others {np.median(first[1:]):.1f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=60, help="training images of a class")
    parser.add_argument("--size", type=int, default=48, help="side of the images in pixels")
    parser.add_argument("--max-epochs", type=int, default=20)
    parser.add_argument("--pairs", type=int, default=28, help="how many of the 28 pairs, at least 2")
    parser.add_argument("--threads", type=int, default=2)
    main(parser.parse_args())

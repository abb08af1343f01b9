"""Networks of two pairs in a process of their own: pairs_run.py STORE EPOCHS [STOP] prints fingerprints and curves."""
import sys
from rbdm_nb.corpora.datasets import load
from rbdm_nb.humans.pairs import PairSettings, fit_pairs
from rbdm_nb.reproducibility import deterministic
from rbdm_nb.store import Store


def main(folder, epochs, stop=0.):
    deterministic(0, 1)
    learn, valid = (load("synthetic", split=s, n=n, image_size=16) for s, n in (("train", 64), ("valid", 16)))
    settings = PairSettings("ResNet20", 16, stop=float(stop), max_epochs=int(epochs), batch_size=8, learning_rate=0.01,
                            momentum="0.5", redraw=True)
    for run in fit_pairs(Store(folder), learn, valid, settings, pairs=[(0, 1), (1, 3)]):
        print("FINGERPRINT", run.fingerprint, run.curve.to_json())


if __name__ == "__main__": main(*sys.argv[1:])

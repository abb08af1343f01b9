"""A small training run in a process of its own: training_run.py STORE EPOCHS [MASKED_EPOCHS] prints the weights'
fingerprint."""
import sys
from dataclasses import dataclass
from rbdm_nb.corpora.datasets import load
from rbdm_nb.reproducibility import deterministic, rng
from rbdm_nb.store import Entry, Store
from rbdm_nb.trainee import train


@dataclass
class RandomMasks:
    "Masks as `masking.Masks` has them, without a Trainer."
    n: int
    size: int
    entry: Entry
    def __len__(self): return self.n
    def __getitem__(self, index): return rng(0, "masks").random((self.n, self.size, self.size))[index] < 0.5


def main(folder, epochs, masked=0):
    deterministic(0, 1)
    store = Store(folder)
    learn, valid = (load("synthetic", split=s, n=n, domain="wild", image_size=32) for s,
                    n in (("train", 96), ("valid", 32)))
    masks = RandomMasks(len(learn), 32, store.entry("masks", made="at random")) if masked else None
    run = train(store, learn, valid, masks, switch_epoch=masked or 9, image_size=32, epochs=epochs, bn_momentum=0.9)
    print("FINGERPRINT", run.fingerprint, run.curve.val_f1.tolist())


if __name__ == "__main__": main(sys.argv[1], *map(int, sys.argv[2:]))

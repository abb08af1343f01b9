"""Masks by TorchRay itself, for test_extremal.py; its numbers are kept, not its code, which is not for commercial use.

    pip install torch==2.13.0 && pip install --no-deps torchray==1.0.0.2 && python tests/torchray_oracle.py

Writes tests/fixtures/torchray.npz: masks of random grids, blurred and blended images, and the masks that searches of
200 iterations end with, all variants, rewards, perturbations. The network and the images are counted noise
(`network_weights`, `images`), which the test makes again. TorchRay starts from grids of ones, where all pixels are tied
and rounding decides; the searches here start from `start` instead, put in the place of its `torch.ones`. Pixels can be
tied later, too. So each search starts from the first of counted starts that TorchRay itself does not depend on to the
last digits: from three that differ in the sixth it ends at the same masks."""
import sys
from itertools import product
from pathlib import Path
import numpy as np

FIXTURE = Path(__file__).parent/"fixtures"/"torchray.npz"
SIZE, STEP, SIGMA, AREAS = 24, 3, 5, (.1, .3)
GRIDS = ((7, 21), (2, 5), (3, 9))          # steps and sigmas of masks of 48 x 48
CASES = tuple(product(("preserve", "delete", "dual"), ("logit", "margin"), ("blur", "fade")))
ITERATIONS = 200
APART, SAME = 1e-6, 1e-4       # how far from a start others are, and what their masks may differ by


def drawn(name, *shape): return np.random.default_rng([*name.encode()]).normal(size=shape).astype("float32")


def network_weights():
    "Kernels and biases of a convolution, its second one, and a dense layer behind the mean over places; Keras's order."
    return [drawn("k1", 3, 3, 2, 6)/3, drawn("b1", 6)/5, drawn("k2", 3, 3, 6, 8)/4, drawn("b2", 8)/5,
            drawn("k3", 8, 4)*3, drawn("b3", 4)]


def images(): return drawn("images", 1, SIZE, SIZE, 2)


def start(seed):
    "Nodes (areas, n, n) that no two pixels are tied with."
    n = -(-SIZE//STEP)
    return np.random.default_rng(seed).uniform(.3, .95, (len(AREAS), n, n)).astype("float32")


def grid(step):
    n = -(-48//step)
    return np.random.default_rng(step).uniform(size=(2, n, n)).astype("float32")


def case_name(variant, score, perturbation): return f"{variant}_{score}_{perturbation}"


def network(torch):
    "The network in PyTorch."
    k1, b1, k2, b2, k3, b3 = (torch.tensor(w) for w in network_weights())
    turned = [k.permute(3, 2, 0, 1) for k in (k1, k2)]
    class Network(torch.nn.Module):
        def forward(self, x):
            x = torch.relu(torch.nn.functional.conv2d(x, turned[0], b1, padding=1))
            x = torch.relu(torch.nn.functional.conv2d(x, turned[1], b2, padding=1))
            return x.mean((2, 3))@k3 + b3
    return Network()


def searched(torch, module, variant, score, perturbation, iterations, begin):
    "Masks (areas, SIZE, SIZE) that TorchRay's search ends with, from the nodes `begin`, or its own ones for None."
    reward = dict(logit=module.simple_reward, margin=module.contrastive_reward)[score]
    ones = torch.ones
    def instead(*shape, **options):
        made = ones(*shape, **options)
        return made if begin is None or made.dim() != 4 else torch.tensor(begin).reshape(made.shape).to(made)
    torch.ones = instead
    try:
        masks, _ = module.extremal_perturbation(
            network(torch), torch.tensor(images()).permute(0, 3, 1, 2), 1, areas=list(AREAS), variant=variant,
            perturbation=perturbation, reward_func=reward, max_iter=iterations, step=STEP, sigma=SIGMA)
    finally: torch.ones = ones
    return masks.detach().numpy().reshape(len(AREAS), SIZE, SIZE)


def steady(torch, module, case):
    "(seed, masks) of the first start around which the search ends at the same masks."
    def masks(begin): return searched(torch, module, *case, ITERATIONS, begin)
    for seed in range(200):
        begin = start(seed)
        here, apart = masks(begin), (begin + APART*np.sign(start(seed + k) - .6) for k in (1000, 2000, 3000))
        off = 0.
        for other in apart:
            off = max(off, np.abs(masks(other.astype("float32")) - here).max())
            if off > SAME: break
        print(*case, seed, f"{off:.1e}", flush=True)
        if off <= SAME: return seed, here


def main():
    import pytest
    torch = pytest.importorskip("torch")
    module = pytest.importorskip("torchray.attribution.extremal_perturbation")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    found = {}
    for step, sigma in GRIDS:
        masks, canvas = module.MaskGenerator((48, 48), step, sigma).generate(torch.tensor(grid(step))[:, None])
        found[f"masks_{step}"], found[f"canvas_{step}"] = masks.numpy()[:, 0], np.array(canvas.shape[2:])
    shown = np.random.default_rng(5).uniform(size=(1, 1, SIZE, SIZE)).astype("float32")
    shown[0, 0, 0], shown[0, 0, 1] = 0, 1
    for kind in ("blur", "fade"):
        made = module.Perturbation(torch.tensor(images()).permute(0, 3, 1, 2), type=kind).apply(torch.tensor(shown))
        found[f"blend_{kind}"] = made.numpy().transpose(0, 2, 3, 1)
    found["from_ones"] = searched(torch, module, "preserve", "logit", "blur", 1, None)
    kept = {case_name(*case): steady(torch, module, case) for case in CASES}
    found |= {name: masks for name, (_, masks) in kept.items()}
    found["seeds"] = np.array([seed for seed, _ in kept.values()])
    FIXTURE.parent.mkdir(exist_ok=True)
    np.savez_compressed(FIXTURE, **{name: a.astype("float32") for name, a in found.items()})
    print(f"{FIXTURE}: {FIXTURE.stat().st_size/1024:.0f} kB, torch {torch.__version__}")


if __name__ == "__main__": sys.exit(main())

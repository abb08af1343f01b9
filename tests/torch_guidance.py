"""Loss and gradient of guidance by torch's autograd, a second implementation: python tests/torch_guidance.py makes
tests/fixtures/guidance.npz, which needs torch and NumPy and nothing of this package."""
import sys
from itertools import product
from pathlib import Path
import numpy as np

FIXTURE = Path(__file__).parent/"fixtures"/"guidance.npz"
LAYERS, METHODS, CHANNELS = ("one", "two", "three"), ("grad", "grad_input"), ("all", "half")
OUTPUTS = ("sum", "log_target")
CASES = list(product(LAYERS, METHODS, CHANNELS, OUTPUTS))     # a pool follows layers one and three, none follows two


def inputs(seed=2):
    "{name: array}: weights as Keras has them, images, labels and a prior for each size of map, float64."
    g = np.random.default_rng(seed)
    shapes = dict(one=(3, 3, 3, 4), two=(3, 3, 4, 4), three=(3, 3, 4, 4))
    made = {f"{n}_kernel": g.normal(size=s)/np.sqrt(np.prod(s[:3])/2) for n, s in shapes.items()}
    made |= {f"{n}_bias": .2 + .1*g.normal(size=s[-1]) for n, s in shapes.items()}      # no channel is dead
    made |= dict(logits_kernel=g.normal(size=(16*4, 3))/8, logits_bias=.1*g.normal(size=3))
    return made | dict(images=g.normal(size=(4, 16, 16, 3)), labels=np.array([0, 2, 2, 1]),
                       prior_16=g.random((4, 16, 16)), prior_8=g.random((4, 8, 8)))


def names(case): return "/".join(case)


def _correlation(torch, a, m):
    "Pearson's correlation over the last axis, as its textbook formula has it."
    a, m = a - a.mean(-1, keepdim=True), m - m.mean(-1, keepdim=True)
    return (a*m).sum(-1)/torch.sqrt((a*a).sum(-1)*(m*m).sum(-1))


def by_torch(case, made, dtype="float64"):
    "(Loss, {weight: gradient}) of one case: minus the mean correlation of the attribution with the prior."
    import torch
    import torch.nn.functional as F
    layer, method, channels, output = case
    t = {k: torch.tensor(v, dtype=torch.int64 if k == "labels" else getattr(torch, dtype)) for k, v in made.items()}
    weights = {k: v.requires_grad_() for k, v in t.items() if k.endswith(("kernel", "bias"))}
    x, maps = t["images"].permute(0, 3, 1, 2), {}
    for name in LAYERS:
        kernel = weights[f"{name}_kernel"].permute(3, 2, 0, 1)
        maps[name] = x = F.relu(F.conv2d(x, kernel, weights[f"{name}_bias"], padding=1))
        if name != "two": x = F.max_pool2d(x, 2)
    z = x.permute(0, 2, 3, 1).flatten(1) @ weights["logits_kernel"] + weights["logits_bias"]
    score = z.sum() if output == "sum" else F.log_softmax(z, 1)[torch.arange(len(z)), t["labels"]].sum()
    f = maps[layer]
    g, = torch.autograd.grad(score, f, create_graph=True)
    a = g.abs() if method == "grad" else g*f
    if channels != "all": a = a[:, :a.shape[1]//(2 if channels == "half" else 1)].mean(1, keepdim=True)
    loss = -_correlation(torch, a.flatten(2), t[f"prior_{f.shape[-1]}"].flatten(1)[:, None]).mean()
    found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    gradients = {k: np.zeros(v.shape) if d is None else d.numpy() for (k, v), d in zip(weights.items(), found)}
    return loss.item(), gradients


def main(path=FIXTURE):
    made, kept = inputs(), {}
    for case in CASES:
        loss, gradients = by_torch(case, made)
        kept[names(case)] = np.concatenate([[loss], *(gradients[k].ravel() for k in sorted(gradients))])
    if not all(np.isfinite(row).all() for row in kept.values()): sys.exit("a map is flat; take another seed")
    np.savez_compressed(path, **made, **kept)


if __name__ == "__main__": main(*map(Path, sys.argv[1:]))

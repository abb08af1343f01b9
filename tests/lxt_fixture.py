"""Numbers of LXT, the authors' own library of AttnLRP, for tests/test_newer_networks.py.

    pip install torch && pip install --no-deps lxt
    python tests/lxt_fixture.py        # writes tests/fixtures/lxt.npz

One block of a transformer, in float64: layer normalisation, attention of two heads with bias, a sum, layer
normalisation, two dense layers with GELU between them, a sum; and an element-wise product of two branches. Weights,
input, the relevance that is handed down and that of the input are kept, and the relevance between the two parts. LXT
adds its epsilon, here 0, without regard to sign."""
import sys
from pathlib import Path
import numpy as np

try:
    import torch
    import lxt.explicit.functional as lf
except ImportError as missing: sys.exit(f"nothing is written: {missing}")

T, D, H, K = 5, 6, 2, 3
draw = np.random.default_rng(0)
shapes = dict(x=(2, T, D), r=(2, T, D), gamma1=(D,), beta1=(D,), q=(D, H*K), bq=(H*K,), k=(D, H*K), bk=(H*K,),
              v=(D, H*K), bv=(H*K,), o=(H*K, D), bo=(D,), gamma2=(D,), beta2=(D,),
              w1=(D, 8), b1=(8,), w2=(8, D), b2=(D,))
given = {name: draw.normal(size=shape) for name, shape in shapes.items()}
t = {name: torch.tensor(a) for name, a in given.items()}


def dense(x, w, b): return lf.linear_epsilon_fn.apply(x, t[w].T, t[b], 0.)


def add(a, b): return lf.add2_tensors_fn.apply(a, b, False, 0.)


def norm(x, n): return lf.layer_norm_grad_fn.apply(x, t[f"gamma{n}"], t[f"beta{n}"], 1e-3, 0.)


def product(a, b): return lf.matmul_fn.apply(a, b, False, 0.)


def heads(x): return x.reshape(2, T, H, K).transpose(1, 2)


class Identity(torch.autograd.Function):
    "GELU, handing relevance on: what LXT's WrapModule with the identity rule does."
    @staticmethod
    def forward(ctx, x): return torch.nn.functional.gelu(x)

    @staticmethod
    def backward(ctx, r): return r


def attention(x):
    q, k, v = (heads(dense(x, n, f"b{n}")) for n in "qkv")
    # the scale is an element-wise product with a constant, which hands relevance on
    scores = lf.mul2_fn.apply(product(q, k.transpose(-1, -2)), torch.tensor(K**-.5, dtype=torch.float64), False)
    shares = lf.softmax_fn.apply(scores, -1, None, 1., False)
    return dense(product(shares, v).transpose(1, 2).reshape(2, T, H*K), "o", "bo")


x = t["x"].clone().requires_grad_()
middle = add(x, attention(norm(x, 1)))
middle.retain_grad()
y = add(middle, dense(Identity.apply(dense(norm(middle, 2), "w1", "b1")), "w2", "b2"))
y.backward(t["r"])
a, b = (t[name].clone().requires_grad_() for name in ("x", "r"))
lf.mul2_fn.apply(a, b, False).backward(t["r"])
np.savez(Path(__file__).parent/"fixtures"/"lxt.npz", output=y.detach().numpy(), relevance=x.grad.numpy(),
         middle=middle.grad.numpy(), factors=np.stack([a.grad.numpy(), b.grad.numpy()]), **given)

"""Speed and memory of deep Taylor maps on this machine, as ratios from one run, each beside the bar it should meet.

    python benchmarks/relevance.py [PART ...] [--size 139] [--batch 16] [--seconds 20] [--threads 2]

Parts, all by default:
  gradient       InceptionV3: seconds until the first map, and the cost of a map against that of the plain gradient
                 (the floor is 1.5: three products of the kernel's size a layer against two)
  innvestigate   VGG16 64 x 64 against iNNvestigate (needs TensorFlow below 2.15)
  zennit         VGG16 64 x 64 against zennit, with the same weights (needs `pip install zennit` and a CPU build of
  torch) memory         memory and time per batch over 500 batches
  store          maps of a corpus to the store against the bare method's rate
Where a peer is not installed its part says so. Peers run in processes of their own."""
import argparse, json, os, subprocess, sys, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np, tensorflow as tf


def network(name, size):
    "Untrained `name` with eight logits, shifted to be positive so that there is a decision to explain."
    applications, L = tf.keras.applications, tf.keras.layers
    base = dict(InceptionV3=applications.InceptionV3, VGG16=applications.VGG16)[name](weights=None, include_top=False,
                                                                                      input_shape=(size, size, 3))
    out = L.Dense(8, bias_initializer="ones")(L.GlobalAveragePooling2D(name="last_pooling")(base.output))
    return tf.keras.Model(base.input, out)


def images_for(n, size): return np.random.default_rng(0).uniform(-1, 1, (n, size, size, 3)).astype("float32")


def alternate(functions, seconds):
    "Median seconds of a call of each function, called in turn for `seconds`."
    for f in functions.values(): f()
    times, end = {name: [] for name in functions}, time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < 3:
        for name, f in functions.items():
            start = time.perf_counter(); f(); times[name].append(time.perf_counter() - start)
    return {name: float(np.median(t)) for name, t in times.items()}


def gradient_of(model, images):
    "Function that computes the plain gradient of the largest logit with respect to `images`."
    x = tf.constant(images)
    @tf.function
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_max(model(x, training=False), 1)
        return tf.reduce_sum(tape.gradient(y, x), -1)
    return lambda: run(x).numpy()


def against_gradient(size, batch, seconds):
    from rbdm_nb.explain.relevance import Explainer
    model, images = network("InceptionV3", size), images_for(batch, size)
    start = time.perf_counter()
    explainer = Explainer(model)
    explainer(images[:1])
    first = time.perf_counter() - start
    forward = tf.function(lambda x: model(x, training=False))
    x = tf.constant(images)
    t = alternate({"forward": lambda: forward(x).numpy(), "gradient": gradient_of(model, images),
                   "deep_taylor": lambda: explainer(images)}, seconds)
    print(f"InceptionV3 {size} x {size}, batch {batch}, TensorFlow {tf.__version__}")
    print(f"  first map after {first:.1f} s (bar: 15 s; iNNvestigate 2.1.2 takes 1,056 s)")
    for name, s in t.items(): print(f"  {name:12} {batch / s:7.1f} images/s")
    print(f"  deep_taylor costs {t['deep_taylor'] / t['gradient']:.2f} x the plain gradient (bar: 1.7)")


def of_vgg(size, batch, seconds):
    "VGG16 and its images, and the first map and the rate of `explain(model, images)`'s result."
    def measured(explain):
        model, images = network("VGG16", size), images_for(batch, size)
        model.set_weights(drawn_weights(model))
        start = time.perf_counter()
        run = explain(model, images)
        total = run()
        first = time.perf_counter() - start
        return dict(first=first, total=float(np.asarray(total).sum()),
                    rate=batch / alternate({"map": run}, seconds)["map"])
    return measured


def drawn_weights(model):
    "Weights that every process draws alike."
    draw = np.random.default_rng(1)
    return [draw.normal(0, np.sqrt(2 / np.prod(w.shape[:-1])), w.shape).astype("float32") if w.ndim > 1
            else np.full(w.shape, 0.01, "float32") for w in model.get_weights()]


def ours(size, batch, seconds):
    from rbdm_nb.explain.relevance import Explainer
    def explain(model, images):
        explainer = Explainer(model, "deep_taylor_innvestigate2")
        return lambda: explainer(images)
    return of_vgg(size, batch, seconds)(explain)


def innvestigate(size, batch, seconds):
    tf.compat.v1.disable_eager_execution()
    from innvestigate import create_analyzer
    def explain(model, images):
        analyzer = create_analyzer("deep_taylor", model)
        return lambda: analyzer.analyze(images)
    return of_vgg(size, batch, seconds)(explain)


def zennit(size, batch, seconds):
    "The same network in PyTorch; z-plus everywhere, the start at the largest logit."
    import torch
    from zennit.composites import LayerMapComposite
    from zennit.rules import AlphaBeta
    from zennit.types import Convolution, Linear
    torch.set_num_threads(threads_of_this_process())
    def explain(model, images):
        layers, weights = [], [torch.tensor(w) for w in model.get_weights()]
        for layer in model.layers:
            name = type(layer).__name__
            if name == "Conv2D":
                conv = torch.nn.Conv2d(layer.kernel.shape[2], layer.filters, 3, padding=1)
                conv.weight.data, conv.bias.data = weights.pop(0).permute(3, 2, 0, 1).contiguous(), weights.pop(0)
                layers += [conv, torch.nn.ReLU()]
            elif name == "MaxPooling2D": layers.append(torch.nn.MaxPool2d(2))
            elif name == "GlobalAveragePooling2D": layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
            elif name == "Dense":
                dense = torch.nn.Linear(*layer.kernel.shape)
                dense.weight.data, dense.bias.data = weights.pop(0).T.contiguous(), weights.pop(0)
                layers.append(dense)
        net, x = torch.nn.Sequential(*layers).eval(), torch.tensor(images).permute(0, 3, 1, 2).contiguous()
        composite = LayerMapComposite([((Convolution, Linear), AlphaBeta(alpha=1, beta=0, zero_params="bias"))])
        def run():
            with composite.context(net) as changed:
                inputs = x.clone().requires_grad_()
                y = changed(inputs)
                start = torch.zeros_like(y).scatter_(1, y.argmax(1, keepdim=True),
                                                     y.max(1, keepdim=True).values.clamp(min=0))
                return torch.autograd.grad(y, inputs, start)[0].sum(1).numpy()
        return run
    return of_vgg(size, batch, seconds)(explain)


def threads_of_this_process(): return tf.config.threading.get_intra_op_parallelism_threads()


def against(peer, options, bar):
    "Run `ours` and `peer` in turn, twice, in processes of their own; print the ratio of their rates."
    results = {who: [] for who in ("ours", peer)}
    for _ in range(2):
        for who in results:
            command = [sys.executable, __file__, "--process", who, "--batch", str(options.batch), "--seconds",
                       str(options.seconds / 2), "--threads", str(options.threads)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                return print(f"{peer}: not measured: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
            results[who].append(json.loads(done.stdout.splitlines()[-1]))
    best = {who: max(r["rate"] for r in runs) for who, runs in results.items()}
    print(f"VGG16 64 x 64, batch {options.batch}, deep Taylor")
    for who, runs in results.items():
        print(f"  {who:12} {best[who]:7.1f} images/s, first map after {runs[0]['first']:.1f} s, sum of the maps "
              f"{runs[0]['total']:.4f}")
    print(f"  rbdm_nb makes {best['ours'] / best[peer]:.2f} x the images/s of {peer}{bar}")


def memory(options, batches=500):
    "Resident memory and seconds of a batch, early and late."
    import psutil
    from rbdm_nb.explain.relevance import Explainer
    explainer, images, me = Explainer(network("InceptionV3", 75)), images_for(options.batch, 75), psutil.Process()
    used, took = [], []
    for _ in range(batches):
        start = time.perf_counter()
        explainer(images)
        took.append(time.perf_counter() - start)
        used.append(me.memory_info().rss / 2**20)
    early, late = slice(batches // 10, batches // 5), slice(-batches // 10, None)
    print(f"InceptionV3 75 x 75, {batches} batches of {options.batch}")
    print(f"  memory {np.median(used[early]):.0f} MB early, {np.median(used[late]):.0f} MB late: "
          f"{np.median(used[late]) / np.median(used[early]):.3f} x (bar: flat)")
    print(f"  time   {1e3 * np.median(took[early]):.0f} ms early, {1e3 * np.median(took[late]):.0f} ms late: "
          f"{np.median(took[late]) / np.median(took[early]):.3f} x (bar: flat)")


def store(options, images=2048, rounds=2):
    "Images/s of `maps` into a store, and of the bare explainer on the same prepared batches."
    import tempfile
    from rbdm_nb.explain.methods import maps
    from rbdm_nb.explain.relevance import Explainer
    from rbdm_nb.store import Store
    model, batch = network("InceptionV3", 75), 32
    pixels = np.random.default_rng(2).integers(0, 256, (images, 75, 75, 3), "uint8")
    corpus = type("Pixels", (), dict(images=pixels, digest="benchmark", corpus="noise", split="train",
                                     __len__=lambda self: images))()
    scaled = lambda x: x.astype("float32") / 127.5 - 1
    explainer = Explainer(model)
    explainer(scaled(pixels[:batch]))
    rates = {"bare": [], "stored": []}
    for k in range(rounds):
        start = time.perf_counter()
        for i in range(0, images, batch): explainer(scaled(pixels[i:i + batch]))
        rates["bare"].append(images / (time.perf_counter() - start))
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            maps(model, corpus, scaled, Store(folder), batch_size=batch, trainer=f"benchmark {k}")
            rates["stored"].append(images / (time.perf_counter() - start))
    bare, stored = max(rates["bare"]), max(rates["stored"])
    print(f"InceptionV3 75 x 75, {images} images to the store, building the explainer included")
    print(f"  bare {bare:.1f} images/s, to the store {stored:.1f} images/s: {stored / bare:.3f} x (bar: 0.9 over "
          "35,000 images)")


PARTS = ("gradient", "innvestigate", "zennit", "memory", "store")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)}")
    parser.add_argument("--size", type=int, default=139, help="side of InceptionV3's input in pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=20, help="length of a measurement")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=2048, help="images of the part store")
    parser.add_argument("--process", choices=["ours", "innvestigate", "zennit"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if wrong := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(wrong))}; there are {', '.join(PARTS)}")
    for pool in ("intra_op", "inter_op"):
        getattr(tf.config.threading, f"set_{pool}_parallelism_threads")(options.threads)
    if options.process: print(json.dumps(globals()[options.process](64, options.batch, options.seconds)))
    else:
        for part in options.parts or PARTS:
            if part == "gradient": against_gradient(options.size, options.batch, options.seconds)
            elif part == "memory": memory(options)
            elif part == "store": store(options, options.images)
            else: against(part, options, " (bar: 1.5)" if part == "innvestigate" else "")

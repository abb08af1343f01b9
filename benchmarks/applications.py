"""Every network of keras.applications by every method: a map of the network that the model is, or a refusal.

    python benchmarks/applications.py [NETWORK ...] [--methods NAME ...] [--all] [--csv FILE]

Untrained networks of ten classes at their smallest input, with random biases and normalisations, one image. Without
names the lightest of each family, with --all every one (hours, and tens of gigabytes for the largest). Printed for each
network: the methods that give a map, the largest difference of the explained network's logits from the model's as a
share of their size (the bar is 1e-4), and each refusal with the methods that make it. Each network has a process of its
own. --csv appends a line for each network and method: network, method, map or refusal, difference, seconds."""
import argparse, csv, json, os, subprocess, sys, time, warnings
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

LIGHT = ("MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "RegNetX002",
         "RegNetY002", "ConvNeXtTiny", "ResNet50", "ResNet50V2", "ResNetRS50", "DenseNet121", "VGG16", "Xception",
         "InceptionV3", "InceptionResNetV2", "NASNetMobile")
SMALLEST = dict(Xception=71, InceptionV3=75, InceptionResNetV2=75)    # of all others 32
OPTIONS = dict(extremal=dict(iterations=2), score_cam=dict(top=2), ablation_cam=dict(top=2))
PIXELS = ("EfficientNet", "MobileNetV3", "ConvNeXt", "RegNet", "ResNetRS")   # which scale 0 to 255 themselves


def names():
    "All functions of keras.applications that make a network."
    import inspect, tensorflow as tf
    found = tf.keras.applications
    return [n for n in dir(found) if inspect.isfunction(getattr(found, n))]


def network(name):
    "(untrained model, its smallest side, bounds of its input)"
    import numpy as np, tensorflow as tf
    tf.keras.utils.set_random_seed(0)
    size = SMALLEST.get(name, 32)
    model = getattr(tf.keras.applications, name)(weights=None, classes=10, classifier_activation=None,
                                                 input_shape=(size, size, 3))
    draw = np.random.default_rng(0)
    for v in model.weights:
        part = getattr(v, "path", v.name).split("/")[-1].split(":")[0]
        if part in ("beta", "bias", "moving_mean"): v.assign(draw.normal(0, .1, v.shape))
        if part in ("gamma", "moving_variance"): v.assign(draw.uniform(.7, 1.4, v.shape))
    return model, size, (0., 255.) if name.startswith(PIXELS) else (-1., 1.)


def rows(name, methods):
    "Prints a JSON line for each method: [network, method, map or refusal, difference, seconds]."
    import numpy as np
    from rbdm_nb.explain.methods import EXPLAINERS, explainer
    warnings.simplefilter("ignore")
    model, size, bounds = network(name)
    image = np.random.default_rng(1).uniform(*bounds, (1, size, size, 3)).astype("float32")
    own = model(image, training=False).numpy()
    for method in methods or EXPLAINERS:
        begun, gap = time.perf_counter(), float("nan")
        try:
            explain = explainer(model, method, bounds, **OPTIONS.get(method, {})).explain
            relevance, logits = explain(image, 0, tell=False)
            gap = float(np.abs(logits - own).max()/np.abs(own).max())
            said = "map" if np.isfinite(relevance).all() else "not finite"
        except (ValueError, FloatingPointError) as refused: said = str(refused)
        print(json.dumps([name, method, said, gap, round(time.perf_counter() - begun, 1)]), flush=True)


def summary(name, found):
    "What is printed of one network."
    given = [r for r in found if r[2] == "map"]
    lines = [f"{name}: {len(given)} of {len(found)} methods give a map; largest difference "
             f"{max((r[3] for r in given), default=float('nan')):.1e}"]
    for said in dict.fromkeys(r[2] for r in found if r[2] != "map"):
        lines.append(f"  {', '.join(r[1] for r in found if r[2] == said)}: {said}")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--methods", nargs="*", default=[])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--csv")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child: sys.exit(rows(args.networks[0], args.methods))
    for name in args.networks or (names() if args.all else [n for n in LIGHT if n in names()]):
        child = subprocess.run([sys.executable, __file__, name, "--child", "--methods", *args.methods],
                               stdout=subprocess.PIPE, text=True)
        found = [json.loads(line) for line in child.stdout.splitlines() if line.startswith("[")]
        print(summary(name, found) if not child.returncode else f"{name}: ended with {child.returncode}", flush=True)
        if args.csv:
            with open(args.csv, "a", newline="", encoding="utf-8") as file: csv.writer(file).writerows(found)

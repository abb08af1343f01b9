"""Speed of the panel of `explore` on this machine: seconds from a choice to its picture.

    python benchmarks/explorer.py [--set demo] [--methods deep_taylor lrp_z grad_cam extremal] [--browser]

The network is the Trainer of `params/sets/<set>.yaml`, out of its store or trained. For each method: seconds until the
first picture, whose network has to be built, and the longest of the changes after it: of mask, share, smoothing, class
and face. With --browser a click in JupyterLab, run by headless Chromium, is timed until the new picture is painted: ten
changes of method, mask and share, each method seen once before."""
import argparse, os, sys, tempfile, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from contextlib import ExitStack
from functools import partial
from pathlib import Path
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT/"tests")]

SETUP = """
import os, sys
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, {root!r})
import yaml
from rbdm_nb.reproducibility import deterministic
shared = yaml.safe_load(open({root!r} + "/params/sets/{set}.yaml"))["shared"]
deterministic(shared["seed"], shared["threads"])
from rbdm_nb.explorer import explore
from rbdm_nb.networks.trainer import TrainerSettings, gallery, trainer_from
from rbdm_nb.store import Store
given = {{n[8:]: v for n, v in shared.items() if n.startswith("trainer_")}}
given["momentum"] = str(given.get("momentum", "keras"))
settings = TrainerSettings(shared["trainer"], **given, seed=shared["seed"], difficulty=shared.get("difficulty", 1.))
run = trainer_from(Store({root!r} + "/" + shared.get("output", "outputs/{set}") + "/store"), settings)
faces = gallery(shared["seed"], shared.get("difficulty", 1.))
"""


def seconds(act, **given):
    start = time.perf_counter()
    act(**given)
    return time.perf_counter() - start


def in_python(name, methods):
    space = {}
    exec(SETUP.format(root=str(ROOT), set=name), space)
    start = time.perf_counter()
    panel = space["explore"](space["run"], space["faces"], method=methods[0])
    first = {methods[0]: time.perf_counter() - start} | {m: seconds(panel.choose, method=m) for m in methods[1:]}
    changes = {"mask": dict(mask="negative"), "share": dict(share=.3), "smoothing": dict(smoothing=1.5),
               "perceptive": dict(mask="perceptive"), "class": dict(target=2), "face": dict(picture=3, target=None)}
    for method in methods:
        panel.choose(method=method, mask="mean", picture=0, target=None, share=.1, smoothing=0)
        panel.choose(method=next(m for m in methods if m != method))
        back = seconds(panel.choose, method=method)
        took = {name: seconds(panel.choose, **change) for name, change in changes.items()}
        print(f"{method:18} first {first[method]:6.2f} s; again {back:.3f} s; "
              + ", ".join(f"{n} {s:.3f}" for n, s in took.items()), flush=True)


CHANGES = [("method", 1), ("mask", "negative"), ("share", .6), ("method", 2), ("mask", "perceptive"), ("mask", "mean"),
           ("method", 0), ("mask", "negative"), ("share", .3), ("method", 1)]


def in_browser(name, methods):
    from test_explorer import PICTURES, Page
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        cell = SETUP.format(root=str(ROOT), set=name) + f"explore(run, faces, method={methods[0]!r})"
        page = Page(Path(folder), stack, "lab", cell)
        for method in (*methods[1:], methods[0]): page.after(partial(page.press, method), f"{method} for")
        page.press("mean")
        time.sleep(3)
        for what, value in CHANGES:
            page.tab.js(f"""window.painted = new Promise(done => {{
              const watch = new MutationObserver(() => {{ watch.disconnect();
                Promise.all([...{PICTURES}.querySelectorAll('img')].map(i => i.decode())).then(() =>
                  requestAnimationFrame(() => setTimeout(() => done(performance.now() - window.pressed)))) }});
              watch.observe({PICTURES}.parentElement, {{childList: true, subtree: true}}) }});
              const press = () => window.pressed = performance.now();
              window.addEventListener('pointerdown', press, {{once: true, capture: true}});
              true""")
            if what == "share": page.slide("share", value)
            else: page.press(methods[value] if what == "method" else value)
            print(f"{what:7} {methods[value] if what == 'method' else value!s:12} "
                  f"{page.tab.js('window.painted')/1000:.3f} s from the click to the picture", flush=True)
        print(f"complaints of the console: {len(page.problems())}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--set", default="demo")
parser.add_argument("--methods", nargs="+", default=["deep_taylor", "lrp_z", "grad_cam", "extremal"])
parser.add_argument("--browser", action="store_true")
given = parser.parse_args()
if len(given.methods) < 3: parser.error("give three methods or more")
(in_browser if given.browser else in_python)(given.set, given.methods)

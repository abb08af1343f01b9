"""Speed and memory of corpora that are read on demand, on this machine, as ratios from one run.

    python benchmarks/datasets.py [--size 139] [--seconds 20] [--threads 2] [--files 10000 100000] [--only
    speed|memory|opening] [--folder DIR]

Speed: images/s of an epoch through `rbdm_nb.networks.training.batches`, plain, and with augmentation and masks, as
shares of bare tf.data (tf.io.decode_jpeg or decode_png and tf.image.resize, in parallel) on the same files, called in
turn. JPEG files are an AffectNet (pictures of 550 pixels, cut to the face) and an AffectNet-8 (224 pixels); PNG files a
folder corpus. Ours comes in two kinds: with the pixels that were kept on disk when the corpus was opened first, as is
the rule, and decoding every file each time, as where there is no room. Below, what the parts cost: reading or decoding
alone, and augmentation and scaling alone, of images that are in memory. CPU time is steadier than the clock on a busy
machine.

Memory: peak resident memory of fresh processes that open a corpus of so many files (hard links to a few hundred) and
draw batches from it; the bar is that the largest takes at most 1.1 times the smallest. Opening: seconds the first and
the second time."""
import argparse, json, os, resource, shutil, subprocess, sys, tempfile, time
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np

DISTINCT = 400   # pictures that are really drawn
# 550: AffectNet's faces have 425 pixels on average, and a standard deviation of 349
SIDES = {"affectnet": 550, "affectnet8": 224, "folder": 224}
KINDS = {"affectnet": "JPEG 550, cut to the face", "affectnet8": "JPEG 224", "folder": "PNG 224"}


# --- corpora of any size

def pictures(folder, side, suffix):
    "DISTINCT pictures with something like a camera's noise; their paths."
    from PIL import Image
    from rbdm_nb.corpora.datasets import EXPRESSIONS
    from rbdm_nb.corpora.faces import face
    from rbdm_nb.corpora.synthetic import draw
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}{suffix}" for i in range(DISTINCT)]
    for i, path in enumerate(paths):
        if path.exists(): continue
        noise = np.random.default_rng(i).normal(0, 6, (side, side, 3))
        Image.fromarray(np.clip(draw(face(EXPRESSIONS[i % 8], 0, i), side, 3) + noise, 0,
                                255).astype(np.uint8)).save(path, **(dict(quality=90) if suffix == ".jpg" else {}))
    return paths


def original(root, source, n):
    "The original release, all boxes alike; codes in turn."
    points = ";".join(f"{v:.2f}" for v in np.random.default_rng(0).uniform(100, 440, 136))
    rows = ["subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"]
    for i in range(n):
        name = f"{i % 1000}/{i:056x}.jpg"
        link(source[i % DISTINCT], root / "Manually_Annotated_Images" / name)
        rows.append(f"{name},70,70,400,400,{points},{i % DISTINCT % 8},0.1,-0.2")
    lists = root / "Manually_Annotated_file_lists"
    lists.mkdir()
    (lists / "training.csv").write_text("\n".join(rows) + "\n")


def affectnet8(root, source, n):
    labels = root / "labels"
    labels.mkdir(parents=True)
    parts = {"val": np.array("0.1"), "aro": np.array("-0.2"), "lnd": np.arange(136.)} | {f"exp{c}": np.array(str(c))
                                                                                         for c in range(8)}
    for name, a in parts.items(): np.save(labels / f"{name}.npy", a)
    for i in range(n):
        link(source[i % DISTINCT], root / "train_set" / "images" / f"{i}.jpg")
        for part in ("exp", "val", "aro", "lnd"):
            link(copy_of(labels / f"{part}{i % DISTINCT % 8 if part == 'exp' else ''}.npy", i),
                 root / "train_set" / "annotations" / f"{i}_{part}.npy")
    shutil.rmtree(labels)


def classes(root, source, n):
    from rbdm_nb.corpora.datasets import EXPRESSIONS
    for i in range(n): link(source[i % DISTINCT], root / "train" / EXPRESSIONS[i % DISTINCT % 8] / f"{i:07}.png")


def copy_of(path, i):
    "A file may have 65,000 names at most on common file systems; every 50,000 it is copied."
    again = path.with_name(f"{path.stem}_{i // 50_000}{path.suffix}")
    if not again.exists(): shutil.copy(path, again)
    return again


def link(path, name):
    try: os.link(path, name)
    except FileNotFoundError:
        name.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, name)


def corpus(folder, kind, n):
    "Folder of a corpus of `kind` with `n` files, made if it is not there."
    root = folder / f"{kind}_{n}"
    if not (root / "done").exists():
        shutil.rmtree(root, ignore_errors=True)
        source = pictures(folder / f"{kind}_pictures", SIDES[kind], ".png" if kind == "folder" else ".jpg")
        {"affectnet": original, "affectnet8": affectnet8, "folder": classes}[kind](root, source, n)
        (root / "done").touch()
    return root


def opened(root, kind, size, kept=True):
    "The corpus's training split, on demand however small it is; `kept`: with its pixels on disk."
    from rbdm_nb.corpora import datasets, files, images
    files.MEMORY, images.DISK = 0, 20e9 if kept else 0
    options = dict(duplicates="keep") if kind != "folder" else dict(valid_fraction=0)
    return datasets.load("folder" if kind == "folder" else "affectnet", root, image_size=size, channels=3, **options)


# --- speed

def tensorflow(threads):
    import tensorflow as tf
    for pool in ("intra_op", "inter_op"): getattr(tf.config.threading, f"set_{pool}_parallelism_threads")(threads)
    return tf


class Half:
    "Masks that hide half of each image, made when asked for."
    def __init__(self, size): self.one = np.random.default_rng(0).random((size, size)) < .5
    def __getitem__(self, index): return np.broadcast_to(self.one, (len(index), *self.one.shape)).copy()


def bare(tf, files, size, batch):
    "Function that runs through the files with tf.data alone."
    decoder = tf.io.decode_png if files[0].endswith(".png") else tf.io.decode_jpeg
    def one(path): return tf.image.resize(decoder(tf.io.read_file(path), channels=3), (size, size))
    pictures = tf.data.Dataset.from_tensor_slices(files).map(one, num_parallel_calls=tf.data.AUTOTUNE)
    data = pictures.batch(batch).prefetch(4)
    return lambda: [None for _ in data]


def ours(corpus, size, batch, masks=None, augmented=False):
    "Function that runs through an epoch of our batches."
    from rbdm_nb.networks.training import batches
    weights, epoch = np.ones(8, "float32"), iter(range(1, 10**9))
    return lambda: [None for _ in batches(corpus, "InceptionV3", size, batch, 0, epoch=next(epoch), weights=weights,
                                          masks=masks, augmented=augmented)]


def alternate(functions, seconds):
    "{name: (median seconds, median CPU seconds)} of a call of each function, called in turn for `seconds`."
    for f in functions.values(): f()
    times, end = {name: [] for name in functions}, time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < 3:
        for name, f in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            f()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: np.median(t, axis=0) for name, t in times.items()}


def speed(kind, options):
    tf = tensorflow(options.threads)
    root, size, batch = corpus(options.folder, kind, options.epoch), options.size, options.batch
    kept, anew = opened(root, kind, size), opened(root, kind, size, kept=False)
    files = sorted(str(p) for p in root.rglob("*") if p.suffix in (".jpg", ".png"))
    from rbdm_nb.corpora.datasets import Corpus
    memory = Corpus(kept.images[:], kept.labels, kept.classes, kept.names)
    for path in files: Path(path).read_bytes()   # all from the page cache
    through = lambda corpus: lambda: [corpus.images[k:k + batch] for k in range(0, len(corpus), batch)]
    t = alternate({"bare tf.data": bare(tf, files, size, batch),
                   "ours": ours(kept, size, batch), "ours, augmented and masked": ours(kept, size, batch, Half(size),
                                                                                       True),
                   "ours, decoding": ours(anew, size, batch),
                   "ours, decoding, augmented and masked": ours(anew, size, batch, Half(size), True),
                   "  reading alone": through(kept), "  decoding alone": through(anew),
                   "  augmentation alone": ours(memory, size, batch, Half(size), True)}, options.seconds)
    print(f"{KINDS[kind]} -> {size} x {size}, batch {batch}, {options.threads} threads, {len(files):,} files, "
          f"TensorFlow {tf.__version__}")
    first = t["bare tf.data"]
    for name, (wall, cpu) in t.items():
        share = f"   {first[0] / wall:5.2f} of bare by the clock, {first[1] / cpu:5.2f} by CPU time" if name.startswith(
            "ours") else ""
        print(f"  {name:36} {len(files) / wall:7.0f} images/s {1e6 * cpu / len(files):6.0f} us CPU an image{share}",
              flush=True)


# --- memory and opening

def epoch(kind, n, options):
    "In a process of its own: opens the corpus and draws batches; JSON with seconds and peak memory."
    tensorflow(options.threads)
    root = corpus(options.folder, kind, n)
    start = time.perf_counter()
    faces = opened(root, kind, options.size)
    seconds, peak = time.perf_counter() - start, lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    after = peak()
    from rbdm_nb.networks.training import batches
    data = batches(faces, "InceptionV3", options.size, options.batch, 0, epoch=1,
                   weights=np.ones(8, "float32"), masks=Half(options.size))
    for _ in data.take(options.batches): pass
    print(json.dumps(dict(files=len(faces), seconds=seconds, opened=after, peak=peak())))


def fresh(kind, n, options):
    command = [sys.executable, __file__, "--part", kind, "--files", str(n), "--folder", str(options.folder), "--size",
               str(options.size), "--batch", str(options.batch),
               "--batches", str(options.batches), "--threads", str(options.threads)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode: sys.exit(f"{kind} with {n} files failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def memory(kind, options):
    print(f"{kind}: opening, and {options.batches} augmented and masked batches of {options.batch} at {options.size} x "
          f"{options.size}, each in a fresh process")
    peaks = {"first": [], "again": []}
    for n in options.files:
        corpus(options.folder, kind, n)
        for which in peaks:
            if which == "first": shutil.rmtree(options.folder / "cache" / f"{kind}_{n}", ignore_errors=True)
            os.environ["RBDM_CACHE"] = str(options.folder / "cache" / f"{kind}_{n}")
            r = fresh(kind, n, options)
            peaks[which].append(r["peak"])
            print(f"  {r['files']:9,} files, opened {which:5}: {r['seconds']:7.1f} s; peak {r['opened']:6.0f} MB when "
                  f"open, {r['peak']:6.0f} MB after the batches", flush=True)
    for which, p in peaks.items(): print(f"  opened {which}: largest / smallest = {max(p) / min(p):.3f} of peak memory")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=139, help="side of the images in pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=20, help="length of a measurement of speed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epoch", type=int, default=3_200, help="images of an epoch, for speed")
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000],
                        help="sizes of the corpora for memory")
    parser.add_argument("--batches", type=int, default=200, help="batches drawn for memory")
    parser.add_argument("--only", choices=["speed", "memory"])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--folder", type=Path, help="where corpora are made and kept; a temporary folder by default")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    temporary = None if options.folder else tempfile.TemporaryDirectory()
    options.folder = (options.folder or Path(temporary.name)).resolve()
    os.environ.setdefault("RBDM_CACHE", str(options.folder / "cache"))
    if options.part: epoch(options.part, options.files[0], options)
    else:
        for kind in options.kinds:
            if options.only != "memory": speed(kind, options)
        for kind in options.kinds:
            if options.only != "speed": memory(kind, options)

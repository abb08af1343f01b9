"""What a cluster of two workers on this machine costs against two jobs, and whether both make the same.

    python benchmarks/cluster.py [--pairs 3] [--images 256] [--epochs 2]

A small set (Trainer, masks, three Trainees on built-in faces, one thread each) is run by `rbdm run --jobs 2` and by
`rbdm run --cluster local`, from nothing each time, in a copy of the project; pairs in turn, which of them begins
alternates. The measure is the ratio of the times within a pair, starting the workers included: the median, and the
range. Bar: at most 1.15 times as long. The fingerprints (digests of all files in the store, but the seconds that chunks
took) must be the same in all runs. Exit status 1 if they are not, or the bar is missed."""
import argparse, json, os, shutil, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SET = """name: small
together: [05_masking, 06_trainee]
shared: {{seed: 0, threads: 1, corpus: synthetic, limit: {images}, image_size: 48, trainer: MobileNetV2,
  trainer_size: 48, trainer_epochs: {epochs}, trainer_limit: {images}, trainer_momentum: 0.9, epochs: {epochs}}}
notebooks:
  02_trainer: {{compare: false}}
  05_masking: {{}}
  06_trainee: [{{mask: none}}, {{mask: mean}}, {{mask: random}}]
"""
MACHINES = dict(jobs=["--jobs", "2"], cluster=["--cluster", "local"])


def project(folder, options):
    "A copy of the project in `folder`, with the small set."
    for part in ("nbs", "rbdm_nb", "params", "clusters"):
        shutil.copytree(ROOT/part, folder/part, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    shutil.copy(ROOT/"settings.ini", folder)
    (folder/"params"/"sets"/"small.yaml").write_text(SET.format(**vars(options)))


def run(folder, machines):
    "(Seconds of the set on these `machines`, from nothing; digests of what it left in the store)."
    shutil.rmtree(folder/"outputs", ignore_errors=True)
    code = "from rbdm_nb.roof.cli import main; main(prog_name='rbdm')"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, "run", "small", *MACHINES[machines]], cwd=folder, text=True,
                          capture_output=True, env=dict(os.environ, PYTHONPATH=str(folder)))
    took = time.perf_counter() - began
    if done.returncode: sys.exit(done.stdout + done.stderr)
    records = {f.parent.relative_to(folder).as_posix(): json.loads(f.read_text())
               for f in folder.glob("outputs/small/store/*/*/meta.json")}
    return took, {f"{entry}/{name}": digest for entry, record in records.items()
                  for name, digest in record["files"].items() if ".progress/" not in name}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in (("pairs", 3), ("images", 256), ("epochs", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options, ratios, made = parser.parse_args(), [], []
    with tempfile.TemporaryDirectory() as folder:
        project(Path(folder), options)
        for pair in range(options.pairs):
            order = list(MACHINES)[::-1 if pair % 2 else 1]
            taken = {machines: run(Path(folder), machines) for machines in order}
            made += [digests for _, digests in taken.values()]
            ratios.append(taken["cluster"][0]/taken["jobs"][0])
            told = ", ".join(f"{machines} {taken[machines][0]:.1f} s" for machines in order)
            print(f"pair {pair + 1}: {told}; ratio {ratios[-1]:.3f}; load {os.getloadavg()[0]:.1f}", flush=True)
    different = {n for digests in made for n in {**digests, **made[0]} if digests.get(n) != made[0].get(n)}
    median = sorted(ratios)[len(ratios)//2]
    print(f"cluster/jobs: {median:.3f} ({min(ratios):.3f} to {max(ratios):.3f}), bar 1.15; "
          f"{len(made[0])} files of the store, {len(different)} different {sorted(different)[:3]}")
    sys.exit(bool(different) or not made[0] or median > 1.15)


if __name__ == "__main__": main()

"nbdev_docs runs single cells of the notebooks, in the clone: those that export, import or show documentation."
import os, subprocess, sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
RUN = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from nbdev.frontmatter import FrontmatterProc
from nbdev.process import NBProcessor
from nbdev.processors import add_show_docs, exec_show_docs, populate_language
failed = []
for path in sorted(Path("nbs").glob("*.ipynb")):
    try: NBProcessor(path, procs=[FrontmatterProc, populate_language, add_show_docs, exec_show_docs]).process()
    except Exception as error: failed.append(f"{path.name}: {error.__cause__!r} {error}")
sys.exit("\\n".join(failed) or 0)
"""


def git(folder, *args):
    return subprocess.run(["git", "-C", str(folder), *args], capture_output=True, text=True, check=True).stdout


def test_what_nbdev_docs_runs_leaves_the_clone_as_it_was(tmp_path):
    "All of these cells run, and `git status` is empty afterwards."
    clone = tmp_path/"clone"
    clone.mkdir()
    listed = git(REPOSITORY, "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    for name in [n for n in listed if n and not n.startswith("outputs/") and (REPOSITORY/n).is_file()]:
        (clone/name).parent.mkdir(parents=True, exist_ok=True)
        (clone/name).write_bytes((REPOSITORY/name).read_bytes())
    git(clone, "init", "-q")
    git(clone, "add", "-A")
    git(clone, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "as it was")
    environment = {**os.environ, "PYTHONPATH": str(clone), "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", RUN], cwd=clone, env=environment, capture_output=True, text=True,
                          timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert git(clone, "status", "--porcelain") == ""

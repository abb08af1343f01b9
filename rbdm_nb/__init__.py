"Relevance-Based Data Masking. Written by hand; the modules beside it are made from the notebooks."
import os, sys
from pathlib import Path

__version__ = "0.1.0"


def _clone(folder):
    "The clone of this project at or above `folder` that brings its own copy of this package; None if there is none."
    for place in (folder, *folder.parents):
        settings = place/"settings.ini"
        try: found = settings.is_file() and "lib_name = rbdm_nb" in settings.read_text(encoding="utf-8")
        except (OSError, ValueError): continue
        if found: return place if (place/"rbdm_nb"/"__init__.py").is_file() else None


def _opened():
    "Folders of the notebook that this kernel belongs to, as far as Jupyter or papermill's command line tells."
    if "ipykernel" not in sys.modules: return []
    named = [os.environ.get("JPY_SESSION_NAME", "")]
    try: above = Path(f"/proc/{os.getppid()}")
    except OSError: above = None
    try: words = os.fsdecode((above/"cmdline").read_bytes()).split("\0")
    except OSError: words = []
    if any(Path(w).name == "papermill" for w in words[:4]):
        try: started = Path(os.readlink(above/"cwd"))
        except OSError: started = Path()
        named += [str(started/w) for w in words if w.endswith(".ipynb")][:1]    # the first is what is run
    return [Path(n).resolve().parent for n in named if os.path.isabs(n) and os.path.isfile(n)]


def same_clone():
    "Refuse to be the library of another clone: its notebooks would be computed by this code."
    mine = Path(__file__).resolve().parent
    try: here = [Path.cwd().resolve()]
    except OSError: here = []
    for clone in filter(None, map(_clone, [*_opened(), *here])):
        if (clone/"rbdm_nb").resolve() == mine: continue
        if Path(*getattr(sys, "argv", [])[:1]).name == "rbdm": _again(clone, mine)
        raise ImportError(f"this is the clone {clone}, but rbdm_nb comes from {mine.parent}: its code, not this clone's, "
                          f"would compute the results; run `make setup` in {clone} and use its .venv, "
                          f"or set PYTHONPATH={clone}")


def _again(clone, mine):
    "Start the command `rbdm` anew with the library of `clone`, and say so."
    if os.environ.get("RBDM_CLONE") == str(clone): return    # that has not helped
    print(f"rbdm: with the library of {clone}, where this is, not with that of {mine.parent}", file=sys.stderr, flush=True)
    paths = [str(clone), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RBDM_CLONE": str(clone)}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


same_clone()

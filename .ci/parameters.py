"""Writes the parameter lines that notebooks share (params/shared.py) into their cells; --check: says which differ.

A line keeps its notebook's default; its comment is the shared one, unless it starts with `here:`. In a shared comment
`room.module.NAME` becomes the names in that registry. Long comments go on in indented comments below."""
import ast, re, sys, textwrap
from importlib import import_module
from pathlib import Path
import nbformat
from rbdm_nb.parameters import DECLARATION, OWN, joined_lines

SHARED, WIDTH = "params/shared.py", 120


def expanded(text):
    "`text` with the names of what a registry, `room.module.NAME`, holds."
    def names(found):
        try: return ", ".join(getattr(import_module(f"rbdm_nb.{found[1]}"), found[2]))
        except (ImportError, AttributeError):
            sys.exit(f"Error: {SHARED}: there is no registry {found[0]} in rbdm_nb; correct it")
    return re.sub(r"\b((?:[a-z_0-9]+\.)*[a-z_0-9]+)\.([A-Z][A-Z_]+)\b", names, text)


def read_shared(root):
    "Name -> (type, comment with registries expanded) of the shared parameters of the clone at `root`."
    lines = joined_lines((root/SHARED).read_text(encoding="utf-8"))
    found = [DECLARATION.match(l) for l in lines if l and not l.startswith("#")]
    return {d["name"]: (d["type"], expanded(d["help"])) for d in found}


def written(line, shared):
    "The `line` of a parameters cell as it should be; `ValueError` if its type is not that of the shared one."
    d = DECLARATION.match(line)
    if not d: return line
    kind, text = d["type"], d["help"]
    if d["name"] in shared and not text.startswith(OWN):
        kind, text = shared[d["name"]]
        if type(ast.literal_eval(d["default"])).__name__ != kind:
            raise ValueError(f"{d['name']} is {d['default']}, but {SHARED} says {kind}; give it a default of that type")
    return textwrap.fill(text, WIDTH, initial_indent=f"{d['name']}: {kind} = {d['default']}  # ",
                         subsequent_indent="    # ", break_long_words=False, break_on_hyphens=False)


def step(path, shared, check):
    "Bring the notebook at `path` in step, or only `check`; returns what is wrong."
    nb, wrong = nbformat.read(path, as_version=4), []
    for cell in [c for c in nb.cells if "parameters" in c.metadata.get("tags", [])][:1]:
        lines = []
        for line in joined_lines(cell.source):
            try: lines.append(written(line, shared))
            except ValueError as error: wrong.append(f"{path.name}: {error}"); lines.append(line)
        if "\n".join(lines) == cell.source: continue
        if check: wrong.append(f"{path.name}: parameters not in step with {SHARED}; run `make clean` and commit")
        else: cell.source = "\n".join(lines); nbformat.write(nb, path)
    return wrong


def main(root, check=False):
    "All notebooks of the clone at `root`; exits with what is wrong."
    shared = read_shared(root)
    wrong = [w for path in sorted((root/"nbs").glob("*.ipynb")) for w in step(path, shared, check)]
    if wrong: sys.exit("\n".join(f"Error: {w}" for w in wrong))


if __name__ == "__main__": main(Path(__file__).parents[1], "--check" in sys.argv)

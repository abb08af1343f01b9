"What a key's code version follows: every function in reach, edited one at a time, as text."
import ast, os, subprocess, sys
from pathlib import Path
import pytest
from hypothesis import given, settings, strategies as st
from rbdm_nb import code
from rbdm_nb.code import Package, _digests, _reach, code_version, read_package, reached

KNOWN = read_package(Path(code.__file__).parent)
SOURCES = KNOWN.sources
ROOTS = dict(   # name: (roots, what is left out), as the keys are made
    map=(("rbdm_nb.explain.methods._fill", "rbdm_nb.explain.relevance.Explainer", "rbdm_nb.explain.rules.deep_taylor"),
         ("rbdm_nb.explain.methods.FAMILIES", "rbdm_nb.explain.rules.METHODS")),
    mask=(("rbdm_nb.masking.corpus_masks", "rbdm_nb.masking._perceptive"),
          ("rbdm_nb.masking.MASKS", "rbdm_nb.masking.CONTROLS")),
    epoch=(("rbdm_nb.networks.training._train_span",),
           ("rbdm_nb.networks.training._drop_states", "rbdm_nb.reproducibility.environment")))


def version(what, sources=SOURCES):
    package = Package(sources)
    package.modules.update({m: parsed for m, parsed in KNOWN.modules.items() if sources.get(m) == SOURCES[m]})
    roots, without = (set().union(*map(package.find, names)) for names in ROOTS[what])
    found = _reach(package, roots, without)
    return _digests(package, found), found


def edited(source, name):
    "`source` with another first statement in everything called `name`: functions, classes' methods, constants."
    tree = ast.parse(source)
    for node in tree.body:
        if getattr(node, "name", None) != name: continue
        for part in [node, *ast.walk(node)]:
            if not isinstance(part, ast.FunctionDef): continue
            part.body.insert(0, ast.parse("edited_here = 1").body[0])
            break
    return ast.unparse(tree)


@pytest.mark.parametrize("what", ROOTS)
def test_every_function_in_reach_counts(what):
    before, found = version(what)
    functions = 0
    for module, name in sorted(found):
        source = edited(SOURCES[module], name)
        if "edited_here" not in source: continue
        functions += 1
        assert version(what, {**SOURCES, module: source})[0] != before, (module, name)
    assert functions > 15


@pytest.mark.parametrize("what, names", [
    ("map", "steps._slopes steps._guided steps.logits_of steps._attention attention.halves "
            "relevance._nested relevance._functional "
            "layers._everywhere layers._union layers.call_of layers.is_relu layers.is_softmax layers.is_linear "
            "layers.Graph rules.PARTS steps._POOLS starts.compared relevance.Explainer"),
    ("mask", "perception.Setup masking._disc masking._dilate perception.top_pixels relevance.resize_relevance "
             "masking.Masks masking._make"),
    ("epoch", "training._fetch training.augment training.compiled training._colours training._load_state "
              "architectures.build reproducibility.rng")])
def test_what_lists_kept_by_hand_had_forgotten(what, names):
    found = {f"{m.split('.')[-1]}.{n}" for m, n in version(what)[1]}
    assert not set(names.split()) - found


@pytest.mark.parametrize("what", ROOTS)
def test_comments_docstrings_and_layout_do_not_count(what):
    def explained(source):
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                first = node.body[0]
                if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
                    first.value.value += " And more."
                else: node.body.insert(0, ast.Expr(ast.Constant("A docstring.")))
        return "# a comment\n" + ast.unparse(tree)
    assert version(what, {m: explained(s) for m, s in SOURCES.items()})[0] == version(what)[0]


def test_what_is_not_in_reach_does_not_count():
    before, _ = version("mask")
    assert version("mask", {**SOURCES, "masking": edited(SOURCES["masking"], "mean_mask")})[0] == before
    assert version("mask", {**SOURCES, "roof.claims": "x = 1"})[0] == before


def toy(**modules):
    package = Package(modules)
    return _digests(package, _reach(package, package.find("rbdm_nb.a.f")))

BASE = dict(b="def g(): return 1\ndef h(): return 2")

@pytest.mark.parametrize("a, in_reach", [
    ("from .b import h\ndef f(x=h): return x()", True),                                   # a default
    ("from .b import h\n@h\ndef f(): pass", True),                                        # a decorator
    ("from . import b\ndef f(): return b.h()", True),                                     # module.name
    ("import rbdm_nb.b\ndef f(): return rbdm_nb.b.h()", True),
    ("from rbdm_nb import b as c\ndef f(): return vars(c)", True),                        # a module as a whole
    ("def f():\n    from .b import h\n    return h()", True),                             # imported within
    ("def f():\n    def inner(): return (lambda: T['h']())\n    return inner\nfrom .b import h\nT = {'h': h}", True),
    ("from .b import h\nT = {}\nT['h'] = h\ndef f(): return T['h']()", True),             # added to a table
    ("from .b import h\nT = {}\nT.update(h=h)\ndef f(): return T['h']()", True),          # acts on import
    ("from .b import *\ndef f(): return h()", True),
    ("from .b import h\nclass C(h): pass\ndef f() -> C: pass", True),                     # base class, annotation
    ("from .b import h\nclass C:\n    def m(self): return h()\n"
     "class D:\n    def __init__(self): self.c = 0\ndef f(c): return c.m()", True),
    ("import importlib\ndef f(): return importlib.import_module('rbdm_nb.b')", True),
    ("try:\n    from .b import h\nexcept ImportError: h = None\ndef f(): return h()", True),
    ("from .b import g, h\ndef other(): return h()\ndef f(): return g()", False)])
def test_ways_to_reach_a_function(a, in_reach):
    now, then = toy(a=a, b=BASE["b"]), toy(a=a, b=BASE["b"].replace("2", "3"))
    assert (now != then) == in_reach


def test_another_name_for_an_import_counts():
    b = "def g(): return 1\ndef h(): return 2"
    use = "\ndef f(): return x() - y()"
    assert toy(a="from .b import g as x, h as y" + use, b=b) != toy(a="from .b import h as x, g as y" + use, b=b)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=14), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_reach_is_that_of_the_graph(edges, changed):
    "Eight functions in two modules that call each other in any way, circles too."
    place = lambda k: "ab"[k % 2]
    def sources(value):
        text = {"a": "from . import b\nfrom . import a\n", "b": "from . import a\nfrom . import b\n"}
        for k in range(8):
            calls = "".join(f"\n    {place(j)}.f{j}()" for i, j in edges if i == k)
            text[place(k)] += f"def f{k}():{calls}\n    return {value if k == changed else 0}\n"
        return text
    reach, todo = set(), [0]
    while todo:
        if (k := todo.pop()) not in reach: reach.add(k); todo += [j for i, j in edges if i == k]
    digests = [_digests(p := Package(sources(v)), _reach(p, p.find("rbdm_nb.a.f0"))) for v in (1, 2)]
    assert (digests[0] != digests[1]) == (changed in reach)


def test_versions_are_the_same_in_every_process():
    roots = "rbdm_nb.explain.methods._fill", "rbdm_nb.masking.corpus_masks"
    ask = f"from rbdm_nb.code import code_version; print(*map(code_version, {roots}))"
    def run(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        return subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True,
                              env=environment).stdout
    assert run("1") == run("2") == " ".join(map(code_version, roots)) + "\n"


def test_what_was_put_in_a_functions_place_counts(monkeypatch):
    from rbdm_nb.gaze import perception
    before = code_version(perception.top_pixels), code_version("rbdm_nb.gaze.perception.top_pixels")
    monkeypatch.setattr(perception, "checked_relevance", lambda r: r*2)
    assert code_version(perception.top_pixels) != before[0]
    monkeypatch.setattr(perception, "top_pixels", lambda r, n: r > n)
    assert code_version(perception.top_pixels) != before[0]
    monkeypatch.undo()
    assert (code_version(perception.top_pixels), code_version("rbdm_nb.gaze.perception.top_pixels")) == before


def test_a_method_of_ones_own_counts():
    from rbdm_nb.explain.rules import Method
    class Twice:
        def inputs(self, x): yield 2*x
    before = code_version(Method(samples=Twice.inputs))
    class Twice:
        def inputs(self, x): yield 3*x
    assert code_version(Method(samples=Twice.inputs)) != before
    assert code_version(Method(start="one")) != code_version(Method(start="positive"))


def test_masks_do_not_share_a_version():
    from rbdm_nb.masking import CONTROLS, MASKS, _code
    versions = [_code(name) for name in (*(*MASKS, *CONTROLS)[1:], "human")]
    assert len(set(versions)) == len(versions)
    assert "masking.random_mask" not in reached("rbdm_nb.masking.mean_mask")


def test_a_module_that_is_not_python_is_named():
    with pytest.raises(ValueError, match="rbdm_nb/a.py, line 1"): toy(a="def f(:")
    with pytest.raises(ValueError, match="there is no rbdm_nb.nothing"): code_version("rbdm_nb.nothing.f")


def test_a_running_notebook_has_the_keys_of_its_module():
    "A notebook's functions stand in __main__; they share what is kept with who imports the module."
    import json
    from execnb.shell import CaptureShell
    from rbdm_nb.masking import _code
    shell = CaptureShell()
    notebook = json.loads((Path(code.__file__).parents[1]/"nbs"/"05_masking.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if source.startswith("#| export"): shell.run(source)
    names = ("mean", "random", "perceptive", "human")
    assert [shell.user_ns["_code"](n) for n in names] == [_code(n) for n in names]
    shell.run("def _disc(radius): return 1")
    assert shell.user_ns["_code"]("perceptive") != _code("perceptive")


def test_pixels_that_changed_on_disk_are_read_from_the_picture(tmp_path):
    import hashlib, numpy as np
    from rbdm_nb.corpora.images import RowFile, stored_or
    pictures = np.arange(2*12, dtype=np.uint8).reshape(2, 2, 2, 3)
    file = RowFile(tmp_path/"pixels", (2, 2, 3))
    rows = np.zeros(2, [("row", "i8"), ("pixels", "S32")])
    for k in range(2): rows[k] = file.add(pictures[k]), hashlib.sha256(pictures[k]).digest()
    data = bytearray((tmp_path/"pixels").read_bytes())
    data[-1] ^= 4
    (tmp_path/"pixels").write_bytes(data)
    one = stored_or(lambda k: pictures[k], rows, file)
    np.testing.assert_array_equal(one(0), pictures[0])
    with pytest.warns(UserWarning, match="damaged at image 1"): np.testing.assert_array_equal(one(1), pictures[1])

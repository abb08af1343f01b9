"""The report: what it says of whole, broken, hostile and missing files; as XML, and in headless Chromium."""
import json, math, os, re, shutil, subprocess, sys, urllib.request
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree
import jinja2, numpy as np, pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
import study_browser
from rbdm_nb.roof import contents, report
from rbdm_nb.roof.pipeline import _set_of

REPOSITORY = Path(__file__).resolve().parents[1]
HOSTILE = ("""<script>window.hacked = 1</script><img src=x onerror=hacked=1> "'`{{ 7*7 }}{% raw %}&lt; ]]> --> """
           "</style></table> ναί 😀 \u202e\x00\x1b")


def csv_text(*rows):
    quoted = [['"' + str(v).replace('"', '""') + '"' for v in row] for row in rows]
    return "\n".join(map(",".join, quoted)) + "\n"


def picture(path, size=(40, 30), **said):
    "A picture, and beside it what is `said` of it: caption, shows."
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(size[0]*size[1], dtype=np.uint8).reshape(size[::-1])).save(path, format="PNG")
    if said: save(path.with_suffix(".json"), said)


def save(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content if isinstance(content, str)
                                                                                 else json.dumps(content),
                                                                                 encoding="utf-8")


def record(**changes):
    return dict(notebook="06_trainee", status="done", time="2026-01-02T03:04:05+00:00", wall_seconds=90.5,
                revision="a"*40, dirty=True, lock="b"*64, seed=0,
                made_from=dict(parameters=dict(corpus="synthetic", seed=0)), outputs={},
                environment=dict(python="3.11.7", cpu="Some CPU", cores=2, versions=dict(numpy="1.26.4"),
                                 numerics=dict(threads=[2, 2]), op_determinism=True)) | changes


OTHER = dict(study="bn0.9", setting=["momentum 0.9"], here="0.6", verdict="reproduced", why="", seeds=1)
CLAIM = dict(id="trainer-f1", section="5.1", claim="F1 of the Trainer", kind="tolerance", paper="schiller2020",
             quote="F1-Score of 0.59", here="0.61", verdict="reproduced", why="", setting=["on ferplus"], seeds=3,
             decides="most seeds", studies=[OTHER | dict(study="bn0.99"), OTHER], runs=["06_trainee.mask=mean"],
             figure="Figure 3", notebook="06_trainee", stale="")


@pytest.fixture
def project(tmp_path, monkeypatch):
    "A project with the lists of claims and nothing else, in which the working folder is."
    save(tmp_path/"settings.ini", "[DEFAULT]\nlib_name = rbdm_nb\n")
    shutil.copytree(REPOSITORY/"params"/"claims", tmp_path/"params"/"claims")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_set(folder):
    "A set in `folder` in which nothing is wrong."
    picture(folder/"figures"/"fig03_confusion.png", caption="Shares of eight classes & more", shows="Figure 3")
    picture(folder/"figures"/"fig10_curves.png", caption="Seven curves", shows="Figure 10")
    picture(folder/"figures"/"my_figure.png")
    save(folder/"tables"/"fig03_confusion.csv", csv_text(("true", "happy"), ("happy", 12345), ("sad", "")))
    save(folder/"tables"/"long.csv", csv_text(("epoch", "f1"), *((k, k/7) for k in range(700))))
    save(folder/"tables"/"run_none.json", {})
    save(folder/"notebooks"/"06_trainee.mask=mean.ipynb", "{}")
    old = CLAIM | dict(verdict="differs", section="6", figure="", stale=["06_trainee is stale", "seed was 0, is 1"])
    unrun = CLAIM | dict(verdict="not run", why="AffectNet is not here", section="Abstract")
    save(folder/"claims.json", dict(set="x", claims=[CLAIM, old, unrun]))
    names = ["figures/fig10_curves.png", "figures/my_figure.png"]
    made = {n: contents.file_digest(folder/n) for n in names}
    save(folder/"provenance"/"06_trainee.mask=mean.json", record(outputs=made))
    return folder


def make_hostile(folder):
    "A set in which every text is out to break the page."
    wicked = HOSTILE.replace("/", "").replace("\x00", "")[:70]
    picture(folder/"figures"/f"fig10{wicked}.png", caption=HOSTILE, shows="Figure 10")
    picture(folder/"figures"/f"{wicked}.png", caption=HOSTILE, shows=HOSTILE)
    save(folder/"tables"/f"{wicked}.csv",
         csv_text((HOSTILE, "x_y", "n", "v"), (HOSTILE, "1e400", "9"*60, "nan"), ("", "-0.0", "-12345678", "inf"),
                  ("a"*3000, "1.5", "0", "")))
    save(folder/"notebooks"/f"{wicked}.ipynb", "{}")
    claim = {k: HOSTILE for k in CLAIM} | dict(setting=[HOSTILE], studies=[{}, dict(setting=[HOSTILE], here=HOSTILE)],
                                               runs=[wicked], seeds=HOSTILE)
    save(folder/"claims.json", [claim, claim | dict(here=float("nan"), quote=1e308, section="6", seeds=10**30,
                                                    figure=["Figure 10"]), dict(here={HOSTILE: [HOSTILE, None, True]}),
                                                    {}])
    save(folder/"provenance"/f"{wicked}.json",
         record(notebook=HOSTILE, status=HOSTILE, error=dict(text=HOSTILE), revision=HOSTILE, lock=HOSTILE,
                seed=HOSTILE, time=HOSTILE, wall_seconds=float("nan"),
         made_from=dict(parameters={HOSTILE: HOSTILE, "corpus": HOSTILE}),
         environment=dict(cpu=HOSTILE, versions={HOSTILE: HOSTILE}), outputs={f"figures/fig10{wicked}.png": HOSTILE}))
    return folder


def parsed(text):
    "The page as XML; a wrong nesting, an open element or a bare & is an error."
    doctype, rest = text.split("\n", 1)
    assert doctype == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def texts(page): return " ".join("".join(page.itertext()).split())


def check_structure(text, place):
    """What holds for every page: ids, headings, tables, pictures, links, and nothing from elsewhere.

    `place`: the folder that the page is for."""
    page = parsed(text)
    every = list(page.iter())
    ids = [e.get("id") for e in every if e.get("id")]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[A-Za-z0-9_-]+", i) for i in ids)
    assert page.get("lang") == "en" and page.find("head/title").text.strip()
    assert {e.tag for e in every} <= set("html head meta title link style body a header p h1 h2 h3 h4 code div span"
                                         " strong em ul ol li nav section main dl dt dd figure figcaption img details"
                                         " summary table caption thead tbody tr th td small wbr footer".split())
    assert not [k for e in every for k in e.attrib if k.startswith("on") or k in ("srcset", "action", "background")]
    levels = [int(e.tag[1]) for e in every if re.fullmatch(r"h[1-6]", e.tag)]
    assert levels[0] == 1 and levels.count(1) == 1 and all(b <= a + 1 for a, b in zip(levels, levels[1:]))
    for e in every:
        for k in ("aria-labelledby",): assert e.get(k) is None or e.get(k) in ids
        if e.tag == "img":
            assert e.get("src").startswith("data:image/png;base64,") and e.get("alt").strip()
            assert int(e.get("width")) > 0 and int(e.get("height")) > 0
        if e.tag == "table":
            assert e[0].tag == "caption" and texts(e[0]) and all(th.get("scope") for th in e.iter("th"))
            assert {len(tr) for tr in e.iter("tr") if tr.get("class") != "group"} == {len(e.find("thead/tr"))}
        if e.tag == "a": check_link(e.get("href"), ids, place)
    assert page.find("head/link").get("href") == "data:,"
    assert "url(" not in page.find("head/style").text and "@import" not in page.find("head/style").text
    return page


def check_link(href, ids, place):
    if href.startswith("#"): assert href[1:] in ids
    else:
        parts = urlsplit(href)
        assert not parts.scheme and not parts.netloc and not href.startswith("/"), href
        assert (place/os.fsdecode(unquote(parts.path).encode("utf-8", "surrogateescape"))).is_file(), href


# What is on the page

def test_a_whole_set(project):
    folder = make_set(project/"outputs"/"my-set")
    save(project/"nbs"/"06_trainee.ipynb", dict(cells=[dict(cell_type="markdown", source=["# Training\n", "x"])]))
    save(project/"nbs"/"07_broken.ipynb", "{")
    save(_set_of("my-set")[0], "description: faces & more")
    file = report.write("my-set")
    assert file == folder/"report.html"
    page = check_structure(file.read_text(encoding="utf-8"), folder)
    said = texts(page)
    for words in ("Faces & more", "06_trainee.mask=mean: Training", "3 claims", "1 reproduced", "1 differs",
                  "1 not run", "Section 5.1", "Abstract", "F1-Score of 0.59", "0.61", "3 seeds", "Setting: on ferplus",
                  "06_trainee is stale; seed was 0, is 1",
                  "1 verdict rests on results that are out of date; rbdm run my-set", "momentum 0.9: 0.6",
                  "Of 2 studies this one decides: most seeds", "Shares of eight classes & more", "Seven curves",
                  "AffectNet is not here",
                  "12,345", "The first 500 of 700 rows", "1.5 min", "Some CPU", "aaaaaaaaaa and changes",
                  "corpus: synthetic", "tables/run_none.json",
                  "an F1 of 0.59 on the validation set"): assert words in said, words
    notes = texts(next(e for e in page.iter("section") if e.get("class") == "notes"))
    own = re.findall(r"(?<!\d{4}, )Figure \d+", notes)      # of the first paper, whose name does not stand before them
    assert "Figure 1" in own and "Figure 3" not in own and "Figure 10" not in own and "Cannot" not in notes
    assert [e.get("id") for e in page.iter("section")
            if e.get("class") == "part"] == ["figure-3", "figure-10", "beyond-", "beyond-06_trainee"]
    assert {unquote(e.get("href")) for e in page.iter("a")} >= {"notebooks/06_trainee.mask=mean.ipynb",
                                                                "figures/my_figure.png", "tables/long.csv", "#claim-1"}
    folded = {texts(e[0]).split(" (")[0]: e.get("open") for e in page.iter("details")}
    assert folded == {"Out of date": None, "1 claim not run, and why": None, "Table fig03_confusion": "open",
                      "Table long": None, "All parameters of every run": None}


def test_a_page_elsewhere_links_back(project):
    make_set(project/"outputs"/"my-set")
    (project/"there"/"deep").mkdir(parents=True)
    assert report.write("my-set", "there/deep") == Path("there/deep/report.html")
    assert report.write("my-set", project/"new"/"page.html") == project/"new"/"page.html"
    for file in (project/"there"/"deep"/"report.html",
                 project/"new"/"page.html"): check_structure(file.read_text(encoding="utf-8"), file.parent)
    assert not (project/"outputs"/"my-set"/"report.html").exists()


@pytest.mark.parametrize("name, message", [("my-st", "did you mean 'my-set'"),
                                           ("empty", "no results in outputs/empty; rbdm run empty makes them"),
                                           ("../outputs/my-set", "no results"), ("", "no results"),
                                           (".", "no results")])
def test_a_set_without_results_is_refused(project, name, message):
    make_set(project/"outputs"/"my-set")
    for part in ("figures", "tables", "store"): (project/"outputs"/"empty"/part).mkdir(parents=True)
    (project/"outputs"/"empty"/"figures"/".hidden.png").touch()
    save(_set_of("empty")[0], "name: empty")
    with pytest.raises(ValueError, match=re.escape(message)): report.write(name)


def test_no_outputs_at_all(project):
    with pytest.raises(ValueError, match="no results in outputs/demo.*known: none"): report.write("demo")


def test_hostile_texts_are_only_texts(project):
    folder = make_hostile(project/"outputs"/"my-set")
    text = report.write("my-set").read_text(encoding="utf-8")
    page = check_structure(text, folder)
    wanted = " ".join(contents.clean(HOSTILE).split())
    cells = [texts(e) for e in page.iter() if e.tag in ("td", "th", "li", "dd")]
    assert sum(wanted in c for c in cells) > 15 and "49" not in text
    assert "9"*60 in cells and "1e400" in cells and "-12,345,678" in cells and "nan" in cells


@pytest.mark.parametrize("file, content, note", [
    ("claims.json", b"[{", "claims.json: not JSON"), ("claims.json", b"\xff\xfe", "claims.json: not JSON"),
    ("claims.json", "3", "claims.json: no list of claims"),
    ("claims.json", '{"claims": {"a": 1}}', "no list of claims"), ("claims.json", "["*100_000, "claims.json: not JSON"),
    ("claims.json", '[{"here": %s, "runs": %s}]' % (("["*700 + "]"*700,)*2), "…"),
    ("claims.json", '[{"id": "a"}, 7, null]', "claim 2 is not a mapping"),
    ("claims.json", "[]", "The list of claims is empty"),
    ("tables/a.csv", b"", "a.csv: empty"), ("tables/a.csv", b"a,b\n\xe9,1", "a.csv: not a CSV file in UTF-8"),
    ("tables/a.csv", b'a\n"' + b"x"*200_000 + b'"', "a.csv: not a CSV file"),
    ("tables/a.csv", b"a,b\n1\n1,2,3\n", "2 rows have more or fewer fields"),
    ("figures/fig03_confusion.png", b"GIF89a", "fig03_confusion.png: not a PNG"),
    ("figures/a.png", b"", "a.png: not a PNG"),
    ("figures/a.svg", b"<svg/>", "figures/a.svg"), ("provenance/a.json", b"{", "a.json: not JSON"),
    ("provenance/a.json", b"[1]", "a.json: not the record of a run"), ("provenance/a.json", b"{}", "a did not finish"),
    ("provenance/a.json", json.dumps({k: [1] for k in record()} | dict(status="failed", error="no mapping")),
     "a did not finish: no reason"), ("provenance/a.json", json.dumps({k: 5 for k in record()}), "a did not finish"),
    ("provenance/a.json", json.dumps(record(environment=dict(versions=[1], numerics=dict(threads=[])),
                                            wall_seconds=-1e300, outputs={"tables/long.csv": "0"})),
                                            "Changed since their run was recorded: tables/long.csv")])
def test_what_is_broken_is_said_and_the_rest_is_there(project, file, content, note):
    folder = make_set(project/"outputs"/"my-set")
    save(folder/file, content)
    page = check_structure(report.write("my-set").read_text(encoding="utf-8"), folder)
    assert note in texts(page) and "my_figure" in texts(page) and "Some CPU" in texts(page)


@pytest.mark.parametrize("said, note", [
    (b"{", "fig03_confusion.json: not JSON"), (b"[1]", ""), (b'{"caption": [1], "shows": 3}', ""),
    (b'{"caption": " "}', ""),
    (b'{"shows": "Figure 99"}', "figures/fig03_confusion.json: no paper has 'Figure 99'"),
    (b'{"shows": "Somebody 2020, Figure 3"}', "no paper has 'Somebody 2020, Figure 3'"), (None, "")])
def test_a_figure_without_words_has_its_name(project, said, note):
    folder = make_set(project/"outputs"/"my-set")
    file = folder/"figures"/"fig03_confusion.json"
    file.unlink() if said is None else save(file, said)
    page = check_structure(report.write("my-set").read_text(encoding="utf-8"), folder)
    assert note in texts(page)
    assert {e.get("alt") for e in page.iter("img")} == {"fig03 confusion", "Seven curves", "my figure"}
    assert {s.get("id") for s in page.iter("section") if "fig03_confusion" in texts(s)} >= {"beyond"}
    assert not [e for e in page.iter("li") if texts(e) == "figures/fig03_confusion.json"]


def test_a_second_paper_has_sections_of_its_own(project):
    folder = make_set(project/"outputs"/"my-set")
    save(project/"params"/"claims"/"toy2021.yaml", """title: A toy
name: Toy and Toy 2021
parts:
- {label: Figure 3, section: "2", shows: a toy's curves, says: They rise., tables: [long]}
claims:
- {id: toy, section: Results, claim: curves rise, quote: they rise, kind: directional, expect: {above: 0}}
""")
    picture(folder/"figures"/"toy.png", caption="Curves of a toy", shows="Toy and Toy 2021, Figure 3")
    mine = CLAIM | dict(paper="toy2021", id="toy", section="Results", claim="curves rise")
    save(folder/"claims.json", [CLAIM, mine])
    page = check_structure(report.write("my-set").read_text(encoding="utf-8"), folder)
    parts = {e.get("id"): texts(e) for e in page.iter("section") if e.get("class") == "part"}
    assert [*parts] == ["figure-3", "figure-10", "toy-and-toy-2021-figure-3", "beyond-06_trainee"]
    theirs = parts["toy-and-toy-2021-figure-3"]
    assert "They rise." in theirs and "Curves of a toy" in theirs and "Table long" in theirs and "curves rise" in theirs
    assert "F1 of the Trainer" in parts["figure-3"] and "curves rise" not in parts["figure-3"]
    assert "A toy." in texts(page) and "toy2021, Results" in texts(page)


def test_a_project_without_lists_of_claims(project):
    make_set(project/"outputs"/"my-set")
    shutil.rmtree(project/"params"/"claims")
    page = check_structure(report.write("my-set").read_text(encoding="utf-8"), project/"outputs"/"my-set")
    assert "There are no lists of what papers state and show (params/claims/*.yaml)" in texts(page)
    assert [e.get("id") for e in page.iter("section") if e.get("class") == "part"] == ["beyond-", "beyond-06_trainee"]


def test_a_list_of_claims_that_is_wrong_is_refused(project):
    make_set(project/"outputs"/"my-set")
    save(project/"params"/"claims"/"toy2021.yaml", "title: A toy\n")
    with pytest.raises(ValueError, match="params/claims/toy2021.yaml:1: key 'name' is missing"): report.write("my-set")


@pytest.mark.parametrize("keep", [10, 30, 50, 300, 1500, 2900])
def test_a_picture_cut_off_anywhere_is_named(project, keep):
    folder = make_set(project/"outputs"/"my-set")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60), np.uint8)).save(folder/"figures"/"cut.png")
    (folder/"figures"/"cut.png").write_bytes((folder/"figures"/"cut.png").read_bytes()[:keep])
    page = check_structure(report.write("my-set").read_text(encoding="utf-8"), folder)
    assert "Cannot be shown: cut.png" in texts(page) and len(list(page.iter("img"))) == 3


@pytest.mark.parametrize("part", ["figures", "tables", "provenance", "notebooks", "claims.json"])
def test_any_part_may_be_missing(project, part):
    folder = make_set(project/"outputs"/"my-set")
    (shutil.rmtree if (folder/part).is_dir() else os.remove)(folder/part)
    said = texts(check_structure(report.write("my-set").read_text(encoding="utf-8"), folder))
    assert dict([("figures", "There are no figures"), ("tables", "0 tables"),
                 ("provenance", "There are no records of runs"), ("notebooks", "06_trainee"),
                 ("claims.json", "rbdm claims --set my-set")])[part] in said


def test_the_same_files_give_the_same_bytes(project):
    make_hostile(make_set(project/"outputs"/"my-set"))
    (project/"below").mkdir()
    for name in ("a", "b"):
        code = f"from rbdm_nb.roof import report; report.write('my-set', {str(project/f'{name}.html')!r})"
        env = os.environ | dict(PYTHONHASHSEED=str(ord(name)), PYTHONPATH=str(REPOSITORY), TZ="Asia/Tokyo"
                                if name == "b" else "UTC", LC_ALL="C")
        if name == "b": [os.utime(f, (0, 0)) for f in sorted((project/"outputs"/"my-set").rglob("*"), reverse=True)]
        subprocess.run([sys.executable, "-c", code], check=True, env=env, cwd=project/"below" if name == "b"
                       else project)
    report.write("my-set", project/"c.html")
    assert len({(project/f"{name}.html").read_bytes() for name in "abc"}) == 1


def test_a_large_page_is_warned_of(project, monkeypatch):
    make_set(project/"outputs"/"my-set")
    monkeypatch.setattr(report, "LIMIT", 20_000)
    message = "report.html has 0.1 MB; smaller or fewer figures in outputs/my-set/figures"
    with pytest.warns(UserWarning, match=message): report.write("my-set")


def test_a_failed_write_leaves_the_old_page(project, monkeypatch):
    make_set(project/"outputs"/"my-set")
    before = report.write("my-set").read_bytes()
    environment = report._environment()
    broken = jinja2.DictLoader({"claims.html": "{{ unknown_name }}"})
    environment.loader = jinja2.ChoiceLoader([broken, environment.loader])
    monkeypatch.setattr(report, "_environment", lambda: environment)
    with pytest.raises(Exception, match="unknown_name"): report.write("my-set")
    assert (project/"outputs"/"my-set"/"report.html").read_bytes() == before


def test_many_figures_are_folded_away_but_there(project):
    folder = make_set(project/"outputs"/"my-set")
    for k in range(30): picture(folder/"figures"/f"curve_run{k}.png", caption=f"Curve {k}", shows="Figure 10")
    page = check_structure(report.write("my-set").read_text(encoding="utf-8"), folder)
    assert "27 more figures" in texts(page) and len(list(page.iter("img"))) == 33
    assert [e.text for e in next(s for s in page.iter("section")
                                 if s.get("id") == "figure-10").iter("code")][0] == "fig10_curves"


TEXT = st.text(st.characters(codec="utf-8"), max_size=30)

@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4),
       st.dictionaries(st.sampled_from([*CLAIM]),
                       st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | TEXT,
                                    lambda x: st.lists(x, max_size=3) | st.dictionaries(TEXT, x, max_size=2),
                                    max_leaves=5)))
def test_any_cell_and_any_claim(tmp_path_factory, rows, claim):
    folder = tmp_path_factory.mktemp("any")/"outputs"/"set"
    save(folder/"tables"/"a.csv", csv_text(("first", "second"), *((f"x{a}", f"y{b}") for a, b in rows)).encode())
    save(folder/"claims.json", json.dumps([claim]))
    page = check_structure(report.page(folder), folder)
    same = lambda s: "".join(contents.clean(s).split())
    table = next(e for e in page.iter("table") if e.get("class") != "claims")
    shown = [["".join("".join(c.itertext()).split()) for c in tr] for tr in table.iter("tr")]
    assert shown[1:] == [[same(f"x{a}"), same(f"y{b}")] for a, b in rows]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(-1e300, 1e300) | st.sampled_from([math.nan, math.inf, -math.inf]) | st.integers())
def test_a_shown_number_is_the_number(x):
    said = contents.number(repr(x))
    if isinstance(x, int) or not math.isfinite(x): assert said.replace(",", "") == repr(x)
    else: assert math.isclose(float(said.replace(",", "")), x, rel_tol=6e-4)


def luminance(colour):
    parts = [int(c, 16)/255 for c in (re.findall("..", colour[1:]) if len(colour) == 7 else [c*2 for c in colour[1:]])]
    return sum(w*(c/12.92 if c <= .04045 else ((c + .055)/1.055)**2.4) for w, c in zip((.2126, .7152, .0722), parts))


STYLE = (REPOSITORY/"rbdm_nb"/"assets"/"report"/"report.css").read_text(encoding="utf-8")

def test_every_colour_can_be_read():
    schemes = [dict(re.findall(r"--(\w+): (#[0-9a-f]+);", block)) for block in re.findall(r":root \{([^}]*)\}", STYLE)]
    light, dark = schemes[0], schemes[0] | schemes[1]
    for scheme in (light, dark, schemes[0] | schemes[2]):
        for ground in ("ground", "panel"):
            for ink in ("ink", "soft", "link", "reproduced", "differs"):
                a, b = sorted((luminance(scheme[ground]), luminance(scheme[ink])))
                assert (b + .05)/(a + .05) >= 4.5, (ground, ink)
    assert light["ground"] != dark["ground"]


# In the browser

class Page(study_browser.Tab):
    "A tab that remembers all that it says."
    def __init__(self, url):
        self.events = []
        super().__init__(url)
        for domain in ("Log", "Network", "Page"): self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.asked += 1
        self.socket.send(json.dumps(dict(id=self.asked, method=method, params=params)))
        while (answer := json.loads(self.socket.recv())).get("id") != self.asked: self.events.append(answer)
        if "error" in answer: raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def complaints(self):
        "Errors and warnings, thrown or logged."
        return [e for e in self.events if e["method"] == "Runtime.exceptionThrown"
                or e["method"] == "Runtime.consoleAPICalled" or e["method"] == "Log.entryAdded"]

    def asked_for(self): return [e["params"]["request"]["url"] for e in self.events
                                 if e["method"] == "Network.requestWillBeSent"]

    def show(self, file, width, scheme="light"):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[dict(name="prefers-color-scheme", value=scheme)])
        self.events.clear()
        self.call("Page.navigate", url=file.as_uri())
        self.until(f"location.href === {json.dumps(file.as_uri())} && document.readyState === 'complete'")


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if not study_browser.chromium(): pytest.skip("needs Chromium: apt-get install chromium")
    with ExitStack() as stack:
        browser = study_browser.Browser(tmp_path_factory.mktemp("browser"), stack)
        asked = urllib.request.Request(f"{browser.address}/new?about:blank", method="PUT")
        with urllib.request.urlopen(asked, timeout=study_browser.PATIENCE) as answer:
            page = Page(json.load(answer)["webSocketDebuggerUrl"])
        stack.callback(page.socket.close)
        yield page


TREE = "(function walk(e) { return [e.localName, [...e.children].map(walk)] })(document.documentElement)"

def tree(e): return [e.tag, [tree(c) for c in e]]


BEYOND = """[...document.querySelectorAll('body *')]
    .filter(e => !e.closest('.box, .view, .skip, thead') && e.checkVisibility())
    .filter(e => (r => r.right > innerWidth + 1 || r.left < -1)(e.getBoundingClientRect()))
    .map(e => e.outerHTML.slice(0, 99))"""     # what sticks out of the window at the left or right

def check_in_browser(tab, file, pictures):
    "At phone and desktop width, light and dark."
    for width, scheme in ((360, "light"), (1280, "light"), (1280, "dark")):
        tab.show(file, width, scheme)
        assert tab.js("document.images.length") == pictures
        assert tab.js("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert tab.js("document.documentElement.scrollWidth") == width and tab.js("innerWidth") == width
        assert tab.js(BEYOND) == []
        assert tab.complaints() == [] and [u for u in tab.asked_for()
                                           if not u.startswith("data:image/png")] == [file.as_uri()]
    # HTML's parser sees what XML's does: nothing was mended
    assert tab.js(TREE) == tree(parsed(file.read_text(encoding="utf-8")))


def test_a_set_in_the_browser(project, tab):
    make_set(project/"outputs"/"my-set")
    check_in_browser(tab, report.write("my-set"), 3)
    tab.show(project/"outputs"/"my-set"/"report.html", 1280)
    ground = "getComputedStyle(document.body).backgroundColor"
    assert tab.js(ground) == "rgb(255, 255, 255)"
    tab.call("Emulation.setEmulatedMedia", features=[dict(name="prefers-color-scheme", value="dark")])
    assert tab.js(ground) == "rgb(20, 23, 26)"
    tab.key("Tab")
    assert tab.js("document.activeElement.className") == "skip"
    assert tab.js("document.activeElement.getBoundingClientRect().left") >= 0
    tab.key("Enter")
    assert tab.until("location.hash === '#claims'")
    border = lambda kind: tab.js(f"getComputedStyle(document.querySelector('.badge.{kind}')).borderStyle")
    assert border("reproduced") != border("differs") == "double"


def test_hostile_texts_in_the_browser(project, tab):
    make_hostile(project/"outputs"/"my-set")
    check_in_browser(tab, report.write("my-set"), 2)
    assert tab.js("typeof hacked") == "undefined" and tab.js("document.scripts.length") == 0


def test_closed_tables_are_printed(project, tab):
    folder = make_set(project/"outputs"/"my-set")
    save(folder/"claims.json", [])
    save(folder/"tables"/"long.csv", csv_text(("word",), *((f"row{k}",) for k in range(40))))
    tab.show(report.write("my-set"), 1280)
    seen = "document.querySelector('details:not([open]) table').checkVisibility({contentVisibilityAuto: true})"
    assert tab.js(seen) is False
    tab.call("Emulation.setEmulatedMedia", media="print")
    assert tab.until(seen)
    tab.call("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("name", ["demo", "ferplus"])
def test_the_results_that_are_here(tmp_path, tab, name, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    if not contents.results(REPOSITORY/"outputs"/name): pytest.skip(f"outputs/{name} is not here")
    file = report.write(name, tmp_path/"report.html")
    check_structure(file.read_text(encoding="utf-8"), tmp_path)
    check_in_browser(tab, file, len(list((REPOSITORY/"outputs"/name/"figures").glob("[!.]*.png"))))

"What `rbdm data fake` writes is never taken for the corpus: every form, whole, in parts and mixed."
import os, shutil, warnings
from pathlib import Path

import pytest
from rbdm_nb.corpora import datasets
from rbdm_nb.corpora.datasets import (CORPORA, check, corpus_module, imitation, imitation_in, is_drawn, load,
                                      name_of_corpus)
from rbdm_nb.corpora.files import IMITATION
from rbdm_nb.roof.claims import Claim, Stated, settle

FORMS = [("ferplus", "folder"), ("ferplus", "fer2013.csv"), ("folder", "classes"), ("folder", "csv"),
         ("folder", "parquet"), ("affectnet", "original"), ("affectnet", "affectnet8"), ("ckplus", None),
         ("rafdb", "basic"), ("rafdb", "folders")]
SMALL = {"ferplus": dict(n=150), "folder": dict(n=16), "affectnet": dict(n=20), "rafdb": dict(n=35),
         "ckplus": dict(n=12, frames=2, height=49)}
MORE = {"ckplus": dict(folds=3)}     # what it takes to open so small a one


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "{(corpus, form): folder}"
    folder = tmp_path_factory.mktemp("made")
    for name, form in FORMS:
        options = SMALL[name] | ({"release": form} if form else {})
        corpus_module(name).fake(folder / name / (form or "whole"), **options)
    return {(name, form): folder / name / (form or "whole") for name, form in FORMS}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch): monkeypatch.setenv("RBDM_CACHE", str(tmp_path / "cache"))


def marks(root): return sorted(Path(root).rglob(IMITATION))


def unmarked(root):
    "`root` without its marks, as the real corpus would lie there."
    for mark in marks(root): mark.unlink()
    return root


def test_every_corpus_is_tried_here():
    assert {name for name, _ in FORMS} == {name for name in CORPORA if not is_drawn(name)}


@pytest.mark.parametrize("name, form", FORMS)
def test_an_imitation_is_called_so(made, name, form, tmp_path):
    root = made[name, form]
    assert {mark.parent for mark in marks(root)} == {Path(folder) for folder, _, _ in os.walk(root)}
    with pytest.warns(UserWarning, match=f"{name} in .* is an imitation of built-in faces, says .*{IMITATION}"):
        c = load(name, root, **MORE.get(name, {}))
    assert c.corpus.startswith("imitation of ") and "imitation of" in repr(c) and c[:3].corpus == c.corpus
    called = name if name != "folder" else root.name
    assert name_of_corpus(name, root) == f"imitation of {called}"
    assert f"an imitation of built-in faces, not {name}" in check(name, root, **MORE.get(name, {})).notes[0]

    real = unmarked(shutil.copytree(root, tmp_path / root.name))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        same = load(name, real, **MORE.get(name, {}))
    assert not any("an imitation" in str(w.message) for w in said)
    assert same.corpus == name_of_corpus(name, real) == called
    # marks are no pictures, no tables, and nothing that is left out
    assert same.digest == c.digest and len(same.skipped) == len(c.skipped)
    assert not any("an imitation" in note for note in check(name, real, **MORE.get(name, {})).notes)


@pytest.mark.parametrize("name, form", FORMS)
def test_one_mark_is_enough(made, name, form, tmp_path):
    copy = shutil.copytree(made[name, form], tmp_path / "copy")
    for kept in marks(copy):
        for mark in marks(made[name, form]):
            path = copy / mark.relative_to(made[name, form])
            if path != kept: path.unlink(missing_ok=True)
        assert imitation_in(copy) == str(kept)
        shutil.copytree(made[name, form], copy, dirs_exist_ok=True)


def test_a_part_of_it_takes_its_mark_along(made, tmp_path):
    real = unmarked(shutil.copytree(made["ferplus", "folder"], tmp_path / "real"))
    shutil.rmtree(real / "FER2013Valid")
    shutil.copytree(made["ferplus", "folder"] / "FER2013Valid", real / "FER2013Valid")
    assert name_of_corpus("ferplus", real) == "imitation of ferplus"
    mixed = unmarked(shutil.copytree(made["folder", "classes"], tmp_path / "mixed"))
    assert name_of_corpus("folder", mixed) == "mixed"
    shutil.copytree(made["folder", "classes"] / "happy", mixed / "glad" / "happy")
    assert name_of_corpus("folder", mixed) == "imitation of mixed"


def test_links_into_it_do_not_hide_it(made, tmp_path):
    source = made["folder", "classes"]
    folders, pictures, elsewhere = (tmp_path / n for n in ("folders", "pictures", "elsewhere"))
    for folder in (folders, pictures / "happy", elsewhere): folder.mkdir(parents=True)
    (folders / "happy").symlink_to(source / "happy")
    (pictures / "happy" / "1.png").symlink_to(next((source / "happy").glob("*.png")))
    (elsewhere / "root").symlink_to("/"); (elsewhere / "up").symlink_to(".."); (elsewhere / "gone").symlink_to("gone")
    assert imitation_in(folders) and imitation_in(pictures) and imitation_in(elsewhere) == ""
    (tmp_path / "whole").symlink_to(source)
    assert imitation_in(tmp_path / "whole") and imitation_in(tmp_path / "nowhere") == imitation_in("") == ""


@pytest.mark.parametrize("name", [n for n in CORPORA if not is_drawn(n)])
def test_real_files_are_not_marked(name, tmp_path):
    (tmp_path / "mine").mkdir(); (tmp_path / "mine" / "1.png").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        corpus_module(name).fake(tmp_path / "mine", **SMALL[name])
    assert [f.name for f in (tmp_path / "mine").iterdir()] == ["1.png"]


def test_what_was_stopped_half_way_is_marked(tmp_path):
    with pytest.raises(KeyboardInterrupt), imitation(tmp_path / "half", "ferplus") as out:
        assert imitation_in(out)
        (out / "FER2013Train").mkdir()
        raise KeyboardInterrupt
    assert len(marks(tmp_path / "half")) == 2


def test_a_folder_named_like_a_corpus_is_not_that_corpus(tmp_path):
    for name in ("ferplus", "AffectNet"):
        (tmp_path / name).mkdir()
        assert name_of_corpus("folder", tmp_path / name) == f"folder {name}"
    assert name_of_corpus("synthetic", tmp_path) == "synthetic"


# --- claims

def verdict(needs, measured_on, names=()):
    claim = Claim(id="x", section="4", claim="it is so", quote="it is so", kind="exact", expect=dict(equals=3),
                  needs=needs, setting=list(names))
    return settle(claim, [Stated(values=[3], setting=measured_on, notebook="01_datasets")], dict(corpus="ferplus"))


def test_an_imitation_settles_nothing(made):
    called = name_of_corpus("ferplus", made["ferplus", "folder"])
    found = verdict({"corpus": "ferplus"}, {"corpus": called})
    assert found.verdict == "not run" and found.why == "needs images of ferplus; this is an imitation of ferplus (3)"
    found = verdict({"trainer_corpus": "affectnet"}, {"corpus": "ferplus", "trainer_corpus": "imitation of affectnet"})
    assert found.verdict == "not run"
    found = verdict({}, {"corpus": called}, ["corpus"])
    assert found.verdict == "not run" and found.why == "only measured on an imitation of ferplus (3)"
    assert verdict({"corpus": "ferplus"}, {"corpus": "ferplus"}).verdict == "reproduced"


def test_records_of_runs_say_it(made):
    from rbdm_nb.networks.trainer import TrainerSettings
    from rbdm_nb.trainee import Condition, _about_condition
    root = str(made["ferplus", "folder"])
    assert TrainerSettings(corpus="ferplus", root=root).corpus_name == "imitation of ferplus"
    assert _about_condition(Condition(corpus="ferplus", root=root))["corpus"] == "imitation of ferplus"
    assert _about_condition(Condition())["corpus"] == datasets.name_of_corpus("synthetic") == "synthetic"

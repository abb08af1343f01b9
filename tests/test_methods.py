"One door to all methods, and the store of their maps."
import warnings
import numpy as np, pytest, tensorflow as tf
from rbdm_nb.corpora.datasets import load
from rbdm_nb.explain import cams, extremal, methods
from rbdm_nb.explain.cams import CAMS, Cam, CamExplainer
from rbdm_nb.explain.extremal import EXTREMALS, Extremal, ExtremalExplainer
from rbdm_nb.explain.localisation import randomisation
from rbdm_nb.explain.methods import EXPLAINERS, explainer, maps
from rbdm_nb.explain.relevance import Explainer
from rbdm_nb.explain.rules import METHODS
from rbdm_nb.masking import corpus_masks
from rbdm_nb.store import Store

keras = tf.keras
L = keras.layers


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((16, 16, 3)), L.Conv2D(6, 3, activation="relu", bias_initializer="normal"),
                             L.GlobalAveragePooling2D(), L.Dense(8, bias_initializer="ones")])


def prepare(images): return images.astype("float32")/127.5 - 1


@pytest.fixture(scope="module")
def corpus(): return load("synthetic", n=40, image_size=16, seed=0)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_name_explains(name):
    model, images = network(), np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype("float32")
    few = dict(iterations=2) if name in EXTREMALS else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, logits = explainer(model, name, (-1, 1), **few).explain(images, 1)
    assert found.shape == (2, 16, 16) and found.dtype == "float32" and np.isfinite(found).all()
    np.testing.assert_allclose(logits, model(images), atol=1e-4)
    family = Explainer if name in METHODS else CamExplainer if name in CAMS else ExtremalExplainer
    assert type(explainer(model, name, (-1, 1))) is family


def test_what_is_added_to_a_table_is_known(monkeypatch):
    monkeypatch.setitem(CAMS, "sum_cam", Cam(lambda a, g: tf.ones_like(a)))
    monkeypatch.setitem(EXTREMALS, "short", Extremal(iterations=1))
    monkeypatch.setitem(METHODS, "slope", METHODS["gradient"])
    model, images = network(), np.random.default_rng(0).uniform(-1, 1, (1, 16, 16, 3)).astype("float32")
    assert {"sum_cam", "short", "slope"} <= set(EXPLAINERS)
    for name in ("sum_cam", "short", "slope"): assert explainer(model, name)(images).any()


@pytest.mark.parametrize("call, message", [
    (dict(method="grad_kam"), "did you mean 'grad_cam'"), (dict(method="lrp_z", layer="x"), "no options"),
    (dict(method="grad_cam", start="over_men"), "did you mean 'over_mean'"),
    (dict(method="grad_cam", start="over_runner_up", score="logit"), "both say what is explained"),
    (dict(method="extremal", iteration=3), "did you mean 'iterations'"), (dict(method=3), "unknown method 3")])
def test_what_a_method_does_not_know_is_refused(call, message):
    with pytest.raises(ValueError, match=message): explainer(network(), **call)


def test_versions_follow_the_method_and_no_other(monkeypatch):
    names = ("lrp_z", "grad_cam", "hires_cam", "extremal")
    before = {name: methods._version(name) for name in names}
    assert len(set(before.values())) == len(names)
    with monkeypatch.context() as patch:
        patch.setitem(CAMS, "grad_cam", Cam(lambda a, g: 2*g))
        changed = {name for name in names if methods._version(name) != before[name]}
        assert changed == {"grad_cam"}
    with monkeypatch.context() as patch:
        patch.setitem(EXTREMALS, "extremal", Extremal(sigma=3.))
        assert {name for name in names if methods._version(name) != before[name]} == {"extremal"}
    with monkeypatch.context() as patch:
        patch.setattr(cams.CamExplainer, "_weighted", lambda *a: None)
        assert {name for name in names if methods._version(name) != before[name]} == {"grad_cam", "hires_cam"}
    with monkeypatch.context() as patch:
        patch.setattr(extremal, "area_penalty", lambda *a: 0)
        assert {name for name in names if methods._version(name) != before[name]} == {"extremal"}
    assert {name: methods._version(name) for name in names} == before


def test_options_are_in_the_key(tmp_path, corpus):
    model, store = network(), Store(tmp_path)
    def kept(method, start="value", **options):
        return maps(model, corpus[:4], prepare, store, method, 4, start, options, trainer="t").entry.path
    assert len({kept("grad_cam"), kept("grad_cam", rectify=False), kept("grad_cam", "over_runner_up"),
                kept("layer_cam"), kept("extremal", iterations=2), kept("extremal", iterations=3)}) == 6
    assert kept("grad_cam", rectify=False) == kept("grad_cam", rectify=False)


class Killed(Exception): pass


def test_a_search_that_is_killed_goes_on_where_it_stopped(tmp_path, corpus, monkeypatch):
    model, store, done = network(), Store(tmp_path), []
    inner = ExtremalExplainer.explain
    def explain(self, images, *args, **options):
        if len(done) == 2: raise Killed
        done.append(len(images))
        return inner(self, images, *args, **options)
    def kept(where): return maps(model, corpus, prepare, where, "extremal", 16, options=dict(iterations=3), trainer="t")
    with monkeypatch.context() as patch:
        patch.setattr(ExtremalExplainer, "explain", explain)
        patch.setattr(methods, "_version", lambda method: "same")
        with pytest.raises(Killed): kept(store)
        assert done == [16, 16]
        done.clear()
        resumed = kept(store)
        assert done == [16]
    whole = kept(Store(tmp_path/"other"))
    np.testing.assert_array_equal(resumed.relevance[:], whole.relevance[:])
    np.testing.assert_array_equal(resumed.predictions[:], whole.predictions[:])


def test_masks_of_every_family(tmp_path, corpus):
    model, store = network(), Store(tmp_path)
    for method, options in (("grad_cam", {}), ("extremal", dict(iterations=3))):
        relevance = maps(model, corpus[:6], prepare, store, method, 6, options=options, trainer="t")
        masks = corpus_masks(store, relevance, "mean", 16)
        assert masks.shape == (6, 16, 16) and 0 < masks[:].mean() < 1


def test_blank_maps_of_a_corpus_are_said(tmp_path, corpus, capsys):
    model = network()
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([-np.abs(kernel), bias])
    kept = maps(model, corpus[:5], prepare, Store(tmp_path), "grad_cam", 5, trainer="t")
    assert kept.empty == 5 and not np.isnan(kept.relevance[:]).any()
    assert "5 of 5 relevance maps" in capsys.readouterr().out


@pytest.mark.parametrize("method, options", [("grad_cam", {}), ("hires_cam", {}), ("extremal", dict(iterations=60))])
def test_randomised_weights_change_the_maps(method, options):
    model = network()
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([300*kernel, bias])     # else a search is made by its grid alone, whatever the weights
    images = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)).astype("float32")
    before = [w.copy() for w in model.get_weights()]
    table = randomisation(model, images, method, steps=2, **options)
    assert len(table) == 2 and (table.images > 0).all() and table.spearman.iloc[-1] < .99
    for a, b in zip(before, model.get_weights()): np.testing.assert_array_equal(a, b)

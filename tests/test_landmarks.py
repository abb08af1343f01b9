"Landmarks: the table, the canvas, what is kept; and, where MediaPipe is installed, what it finds."
import importlib.util

import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from rbdm_nb.corpora import landmarks
from rbdm_nb.corpora.datasets import load
from rbdm_nb.corpora.faces import MIRROR
from rbdm_nb.corpora.folder import from_arrays
from rbdm_nb.corpora.landmarks import (MESH, PAIRS, TRIES, canvas, detect, failures, kept, normalised_error, to_picture,
                                       with_landmarks)
from rbdm_nb.store import Store

mediapipe = pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None,
                               reason="MediaPipe is not installed (pip install 'rbdm_nb[landmarks]')")
without = pytest.mark.skipif(importlib.util.find_spec("mediapipe") is not None, reason="MediaPipe is installed")


# --- the table

def test_every_vertex_is_in_the_mesh_once_and_the_table_is_its_own_mirror_image():
    assert len(MESH) == 68 and len(set(MESH)) == 68 and 0 <= min(MESH) <= max(MESH) < 468
    other = PAIRS | {b: a for a, b in PAIRS.items()}
    assert len(other) == 2 * len(PAIRS) and [other.get(i, i) for i in MESH] == [MESH[k] for k in MIRROR]
    # those in the middle of a face
    assert sorted(k for k, i in enumerate(MESH) if i not in other) == [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]


# --- the canvas

@settings(max_examples=60, deadline=None, derandomize=True)
@given(h=st.integers(1, 400), w=st.integers(1, 400), c=st.sampled_from([1, 3]),
       margin=st.sampled_from([0, .1, .25, .5, 1]))
def test_points_come_back_where_they_were(h, w, c, margin):
    picture, scale, corner = canvas(np.full((h, w, c), 255, np.uint8), margin)
    whole = round(192 * (1 + 2 * margin))
    assert picture.shape == (whole, whole, 3) and picture.dtype == np.uint8 and max(h, w) * scale == pytest.approx(192)
    rows, columns = np.flatnonzero(picture.any((1, 2))), np.flatnonzero(picture.any((0, 2)))
    # the picture's edges on the canvas
    box = np.array([(columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)])
    assert (box[0] == corner).all()
    assert np.abs(to_picture(box, scale, corner) - [(-.5, -.5), (w - .5, h - .5)]).max() <= 1 / scale + 1e-3


# --- what does not need MediaPipe

def bare(n=6, **options):
    c = load("synthetic", n=n, **options)
    return from_arrays(c.images[:], c.labels, c.classes, names=c.names), c.extras["landmarks"][:]


@pytest.mark.parametrize("images", [np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8, 2), np.uint8),
                                    np.zeros((2, 8, 8, 1), np.float32)])
def test_images_that_do_not_fit(images):
    with pytest.raises(ValueError, match=r"wanted \(N, H, W, 1 or 3\) uint8"): detect(images)


@without
def test_without_mediapipe(tmp_path):
    corpus, _ = bare(3)
    for call in (lambda: detect(corpus.images), lambda: with_landmarks(corpus, Store(tmp_path))):
        with pytest.raises(ImportError, match=r"pip install 'rbdm_nb\[landmarks\]'"): call()


@pytest.fixture
def pretended(monkeypatch):
    """The detector replaced by one that knows the truth of `bare`, finds no face in every third picture, and counts
    its calls."""
    corpus, truth = bare(7)
    seen = []
    def points_of(images, tries=TRIES):
        at = [next(k for k, a in enumerate(corpus.images) if (a == image).all()) for image in images]
        seen.extend(at)
        return np.where(np.array(at)[:, None, None] % 3 == 2, np.nan, truth[at]).astype(np.float32)
    monkeypatch.setattr(landmarks, "points_of", points_of)
    return corpus, truth, seen


def test_found_and_failures(pretended):
    corpus, truth, _ = pretended
    points, found = detect(corpus.images, chunk=3)
    assert list(found) == [True, True, False] * 2 + [True] and (points[found] == truth[found]).all()
    assert np.isnan(points[~found]).all() and points.dtype == np.float32
    assert list(failures(corpus.names, found)["name"]) == list(corpus.names[[2, 5]])
    assert failures(corpus.names, found)["reason"].str.contains("no face").all()
    assert detect(corpus.images[:0])[0].shape == (0, 68, 2)


def test_points_are_kept(pretended, tmp_path):
    corpus, truth, seen = pretended
    store = Store(tmp_path)
    c = with_landmarks(corpus, store)
    assert (len(c) == 7 and seen == list(range(7)) and np.isnan(c.extras["landmarks"][[2, 5]]).all()
            and c.digest == corpus.digest)
    again = with_landmarks(corpus, Store(tmp_path))
    assert seen == list(range(7)) and np.array_equal(c.extras["landmarks"], again.extras["landmarks"], equal_nan=True)
    assert (c[3:5].extras["landmarks"] == truth[3:5]).all()
    with_landmarks(corpus[:3], store)
    with_landmarks(corpus, store, tries=TRIES[:1])
    assert len(seen) == 7 + 3 + 7                        # other pictures, and another way of looking, are other entries
    assert store.contents()["kind"].tolist() == ["landmarks"] * 3 and store.contents()["complete"].all()


def test_a_stopped_search_goes_on(pretended, tmp_path, monkeypatch):
    corpus, _, seen = pretended
    honest = landmarks.points_of
    def stops(images, tries=TRIES):
        if len(seen) >= 4: raise KeyboardInterrupt
        return honest(images, tries)
    monkeypatch.setattr(landmarks, "points_of", stops)
    with pytest.raises(KeyboardInterrupt): kept(corpus, Store(tmp_path), chunk=2)
    assert seen == [0, 1, 2, 3]
    monkeypatch.setattr(landmarks, "points_of", honest)
    assert kept(corpus, Store(tmp_path), chunk=2).shape == (7, 68, 2) and seen == list(range(7))


def test_pictures_without_a_face(pretended, tmp_path):
    corpus, truth, _ = pretended
    with pytest.warns(UserWarning, match="2 left out, the first: .*no face found"):
        c = with_landmarks(corpus, Store(tmp_path), "skip")
    assert (list(c.names) == list(corpus.names[[0, 1, 3, 4, 6]])
            and list(c.skipped["name"]) == list(corpus.names[[2, 5]]) and (c.extras[
        "landmarks"] == truth[[0, 1, 3, 4, 6]]).all())
    with pytest.raises(ValueError, match="(?s)2 cannot be used.*no face found"):
        with_landmarks(corpus, Store(tmp_path), "error")
    with pytest.raises(ValueError, match="did you mean 'skip'"): with_landmarks(corpus, Store(tmp_path), "skipp")


def test_landmarks_that_are_there_stay():
    c = load("synthetic", n=3)
    assert with_landmarks(c, None) is c


def test_normalised_error():
    truth = np.zeros((2, 68, 2)); truth[:, 45, 0] = 10
    assert list(normalised_error(truth + (3, 4), truth)) == [.5, .5]


# --- with MediaPipe

@mediapipe
@pytest.mark.parametrize("options, share, error",
                         [({}, 1, .07), (dict(channels=1), 1, .07), (dict(image_size=48, difficulty=0), 1, .08),
                          (dict(domain="wild"), .6, .09)])
def test_built_in_faces(options, share, error):
    corpus, truth = bare(24, **options)
    points, found = detect(corpus.images)
    assert found.mean() >= share and np.nanmedian(normalised_error(points, truth)) < error


@mediapipe
def test_points_lie_as_those_of_a_face_do():
    corpus, _ = bare(16)
    points, found = detect(corpus.images)
    x, y = np.moveaxis(points[found], 2, 0)
    low, high = points[found].min(1), points[found].max(1)
    for eye in (slice(36, 42), slice(42, 48)):
        assert ((points[found][:, eye] > low[:, None]) & (points[found][:, eye] < high[:, None])).all()
    # jaw (but for the ears) and brows run from left to right
    assert (np.diff(x[:, 2:15]) > 0).all() and (np.diff(x[:, 17:27]) > 0).all()
    # the jaw goes down to the chin and up again
    assert (np.diff(y[:, :8]) > 0).all() and (np.diff(y[:, 9:17]) < 0).all()
    assert (y[:, 17:27].mean(1) < y[:, 36:48].mean(1)).all() and (y[:, 36:48].mean(1) < y[:, 30]).all()
    assert (y[:, 30] < y[:, 51]).all() and (y[:, 57] < y[:, 8]).all()
    assert (y[:, 51] <= y[:, 62]).all() and (y[:, 66] <= y[:, 57]).all() and (x[:, 48] < x[:, 60]).all()
    assert (x[:, 64] < x[:, 54]).all()


@mediapipe
def test_mirrored_pictures_have_mirrored_points():
    corpus, _ = bare(16)
    points, mirrored = detect(corpus.images)[0], detect(corpus.images[:, :, ::-1])[0]
    assert np.nanmedian(normalised_error(mirrored[:, MIRROR] * (-1, 1) + (corpus.images.shape[2] - 1, 0), points)) < .04


@mediapipe
def test_a_picture_is_looked_at_on_its_own(tmp_path):
    corpus, _ = bare(8)
    points, _ = detect(corpus.images)
    assert np.array_equal(detect(corpus.images[::-1])[0][::-1], points,
                          equal_nan=True) and np.array_equal(detect(corpus.images, chunk=3)[0], points, equal_nan=True)
    assert np.array_equal(with_landmarks(corpus, Store(tmp_path)).extras["landmarks"], points, equal_nan=True)


@mediapipe
def test_no_face_in_what_is_none():
    g = np.random.default_rng(0)
    assert not detect(np.concatenate([g.integers(0, 256, (8, 48, 48, 1)), np.zeros((2, 48, 48, 1)),
                                      np.full((2, 48, 48, 1), 255)]).astype(np.uint8))[1].any()

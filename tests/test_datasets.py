"Image decoding, the corpus, and what is refused: what the notebook's cells do not show."
import io, os, struct, zlib
from dataclasses import replace

import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from rbdm_nb.corpora import images as images_module
from rbdm_nb.corpora.datasets import (CORPORA, Check, Corpus, check, corpus_module, find_rows, in_both, load,
                                      stratified, twin_lines, twins, without_twins)
from rbdm_nb.corpora.images import LazyImages, decode
from rbdm_nb.corpora.files import Problems, header_shapes, inside, read_csv, read_file, read_images, resized
from rbdm_nb.corpora.images import RowFile, compact, each, fit, indexed, square

RAMP = (np.arange(48)[:, None] * 4 + np.arange(40)[None] // 2).astype(np.uint8)
RGB = np.stack([RAMP, RAMP[:, ::-1], 255 - RAMP], -1)


def encoded(image, format="PNG", **kw):
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, format, **kw)
    return out.getvalue()


# --- one image

def test_grey_and_colour_come_back_exactly():
    assert (decode(encoded(RAMP))[..., 0] == RAMP).all()
    assert (decode(encoded(RGB)) == RGB).all()
    assert decode(encoded(RGB), channels=1).shape == (48, 40, 1)
    assert decode(encoded(RAMP), channels=3).shape == (48, 40, 3)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_keeps_the_high_byte(format):
    assert (decode(encoded(RAMP.astype(np.uint16) * 256 + 200, format))[..., 0] == RAMP).all()


def test_16_bit_colour_keeps_the_high_byte():
    # written by hand: Pillow cannot write 16-bit RGB
    rows = b"".join(b"\0" + (line.astype(">u2") * 256 + 77).astype(">u2").tobytes() for line in RGB)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    parts = {b"IHDR": struct.pack(">IIBBBBB", 40, 48, 16, 2, 0, 0, 0), b"IDAT": zlib.compress(rows), b"IEND": b""}
    png = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts.items())
    assert (decode(png) == RGB).all()


def test_palette_gives_its_colours():
    image = Image.new("P", (2, 1)); image.putpalette([255, 0, 0, 0, 0, 255]); image.putdata([0, 1])
    assert decode(encoded(image)).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert decode(encoded(image, transparency=0)).tolist() == [[[0, 0, 0], [0, 0, 255]]]


def test_cmyk_becomes_rgb():
    a = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    assert a.shape == (8, 8, 3) and a[..., 0].min() > 240 and a[..., 1:].max() < 15


def test_transparency_lies_over_black():
    rgba = np.dstack([RGB, np.where(np.arange(40) < 20, 0, 255) * np.ones((48, 1))]).astype(np.uint8)
    a = decode(encoded(rgba))
    assert (a[:, :20] == 0).all() and (a[:, 20:] == RGB[:, 20:]).all()
    la = decode(encoded(Image.merge("LA", [Image.fromarray(RAMP), Image.new("L", (40, 48), 0)])))
    assert la.shape == (48, 40, 1) and la.max() == 0


def test_one_bit_is_0_and_255():
    assert set(np.unique(decode(encoded(Image.fromarray(RAMP > 90))))) == {0, 255}


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_is_refused(mode):
    with pytest.raises(ValueError, match="x.tif.*32-bit"):
        decode(encoded(Image.fromarray(RAMP).convert(mode), "TIFF"), "x.tif")


def test_orientation_is_obeyed_and_several_pages_are_refused():
    exif = Image.Exif(); exif[0x0112] = 6
    assert decode(encoded(RAMP, "JPEG", exif=exif)).shape == (40, 48, 1)
    frames = [Image.fromarray(np.full((4, 4), v, np.uint8)) for v in (10, 200)]
    with pytest.raises(ValueError, match="x.tif: the file holds 2 pages.*save one"):
        decode(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), "x.tif")


def test_shrinking_averages_areas():
    a = np.kron(np.random.default_rng(0).integers(0, 256, (6, 6)), np.ones((8, 8))).astype(np.uint8)
    assert (decode(encoded(a), image_size=6)[..., 0] == a[::8, ::8]).all()
    spike = np.zeros((48, 48), np.uint8); spike[5, 7] = 252
    assert decode(encoded(spike), image_size=8)[0, 1, 0] == 252 // 36


def area_mean(a, size):
    "Block means by NumPy, for sides that `size` divides."
    k = len(a) // size
    return a[:size * k, :size * k].reshape(size, k, size, k, -1).mean((1, 3)).squeeze()


@pytest.mark.parametrize("side, size", [(48, 24), (48, 6), (45, 15), (50, 10)])
def test_whole_blocks_are_averaged(side, size):
    a = np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8)
    # Pillow's fixed point rounds to the nearest but for .06
    assert np.abs(fit(Image.fromarray(a), size) - area_mean(a, size)).max() < .6


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 120), st.integers(1, 120), st.integers(1, 120), st.sampled_from(["L", "RGB"]),
       st.integers(0, 255))
def test_any_size_fits(w, h, size, mode, value):
    "What is even stays even, and a slope stays a slope of the same middle."
    assert (fit(Image.new(mode, (w, h), value if mode == "L" else (value,) * 3), size) == value).all()
    slope = np.linspace(0, 255, w)[None].repeat(h, 0).round().astype(np.uint8)
    out = fit(Image.fromarray(slope), size).astype(float)
    assert out.shape == (size, size) and (np.diff(out, axis=1) >= 0).all()
    left, _, side = square(w, h)
    if side > 4 and size > 4: assert abs(out.mean() - slope[:, left:left + side].mean()) < 3


def test_cut_to_a_box():
    assert (decode(encoded(RGB), box=(4, 6, 10, 20)) == RGB[6:26, 0:20]).all()            # made square, moved inside
    assert (decode(encoded(RGB), box=(-5, -5, 20, 20)) == RGB[:20, :20]).all()
    assert decode(encoded(RGB), image_size=7, box=(4, 6, 10, 20)).shape == (7, 7, 3)
    assert (decode(encoded(RGB), image_size=5,
                   box=(10, 10, 20, 20)) == np.round(area_mean(RGB[10:30, 10:30], 5) + 1e-6)).mean() > .9
    for box in ((40, 0, 5, 5), (0, -9, 5, 9), (0, 0, 0, 5), (np.nan, 0, 5, 5)):
        with pytest.raises(ValueError, match="a.png.*outside"): decode(encoded(RGB), "a.png", box=box)


# --- damage

@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM"])
@pytest.mark.parametrize("part", [0.9, 0.5, 0.1])
def test_truncated_files_are_refused(format, part):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64), np.uint8)
    data = encoded(noise, format)
    with pytest.raises(ValueError, match="face.img"): decode(data[:int(len(data) * part)], "face.img")


@pytest.mark.parametrize("data, why", [(b"", "empty"), (b"<html>not found</html>", "not an image"),
                                       (b"\x89PNG\r\n\x1a\n", "face.png"), (b"%!PS-Adobe-3.0 EPSF", "not an image")])
def test_empty_and_foreign_files(data, why):
    with pytest.raises(ValueError, match=why): decode(data, "face.png")


def test_a_bomb_is_refused_before_it_is_unpacked():
    for side in (9_000, 60_000):
        head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        png = (b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + head
               + struct.pack(">I", zlib.crc32(b"IHDR" + head)))
        body = zlib.compress(b"\0" * 1000)
        png += struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
        with pytest.raises(ValueError, match="bomb.png"): decode(png, "bomb.png")


def test_damaged_bytes_give_an_image_or_a_clear_error():
    g = np.random.default_rng(2)
    originals = [encoded(RGB, f) for f in ("PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP")]
    for k in range(300):
        data = bytearray(originals[k % len(originals)])
        for i in g.integers(0, len(data), 1 + k % 8): data[i] = g.integers(256)
        try: a = decode(bytes(data), "face")
        except ValueError as e: assert "face" in str(e)
        else: assert a.dtype == np.uint8 and a.ndim == 3


# --- many images

@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{k}.png" for k in range(70)]
    for k, path in enumerate(paths): path.write_bytes(encoded(RAMP + np.uint8(k)))
    return paths


def test_on_demand_equals_in_memory(files, monkeypatch):
    names, problems = [p.name for p in files], Problems()
    kept, _ = read_images(files, names, problems, image_size=20)
    monkeypatch.setattr("rbdm_nb.corpora.files.MEMORY", 0)
    lazy, good = read_images(files, names, problems, image_size=20)
    assert isinstance(kept, np.ndarray) and isinstance(lazy, LazyImages) and good.all() and not problems
    assert (lazy[:] == kept).all() and (lazy[[5, 2]] == kept[[5, 2]]).all() and (lazy[7] == kept[7]).all()
    assert (lazy[-1] == kept[-1]).all()
    mask = np.arange(70) % 3 == 0
    assert (lazy[mask] == kept[mask]).all() and (lazy.take(mask)[::2] == kept[mask][::2]).all()
    corpora = [Corpus(x, np.arange(70) % 2, ("a", "b"), names) for x in (kept, lazy)]
    assert (corpora[0].digest == corpora[1].digest
            and corpora[0][mask].digest == corpora[1][mask].digest != corpora[0].digest)
    assert corpora[1].subset(9).digest == corpora[0].subset(9).digest


@pytest.mark.parametrize("memory", [0, 1e9])
def test_bad_files_are_left_out_and_named(files, monkeypatch, memory):
    monkeypatch.setattr("rbdm_nb.corpora.files.MEMORY", memory)
    files[3].write_bytes(b"")
    files[8].write_bytes(files[8].read_bytes()[:60])
    files[9].unlink()
    files[10].write_text("no image")
    files[11].unlink()
    files[11].mkdir()
    problems = Problems()
    images, good = read_images(files, [p.name for p in files], problems)
    assert [n for n, _ in problems] == [f"{k}.png" for k in (3, 8, 9, 10, 11)] and len(images) == good.sum() == 65
    assert (images[3] == decode(files[4].read_bytes())).all()
    for word, (_, reason) in zip(("empty", "damaged", "not found", "not an image", "cannot be read"), problems):
        assert word in reason
    with pytest.raises(ValueError, match="5 cannot be used"): problems.settle("error", "toy")
    with pytest.raises(FileNotFoundError): Problems(problems[2:3]).settle("error", "toy")
    with pytest.warns(UserWarning, match="5 left out"):
        assert list(problems.settle("skip", "toy").columns) == ["name", "reason"]
    with pytest.raises(ValueError, match="did you mean 'skip'"): problems.settle("skipp", "toy")


def test_threads_change_nothing_but_errors_come_out():
    for n in (0, 1, 5, 31, 32, 33, 100):
        for threads in (1, 2, 8):
            seen = []     # appending is atomic
            each(seen.append, n, threads)
            assert sorted(seen) == list(range(n))
    def fail(k):
        if k == 77: raise KeyError("77")
    for threads in (1, 8):
        with pytest.raises(KeyError, match="77"): each(fail, 100, threads)


def test_what_is_known_about_files_is_not_read_again(files, monkeypatch, tmp_path):
    monkeypatch.setenv("RBDM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("rbdm_nb.corpora.files.MEMORY", 0)
    files[9].write_bytes(b"no image")
    read, true = [], read_file
    monkeypatch.setattr("rbdm_nb.corpora.files.read_file",
                        lambda path, name, *a: read.append(name) or true(path, name, *a))
    names, first = [p.name for p in files], read_images(files, [p.name for p in files], Problems(), image_size=20)
    assert sorted(read) == sorted(names)
    read.clear(); problems = Problems()
    again, good = read_images(files, names, problems, image_size=20)
    assert (read == ["9.png"] and [n for n, _ in problems] == ["9.png"] and (again[:] == first[0][:]).all()
            and (good == first[1]).all())
    read.clear()
    files[3].write_bytes(encoded(RAMP + np.uint8(99))); os.utime(files[5], ns=(1, 1)); files[7].unlink()
    again, _ = read_images(files, names, Problems(), image_size=20)
    assert sorted(read) == ["3.png", "5.png", "7.png", "9.png"]
    assert (again[3] == decode(files[3].read_bytes(), image_size=20)).all() and len(again) == 68
    read.clear()
    read_images(files, names, Problems(), image_size=21)
    assert len(read) == 70
    part, _ = read_images(files[20:], names[20:], Problems(), image_size=20)
    assert len(read) == 70 and (part[0] == decode(files[20].read_bytes(), image_size=20)).all()


def test_headers_of_many_files_are_remembered(files, monkeypatch, tmp_path):
    monkeypatch.setenv("RBDM_CACHE", str(tmp_path / "cache"))
    files[0].write_bytes(b"no image"); files[1].write_bytes(encoded(RGB))
    few = header_shapes(files)
    monkeypatch.setattr("rbdm_nb.corpora.files.MANY", 10)
    assert (header_shapes(files) == few).all() and few[:3].tolist() == [[0, 0, 0], [48, 40, 3], [48, 40, 1]]
    monkeypatch.setattr("rbdm_nb.corpora.files.header_shape", lambda path: 1 / 0)
    assert (header_shapes(files) == few).all()


def test_an_interrupted_index_goes_on(files, monkeypatch, tmp_path):
    monkeypatch.setenv("RBDM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(images_module, "BLOCK", 20)
    done = []
    def slow(k):
        if len(done) == 50: raise KeyboardInterrupt
        done.append(k)
        return (k,)
    monkeypatch.setattr(images_module, "THREADS", 1)
    monkeypatch.setattr(images_module, "each", lambda f, n: [f(k) for k in range(n)])
    with pytest.raises(KeyboardInterrupt): indexed(files, [("number", "i4")], slow)
    done.clear()
    rows, bad = indexed(files, [("number", "i4")], slow)
    assert not bad and (rows["number"] == range(70)).all() and sorted(done) == list(range(40, 70))


def test_rows_that_cannot_be_written_are_not_trusted(tmp_path):
    file = RowFile(tmp_path / "rows", (4,), np.float32)
    rows = [file.add(np.full(4, k)) for k in range(3)]
    assert [file.read(r)[0] for r in rows] == [0, 1, 2]
    assert RowFile(tmp_path / "rows", (4,), np.float32).read(rows[1])[3] == 1
    file.file.close(); file.file = open(tmp_path / "rows", "rb", buffering=0)
    assert file.add(np.zeros(4)) == -1
    os.truncate(tmp_path / "rows", 20)
    with pytest.raises(OSError, match="lost its end"): file.read(rows[2])


def test_compact_paths(tmp_path):
    for names in (["a.png"], ["a/b.png", "a/c.png"], ["ab/c.png", "ac/d.png"], ["a.png", "b/c/ü ö.png", "b/c"], []):
        paths = [tmp_path / n for n in names]
        assert [compact(paths)[k] for k in range(len(paths))] == [str(p) for p in paths]


def test_unequal_sizes_and_channels_become_equal(tmp_path):
    shapes = [(48, 40), (48, 40), (30, 60), (64, 64)]
    for k, s in enumerate(shapes): (tmp_path / f"{k}.png").write_bytes(encoded(np.zeros(s, np.uint8)))
    (tmp_path / "4.png").write_bytes(encoded(RGB))
    paths = sorted(tmp_path.iterdir())
    assert read_images(paths[:4], paths, Problems())[0].shape == (4, 40, 40, 1)
    assert read_images(paths, paths, Problems())[0].shape == (5, 40, 40, 3)
    assert read_images(paths[:2], paths, Problems())[0].shape == (2, 48, 40, 1)


def test_resized_arrays(monkeypatch):
    a = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    small = resized(a, 4, 3)
    assert small.shape == (5, 4, 4, 3) and abs(small[0, 0, 0, 0] - a[0, :2, :2].mean()) <= 1
    monkeypatch.setattr("rbdm_nb.corpora.files.MEMORY", 0)
    lazy = resized(a, 4, 3)
    assert isinstance(lazy, LazyImages) and (lazy[:] == small).all()


# --- the corpus

@pytest.fixture
def corpus():
    images = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 1), np.uint8)
    lazy = LazyImages(lambda i: np.full((2, 2), i, np.float32), (2, 2), range(100), np.float32)
    return Corpus(images, np.repeat([0, 1, 2], [70, 28, 2]), ("a", "b", "c", "d"), [f"n{i}" for i in range(100)],
                  extras={"landmarks": np.arange(200.).reshape(100, 2), "units": lazy})


def test_parts_of_a_corpus(corpus):
    index = np.array([99, 3, 4])
    for part in (corpus[index], corpus[list(index)]):
        assert list(part.names) == ["n99", "n3", "n4"] and (part.labels == corpus.labels[index]).all()
        assert (part.extras["landmarks"][:, 0] == 2 * index).all() and part.extras["units"][0].max() == 99
        assert isinstance(part.extras["units"], LazyImages)
    assert len(corpus[10:20]) == 10 and len(corpus[corpus.labels == 2]) == 2 and len(corpus[[]]) == 0
    with pytest.raises(TypeError, match="corpus.images"): corpus[3]
    with pytest.raises(IndexError): corpus[np.ones(5, bool)]
    with pytest.raises(AttributeError): corpus.labels = 0


def test_what_is_no_corpus(corpus):
    with pytest.raises(ValueError, match="share 1 names.*'n0'"): replace(corpus, names=["n0", *corpus.names[:99]])
    with pytest.raises(ValueError, match="unequal lengths"): replace(corpus, labels=[0])
    with pytest.raises(ValueError, match="4 classes"): replace(corpus, labels=np.full(100, 4))
    with pytest.raises(ValueError, match="4 classes"): replace(corpus, labels=np.full(100, -1))
    with pytest.raises(ValueError, match="uint8"): replace(corpus, images=corpus.images / 255)
    with pytest.raises(ValueError, match="N, H, W, C"): replace(corpus, images=corpus.images[..., 0])


@pytest.mark.parametrize("n", [3, 4, 7, 10, 50, 99])
def test_subsets_are_stratified(corpus, n):
    part = corpus.subset(n, seed=3)
    counts = part.counts().to_numpy()
    assert (len(part) == n and (counts[:3] >= 1).all() and counts[3] == 0
            and (np.diff([int(x[1:]) for x in part.names]) > 0).all())
    if n >= 50: assert (abs(counts - corpus.counts() * n / 100) <= 1).all()
    assert part.digest == corpus.subset(n, seed=3).digest


def test_subsets_of_any_distribution():
    g = np.random.default_rng(0)
    for _ in range(50):
        labels = g.choice(8, g.integers(20, 300), p=g.dirichlet(np.full(8, 0.3)))
        classes = np.unique(labels)
        for n in range(len(classes), len(labels) + 1, 7):
            chosen = stratified(labels, n, 1)
            assert len(np.unique(chosen)) == n and set(labels[chosen]) == set(classes)


def test_subset_limits(corpus):
    assert corpus.subset(0) is corpus and corpus.subset(None) is corpus and corpus.subset(1000) is corpus
    with pytest.raises(ValueError, match="3 classes"): corpus.subset(2)
    with pytest.raises(ValueError, match="negative"): corpus.subset(-5)


def test_digest_sees_everything(corpus):
    changed = corpus.images.copy(); changed[50, 1, 1] ^= 1
    digests = {c.digest for c in (corpus, replace(corpus, images=changed),
                                  replace(corpus, labels=corpus.labels[::-1].copy()),
                                  replace(corpus, names=[f"m{i}" for i in range(100)]),
                                  replace(corpus, classes=("a", "b", "c", "e")), corpus[::-1])}
    assert len(digests) == 6


# --- names, tables, doors

def test_names_stay_inside(tmp_path):
    root = tmp_path / "corpus"; (root / "sub").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(encoded(RAMP)); (tmp_path / "corpus2").mkdir()
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "dir").symlink_to(tmp_path / "corpus2")
    (root / "ok.png").symlink_to(root / "sub" / "x.png")
    assert inside(root, "sub/x.png") and inside(root, "ok.png") and inside(root, "..hidden.png")
    for name in ("../secret.png", "sub/../../secret.png", "..\\secret.png", str(tmp_path / "secret.png"), "C:\\x.png",
                 "\\\\host\\x.png", "link.png", "dir/x.png", "a\0b.png", "..", "", "  "):
        with pytest.raises(ValueError): inside(root, name)


def test_csv_in_odd_forms(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeff name , label\r\nä.png,happy\r\n\r\n\"b,c.png\",sad\r\n".encode())
    t = read_csv(path, ("name", "label"))
    assert list(t["name"]) == ["ä.png", "b,c.png"] and list(t.index) == [2, 4]
    for text, why in ((b"", "empty"), (b"a,b\n1,2\n", "no column 'name'"), (b"name,label,label\n", "twice"),
                      (b"name,label\n\xff\xfe,x\n", "UTF-8"), (b"name,label\nx\n", "line 2: 1 fields")):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=why): read_csv(path, ("name", "label"))
    path.write_bytes(b"name,label\n\"" + b"x" * 200_000)
    with pytest.raises(ValueError, match="CSV"): read_csv(path, ("name", "label"))
    with pytest.raises(FileNotFoundError, match="none.csv"): read_csv(tmp_path / "none.csv")


def test_doors_that_do_not_exist(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'folder'"): load("fodler", tmp_path)
    with pytest.raises(ValueError, match="did you mean 'train'"): load("folder", tmp_path, "trian")
    with pytest.raises(TypeError, match="did you mean 'image_size'"): load("folder", tmp_path, image_sise=48)
    for name in ("folder", "ferplus"):
        with pytest.raises(ValueError, match="needs root"): load(name)
        with pytest.raises(FileNotFoundError, match="nowhere"): load(name, tmp_path / "nowhere")
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError, match="file"): load(name, tmp_path / "file")


def test_every_corpus_module_offers_the_same(tmp_path):
    for name in CORPORA:
        module = corpus_module(name)
        assert callable(module.load)
        if name != "synthetic": assert callable(module.check) and module.DESCRIPTION.strip()
        if name not in ("synthetic", "folder"): assert callable(module.fake)
    with pytest.raises(ValueError, match="did you mean 'ckplus'"): check("ckpls", tmp_path)
    with pytest.raises(TypeError, match="no option 'colour'"): check("affectnet", tmp_path, colour=1)
    with pytest.raises(ValueError, match="drawn"): check("synthetic")


def test_usable_means_images_in_every_split():
    table = lambda **rows: pd.DataFrame(rows, ["happy", "sad"]).T.rename_axis("split")
    assert Check("x", table(train=[1, 0], valid=[0, 2]), None).usable
    for counts in (table(train=[0, 0]), table(valid=[1, 1]), table(train=[1, 1], valid=[0, 0]),
                   table(train=[1, 1]).iloc[:0]):
        assert not Check("x", counts, None).usable


# --- twins

def flat(values, side=4): return np.array(values, np.uint8)[:, None, None, None] * np.ones((1, side, side, 1), np.uint8)


def parts(learn, judge, **kw):
    "A training and a validation set of flat images, of (value, label) each."
    make = lambda rows, split: Corpus(flat([v for v, _ in rows], **kw), [l for _, l in rows], ("a", "b"),
                                      [f"{split}{k}" for k in range(len(rows))], split)
    return make(learn, "train"), make(judge, "valid")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=1, max_size=12),
       st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=1, max_size=12))
def test_twins_are_those_of_equal_pixels(learn, judge):
    train, valid = parts(learn, judge)
    values = {f"train{k}": v for k, (v, _) in enumerate(learn)} | {f"valid{k}": v for k, (v, _) in enumerate(judge)}
    found = twins(train, valid)
    alike = {frozenset(n for n in values if values[n] == v) for v in values.values()}
    assert {frozenset(g["name"]) for _, g in found.groupby("picture")} == {names for names in alike if len(names) > 1}
    both = in_both(valid, train)
    assert both.tolist() == [v in {w for w, _ in learn} for v, _ in judge]
    rest = without_twins(valid, train)
    assert len(rest) + len(rest.skipped) == len(valid) and not in_both(rest, train).any()
    lines = twin_lines(found, {"train": len(train), "valid": len(valid)})
    assert any(f"{both.sum()} of {len(valid)} valid pictures stand in train too" in line
               for line in lines) == bool(both.any())
    labels = {}
    for v, l in learn + judge: labels.setdefault(v, set()).add(l)
    apart = sum(len(x) > 1 for x in labels.values())
    assert any(line.startswith(f"{apart} pictures have copies with different labels") for line in lines) == bool(apart)


def test_twins_of_images_on_demand_and_of_other_shapes(files, monkeypatch, tmp_path):
    monkeypatch.setenv("RBDM_CACHE", str(tmp_path / "cache"))
    # other bytes, the same pixels
    files[5].write_bytes(encoded(RAMP)); files[6].write_bytes(encoded(Image.fromarray(RAMP), "BMP"))
    seen = []
    for memory in (1e9, 0):
        monkeypatch.setattr("rbdm_nb.corpora.files.MEMORY", memory)
        images, _ = read_images(files, files, Problems())
        seen.append(twins(Corpus(images, np.arange(70) % 2, ("a", "b"), [p.name for p in files])))
    assert seen[0].equals(seen[1]) and seen[0]["name"].tolist() == ["0.png", "5.png", "6.png"]
    small, large = parts([(1, 0)], [(1, 0)])[0], parts([(1, 0)], [(1, 0)], side=5)[1]
    for f in (lambda: twins(small, large), lambda: in_both(large, small)):
        with pytest.raises(ValueError, match="image_size"): f()


@pytest.fixture
def with_twins(tmp_path):
    "Class folders with a picture in both sets, one that is repeated, and one with two labels."
    g = np.random.default_rng(0)
    for split, n in (("train", 6), ("valid", 3)):
        for label in ("happy", "sad"):
            (tmp_path / split / label).mkdir(parents=True)
            for k in range(n):
                Image.fromarray(g.integers(0, 256, (16, 16),
                                           np.uint8)).save(tmp_path / split / label / f"{split}{label}{k}.png")
    put = lambda a, b: Image.open(tmp_path / a).save(tmp_path / b)
    put("train/happy/trainhappy0.png", "valid/happy/again.png")
    put("train/sad/trainsad1.png", "train/sad/again.bmp")
    put("train/sad/trainsad2.png", "train/happy/other.png")
    return tmp_path


def test_check_counts_twins_and_load_leaves_them_out(with_twins):
    notes = check("folder", with_twins).notes
    for said in ("1 of 7 valid pictures stand in train too (happy 1): valid/happy/again.png as "
                 "train/happy/trainhappy0.png", "2 of 14 train pictures repeat another one of train",
                 "1 pictures have copies with different labels: train/happy/other.png (train) happy, "
                 "train/sad/trainsad2.png (train) sad"):
        assert any(said in note for note in notes), notes
    whole, rest = load("folder", with_twins, "valid"), load("folder", with_twins, "valid", drop_twins=True)
    assert (len(whole) == 7 and len(rest) == 6
            and rest.skipped["reason"].iloc[-1]
            == "valid/happy/again.png: the same picture as train/happy/trainhappy0.png of train")
    assert len(load("folder", with_twins, drop_twins=True)) == 14


# --- names

def test_names_that_two_pictures_share_are_refused():
    names = ["a/1.png", "b/1.png", "b/2.jpg", "x.png", "x.png#2", "t.parquet#0", "t.parquet#1", "e\u0301.png"]
    assert find_rows(names, ["b/1.png", "a/1.png", "2.png", "t.parquet#1", "c\\2.bmp",
                             "\u00e9"][:4]).tolist() == [1, 0, 2, 6]
    assert find_rows(names, ["\u00e9.jpg", "2"]).tolist() == [7, 2]
    assert find_rows(names, ["x.png#2", "x.png", "x.png"]).tolist() == [4, 3, 3]
    assert not len(find_rows(names, []))
    for wanted, why in ((["1.png"], "2 images have this name .a/1.png, b/1.png"),
                        (["c/1.jpg", "b/2.jpg"], "1 of 2 names are"), (["x.png"], "x.png, x.png#2"),
                        (["x"], "ambiguous"),
                        (["t"], "ambiguous"), (["2", "b/2.jpg"], "'2' and 'b/2.jpg' are both 'b/2.jpg'"),
                        (["b/3.jpg"], "no image 'b/3.jpg'; did you mean 'b/2.jpg'")):
        with pytest.raises(ValueError, match=f"faces.*{why}"): find_rows(names, wanted, "faces")


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.text("ab/.#2", min_size=1, max_size=6), min_size=1, max_size=8, unique=True),
       st.lists(st.text("ab/.#2", max_size=6), max_size=4))
def test_any_names_are_found_or_refused(names, wanted):
    asked = set(wanted)
    try: rows = find_rows(names, wanted)
    except ValueError as e: assert "ambiguous" in str(e) or "no image" in str(e) or "both" in str(e)
    else:
        assert all(n not in names or names[i] == n for n,
                   i in zip(wanted, rows)) and len(set(rows.tolist())) == len(asked)

"Odd pictures: turned, of 16 bits, films, pages, kinds that are not read. Each is right, or refused with its name."
import io, struct, zlib

import numpy as np, pytest
from hypothesis import given, settings, strategies as st
from PIL import Image
from rbdm_nb.corpora.files import Problems, header_shape, read_images
from rbdm_nb.corpora.images import BITS, decode

GREY = (np.arange(24)[:, None] * 8 + np.arange(16)[None] * 4).astype(np.uint8)
RGB = np.stack([GREY, GREY[::-1], 255 - GREY], -1)
ORDER = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
         5: lambda a: a.swapaxes(0, 1),
         # what a viewer shows
         6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a)}


def encoded(image, format="PNG", **kw):
    out = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(out, format, **kw)
    return out.getvalue()


def chunk(kind, data): return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values, colour, extra=b"", late=b""):
    "PNG of 16 bits from `values` (H, W[, C]); Pillow cannot write most of them."
    h, w = values.shape[:2]
    rows = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    head = struct.pack(">IIBBBBB", w, h, 16, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows)) + late + chunk(
        b"IEND", b"")


def turned(k):
    exif = Image.Exif(); exif[0x0112] = k
    return exif


def said(path, data):
    path.write_bytes(data)
    return header_shape(path)


# --- orientation

@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("k", range(1, 9))
def test_orientation_in_every_format(tmp_path, format, k):
    data = encoded(RGB, format, exif=turned(k), **(dict(lossless=True) if format == "WEBP" else {}))
    seen = decode(data)
    plain = decode(encoded(RGB, format, **(dict(lossless=True) if format == "WEBP" else {})))
    assert (seen == ORDER[k](plain)).all() and said(tmp_path / "a", data) == seen.shape


def test_orientation_behind_the_pixels_and_in_xmp(tmp_path):
    whole = encoded(GREY, exif=turned(6))
    at = whole.index(b"eXIf") - 4
    length = 12 + struct.unpack(">I", whole[at:at + 4])[0]
    late = whole[:at] + whole[at + length:-12] + whole[at:at + length] + whole[-12:]
    xmp = (b"XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:Description "
           b"tiff:Orientation=\"6\"/></x:xmpmeta>")
    plain = encoded(GREY)
    told = plain[:-12] + chunk(b"iTXt", xmp) + plain[-12:]
    for data in (late, told):
        assert (decode(data)[..., 0] == ORDER[6](GREY)).all() and said(tmp_path / "a", data) == (16, 24, 1)


@pytest.mark.parametrize("depth", [16, 12])
def test_orientation_of_16_bits(tmp_path, depth):
    exif = chunk(b"eXIf", turned(6).tobytes()[6:])
    scale = 257 if depth == 16 else 16
    for values, colour, truth in ((GREY.astype(np.uint16) * scale, 0, GREY[..., None]),
                                  (RGB.astype(np.uint16) * scale, 2, RGB)):
        data = png(values, colour, exif)
        assert (decode(data, bits=depth) == ORDER[6](truth)).all()
        assert said(tmp_path / "a", data) == (16, 24, truth.shape[2])


# --- 16 bits

@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("kind", ["grey PNG", "grey TIFF", "colour PNG"])
def test_fewer_bits_in_16_are_refused_or_scaled(bits, kind):
    truth = RGB if kind[0] == "c" else GREY[..., None]
    values = truth.astype(np.uint16) << (bits - 8)
    data = png(values, 2) if kind[0] == "c" else encoded(values[..., 0], kind[5:])
    assert (decode(data, bits=bits) == truth).all()
    if bits == 16: assert (decode(data) == truth).all(); return
    with pytest.raises(ValueError, match=f"face.png.*bits={bits}.*8 bits"): decode(data, "face.png")
    assert decode(data, bits=16).max() <= truth.max() >> (16 - bits)
    if bits > 8:
        with pytest.raises(ValueError, match="at most"): decode(data, "face.png", bits=8)


def test_black_is_black_and_dark_colour_is_refused():
    assert decode(png(np.zeros((4, 4), np.uint16), 0)).max() == 0
    assert decode(png(np.zeros((4, 4, 3), np.uint16), 2)).max() == 0
    for colour, shape in ((2, (4, 4, 3)), (6, (4, 4, 4)), (4, (4, 4, 2))):
        values = np.full(shape, 4000, np.uint16)
        if colour != 2: values[..., -1] = 65535
        with pytest.raises(ValueError, match="dark.png.*bits=12"): decode(png(values, colour), "dark.png")
    with pytest.raises(ValueError, match="bits=11: one of"): decode(png(np.zeros((4, 4), np.uint16), 0), bits=11)


def test_alpha_and_transparent_grey_of_16_bits():
    values = np.dstack([RGB.astype(np.uint16) * 257,
                        np.where(np.arange(16) < 8, 0, 65535) * np.ones((24, 1))]).astype(np.uint16)
    a = decode(png(values, 6))
    assert (a[:, :8] == 0).all() and (a[:, 8:] == RGB[:, 8:]).all()
    clear = decode(png(np.array([[1000, 65535]], np.uint16), 0, chunk(b"tRNS", struct.pack(">H", 65535))), bits=16)
    assert clear.ravel().tolist() == [1000 >> 8, 0]


def test_16_bit_pgm_and_white_as_zero():
    values = GREY.astype(">u2") * 257
    assert (decode(b"P5 16 24 65535\n" + values.astype(">u2").tobytes())[..., 0] == GREY).all()
    with pytest.raises(ValueError, match="x.ppm.*bits=12"):
        decode(b"P6 16 24 65535\n" + (RGB.astype(">u2") * 16).astype(">u2").tobytes(), "x.ppm")
    tiff = encoded(GREY.astype(np.uint16) * 257, "TIFF", tiffinfo={262: 0})
    with pytest.raises(ValueError, match="x.tif.*0 is white"): decode(tiff, "x.tif")


# --- other modes

def test_modes_that_are_right_or_refused():
    la = decode(encoded(Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (16, 24), 255)])))
    assert (la[..., 0] == GREY).all()
    cmyk = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"))
    assert cmyk[0, 0].tolist() == [255, 0, 0]
    assert set(np.unique(decode(encoded(Image.fromarray(GREY > 60), "TIFF")))) == {0, 255}
    for values in (GREY / np.float32(255), GREY.astype(np.int32), GREY.astype(np.float32)):
        with pytest.raises(ValueError, match="x.tif.*no agreed white"): decode(encoded(values, "TIFF"), "x.tif")
    gif = decode(encoded(Image.fromarray(GREY).convert("P"), "GIF"))
    assert gif.shape == (24, 16, 3) and (gif[..., 1] == GREY).all()


# --- several pictures, and kinds that are not read

def several(format, n=2):
    return encoded(Image.fromarray(RGB * 0), format, save_all=True,
                   append_images=[Image.fromarray(RGB // k) for k in range(1, n)])


@pytest.mark.parametrize("format, what", [("GIF", "film"), ("WEBP", "film"), ("PNG", "film"), ("TIFF", "pages")])
def test_films_and_pages_are_refused_or_skipped(tmp_path, monkeypatch, format, what):
    data = several(format, 3)
    with pytest.raises(ValueError, match=f"a.img: the file holds 3 .*{what}.*save one"): decode(data, "a.img")
    (tmp_path / "a.png").write_bytes(data); (tmp_path / "b.png").write_bytes(encoded(GREY))
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for memory in (1e9, 0):
        monkeypatch.setattr("rbdm_nb.corpora.files.MEMORY", memory)
        problems = Problems()
        images, good = read_images(paths, ["a.png", "b.png"], problems)
        assert images.shape == (1, 24, 16, 1) and good.tolist() == [False, True] and [n for n, _ in problems] == [
            "a.png"]


def test_one_frame_is_a_picture_and_a_camera_preview_is_none():
    assert decode(encoded(RGB, "GIF", save_all=True)).shape == (24, 16, 3)
    mpo = encoded(RGB, "MPO", save_all=True, append_images=[Image.fromarray(RGB[::2, ::2])], quality=95)
    assert decode(mpo).shape == (24, 16, 3)


@pytest.mark.parametrize("brand, word", [(b"heic", "HEIC.*pillow-heif"), (b"mif1", "HEIC"), (b"avif", "AVIF"),
                                         (b"jp2 ", "JPEG 2000")])
def test_kinds_that_are_not_read_name_the_way(brand, word):
    with pytest.raises(ValueError, match=f"a.jpg: a {word}"): decode(b"\0\0\0\x18ftyp" + brand + bytes(64), "a.jpg")


def test_bits_reach_the_files(tmp_path, monkeypatch):
    monkeypatch.setenv("RBDM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.png").write_bytes(encoded(GREY.astype(np.uint16) * 16))
    for memory in (1e9, 0):
        monkeypatch.setattr("rbdm_nb.corpora.files.MEMORY", memory)
        problems = Problems()
        read_images([tmp_path / "a.png"], ["a.png"], problems)
        assert len(problems) == 1
        for bits, scale in ((12, 1), (16, 16)):
            assert (read_images([tmp_path / "a.png"], ["a.png"], Problems(),
                                bits=bits)[0][0][..., 0] == GREY // scale).all()


# --- whatever the bytes are

ORIGINALS = [encoded(RGB, f, exif=turned(6))
             for f in ("PNG", "JPEG", "WEBP", "TIFF")] + [several(f) for f in ("GIF", "WEBP", "PNG", "TIFF")]
ORIGINALS += [png(RGB.astype(np.uint16) * 257, 2), encoded(GREY.astype(np.uint16) * 257, "TIFF"),
              b"P6 16 24 65535\n" + RGB.astype(">u2").tobytes()]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(ORIGINALS), st.integers(0, 3000),
       st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8), st.sampled_from([None, 12]))
def test_damaged_bytes_are_an_image_or_a_named_error(data, cut, edits, bits):
    data = bytearray(data[:cut] if 0 < cut < len(data) else data)
    for at, value in edits: data[at % len(data)] = value
    try: a = decode(bytes(data), "faces/a.png", bits=bits)
    except ValueError as e: assert "faces/a.png" in str(e)
    else: assert a.dtype == np.uint8 and a.ndim == 3 and a.shape[2] in (1, 3)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\0\0\0\x18ftypheic", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0",
                                                 b"P6 2 2 65535\n", b"RIFF\0\0\0\0WEBP"]))
def test_any_bytes_are_an_image_or_a_named_error(data, head):
    try: decode(head + data, "faces/a.png")
    except ValueError as e: assert "faces/a.png" in str(e)


def test_bits_are_an_option_of_ones_own_corpus(tmp_path):
    from rbdm_nb.corpora.datasets import check, load
    for label in ("happy", "sad"):
        for k in range(4):
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / f"{k}.png").write_bytes(encoded((GREY + np.uint8(k)).astype(np.uint16) * 16))
    with pytest.raises(ValueError, match="bits=12"): load("folder", tmp_path)
    assert load("folder", tmp_path, bits=12).images.max() > 200
    assert check("folder", tmp_path, bits=12).counts.to_numpy().sum() == 8
    assert len(check("folder", tmp_path).bad) == 8

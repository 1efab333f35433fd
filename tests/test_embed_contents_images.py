"""Pictures: each file gets its pixels or the one status that says why not, and never anything in between."""

import hashlib
import io
import os
import struct
import time
import unicodedata
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
from PIL import Image, ImageOps, features
from support import image_bytes

from embed import ContentError, read_catalogue
from embed.contents import images
from embed.contents.decode_budget import DecodeBudget, budget_bytes
from embed.contents.images import decode, locate, read_image, to_rgb
from embed.contents.jpeg_scans import MAX_SCANS
from embed.contents.statuses import MEANINGS

# Pillow warns of malformed metadata and of large pictures; extraction ignores that, as the statuses say it.
pytestmark = pytest.mark.filterwarnings(r"ignore:::PIL\.")

KINDS = [
    pytest.param("AVIF", marks=pytest.mark.skipif(not features.check("avif"), reason="Pillow is built without AVIF")),
    "BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP",
]  # fmt: skip


def status_of(function, *arguments, **options):
    with pytest.raises(ContentError) as caught:
        function(*arguments, **options)
    assert str(caught.value) in MEANINGS
    return str(caught.value)


def saved(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels_of(content):
    """Return what `decode` makes of a file, (H, W, 3) integers."""
    image = decode(content)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def drawing(width=48, height=32):
    """Return a picture with another colour in each corner, so that no turned or mirrored one looks the same."""
    y, x = np.mgrid[:height, :width]
    planes = [255 * x // (width - 1), 255 * y // (height - 1), 100 * (x > width // 2) + 50 * (y > height // 3)]
    return Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))


def with_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def png(samples, *, colour_type, transparent=b""):
    """Return a PNG file of 16-bit samples, (H, W) or (H, W, channels), which Pillow itself cannot write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width = samples.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))
    transparency = chunk(b"tRNS", transparent) if transparent else b""
    return b"\x89PNG\r\n\x1a\n" + header + transparency + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


# Where a cell leads


@pytest.fixture
def root(tmp_path):
    """Return a folder of pictures with all kinds of entries, beside a picture that is outside."""
    root = (tmp_path / "root").resolve()
    (root / "sub").mkdir(parents=True)
    for path in (root / "a.png", root / "sub" / "b.png", tmp_path / "outside.png", tmp_path / "root2.png"):
        path.write_bytes(image_bytes())
    (root / "inside_link.png").symlink_to(root / "a.png")
    (root / "outside_link.png").symlink_to(tmp_path / "outside.png")
    (root / "outside_folder").symlink_to(tmp_path)
    (root / "dangling.png").symlink_to(root / "none.png")
    (root / "loop.png").symlink_to(root / "loop_back.png")
    (root / "loop_back.png").symlink_to(root / "loop.png")
    os.mkfifo(root / "pipe.png")
    return root


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("a.png", "a.png"),
        ("./a.png", "a.png"),
        ("  a.png\t", "a.png"),
        ("sub/b.png", "sub/b.png"),
        ("sub//../a.png", "a.png"),
        ("../root/a.png", "a.png"),
        ("inside_link.png", "a.png"),
        ("{root}/sub/b.png", "sub/b.png"),
    ],
)
def test_a_cell_names_a_file_below_the_root(root, cell, name):
    assert locate(cell.format(root=root), root, allow_outside=False) == root / name


@pytest.mark.parametrize(
    ("cell", "status"),
    [
        ("", "absent"),
        (" \t", "absent"),
        ("none.png", "missing"),
        ("none/a.png", "missing"),
        ("a.png/b.png", "missing"),
        ("dangling.png", "missing"),
        ("loop.png", "missing"),
        ("a\0.png", "missing"),
        ("\ud800.png", "missing"),
        ("x" * 300 + ".png", "missing"),
        ("sub/" * 5000 + "a.png", "missing"),
        ("https://example.org/a.png", "url"),
        ("//cdn.example.org/a.png?width=300", "url"),
        ("data:image/png;base64,iVBORw0KGgo=", "url"),
        ("../outside.png", "outside"),
        ("sub/../../outside.png", "outside"),
        ("{root}/../outside.png", "outside"),
        ("{root}2.png", "outside"),
        ("outside_link.png", "outside"),
        ("outside_folder/outside.png", "outside"),
        ("..", "outside"),
        ("/dev/zero", "outside"),
        (".", "not_a_file"),
        ("sub", "not_a_file"),
        ("pipe.png", "not_a_file"),
    ],
)
def test_a_cell_that_names_no_picture_file_gets_its_status(root, cell, status):
    assert status_of(locate, cell.format(root=root), root, allow_outside=False) == status


@pytest.mark.parametrize(
    "cell", ["../outside.png", "{root}/../outside.png", "outside_link.png", "outside_folder/outside.png"]
)
def test_pictures_outside_the_root_are_read_where_that_is_allowed(root, cell):
    location = locate(cell.format(root=root), root, allow_outside=True)
    assert location == root.parent / "outside.png"


@pytest.mark.parametrize("allow_outside", [False, True])
def test_folders_that_are_kept_change_no_answer(root, allow_outside):
    def answer(cell, folders):
        try:
            return locate(cell.format(root=root), root, allow_outside=allow_outside, folders=folders)
        except ContentError as error:
            return str(error)

    (root / "folder_link").symlink_to(root / "sub")
    cells = ["a.png", "b.png", "sub/b.png", "sub/a.png", "sub/../a.png", "folder_link/b.png", "folder_link/../a.png"]
    cells += ["inside_link.png", "outside_link.png", "outside_folder/outside.png", "outside_folder/root/a.png"]
    cells += [
        "/a.png",
        "/dev/zero",
        "../outside.png",
        "{root}/a.png",
        "loop.png",
        "none/a.png",
        "a.png/b.png",
        "sub/..",
    ]
    folders = {}
    for cell in [*cells, *reversed(cells)]:
        assert answer(cell, folders) == answer(cell, None) == answer(cell, {}), cell


@pytest.mark.parametrize("cell", ["/dev/zero", "..", "outside_folder"])
def test_devices_and_folders_outside_the_root_are_no_files_even_where_that_is_allowed(root, cell):
    assert status_of(locate, cell, root, allow_outside=True) == "not_a_file"


def test_a_file_name_in_another_encoding_is_found_by_its_bytes(root):
    """A catalogue in latin-1, read as UTF-8, names its files by the same bytes as the file system."""
    raw = os.fsencode(root) + b"/caf\xe9.png"
    try:
        with open(raw, "wb") as file:
            file.write(image_bytes())
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    assert os.fsencode(locate("caf\udce9.png", root, allow_outside=False)) == raw


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_what_the_system_does_not_let_us_read_is_unreadable(root):
    (root / "a.png").chmod(0)
    (root / "sub").chmod(0)
    try:
        assert status_of(read_image, root / "a.png") == "unreadable"
        assert status_of(locate, "sub/b.png", root, allow_outside=False) == "unreadable"
    finally:
        (root / "sub").chmod(0o700)


# Bytes and keys


def test_a_picture_is_read_with_its_sha256(root):
    content = image_bytes()
    key = hashlib.sha256(content).hexdigest()
    assert read_image(root / "a.png") == (key, content)
    assert read_image(root / "a.png", key=key) == (key, content)


def test_a_picture_that_has_changed_since_it_was_hashed_is_changed(root):
    path = root / "a.png"
    key, _ = read_image(path)
    path.write_bytes(image_bytes("blue"))
    assert status_of(read_image, path, key=key) == "changed"
    path.unlink()
    assert status_of(read_image, path, key=key) == "changed"
    assert status_of(read_image, path) == "missing"


def test_a_file_without_bytes_is_empty(root):
    (root / "a.png").write_bytes(b"")
    assert status_of(read_image, root / "a.png") == "empty"


def test_a_folder_in_the_place_of_a_picture_is_unreadable(root):
    assert status_of(read_image, root / "sub") == "unreadable"


class Unreadable(io.FileIO):
    """A file that may be opened, and must not be read."""

    def __init__(self, path, *_, **__):
        super().__init__(path)

    def read(self, *_):
        pytest.fail("it was read")


def test_a_file_over_the_limit_is_too_large_and_not_read(root, monkeypatch):
    content = image_bytes()
    monkeypatch.setattr("embed.contents.file_ranges.MAX_BYTES", len(content))
    assert read_image(root / "a.png")[1] == content
    monkeypatch.setattr("embed.contents.file_ranges.MAX_BYTES", len(content) - 1)
    monkeypatch.setattr(images, "open", Unreadable, raising=False)
    assert status_of(read_image, root / "a.png") == "too_large"


# Every mode becomes RGB


def test_a_picture_in_rgb_keeps_its_pixels():
    assert np.array_equal(pixels_of(saved(drawing())), np.asarray(drawing()))


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_is_read(kind):
    difference = pixels_of(saved(drawing(), kind)) - np.asarray(drawing())
    assert np.abs(difference).mean() < 12  # GIF has 256 colours, JPEG and AVIF lose a little


def test_a_picture_of_several_is_its_first():
    first, second = Image.new("RGB", (9, 7), "red"), Image.new("RGB", (9, 7), "blue")
    for kind in ("GIF", "WEBP", "PNG", "TIFF", "MPO"):
        content = saved(first, kind, save_all=True, append_images=[second])
        with Image.open(io.BytesIO(content)) as image:
            assert image.n_frames == 2
        assert np.abs(pixels_of(content) - (255, 0, 0)).max() <= 2, kind


def test_grey_and_black_and_white_are_the_same_in_all_channels():
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    assert np.array_equal(pixels_of(saved(Image.fromarray(grey))), np.stack([grey] * 3, axis=-1))
    black_and_white = pixels_of(saved(Image.fromarray(grey > 100)))
    assert np.array_equal(black_and_white, np.stack([(grey > 100) * 255] * 3, axis=-1))


def test_a_palette_is_looked_up():
    image = Image.frombytes("P", (2, 2), bytes([0, 1, 1, 2]))
    image.putpalette([10, 20, 30, 200, 100, 0, 7, 8, 9])
    expected = [[[10, 20, 30], [200, 100, 0]], [[200, 100, 0], [7, 8, 9]]]
    assert pixels_of(saved(image)).tolist() == expected


@pytest.mark.parametrize(
    ("mode", "colour", "options", "expected"),
    [
        ("RGBA", (255, 0, 0, 0), {}, (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), {}, (255, 0, 0)),
        ("RGBA", (255, 0, 0, 51), {}, (255, 204, 204)),  # 51 is a fifth of 255
        ("LA", (0, 51), {}, (204, 204, 204)),
        ("LA", (100, 0), {}, (255, 255, 255)),
        ("P", 1, {"transparency": 1}, (255, 255, 255)),
        ("P", 1, {"transparency": 0}, (200, 100, 0)),
        ("P", 1, {"transparency": bytes([255, 51])}, (244, 224, 204)),
        ("RGB", (9, 8, 7), {"transparency": (9, 8, 7)}, (255, 255, 255)),
        ("RGB", (9, 8, 7), {"transparency": (0, 0, 0)}, (9, 8, 7)),
        ("L", 9, {"transparency": 9}, (255, 255, 255)),
        ("1", 0, {"transparency": 0}, (255, 255, 255)),
    ],
)
def test_transparency_shows_white(mode, colour, options, expected):
    image = Image.new(mode, (5, 3), colour)
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 100, 0])
    assert np.abs(pixels_of(saved(image, **options)) - expected).max() <= 1


def test_transparency_of_16_bit_grey_shows_white():
    samples = np.array([[0, 30000], [65535, 0]])
    expected = np.array([[255, 117], [255, 255]])  # 30000 / 257 = 116.7; 0 is transparent
    pixels = pixels_of(png(samples, colour_type=0, transparent=struct.pack(">H", 0)))
    assert np.array_equal(pixels, np.stack([expected] * 3, axis=-1))


def test_transparency_in_gif_and_webp_shows_white():
    image = drawing().convert("RGBA")
    image.putalpha(Image.fromarray(np.uint8(np.mgrid[:32, :48][1] < 24) * 255))
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        pixels = pixels_of(saved(image, kind, **options))
        assert (pixels[:, 24:] == 255).all(), kind
        assert (pixels[4:, :20] < 255).any(axis=-1).all(), kind


@pytest.mark.parametrize(
    ("cmyk", "expected"),
    [
        ((0, 255, 255, 0), (255, 0, 0)),
        ((255, 0, 255, 0), (0, 255, 0)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 0, 0, 155), (100, 100, 100)),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_has_the_colours_that_are_printed(kind, cmyk, expected):
    content = image_bytes(cmyk, mode="CMYK", size=(32, 32), kind=kind)
    assert np.abs(pixels_of(content) - expected).max() <= 6


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_ycbcr_has_the_colours_that_are_meant(kind):
    content = image_bytes((76, 85, 255), mode="YCbCr", size=(32, 32), kind=kind)  # red by ITU-R BT.601
    assert np.abs(pixels_of(content) - (255, 0, 0)).max() <= 6


RAMP = np.linspace(0, 65535, 64 * 64).round().astype(np.uint16).reshape(64, 64)


@pytest.mark.parametrize(
    "content",
    [
        saved(Image.fromarray(RAMP)),
        png(RAMP, colour_type=0),
        saved(Image.fromarray(RAMP), "TIFF"),
        saved(Image.frombytes("I;16B", (64, 64), RAMP.astype(">u2").tobytes()), "TIFF"),
    ],
    ids=["png", "png by hand", "tiff", "tiff big-endian"],
)
def test_16_bit_grey_is_scaled_and_not_clipped(content):
    expected = np.round(RAMP / 257).astype(int)  # 65535 / 255 = 257
    assert 127 <= expected.mean() <= 128
    assert np.array_equal(pixels_of(content), np.stack([expected] * 3, axis=-1))


def test_16_bit_colour_is_scaled_and_not_clipped():
    opaque, clear = np.full_like(RAMP, 65535), np.zeros_like(RAMP)
    for content in (
        png(np.stack([RAMP] * 3, axis=-1), colour_type=2),
        png(np.stack([RAMP, opaque], axis=-1), colour_type=4),
        png(np.stack([RAMP] * 3 + [opaque], axis=-1), colour_type=6),
    ):
        assert np.abs(pixels_of(content) - np.stack([RAMP / 257] * 3, axis=-1)).max() <= 1
    assert (pixels_of(png(np.stack([RAMP] * 3 + [clear], axis=-1), colour_type=6)) == 255).all()


def test_floating_point_pictures_have_no_known_scale():
    assert status_of(decode, saved(Image.fromarray(RAMP / np.float32(65535)), "TIFF")) == "unsupported_mode"
    assert status_of(to_rgb, Image.new("F", (4, 4))) == "unsupported_mode"


# Memory and time


def striped_pictures():
    """Yield a picture of each mode that takes several steps to RGB, by name."""
    alpha = drawing().convert("L").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for mode in ("RGBA", "LA", "PA"):
        image = drawing().convert(mode)
        if mode != "PA":
            image.putalpha(alpha)
        yield mode, image
    for mode, transparency in (("1", 255), ("L", 60), ("P", 3), ("P", bytes(range(256))), ("RGB", (0, 0, 0))):
        image = drawing().convert(mode)
        image.info["transparency"] = transparency
        yield f"{mode} with {type(transparency).__name__}", image
    yield "I;16", Image.fromarray(np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) * 42)
    image = Image.fromarray(np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) * 42)
    image.info["transparency"] = 4200
    yield "I;16 with int", image
    yield "I;16B", Image.frombytes("I;16B", (48, 32), np.arange(32 * 48, dtype=">u2").tobytes())


@pytest.mark.parametrize("image", [pytest.param(image, id=name) for name, image in striped_pictures()])
@pytest.mark.parametrize("strip_pixels", [1, 5 * 48, 31 * 48])
def test_pictures_come_out_of_strips_as_they_do_whole(monkeypatch, image, strip_pixels):
    whole = to_rgb(image)
    monkeypatch.setattr(images, "STRIP_PIXELS", strip_pixels)
    assert to_rgb(image).tobytes() == whole.tobytes()
    assert len(np.unique(np.asarray(whole))) > 1


def of_scans(n_scans, *, before=b""):
    """Return a progressive JPEG whose last scan comes again and again, with a segment before all."""
    content = saved(drawing(), "JPEG", progressive=True)
    start = content.rindex(b"\xff\xda")
    scan, n_more = content[start:-2], n_scans - content.count(b"\xff\xda")
    segment = b"\xff\xe5" + struct.pack(">H", len(before) + 2) + before
    return content[:2] + segment + content[2:-2] + n_more * scan + content[-2:]


def test_a_jpeg_of_too_many_scans_is_too_large_and_not_decoded():
    assert status_of(decode, of_scans(MAX_SCANS + 1)) == "too_large"
    assert status_of(images.measure, of_scans(MAX_SCANS + 1)) == "too_large"


def test_what_looks_like_scans_in_a_thumbnail_or_after_the_end_is_none():
    expected = pixels_of(of_scans(20))
    look_alikes = 200 * b"\xff\xda"
    assert np.array_equal(pixels_of(of_scans(20, before=look_alikes)), expected)
    assert np.array_equal(pixels_of(of_scans(20) + look_alikes), expected)
    assert status_of(decode, of_scans(MAX_SCANS + 1, before=look_alikes)) == "too_large"


def test_budget_is_a_quarter_of_what_a_container_has(tmp_path, monkeypatch):
    """It was one of the machine's memory, of which a container may have little."""
    (limit := tmp_path / "memory.max").write_text(f"{2**30}\n")
    monkeypatch.setattr("cache.system.memory_budget.CONTAINER_LIMIT", limit)
    assert budget_bytes() == 2**28


def test_threads_take_no_more_than_the_budget_and_one_that_exceeds_it_goes_alone():
    budget = DecodeBudget(100 * 2**20)
    taken, most = [], []

    def take(n_bytes):
        with budget.take(n_bytes):
            taken.append(n_bytes)
            most.append(sum(taken))
            time.sleep(0.001)
            taken.remove(n_bytes)

    sizes = [30 * 2**20, 40 * 2**20, 150 * 2**20, 60 * 2**20] * 5
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, sizes))
    assert len(most) == len(sizes)
    assert max(n_bytes for n_bytes in most if n_bytes != 150 * 2**20) <= 100 * 2**20


def test_what_fails_in_the_budget_gives_its_bytes_back():
    budget = DecodeBudget(2**25)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), budget.take(2**25):
            raise ZeroDivisionError


@pytest.mark.parametrize(("kind", "pixel_bytes"), [("PNG", 12), ("WEBP", 16)])
def test_decoding_takes_what_its_header_says(monkeypatch, kind, pixel_bytes):
    asked = []
    monkeypatch.setattr(images.DECODE_BUDGET, "take", lambda n_bytes: asked.append(n_bytes) or nullcontext())
    decode(saved(drawing(), kind))
    assert asked == [48 * 32 * pixel_bytes]


# Upright


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("kind", ["AVIF", "JPEG", "MPO", "PNG", "TIFF", "WEBP"])
def test_pictures_are_upright(kind, orientation):
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("Pillow is built without AVIF")
    options = {"save_all": True, "append_images": [drawing()]} if kind == "MPO" else {}
    content = saved(drawing(), kind, exif=with_orientation(orientation), **options)
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert expected.shape == ((48, 32, 3) if 5 <= orientation <= 8 else (32, 48, 3))
    assert np.array_equal(pixels_of(content), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16", "CMYK"])
def test_pictures_of_every_mode_are_upright(mode, orientation):
    image = Image.fromarray(RAMP) if mode == "I;16" else drawing().convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    stored = pixels_of(saved(image, kind))
    turned = stored.swapaxes(0, 1)
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: turned,
        6: turned[:, ::-1],  # the camera was turned to the left: a quarter clockwise makes it upright
        7: turned[::-1, ::-1],
        8: turned[::-1],
    }
    content = saved(image, kind, exif=with_orientation(orientation))
    assert np.array_equal(pixels_of(content), upright[orientation])


BROKEN_EXIF = {
    "empty": b"",
    "no header": b"no exif at all",
    "header alone": b"Exif\0\0",
    "cut header": b"Exif\0\0II*\0",
    "garbage": b"Exif\0\0" + bytes(range(256)) * 20,
    "offset beyond the end": b"Exif\0\0II*\0\xff\xff\0\0",
    "too many entries": b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
    "huge value": b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x0112, 3, 2**32 - 1, 6) + bytes(4),
    "orientation in words": b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4s", 0x0112, 2, 4, b"six\0") + bytes(4),
    "division by zero": b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x011A, 5, 1, 26) + bytes(12),
}


@pytest.mark.parametrize("block", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
def test_broken_exif_blocks_do_not_cost_the_picture(block):
    whole = saved(drawing(), "JPEG")
    content = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + whole[2:]
    assert np.array_equal(pixels_of(content), pixels_of(whole))


def test_metadata_that_unpacks_to_megabytes_is_too_large():
    """Pillow refuses it as it would a bomb."""
    assert status_of(decode, saved(drawing(), icc_profile=bytes(2 * 2**20))) == "too_large"


# What is no whole picture


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"optimize": True}], ids=["plain", "progressive", "optimized"]
)
@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.999])
def test_a_cut_jpeg_is_truncated(share, options):
    content = saved(drawing(200, 150), "JPEG", **options)
    assert status_of(decode, content[: int(len(content) * share)]) == "truncated"


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_picture_is_whole_or_none(kind):
    """Some formats end with bytes that hold no pixels; nothing is ever filled up with grey or black."""
    content = saved(drawing(60, 40), kind)
    whole = pixels_of(content)
    statuses = set()
    for length in [*range(0, len(content), max(len(content) // 40, 1)), *range(len(content) - 16, len(content))]:
        try:
            pixels = pixels_of(content[:length])
        except ContentError as error:
            statuses.add(str(error))
        else:
            assert np.array_equal(pixels, whole), length
            assert length > len(content) - 32
    assert {"not_an_image", "truncated"} == statuses


def photoshop():
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 1, 1, 8, 3)
    return header + struct.pack(">IIIH", 0, 0, 0, 0) + b"\1\2\3"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 1000,
        b"\xff\xd8",
        b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        b"%PDF-1.7\n",
    ],
    ids=["nothing", "zeros", "two bytes", "html", "svg", "git-lfs pointer", "pdf"],
)
def test_what_is_no_picture_is_not_an_image(content):
    assert status_of(decode, content) == "not_an_image"


@pytest.mark.parametrize(
    "content",
    [photoshop(), *(image_bytes(kind=kind) for kind in ("EPS", "ICO", "PCX", "PPM", "SGI", "TGA"))],
    ids=["PSD", "EPS", "ICO", "PCX", "PPM", "SGI", "TGA"],
)
def test_rare_formats_are_not_opened(content):
    """Pillow reads them, and their parsers are where it was attacked."""
    Image.open(io.BytesIO(content)).close()
    assert status_of(decode, content) == "not_an_image"


@pytest.mark.parametrize("side", [10_000, 15_000])
def test_a_bomb_of_a_hundred_megapixels_is_too_large(side):
    """Pillow only warns up to twice its limit, and what a warning does is up to the caller's filters."""
    content = image_bytes(0, size=(side, side), mode="1")
    assert len(content) < 100_000
    for action in ("ignore", "error"):
        with warnings.catch_warnings():
            warnings.simplefilter(action)
            assert status_of(decode, content) == "too_large"


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 51), (2, 101)])
def test_a_strip_is_too_large(size):
    assert status_of(decode, image_bytes(size=size)) == "too_large"


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 100)])
def test_narrow_pictures_are_read(size):
    assert decode(image_bytes(size=size)).size == size


def test_every_status_fits_into_its_field_and_has_a_meaning():
    assert all(len(status) <= 16 and meaning for status, meaning in MEANINGS.items())


def test_real_pictures_with_odd_exif_blocks_are_read(fashion):
    for path in sorted((fashion / "images").iterdir())[:300]:
        with Image.open(path) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert np.array_equal(pixels_of(path.read_bytes()), expected)


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFC", "NFC")])
def test_a_picture_is_found_in_another_form_of_unicode(tmp_path, written, stored):
    """Folders that come from a Mac part letters from their accents."""
    stored_name, cell = (unicodedata.normalize(form, "Größen/Schürze é.png") for form in (stored, written))
    (tmp_path / stored_name).parent.mkdir()
    (tmp_path / stored_name).write_bytes(image_bytes())
    root = tmp_path.resolve()
    assert locate(cell, root, allow_outside=False) == root / stored_name
    (tmp_path / "data.csv").write_text(f"id,image,text\n1,{cell},a\n2,{cell},b\n")
    assert read_catalogue(tmp_path / "data.csv").roles["image"] == "image"
    with pytest.raises(ContentError, match="missing"):
        locate("größen.png", root, allow_outside=False)

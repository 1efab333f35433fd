"""Thumbnails: files below one folder alone, and nothing of them but pixels."""

import base64
import io
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image
from support import image_bytes

import heads.reports.thumbnails
from heads.reports.thumbnails import Thumbnails

pytestmark = pytest.mark.slow


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "shop" / "images"
    folder.mkdir(parents=True)
    (folder / "red.png").write_bytes(image_bytes("red"))
    (tmp_path / "secret.png").write_bytes(image_bytes("blue"))
    return tmp_path / "shop"


@pytest.fixture
def thumbnails(root):
    return Thumbnails(root)


def pixels(url):
    """Return the picture of a data URL, (H, W, 3)."""
    head, content = url.split(",", 1)
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def saved(image, path, **options):
    image.save(path, **options)
    return path.name


def test_a_picture_below_the_root_is_shown(thumbnails, root):
    for cell in ("images/red.png", " images/red.png ", "images/../images/red.png", str(root / "images" / "red.png")):
        assert pixels(thumbnails.url(cell))[4, 4] == pytest.approx([255, 0, 0], abs=5)


@pytest.mark.parametrize(
    "cell", ["", "  ", "images", ".", "images/none.png", "a\0b", "x" * 5000, "https://x.org/red.png"]
)
def test_a_cell_that_names_no_file_shows_nothing(thumbnails, cell):
    assert thumbnails.url(cell) is None


def test_a_name_may_be_spelt_in_another_form_of_unicode(thumbnails, root):
    (root / unicodedata.normalize("NFD", "größe.png")).write_bytes(image_bytes("red"))
    assert thumbnails.url("größe.png") is not None


def test_what_lies_outside_the_root_is_not_shown(thumbnails, root):
    outside = root.parent / "secret.png"
    (root / "link.png").symlink_to(outside)
    (root / "up").symlink_to(root.parent)
    for cell in ("../secret.png", str(outside), "link.png", "up/secret.png", "images/../../secret.png"):
        assert thumbnails.url(cell) is None
    assert Thumbnails(root.parent).url("secret.png") is not None


def test_a_link_inside_the_root_is_followed(thumbnails, root):
    (root / "link.png").symlink_to(root / "images" / "red.png")
    assert thumbnails.url("link.png") is not None


def test_a_pipe_is_no_picture_and_makes_nobody_wait(thumbnails, root):
    os.mkfifo(root / "pipe.png")
    assert thumbnails.url("pipe.png") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html>",
        image_bytes("red")[:40],
        b"\xff\xd8\xff" + b"x" * 99,
    ],
    ids=["empty", "svg", "html", "truncated", "broken"],
)
def test_what_cannot_be_decoded_shows_nothing(thumbnails, root, content):
    (root / "odd.png").write_bytes(content)
    assert thumbnails.url("odd.png") is None


def test_a_format_that_is_not_on_the_list_shows_nothing(thumbnails, root):
    """Pillow would open it."""
    name = saved(Image.new("RGB", (8, 8)), root / "a.ppm")
    with Image.open(root / name) as image:
        assert image.format == "PPM"
    assert thumbnails.url(name) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_usual_formats_are_shown(thumbnails, root, kind):
    saved(Image.new("RGB", (8, 8), "red"), root / "picture", format=kind)
    assert pixels(thumbnails.url("picture"))[4, 4] == pytest.approx([255, 0, 0], abs=9)


def test_a_picture_of_too_many_pixels_or_bytes_shows_nothing(thumbnails, root, monkeypatch):
    monkeypatch.setattr(heads.reports.thumbnails, "MAX_PIXELS", 64)
    assert thumbnails.url("images/red.png") is not None  # 8 x 8
    saved(Image.new("RGB", (13, 5)), root / "more.png")
    assert thumbnails.url("more.png") is None
    monkeypatch.setattr(heads.reports.thumbnails, "MAX_BYTES", (root / "images" / "red.png").stat().st_size - 1)
    assert thumbnails.url("images/red.png") is None


def test_a_bomb_shows_nothing(thumbnails, root):
    """A PNG of 20,000 x 20,000 pixels in 100 bytes' header: it is refused before it is decoded."""
    content = bytearray(image_bytes("red"))
    content[16:24] = (20_000).to_bytes(4, "big") * 2
    (root / "bomb.png").write_bytes(bytes(content))
    assert thumbnails.url("bomb.png") is None


def test_a_large_picture_is_made_small(thumbnails, root):
    saved(Image.new("RGB", (1600, 800), "red"), root / "large.jpg")
    assert pixels(thumbnails.url("large.jpg")).shape == (96, 192, 3)


def test_the_orientation_is_applied_and_nothing_else_of_exif_is_kept(thumbnails, root):
    image = Image.new("RGB", (40, 20), "red")
    exif = image.getexif()
    exif[0x0112], exif[0x010E] = 6, "a secret place"
    saved(image, root / "turned.jpg", exif=exif)
    url = thumbnails.url("turned.jpg")
    assert pixels(url).shape == (40, 20, 3)
    assert b"secret" not in base64.b64decode(url.split(",")[1])
    assert b"secret" in (root / "turned.jpg").read_bytes()


@pytest.mark.filterwarnings("error")
def test_a_picture_with_a_broken_exif_block_is_shown(thumbnails, root):
    saved(Image.new("RGB", (8, 8), "red"), root / "odd.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert thumbnails.url("odd.jpg") is not None


def test_transparency_is_white_and_sixteen_bits_are_scaled(thumbnails, root):
    saved(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), root / "clear.png")
    assert pixels(thumbnails.url("clear.png"))[4, 4].tolist() == [255, 255, 255]
    saved(Image.fromarray(np.full((8, 8), 0x4000, dtype=np.uint16)), root / "grey.png")
    assert pixels(thumbnails.url("grey.png"))[4, 4] == pytest.approx([64, 64, 64], abs=2)


def test_a_root_that_is_not_there_shows_nothing(tmp_path):
    assert Thumbnails(tmp_path / "none").url("a.png") is None

"""Copies that no digest of bytes sees: texts that differ in case and HTML, pictures in other files."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from support import image_bytes, write_catalogue

from embed import ExtractSettings, InspectSettings, inspect
from embed.inspection.recommendations import list_findings


def look(path, **settings):
    extract = ExtractSettings(clean_text=settings.pop("clean_text", False))
    return inspect(path, settings=InspectSettings(extract=extract, estimate=False, **settings))


def findings_of(inspection):
    return " ".join(one.text for one in list_findings(inspection))


def test_texts_that_differ_in_case_and_html_are_counted_beside_exact_copies(tmp_path):
    texts = ["Tea & cups", "Tea & cups", "TEA &amp; cups", "<b>tea</b> & Cups", "Plates", ""]
    path = write_catalogue(tmp_path, [{"id": str(n), "text": text} for n, text in enumerate(texts)])
    inspection = look(path)
    assert (inspection.text.repeats.n_surplus, inspection.text.n_alike, inspection.text.n_html) == (1, 2, 2)
    assert "2 further texts of an earlier product but for letter case and HTML" in findings_of(inspection)
    assert "2 texts with HTML tags or entities, such as 'TEA &amp; cups': --clean-text" in findings_of(inspection)


def test_cleaned_texts_hold_no_html_and_are_plain_copies(tmp_path):
    path = write_catalogue(tmp_path, [{"id": "1", "text": "<p>Tea</p>"}, {"id": "2", "text": "tea"}])
    inspection = look(path, clean_text=True)
    assert (inspection.text.repeats.n_surplus, inspection.text.n_alike, inspection.text.n_html) == (1, 0, 0)


def again(content, kind="PNG", **options):
    """Return the same pixels in another file."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(content)).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def catalogue(tmp_path):
    red, blue = image_bytes("red"), image_bytes("blue")
    exif = Image.Exif()
    exif[0x010E] = "a word"
    files = {
        "red.png": red, "red again.png": again(red, compress_level=0), "red.bmp": again(red, "BMP"),
        "red copy.png": red, "blue.png": blue, "blue word.png": again(blue, exif=exif), "bad.png": b"no picture",
        "other size.png": image_bytes("red", size=(4, 9)),
    }  # fmt: skip
    return write_catalogue(tmp_path, [{"id": name, "image": name, "text": name} for name in files], files)


@pytest.mark.parametrize("deep", [False, True])
def test_pictures_of_the_same_pixels_are_counted_beside_exact_copies(catalogue, deep):
    inspection = look(catalogue, deep=deep)
    assert (inspection.pictures.repeats.n_surplus, inspection.pictures.n_alike) == (1, 3)
    assert "3 further picture files with the pixels of another" in findings_of(inspection)


def test_too_many_pixels_are_compared_by_deep_alone(catalogue, monkeypatch):
    monkeypatch.setattr("embed.inspection.picture_profile.MOST_COMPARED_PIXELS", 100)
    assert look(catalogue).pictures.n_alike is None
    assert "--deep does" in findings_of(look(catalogue))
    assert look(catalogue, deep=True).pictures.n_alike == 3

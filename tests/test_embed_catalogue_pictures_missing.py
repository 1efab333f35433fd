"""Pictures that are not there: what would lead to them is tried, and named."""

from __future__ import annotations

import pytest
from support import CountingEncoder, image_bytes, write_catalogue

from embed import CatalogueError, ExtractSettings, InspectSettings, extract, inspect
from embed.catalogue.pictures.missing_pictures import explain_missing
from embed.inspection.recommendations import list_findings

KINDS = [  # cell, file, what is said
    ("images\\{}.png", "images/{}.png", r"there with / for \, as 'images\\0.png' is 'images/0.png'. Try "
     "--image-template '{{image:last2}}'"),
    ("images/{}", "images/{}.png", "there with .png behind, as 'images/0' is 'images/0.png'. Try --image-template "
     "'{{image}}.png' instead"),
    ("images/{}.jpg", "images/{}.jpeg", "there with the suffix .jpeg, as"),
    ("images/IMG{}.JPG", "images/img{}.jpg", "there in other letter case, as"),
    ("images/{}.jpg", "images/{}.JPG", "there in other letter case, as"),
    ("Images/{}.jpg", "images/{}.jpg", "there in other letter case, as"),
    ("{}.jpg", "a/photos/{}.jpg", "there in a/photos/, as '0.jpg' is 'a/photos/0.jpg'. Try --image-template "
     "'a/photos/{{image}}' instead"),
    ("{}", "images/{}.jpg", "there in images/, with .jpg behind, as '0' is 'images/0.jpg'. Try --image-template "
     "'images/{{image}}.jpg' instead"),
    ("images/{}.jpg", "{}.jpg", "there in the folder itself, as"),
    ("/images/{}.jpg", "images/{}.jpg", "there under a plainer name, as '/images/0.jpg' is 'images/0.jpg'"),
    ("C:\\shop\\{}.jpg", "photos/{}.jpg", r"with / for \, in photos/, as"),
    ("https://example.org/x/{}.jpg?w=100", "photos/{}.jpg", "there under the URL's last name, as"),
    ("images/a%20{}.jpg", "images/a {}.jpg", "there under a plainer name, as"),
]  # fmt: skip


def put(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image_bytes())


@pytest.mark.parametrize(("cell", "file", "said"), KINDS)
def test_the_difference_between_a_cell_and_a_file_is_named(tmp_path, cell, file, said):
    put(tmp_path, *(file.format(n) for n in range(8)))
    explanation = explain_missing([cell.format(n) for n in range(10)], tmp_path, column="image")
    assert explanation.startswith("10 pictures are not there; of 10 looked at, 8 are there ")
    assert said.format() in explanation


def test_what_explains_few_is_not_named(tmp_path):
    put(tmp_path, "deep/1.jpg", "other/2.jpg")
    assert explain_missing([f"{n}.jpg" for n in range(30)], tmp_path, column="image") == ""
    assert explain_missing(["x"], tmp_path, column="image") == ""
    assert explain_missing(["http://[", "\0", "", "../..", "/"], tmp_path, column="image") == ""


def test_of_many_a_sample_is_looked_at(tmp_path):
    put(tmp_path, *(f"images/{n}.jpg" for n in range(0, 1000, 5)))
    explanation = explain_missing([f"{n}.jpg" for n in range(1000)], tmp_path, column="image")
    assert "1,000 pictures are not there; of 200 looked at, 200 are there in images/" in explanation


@pytest.fixture
def catalogue(tmp_path):
    """Of ten products, three have the backslashes of another system."""
    rows = [{"id": str(n), "image": f"images{'/' if n < 7 else chr(92)}{n}.png", "text": f"no {n}"} for n in range(10)]
    return write_catalogue(tmp_path, rows, {f"images/{n}.png": image_bytes((n, 0, 0)) for n in range(10)})


def test_extraction_warns_and_goes_on(catalogue, caplog):
    report = extract(catalogue, "c.h5", encoders=[CountingEncoder("image")])
    assert report.statuses["image"] == {"ok": 7, "missing": 3}
    assert "Column image: 3 pictures are not there; of 3 looked at, 3 are there with / for \\" in caplog.text


def test_an_error_for_all_names_the_way_out(tmp_path):
    path = write_catalogue(tmp_path, [{"id": "7", "n": "1"}, {"id": "8", "n": "2"}])
    put(tmp_path, "images/7.jpg", "images/8.jpg")
    settings = ExtractSettings(image_column="id", modalities=("image",))
    with pytest.raises(CatalogueError, match="none of the 2 is.* Try --image-template 'images/{id}.jpg' instead"):
        extract(path, "c.h5", settings=settings, encoders=[CountingEncoder("image")])


def test_an_inspection_names_it_too(catalogue):
    inspection = inspect(catalogue, settings=InspectSettings(estimate=False))
    (finding,) = [one for one in list_findings(inspection) if "would get no vector" in one.text]
    assert "3 missing. 3 pictures are not there; of 3 looked at, 3 are there with / for \\" in finding.text


def test_an_inspection_says_what_permits_pictures_elsewhere(tmp_path):
    put(tmp_path, "elsewhere/7.jpg", "shop/8.jpg")
    path = write_catalogue(
        tmp_path / "shop", [{"id": "7", "image": "../elsewhere/7.jpg"}, {"id": "8", "image": "8.jpg"}]
    )
    inspection = inspect(path, settings=InspectSettings(estimate=False))
    (finding,) = [one for one in list_findings(inspection) if "would get no vector" in one.text]
    assert finding.text.endswith("1 outside. --allow-outside reads those outside, too.")


def test_a_link_that_leads_to_nothing_explains_nothing(tmp_path):
    for n in range(5):
        (tmp_path / f"{n}.jpg").symlink_to("nowhere.jpg")
    assert explain_missing([f"{n}.jpg" for n in range(5)], tmp_path, column="image") == ""

"""The page of a review in a browser: by keys, kept when it is closed, downloaded, and running nothing of products."""

import csv

import numpy as np
import pytest
from browser import opened
from support import class_vectors, image_bytes, synthetic_cache

from heads.data.corrections import read_corrections
from heads.review.review_settings import ReviewSettings
from heads.workflows.review import review_products

pytestmark = pytest.mark.slow

HOSTILE = "</script><script>document.title = 'run'</script><img src='https://example.org/x.png' onerror='alert(1)'>"
QUOTED = 'a "cup", large'
CLASSES = (HOSTILE, QUOTED, "pot")


@pytest.fixture(scope="module")
def review(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    codes = np.arange(60) % 3
    (folder / "7.png").write_bytes(image_bytes("blue"))
    cells = {
        "kind": [CLASSES[code] if n < 6 else "" for n, code in enumerate(codes)],
        "image": ["7.png" if n % 2 else "none.png" for n in range(60)],
        "title": [f"{HOSTILE} {n}" for n in range(60)],
    }
    vectors = {name: class_vectors(codes, 6, seed=n) for n, name in enumerate(("image", "text"))}
    path = synthetic_cache(folder / "c.h5", vectors, cells)
    with (folder / "earlier.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("product", "label"), ("00010", QUOTED)])
    settings = ReviewSettings(label="kind", count=5, corrections=folder / "earlier.csv")
    return review_products(path, folder / "review.html", settings=settings)


def test_products_are_labelled_by_keys_and_the_answers_are_kept_and_downloaded(review, tmp_path):
    with review.table_path.open(newline="", encoding="utf-8") as file:
        asked = list(csv.DictReader(file))
    with opened(review.page_path, width=360) as page:

        def text(selector):
            return page.locator(selector).inner_text()

        assert text("#title") == asked[0]["title"]
        assert page.locator("#choices .name").all_inner_texts() == sorted(CLASSES)
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        page.locator("summary").first.click()
        page.keyboard.press("Enter")  # the suggestion, whatever was clicked before
        page.keyboard.press("3")
        assert text("#progress") == "2 of 5 labelled"
        page.keyboard.press("u")
        assert text("#title") == asked[1]["title"]
        page.keyboard.press("2")
        page.keyboard.press("s")
        assert text("#progress") == "2 of 5 labelled, 1 skipped"
        page.keyboard.press("/")
        page.keyboard.type("s, u  1")  # letters of keys are letters here
        page.keyboard.press("Enter")
        assert text("#said").startswith("New class: s, u 1")
        page.keyboard.press("ArrowLeft")
        assert text("#title") == asked[3]["title"]
        assert text("#choices .given .name") == "s, u 1"
        page.keyboard.press("ArrowRight")
        for _ in range(50):  # Chromium hands what is kept over to another process, which a reload may overtake
            page.reload()
            if text("#progress") != "0 of 5 labelled":
                break
        assert text("#progress") == "3 of 5 labelled, 1 skipped"
        assert text("#title") == asked[4]["title"]
        page.locator("#choices button", has_text="pot").click()
        assert page.locator("#done").is_visible()
        assert "--corrections review-labels.csv" in text("#done pre")
        with page.expect_download() as download:
            page.keyboard.press("d")
        assert download.value.suggested_filename == "review-labels.csv"
        download.value.save_as(tmp_path / "labels.csv")
        assert page.title().startswith("kind")
        assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    assert dict(read_corrections(tmp_path / "labels.csv").labels) == {
        "00010": QUOTED,
        asked[0]["product"]: asked[0]["suggested"],
        asked[1]["product"]: sorted(CLASSES)[1],
        asked[3]["product"]: "s, u 1",
        asked[4]["product"]: "pot",
    }

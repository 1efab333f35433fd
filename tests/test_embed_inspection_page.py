"""The page of `embed-inspect` in a browser: it sorts, fits a phone, and runs nothing of what a catalogue holds."""

import pytest
from browser import opened
from support import image_bytes, write_catalogue

from embed import InspectSettings, inspect
from embed.commands.inspect import inspect as command
from embed.inspection.page import write_page
from embed.inspection.terminal import render_text

pytestmark = pytest.mark.slow

MARKUP = "<script>document.title='run'</script><img src='https://example.org/x.png' onerror='alert(1)'>"
QUICK = InspectSettings(estimate=False)


def write_shop(folder):
    rows = [
        {
            "id": str(n),
            "image": f"{n}.png" if n % 10 else f"none{n}.png",
            "title": f"product {n // 2}",
            "label": f"class {min(n % 7, n % 3)}",
            "brand": f"brand {n % 9}",
        }
        for n in range(120)
    ]
    return write_catalogue(folder, rows, {f"{n}.png": image_bytes((n, 9, 9), size=(20, 30)) for n in range(100)})


@pytest.fixture(scope="module")
def shop_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    return write_page(inspect(write_shop(folder), settings=QUICK), folder / "inspect.html")


def hostile_rows(n_rows=6000):
    titles = ["=1+2", "@SUM(A1)", MARKUP, "שלום עולם \u202eabc", "👟" * 60, "caf\udce9", "x" * 3000, "", "cafÃ©"]
    return [
        {
            "id": str(n // 2 if n < 10 else n),
            "image": "" if n % 3 else f"gone/{MARKUP}{n}.png",
            "title": titles[n % len(titles)],
            "label": ["Men", "men", "Men "][n % 3] if n < 900 else f"class {n}{MARKUP if n == 950 else ''}",
            MARKUP: MARKUP if n % 2 else "plain",
            "nothing": "NaN",
            "עמודה": f"👟{n % 5}",
        }
        for n in range(n_rows)
    ]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    return inspect(write_catalogue(folder, hostile_rows()), settings=QUICK)


@pytest.fixture(scope="module")
def hostile_page(hostile, tmp_path_factory):
    return write_page(hostile, tmp_path_factory.mktemp("pages") / "inspect.html")


def widths(page):
    return page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")


def test_page_shows_what_was_found(shop_page):
    with opened(shop_page) as page:
        assert page.title() == "data.csv: 120 products"
        assert page.locator(".cards > li").count() == 24
        assert page.locator("figure svg").count() == 3
        loaded = page.evaluate("[...document.images].filter((image) => image.naturalWidth > 0).length")
        assert 0 < loaded == page.locator(".cards img").count()
        assert page.locator("#pictures ~ .wide td:has-text('missing')").count() >= 20
        assert page.locator("a[href='#label']").count() == 1


def test_page_s_tables_sort(shop_page):
    with opened(shop_page) as page:
        table = page.locator("table", has_text="brand 0").first
        table.get_by_role("button", name="distinct").click()
        shown = [int(cell.replace(",", "")) for cell in table.locator("tbody td:nth-child(4)").all_inner_texts()]
        assert shown == sorted(shown)
        assert len(set(shown)) > 2
        table.get_by_role("button", name="distinct").click()
        again = [int(cell.replace(",", "")) for cell in table.locator("tbody td:nth-child(4)").all_inner_texts()]
        assert again == shown[::-1]


@pytest.mark.parametrize("dark", [False, True])
def test_page_fits_a_phone(shop_page, hostile_page, dark):
    for path in (shop_page, hostile_page):
        with opened(path, width=360, dark=dark) as page:
            assert widths(page) == [360, 360]


def test_hostile_cells_stay_cells(hostile, hostile_page):
    with opened(hostile_page) as page:
        assert page.title() == "data.csv: 6,000 products"
        assert page.locator("td", has_text="<script>").count() > 1
        assert page.evaluate("document.querySelectorAll('body img[onerror]').length") == 0
        assert page.locator(".cards li", has_text="=1+2").count() > 0
        assert page.locator("table", has_text="class 5999").locator("tbody tr").count() <= 1000  # of 5,103 classes
    assert (hostile.label.n_classes, hostile.label.n_rare) == (5102, 5100)
    assert [column.kind for column in hostile.columns if column.name == "nothing"] == ["empty"]
    assert [value for value, _ in hostile.columns[3].variants[0]] == ["Men", "men"]  # blanks are no matter
    assert hostile.text.statuses["not_unicode"] > 600


def test_hostile_cells_fit_a_terminal(hostile):
    lines = render_text(hostile).splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)


def test_one_row_of_little_is_enough_for_a_page(tmp_path):
    rows = [{"id": "1", "image": "gone.png", "title": "a", "label": "", "nothing": "NaN"}]
    inspection = inspect(write_catalogue(tmp_path, rows), settings=QUICK)
    assert inspection.pictures.statuses == {"missing": 1}
    assert "nothing can be learnt" in " ".join(render_text(inspection).split())
    path = write_page(inspection, tmp_path / "inspect.html")
    with opened(path, width=360) as page:
        assert page.locator(".cards > li").count() == 1
        assert page.locator(".blank").inner_text() == "missing"
        assert widths(page) == [360, 360]


def test_catalogue_of_unknown_columns_has_a_page(tmp_path):
    path = write_page(inspect(write_catalogue(tmp_path, [{"a": "1"}]), settings=QUICK), tmp_path / "inspect.html")
    with opened(path) as page:
        assert "There is no column of pictures." in page.inner_text("body")


def test_page_replaces_an_older_one_whole(tmp_path, monkeypatch):
    write_shop(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inspect.html").write_text("old")
    from support import invoke

    assert invoke(command, "--no-estimate").exit_code == 0
    assert not list(tmp_path.glob("*.tmp"))
    assert (tmp_path / "inspect.html").read_text(encoding="utf-8") != "old"

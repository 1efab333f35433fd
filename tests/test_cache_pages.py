"""What every page keeps to: it opens offline, in any colours and on a phone, and runs nobody else's markup."""

import pytest
from browser import opened
from PIL import Image

from cache.pages.page import picture_url, render_page
from cache.pages.plot import COLOURS, draw, svg

pytestmark = pytest.mark.slow

HOSTILE = "<script>document.title = 'run'</script><img src='https://example.org/x.png' onerror='alert(1)'>"
TEMPLATE = """{% extends "page.html" %}
{% block title %}A page{% endblock %}
{% block body %}
<h1>A page</h1>
<p id="cell">{{ cell }}</p>
<div class="wide"><table class="sortable">
<thead><tr><th>name</th><th>number</th></tr></thead>
<tbody>{% for name, number in rows %}<tr><td>{{ name }}</td><td>{{ number }}</td></tr>{% endfor %}</tbody>
</table></div>
<figure>{{ figure }}</figure>
<img id="picture" alt="" src="{{ picture }}">
{% endblock %}
"""
ROWS = [("b", "9"), ("a", "1,010"), ("c", ""), ("d", "-1.5")]


@pytest.fixture
def template_path(tmp_path):
    path = tmp_path / "some.html"
    path.write_text(TEMPLATE)
    return path


@pytest.fixture
def page_path(template_path, tmp_path):
    with draw() as figure:
        axes = figure.add_subplot()
        axes.plot([1, 2, 3], label="a line")
        axes.set_title("<b>$x_1$ & more</b>")
        axes.legend()
        drawn = svg(figure, label='A "line"')
    picture = picture_url(Image.new("RGB", (400, 200), "red"))
    path = tmp_path / "page.html"
    path.write_text(render_page(template_path, cell=HOSTILE, rows=ROWS, figure=drawn, picture=picture))
    return path


def column(page, number):
    return page.locator(f"tbody td:nth-child({number})").all_inner_texts()


def test_a_page_shows_its_cells_as_written_and_runs_nothing_of_them(page_path):
    with opened(page_path) as page:
        assert page.title() == "A page"
        assert page.locator("#cell").inner_text() == HOSTILE
        assert page.evaluate("document.querySelector('#picture').naturalWidth") == 192
        assert "$x_1$ & more" in page.locator("svg").text_content()


def test_a_click_on_a_heading_sorts_by_number_and_back_with_empty_cells_last(page_path):
    with opened(page_path) as page:
        page.get_by_role("button", name="number").click()
        assert column(page, 2) == ["-1.5", "9", "1,010", ""]
        page.get_by_role("button", name="number").click()
        assert column(page, 2) == ["1,010", "9", "-1.5", ""]
        assert page.locator("th").nth(1).get_attribute("aria-sort") == "descending"
        page.get_by_role("button", name="name").click()
        assert column(page, 1) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("dark", [False, True])
def test_figures_are_in_the_ink_of_the_page(page_path, dark):
    ink = "rgb(230, 237, 243)" if dark else "rgb(27, 31, 36)"
    with opened(page_path, dark=dark) as page:
        assert page.locator("svg text").first.evaluate("text => getComputedStyle(text).fill") == ink
        assert page.evaluate("getComputedStyle(document.documentElement).color") == ink


def test_a_page_is_no_wider_than_a_phone(page_path):
    with opened(page_path, width=360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_a_script_that_a_template_lets_through_is_refused_by_the_page_s_policy(template_path, tmp_path):
    template_path.write_text(TEMPLATE.replace("{{ cell }}", "{{ cell|safe }}"))
    path = tmp_path / "page.html"
    path.write_text(render_page(template_path, cell=HOSTILE, rows=ROWS, figure="", picture=""))
    with pytest.raises(AssertionError, match="Content Security Policy"), opened(path) as page:
        assert page.title() == "A page"


def test_a_value_that_nobody_gave_is_an_error(template_path):
    with pytest.raises(Exception, match="'cell' is undefined"):
        render_page(template_path, rows=[])


def test_cells_that_are_no_unicode_are_written(template_path):
    assert r"caf\xe9" in render_page(template_path, cell="caf\udce9", rows=[], figure="", picture="")


def test_figures_have_no_names_in_common_and_are_the_same_each_time():
    drawn = []
    for label in ("first", "second", "first"):
        with draw() as figure:
            figure.add_subplot().scatter([1, 2], [3, 4])
            drawn.append(svg(figure, label=label))
    all_names = [
        {part.split('"')[0] for part in figure_svg.split('id="')[1:] if part[0] in "mp"} for figure_svg in drawn
    ]
    assert drawn[0] == drawn[2]
    own_names = [
        {name for name in figure_names if not name.startswith(("matplotlib", "patch", "PathCollection"))}
        for figure_names in all_names
    ]
    assert own_names[0]
    assert not own_names[0] & own_names[1]


def test_a_text_that_matplotlib_has_no_letters_for_is_left_to_the_browser():
    with draw() as figure:
        figure.add_subplot().set_title("画像")
        assert "画像" in svg(figure, label="a figure")


def test_there_are_colours_for_six_things():
    assert len(set(COLOURS)) == 6

"""What is not all is nowhere called 100 percent, and what is not nothing nowhere 0."""

import re

import pytest
from house import FILES
from support import ROOT

from cache.pages.page import render_page
from cache.shares import percent
from heads.ablation.ranking import Spread
from heads.metrics.registry import METRICS


@pytest.mark.parametrize("n_rows", [2, 9, 199, 6000, 49_999, 10**6, 10**8])
@pytest.mark.parametrize("digits", [0, 1, 2])
def test_one_row_more_or_less_is_seen_however_many_there_are(n_rows, digits):
    for n_right in (1, n_rows - 1):
        assert float(percent(n_right / n_rows, digits).strip("<>")) not in (0, 100)
    assert [float(percent(share, digits)) for share in (0, 1)] == [0, 100]


def test_what_floats_are_off_by_is_nothing():
    assert percent(sum([0.1] * 10)) == "100.0"
    assert percent(0.1 + 0.2 - 0.3) == "0.0"


def test_tables_and_pages_show_shares_so(tmp_path):
    share = 5999 / 6000
    (tmp_path / "page.html").write_text("{{ share|percent }} {{ share|percent(0) }}<title></title>")
    assert "99.98 99.98" in render_page(tmp_path / "page.html", share=share)
    assert METRICS["accuracy"].show(share) == str(Spread(share, None)) == "99.98"


def test_no_code_rounds_shares_in_another_way():
    """Differences are points, which are rounded as they are: they promise no perfection."""
    rounded = re.compile(r":\.\d[fg]\} ?%(?! missing| \(and)")
    assert [str(path.relative_to(ROOT)) for path in FILES if rounded.search(path.read_text(encoding="utf-8"))] == []

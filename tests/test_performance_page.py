"""The figures of docs/performance.md are those that the benchmarks kept."""

import importlib.util
import json
import os
import re
import sys
from contextlib import nullcontext

import pytest
from support import ROOT

SCRIPT = ROOT / "tests" / "benchmarks" / "page.py"
TEXT = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("benchmarks_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_the_benchmarks_kept(page):
    assert page.with_figures(TEXT) == TEXT, "run python tests/benchmarks/page.py"


def test_other_figures_make_another_page(page, monkeypatch):
    read = page.read
    monkeypatch.setattr(page, "read", lambda name: {**read(name), "machine": {"cores": 99, "load": [1.0]}})
    assert page.with_figures(TEXT).count(", 99 cores") == len(page.TABLES)


def test_a_check_writes_nothing(page, tmp_path, monkeypatch):
    path = tmp_path / "page.md"
    monkeypatch.setattr(page, "PAGE", path)
    for text, is_right in ((TEXT, True), (TEXT.replace(" cores", " apples"), False)):
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(1, 1))
        monkeypatch.setattr(sys, "argv", ["page.py", "--check"])
        with nullcontext() if is_right else pytest.raises(SystemExit, match="is not what"):
            page.main()
        assert (path.read_text(encoding="utf-8"), path.stat().st_mtime_ns) == (text, 1)


def test_every_table_of_the_page_is_made_and_every_one_that_is_made_is_there(page):
    assert sorted(name for _, name, _ in page.BLOCK.findall(TEXT)) == sorted(page.TABLES)
    assert not re.search(r"^\|", page.BLOCK.sub("", TEXT), re.MULTILINE)


def test_every_benchmark_measures_its_own_checkout():
    """Else it would take the packages that are installed, which may be another checkout's."""
    for path in SCRIPT.parent.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        takes_a_package = re.search(r"^from (cache|embed|heads)\b", text, re.MULTILINE)
        if takes_a_package and 'if __name__ == "__main__":' in text:
            assert re.search(r"^sys\.path", text, re.MULTILINE), path


def test_all_that_is_kept_says_when_how_and_on_what_it_was_measured(page):
    for path in sorted(page.RESULTS.glob("*.json")):
        results = json.loads(path.read_text(encoding="utf-8"))
        assert {"date", "written_down"} & results.keys(), path
        assert results["command"], path
        assert results["machine"]["cores"], path

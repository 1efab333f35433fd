"""The examples in docstrings: each gives what it says."""

import doctest
from importlib import import_module

import pytest
from support import ROOT

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("cache", "embed", "heads")
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_give_what_they_say(name, capsys):
    outcome = doctest.testmod(import_module(name))
    assert outcome.attempted
    assert not outcome.failed, capsys.readouterr().out

"""A head of the user's own, by the name of its class: how it is found, and how each mistake is said."""

import builtins
import hashlib
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import is_dataclass

import pytest
import torch
from torch import nn

from heads.errors import HeadError
from heads.modules.plugin import is_plugin, load_plugin, plugin_sha256

pytestmark = pytest.mark.slow

DIMS = {"image": 5, "text": 3}
HEAD = """
from torch import nn

class Mine(nn.Module):
    def __init__(self, dims, *, n_classes, width=4):
        super().__init__()
        self.layer = nn.Linear(sum(dims.values()), n_classes)
        self.width = width
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a module into the working folder; return the name of its class."""
    modules = set(sys.modules)

    def write(source, *, name="mine_of_a_test", class_name="Mine"):
        (tmp_path / f"{name}.py").write_text(source)
        return f"{name}:{class_name}"

    (tmp_path / "home").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield write
    for name in set(sys.modules) - modules:
        if "of_a_test" in name:
            del sys.modules[name]


@pytest.mark.parametrize("suffix", ["", ".py"])
def test_a_class_is_found_by_its_module_or_its_file(write, suffix):
    name = write(HEAD).replace(":", f"{suffix}:")
    head = load_plugin(name)(DIMS, n_classes=7)
    assert isinstance(head, nn.Module)
    assert head.layer.weight.shape == (7, 8)
    assert head.width == 4


def test_a_file_is_found_wherever_it_is(write, tmp_path, monkeypatch):
    name = write(HEAD).replace(":", ".py:")
    monkeypatch.chdir(tmp_path / "home")
    assert load_plugin(f"{tmp_path}/{name}")(DIMS, n_classes=2).layer.weight.shape == (2, 8)
    assert load_plugin(f"../{name}")(DIMS, n_classes=2).layer.weight.shape == (2, 8)


def test_a_module_within_a_package_is_found():
    build = load_plugin("broken_heads:Sound")
    assert build(DIMS, n_classes=2)(
        {name: torch.zeros(3, dim) for name, dim in DIMS.items()},
        {name: torch.ones(3, dtype=torch.bool) for name in DIMS},
    ).shape == (3, 2)


def test_a_file_finds_the_modules_beside_it_and_the_path_is_as_before(write, tmp_path, monkeypatch):
    write("WIDTH = 9\n", name="widths_of_a_test")
    write(HEAD.replace("width=4", "width=WIDTH").replace("\nclass", "from widths_of_a_test import WIDTH\nclass"))
    monkeypatch.chdir(tmp_path / "home")
    before = list(sys.path)
    assert load_plugin("../mine_of_a_test.py:Mine")(DIMS, n_classes=2).width == 9
    assert sys.path == before


def test_a_file_that_was_changed_is_run_anew(write):
    name = write(HEAD).replace(":", ".py:")
    load_plugin(name)
    write(HEAD.replace("width=4", "width=5"))
    assert load_plugin(name)(DIMS, n_classes=2).width == 5


def test_a_file_may_hold_dataclasses(write):
    """They look for their module among those that are loaded."""
    source = "from __future__ import annotations\nfrom dataclasses import dataclass\n" + HEAD
    name = write(source + "\n@dataclass\nclass Settings:\n    width: int = 3\nMine.settings = Settings()\n")
    assert is_dataclass(load_plugin(name.replace(":", ".py:"))(DIMS, n_classes=2).settings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Mine", "to be named as module:Class or path/to/file.py:Class, got 'Mine'"),
        ("mine.py:", "to be named as module:Class"),
        (":Mine", "to be named as module:Class"),
        ("no_such_module:Mine", "there is no no_such_module. Run this in its folder, or name its file"),
        ("heads.no_such_module:Mine", "there is no heads.no_such_module"),
        ("no/such/file.py:Mine", "there is no such file"),
        ("broken_heads:NoSuchHead", "to have the class NoSuchHead, but the heads in it are: Sound, OneKey"),
        ("heads.errors:NoSuchHead", "the heads in it are: none"),
        ("heads.errors:HeadError", "to be a subclass of torch.nn.Module, but it is the class HeadError"),
        ("broken_heads:HIDDEN_DIM", "to be a subclass of torch.nn.Module, but it is of type int"),
        ("heads.modules.early:Early", "to be built as Early(dims, n_classes=K), and have defaults for all else"),
    ],
)
def test_what_is_no_head_is_said_to_be_none(name, words):
    with pytest.raises(HeadError) as raised:
        load_plugin(name)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        ("self, dims", "but its constructor takes (dims)"),
        ("self, *, n_classes", "but its constructor takes (*, n_classes)"),
        ("self, dims, depth, *, n_classes", "missing a required argument: 'depth'"),
    ],
)
def test_a_constructor_that_takes_something_else_is_an_error(write, signature, words):
    name = write(HEAD.replace("self, dims, *, n_classes, width=4", signature))
    with pytest.raises(HeadError, match="to be built as Mine") as raised:
        load_plugin(name)
    assert words in str(raised.value)


@pytest.mark.parametrize("suffix", ["", ".py"])
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import no_such_library", "raised ModuleNotFoundError: No module named 'no_such_library'"),
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
        ("class", "raised SyntaxError"),
    ],
)
def test_a_module_that_fails_is_an_error_that_says_how(write, suffix, line, words):
    name = write(f"{line}\n{HEAD}").replace(":", f"{suffix}:")
    with pytest.raises(HeadError) as raised:
        load_plugin(name)
    assert f"mine_of_a_test{suffix} to be importable" in str(raised.value)
    assert words in str(raised.value)
    assert "heads_plugin_mine_of_a_test" not in sys.modules


def test_a_constructor_that_fails_is_an_error_that_says_how(write):
    build = load_plugin(write(HEAD.replace("sum(dims.values())", "dims['sound']")))
    words = r"from the dims \{'image': 5, 'text': 3\} and n_classes=2, but its constructor raised KeyError: 'sound'"
    with pytest.raises(HeadError, match=words):
        build(DIMS, n_classes=2)


def test_a_constructor_cannot_change_the_caller_s_dims(write):
    build = load_plugin(write(HEAD.replace("        self.width", "        dims.clear()\n        self.width")))
    dims = dict(DIMS)
    build(dims, n_classes=2)
    assert dims == DIMS


@pytest.mark.parametrize(("name", "expected"), [("early", False), ("mine:Mine", True), ("a/b.py:C", True)])
def test_a_colon_makes_a_plugin(name, expected):
    assert is_plugin(name) is expected


def test_a_file_is_run_once_for_what_is_in_it(write):
    """Each head of a stack is built by the name of its class."""
    name = write(HEAD + "\nimport builtins\nbuiltins.n_runs_of_a_test = getattr(builtins, 'n_runs_of_a_test', 0) + 1\n")
    name = name.replace(":", ".py:")
    try:
        first, second = (type(load_plugin(name)(DIMS, n_classes=2)) for _ in range(2))
        assert first is second
        assert builtins.n_runs_of_a_test == 1
    finally:
        del builtins.n_runs_of_a_test


def test_files_that_are_loaded_beside_each_other_leave_the_path_as_it_was(write, tmp_path):
    """Each finds its own neighbour, of the name that the others' have too, and none sees another's folder."""
    source = HEAD.replace("width=4", "width=WIDTH").replace("\nclass", "import sys, time\n{wait}\n\nclass")
    names = []
    for place in range(8):
        folder = tmp_path / f"folder{place}"
        folder.mkdir()
        changed = source.replace(
            "{wait}", f"time.sleep(0.02)\nWIDTH = {place} + sum('folder' in path for path in sys.path)"
        )
        (folder / "mine_of_a_test.py").write_text(changed)
        names.append(f"{folder}/mine_of_a_test.py:Mine")
    before = list(sys.path)
    with ThreadPoolExecutor(8) as pool:
        builds = list(pool.map(load_plugin, names))
    assert [build(DIMS, n_classes=2).width for build in builds] == [1 + place for place in range(8)]
    assert sys.path == before


def test_the_source_of_a_class_is_known_by_its_sha256(write, tmp_path):
    name = write(HEAD)
    expected = hashlib.sha256((tmp_path / "mine_of_a_test.py").read_bytes()).hexdigest()
    assert plugin_sha256(name) == plugin_sha256(name.replace(":", ".py:")) == expected
    assert plugin_sha256("user_heads:Usual") != expected


def test_the_sha256_is_of_what_runs(write):
    """A file that was changed runs anew; a module that was imported stays as it was."""
    name = write(HEAD)
    as_file = name.replace(":", ".py:")
    before = plugin_sha256(name)
    assert plugin_sha256(as_file) == before
    write(HEAD.replace("width=4", "width=5"))
    assert plugin_sha256(name) == before
    assert plugin_sha256(as_file) != before


def test_the_sha256_is_of_the_file_that_the_class_is_in(write, tmp_path):
    write(HEAD, name="neighbour_of_a_test")
    name = write("from neighbour_of_a_test import Mine\n").replace(":", ".py:")
    expected = hashlib.sha256((tmp_path / "neighbour_of_a_test.py").read_bytes()).hexdigest()
    assert plugin_sha256(name) == expected


def test_a_class_that_is_in_no_file_has_no_sha256(monkeypatch):
    module = types.ModuleType("typed_in_of_a_test")
    exec(HEAD, vars(module))  # noqa: S102 - as a class that was typed in
    module.Mine.__module__ = module.__name__
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert load_plugin("typed_in_of_a_test:Mine")(DIMS, n_classes=2).width == 4
    with pytest.raises(HeadError, match="to be in a source file, but there is none of typed_in_of_a_test"):
        plugin_sha256("typed_in_of_a_test:Mine")

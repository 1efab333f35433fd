"""What every command, package and file has: launchers, help, public names, and names that say something."""

import ast
import importlib
import os
import types

import pytest
from house import FOLDERS, PACKAGES, SCRIPTS, SETUP, files_in, tree_of
from support import ROOT


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_command_has_a_launcher_and_is_in_the_readme(name):
    launcher = ROOT / "bin" / name
    assert os.access(launcher, os.X_OK)
    module, function = SCRIPTS[name].split(":")
    assert f'run("{module}", "{function}")' in launcher.read_text()
    assert name in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_other_file_in_bin_is_a_tool_of_the_checkout():
    assert {path.name for path in (ROOT / "bin").iterdir()} - SCRIPTS.keys() - {"__pycache__"} == {
        "demo",
        "environment",
        "launch.py",
        "test",
        "torture",
    }


@pytest.mark.parametrize("name", SCRIPTS)
def test_command_is_named_after_its_package_and_function(name):
    module, function = SCRIPTS[name].split(":")
    package = module.split(".")[0].replace("embed_once", "cache")  # whose commands start beside it
    assert name == f"{package}-{function.rstrip('_').replace('_', '-')}"
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_option_has_a_help_text(name):
    module, function = SCRIPTS[name].split(":")
    command = getattr(importlib.import_module(module), function)
    assert command.help
    assert [option.name for option in command.params if option.param_type_name == "option" and not option.help] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_variable_has_a_name_that_says_nothing(folder):
    for path in files_in(folder):
        nodes = list(ast.walk(tree_of(path.read_text(encoding="utf-8"))))
        names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        names |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        assert not names & {"each", "found", "here", "own", "said", "that", "there", "those"}, path


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_are_sorted_and_resolve(name):
    package = importlib.import_module(name)
    assert package.__all__ == sorted(set(package.__all__))
    for public in package.__all__ * 2:  # the second time everything has been imported
        assert not isinstance(getattr(package, public), types.ModuleType), f"{name}.{public} is a module"


@pytest.mark.parametrize("name", PACKAGES)
def test_name_that_is_not_public_is_an_attribute_error(name):
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = importlib.import_module(name).no_such_name


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_says_what_is_public_in_it(folder):
    for path in files_in(folder):
        if path.name != "__init__.py":
            module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
            assert all(hasattr(module, public) for public in module.__all__), path
            assert module.__doc__, path


@pytest.mark.parametrize("name", PACKAGES)
def test_no_module_has_the_name_of_what_is_public_beside_it(name):
    """It would take that name's place as soon as it is imported, or lose its own to it."""
    module_names = {path.stem for path in (ROOT / name).iterdir()}
    assert not module_names & set(importlib.import_module(name).__all__)


def test_packages_are_named_one_by_one():
    named = SETUP["options"]["packages"].split()
    assert named == sorted(named)
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert named == sorted(".".join(folder.relative_to(ROOT).parts) for folder in folders)


def test_versions_agree():
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert SETUP["metadata"]["version"] in changes

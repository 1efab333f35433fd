"""The house rules: who may import whom, what every command and every package has."""

import ast
import configparser
import functools
import importlib
import json
import os
import subprocess
import sys
import types
from graphlib import TopologicalSorter
from itertools import accumulate

import numpy as np
import pytest
from support import ROOT, class_vectors, small_catalogue, synthetic_cache

PACKAGES = ("cache", "embed", "heads")
HEAVY = {"torch", "torchvision", "transformers"}
FORBIDDEN = {"cache": HEAVY, "embed": set(), "heads": {"torchvision", "transformers"}}  # libraries
NEEDS_AN_ENCODER = "needs an encoder"  # in the first line of a file of `heads` that may import `embed`

# Who may import whom within a package. What stands beside its rooms (errors, settings) is free to all in them, and
# `cache` to everybody.
ARROWS = {
    "cache.system": "",
    "cache.arrays": "",
    "cache.columns": "arrays",
    "cache.cloud": "system",
    "cache.format": "arrays system",
    "cache.sealed": "arrays cloud format system",
    "cache.journal": "arrays cloud format sealed system",
    "cache.inventory": "arrays cloud format journal sealed system",
    "cache.rebuilding": "arrays cloud columns format inventory journal sealed system",
    "cache.exchange": "cloud columns inventory journal rebuilding sealed system",
    "cache.pages": "system",
    "cache.workers": "system",
    "cache.console": "cloud system workers",
    "cache.commands": "cloud console exchange inventory journal rebuilding sealed system",
    "embed.contents": "",
    "embed.catalogue": "contents",
    "embed.encoders": "contents",
    "embed.extraction": "catalogue contents encoders",
    "embed.inspection": "catalogue contents encoders extraction",
    "embed.commands": "catalogue contents encoders extraction inspection",
    "heads.data": "",
    "heads.metrics": "",
    "heads.modules": "data metrics",
    "heads.training": "data modules",
    "heads.checks": "data modules",
    "heads.experiment": "data metrics modules training",
    "heads.ablation": "data experiment metrics modules training",
    "heads.audit": "data experiment",
    "heads.runs": "ablation data experiment metrics modules",
    "heads.prediction": "data experiment metrics modules runs",
    "heads.reports": "ablation audit data experiment metrics modules runs",
    "heads.review": "data modules",
    "heads.tracking": "ablation experiment metrics modules runs",
    "heads.estimator": "data experiment modules training",
    "heads.export": "data experiment modules runs",
    "heads.serving": "data modules prediction reports review",
    "heads.workflows": (
        "ablation audit data experiment export metrics modules prediction reports review runs tracking training"
    ),
    "heads.commands": (
        "ablation audit checks data experiment export metrics modules prediction reports review runs serving tracking "
        "workflows"
    ),
}


def read_setup():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return setup


SETUP = read_setup()
SCRIPTS = dict(
    (part.strip() for part in line.split("="))
    for line in SETUP["options.entry_points"]["console_scripts"].strip().splitlines()
)
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
FOLDERS = sorted({str(path.parent.relative_to(ROOT)) for path in FILES})


def files_in(folder):
    """Return the modules of a folder, without those of the folders in it."""
    return [path for path in FILES if path.parent == ROOT / folder]


@functools.cache
def tree_of(source):
    """Return the syntax tree of a source, which several rules are held against."""
    return ast.parse(source)


@functools.cache
def imports_of(source):
    """Return the names of all modules that a source imports, in functions and conditions too.

    ``from embed import extract`` is an import of ``embed.extract``, which may be a function of it or a folder in it.
    """
    names = set()
    for node in ast.walk(tree_of(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if not node.level else {"relative"}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names |= {word.value for word in node.args if isinstance(word, ast.Constant)}
    return names


def room_of(module):
    """Return the room that a module, a folder or a name in one stands in; None outside of all rooms."""
    room = ".".join(module.split(".")[:2])
    return room if room in ARROWS else None


def modules_after(*command, folder):
    """Run a launcher in a process of its own; return the completed process, and the top-level modules it loaded."""
    report = folder / "modules.json"
    (folder / "sitecustomize.py").write_text(
        "import atexit, json, sys\n"
        f"atexit.register(lambda: open({str(report)!r}, 'w').write(json.dumps(sorted(sys.modules))))\n"
    )
    completed = subprocess.run(
        [sys.executable, ROOT / "bin" / command[0], *command[1:]],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return completed, {name.split(".")[0] for name in json.loads(report.read_text())}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import torch.nn", {"torch.nn"}),
        ("from torch import nn", {"torch.nn"}),
        ("def f():\n    from embed.contents.images import decode", {"embed.contents.images.decode"}),
        ("if TYPE_CHECKING:\n    from heads.data import vectors as v", {"heads.data.vectors"}),
        ("if True:\n    import heads as h, os.path", {"heads", "os.path"}),
        ("importlib.import_module('embed.extract')", {"embed.extract"}),
        ("from . import store", {"relative"}),
        ("'import torch'  # import torch", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(source, names):
    assert imports_of(source) == names


def allowed(room):
    package = room.partition(".")[0]
    return {room} | {f"{package}.{name}" for name in ARROWS[room].split()}


def test_arrows_make_no_circle():
    list(TopologicalSorter({room: allowed(room) - {room} for room in ARROWS}).static_order())


def test_arrows_name_every_room_and_no_other():
    folders = {path.parent.relative_to(ROOT).parts for path in FILES}
    assert {room_of(".".join(parts)) for parts in folders if len(parts) > 1} == set(ARROWS)


def test_files_make_no_circle_either():
    modules = {name: path for path in FILES for name in [".".join(path.relative_to(ROOT).with_suffix("").parts)]}
    imported = {name: imports_of(path.read_text(encoding="utf-8")) for name, path in modules.items()}
    graph = {
        name: {
            module
            for dotted_name in imported_names
            for module in accumulate(dotted_name.split("."), "{}.{}".format)
            if module in modules
        }
        for name, imported_names in imported.items()
    }
    list(TopologicalSorter({name: neighbours - {name} for name, neighbours in graph.items()}).static_order())


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_follow_the_arrows(folder):
    """``embed -> cache <- heads``, each room only those below it, and `cache` never imports torch."""
    for path in files_in(folder):
        source = path.read_text(encoding="utf-8")
        package = path.relative_to(ROOT).parts[0]
        room = room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        names = imports_of(source)
        assert "relative" not in names, f"{path}: imports are absolute here"
        assert not {name.split(".")[0] for name in names} & FORBIDDEN[package], path
        needs_an_encoder = NEEDS_AN_ENCODER in (ast.get_docstring(tree_of(source)) or "").split("\n")[0]
        packages = {"cache", package} | ({"embed"} if package == "heads" and needs_an_encoder else set())
        assert {name.split(".")[0] for name in names} & set(PACKAGES) <= packages, path
        rooms = {lower for name in names if name.startswith(package) and (lower := room_of(name))}
        if room is None:  # `errors` and the like, below all rooms
            assert not rooms or path.name == "__init__.py", path
        else:
            assert rooms <= allowed(room), path


def test_few_files_of_heads_need_an_encoder_and_they_import_it_in_functions_alone():
    paths = [path for path in FILES if NEEDS_AN_ENCODER in path.read_text(encoding="utf-8").split("\n")[0]]
    assert {path.relative_to(ROOT / "heads").parts[0] for path in paths} == {"estimator", "export", "prediction"}
    for path in paths:
        at_import = [node for node in tree_of(path.read_text(encoding="utf-8")).body if not isinstance(node, ast.If)]
        top = ast.Module([node for node in at_import if isinstance(node, ast.Import | ast.ImportFrom)], [])
        assert not {name.split(".")[0] for name in imports_of(ast.unparse(top))} & {"embed"}


HELP = """
import contextlib, io, json, runpy, sys

for launcher in sys.argv[1:]:
    output = io.StringIO()
    sys.argv, sys.path[0] = [launcher, "--help"], launcher.rpartition("/")[0]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(output):
        runpy.run_path(launcher, run_name="__main__")
    print(json.dumps([launcher.rpartition("/")[2], output.getvalue(), sorted(sys.modules)]))
"""


@pytest.mark.slow
def test_help_answers_without_torch():
    """One process asks all launchers in turn: what one has imported stays, so that the last has what any has."""
    line = [sys.executable, "-c", HELP, *(str(ROOT / "bin" / name) for name in SCRIPTS)]
    completed = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stderr) == (0, "")
    answers = [json.loads(answer) for answer in completed.stdout.splitlines()]
    assert [name for name, _, _ in answers] == list(SCRIPTS)
    for name, output, modules in answers:
        assert output.startswith(f"Usage: {name} ")
        assert "click" in modules
        assert not HEAVY & set(modules), name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cache-info", "cache-verify", "cache-gc"])
def test_cache_commands_never_import_torch(name, tmp_path):
    path = synthetic_cache(tmp_path / "c.h5", {"image": np.eye(3)}, {"label": ["a", "b", "c"]})
    completed, modules = modules_after(name, path, folder=tmp_path)
    assert completed.returncode == 0
    assert "h5py" in modules
    assert not modules & HEAVY


@pytest.mark.slow
def test_inspection_without_an_estimate_never_imports_torch(tmp_path):
    path = small_catalogue(tmp_path / "shop")
    completed, modules = modules_after("embed-inspect", path, "--no-estimate", folder=tmp_path)
    assert completed.returncode == 0, completed.stderr
    assert (tmp_path / "inspect.html").is_file()
    assert "PIL" in modules
    assert not modules & HEAVY


@pytest.mark.slow
def test_training_by_steps_imports_neither_an_encoder_s_library_nor_scikit_learn(tmp_path):
    codes = np.arange(60) % 2
    vectors = {"image": class_vectors(codes, 4), "text": class_vectors(codes, 3, seed=1)}
    path = synthetic_cache(tmp_path / "c.h5", vectors, {"label": [f"class {code}" for code in codes]})
    completed, modules = modules_after(
        "heads-train", path, "--fusion", "early,attention,gated,lowrank,late", "--max-epochs", "1", folder=tmp_path
    )
    assert completed.returncode == 0, completed.stderr
    assert (tmp_path / "runs").is_dir()
    assert "torch" in modules
    assert not modules & {"torchvision", "transformers", "embed", "sklearn"}


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

"""The house rules: who may import whom."""

import ast
import functools
from graphlib import TopologicalSorter
from itertools import accumulate

import pytest
from house import FILES, FOLDERS, HEAVY, PACKAGES, files_in, tree_of
from support import ROOT

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

"""The manual: what it shows is what happens, what it names exists, and what exists is named."""

import ast
import contextlib
import re
import sys
from types import SimpleNamespace

import click
import pytest
from manual import (
    PAGES,
    README,
    blocks_of,
    console_scripts,
    extras,
    links_of,
    options_of,
    prose_of,
    shell_lines,
    spans_of,
    words_of,
)
from support import ROOT
from torchvision.transforms._presets import ImageClassification
from torture.run import torture
from transcripts import copy_catalogue, save_modules, transcripts, without_figures

from embed.encoders import checkpoint, torchvision_image
from heads.training.head_state import Member

MOST_README_LINES = 150
MOST_README_WORDS = 1300
MOST_CONTRIBUTING_LINES = 80
LANGUAGES = {"console", "python", "sh", "text", "yaml"}
NOT_RUN = []  # locations of blocks with `<!-- not run: reason -->`; each reason stands in the page

COMMANDS = console_scripts()
TOOLS = {"torture": torture}  # of a checkout
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
OTHER_OPTIONS = {"--gain", "--help", "--quick"}  # of a benchmark; of every command; of bin/test


def name_of(page):
    return str(page.relative_to(ROOT))


def pages_with(language):
    return [page for page in PAGES if any(block.language == language for block in blocks_of(page))]


@pytest.fixture(scope="module")
def small_encoders():
    """Untrained networks that take next to no time: no page says anything of their size but in figures."""
    with pytest.MonkeyPatch.context() as patch:
        recipe = SimpleNamespace(transforms=lambda: ImageClassification(crop_size=32, resize_size=36))
        patch.setattr(torchvision_image, "get_model_weights", lambda _: SimpleNamespace(DEFAULT=recipe))
        config_of = checkpoint._config

        def small_config(model_name, folder, *, modality):
            config = config_of(model_name, folder, modality=modality)
            if folder is None:
                config.update({"num_hidden_layers": 2, "hidden_size": 96, "intermediate_size": 192})
            return config

        patch.setattr(checkpoint, "_config", small_config)
        yield


@pytest.fixture(scope="module")
def manual_folder(tmp_path_factory, undrawn, small_encoders):
    """The folder in which all transcripts were run, and what they printed."""
    folder = tmp_path_factory.mktemp("manual")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        outputs = transcripts(folder)
    return SimpleNamespace(drawn=folder / "drawn", outputs=outputs)


def test_readme_is_short():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_README_LINES
    assert len(text.split()) <= MOST_README_WORDS
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= MOST_CONTRIBUTING_LINES


def test_every_block_is_of_a_kind_that_is_tested():
    assert {block.location: block.language for block in BLOCKS if block.language not in LANGUAGES} == {}
    assert [block.location for block in BLOCKS if block.language == "text" and "$ " in block.content] == []
    assert sum(page.read_text(encoding="utf-8").count("\n```") for page in PAGES) == 2 * len(BLOCKS)


def test_blocks_that_are_not_run_are_named_here():
    assert [block.location for block in BLOCKS if block.not_run] == NOT_RUN


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("console"), ids=name_of)
def test_transcripts_are_what_the_commands_print(page, manual_folder):
    """But for figures; ``python tests/transcripts.py`` writes them anew."""
    shown = [block.content for block in blocks_of(page) if block.language == "console"]
    printed = manual_folder.outputs[page]
    assert [without_figures(content) for content in shown] == [without_figures(content) for content in printed]


@pytest.mark.slow
@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_python_blocks_run(page, manual_folder, tmp_path, monkeypatch):
    """One after the other, in one namespace, beside the drawn catalogue and its cache; trainings are short."""
    monkeypatch.setattr(Member, "has_stopped", property(lambda member: len(member._history) >= 2))
    folder = copy_catalogue(manual_folder.drawn, tmp_path / "copy")
    modules = save_modules(page, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    names = {"__name__": "__main__"}
    for block in blocks_of(page):
        if block.language == "python" and not block.not_run:
            exec(compile(block.content, block.location, "exec"), names)  # noqa: S102 - our own page
    for name in modules:
        sys.modules.pop(name, None)  # another page may have one of this name


def parse(line):
    """Have the command that a line names parse the rest of it, or fail."""
    name, *arguments = words_of(line)
    name = name.removeprefix("bin/")
    with contextlib.suppress(click.exceptions.Exit):  # of --help
        (COMMANDS | TOOLS)[name].make_context(name, list(arguments))


def is_ours(line):
    words = words_of(line)
    return bool(words) and words[0].removeprefix("bin/") in COMMANDS | TOOLS


def check_other(line):
    """Fail for a line of another program that names what does not exist."""
    words = words_of(line)
    if words[:2] == ["pip", "install"]:
        assert set(re.findall(r"\[(\w+)\]", line)) <= extras(), line
        assert re.match(r"embed-once(\[|$)|\.(\[|$)|pyarrow$", words[2]), line
    elif words[0].startswith("bin/"):
        assert (ROOT / words[0]).is_file(), line
        assert all((ROOT / word).is_file() for word in words[1:] if word.startswith("tests/")), line
    elif words[0] == "python":
        assert words[1:3] == ["-m", "sphinx"] or (ROOT / words[1]).is_file(), line
    else:
        pytest.fail(f"a line that no test knows: {line}")


LINES = [
    (block.location, line) for block in BLOCKS if block.language in ("sh", "console") for line in shell_lines(block)
]


@pytest.mark.parametrize(("location", "line"), LINES, ids=[f"{location} {line}" for location, line in LINES])
def test_command_lines_are_right(location, line):
    if is_ours(line):
        parse(line)
    else:
        check_other(line)


def spans_with_commands():
    for page in PAGES:
        for span in spans_of(page):
            if re.match(r"(bin/)?(cache|embed|heads)-[a-z]+ -", span):
                yield span


@pytest.mark.parametrize("span", sorted(set(spans_with_commands())))
def test_command_lines_within_sentences_are_right(span):
    parse(span)


def options_named(text):
    """Return the long options that a text names."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def test_every_option_that_is_named_exists():
    existing = {name for command in (COMMANDS | TOOLS).values() for names in options_of(command) for name in names}
    for page in PAGES:
        named = options_named(re.sub(r"<!--.*?-->", "", prose_of(page)))
        assert named - existing - OTHER_OPTIONS == set(), page


def pages_of(command):
    """Return the pages that README's table names for a command."""
    row = next(line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{command}` |"))
    return [ROOT / path for path in re.findall(r"\]\(([\w/.-]+)", row)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_every_command_is_on_a_page_of_that_command(name):
    """With all its names; what all commands share stands in the index."""
    pages = [*pages_of(name), ROOT / "docs" / "index.md"]
    documented = {word for page in pages for span in spans_of(page) for word in re.split(r"[ =,]", span)}
    options = list(options_of(COMMANDS[name]))
    assert options
    assert [names for names in options if not set(names) <= documented] == []


def test_every_option_of_the_torture_is_on_its_page():
    documented = {word for span in spans_of(ROOT / "docs" / "durability.md") for word in span.split()}
    assert {names[-1] for names in options_of(torture)} <= documented


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_page_in_the_readme_s_table(name):
    assert pages_of(name)
    assert [page for page in pages_of(name) if name not in page.read_text(encoding="utf-8")] == []


def test_files_that_are_named_exist():
    named = [(page, span) for page in PAGES for span in spans_of(page)]
    paths = [(page, span) for page, span in named if re.fullmatch(r"(bin|cache|docs|embed|heads|tests)/[\w./-]+", span)]
    assert [(page, path) for page, path in paths if not (ROOT / path).exists()] == []


def anchors_of(page):
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_rooms_stand_in_the_manual_as_they_describe_themselves():
    files = sorted(path for package in ("cache", "embed", "heads") for path in (ROOT / package).rglob("__init__.py"))
    rows = []
    for path in files:
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).partition("\n")[0]
        rows.append(f"| `{path.parent.relative_to(ROOT)}/` | {about} |")
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in page if line.startswith("| `")] == rows


def test_files_on_the_ways_of_data_are_where_the_manual_says():
    """One that is named without its folder is in that of the one before it."""
    ways = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("\n## ")[2]
    folder = ROOT
    for name in re.findall(r"`([\w/]+(?:\.(?:py|js|html)|/))`", ways):
        path = ROOT / name if "/" in name else folder / name
        assert path.exists(), name
        folder = path if path.is_dir() else path.parent


def test_links_lead_somewhere():
    for page in PAGES:
        for link in links_of(page):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page}: {link} is not there"
            assert target.is_relative_to(ROOT), page
            assert not anchor or anchor in anchors_of(target), f"{page}: {link} has no such heading"


def test_every_page_is_linked_from_an_index():
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in (README, *ROOT.glob("docs/**/index.md"))
        for link in links_of(page)
    }
    assert [page for page in PAGES if page not in linked and page != README] == []


def test_every_decision_says_what_was_measured_and_what_would_change_it():
    pages = [page for page in PAGES if page.parent.name == "decisions" and page.name != "index.md"]
    assert [page.name[:3] for page in pages] == [f"{n:03}" for n in range(1, len(pages) + 1)]
    for page in pages:
        parts = re.findall(r"^\*\*(.+?)\.\*\* \S", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert parts == ["Decision", "Why", "Measured", "What would change it"], page.name


def test_transcript_is_compared_without_figures():
    shown = "$ heads-train\nhead   acc\n-----  ----\nearly  71.2\n[+14.7, -3]\nruns/label-001 (12.0 s)"
    again = "$ heads-train\nhead    acc\n-----  -----\nearly  100.0 [-4.7,\n-13]\nruns/label-001 (2 min)"
    assert without_figures(shown) == without_figures(again)
    assert without_figures(shown) != without_figures(shown.replace("early", "late"))
    assert without_figures("$ cache-info --json") != without_figures("$ cache-info json")

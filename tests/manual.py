"""The manual as tests see it: the pages, their blocks of code, their links, and the command lines in them."""

from __future__ import annotations

import configparser
import importlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from support import ROOT

README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]

NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
EXCERPT = re.compile(r"<!-- excerpt: first (\d+), last (\d+) -->")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `start` and `end` bound its content in the page's text."""

    page: Path
    language: str
    content: str
    comment: str  # what the line above the fence says, when it is an HTML comment
    start: int
    end: int

    @property
    def location(self) -> str:
        """The page and the line of the block's fence, for a message."""
        line = self.page.read_text(encoding="utf-8").count("\n", 0, self.start)
        return f"{self.page.relative_to(ROOT)}:{line}"

    @property
    def not_run(self) -> str:
        """Why the block is not run; "" for one that is."""
        marked = NOT_RUN.fullmatch(self.comment)
        return marked[1] if marked else ""


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    blocks = []
    for fence in _FENCE.finditer(text):
        above = text[: fence.start()].rstrip("\n").rpartition("\n")[2]
        comment = above if above.startswith("<!--") else ""
        blocks.append(Block(page, fence[1], fence[2], comment, fence.start(2), fence.end(2)))
    return blocks


def prose_of(page: Path) -> str:
    """Return a page's text without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def spans_of(page: Path) -> list[str]:
    """Return what stands between backticks in a page's prose."""
    return _SPAN.findall(prose_of(page))


def links_of(page: Path) -> list[str]:
    """Return where a page's links lead."""
    return _LINK.findall(prose_of(page))


def console_scripts() -> dict[str, click.Command]:
    """Return the project's commands by name."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    commands = {}
    for line in setup["options.entry_points"]["console_scripts"].strip().splitlines():
        name, target = (part.strip() for part in line.split("="))
        module, function = target.split(":")
        commands[name] = getattr(importlib.import_module(module), function)
    return commands


def extras() -> set[str]:
    """Return the names of the extras that can be installed."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    return set(setup["options.extras_require"])


def shell_lines(block: Block) -> list[str]:
    """Return the command lines of a `sh` or a `console` block, those over several lines as one."""
    lines = block.content.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def words_of(line: str) -> list[str]:
    """Return a command line's words without variables in front, comments behind, or what is piped on."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    return words[: words.index("|")] if "|" in words else words


def options_of(command: click.Command) -> Iterator[tuple[str, ...]]:
    """Yield the names of each option of a command, such as ``("-o", "--output")``."""
    for parameter in command.params:
        if parameter.param_type_name == "option":
            yield (*parameter.opts, *parameter.secondary_opts)

"""Write what the commands print into the pages of the manual: ``python tests/transcripts.py``.

A ``console`` block of a page is a transcript: lines that begin with ``$`` and below each what the command prints to
stdout. The commands are run on the drawn catalogue of ``bin/demo`` with untrained encoders. README's are run in the
folder of the catalogue, and the cache that they make is there when those of another page run, in a copy of it.

A comment above the block, ``<!-- excerpt: first 9, last 4 -->``, keeps these lines alone of each command's output. A
Python block whose first line is ``# name.py`` stands under that name in the folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from drawn import draw_catalogue  # noqa: E402 - the checkout comes first
from manual import EXCERPT, PAGES, README, Block, blocks_of, console_scripts, shell_lines, words_of  # noqa: E402
from support import invoke  # noqa: E402


def main() -> None:
    """Run every transcript and write it into its page."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        for page, outputs in transcripts(Path(folder)).items():
            write(page, outputs)
            print(f"{page.relative_to(ROOT)}: {len(outputs)} transcripts")


def transcripts(folder: Path) -> dict[Path, list[str]]:
    """Run the commands of all pages in `folder` and copies of it; return the content of each page's transcripts.

    Afterwards `folder` holds the drawn catalogue in ``drawn`` with the cache that README's commands have made.
    """
    drawn = folder / "drawn"
    draw_catalogue(drawn)
    outputs = {}
    for page in PAGES:
        blocks = [block for block in blocks_of(page) if block.language == "console"]
        if blocks:
            working_folder = drawn if page == README else copy_catalogue(drawn, folder / page.stem)
            save_modules(page, working_folder)
            with contextlib.chdir(working_folder):
                outputs[page] = [transcript(block) for block in blocks]
    return outputs


def copy_catalogue(drawn: Path, folder: Path) -> Path:
    """Return a copy of the drawn catalogue and its cache, without the runs."""
    return shutil.copytree(drawn, folder, ignore=shutil.ignore_patterns("runs"))


def save_modules(page: Path, folder: Path) -> list[str]:
    """Write the page's Python blocks that name a file into `folder`; return the names of these modules."""
    names = []
    for block in blocks_of(page):
        named = re.match(r"# (\w+\.py)\n", block.content)
        if block.language == "python" and named:
            (folder / named[1]).write_text(block.content, encoding="utf-8")
            names.append(named[1].removesuffix(".py"))
    return names


def transcript(block: Block) -> str:
    """Run the commands of a block here; return the block's content as it should be."""
    excerpt = EXCERPT.fullmatch(block.comment)
    parts = []
    for line in shell_lines(block):
        name, *arguments = words_of(line)
        result = invoke(console_scripts()[name], *arguments)
        if result.exit_code:
            raise RuntimeError(f"{block.location}: {line} ended with {result.exit_code}:\n{result.output}")
        lines = [line.rstrip() for line in result.stdout.rstrip("\n").split("\n")]
        if excerpt and len(lines) > int(excerpt[1]) + int(excerpt[2]):
            first, last = lines[: int(excerpt[1])], lines[len(lines) - int(excerpt[2]) :]
            lines = [*first, "…", *last]
        parts.append("\n".join([f"$ {line}", *lines]) + "\n")
    return "\n".join(parts)


def write(page: Path, outputs: list[str]) -> None:
    """Put the transcripts in the place of those that the page has."""
    text = page.read_text(encoding="utf-8")
    blocks = [block for block in blocks_of(page) if block.language == "console"]
    for block, output in reversed(list(zip(blocks, outputs, strict=True))):
        text = text[: block.start] + output + text[block.end :]
    page.write_text(text, encoding="utf-8")


def without_figures(content: str) -> str:
    """Return a transcript without what differs from machine to machine: figures, and blanks and rules that they shift.

    Units of sizes and times follow the figures, and so do a table's verdict on an interval, the word of caution that a
    control is as good, and an answer with its probability: processors round otherwise. A line breaks elsewhere where a
    figure is longer.
    """
    content = re.sub(r"Careful: the control \S+ may\s+be no worse than \S+\.", "", content)
    content = re.sub(r"(\[[^][]*\]) +(?:better|worse|equal|undecided)$", r"\1 #", content, flags=re.MULTILINE)
    content = re.sub(r"(?<=,)[^,\n]+(?=,[01]\.\d)", "#", content)
    content = re.sub(r"[0-9a-f]{64}", "#", content)
    content = re.sub(r"[+-]?\d[\d.,]*(?: ?(?:[kKMG]B|ms|s|min|h)\b)?", "#", content)
    return " ".join(re.sub(r"(?<!\S)-{2,}(?!\S)", "", content).split())


if __name__ == "__main__":
    main()

"""Which templates lead from a table's cells to the pictures beside it, where no column names them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from embed.catalogue.pictures.files import pictures_below
from embed.catalogue.pictures.image_template import ImageTemplate

__all__ = ["FoundTemplates", "find_templates"]

LEAST_SHARE = 0.95  # of the sampled rows must have their picture
LEAST_DISTINCT = 0.5  # of their pictures, else a column of few values found a banner
MOST_TEMPLATES = 4  # in turn
MOST_TRIED = 50
LONGEST_CELL = 120  # characters of a name

_WORDS = re.compile(r"[^\W_]+")

Row = Mapping[str, str]


@dataclass(frozen=True)
class FoundTemplates:
    """Templates that together explain nearly all of the sampled rows, and others that do so alone."""

    templates: list[str]
    n_explained: int
    n_sampled: int
    others: list[str]


def find_templates(rows: Sequence[Row], root: Path, *, with_links: bool = False) -> FoundTemplates | None:
    """Return the templates by which rows have pictures below `root`; None where there are none that explain them.

    Whatever part of a picture's path is a cell of a row makes a candidate: its name without suffix, a word in that, or
    a folder. Candidates are then tried on all rows. `with_links` follows links to folders.
    """
    candidates = _candidates(rows, pictures_below(root, with_links=with_links))
    explained: dict[str, set[int]] = {}
    for text in candidates:
        paths = {number: path for number, row in enumerate(rows) if (path := ImageTemplate(text).path(row))}
        numbers = {number for number, path in paths.items() if (root / path).is_file()}
        if len({paths[number] for number in numbers}) >= LEAST_DISTINCT * max(1, len(numbers)):
            explained[text] = numbers
    chosen: list[str] = []
    left = set(range(len(rows)))
    while len(chosen) < MOST_TEMPLATES and left and explained:
        best = max(explained, key=lambda text: (len(explained[text] & left), *_plainness(text)))
        if not explained[best] & left:
            break
        chosen.append(best)
        left -= explained[best]
    if not chosen or len(left) > (1 - LEAST_SHARE) * len(rows):
        return None
    others = [text for text, numbers in explained.items() if text not in chosen and len(numbers) == len(rows)]
    return FoundTemplates(chosen, len(rows) - len(left), len(rows), sorted(others))


def _plainness(text: str) -> tuple[bool, int, int, int]:
    """Return what makes one of two equal templates the better: no thumbnails, few columns, few folders, few letters."""
    return "thumb" not in text.lower(), -text.count("{"), -text.count("/"), -len(text)


def _candidates(rows: Sequence[Row], pictures: Iterable[str]) -> list[str]:
    """Return the templates that most pictures speak for."""
    cells: dict[str, dict[str, int]] = defaultdict(dict)  # cell -> column -> the first row that has it
    for number, row in enumerate(rows):
        for column, cell in row.items():
            value = cell.strip()
            if value and len(value) <= LONGEST_CELL and column and not {*"{}:!"} & {*column}:
                cells[value].setdefault(column, number)
    votes: Counter[str] = Counter()
    for path in pictures:
        votes.update(set(_templates_of(path, cells, rows)))
    return [text for text, _ in votes.most_common(MOST_TRIED)]


def _templates_of(path: str, cells: Mapping[str, Mapping[str, int]], rows: Sequence[Row]) -> Iterator[str]:
    """Yield the templates by which a picture's path may have come from a cell."""
    *folders, name = path.split("/")
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    for column, number in cells.get(name, {}).items():
        yield from _with_folders(folders, f"{{{column}}}", rows[number], column)
    for start, end in {(0, len(stem)), *(match.span() for match in _WORDS.finditer(stem))}:
        before, word, after = stem[:start], stem[start:end], stem[end:]
        places = [(column, n, "") for column, n in cells.get(word, {}).items()]
        if word.isdecimal() and (short := word.lstrip("0")) != word:
            places += [(column, n, f":0>{len(word)}") for column, n in cells.get(short, {}).items()]
        for column, number, spec in places:
            last = f"{_literal(before)}{{{column}{spec}}}{_literal(after + suffix)}"
            yield from _with_folders(folders, last, rows[number], column)
    for place, folder in enumerate(folders):
        for column in cells.get(folder, {}):
            parts = [_literal(part) for part in [*folders, name]]
            parts[place] = f"{{{column}}}"
            yield "/".join(parts)


def _with_folders(folders: Sequence[str], last: str, row: Row, column: str) -> Iterator[str]:
    """Yield the template with its folders as they are, as other cells of the row, and as the first letters of this."""
    yield "/".join([*map(_literal, folders), last])
    varied = []
    for folder in folders:
        cell = row[column].strip()
        other = next((name for name, value in row.items() if value.strip() == folder and "{" not in name), None)
        if other is not None:
            varied.append(f"{{{other}}}")
        elif cell.startswith(folder) and folder != cell:
            varied.append(f"{{{column}:.{len(folder)}}}")
        else:
            varied.append(_literal(folder))
    yield "/".join([*varied, last])


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")

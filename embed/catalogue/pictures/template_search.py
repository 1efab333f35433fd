"""Which templates lead from a table's cells to the pictures beside it, where no column names them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from embed.catalogue.pictures.files import pictures_below
from embed.catalogue.pictures.image_template import ImageTemplate, literal, with_last_names
from embed.catalogue.pictures.picture_lists import is_picture_name, last_name, n_last_names_shared, split_pictures
from embed.catalogue.split_names import is_of_split

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


def find_templates(
    rows: Sequence[Row], root: Path, *, table_name: str = "", with_links: bool = False
) -> FoundTemplates | None:
    """Return the templates by which rows have pictures below `root`; None where there are none that explain them.

    Whatever part of a picture's path is a cell of a row makes a candidate: its name without suffix, a word in that, or
    a folder, and the last name of a URL or path that a cell holds. Candidates are then tried on all rows. A row is not
    explained by another picture than one that its cells name and that is there, in whatever folder. Of templates that
    explain as much one into a folder of the split that `table_name` says is the better. `with_links` follows links to
    folders.
    """
    pictures = list(pictures_below(root, with_links=with_links))
    named = _named(rows, pictures)
    explained: dict[str, set[int]] = {}
    led_to: dict[str, set[str]] = {}
    for text in sorted(_candidates(rows, pictures)):  # of equals the first, wherever the files stand on the disk
        template = ImageTemplate(text)
        paths = {
            number: path
            for number, row in enumerate(rows)
            if (path := template.path(row)) and (not named[number] or _stem(path) in named[number])
        }
        numbers = {number for number, path in paths.items() if (root / path).is_file()}
        led_to[text] = {paths[number] for number in numbers}
        if len(led_to[text]) >= LEAST_DISTINCT * max(1, len(numbers)):
            explained[text] = numbers
    chosen: list[str] = []
    left = set(range(len(rows)))
    while len(chosen) < MOST_TEMPLATES and left and explained:
        best = max(
            explained, key=lambda text: (len(explained[text] & left), *_plainness(text, table_name, list(rows[0])))
        )
        if not explained[best] & left:
            break
        chosen.append(best)
        left -= explained[best]
    if not chosen or len(left) > (1 - LEAST_SHARE) * len(rows):
        return None
    taken = set().union(*(led_to[text] for text in chosen))
    others = [text for text, numbers in explained.items() if len(numbers) == len(rows) and not led_to[text] <= taken]
    return FoundTemplates(chosen, len(rows) - len(left), len(rows), sorted(others))


def _plainness(text: str, table_name: str, columns: list[str]) -> tuple[bool, bool, int, int, int, int]:
    """Return what makes one of two equal templates the better.

    That is the table's split, or that of training; no thumbnails, few columns, few folders, a column that stands
    further ahead, few letters.
    """
    place = min(map(columns.index, ImageTemplate(text).columns))
    fits = is_of_split(text, table_name)
    return fits, "thumb" not in text.lower(), -text.count("{"), -text.count("/"), -place, -len(text)


def _named(rows: Sequence[Row], pictures: Iterable[str]) -> list[set[str]]:
    """Return the names without suffix of the pictures that each row's cells name, and that are there.

    A column counts if most of its names are there and differ: ``1.jpg`` under each product's URL names no picture.
    """
    those_there = {path.rpartition("/")[2].rpartition(".")[0].lower() for path in pictures}
    named: list[set[str]] = [set() for _ in rows]
    for column in dict.fromkeys(name for row in rows for name in row):
        stems = {
            number: {_stem(name) for name in split_pictures(cell) or [cell]}
            for number, row in enumerate(rows)
            if is_picture_name(cell := row.get(column, "").strip()) or split_pictures(cell)
        }
        here = {number: found for number, names in stems.items() if (found := names & those_there)}
        least = max(1.0, LEAST_DISTINCT * len(stems))
        if len(here) >= least and len(set(map(frozenset, here.values()))) >= LEAST_DISTINCT * len(here):
            for number, found in here.items():
                named[number] |= found
    return named


def _stem(path: str) -> str:
    return PurePosixPath(last_name(path)).stem.lower()


def _candidates(rows: Sequence[Row], pictures: Iterable[str]) -> list[str]:
    """Return the templates that most pictures speak for."""
    cells: dict[str, dict[str, int]] = defaultdict(dict)  # cell -> column -> the first row that has it
    last_names: dict[str, dict[str, int]] = defaultdict(dict)  # last name without suffix -> as above
    for number, row in enumerate(rows):
        for column, cell in row.items():
            value = cell.strip()
            if not value or not column or {*"{}:!"} & {*column}:
                continue
            if len(value) <= LONGEST_CELL:
                cells[value].setdefault(column, number)
            if (is_picture_name(value) or split_pictures(value)) and (name := last_name(value)) != value:
                last_names[PurePosixPath(name).stem].setdefault(column, number)
    votes: Counter[str] = Counter()
    for path in pictures:
        votes.update(set(_templates_of(path, cells, last_names, rows)))
    return [text for text, _ in votes.most_common(MOST_TRIED)]


def _templates_of(
    path: str,
    cells: Mapping[str, Mapping[str, int]],
    last_names: Mapping[str, Mapping[str, int]],
    rows: Sequence[Row],
) -> Iterator[str]:
    """Yield the templates by which a picture's path may have come from a cell."""
    *folders, name = path.split("/")
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    for column, number in cells.get(name, {}).items():
        yield from _with_folders(folders, f"{{{column}}}", rows[number], column)
    for column, number in last_names.get(stem, {}).items():
        n_shared = n_last_names_shared(rows[number][column], path)
        last = f"{{{column}:name}}" if n_shared else f"{{{column}:stem}}{literal(suffix)}"
        yield from _with_folders(folders, last, rows[number], column)
        if template := with_last_names(path, column, n_shared):
            yield template
    for start, end in {(0, len(stem)), *(match.span() for match in _WORDS.finditer(stem))}:
        before, word, after = stem[:start], stem[start:end], stem[end:]
        places = [(column, n, "") for column, n in cells.get(word, {}).items()]
        if word.isdecimal() and (short := word.lstrip("0")) != word:
            places += [(column, n, f":0>{len(word)}") for column, n in cells.get(short, {}).items()]
        for column, number, spec in places:
            last = f"{literal(before)}{{{column}{spec}}}{literal(after + suffix)}"
            yield from _with_folders(folders, last, rows[number], column)
    for place, folder in enumerate(folders):
        for column in cells.get(folder, {}):
            parts = [literal(part) for part in [*folders, name]]
            parts[place] = f"{{{column}}}"
            yield "/".join(parts)


def _with_folders(folders: Sequence[str], last: str, row: Row, column: str) -> Iterator[str]:
    """Yield the template with its folders as they are, as other cells of the row, and as the first letters of this."""
    yield "/".join([*map(literal, folders), last])
    varied = []
    for folder in folders:
        cell = row[column].strip()
        other = next((name for name, value in row.items() if value.strip() == folder and "{" not in name), None)
        if other is not None:
            varied.append(f"{{{other}}}")
        elif cell.startswith(folder) and folder != cell:
            varied.append(f"{{{column}:.{len(folder)}}}")
        else:
            varied.append(literal(folder))
    yield "/".join([*varied, last])

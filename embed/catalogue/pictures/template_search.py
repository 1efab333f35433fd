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

__all__ = ["TemplateExplanation", "find_templates"]

LEAST_SHARE = 0.95  # of the sampled rows must have their picture
LEAST_DISTINCT = 0.5  # of their pictures, else a column of few values found a banner
MOST_TEMPLATES = 4  # in turn
MOST_TRIED = 50
LONGEST_CELL = 120  # characters of a name

_WORDS = re.compile(r"[^\W_]+")

Row = Mapping[str, str]


@dataclass(frozen=True)
class TemplateExplanation:
    """Templates that together explain nearly all of the sampled rows, and rivals each of which does so alone."""

    templates: list[str]
    n_explained: int
    n_sampled: int
    rivals: list[str]


def find_templates(
    rows: Sequence[Row], root: Path, *, table_name: str = "", with_links: bool = False
) -> TemplateExplanation | None:
    """Return the templates by which rows have pictures below `root`; None where there are none that explain them.

    Whatever part of a picture's path is a cell of a row makes a candidate: its name without suffix, a word in that, or
    a folder, and the last name of a URL or path that a cell holds. Candidates are then tried on all rows. Where a row's
    cells name a picture that is there, in whatever folder, no other picture explains the row. Of templates that
    explain as much one into a folder of the split that `table_name` says is the better. `with_links` follows links to
    folders.
    """
    pictures = list(pictures_below(root, with_links=with_links))
    named_stems = _named_stems(rows, pictures)
    explained: dict[str, set[int]] = {}  # template -> rows
    targets: dict[str, set[str]] = {}  # template -> the pictures of these rows
    for text in sorted(_candidates(rows, pictures)):  # of equals the first, wherever the files stand on the disk
        template = ImageTemplate(text)
        paths = {}
        for number, (row, stems) in enumerate(zip(rows, named_stems, strict=True)):
            path = template.path(row)
            if path and (not stems or _stem(path) in stems) and (root / path).is_file():
                paths[number] = path
        targets[text] = set(paths.values())
        if len(targets[text]) >= LEAST_DISTINCT * max(1, len(paths)):
            explained[text] = set(paths)
    chosen: list[str] = []
    unexplained = set(range(len(rows)))
    while len(chosen) < MOST_TEMPLATES and unexplained and explained:
        ranks = {
            text: (len(numbers & unexplained), *_plainness(text, table_name, list(rows[0])))
            for text, numbers in explained.items()
        }
        best = max(ranks, key=ranks.__getitem__)
        if not explained[best] & unexplained:
            break
        chosen.append(best)
        unexplained -= explained[best]
    if not chosen or len(unexplained) > (1 - LEAST_SHARE) * len(rows):
        return None
    chosen_targets = set().union(*(targets[text] for text in chosen))
    rivals = [
        text for text, numbers in explained.items() if len(numbers) == len(rows) and not targets[text] <= chosen_targets
    ]
    return TemplateExplanation(chosen, len(rows) - len(unexplained), len(rows), sorted(rivals))


def _plainness(text: str, table_name: str, columns: list[str]) -> tuple[bool, bool, int, int, int, int]:
    """Return what makes one of two equal templates the better.

    That is the table's split, or that of training; no thumbnails, few columns, few folders, a column that stands
    further ahead, few letters.
    """
    column_position = min(map(columns.index, ImageTemplate(text).columns))
    fits = is_of_split(text, table_name)
    return fits, "thumb" not in text.lower(), -text.count("{"), -text.count("/"), -column_position, -len(text)


def _named_stems(rows: Sequence[Row], pictures: Iterable[str]) -> list[set[str]]:
    """Return the names without suffix of the pictures that each row's cells name, and that are there.

    A column counts if most of its names are there and differ: ``1.jpg`` under each product's URL names no picture.
    """
    picture_stems = {path.rpartition("/")[2].rpartition(".")[0].lower() for path in pictures}
    named: list[set[str]] = [set() for _ in rows]
    for column in dict.fromkeys(name for row in rows for name in row):
        n_naming = 0
        existing: dict[int, frozenset[str]] = {}  # row -> the stems of its cell that a picture has
        for number, row in enumerate(rows):
            cell = row.get(column, "").strip()
            listed = split_pictures(cell)
            if not listed and not is_picture_name(cell):
                continue
            n_naming += 1
            if stems := picture_stems.intersection(map(_stem, listed or [cell])):
                existing[number] = frozenset(stems)
        n_distinct = len(set(existing.values()))
        if len(existing) >= max(1.0, LEAST_DISTINCT * n_naming) and n_distinct >= LEAST_DISTINCT * len(existing):
            for number, existing_stems in existing.items():
                named[number] |= existing_stems
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
    """Yield the templates by which a picture's path may have come from a cell.

    Args:
        path: the picture's.
        cells: of each cell its columns, and of each of these the first row that has it.
        last_names: likewise of the last names, without suffix, of the URLs and paths in cells.
        rows: that the numbers in both are of.
    """
    *folders, name = path.split("/")
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    for column, number in cells.get(name, {}).items():
        yield from _with_folders(folders, f"{{{column}}}", rows[number], column)
    for column, number in last_names.get(stem, {}).items():
        n_shared = n_last_names_shared(rows[number][column], path)
        name_template = f"{{{column}:name}}" if n_shared else f"{{{column}:stem}}{literal(suffix)}"
        yield from _with_folders(folders, name_template, rows[number], column)
        if template := with_last_names(path, column, n_shared):
            yield template
    for start, end in {(0, len(stem)), *(match.span() for match in _WORDS.finditer(stem))}:
        before, word, after = stem[:start], stem[start:end], stem[end:]
        sources = [(column, number, "") for column, number in cells.get(word, {}).items()]
        if word.isdecimal() and (short := word.lstrip("0")) != word:
            sources += [(column, number, f":0>{len(word)}") for column, number in cells.get(short, {}).items()]
        for column, number, spec in sources:
            name_template = f"{literal(before)}{{{column}{spec}}}{literal(after + suffix)}"
            yield from _with_folders(folders, name_template, rows[number], column)
    for depth, folder in enumerate(folders):
        for column in cells.get(folder, {}):
            parts = [literal(part) for part in [*folders, name]]
            parts[depth] = f"{{{column}}}"
            yield "/".join(parts)


def _with_folders(folders: Sequence[str], name_template: str, row: Row, column: str) -> Iterator[str]:
    """Yield a name's template with folders as they are, and as other cells of the row or the first letters of its cell.

    The name is made of the row's cell in `column`.
    """
    yield "/".join([*map(literal, folders), name_template])
    cell = row[column].strip()
    folder_templates = []
    for folder in folders:
        folder_column = next((name for name, value in row.items() if value.strip() == folder and "{" not in name), None)
        if folder_column is not None:
            folder_templates.append(f"{{{folder_column}}}")
        elif cell.startswith(folder) and folder != cell:
            folder_templates.append(f"{{{column}:.{len(folder)}}}")
        else:
            folder_templates.append(literal(folder))
    yield "/".join([*folder_templates, name_template])

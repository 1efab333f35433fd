"""Notes on the names of classes that ask for a look: alike, words for nothing, paths, several names in one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from keyword import iskeyword

from cache.columns.column_types import is_missing
from cache.columns.label_hints import alike_in_words, look_alike, several_sentence
from cache.columns.label_levels import PATHS_ARE, is_path_or_list, label_levels, levels_sentence, names_below_several

__all__ = [
    "alike_notes",
    "level_notes",
    "name_notes",
    "nothing_note",
    "several_notes",
    "some_names",
    "words_for_nothing",
]


def name_notes(
    column: str, counts: Mapping[str, int], *, classes: Sequence[str], catalogue: Collection[str], level: int | None
) -> list[str]:
    """Return notes on the names of labels, {label: its rows}, of which the `classes` are learned.

    `catalogue` are the labels that the catalogue has, at the `level`; others are of corrections.
    """
    notes = alike_notes(counts)
    if not (words := words_for_nothing(classes)):
        return notes
    note = nothing_note(words, counts)
    written, given = ([word for word in words if (word in catalogue) == is_written] for is_written in (True, False))
    if written and level is None:
        where = " and ".join(f"{_quoted(column)} != {word!r}" for word in written)
        note += f' embed-extract --where "{where}" leaves such rows out, and encodes nothing anew.'
    if given:
        note += f" An empty cell in the corrections, in place of {some_names(given)}, gives no label."
    return [*notes, note]


def several_notes(column: str, counts: Mapping[str, int]) -> list[str]:
    """Return a note where most labels are paths or lists, or many name several labels at once."""
    sentence = levels_sentence(column, counts.items()) or several_sentence(column, counts)
    return [sentence] if sentence else []


def alike_notes(names: Collection[str]) -> list[str]:
    """Return a note on labels that differ in what hardly matters, where there are such."""
    if not (alike := look_alike(names)):
        return []
    return [
        f"{len(alike)} {'group' if len(alike) == 1 else 'groups'} of labels differ in letter case or in signs that "
        f"look alike alone, or are one number ({alike_in_words(alike)}): each is taken for itself. Write them alike in "
        "the catalogue, or in a file of --corrections."
    ]


def words_for_nothing(names: Iterable[str]) -> list[str]:
    """Return the labels that say nothing; an empty list does, too."""
    return [name for name in names if is_missing(name, "number") or not label_levels(name)]


def nothing_note(words: Sequence[str], counts: Mapping[str, int]) -> str:
    """Return a sentence on labels that say nothing."""
    n_rows = sum(counts[word] for word in words)
    return (
        f"{n_rows} {'row has' if n_rows == 1 else 'rows have'} a word for nothing as the label "
        f"({some_names(words)}), which is learnt as a class."
    )


def level_notes(column: str, cells: Sequence[str], level: int, classes: Collection[str]) -> list[str]:
    """Return a note where none of the cells is a path, or a class is of several branches."""
    if not any(map(is_path_or_list, set(cells))):
        example = next((cell for cell in cells if cell.strip()), "none")
        return [
            f"No label of {column} is a path or a list ({example}): --label-level {level} has nothing to choose "
            f"from. {PATHS_ARE}"
        ]
    below = {name: above for name, above in names_below_several(cells, level).items() if name in classes}
    if not below:
        return []
    name, above = next(iter(below.items()))
    is_one = len(below) == 1
    return [
        f"{len(below)} {'class stands' if is_one else 'classes stand'} below several names ({name} below "
        f"{some_names(above)}), and {'is' if is_one else 'each is'} one class: --label-level {level} looks at no other "
        "level."
    ]


def some_names(names: Sequence[str]) -> str:
    """Return the first names, with commas, and whether there are more."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _quoted(column: str) -> str:
    return column if column.isidentifier() and not iskeyword(column) else f"`{column}`"

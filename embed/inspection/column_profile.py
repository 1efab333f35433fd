"""Columns, one by one: what they seem to hold, what is missing, and what looks like a slip."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cache.columns.column_types import LONGEST_MISSING_WORD, is_missing
from cache.columns.label_hints import look_alike
from cache.columns.labels import clean_label
from embed.inspection.cell_kind import kind_of

__all__ = ["MOST_DISTINCT", "ColumnCounter", "ColumnProfile", "is_mojibake"]

MOST_DISTINCT = 100_000  # values a column; of those with more it is only known that they have more
MOST_CHARACTERS = 64 * 2**20  # of these values together
N_COMMON = 5
MOST_VARIANTS = 100  # groups of values that differ in case or blanks alone

_SURROGATES = re.compile("[\ud800-\udfff]")
# Windows-1252 has letters where Latin-1 has controls, for most of these bytes.
_LATIN_1 = {ord(letter): byte for byte in range(0x80, 0xA0) if (letter := bytes([byte]).decode("cp1252", "ignore"))}


@dataclass(frozen=True)
class ColumnProfile:
    """What is known of one column; cells are counted as they are written."""

    name: str
    role: str  # id, image, text, label, or none
    kind: str  # one of `embed.inspection.cell_kind.KINDS`, or picture
    n_rows: int
    n_distinct: int  # cells that are not empty
    is_capped: bool  # there are more than `n_distinct`
    n_empty: int  # nothing, or blanks alone
    n_missing_words: int  # cells such as NaN or null, which are text here
    missing_words: list[str]
    n_padded: int  # cells with blanks before or after
    n_not_unicode: int
    n_mojibake: int  # cells that seem to be read in the wrong encoding
    example: str
    padded_example: str
    mojibake_example: str
    common: list[tuple[str, int]]  # the commonest values and their rows; none where it is capped
    variants: list[
        list[tuple[str, int]]
    ]  # of a categorical column: values that differ in case or blanks alone, or are one number
    n_variants: int  # groups of those


class ColumnCounter:
    """Counts a column's cells.

    It keeps up to `MOST_DISTINCT` distinct values of `MOST_CHARACTERS` in all (and those of one batch more); once there
    are more, it guesses what they are and drops them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.n_rows = self.n_empty = self.n_padded = self.n_not_unicode = self.n_mojibake = 0
        self.missing_words: Counter[str] = Counter()
        self.example = self.padded_example = self.mojibake_example = ""
        self.counts: Counter[str] | None = Counter()  # None: there were too many
        self.kind = ""
        self.n_dropped = 0  # at least so many values there were when they were dropped
        self._n_characters = 0

    def add(self, cells: Sequence[str]) -> None:
        """Count the next cells."""
        fresh = Counter(cells)
        self.n_rows += len(cells)
        self._check(fresh)
        if self.counts is None:
            return
        self._n_characters += sum(len(cell) for cell in fresh if cell not in self.counts)
        self.counts.update(fresh)
        if len(self.counts) > MOST_DISTINCT or self._n_characters > MOST_CHARACTERS:
            self.kind = kind_of(self.counts)
            n_filled = sum(bool(cell.strip()) for cell in self.counts)
            self.n_dropped = max(0, min(MOST_DISTINCT, n_filled - 1))
            self.counts = None

    def profile(self, role: str) -> ColumnProfile:
        """Return what was found; `role` is what the column serves for."""
        counts = Counter() if self.counts is None else self.counts
        filled = Counter({cell: n for cell, n in counts.items() if cell.strip()})
        kind = "picture" if role == "image" else self.kind or kind_of(counts)
        labels: Counter[str] = Counter()  # blanks of which are no matter, as in training
        for cell, n in filled.items() if role == "label" else ():
            labels[clean_label(cell)] += n
        variants = _variants(labels or filled) if kind in ("categorical", "boolean") or role == "label" else []
        return ColumnProfile(
            name=self.name,
            role=role,
            kind=kind,
            n_rows=self.n_rows,
            n_distinct=self.n_dropped if self.counts is None else len(filled),
            is_capped=self.counts is None,
            n_empty=self.n_empty,
            n_missing_words=self.missing_words.total(),
            missing_words=sorted(self.missing_words),
            n_padded=self.n_padded,
            n_not_unicode=self.n_not_unicode,
            n_mojibake=self.n_mojibake,
            example=self.example,
            padded_example=self.padded_example,
            mojibake_example=self.mojibake_example,
            common=filled.most_common(N_COMMON),
            variants=variants[:MOST_VARIANTS],
            n_variants=len(variants),
        )

    def _check(self, fresh: Mapping[str, int]) -> None:
        """Count the cells of a batch, by distinct value, that are empty or look like a slip."""
        padded = {cell: n for cell, n in fresh.items() if cell != cell.strip()}
        blank = {cell: n for cell, n in padded.items() if not cell.strip()}
        self.n_empty += fresh.get("", 0) + sum(blank.values())
        self.n_padded += sum(padded.values()) - sum(blank.values())
        self.padded_example = self.padded_example or next((cell for cell in padded if cell not in blank), "")
        short = [cell for cell in fresh if len(cell) <= LONGEST_MISSING_WORD]
        self.missing_words.update({cell: fresh[cell] for cell in short if cell.strip() and is_missing(cell, "number")})
        if is_missing(self.example, "number"):
            self.example = next((cell for cell in fresh if not is_missing(cell, "number")), self.example)
            self.example = self.example or next((cell for cell in fresh if cell.strip()), "")
        if "".join(fresh).isascii():
            return
        for cell, n in fresh.items():
            if cell.isascii():
                continue
            if _SURROGATES.search(cell):
                self.n_not_unicode += n
            elif is_mojibake(cell):
                self.n_mojibake += n
                self.mojibake_example = self.mojibake_example or cell


def is_mojibake(cell: str) -> bool:
    """Return whether a cell seems to be UTF-8 that was read as Latin-1 or Windows-1252, or has lost characters.

    >>> is_mojibake("cafÃ©"), is_mojibake("café"), is_mojibake("caf\N{REPLACEMENT CHARACTER}")
    (True, False, True)
    """
    if "\N{REPLACEMENT CHARACTER}" in cell:
        return True
    try:
        return cell.translate(_LATIN_1).encode("latin-1").decode("utf-8") != cell
    except UnicodeError:
        return False


def _variants(counts: Mapping[str, int]) -> list[list[tuple[str, int]]]:
    """Return the groups of values that differ in case or blanks alone or are one number, those of most rows first."""
    groups = [[(cell, counts[cell]) for cell in group] for group in look_alike(counts)]
    several = [sorted(group, key=lambda pair: (-pair[1], pair[0])) for group in groups]
    return sorted(several, key=lambda group: (-sum(n for _, n in group), group[0][0]))

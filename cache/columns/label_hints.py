"""Labels that look like one another, and columns that may hold labels."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import islice

from cache.columns.column_types import is_missing
from cache.columns.labels import clean_label

__all__ = ["alike_in_words", "choice_sentence", "label_candidates", "look_alike", "several_sentence"]

MOST_CANDIDATES = 4
MOST_ROWS = 10_000  # that are looked at for candidates
LONGEST_LABEL = 60  # letters, on average

LIST_MARKS = (";", ",")
LISTED_SHARE = 0.05  # of the rows, from which on it is told that labels name several
MOVABLE_SHARE = 0.5  # of these, in which names are no parts with a place each

_WHOLE_NUMBER = re.compile(r"[0-9]{1,15}(\.0+)?")
_PLAIN_SIGNS = str.maketrans(
    dict.fromkeys("\u2018\u2019\u02bc\u00b4`", "'")
    | dict.fromkeys("\u201c\u201d", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
)


def look_alike(labels: Iterable[str]) -> list[list[str]]:
    r"""Return the groups of labels that differ in letter case, blanks or signs alone, or are one whole number.

    Signs are invisible characters, kinds of dashes, quotation marks and apostrophes, and wide letters.

    >>> look_alike(["Mug", "lamp", "mug", "1", "1.0", "01", "10"])
    [['Mug', 'mug'], ['1', '1.0', '01']]
    >>> look_alike(["Men's", "Men\u2019s", "Plate", "Pl\u200bate"])
    [["Men's", 'Men\u2019s'], ['Plate', 'Pl\u200bate']]
    """
    groups: dict[Hashable, list[str]] = {}
    for label in labels:
        plain = clean_label(label).casefold()
        if not plain.isascii():
            signs = unicodedata.normalize("NFKC", plain).translate(_PLAIN_SIGNS)
            plain = clean_label("".join(sign for sign in signs if unicodedata.category(sign) != "Cf")).casefold()
        groups.setdefault(float(plain) if _WHOLE_NUMBER.fullmatch(plain) else plain, []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def alike_in_words(groups: Sequence[Sequence[str]]) -> str:
    r"""Return the first groups of labels that look alike in words, with invisible characters written out.

    >>> print(alike_in_words([["Plate", "Pl\u200bate"], ["1", "1.0"], ["Mug", "mug"]]))
    'Plate' = 'Pl\u200bate'; '1' = '1.0'; …
    """
    shown_groups = [" = ".join(map(repr, group)) for group in groups[:2]]
    return "; ".join([*shown_groups, "…"] if len(groups) > 2 else shown_groups)


def label_candidates(columns: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """Return the first columns whose cells may be labels: two values or more, short, of two rows each on average.

    Only the first `MOST_ROWS` rows are looked at, and no columns after the `MOST_CANDIDATES` that are returned.

    >>> label_candidates([("id", ["1", "2", "3", "4"]), ("kind", ["mug", "mug", "lamp", "lamp"])])
    ['kind']
    """
    return list(islice((name for name, cells in columns if _may_be_labels(cells[:MOST_ROWS])), MOST_CANDIDATES))


def choice_sentence(column: str, n_filled: Mapping[str, int]) -> str:
    """Return a sentence on the choice of `column` among columns that may be the label; "" where it is the obvious one.

    It is where it has the most telling name and is at least half as full as the fullest. `n_filled` is the number of
    rows that have a label by column, the most telling name first.

    >>> choice_sentence("category", {"category": 24, "product_type": 60})
    'category is taken for the label (24 rows have one); so might be product_type (60): --label names it.'
    >>> choice_sentence("category", {"category": 40, "product_type": 60})
    ''
    >>> choice_sentence("category", {"label": 0, "category": 60})
    ''
    """
    is_first_and_full = next(iter(n_filled), None) == column and 2 * n_filled[column] >= max(n_filled.values())
    if column not in n_filled or is_first_and_full:
        return ""
    others = ", ".join(f"{name} ({n:,})" for name, n in n_filled.items() if name != column and n)
    if not others:
        return ""
    return (
        f"{column} is taken for the label ({n_filled[column]:,} rows have one); so might be {others}: --label names it."
    )


def several_sentence(column: str, counts: Mapping[str, int]) -> str:
    """Return a sentence on labels that name several of a column's labels at once; "" where few rows have such.

    A name counts where it is in two labels or more, so that ``Home, Garden and Pets`` is one. Where names have their
    places, as in ``Doe, Jane``, they are parts of one: in half of the rows some name is to be a label by itself, too,
    or at another place elsewhere.

    >>> several_sentence("colour", {"red": 5, "blue": 4, "red; blue": 2}).partition(" of colour")[0]
    '2 of 11 rows name several labels'
    >>> several_sentence("kind", {"Pots, Pans": 5, "Mugs": 4})
    ''
    >>> several_sentence("author", {"Doe, Jane": 5, "Doe, John": 4, "Roe, Jane": 3, "Roe, John": 2})
    ''
    """
    listed: dict[str, list[str]] = {}
    for label in counts:
        if mark := next((mark for mark in LIST_MARKS if mark in label), None):
            listed[label] = [name for name in map(clean_label, label.split(mark)) if name]
    n_labels = Counter(name for label in counts for name in set(listed.get(label, [label])))
    n_places = Counter(name for name, _ in {pair for label in counts for pair in _places(listed.get(label, [label]))})
    several = [
        label
        for label, names in listed.items()
        if len(names) > 1 and all(n_labels[name] > 1 and any(map(str.isalpha, name)) for name in names)
    ]
    n_listed, n_rows = sum(counts[label] for label in several), sum(counts.values())
    n_movable = sum(counts[label] for label in several if any(n_places[name] > 1 for name in listed[label]))
    if not several or n_listed < LISTED_SHARE * n_rows or n_movable < MOVABLE_SHARE * n_listed:
        return ""
    example = max(several, key=counts.__getitem__)
    return (
        f"{n_listed:,} of {n_rows:,} rows name several labels of {column} at once ({example}), and are "
        "learnt as classes of their own: a head gives a product one label. Write one into each cell, in the catalogue "
        "or in a file of --corrections."
    )


def _places(names: Sequence[str]) -> Iterable[tuple[str, int]]:
    """Return names with the place of each in a list; -1 is that of a label by itself."""
    return zip(names, range(len(names)) if len(names) > 1 else [-1], strict=True)


def _may_be_labels(cells: Sequence[str]) -> bool:
    counts = Counter(cell for cell in map(clean_label, cells) if not is_missing(cell, "number"))
    n_rows = counts.total()
    return 2 <= len(counts) <= n_rows / 2 and sum(len(cell) * n for cell, n in counts.items()) <= LONGEST_LABEL * n_rows

"""What an audit finds wrong with a product or with classes, and the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["KINDS", "Finding", "Votes"]

KINDS = {  # kind -> what such findings are, in the order in which they are told
    "label": "labels that the heads doubt",
    "copy": "copies and near copies with different labels",
    "disagreement": "products whose modalities say different classes",
    "outlier": "products unlike all others",
    "placeholder": "contents that say nothing of a product",
    "merge": "classes that are taken for each other",
    "split": "classes of two kinds",
}


@dataclass(frozen=True)
class Votes:
    """How many of the nearest rows in one modality have the given label, how many the suggested one, and which."""

    n_given: int
    n_suggested: int | None  # None: none is suggested
    nearest: Sequence[int]  # rows, the nearest first


@dataclass(frozen=True)
class Finding:
    """Something for a person to look at; scores order the findings of one kind, the highest first."""

    kind: str
    score: float
    words: str
    row: int | None = None  # of the catalogue; None: it is about classes
    given: str = ""  # the label that the product has, or the class that it is about
    suggested: str = ""  # the label that it may have; or the other class
    given_probability: float | None = None  # out of fold
    suggested_probability: float | None = None
    votes: Mapping[str, Votes] = field(default_factory=dict)  # by modality
    others: Sequence[int] = ()  # rows to compare with
    modality: str = ""  # by which they were found; "" for all

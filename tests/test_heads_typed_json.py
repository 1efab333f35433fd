"""What JSON says is held against types before anything is made of it, and comes back as it was."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heads.typed_json import to_plain, typed


@dataclass(frozen=True)
class Part:
    name: str
    share: float | None = None


@dataclass(frozen=True)
class Whole:
    path: Path
    parts: list[Part]
    pairs: tuple[tuple[str, int], ...] = ()
    best: Part | None = None
    is_done: bool = False
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)


PLAIN = {"path": "a/b", "parts": [{"name": "c"}]}


def test_what_was_made_plain_is_made_again():
    whole = Whole(
        Path("a/b"),
        [Part("c"), Part("d", 0.5)],
        (("e", np.int64(1)), ("f", 2)),
        Part("g", np.float64(1)),
        is_done=True,
        scores={"h": {"i": 0.25, "j": 1}},
        anything={"k": [None, "l"]},
    )
    assert typed(Whole, json.loads(json.dumps(to_plain(whole))), where="it") == whole
    assert typed(Whole, PLAIN, where="it") == Whole(Path("a/b"), [Part("c")])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"path": 1}, "path of it is '1', where"),
        ({"parts": {}}, "parts of it is"),
        ({"parts": ["c"]}, "parts of it is no JSON object"),
        ({"parts": [{}]}, "parts of it lacks name"),
        ({"parts": [{"name": "c", "more": 1}]}, "parts of it has 'more'"),
        ({"parts": [{"name": "c", "share": True}]}, "share of parts of it is 'True'"),
        ({"pairs": [["e"]]}, "pairs of it"),
        ({"pairs": [["e", 1.5]]}, "pairs of it"),
        ({"best": {"name": 1}}, "best of it"),
        ({"is_done": 1}, "is_done of it"),
        ({"scores": {"h": 1}}, "scores of it"),
        ({"scores": {"h": {"i": "1"}}}, "scores of it"),
        ({"anything": []}, "anything of it"),
    ],
)
def test_what_is_of_another_type_is_named(change, said):
    with pytest.raises(ValueError, match=said):
        typed(Whole, {**PLAIN, **change}, where="it")

"""The tables of docs/performance.md on what each head is worth: their gains over one head, and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from page_tables import about, table
from paired_interval import interval

__all__ = ["few_labels", "few_labels_against_stack", "few_labels_cost"]

TEXT, STACK = "text", "stack"
SHARED = 1 / 4  # the rows of a fold to those of the others; drawn problems share none


def few_labels(results: dict[str, Any]) -> list[str]:
    """Return the macro-F1 of text alone, and by how much other heads are better."""
    return _differences(results, TEXT)


def few_labels_against_stack(results: dict[str, Any]) -> list[str]:
    """Return the macro-F1 of `stack`, and by how much other heads are better."""
    return _differences(results, STACK)


def few_labels_cost(results: dict[str, Any]) -> list[str]:
    """Return the seconds of CPU of one fit with its answers."""
    return _rows(results, lambda cell, head: f"{np.mean(cell['heads'][head]['seconds']):.1f}", _heads(results), "")


def _heads(results: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(head for cell in results["cells"] for head in cell["heads"]))


def _differences(results: dict[str, Any], against: str) -> list[str]:
    def shown_gain(cell: dict[str, Any], head: str) -> str:
        mine, theirs = (np.array(cell["heads"][name]["macro_f1"]) for name in (head, against))
        if head == against:
            return f"{mine.mean():.1f}"
        n = min(len(mine), len(theirs))
        wide, gain = interval(mine[:n] - theirs[:n], test_to_train=0.0 if cell["is_drawn"] else SHARED)
        shown = f"{gain:+.1f} ± {wide:.1f}".replace("+0.0 ± 0.0", "0")
        return f"**{shown}**" if abs(gain) > wide > 0 else shown

    heads = [against, *(head for head in _heads(results) if head != against)]
    return _rows(results, shown_gain, heads, "; ± half a 95 % interval, bold where it leaves out zero")


def _rows(
    results: dict[str, Any], shown: Callable[[dict[str, Any], str], str], heads: list[str], more: str
) -> list[str]:
    rows = []
    for cell in results["cells"]:
        n_results = sorted({len(lists["macro_f1"]) for lists in cell["heads"].values()}, reverse=True)
        name = [cell["problem"], str(cell["per_class"]), str(cell["classes"]), "/".join(map(str, n_results))]
        rows.append([*name, *(shown(cell, head) if head in cell["heads"] else "not run" for head in heads)])
    header = ["problem", "labels a class", "classes", "results", *heads]
    return table(header, rows, about(results, results["busy"] + more))

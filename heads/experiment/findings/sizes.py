"""Sizes of one head side by side: does it run, can it memorise, does it generalise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cache.shares import percent
from heads.experiment.trained_heads import SIDES, Roster
from heads.metrics.overfitting import GAP
from heads.metrics.registry import measure

__all__ = ["SizeFinding", "compare_sizes", "head_in_words"]

BY_HEART = 0.99  # of the training rows

HeadFacts = Mapping[str, Any]  # of a head: its scores on each side, its history


@dataclass(frozen=True)
class SizeFinding:
    """What came of one size."""

    name: str
    head: str  # that the sentence is about, the same for all sizes
    sentence: str  # the answer to the question that the size is for
    heads: dict[str, dict]  # head -> its scores on each side, its history, the epoch that is kept, its seconds


def compare_sizes(roster: Roster) -> list[SizeFinding]:
    """Return what came of each size, with the scores of all its heads.

    The sentences are about the head that is trained by steps and has the best macro-F1 on the validation rows in the
    size of the run.
    """
    if not roster.sized:
        return []
    facts_by_size = {
        size: {name: _head_facts(roster, name, size) for name in trained} for size, trained in roster.sized.items()
    }
    targets = roster.problem.labels.targets[roster.split.train]
    commonest = float(np.bincount(targets).max() / len(targets))
    named = max(
        (name for name in roster.singles + roster.fusions if roster.trained[name].history),
        key=lambda name: roster.scores(name, "validation")["macro_f1"],
    )
    return [
        SizeFinding(size, named, _ANSWERS[size](named, facts[named], commonest), facts)
        for size, facts in facts_by_size.items()
    ]


def head_in_words(findings: Sequence[SizeFinding]) -> str:
    """Return which head the sentences are about, and why that one."""
    return (
        f"Sizes, by {findings[0].head}: of the heads that are trained by steps it has the best macro-F1 on the "
        "validation rows."
    )


def _head_facts(roster: Roster, name: str, size: str) -> dict:
    trained, labels = roster.sized[size][name], roster.problem.labels
    scores = {
        side: measure(trained.answers[side], labels.targets[getattr(roster.split, side)], len(labels.classes))
        for side in SIDES
    }
    return {**scores, "history": trained.history, "best_epoch": trained.best_epoch, "fit_s": trained.elapsed_s}


def _whether_it_runs(name: str, facts: HeadFacts, commonest: float) -> str:
    losses = [epoch["train_loss"] for epoch in facts["history"]]
    accuracy = facts["train"]["accuracy"]
    runs = accuracy > commonest and (losses[-1] < losses[0] or len(losses) == 1)
    return (
        f"small {'runs' if runs else 'does not run'}: in {_epochs(facts)} the training loss of {name} went from "
        f"{losses[0]:.2f} to {losses[-1]:.2f}, and {percent(accuracy)} % of the training rows are right, where the "
        f"commonest class is {percent(commonest)} %."
    )


def _whether_it_memorises(name: str, facts: HeadFacts, _commonest: float) -> str:
    accuracy = facts["train"]["accuracy"]
    does = accuracy >= BY_HEART
    more = "" if does else " More --hidden-dim or --max-epochs may help, unless labels contradict each other."
    return (
        f"large {'memorises' if does else 'does not memorise'}: {name} has {percent(accuracy)} % of the training rows "
        f"right after {_epochs(facts)}.{more}"
    )


def _whether_it_generalises(name: str, facts: HeadFacts, commonest: float) -> str:
    train, test = facts["train"]["accuracy"], facts["test"]["accuracy"]
    does = train - test <= GAP
    verdict = "generalises" if does else "does not generalise"
    if test <= commonest:
        verdict = f"learns nothing that the commonest class, {percent(commonest)} %, does not say"
    return (
        f"regularised {verdict}: {name} has {percent(train)} % of the "
        f"training rows and {percent(test)} % of the test rows right, a gap of {100 * (train - test):.1f} points"
        f"{'' if does else f', which is more than {100 * GAP:.0f}'}."
    )


def _epochs(facts: HeadFacts) -> str:
    n_epochs = len(facts["history"])
    return f"{n_epochs} epoch{'s' if n_epochs > 1 else ''}"


_ANSWERS: Mapping[str, Callable[[str, HeadFacts, float], str]] = {  # to the questions of `heads.settings.SIZES`
    "small": _whether_it_runs,
    "large": _whether_it_memorises,
    "regularised": _whether_it_generalises,
}

"""A guarded fusion beside each, no worse than the best single head on the validation rows."""

from __future__ import annotations

import logging
import time
from copy import deepcopy
from dataclasses import replace

import torch

from heads.data.draws import generator_of
from heads.experiment.results import Trained
from heads.experiment.trained_heads import SIDES, Roster
from heads.head_types import head_type
from heads.modules.guard import GUARD, Guarded, fit_guard

__all__ = ["add_guards"]

log = logging.getLogger("embed_once")


def add_guards(roster: Roster, *, seed: int) -> None:
    """Put a guarded fusion beside each that is not fitted at once."""
    heads, vectors = roster.heads, roster.vectors
    validation = roster.single_answers("validation")
    singles = {name: heads[name].module for name in roster.singles}
    for name in [name for name in roster.fusions if not head_type(name).at_once]:
        started = time.monotonic()
        fusion = deepcopy(heads[name].module)  # late is made of the singles, and no two tensors may be one
        guarded = Guarded(fusion, singles).eval()
        what = fit_guard(
            guarded,
            {one: roster.trained[one].log_probabilities["validation"] for one in (name, *singles)},
            validation.present,
            validation.targets,
            fusion=name,
            best=roster.best_single,
            groups=validation.groups,
            generator=generator_of(seed, "guards"),
        )
        if what.startswith("single"):
            log.info(
                "%s%s answers as %s alone does: on the validation rows %s is no better.",
                name, GUARD, roster.best_single, name,
            )  # fmt: skip
        width = heads[roster.best_single].description.hidden_dim  # a user's own class says nothing of it
        description = replace(heads[name].description, name=name + GUARD, hidden_dim=width)
        answers = {}
        for side in SIDES:
            rows = torch.from_numpy(getattr(roster.split, side))
            parts = [roster.trained[one].log_probabilities[side] for one in (name, *guarded.singles)]
            answers[side] = guarded.average_all(parts, {one: mask[rows] for one, mask in vectors.present.items()})
        roster.trained[name + GUARD] = Trained(
            replace(heads[name], description=description, module=guarded),
            answers,
            roster.trained[name].elapsed_s + time.monotonic() - started,
        )

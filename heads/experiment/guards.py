"""A guarded fusion beside each, no worse than the best single head on the validation rows."""

from __future__ import annotations

import logging
import time
from copy import deepcopy
from dataclasses import replace

from heads.data.draws import generator_of
from heads.experiment.results import Trained
from heads.experiment.trained_heads import Roster
from heads.head_types import head_type
from heads.modules.guard import GUARD, Guarded, fit_guard

__all__ = ["add_guards"]

log = logging.getLogger("embed_once")


def add_guards(roster: Roster, *, seed: int) -> None:
    """Put a guarded fusion beside each that is not fitted at once."""
    heads = roster.heads
    validation = roster.whole_answers(roster.singles, "validation")
    singles = {name: heads[name].module for name in roster.singles}
    for name in [name for name in roster.fusions if not head_type(name).at_once]:
        started = time.monotonic()
        fusion = deepcopy(heads[name].module)  # late is made of the singles, and no two tensors may be one
        guarded = Guarded(fusion, singles).eval()
        outcome = fit_guard(
            guarded,
            {**validation.log_probabilities, **roster.whole_answers([name], "validation").log_probabilities},
            validation.present,
            validation.targets,
            fusion=name,
            best=roster.best_single,
            groups=validation.groups,
            generator=generator_of(seed, "guards"),
        )
        if outcome.startswith("single"):
            log.info(
                "%s%s answers as %s alone does: on the validation rows %s is no better.",
                name, GUARD, roster.best_single, name,
            )  # fmt: skip
        width = heads[roster.best_single].description.hidden_dim  # a user's own class says nothing of it
        description = replace(heads[name].description, name=name + GUARD, hidden_dim=width)
        head = replace(heads[name], description=description, module=guarded)
        roster.trained[name + GUARD] = Trained(
            head,
            roster.answers(head),
            roster.trained[name].elapsed_s + time.monotonic() - started,
        )
    roster.inputs.forget()

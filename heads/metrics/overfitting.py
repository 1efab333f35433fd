"""Signs that a head learned its training rows by heart, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cache.shares import percent

__all__ = ["GAP", "OVERFIT_RULE", "warn_of_overfit"]

GAP = 0.10  # of accuracy
RISE = 0.10  # of the validation loss's lowest value
LEAST_RISE = 0.02  # nats: a tenth of next to nothing is nothing

OVERFIT_RULE = (
    f"A warning stands where the accuracy on the training rows is more than {100 * GAP:.0f} points above that on the "
    f"validation rows, or where the validation loss of the last epoch is more than {100 * RISE:.0f} % (and "
    f"{LEAST_RISE} nats) above its lowest."
)


def warn_of_overfit(name: str, card: Mapping[str, Any]) -> list[str]:
    """Return what speaks for overfitting in a head's scores and history (see `OVERFIT_RULE`); empty where nothing does.

    The `card` has the accuracies of ``train`` and ``validation``, the ``history`` and the ``best_epoch``, whose weights
    are kept; a head that is fitted at once has no history.
    """
    warnings = []
    train, validation = card["train"]["accuracy"], card["validation"]["accuracy"]
    if train - validation > GAP:
        warnings.append(
            f"{name}: the accuracy on the training rows ({percent(train)}) is {100 * (train - validation):.1f} points "
            f"above that on the validation rows ({percent(validation)})."
        )
    losses = [epoch["validation_loss"] for epoch in card["history"]]
    if losses and losses[-1] - min(losses) > max(RISE * min(losses), LEAST_RISE):
        lowest = losses.index(min(losses)) + 1
        warnings.append(
            f"{name}: the validation loss rose from {min(losses):.3f} in epoch {lowest} to {losses[-1]:.3f} in epoch "
            f"{len(losses)}; the weights kept are those of epoch {card['best_epoch']}."
        )
    return warnings

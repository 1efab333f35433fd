"""Several heads that answer the same products: vectors are read once, and no network answers twice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cache import Cache
from heads.data.vectors import Vectors
from heads.head_types import HEAD_TYPES, head_type
from heads.modules.description import HeadDescription
from heads.modules.ensemble import Ensemble
from heads.modules.guard import GUARD
from heads.modules.saving.saved_head import TrainedHead

__all__ = ["answer_all", "vectors_for"]


def vectors_for(
    heads: Sequence[TrainedHead],
    cache: Cache,
    *,
    is_renamed: bool = False,
    without: Collection[str] = (),
    may_lack_columns: bool = False,
    memory: str | None = None,
) -> Vectors:
    """Return the vectors of all that heads of one run look at, from any cache that holds such.

    Raises:
        HeadError, MissingEntryError, CacheError: as of `TrainedHead.vectors_of`.
    """
    widest = max(heads, key=lambda head: len(head.description.dims) + len(head.description.token_dims))
    joint_description = replace(
        widest.description,
        dims={name: dim for head in heads for name, dim in head.description.dims.items()},
        token_dims={name: dim for head in heads for name, dim in head.description.token_dims.items()},
    )
    encoders = {name: encoder for head in heads for name, encoder in head.encoders.items()}
    specs = {name: spec for head in heads for name, spec in head.specs.items()}
    contents = {name: spec for head in heads for name, spec in head.contents.items()}
    return replace(widest, description=joint_description, encoders=encoders, specs=specs, contents=contents).vectors_of(
        cache, is_renamed=is_renamed, without=without, may_lack_columns=may_lack_columns, memory=memory
    )


def answer_all(heads: Iterable[TrainedHead], vectors: Vectors) -> dict[str, Tensor]:
    """Return each head's log-probabilities of every class, {head: (N, K) float32}.

    An ensemble's are made of its parts' answers, which are those of the other heads where these are the same network.
    """
    heads = list(heads)
    answers: dict[str, Tensor] = {}
    answered: list[tuple[TrainedHead, Tensor]] = []

    def answer(head: TrainedHead) -> Tensor:
        for answered_head, logs in answered:
            if _is_same_network(head, answered_head):
                return logs
        if isinstance(head.module, Ensemble):
            parts = [answer(part) for part in _parts(head, head.module)]
            logs = head.module.average_all(parts, vectors.present)
        else:
            logs = head.log_probabilities(vectors.inputs, vectors.present, vectors.tokens)
        answered.append((head, logs))
        return logs

    for head in sorted(heads, key=lambda head: isinstance(head.module, Ensemble)):  # who may be a part of others first
        answers[head.name] = answer(head)
    return {head.name: answers[head.name] for head in heads}


def _parts(head: TrainedHead, ensemble: Ensemble) -> Iterator[TrainedHead]:
    """Yield each part of a head that is an ensemble, as a head of its own."""
    whole = head.description
    for name, part in ensemble.parts():
        description = replace(whole, name=whole.name.removesuffix(GUARD)) if name is None else whole.member(name)
        standardise = head.standardise.part(description.dims, description.token_dims)
        yield replace(head, description=description, module=part, standardise=standardise)


def _is_same_network(head: TrainedHead, other_head: TrainedHead) -> bool:
    if head.module is other_head.module:
        return True
    if type(head.module) is not type(other_head.module) or _built(head.description) != _built(other_head.description):
        return False
    return all(
        mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
        for mine, theirs in (
            (head.module.state_dict(), other_head.module.state_dict()),
            (head.standardise.state_dict(), other_head.standardise.state_dict()),
        )
    )


def _built(description: HeadDescription) -> HeadDescription:
    """Return the description without its name and what makes no difference to a trained network of that name."""
    kind = head_type(description.plugin or description.name)
    used = kind.settings
    of_others: dict[str, Any] = {name: 0 for kind in HEAD_TYPES.values() for name in kind.settings if name not in used}
    if kind.at_once:  # its sizes are those of what it was fitted to
        of_others |= {"hidden_dim": 0, "n_stored": 0}
    return replace(description, name="", dropout=0.0, weights={}, **of_others)

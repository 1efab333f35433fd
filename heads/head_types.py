"""The heads there are, by name, and what sets each apart. None of their code is imported here.

A new head is a file in `heads.modules` with a function ``build``, and an entry below. From the entry follow the
command's lists and help texts, the settings that an ablation varies, the checks of `heads-check`, and every table.

``build(description, *, stack)`` returns the head untrained (`heads.modules.description`). A head that is fitted at once
has ``fit(rows)`` beside it (`heads.modules.rows_to_fit`), which returns it fitted, and what its description must say
to build it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "AUTO_FUSION", "HEAD_TYPES", "SYNONYMS", "HeadType", "control_names", "fusion_names", "head_type", "names_at_once",
    "resolve_auto",
]  # fmt: skip


@dataclass(frozen=True)
class HeadType:
    """A head by its name.

    What is fitted at once is trained where it is named; the other heads are fusions, which ``--fusion all`` means.
    """

    name: str
    module: str  # where its code is
    at_once: bool = False  # it is fitted at once: a convex problem, a look-up, a model of scikit-learn's
    is_control: bool = False  # it may be asked for as what a fusion is to be better than
    is_average: bool = False  # of the single heads' answers
    needs_two: bool = False  # modalities
    takes_tokens: bool = False
    has_parameters: bool = False  # of those fitted at once: which can be trained by steps, too, and so be checked
    scales_itself: bool = False  # the vectors, or looks at none: the setting makes no difference
    makes_folds: bool = False  # of the training rows: which are copies of each other makes a difference
    needs_vectors: bool = True
    is_seeded: bool = True
    weighs_classes: bool = True
    settings: tuple[str, ...] = ()  # those that no other head looks at
    synonyms: tuple[str, ...] = ()


_BUILT_IN = (
    HeadType("early", "heads.modules.early", synonyms=("concat",)),
    HeadType(
        "attention", "heads.modules.attention", needs_two=True, takes_tokens=True,
        settings=("n_tokens", "n_attention_heads"), synonyms=("intermediate",),
    ),
    HeadType("gated", "heads.modules.gated", needs_two=True),
    HeadType("lowrank", "heads.modules.lowrank", needs_two=True, settings=("rank",)),
    HeadType("late", "heads.modules.late", is_average=True),
    HeadType(
        "majority", "heads.modules.majority", at_once=True, is_control=True, needs_vectors=False, is_seeded=False,
        weighs_classes=False, scales_itself=True,
    ),
    HeadType(
        "centroids", "heads.modules.centroids", at_once=True, is_control=True, is_seeded=False, weighs_classes=False
    ),
    HeadType(
        "neighbours", "heads.modules.neighbours", at_once=True, is_control=True, is_seeded=False, weighs_classes=False
    ),
    HeadType(
        "logistic", "heads.modules.logistic", at_once=True, is_control=True, is_seeded=False, has_parameters=True
    ),
    HeadType(
        "stack", "heads.modules.stack", at_once=True, scales_itself=True, makes_folds=True, has_parameters=True
    ),
    HeadType(
        "residual", "heads.modules.residual", at_once=True, needs_two=True, scales_itself=True, makes_folds=True,
        has_parameters=True,
    ),
    HeadType("sklearn-logistic", "heads.modules.sklearn_baselines", at_once=True),
    HeadType("sklearn-svm", "heads.modules.sklearn_baselines", at_once=True),
    HeadType("sklearn-forest", "heads.modules.sklearn_baselines", at_once=True),
    HeadType("sklearn-boosting", "heads.modules.sklearn_baselines", at_once=True),
)  # fmt: skip
HEAD_TYPES = {one.name: one for one in _BUILT_IN}
SYNONYMS = {synonym: one.name for one in _BUILT_IN for synonym in one.synonyms}

AUTO_FUSION = "auto"  # asks for the head below, chosen by what `tests/benchmarks/few_labels.py` measured
_AUTO_HEAD, _AUTO_FROM_DISK = "stack", "early"
_AUTO_REASON = (
    "of the heads measured it was never surely worse than another on a real catalogue, better with few labels a class, "
    "and alone in gaining where a modality is noise (docs/decisions/048)"
)

_SINGLE = HeadType("a modality", "heads.modules.early")
_PLUGIN = HeadType("a class of the user's own", "heads.modules.plugin")


def head_type(name: str) -> HeadType:
    """Return the type of a head by its name: a built-in one, a class of the user's own, or a modality's.

    >>> head_type("late").is_average, head_type("logistic").at_once, head_type("image").module
    (True, True, 'heads.modules.early')
    """
    return HEAD_TYPES.get(name, _PLUGIN if ":" in name else _SINGLE)


def resolve_auto(names: Sequence[str], *, on_disk: bool) -> tuple[tuple[str, ...], list[str]]:
    """Return the heads asked for with one in the place of ``auto``, once each, and a note that names it and says why.

    >>> resolve_auto(["late", "auto"], on_disk=False)[0]
    ('late', 'stack')
    """
    head, reason = _AUTO_HEAD, _AUTO_REASON
    if on_disk:
        head, reason = _AUTO_FROM_DISK, f"the vectors stay on the disk, from which {_AUTO_HEAD} cannot learn"
    notes = [f"{AUTO_FUSION} is {head}: {reason}."] if AUTO_FUSION in names else []
    return tuple(dict.fromkeys(head if name == AUTO_FUSION else name for name in names)), notes


def fusion_names() -> tuple[str, ...]:
    """Return the names of the fusions: what ``all`` means."""
    return tuple(name for name, one in HEAD_TYPES.items() if not one.at_once)


def names_at_once() -> tuple[str, ...]:
    """Return the names of the heads that are fitted at once."""
    return tuple(name for name, one in HEAD_TYPES.items() if one.at_once)


def control_names() -> tuple[str, ...]:
    """Return the names of the heads that may be asked for as controls."""
    return tuple(name for name, one in HEAD_TYPES.items() if one.is_control)

"""The heads there are, by name, and what sets each apart. None of their code is imported here.

A new head is a file in `heads.modules` with a function ``build``, and an entry below. From the entry follow the
command's lists and help texts, the settings that an ablation varies, the checks of `heads-check`, and every table.

``build(description, *, stack)`` returns the head untrained (`heads.modules.description`). A head that is fitted at once
has ``fit(rows)`` beside it (`heads.modules.fitting.rows_to_fit`), which returns it fitted, and what its description
must say to build it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "AUTO_FUSION", "GUARD", "HEAD_TYPES", "SYNONYMS", "HeadType", "control_names", "fusion_names", "head_type",
    "member_names", "names_at_once", "resolve_names",
]  # fmt: skip

GUARD = "+guard"  # ends the names of guarded fusions


@dataclass(frozen=True)
class HeadType:
    """A head by its name."""

    name: str
    module: str  # where its code is
    in_all: bool | None = None  # of ``--fusion all``; None: unless it is fitted at once. Others are trained where named
    at_once: bool = False  # it is fitted at once: a convex problem, a look-up, a model of scikit-learn's
    on_the_cpu: bool = False  # it is fitted at once by code that runs there alone, whatever the device
    is_control: bool = False  # a simple head that may be asked for, which a fusion should surpass
    is_average: bool = False  # of the single heads' answers
    averages_fusions: bool = False  # of other fusions' answers, too
    is_saved: bool = True  # else it lives in memory alone
    needs_two: bool = False  # modalities, or more
    takes_tokens: bool = False
    has_parameters: bool = False  # though fitted at once it could be trained by steps, and so be checked
    scales_itself: bool = False  # it scales the vectors itself, or needs none: the setting makes no difference
    version: int = 1  # raised when the same rows would give another head: remembered results of it are of no use then
    makes_folds: bool = False  # it makes folds of the training rows, so that their groups of copies make a difference
    takes_names: bool = False  # it takes the classes' names, as directions to begin with
    needs_vectors: bool = True
    is_seeded: bool = True
    weighs_classes: bool = True
    settings: tuple[str, ...] = ()  # those that make no difference to any other head
    synonyms: tuple[str, ...] = ()


_BUILT_IN = (
    HeadType("early", "heads.modules.early", synonyms=("concat",)),
    HeadType(
        "attention", "heads.modules.attention", needs_two=True, takes_tokens=True,
        settings=("n_tokens", "n_attention_heads"), synonyms=("intermediate",),
    ),
    HeadType("gated", "heads.modules.gated", needs_two=True),
    HeadType("lowrank", "heads.modules.lowrank", needs_two=True, settings=("rank",)),
    HeadType("late", "heads.modules.late", is_average=True, version=2),
    HeadType(
        "ensemble", "heads.modules.selection", in_all=False, is_average=True, averages_fusions=True, needs_two=True,
        version=2,
    ),
    HeadType(
        "majority", "heads.modules.majority", at_once=True, is_control=True, needs_vectors=False, is_seeded=False,
        weighs_classes=False, scales_itself=True,
    ),
    HeadType(
        "centroids", "heads.modules.centroids", at_once=True, is_control=True, is_seeded=False, weighs_classes=False,
        version=2,
    ),
    HeadType(
        "neighbours", "heads.modules.neighbours", at_once=True, is_control=True, is_seeded=False, weighs_classes=False
    ),
    HeadType(
        "logistic", "heads.modules.logistic", in_all=True, at_once=True, on_the_cpu=True, is_control=True,
        is_seeded=False, has_parameters=True, version=4,
    ),
    HeadType(
        "stack", "heads.modules.stack", at_once=True, on_the_cpu=True, scales_itself=True, makes_folds=True,
        has_parameters=True, takes_names=True, version=2,
    ),
    HeadType(
        "residual", "heads.modules.residual", at_once=True, on_the_cpu=True, needs_two=True, scales_itself=True,
        makes_folds=True, has_parameters=True, takes_names=True, version=2,
    ),
    HeadType("sklearn-logistic", "heads.modules.sklearn_baselines", at_once=True, on_the_cpu=True, is_saved=False),
    HeadType(
        "sklearn-svm", "heads.modules.sklearn_baselines", at_once=True, on_the_cpu=True, is_saved=False, version=2
    ),
    HeadType("sklearn-forest", "heads.modules.sklearn_baselines", at_once=True, on_the_cpu=True, is_saved=False),
    HeadType("sklearn-boosting", "heads.modules.sklearn_baselines", at_once=True, on_the_cpu=True, is_saved=False),
)  # fmt: skip
HEAD_TYPES = {head.name: head for head in _BUILT_IN}
SYNONYMS = {synonym: head.name for head in _BUILT_IN for synonym in head.synonyms}

AUTO_FUSION = "auto"  # asks for the head below, chosen by what `tests/benchmarks/few_labels.py` measured
_AUTO_HEAD, _AUTO_FROM_DISK = "stack", "early"
_AUTO_REASON = (
    "of the heads measured none was surely better on a real catalogue, and most were worse with few labels a class; "
    "others are better where many labels are wrong, or modalities tell something only together (docs/decisions/057)"
)

_SINGLE = HeadType("a modality", "heads.modules.early")
_PLUGIN = HeadType("a class of the user's own", "heads.modules.plugin")


def head_type(name: str) -> HeadType:
    """Return the type of a head by its name: a built-in one, a class of the user's own, or a modality's.

    >>> head_type("late").is_average, head_type("logistic").at_once, head_type("image").module
    (True, True, 'heads.modules.early')
    """
    return HEAD_TYPES.get(name, _PLUGIN if ":" in name else _SINGLE)


def resolve_names(names: Sequence[str], *, on_disk: bool) -> tuple[tuple[str, ...], list[str]]:
    """Return the requested heads, once each, and notes: which head ``auto`` is; what ``all`` is from the disk.

    An ensemble that is requested without heads that it could be made of brings all.

    >>> resolve_names(["late", "auto"], on_disk=False)[0]
    ('late', 'stack')
    """
    head, reason = _AUTO_HEAD, _AUTO_REASON
    if on_disk:
        head, reason = _AUTO_FROM_DISK, f"the vectors stay on the disk, from which {_AUTO_HEAD} cannot learn"
    notes = [f"{AUTO_FUSION} is {head}: {reason}."] if AUTO_FUSION in names else []
    chosen = [head if name == AUTO_FUSION else name for name in names]
    for name in [name for name in chosen if head_type(name).averages_fusions]:
        notes.append(f"{name} is selected by the validation rows, which therefore never choose it as the best.")
        if not member_names(chosen):
            why = "none is named" if set(chosen) == {name} else "none of those named can be a member"
            chosen += fusion_names()
            notes.append(f"{name} is made of the run's other heads: all are trained, for {why}.")
    from_disk = fusion_names(on_disk=on_disk)
    kept_in_memory = [name for name in fusion_names() if name not in from_disk]
    if kept_in_memory and set(fusion_names()) <= set(chosen):
        chosen = [name for name in chosen if name not in kept_in_memory]
        notes.append(f"all is without {' and '.join(kept_in_memory)}: the vectors stay on the disk.")
    return tuple(dict.fromkeys(chosen)), notes


def fusion_names(*, on_disk: bool = False) -> tuple[str, ...]:
    """Return the names of the fusions that ``all`` means; of vectors on the disk those that can learn from there.

    >>> set(fusion_names()) - set(fusion_names(on_disk=True))
    {'logistic'}
    """
    in_all = {
        name: head for name, head in HEAD_TYPES.items() if (not head.at_once if head.in_all is None else head.in_all)
    }
    return tuple(name for name, head in in_all.items() if not (on_disk and head.at_once and head.needs_vectors))


def names_at_once() -> tuple[str, ...]:
    """Return the names of the heads that are fitted at once."""
    return tuple(name for name, head in HEAD_TYPES.items() if head.at_once)


def member_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of some fusions of which an ensemble can be made: no averages, and what is saved with it.

    >>> member_names(["early", "late", "stack", "sklearn-svm", "my.py:Mine"])
    ('early', 'stack')
    """
    built_in = {name: HEAD_TYPES[name] for name in names if name in HEAD_TYPES}
    return tuple(name for name, head in built_in.items() if head.is_saved and not head.is_average)


def control_names() -> tuple[str, ...]:
    """Return the names of the heads that may be asked for as controls."""
    return tuple(name for name, head in HEAD_TYPES.items() if head.is_control)

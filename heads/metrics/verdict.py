"""Whether a fusion is worth it: against the best single modality, on the same rows, with an interval, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from heads.metrics.differences import Answer, Difference, compare
from heads.metrics.mcnemar import McNemar
from heads.metrics.per_class_changes import ClassTally
from heads.metrics.score_drop import Drop

__all__ = ["MARGIN", "Verdict", "even_groups", "judge", "together_in_words", "verdicts_of", "warn_of_control"]

MARGIN = 0.02  # a difference within it does not matter; the default
RULE_OF_THREE = 3  # what was seen in none of n rows may still happen in 3 / n of them (95 %)


@dataclass(frozen=True)
class Verdict:
    """A fusion compared with the single modality that was best on the validation rows.

    The intervals draw whole groups of rows that share a picture or a text, and hold together for both scores of all
    the fusions that are judged at once; McNemar's test takes rows for independent and each fusion by itself.
    """

    fusion: str
    single: str
    others: list[str]
    n_rows: int  # test rows
    accuracy: Difference
    macro_f1: Difference
    margin: float = MARGIN
    n_groups: int | None = None  # of the test rows; None: each is its own
    n_even_groups: int | None = None  # there were, had every class as few as the rarest; None: as `n_groups`
    n_together: int = 1  # heads that the intervals hold for together: all fusions of a run, or rows of an ablation
    rows: McNemar | None = None  # won and lost against the single modality
    classes: ClassTally | None = None  # the same, class by class
    importance: Mapping[str, Mapping[str, Drop]] = field(default_factory=dict)  # modality -> score -> its drop
    warnings: list[str] = field(default_factory=list)  # of controls that are as good
    no_better_than: list[str] = field(default_factory=list)  # these controls

    @property
    def sentence(self) -> str:
        """The verdict in words, and what it goes by."""
        return f"{self.words} ({self.numbers})."

    @property
    def numbers(self) -> str:
        """The differences in points, with intervals of 95 %."""
        return f"accuracy {self.accuracy}, macro-F1 {self.macro_f1}"

    @property
    def outcome(self) -> Answer:
        """The verdict in one word.

        A gain in one of the two scores is enough for better, a loss in one for worse, and both at once are undecided.
        Else the fusion is equal where both intervals lie within the margin.
        """
        answers = set(self._answers.values())
        if {"better", "worse"} <= answers:
            return "undecided"
        return next(answer for answer in ("better", "worse", "undecided", "equal") if answer in answers)

    @property
    def outcome_by_score(self) -> str:
        """The verdict in one word, and the score that it is of, where the other one does not say the same."""
        signed = [name for name, answer in self._answers.items() if answer == self.outcome]
        return (
            f"{self.outcome} ({signed[0]})"
            if self.outcome in ("better", "worse") and len(signed) == 1
            else self.outcome
        )

    @property
    def margin_in_words(self) -> str:
        """The margin in points."""
        return f"{100 * self.margin:g} point{'' if self.margin == 0.01 else 's'}"

    @property
    def _answers(self) -> dict[str, Answer]:
        """What each score says; rows without a difference say equal only where they are enough for the margin."""
        answers = {"accuracy": self.accuracy.answer(self.margin), "macro-F1": self.macro_f1.answer(self.margin)}
        return {
            name: "undecided" if answer == "equal" and self._n_seen[name] * self.margin <= RULE_OF_THREE else answer
            for name, answer in answers.items()
        }

    @property
    def _n_seen(self) -> dict[str, int]:
        """The groups that each score is of: in macro-F1 a class of five rows weighs as much as one of a thousand."""
        n_groups = self.n_groups or self.n_rows
        return {"accuracy": n_groups, "macro-F1": n_groups if self.n_even_groups is None else self.n_even_groups}

    @property
    def rows_to_decide(self) -> int | None:
        """About how many test rows would make an undecided verdict another, to two digits; None where none would."""
        undecided = [name for name, answer in self._answers.items() if answer == "undecided"]
        if self.outcome != "undecided" or not undecided:
            return None
        times = [RULE_OF_THREE / self.margin / self._n_seen[name] for name in undecided]
        times += [getattr(self, name.lower().replace("-", "_")).rows_to_decide(self.margin) for name in undecided]
        needed = math.floor(self.n_rows * max(1, *times)) + 1
        digit = 10 ** max(len(str(needed)) - 2, 0)
        return math.ceil(needed / digit) * digit

    @property
    def words(self) -> str:
        """The verdict without its numbers."""
        answers, points = self._answers, self.margin_in_words
        other_names, adds = " and ".join(self.others), "adds" if len(self.others) == 1 else "add"
        alone = f"{self.single} alone" if self.others else f"{self.single}'s own head"  # both see the same
        if self.outcome == "equal":
            why = f"the {other_names} {adds} less than {points} here" if self.others else f"they are within {points}"
            return f"{alone} is as good as {self.fusion}: {why}"
        signed = [name for name, answer in answers.items() if answer in ("better", "worse")]
        if not signed:
            reason = f"{self.n_rows:,} test rows cannot tell, about {self.rows_to_decide:,} would"
            return f"{self.fusion} against {alone} is undecided: {reason}"
        outcome = answers[signed[0]]
        words = f"{self.fusion} is {outcome} than {alone}"
        if set(answers.values()) == {outcome}:
            is_small = self.accuracy.is_within(self.margin) and self.macro_f1.is_within(self.margin)
            return f"{words}, by less than {points}" if is_small else words
        (second,) = answers.keys() - {signed[0]}
        then = {"equal": f" and as good in {second}", "undecided": f"; in {second} it is undecided"}
        return f"{words} in {signed[0]}{then.get(answers[second], f' and {answers[second]} in {second}')}"

    def to_dict(self) -> dict[str, object]:
        """Return the verdict in JSON's types."""
        more = {"outcome": self.outcome, "rows_to_decide": self.rows_to_decide, "sentence": self.sentence}
        return asdict(self) | more


def judge(
    fusions: Sequence[str],
    single: str,
    *,
    others: list[str],
    groups: np.ndarray,
    scores: Mapping[str, np.ndarray],
    resampled: Mapping[str, np.ndarray],
    targets: np.ndarray,
    margin: float = MARGIN,
) -> list[Verdict]:
    """Return the verdict on each of some fusions from paired scores; their intervals hold for all together.

    Shape:
        groups: (n,) the group of duplicates of each test row
        targets: (n,) int64, its class
        scores: {head: (2,)}, accuracy and macro-F1
        resampled: {head: (R, 2)}, the same on resamples that all heads share
    """
    n_groups = len(np.unique(groups))
    differences = compare(fusions, single, scores=scores, resampled=resampled, n_groups=n_groups)
    return verdicts_of(
        differences, single, others=others, groups=groups, targets=targets, margin=margin, n_together=len(fusions)
    )


def verdicts_of(
    differences: Mapping[str, Sequence[Difference]],
    single: str,
    *,
    others: list[str],
    groups: np.ndarray,
    targets: np.ndarray,
    margin: float,
    n_together: int,
) -> list[Verdict]:
    """Return the verdict on each of some fusions from its differences in both scores; else as `judge`.

    `n_together` is how many heads the differences' intervals hold for together.
    """
    n_groups, n_even = len(np.unique(groups)), even_groups(targets, groups)
    return [
        Verdict(
            fusion, single, others, len(groups), accuracy, macro_f1,
            margin=margin, n_groups=n_groups, n_even_groups=n_even, n_together=n_together,
        )
        for fusion, (accuracy, macro_f1) in differences.items()
    ]  # fmt: skip


def even_groups(targets: np.ndarray, groups: np.ndarray) -> int:
    """Return how many groups there were, had every class as few as the rarest.

    >>> even_groups(np.array([0, 0, 0, 0, 1, 1]), np.array([0, 1, 2, 3, 4, 4]))
    2
    """
    of_classes = np.unique(np.stack([targets, groups]), axis=1)[0]
    sizes = np.unique(of_classes, return_counts=True)[1]
    return len(sizes) * int(sizes.min())


def together_in_words(n_fusions: int) -> str:
    """Return what the intervals of so many fusions hold for."""
    scope = f"all {n_fusions} fusions and both scores" if n_fusions > 1 else "both scores"
    return f"The 95 % intervals hold for {scope} together."


def warn_of_control(verdict: Verdict) -> str | None:
    """Return a warning where a fusion is not surely better than a control, with which the verdict compares it."""
    signs = {verdict.accuracy.sign, verdict.macro_f1.sign}
    if 1 in signs:
        return None
    relation = {"worse": "is better than", "equal": "is as good as"}.get(verdict.outcome, "may be as good as")
    return (
        f"Careful: the control {verdict.single} {relation} {verdict.fusion} (fusion minus control: {verdict.numbers})."
    )

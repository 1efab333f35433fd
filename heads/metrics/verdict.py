"""Whether a fusion is worth it: against the best single modality, on the same rows, with an interval, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np

from heads.metrics.mcnemar import McNemar
from heads.metrics.per_class_changes import ClassTally
from heads.metrics.score_drop import Drop

__all__ = ["Difference", "Verdict", "interval", "judge", "warn_of_control"]

WORTHWHILE = 0.02  # a gain that is surely below two points is called none
RULE_OF_THREE = 3  # what was seen in none of n rows may still happen in 3 / n of them (95 %)


@dataclass(frozen=True)
class Difference:
    """Fused minus single in one score, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves zero out, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def __str__(self) -> str:
        return f"{100 * self.value:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


@dataclass(frozen=True)
class Verdict:
    """A fusion compared with the single modality that was best on the validation rows.

    The intervals draw whole groups of rows that share a picture or a text; McNemar's test takes rows for independent.
    """

    fusion: str
    single: str
    others: list[str]
    n_rows: int  # test rows
    accuracy: Difference
    macro_f1: Difference
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
    def outcome(self) -> Literal["better", "worse", "equal", "undecided"]:
        """The verdict in one word.

        A gain in one of the two scores is enough for better, a loss in one for worse, and both at once are undecided.
        Where both intervals hold zero, the fusion is equal if it is surely no gain of `WORTHWHILE`.
        """
        signs = {self.accuracy.sign, self.macro_f1.sign}
        if signs == {0}:
            return "equal" if self._highest < WORTHWHILE else "undecided"
        if {1, -1} <= signs:
            return "undecided"
        return "better" if 1 in signs else "worse"

    @property
    def _highest(self) -> float:
        """The highest gain that the test rows leave possible."""
        return max(self.accuracy.high, self.macro_f1.high, RULE_OF_THREE / self.n_rows)

    @property
    def words(self) -> str:
        """The verdict without its numbers."""
        signs = {self.accuracy.sign, self.macro_f1.sign}
        rest, adds = " and ".join(self.others), "adds" if len(self.others) == 1 else "add"
        alone = f"{self.single} alone" if self.others else f"{self.single}'s own head"  # both see the same
        if self.outcome == "equal":
            why = f": the {rest} {adds} nothing here" if self.others else ""
            return f"{alone} is as good as {self.fusion}{why}"
        if signs == {0}:
            why = f": that the {rest} {adds} something is not certain" if self.others else ""
            return f"{alone} is as good as {self.fusion} as far as {self.n_rows} test rows can tell{why}"
        if signs == {1}:
            return f"{self.fusion} is better than {alone}"
        if 1 not in signs:
            return f"{self.fusion} is worse than {alone}"
        gained, other = ("accuracy", "macro-F1") if self.accuracy.sign == 1 else ("macro-F1", "accuracy")
        other_is = "worse" if -1 in signs else "no different"
        return f"{self.fusion} is better than {alone} in {gained} and {other_is} in {other}"

    def to_dict(self) -> dict[str, object]:
        """Return the verdict in JSON's types."""
        return asdict(self) | {"outcome": self.outcome, "sentence": self.sentence}


def judge(
    fusion: str,
    single: str,
    *,
    others: list[str],
    n_rows: int,
    scores: dict[str, np.ndarray],
    resampled: dict[str, np.ndarray],
) -> Verdict:
    """Return the verdict on a fusion from paired scores.

    Shape:
        scores: {head: (2,)}, accuracy and macro-F1
        resampled: {head: (R, 2)}, the same on resamples that all heads share
    """
    value = scores[fusion] - scores[single]
    low, high = interval(value, resampled[fusion] - resampled[single])
    accuracy, macro_f1 = (Difference(float(value[n]), float(low[n]), float(high[n])) for n in (0, 1))
    return Verdict(fusion, single, others, n_rows, accuracy, macro_f1)


def warn_of_control(verdict: Verdict) -> str | None:
    """Return a warning where a fusion, compared with a control in a single head's place, is not surely better."""
    signs = {verdict.accuracy.sign, verdict.macro_f1.sign}
    if 1 in signs:
        return None
    if -1 in signs:
        what = f"better than {verdict.fusion}"
    else:
        what = f"as good as {verdict.fusion} as far as {verdict.n_rows} test rows can tell"
    return (
        f"Careful: the control {verdict.single} is {what} (fusion minus control: "
        f"accuracy {verdict.accuracy}, macro-F1 {verdict.macro_f1})."
    )


def interval(value: np.ndarray, resampled: np.ndarray) -> np.ndarray:
    """Return the 95 % bootstrap interval of a score: (2, ...), low and high.

    It is widened by the resamples' bias: rare classes drop out of resamples, and macro-F1 is another without them.

    Shape:
        value: (...) the score itself
        resampled: (R, ...) the score of each resample
    """
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    bias = value - resampled.mean(axis=0)
    return np.stack([low + np.minimum(bias, 0), high + np.maximum(bias, 0)])

"""The answers of a run's heads to products: classes, probabilities, and whether the modalities agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from heads.data.metadata.metadata_request import is_metadata
from heads.data.vectors import Vectors
from heads.modules.saving.head_set import answer_all
from heads.modules.saving.saved_head import TrainedHead

__all__ = ["Answers", "Prediction", "answers_of"]


@dataclass(frozen=True)
class Prediction:
    """What a run says of one product; there is no answer if it has no vector of anything that the head looks at."""

    answer: str | None
    probability: float
    top: list[tuple[str, float]]  # the likeliest classes, the likeliest first
    by_head: dict[str, tuple[str, float] | None]  # each head's class and its probability
    disagree: bool  # whether the picture and the text alone say different classes
    statuses: dict[str, str] = field(default_factory=dict)  # modality -> "ok", or why there is no vector

    def to_dict(self) -> dict[str, object]:
        """Return the prediction in JSON's types."""

        def to_object(answer: tuple[str, float] | None) -> dict[str, object] | None:
            return None if answer is None else {"answer": answer[0], "probability": answer[1]}

        return {
            "answer": self.answer,
            "probability": None if self.answer is None else self.probability,
            "top": [to_object(answer) for answer in self.top],
            "heads": {name: to_object(answer) for name, answer in self.by_head.items()},
            "disagree": self.disagree,
            "statuses": self.statuses,
        }


@dataclass(frozen=True)
class Answers:
    """What heads say of N products; the answer that counts is that of one of them.

    Shape:
        probabilities: {head: (N, K) float32}
        answered: {head: (N,) bool}; the others have no vector of what the head sees
    """

    head: str  # whose answer counts
    classes: list[str]
    modalities: list[str]  # whose own heads can disagree
    probabilities: Mapping[str, np.ndarray]
    answered: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.probabilities[self.head])

    @cached_property
    def best(self) -> dict[str, np.ndarray]:
        """Each head's likeliest class, {head: (N,) int64}."""
        return {name: matrix.argmax(1) for name, matrix in self.probabilities.items()}

    @cached_property
    def confidence(self) -> np.ndarray:
        """The probability of the answer that counts, (N,); 0 where there is none."""
        return np.where(self.answered[self.head], self.probabilities[self.head].max(1, initial=0), 0.0)

    @cached_property
    def disagree(self) -> np.ndarray:
        """Whether the picture and the text alone say different classes, (N,) bool."""
        votes = [np.where(self.answered[name], self.best[name], -1) for name in self.modalities]
        if not votes:
            return np.zeros(len(self), dtype=bool)
        stacked = np.stack(votes)  # (M, N)
        highest = stacked.max(0)
        lowest = np.where(stacked < 0, highest, stacked).min(0)
        return highest != lowest

    def answer_of(self, head: str, row: int) -> tuple[str, float] | None:
        """Return a head's class for a product and its probability; None where it has no answer."""
        if not self.answered[head][row]:
            return None
        code = int(self.best[head][row])
        return self.classes[code], float(self.probabilities[head][row, code])

    def top(self, row: int, n: int) -> list[tuple[str, float]]:
        """Return the likeliest classes of a product with their probabilities, the likeliest first."""
        if not self.answered[self.head][row]:
            return []
        chances = self.probabilities[self.head][row]
        codes = np.argsort(-chances, kind="stable")[:n]
        return [(self.classes[code], float(chances[code])) for code in codes.tolist()]

    def prediction(self, row: int, *, top: int, statuses: Mapping[str, str] | None = None) -> Prediction:
        """Return all that is said of one product."""
        answer = self.answer_of(self.head, row)
        return Prediction(
            answer=None if answer is None else answer[0],
            probability=0.0 if answer is None else answer[1],
            top=self.top(row, top),
            by_head={name: self.answer_of(name, row) for name in self.probabilities},
            disagree=bool(self.disagree[row]),
            statuses=dict(statuses or {}),
        )


def answers_of(heads: Mapping[str, TrainedHead], vectors: Vectors, *, head: str) -> Answers:
    """Return the answers of one run's heads to products; `head` is the one whose answer counts."""
    answers = answer_all(heads.values(), vectors)
    single_heads = [name for name in heads if name in vectors.dims]
    modalities_of: dict[str, Sequence[str]] = {name: list(trained.description.dims) for name, trained in heads.items()}
    return Answers(
        head=head,
        classes=next(iter(heads.values())).classes,
        # Not metadata, whose own head is mostly weak, and would disagree with everything.
        modalities=[name for name in single_heads if not is_metadata(vectors.specs[name])],
        probabilities={name: logs.exp().numpy() for name, logs in answers.items()},
        answered={name: vectors.some_present(modalities) for name, modalities in modalities_of.items()},
    )

"""From questions about products to the heads' answers, a batch at a time, and what each answer is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from heads.data.vectors import Vectors
from heads.modules.late import Late
from heads.prediction.answers import Answers, answers_of
from heads.prediction.products import Product
from heads.prediction.run import Run
from heads.serving.cached_products import CachedProducts

__all__ = ["Answerer", "Outcome", "Question"]

BLOCK_ROWS = 32  # answered at once by a head: few products in a larger block would be mostly padding


@dataclass(frozen=True)
class Question:
    """A product, or its row in the cache; with `is_explained` also asks for the answer without each modality."""

    product: Product | int
    is_explained: bool = False


@dataclass(frozen=True)
class Outcome:
    """The answers to a batch, and one product's row in it."""

    answers: Answers
    row: int
    statuses: dict[str, str]
    vectors: Vectors
    without: dict[str, tuple[str, float] | None]  # modality -> the answer that counts, with it taken away

    def to_dict(self, *, top: int) -> dict[str, Any]:
        """Return the answer to the product in JSON's types."""
        return self.answers.prediction(self.row, top=top, statuses=self.statuses).to_dict()

    def vector(self, modality: str) -> np.ndarray | None:
        """Return the product's vector of a modality, (D,) float32; None where it has none."""
        if not bool(self.vectors.present[modality][self.row]):
            return None
        return self.vectors.inputs[modality][self.row].numpy()


class Answerer:
    """Answers batches of questions with all heads of a run; it may be called from several threads."""

    def __init__(self, run: Run, products: CachedProducts | None) -> None:
        self._run, self._products = run, products
        self._heads = {name: replace(head, block_rows=BLOCK_ROWS) for name, head in run.heads.items()}
        self._n_threads = torch.get_num_threads()
        self._explained_modalities = list(self._heads[run.head].description.dims)
        self.alone = [name for name, head in run.heads.items() if list(head.description.dims) == [name]]
        self.late = next((name for name, head in run.heads.items() if self._can_be_averaged(_late(head.module))), None)

    def answer(self, questions: Sequence[Question]) -> list[Outcome]:
        """Return the heads' answers to each product, in the order of the questions."""
        torch.set_num_threads(self._n_threads)  # of this thread, which may have begun while another had set 1
        outcomes: dict[int, Outcome] = {}
        in_cache = [n for n, question in enumerate(questions) if isinstance(question.product, int)]
        not_in_cache = [n for n, question in enumerate(questions) if not isinstance(question.product, int)]
        if in_cache and self._products is not None:
            rows: list[Any] = [questions[n].product for n in in_cache]
            outcomes |= self._outcomes(questions, in_cache, *self._products.vectors(rows))
        if not_in_cache:
            raw: list[Any] = [questions[n].product for n in not_in_cache]
            outcomes |= self._outcomes(questions, not_in_cache, *self._run.products.vectors(raw))
        return [outcomes[n] for n in range(len(questions))]

    def explanation(self, outcome: Outcome) -> dict[str, Any]:
        """Return the parts of an explained answer, in JSON's types."""
        answers, row = outcome.answers, outcome.row
        late = None if self.late is None else _late(self._run.heads[self.late].module)
        about: dict[str, Any] = {
            "classes": answers.classes,
            "probabilities": {
                name: answers.probabilities[name][row].tolist() for name in self.alone if answers.answered[name][row]
            },
            "without": {
                modality: None if answer is None else {"answer": answer[0], "probability": answer[1]}
                for modality, answer in outcome.without.items()
            },
        }
        return about | late_facts(late, self.late)

    def late_facts(self) -> dict[str, Any]:
        """Return how the late fusion averages, in JSON's types."""
        return late_facts(None if self.late is None else _late(self._run.heads[self.late].module), self.late)

    def _can_be_averaged(self, late: Late | None) -> bool:
        """Return whether this is a late fusion of heads whose own answers are given, too."""
        return late is not None and set(late.modalities) <= set(self.alone)

    def _outcomes(
        self,
        questions: Sequence[Question],
        numbers: Sequence[int],
        vectors: Vectors,
        statuses: Sequence[dict[str, str]],
    ) -> dict[int, Outcome]:
        # On so few rows, threads would wait for each other longer than they compute.
        torch.set_num_threads(1)
        try:
            answers = answers_of(self._heads, vectors, head=self._run.head)
            without = self._without(vectors, [questions[n].is_explained for n in numbers])
        finally:
            torch.set_num_threads(self._n_threads)
        return {n: Outcome(answers, row, statuses[row], vectors, without[row]) for row, n in enumerate(numbers)}

    def _without(self, vectors: Vectors, is_explained: Sequence[bool]) -> list[dict[str, tuple[str, float] | None]]:
        """Return the answer that counts without each modality, for each product that is to be explained."""
        pairs = [
            (product, modality)
            for product, is_wanted in enumerate(is_explained)
            for modality in self._explained_modalities
            if is_wanted and vectors.present[modality][product]
        ]
        without: list[dict[str, tuple[str, float] | None]] = [{} for _ in is_explained]
        if pairs:
            repeated = vectors.take(torch.tensor([product for product, _ in pairs]))
            reduced = repeated.with_present(
                {
                    name: repeated.present[name] & torch.tensor([name != left_out for _, left_out in pairs])
                    for name in repeated.dims
                }
            )
            head = self._run.head
            answers = answers_of({head: self._heads[head]}, reduced, head=head)
            for pair, (product, modality) in enumerate(pairs):
                without[product][modality] = answers.answer_of(head, pair)
        return without


def late_facts(late: Late | None, name: str | None) -> dict[str, Any]:
    """Return how a late fusion averages: all that it takes to compute its answer again.

    Be w the weights of the modalities that a product has, renormalised, and p the probabilities of a modality's head.
    Each p is raised to the power of 1 / its temperature and normalised; the answer is the sum of w * p, raised to the
    power of 1 / ``late_temperature`` and normalised. Where all modalities of a product weigh 0, they count alike.
    """
    if late is None:
        return {
            "late_head": None, "late": None, "late_weights": None, "late_temperatures": None, "late_temperature": None
        }  # fmt: skip
    weights, temperatures = late.get_buffer("weights").tolist(), late.get_buffer("temperatures").tolist()
    return {
        "late_head": name,
        "late": "linear",
        "late_weights": dict(zip(late.modalities, weights, strict=True)),
        "late_temperatures": dict(zip(late.modalities, temperatures, strict=True)),
        "late_temperature": float(late.get_buffer("temperature")),
    }


def _late(module: torch.nn.Module) -> Late | None:
    return module if isinstance(module, Late) else None

"""The baseline of no label: each product is answered by the class whose name's vector is nearest to its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cache.shares import percent
from heads.data.draws import generator_of
from heads.data.vectors import Vectors
from heads.experiment.few_rows import few_rows
from heads.experiment.problem import Problem
from heads.metrics.answers import Answers
from heads.modules.fitting.temperature import fit_temperature

__all__ = ["NAMES", "answer_by_names", "cosines", "in_words"]

NAMES = "-names"  # behind a modality
BLOCK_CELLS = 2**22  # rows times classes


def answer_by_names(problem: Problem, encoders: Mapping[str, str], *, seed: int) -> dict[str, dict[str, Answers]]:
    """Return what the classes' names say of the rows of each side of the one fold there is, by modality.

    The nearest by cosine is the answer, of the vectors as they are. How sure it is alone is a matter of labels: the
    validation rows fit a temperature. Rows without a vector get no more than a guess.
    """
    targets, n_classes, (split,) = problem.labels.targets, len(problem.labels.classes), problem.folds
    answers: dict[str, dict[str, Answers]] = {}
    for modality, encoder in encoders.items():
        names = problem.class_names.get((modality, encoder))
        if names is None:
            continue
        vectors = problem.encoder_vectors((modality, encoder), 0)
        rows = few_rows(split.validation, n_classes=n_classes, generator=generator_of(seed, "few rows"))
        cosines_to_names = torch.cat([block for _, block in cosines(vectors, modality, names, rows)])
        temperature = fit_temperature(cosines_to_names, torch.from_numpy(targets[rows]))

        answers[modality] = {}
        for side, rows in vars(split).items():
            blocks = [
                (positions, Answers.of((cosines_to_names / temperature).softmax(1).numpy(), targets[rows[positions]]))
                for positions, cosines_to_names in cosines(vectors, modality, names, rows)
            ]
            answers[modality][side] = Answers.gathered(len(rows), blocks)
    return answers


def cosines(vectors: Vectors, modality: str, names: Tensor, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield positions in `rows`, (n,), and the cosines of their vectors to all names, (n, K); 0 where there is none."""
    directions = F.normalize(names, dim=1)
    for positions in np.array_split(np.arange(len(rows)), -(-len(rows) * len(names) // BLOCK_CELLS) or 1):
        row_indices = torch.from_numpy(rows[positions])
        yield positions, F.normalize(vectors.inputs[modality][row_indices], dim=1) @ directions.T


def in_words(controls: Mapping[str, Mapping[str, float]], encoders: Mapping[str, str]) -> str:
    """Return what names alone come to, of the controls' scores; "" where there are none.

    >>> in_words({"text-names": {"accuracy": 0.712, "macro_f1": 0.6}, "majority": {}}, {"image": "a", "text": "b"})
    'Class names alone, with no label: 71.2 % of the test rows right by text (macro-F1 60.0).'
    """
    scored = {name: controls[name + NAMES] for name in encoders if name + NAMES in controls}
    shown = [
        f"{percent(card['accuracy'])} % of the test rows right by {name} (macro-F1 {percent(card['macro_f1'])})"
        for name, card in scored.items()
    ]
    return f"Class names alone, with no label: {', '.join(shown)}." if shown else ""

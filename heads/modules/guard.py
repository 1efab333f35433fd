"""A guard on a fusion: the single heads beside it, so that it is no worse than the best of them on validation rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from heads.head_types import GUARD
from heads.metrics.scores import scores
from heads.modules.ensemble import Ensemble
from heads.modules.late import log_average
from heads.modules.mixture import fit_mixture

__all__ = ["GUARD", "Guarded", "fit_guard"]


class Guarded(Ensemble):
    """Average a fusion's probabilities with those of the single heads, by weights that may be 0.

    A single head counts where the row has its modality, the fusion always; the weights are renormalised over those.
    Where all of them weigh 0, the weights are `otherwise`.

    The fusion is the first part, the single heads follow by name.
    """

    def __init__(self, fusion: nn.Module, singles: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.fusion = fusion
        self.singles = nn.ModuleDict({name: singles[name] for name in sorted(singles)})
        fusion_alone = torch.zeros(1 + len(singles), dtype=torch.float64)  # the fusion first, then the singles by name
        fusion_alone[0] = 1
        self.register_buffer("weights", fusion_alone)
        self.register_buffer("otherwise", fusion_alone.clone())
        self.register_buffer("temperatures", torch.ones_like(fusion_alone))
        self.register_buffer("temperature", torch.ones((), dtype=torch.float64))

    def parts(self) -> list[tuple[str | None, nn.Module]]:
        return [(None, self.fusion), *self.singles.items()]

    def average(self, answers: Tensor, present: Mapping[str, Tensor]) -> Tensor:
        singles_count = torch.stack([present[name] for name in self.singles], dim=1)  # (B, M)
        counts = nn.functional.pad(singles_count.double(), (1, 0), value=1.0)
        weights = self.get_buffer("weights") * counts  # (B, 1 + M)
        weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, self.get_buffer("otherwise"))
        answers = answers.where(weights[:, :, None] > 0, 0.0)  # NaN may stand where a modality is absent
        return log_average(answers, weights, self.get_buffer("temperatures"), self.get_buffer("temperature")).float()

    def set_buffers(self, values: Mapping[str, Tensor]) -> None:
        """Set weights, otherwise, temperatures and temperature."""
        for name, value in values.items():
            self.get_buffer(name).copy_(value)


def fit_guard(
    guarded: Guarded,
    log_probabilities: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    targets: Tensor,
    *,
    fusion: str,
    best: str,
    groups: Tensor,
    generator: np.random.Generator,
) -> str:
    """Set the weights by validation rows, and return what they come to: mixture, fusion, single or single everywhere.

    The mixture of least negative log-likelihood or the fusion alone, whichever has the better macro-F1, is taken if
    that is above the best single head's; else that head alone, with the fusion where a row lacks its modality; and if
    even this is worse, the head alone for all rows. The rows have stopped the members early: what is no worse here may
    be worse elsewhere by chance.

    Shape:
        log_probabilities: {fusion or modality: (n, K)}
        present: {modality: (n,) bool}
        targets, groups: (n,) int64
    """
    names = [fusion, *guarded.singles]
    answers = torch.stack([log_probabilities[name] for name in names], dim=1)  # (n, 1 + M, K)
    labels, n_classes = targets.numpy(), answers.shape[2]
    single_macro_f1 = _macro_f1(log_probabilities[best], labels, n_classes)
    mixture = fit_mixture(
        {name: log_probabilities[name] for name in names},
        {**present, fusion: torch.ones_like(targets, dtype=torch.bool)},
        targets,
        groups=groups,
        generator=generator,
        n_resamples=1,
    )
    fusion_alone, best_alone = (
        torch.tensor([float(name == chosen_name) for name in names]) for chosen_name in (fusion, best)
    )
    plain = {"temperatures": torch.ones(len(names)), "temperature": torch.tensor(1.0)}
    candidates: dict[str, dict[str, Tensor]] = {
        "mixture": {
            "weights": torch.tensor([mixture.weights[name] for name in names], dtype=torch.float64),
            "temperatures": torch.tensor([mixture.temperatures[name] for name in names], dtype=torch.float64),
            "temperature": torch.tensor(mixture.temperature, dtype=torch.float64),
            "otherwise": fusion_alone,
        },
        "fusion": {"weights": fusion_alone, "otherwise": fusion_alone, **plain},
        "single": {"weights": best_alone, "otherwise": fusion_alone, **plain},
        "single everywhere": {"weights": best_alone, "otherwise": best_alone, **plain},
    }
    macro_f1s = {}
    for outcome, buffers in candidates.items():
        guarded.set_buffers(buffers)
        macro_f1s[outcome] = _macro_f1(guarded.average(answers, present), labels, n_classes)
    chosen = max(("mixture", "fusion"), key=macro_f1s.__getitem__)
    if macro_f1s[chosen] <= single_macro_f1:
        chosen = "single" if macro_f1s["single"] >= single_macro_f1 else "single everywhere"
    guarded.set_buffers(candidates[chosen])
    return chosen


def _macro_f1(log_probabilities: Tensor, labels: np.ndarray, n_classes: int) -> float:
    return scores(labels, log_probabilities.argmax(1).numpy(), n_classes)["macro_f1"]

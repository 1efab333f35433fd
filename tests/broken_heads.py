"""Heads that do not do what they say, each in the way of code that people use, beside sound ones of the same make."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN_DIM = 64


class Sound(nn.Module):
    """Projects each modality and classifies the sum: what the broken ones below are variants of."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__()
        self.projections = nn.ModuleDict({name: nn.Linear(dim, HIDDEN_DIM) for name, dim in sorted(dims.items())})
        self.norm = nn.BatchNorm1d(HIDDEN_DIM)
        self.classifier = nn.Linear(HIDDEN_DIM, n_classes)

    def projected(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        """Return each modality's hidden vector, (B, H)."""
        return [
            layer(torch.where(present[name][:, None], inputs[name], 0.0)) for name, layer in self.projections.items()
        ]

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return self.classifier(torch.relu(self.norm(sum(self.projected(inputs, present)))))


class OneKey(Sound):
    """The image attends to a single text token; the residual hides that there is nothing to choose from."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.attention = nn.MultiheadAttention(HIDDEN_DIM, 2, batch_first=True)

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        image, text = self.projected(inputs, present)
        attended, _ = self.attention(image[:, None], text[:, None], text[:, None])  # (B, 1, H)
        return self.classifier(torch.relu(self.norm(image + attended[:, 0])))


class OneKeyWithoutResidual(OneKey):
    """The same without the residual: the image has no say at all."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        image, text = self.projected(inputs, present)
        attended, _ = self.attention(image[:, None], text[:, None], text[:, None])
        return self.classifier(torch.relu(self.norm(attended[:, 0])))


class TwinKeys(OneKey):
    """There are two keys, and they are the same."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        image, text = self.projected(inputs, present)
        keys = torch.stack([text, text], dim=1)  # (B, 2, H)
        attended, _ = self.attention(image[:, None], keys, keys)
        return self.classifier(torch.relu(self.norm(image + attended[:, 0])))


class OwnOneKey(Sound):
    """Attention over one key, written by hand."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.query, self.key, self.value = (nn.Linear(HIDDEN_DIM, HIDDEN_DIM) for _ in range(3))

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        image, text = self.projected(inputs, present)
        scores = torch.einsum("bqh,bkh->bqk", self.query(image)[:, None], self.key(text)[:, None])
        attended = scores.softmax(dim=2) @ self.value(text)[:, None]
        return self.classifier(torch.relu(self.norm(image + attended[:, 0])))


class OwnTwoKeys(OwnOneKey):
    """Sound attention, written by hand, over the keys of both modalities."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        hidden = torch.stack(self.projected(inputs, present), dim=1)  # (B, 2, H)
        scores = torch.einsum("bqh,bkh->bqk", self.query(hidden[:, :1]), self.key(hidden))
        attended = scores.softmax(dim=2) @ self.value(hidden)  # (B, 1, H)
        return self.classifier(torch.relu(self.norm(hidden[:, 0] + attended[:, 0])))


class LearnedQuestion(OneKey):
    """Sound attention with one learned query for every row: attentive pooling."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.question = nn.Parameter(torch.zeros(1, 1, HIDDEN_DIM))

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        hidden = torch.stack(self.projected(inputs, present), dim=1)  # (B, 2, H)
        attended, _ = self.attention(self.question.expand(len(hidden), -1, -1), hidden, hidden)
        return self.classifier(torch.relu(self.norm(attended[:, 0])))


class RowsAttendToRows(OneKey):
    """Passes (B, H) as B sequences; nn.MultiheadAttention reads it as one sequence of B."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        image, text = self.projected(inputs, present)
        attended, _ = self.attention(image, text, text)
        return self.classifier(torch.relu(self.norm(image + attended)))


class FactorsInAList(Sound):
    """Low-rank fusion (arXiv 1806.00064) whose factors stand in a plain list."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.factors = [nn.Parameter(torch.randn(HIDDEN_DIM, HIDDEN_DIM) / 4) for _ in dims]

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        image, text = (
            vectors @ factor for vectors, factor in zip(self.projected(inputs, present), self.factors, strict=True)
        )
        return self.classifier(torch.relu(self.norm(image * text + image + text)))


class LayersInADict(Sound):
    """Its layers stand in a plain dictionary."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.after = {name: nn.Linear(HIDDEN_DIM, HIDDEN_DIM) for name in dims}

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        image, text = self.projected(inputs, present)
        return self.classifier(torch.relu(self.norm(self.after["image"](image) + self.after["text"](text))))


class ScaledParameter(Sound):
    """A parameter that is scaled, or moved to a device, is a tensor, and no parameter any more."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.shift = nn.Parameter(torch.randn(HIDDEN_DIM)) * 0.5

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return self.classifier(torch.relu(self.norm(sum(self.projected(inputs, present))) + self.shift.detach()))


class UnsavedConstant(Sound):
    """Its answers depend on random numbers that are no buffer, and so are not saved."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.signs = torch.randn(HIDDEN_DIM).sign()

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return self.classifier(torch.relu(self.norm(sum(self.projected(inputs, present)))) * self.signs)


class TiedWeights(Sound):
    """Has the same tensor under two names."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.again = self.classifier


class ZeroAtFirst(Sound):
    """A sound head whose last layer begins with zeros, so that at first nothing changes its answers."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)


class NeverUsedLayer(Sound):
    """Has a layer that it does not call."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.gate = nn.Linear(HIDDEN_DIM, HIDDEN_DIM)


class Frozen(Sound):
    """One of its layers was frozen, and never unfrozen."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.projections["image"].requires_grad_(False)


class Detached(Sound):
    """Its projections are never trained, as their output is detached."""

    def projected(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        return [vectors.detach() for vectors in super().projected(inputs, present)]


class TextAlone(Sound):
    """Fusion in name only: the image is projected, and multiplied by zero."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        _, text = self.projected(inputs, present)
        return self.classifier(torch.relu(self.norm(text)))


class HardlyTheImage(Sound):
    """The image has so little say that rounding has more."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        image, text = self.projected(inputs, present)
        return self.classifier(torch.relu(self.norm(text + 1e-7 * image)))


class NeighboursVector(Sound):
    """A row without a modality gets the vector of the row after it."""

    def projected(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        zeroed = {name: torch.where(present[name][:, None], vectors, 0.0) for name, vectors in inputs.items()}
        shifted = {
            name: torch.where(present[name][:, None], vectors, vectors.roll(-1, 0)) for name, vectors in zeroed.items()
        }
        return super().projected(shifted, {name: torch.ones_like(mask) for name, mask in present.items()})


class ReadsTheAbsent(Sound):
    """Does not look at what is present."""

    def projected(self, inputs: Mapping[str, Tensor], _present: Mapping[str, Tensor]) -> list[Tensor]:
        return [layer(inputs[name]) for name, layer in self.projections.items()]


class TimesTheMask(Sound):
    """Multiplies by what is present; but NaN times 0 is NaN."""

    def projected(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        return [layer(inputs[name] * present[name][:, None]) for name, layer in self.projections.items()]


class MeanOfThePresent(Sound):
    """Divides by how many modalities there are, which may be none."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        n_present = torch.stack(list(present.values()), dim=1).sum(1, keepdim=True)  # (B, 1)
        zeroed = [
            vectors * present[name][:, None]
            for vectors, name in zip(self.projected(inputs, present), present, strict=True)
        ]
        return self.classifier(torch.relu(self.norm(sum(zeroed) / n_present)))


class Probabilities(Sound):
    """Answers with probabilities, and the loss takes the softmax of them once more."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return torch.softmax(super().forward(inputs, present), dim=1)


class Bounded(Sound):
    """Its logits stay between -1 and 1, so that it is never sure: a cosine without a scale."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        hidden = torch.relu(self.norm(sum(self.projected(inputs, present))))
        return F.linear(F.normalize(hidden), F.normalize(self.classifier.weight)) + 0.01 * torch.tanh(
            self.classifier.bias
        )


class LateStatistics(Sound):
    """Its batch norm hardly follows the mean, which is far from zero; so in evaluation mode it is blind."""

    def __init__(self, dims: Mapping[str, int], *, n_classes: int) -> None:
        super().__init__(dims, n_classes=n_classes)
        self.norm = nn.BatchNorm1d(HIDDEN_DIM, momentum=1e-6)

    def projected(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> list[Tensor]:
        return [vectors - 100.0 for vectors in super().projected(inputs, present)]


class AlwaysDropout(Sound):
    """Drops half of its hidden units when it answers, too."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return self.classifier(F.dropout(torch.relu(self.norm(sum(self.projected(inputs, present)))), 0.5))


class Squeezed(Sound):
    """Forgets the batch's axis where there is one row."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return super().forward(inputs, present).squeeze()


class Raising(Sound):
    """Reads a modality that no input has."""

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        return super().forward(inputs, present) + inputs["sound"]

"""Pictures and texts that a graph with encoders must answer as first the encoders and then the head do."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from heads.errors import ExportError
from heads.export.networks import Network
from heads.export.probe_rows import BATCHES, ProbeRows, drawn_rows, subset_rows
from heads.modules.saving.saved_head import TrainedHead
from heads.runs.encoder_samples import LEAST_COSINE

__all__ = ["RawRows", "raw_rows"]

SIDE = 256  # pixels of a drawn picture
WORDS = ("a", "the", "blue", "striped", "cotton", "shirt", "with", "and", "men's", "women's", "100%", "42", "café")


@dataclass(frozen=True)
class RawRows:
    """The rows, and the least cosine between a network's vectors and its encoder's, {modality: cosine}."""

    rows: ProbeRows
    cosines: Mapping[str, float]


def raw_rows(
    head: TrainedHead,
    networks: Mapping[str, Network],
    encoders: Mapping[str, Any],
    *,
    contents: Mapping[str, Sequence[Any]],
) -> RawRows:
    """Return pictures and texts, the same for each subset of modalities, and what encoders and head answer.

    They are those of `contents`, and random ones where these are too few. Where an encoder computes in 16 bits, the
    expected answers are to its network's vectors in fp32, which are compared with the encoder's.

    Raises:
        ExportError: a network's vectors are not those of its encoder.
    """
    generator = np.random.default_rng(0)
    n_contents = max(BATCHES)
    present, batches = subset_rows(list(head.description.dims))
    n_subsets = 2 ** len(present)
    probe = drawn_rows(head)
    inputs, vectors, cosines = dict(probe.inputs), {}, {}
    for name in head.description.dims:
        if name not in networks:
            vectors[name] = inputs[name]
            continue
        sample = [*contents.get(name, []), *_DRAWN[name](generator, n_contents)][:n_contents]
        prepared = [encoders[name].prepare(content) for content in sample]
        encoded = _encoded(encoders[name], prepared)  # (n_contents, D)
        with torch.no_grad():
            traced = networks[name](networks[name].batch(prepared))
        cosines[name] = _least_cosine(traced, encoded, name=name, precision=encoders[name].precision)
        head_vectors = encoded if encoders[name].precision == "fp32" else traced
        vectors[name] = head_vectors.repeat(n_subsets, 1)
        batch = [
            content if is_present else None
            for content, is_present in zip(prepared * n_subsets, present[name], strict=True)
        ]
        del inputs[name]
        inputs |= networks[name].batch(batch)
    expected = head.log_probabilities(vectors, present)
    return RawRows(ProbeRows(inputs, expected, batches), cosines)


def _encoded(encoder: Any, prepared: Sequence[Any]) -> Tensor:
    vectors = encoder.encode(prepared)
    return torch.from_numpy(np.asarray(getattr(vectors, "vectors", vectors)))  # without tokens, where it keeps such


def _least_cosine(traced: Tensor, encoded: Tensor, *, name: str, precision: str) -> float:
    cosine = float(F.cosine_similarity(traced.double(), encoded.double(), dim=1).min())
    if not cosine >= LEAST_COSINE[precision]:
        raise ExportError(
            f"Expected the {name} network to give the vectors that its encoder gives in {precision}, within a cosine "
            f"of {LEAST_COSINE[precision]}, but one has {cosine:.5f}. Export the head without it."
        )
    return cosine


def _pictures(generator: np.random.Generator, n: int) -> list[bytes]:
    """Return blots of colour, which have edges and surfaces, as PNG files."""
    files = []
    for _ in range(n):
        small = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        file = io.BytesIO()
        small.resize((SIDE, SIDE + 40), Image.Resampling.BICUBIC).save(file, "PNG")
        files.append(file.getvalue())
    return files


def _texts(generator: np.random.Generator, n: int) -> list[str]:
    """Return texts of different lengths."""
    return [" ".join(generator.choice(WORDS, 1 + 2 * index)) for index in range(n)]


_DRAWN: dict[str, Callable[[np.random.Generator, int], list[Any]]] = {"image": _pictures, "text": _texts}

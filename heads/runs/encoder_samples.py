"""Contents that a run keeps with the vectors it learned from, so that encoders can be checked before they are used.

They stand in ``encoder_samples.safetensors``: ``<modality>.vector`` (n, D) float32, and ``<modality>.content.<i>``, the
bytes of a picture's file or of a normalised text, uint8. Where the vectors are those of several encoders side by side,
``<modality>.widths`` has the dimensions of each, int64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from cache import Cache
from cache.arrays.key_index import KeyIndex
from cache.sealed.samples import read_samples
from heads.data.encoder_sets import split_name
from heads.errors import RunError
from heads.typed_json import read_plain_file

__all__ = ["LEAST_COSINE", "EncoderSamples", "load_encoder_samples", "samples_of", "save_encoder_samples"]

FILE = "encoder_samples.safetensors"
LEAST_COSINE = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999}  # of one content's vectors, by precision
TEXT = "text"


@dataclass(frozen=True)
class EncoderSamples:
    """Some contents of one modality, and the vectors that its encoder made of them.

    Shape:
        vectors: (n, D) float32
    """

    contents: list[bytes]
    vectors: np.ndarray
    is_text: bool = False
    widths: tuple[int, ...] = ()  # D of each encoder, where there are several

    @property
    def readable(self) -> list[bytes] | list[str]:
        """The contents as an encoder takes them: bytes of pictures, or texts."""
        return [content.decode() for content in self.contents] if self.is_text else self.contents


def samples_of(cache: Cache, encoders: Mapping[str, str]) -> dict[str, EncoderSamples]:
    """Return the sample of contents that a cache keeps, with their vectors, by modality, where there is one."""
    samples = {}
    for modality in sorted(encoders.keys() & set(cache.modalities)):
        names = split_name(cache, modality, encoders[modality])
        contents_by_key = read_samples(cache, modality)
        rows = KeyIndex(cache.keys(modality)).rows_of(contents_by_key)
        is_encoded = np.logical_and.reduce([cache.encoded(modality, name) for name in names])
        contents = {
            row: content
            for row, content in zip(rows.tolist(), contents_by_key.values(), strict=True)
            if row >= 0 and is_encoded[row]
        }
        if contents:
            vectors = [
                np.concatenate([cache.vector_block(modality, name, row, row + 1)[0] for name in names])
                for row in contents
            ]
            widths = tuple(cache.dimension(modality, name) for name in names) if len(names) > 1 else ()
            samples[modality] = EncoderSamples(list(contents.values()), np.stack(vectors), modality == TEXT, widths)
    return samples


def save_encoder_samples(folder: Path, samples: Mapping[str, EncoderSamples]) -> None:
    """Write the samples into a run's folder; no file where there are none."""
    tensors = {f"{modality}.vector": sample.vectors for modality, sample in samples.items()}
    for modality, sample in samples.items():
        if sample.widths:
            tensors[f"{modality}.widths"] = np.array(sample.widths, dtype=np.int64)
        for number, content in enumerate(sample.contents):
            tensors[f"{modality}.content.{number}"] = np.frombuffer(content, dtype=np.uint8)
    if tensors:
        (folder / FILE).write_bytes(save(tensors))


def load_encoder_samples(run_path: Path) -> dict[str, EncoderSamples]:
    """Return the samples of a run by modality; none of a run that has none.

    Raises:
        RunError: the file is damaged.
        UnreadableError: the system could not read it.
    """
    path = run_path / FILE
    try:
        tensors = load(read_plain_file(path))
        modalities = [name.removesuffix(".vector") for name in tensors if name.endswith(".vector")]
        samples = {
            modality: EncoderSamples(
                [tensors[f"{modality}.content.{n}"].tobytes() for n in range(len(tensors[f"{modality}.vector"]))],
                tensors[f"{modality}.vector"],
                modality == TEXT,
                tuple(tensors[f"{modality}.widths"].tolist()) if f"{modality}.widths" in tensors else (),
            )
            for modality in modalities
        }
        for sample in samples.values():
            if (
                sample.vectors.ndim != 2
                or sample.vectors.dtype != np.float32
                or len(sample.readable) != len(sample.vectors)
            ):
                raise ValueError(f"vectors of {sample.vectors.dtype} and shape {sample.vectors.shape}")
            if sample.widths and sum(sample.widths) != sample.vectors.shape[1]:
                raise ValueError(f"vectors of {sample.vectors.shape[1]} dimensions and encoders of {sample.widths}")
        return samples
    except FileNotFoundError:
        return {}
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise RunError(
            f"Expected {path} to hold contents and their vectors, but it is damaged ({error}). Train again, or restore "
            "it from a copy."
        ) from error

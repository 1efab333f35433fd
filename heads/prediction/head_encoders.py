"""The encoders that heads learned from, built again and checked, for whatever needs an encoder."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cache import EncoderSpec
from heads.data.encoder_sets import parts_of
from heads.data.metadata.metadata_request import is_metadata
from heads.errors import HeadError
from heads.modules.saving.saved_head import TrainedHead
from heads.prediction.joined_encoder import JoinedEncoder
from heads.runs.encoder_samples import LEAST_COSINE, EncoderSamples

if TYPE_CHECKING:
    from embed.encoders.protocol import Encoder
    from embed.settings import ExtractSettings

__all__ = ["CheckedEncoder", "check_parity", "checked_encoder", "encoders_of"]

MOST_SHOWN = 4  # differences of two specs


def encoders_of(
    heads: Iterable[TrainedHead], *, device: str = "auto", changed: Mapping[str, str] | None = None
) -> dict[str, list[Encoder]]:
    """Return the encoders of each modality that heads of one run look at, metadata excepted; none is loaded yet.

    A modality has one, or several whose vectors stand side by side. `changed` replaces settings that an encoder was
    built from: ``image_encoder``, ``image_weights``, ``text_encoder``, ``text_weights``, such as a folder that lies
    elsewhere by now. For several encoders there are as many values with commas between; an empty one changes nothing.

    Raises:
        HeadError: an encoder cannot be built as it was; the message names what differs. Or several devices are named.
        WeightsError, DeviceError, SettingError: its weights or the device cannot be had.
    """
    if "," in device:
        raise HeadError(
            f"--device: expected one device, got {device!r}. Name one; embed-extract takes several, and its cache is "
            "answered as it is."
        )
    specs: dict[str, EncoderSpec] = {}
    names: dict[str, str] = {}
    for head in heads:
        specs |= {modality: spec for modality, spec in head.specs.items() if not is_metadata(spec)}
        names |= head.encoders
    return {
        modality: _build_parts(spec, names[modality], device=device, changed=changed or {})
        for modality, spec in sorted(specs.items())
    }


def checked_encoder(encoders: Sequence[Encoder], samples: EncoderSamples | None) -> Any:
    """Return a modality's encoder, several as one, each of which is checked before it encodes anything."""
    if len(encoders) == 1:
        return CheckedEncoder(encoders[0], samples)
    parts = []
    end = 0
    for encoder, dim in zip(encoders, samples.widths if samples else [0] * len(encoders), strict=True):
        start, end = end, end + dim
        part = None if samples is None else replace(samples, vectors=samples.vectors[:, start:end])
        parts.append(CheckedEncoder(encoder, part))
    return JoinedEncoder(parts)


def _build_parts(spec: EncoderSpec, name: str, *, device: str, changed: Mapping[str, str]) -> list[Encoder]:
    parts = parts_of(spec, name)
    values_by_option = {
        option: value.split(",") if len(parts) > 1 else [value]
        for option, value in changed.items()
        if option.startswith(f"{spec.modality}_")
    }
    for option, values in values_by_option.items():
        if len(values) != len(parts):
            raise HeadError(
                f"--{option.replace('_', '-')}: expected one for each of {', '.join(parts)}, with commas between, got "
                f"{changed[option]!r}. Leave empty what is where it was."
            )
    from embed.encoders.factory import rebuild

    settings = []
    for index, (part_name, part) in enumerate(parts.items()):
        part_changes = {
            option: values[index].strip() for option, values in values_by_option.items() if values[index].strip()
        }
        settings.append(_settings(part, part_name, device=device, changed=part_changes))
    encoders = rebuild(list(zip(parts.values(), settings, strict=True)))
    for encoder, (part_name, part) in zip(encoders, parts.items(), strict=True):
        _check_spec(encoder, part, part_name)
    return encoders


def _settings(spec: EncoderSpec, name: str, *, device: str, changed: Mapping[str, str]) -> ExtractSettings:
    """Return the settings that an encoder was built from."""
    from embed.encoders.specs.side_notes import settings_of

    settings = settings_of(spec, changed, device=device)
    if settings is None:
        raise HeadError(
            f"Expected the head to say how its {spec.modality} encoder {name} is built, but it was extracted without "
            f"such notes. Name it with --{spec.modality}-encoder and --{spec.modality}-weights."
        )
    return settings


def _check_spec(encoder: Encoder, spec: EncoderSpec, name: str) -> None:
    """Check that an encoder is made as the heads' encoder was, and give it the name that this had.

    Raises:
        HeadError: it is made otherwise; the message names the differences.
    """
    if differences := encoder.spec.differences(spec):
        modality = spec.modality
        raise HeadError(
            f"Expected the {modality} encoder to be made as {name} was, which the heads learned from, but here it has "
            f"{'; '.join(differences[:MOST_SHOWN])}. Name the same with --{modality}-encoder and --{modality}-weights."
        )
    encoder.name = name


class CheckedEncoder:
    """An encoder that is checked on contents whose vectors are known, before it encodes any others."""

    def __init__(self, encoder: Encoder, samples: EncoderSamples | None) -> None:
        self.name = encoder.name
        self.spec = encoder.spec
        self.prepare = encoder.prepare
        self.encoder = encoder
        self._samples = samples
        self._check_lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.encoder, name)

    def check(self) -> None:
        """Check the encoder now, unless that was done before.

        Raises:
            HeadError: as of `check_parity`.
        """
        with self._check_lock:
            if self._samples is not None:
                check_parity({self.spec.modality: self.encoder}, {self.spec.modality: self._samples})
                self._samples = None

    def encode(self, batch: Sequence[Any]) -> Any:
        """Return what the encoder gives; raises what `check` does, at the first call."""
        self.check()
        return self.encoder.encode(batch)


def check_parity(encoders: Mapping[str, Encoder], samples: Mapping[str, EncoderSamples]) -> None:
    """Encode contents whose vectors are known again, and check that the vectors are the same.

    Raises:
        HeadError: they are not; the message says by how much, and which libraries have other versions here.
    """
    for modality in sorted(encoders.keys() & samples.keys()):
        encoder, sample = encoders[modality], samples[modality]
        contents: Sequence[bytes | str] = (
            [content.decode("utf-8", "surrogateescape") for content in sample.contents]
            if modality == "text"
            else sample.contents
        )
        vectors = _vectors(encoder.encode([encoder.prepare(content) for content in contents]))
        least = LEAST_COSINE[str(encoder.spec.fields.get("precision", "fp32"))]
        cosine = float(_cosines(vectors, sample.vectors).min(initial=1.0))
        if not cosine >= least:
            raise HeadError(
                f"Expected the {modality} encoder {encoder.name} to give the vectors that the heads learned from, but "
                f"of {len(contents)} contents kept with the run one comes out with a cosine of {cosine:.5f} to its "
                f"vector, less than {least}. {_other_versions(encoder.spec)} Extract and train again with what is "
                "here, or install what the vectors were made with."
            )


def _other_versions(spec: EncoderSpec) -> str:
    from embed.encoders.specs.side_notes import library_versions, versions_then

    current = library_versions()
    lines = [
        f"{name} is {current.get(name)}, was {version}"
        for name, version in sorted(versions_then(spec).items())
        if current.get(name) != version
    ]
    return f"Other versions here: {', '.join(lines)}." if lines else "All libraries are of the same versions."


def _vectors(encoded: object) -> np.ndarray:
    return np.asarray(getattr(encoded, "vectors", encoded))


def _cosines(vectors: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return the cosine of each row with its counterpart, (n,); 0 where the shapes are not the same."""
    if vectors.shape != references.shape:
        return np.zeros(len(vectors))
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(references, axis=1)
    return np.sum(vectors * references, axis=1, dtype=np.float64) / np.maximum(norms, np.finfo(np.float32).tiny)

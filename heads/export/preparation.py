"""What an encoder is given: how pictures are resized and texts become ids, so that others can do the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from cache import EncoderSpec
from heads.data.encoder_sets import parts_of
from heads.export.file_facts import without_folders
from heads.export.graph_input import GraphInput
from heads.modules.saving.saved_head import TrainedHead

__all__ = ["Preparation", "preparations"]

RESIZED, PROCESSED, TOKENIZED, HASHED = "resized", "processed", "tokenized", "hashed"
LEFT_TO_THE_FILE = ("do_rescale", "do_normalize")  # steps of a processor that a file does, whose pixels are bytes


@dataclass(frozen=True)
class Preparation:
    """What becomes of one modality's contents before an encoder sees them, in words and as what code needs."""

    modality: str
    encoder: str
    words: str
    kind: str = ""  # of code that does it where the encoder is in the file, one of the above
    values: Mapping[str, Any] = field(default_factory=dict)  # that the code needs


def preparations(head: TrainedHead, encoders: Mapping[str, Any], inputs: Sequence[GraphInput]) -> list[Preparation]:
    """Return what the encoders of a head's modalities are given, as their specs say; with code of those in the file.

    `encoders` are those in the file, by modality, and `inputs` what it takes.
    """
    prepared = []
    for modality in sorted(head.specs):
        if modality in encoders:
            encoder = encoders[modality]
            words = _words(encoder.spec, in_file=True)
            kind, values = _code(encoder, [one for one in inputs if one.modality == modality])
            prepared.append(Preparation(modality, encoder.name, words, kind, values))
            continue
        for name, spec in parts_of(head.specs[modality], head.encoders[modality]).items():
            if words := _words(spec, in_file=False):
                prepared.append(Preparation(modality, name, words))
    return prepared


def _words(spec: EncoderSpec, *, in_file: bool) -> str:
    """Return in words what a spec says of the way to the network; "" where it says nothing."""
    return "; ".join(_steps(spec.fields, _model_name(spec), in_file=in_file))


def _steps(fields: Mapping[str, Any], model: str, *, in_file: bool) -> Iterator[str]:
    by_the_file = " (the file does this)" if in_file else ""
    if "pixels" in fields:
        yield f"pictures are {fields['pixels']}, after their EXIF orientation, 16 bits scaled to 8"
    if "decode" in fields:
        yield f"{fields['decode']}, which moves vectors by less than a cosine of 0.001"
    if "resize" in fields and "crop" in fields:
        antialias = ", antialiased" if fields.get("antialias") else ""
        yield f"{_size(fields['resize'])} ({fields.get('interpolation')}{antialias})"
        yield f"the middle {_sides(fields['crop'])} pixels are cut out"
        yield (
            f"RGB becomes (value / 255 − mean) / std, with mean {fields.get('mean')} and std {fields.get('std')}"
            f"{by_the_file}"
        )
    if "processor" in fields:
        yield f"the image processor of {model}, {fields.get('processor_class')}, files {str(fields['processor'])[:23]}"
    if "tokenizer" in fields:
        tokenizer = str(fields["tokenizer"])
        yield f"texts are normalised: {fields.get('normalisation')}"
        is_of_files = tokenizer.startswith("sha256:")
        yield f"ids are those of the tokenizer of {model}, files {tokenizer[:23]}" if is_of_files else tokenizer
        yield f"at most {fields.get('max_length')} ids with the special ones, what is longer is cut"
    if "pooling" in fields:
        yield f"the vector is {fields['pooling']}{by_the_file}"


def _code(encoder: Any, inputs: Sequence[GraphInput]) -> tuple[str, dict[str, Any]]:
    """Return the kind of code that does what the encoder does, and the values it needs; "" where there is none."""
    fields = encoder.spec.fields
    if "resize" in fields and "crop" in fields:
        resize, crop = fields["resize"], fields["crop"]
        values = {
            "side": resize[0] if len(resize) == 1 else None, "size": resize[::-1], "crop": (crop * 2)[1::-1],
            "resampling": str(fields.get("interpolation", "bilinear")).upper(),
        }  # fmt: skip
        return RESIZED, values
    if "processor" in fields:
        settings = {name: value for name, value in _processor_settings(encoder).items() if value is not None}
        pixels = next(one for one in inputs if one.name.endswith("_pixels"))
        steps = LEFT_TO_THE_FILE if str(pixels.dtype) == "torch.uint8" else ()
        return PROCESSED, {"class": fields["processor_class"], "settings": settings, "steps": steps}
    if "tokenizer" in fields:
        values = {
            "model": _model_name(encoder.spec),
            "max_length": fields["max_length"],
            "padded_length": getattr(encoder, "padded_length", None),
            "has_mask": any(one.name.endswith("_mask") for one in inputs),
        }
        if not str(fields["tokenizer"]).startswith("sha256:"):
            return HASHED, values | {"n_ids": encoder.text_config.vocab_size}
        return TOKENIZED, values
    return "", {}


def _processor_settings(encoder: Any) -> dict[str, Any]:
    """Return a Hugging Face processor's settings but for where it was read from, as `from_dict` takes them."""
    import json

    settings = json.loads(encoder.processor.process.to_json_string())
    return {name: value for name, value in settings.items() if not name.startswith("_") and "path" not in name}


def _model_name(spec: EncoderSpec) -> str:
    """Return what an encoder's model is called, without the folder of a local one."""
    settings = without_folders(spec.side_notes).get("settings")
    name = settings.get(f"{spec.modality}_encoder") if isinstance(settings, dict) else None
    return PurePath(name).name if isinstance(name, str) and name.startswith(".") else str(name or "its model")


def _size(sides: Sequence[int]) -> str:
    if len(sides) == 1:
        return f"the shorter side is resized to {sides[0]} pixels"
    return f"they are resized to {_sides(sides)} pixels"


def _sides(sides: Sequence[int]) -> str:
    """Return height and width, or one number for both, as width × height."""
    height, width = (list(sides) * 2)[:2]
    return f"{width}×{height}"

"""A saved head's JSON file, checked before anything is built from it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cache import ContentSpec, EncoderSpec
from cache.keys import fields_sha256
from heads.data.encoder_sets import parts_of
from heads.data.metadata.fitted_metadata import FittedMetadata
from heads.data.metadata.metadata_request import is_metadata
from heads.errors import HeadError
from heads.modules.description import HeadDescription
from heads.typed_json import check_plain_name, read_object, typed

__all__ = ["HEAD_VERSION", "HeadFile", "read_head_file"]

HEAD_VERSION = 5
READABLE_VERSIONS = (3, 4, 5)  # 3 had no side notes in its specs, 4 no scaling but z-score


@dataclass(frozen=True)
class HeadFile:
    """What a head's JSON file says, as it stands there."""

    label: str
    classes: list[str]
    description: dict[str, Any]
    encoders: dict[str, str]
    specs: dict[str, dict[str, Any]]
    weights_sha256: str
    contents: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def described(self) -> HeadDescription:
        """What the head is built from.

        Raises:
            ValueError: it is none, or not one of so many classes and of modalities that have an encoder and a spec.
        """
        head = typed(HeadDescription, self.description, where="the description")
        check_plain_name(head.name)
        if len(set(self.classes)) != head.n_classes or len(self.classes) != head.n_classes:
            raise ValueError(f"it names {len(self.classes)} classes, where {head.n_classes} distinct ones are expected")
        for modality in head.dims:
            check_plain_name(modality)
            for field_name, by_modality in (("encoder", self.encoders), ("spec", self.specs)):
                if modality not in by_modality:
                    raise ValueError(f"it has no {field_name} of {modality}")
        return head

    def encoder_specs(self) -> dict[str, EncoderSpec]:
        """Return the specs of the encoders.

        Raises:
            ValueError: one is none, or that of another modality.
        """
        specs = {name: EncoderSpec.from_json(json.dumps(spec)) for name, spec in self.specs.items()}
        for name, spec in specs.items():
            if spec.modality != name:
                raise ValueError(f"the spec of {name} is that of {spec.modality[:40]!r}")
            try:
                parts_of(spec)
            except HeadError as error:
                raise ValueError(error) from error
            if is_metadata(spec):
                try:
                    dim = FittedMetadata.from_spec(spec).dim
                except HeadError as error:
                    raise ValueError(error) from error
                if dim != self.description["dims"].get(name):
                    raise ValueError(f"{name} has other dimensions than its columns give")
        return specs

    def content_specs(self) -> dict[str, ContentSpec]:
        """Return how what was encoded is made, where it is known.

        Raises:
            ValueError: one is no such spec.
        """
        return {name: ContentSpec.from_json(json.dumps(spec)) for name, spec in self.contents.items()}


def read_head_file(path: Path) -> HeadFile:
    """Return what a head's JSON file says, once it is known to be of a known version and as it was written.

    Raises:
        HeadError: it is of another version, or was altered.
        FileNotFoundError, UnreadableError, ValueError, LookupError: it cannot be read, or lacks a field.
    """
    about = read_object(path)
    if about["format"] != "embed-once head" or about["format_version"] not in READABLE_VERSIONS:
        raise HeadError(
            f"Expected {path} to be a head of version {', '.join(map(str, READABLE_VERSIONS))}, but it is "
            f"{about['format']} {about['format_version']}. Update embed-once, or train again."
        )
    if about.pop("sha256") != fields_sha256(about):
        raise HeadError(f"Expected {path} to be as it was written, but it was altered. Train again, or restore it.")
    saved = typed(HeadFile, about, where=path.name, more=True)
    if saved.described.name != path.stem:
        raise HeadError(
            f"Expected {path} to hold the head of its name, but it holds {saved.described.name}. Give the file its "
            "name back, or restore it."
        )
    return saved

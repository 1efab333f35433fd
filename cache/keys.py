"""Names for content and for encoders: a content key, and specs with their fingerprints."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from cache.errors import NotACacheError

__all__ = ["ContentSpec", "EncoderSpec", "content_key", "fields_sha256", "mean_key", "normalised", "text_key"]

SIDE_NOTES = "side_notes"  # a reserved name among the fields of a spec in JSON


def content_key(content: bytes) -> str:
    """Return the SHA-256 of `content` as 64 hexadecimal digits.

    For an image this is the digest of the file, the one that ``sha256sum`` prints.

    >>> content_key(b"")[:12]
    'e3b0c44298fc'
    """
    return hashlib.sha256(content).hexdigest()


def normalised(cell: str) -> str:
    r"""Return the text in a cell: Unicode NFC, runs of white space as one blank, none at the ends.

    >>> normalised("  Blue\t shirt ")
    'Blue shirt'
    """
    return " ".join((cell if cell.isascii() else unicodedata.normalize("NFC", cell)).split())


def text_key(cell: str) -> str:
    """Return the key of the text in a cell; "" where there is none, or it is not Unicode."""
    try:
        content = normalised(cell).encode()
    except UnicodeEncodeError:
        return ""
    return content_key(content) if content else ""


def mean_key(keys: Iterable[str]) -> str:
    """Return the key of the mean of several contents' vectors, the same whatever their order.

    It is the key of no picture: what is hashed begins with a length, as no picture's file does.
    """
    return fields_sha256({"mean_of": sorted(set(keys))})


def fields_sha256(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 over named values, each name and value prefixed by its length.

    The order of the fields does not count. No two sets of fields are hashed as the same bytes.

    Raises:
        TypeError: a value is not of JSON's types.
    """
    digest = hashlib.sha256()
    for name in sorted(fields):
        for part in (name, json.dumps(fields[name], sort_keys=True, allow_nan=False)):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "little"))
            digest.update(encoded)
    return digest.hexdigest()


@dataclass(frozen=True)
class Spec:
    """Named values, of JSON's types, that say how something of a modality is made."""

    modality: str
    fields: Mapping[str, Any]

    def __post_init__(self) -> None:
        # The fields are as a cache returns them, after JSON: a tuple is a list.
        object.__setattr__(self, "fields", json.loads(json.dumps(dict(self.fields), allow_nan=False)))

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the spec, 64 hexadecimal digits."""
        return fields_sha256({"modality": self.modality, "fields": dict(self.fields)})

    def differences(self, other: Spec) -> list[str]:
        """Return one ``field: ours, not theirs`` line for each field that is not the same."""
        ours, theirs = ({"modality": spec.modality, **spec.fields} for spec in (self, other))
        lines = []
        for name in sorted({*ours, *theirs}):
            our_text, their_text = (
                json.dumps(fields[name], sort_keys=True) if name in fields else "nothing" for fields in (ours, theirs)
            )
            if our_text != their_text:
                lines.append(f"{name}: {_shortened(our_text)}, not {_shortened(their_text)}")
        return lines

    def to_json(self) -> str:
        """Return the spec as one JSON object."""
        return json.dumps({"modality": self.modality, **self.fields}, sort_keys=True, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the spec that `to_json` wrote.

        Raises:
            NotACacheError: the text is no such object.
        """
        try:
            fields = json.loads(text)
            modality = fields.pop("modality")
            if not isinstance(modality, str):
                raise ValueError(f"its modality is {modality!r}")
            return cls(modality=modality, fields=fields)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise NotACacheError(
                f"Expected a spec to be a JSON object with a modality, but it is not: {error}"
            ) from error


@dataclass(frozen=True)
class EncoderSpec(Spec):
    """Everything that changes an encoder's vector: weights, preprocessing, pooling, precision.

    Batch size, worker count, device and paths are left out on purpose: they do not change it. What else is worth
    knowing of how the vectors were made, such as versions of libraries, is in ``side_notes``, which do not count when
    specs are compared.

    >>> spec = EncoderSpec("text", {"pooling": "cls"}, side_notes={"libraries": {"torch": "2.14"}})
    >>> spec == EncoderSpec("text", {"pooling": "cls"}), EncoderSpec.from_json(spec.to_json()).side_notes
    (True, {'libraries': {'torch': '2.14'}})
    """

    side_notes: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "side_notes", json.loads(json.dumps(dict(self.side_notes), allow_nan=False)))

    def to_json(self) -> str:
        """Return the spec and its side notes as one JSON object."""
        notes = {SIDE_NOTES: dict(self.side_notes)} if self.side_notes else {}
        return json.dumps({"modality": self.modality, **self.fields, **notes}, sort_keys=True, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the spec that `to_json` wrote.

        Raises:
            NotACacheError: the text is no such object.
        """
        spec = super().from_json(text)
        fields = dict(spec.fields)
        notes = fields.pop(SIDE_NOTES, {})
        if not isinstance(notes, dict):
            raise NotACacheError(f"Expected the side notes of a spec to be a JSON object, got {type(notes).__name__}.")
        return cls(spec.modality, fields, side_notes=notes)


class ContentSpec(Spec):
    """How a modality's contents are made of a catalogue: ``columns``, and what is done to their cells.

    >>> str(ContentSpec("text", {"columns": ["title", "body"], "join": ". ", "clean": True}))
    'columns title, body; join: ". "; clean: true'
    """

    @property
    def columns(self) -> list[str]:
        """The columns whose cells the contents are made of, in their order."""
        return list(self.fields.get("columns", []))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the spec that `to_json` wrote.

        Raises:
            NotACacheError: the text is no such object, or its columns are no list of names.
        """
        spec = super().from_json(text)
        columns = spec.fields.get("columns", [])
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise NotACacheError("Expected the columns of a content's spec to be a list of names, but they are none.")
        return spec

    def __str__(self) -> str:
        names = f"{'column' if len(self.columns) == 1 else 'columns'} {', '.join(self.columns)}"
        settings = [f"{name}: {json.dumps(value)}" for name, value in self.fields.items() if name != "columns"]
        return "; ".join([*([names] if self.columns else []), *settings])

    def renamed(self, other: ContentSpec) -> ContentSpec:
        """Return the spec with the columns of `other`, if these are as many.

        Templates of paths count as one column: they, too, say where a content is, and not what is done to it.

        >>> spec = ContentSpec("image", {"columns": [], "templates": ["images/{id}.jpg"], "pictures": "mean"})
        >>> spec.renamed(ContentSpec("image", {"columns": ["picture"]})).fields
        {'pictures': 'mean', 'columns': ['picture']}
        """
        if (len(self.columns) or 1) != (len(other.columns) or 1):
            return self
        names = ("columns", "templates")
        fields = {name: value for name, value in self.fields.items() if name not in names}
        return ContentSpec(self.modality, fields | {name: other.fields[name] for name in names if name in other.fields})


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."

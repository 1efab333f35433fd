"""Encoders that work by the network of another one, the whole: depths of it, and views of pictures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cache import EncoderSpec

__all__ = ["DerivedEncoder"]


class DerivedEncoder:
    """An encoder by the network of another, the `whole`, whose name and spec its own continue."""

    def __init__(self, whole: Any, name: str) -> None:
        self.whole = whole
        self.whole_name = whole.name
        self.name = f"{whole.name}.{name}"
        self.batch_size = whole.batch_size
        self.n_parallel = whole.n_parallel
        self.device = whole.device

    @property
    def precision(self) -> str:
        """The whole encoder's."""
        return self.whole.precision

    @property
    def decoding(self) -> str | None:
        """How pictures are decoded, where that may be shared."""
        return getattr(self.whole, "decoding", None)

    def decode(self, content: bytes) -> Any:
        """Return the picture in an image file."""
        return self.whole.decode(content)

    def spec_with(self, field: str, value: Any) -> EncoderSpec:
        """Return the whole encoder's spec with a field more, and without tokens, which are the whole's alone."""
        spec: EncoderSpec = self.whole.spec
        fields = {name: field_value for name, field_value in spec.fields.items() if name != "tokens"}
        return replace(spec, fields={**fields, field: value})

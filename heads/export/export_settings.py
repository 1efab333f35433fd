"""How a head is exported."""

from __future__ import annotations

from dataclasses import dataclass

from heads.errors import SettingError
from heads.export.formats import FORMATS

__all__ = ["ExportSettings", "parse_names"]


@dataclass(frozen=True)
class ExportSettings:
    """Settings of `heads.export_head`.

    Raises:
        SettingError: a value is out of its range, or int8 is asked for without ONNX or beside the image encoder.
    """

    formats: tuple[str, ...] = ("onnx",)
    with_encoders: tuple[str, ...] = ()  # the modalities whose encoder is in the graph; "all"
    int8: bool = False
    max_loss: float = 0.5  # points of accuracy that int8 may lose on the validation rows

    def __post_init__(self) -> None:
        if not self.formats or set(self.formats) - set(FORMATS):
            raise SettingError(f"--format: expected some of {', '.join(FORMATS)}, got {', '.join(self.formats)!r}.")
        if not 0 <= self.max_loss <= 100:
            raise SettingError(f"--max-loss: expected 0 to 100 points of accuracy, got {self.max_loss}.")
        if self.int8 and "onnx" not in self.formats:
            raise SettingError("Expected --format onnx for --int8, got none. Add it, or leave --int8 out.")
        if self.int8 and set(self.with_encoders) - {"text"}:
            raise SettingError(
                f"Expected --int8 with no encoder or the text encoder, got --with-encoder "
                f"{','.join(self.with_encoders)}. Dynamic int8 hardly speeds convolutions up, and the cache has no "
                "pictures to measure them on: use --with-encoder text."
            )


def parse_names(text: str | None) -> tuple[str, ...]:
    """Return the names in a list, each once; none for None.

    >>> parse_names("onnx, pt2,onnx")
    ('onnx', 'pt2')
    """
    return tuple(dict.fromkeys(part.strip() for part in (text or "").split(",") if part.strip()))

"""What an inspection may be told, and the defaults of all of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from embed.errors import SettingError
from embed.settings import ExtractSettings

__all__ = ["InspectSettings"]


@dataclass(frozen=True)
class InspectSettings:
    """Settings of `embed.inspect`.

    Raises:
        SettingError: a value is out of its range, or `extract` has `per_class` or `sample`.
    """

    extract: ExtractSettings = field(default_factory=ExtractSettings)  # columns, texts, where, root, encoders
    label: str | None = None  # None: by its usual names
    deep: bool = False  # decode every picture, not only its header
    estimate: bool = True  # measure what extraction will cost
    most_pictures: int = 200_000  # of more rows a sample is looked at
    most_texts: int = 50_000  # whose tokens are counted
    n_products: int = 24  # shown
    seed: int = 0  # of all samples

    def __post_init__(self) -> None:
        for name, lowest in (("most_pictures", 1), ("most_texts", 1), ("n_products", 0), ("seed", 0)):
            value = getattr(self, name)
            if value < lowest:
                option = "--products" if name == "n_products" else "--" + name.replace("_", "-")
                raise SettingError(f"{option}: expected at least {lowest}, got {value}.")
        for name in ("per_class", "sample"):
            if (value := getattr(self.extract, name)) is not None:
                raise SettingError(
                    f"Expected {name} to be None for an inspection, which looks at all products, got {value}. Leave "
                    "it out; where takes some of them."
                )

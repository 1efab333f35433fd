"""`Run`: the heads of a run folder, which answer products; for raw ones it needs an encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cache import ContentSpec
from cache.cloud.local_copies import local_copy
from cache.keys import normalised
from heads.data.metadata.fitted_metadata import FittedMetadata
from heads.data.metadata.metadata_request import is_metadata
from heads.data.vectors import Vectors
from heads.errors import HeadError
from heads.experiment.findings.best_heads import choose_heads
from heads.modules.saving.saved_head import TrainedHead
from heads.prediction.answers import Answers, Prediction, answers_of
from heads.prediction.head_encoders import checked_encoder, encoders_of
from heads.prediction.products import Product, ProductEncoder, picture_bytes
from heads.runs.encoder_samples import load_encoder_samples
from heads.runs.folder import load_heads
from heads.runs.run_files import find_cache, read_config
from heads.typed_json import read_object

__all__ = ["Run"]


class Run:
    """The heads of a run folder, and the encoders that turn products into what they look at.

    The answer that counts is that of `head`: the first of `heads`, else the best by macro-F1 on the run's validation
    rows. Encoders are built for the first raw product; before one encodes anything, it is checked on contents that the
    run keeps with their vectors.

    Args:
        path: a folder that `heads.train` wrote.
        heads: names of the heads to load, the one whose answer counts first; None: all.
        device: where encoders work: ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
        encoders: settings of an encoder that differ here from those of the training, such as
            ``{"image_weights": "elsewhere/resnet18.safetensors"}``.
        cache_path: a cache whose vectors are known; None: the one of the training, if it is still there.
        plugins: load heads of a user's own class, which runs its code.

    Raises:
        RunError: the folder is no run, or has no such head.
        HeadError: a head cannot be loaded.
        UnreadableError: the system could not read a file of the run.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        heads: Sequence[str] | None = None,
        device: str = "auto",
        encoders: Mapping[str, str] | None = None,
        cache_path: str | Path | None = None,
        plugins: bool = False,
    ) -> None:
        self.path = Path(path)
        self.heads: dict[str, TrainedHead] = load_heads(path, heads, plugins=plugins)
        self.config = read_config(self.path)
        self.head = heads[0] if heads else _best(self.path, self.heads)
        self.cache_path: Path | None
        if cache_path is not None:
            self.cache_path = local_copy(cache_path)
        else:
            training_cache_path = find_cache(self.path, self.config)
            self.cache_path = training_cache_path if training_cache_path.is_file() else None
        self._device = device
        self._changed = encoders
        self._encoders: dict[str, Any] | None = None
        self._products: ProductEncoder | None = None

    @classmethod
    def load(cls, path: str | Path, **options: Any) -> Run:
        """Return ``Run(path, **options)``."""
        return cls(path, **options)

    def best_of(self, names: Sequence[str]) -> str:
        """Return which of some heads is the best by the validation rows."""
        return _best(self.path, {name: self.heads[name] for name in names})

    @property
    def label(self) -> str:
        """The column that was learned."""
        return next(iter(self.heads.values())).label

    @property
    def classes(self) -> list[str]:
        """The K classes."""
        return next(iter(self.heads.values())).classes

    @property
    def contents(self) -> dict[str, ContentSpec]:
        """How each modality's contents were made of the catalogue, where it is known."""
        return {name: spec for head in self.heads.values() for name, spec in head.contents.items()}

    @property
    def metadata_columns(self) -> list[str]:
        """The columns that metadata is made of."""
        specs = {name: spec for head in self.heads.values() for name, spec in head.specs.items()}
        return [name for spec in specs.values() if is_metadata(spec) for name in FittedMetadata.from_spec(spec).names]

    @property
    def encoders(self) -> dict[str, Any]:
        """The encoder of each modality but metadata, built at the first call; several as one are a `JoinedEncoder`.

        Each is checked on the run's samples before it encodes anything: a `HeadError` if it gives other vectors.

        Raises:
            HeadError: an encoder cannot be built as it was.
            WeightsError, DeviceError, SettingError: its weights or the device cannot be had.
        """
        if self._encoders is None:
            encoders = encoders_of(self.heads.values(), device=self._device, changed=self._changed)
            samples = load_encoder_samples(self.path)
            self._encoders = {name: checked_encoder(parts, samples.get(name)) for name, parts in encoders.items()}
        return self._encoders

    @property
    def products(self) -> ProductEncoder:
        """The `ProductEncoder`, which turns products into vectors, made at the first call.

        Raises:
            HeadError, WeightsError, DeviceError, SettingError: as of `encoders`.
        """
        if self._products is None:
            self._products = ProductEncoder(list(self.heads.values()), self.encoders, cache_path=self.cache_path)
        return self._products

    def predict(
        self, *, image: object = None, text: object = None, top: int = 3, **columns: object
    ) -> Prediction | list[Prediction]:
        """Return what the run says of one product, or of as many as the lists are long.

        Args:
            image: a path, the bytes of a file, or a PIL image; or a list of such, with None where there is none. Lists
                may also be a Series or an array; None and NaN are nothing.
            text: a text, or a list of such.
            top: so many of the likeliest classes.
            columns: cells of the columns that metadata, or the texts, are made of; or lists of such.

        Raises:
            HeadError: a column is unknown, lists differ in length, or as `products` says.
        """
        arguments = {name: _listed(value) for name, value in {"image": image, "text": text, **columns}.items()}
        lengths = {name: len(value) for name, value in arguments.items() if isinstance(value, list | tuple)}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise HeadError(f"Expected lists of one length, one entry a product, got {shown}.")
        n_products = next(iter(lengths.values()), 1)
        rows = [
            {name: value[row] if name in lengths else value for name, value in arguments.items()}  # type: ignore[index]
            for row in range(n_products)
        ]
        predictions = self.predict_products([self.product(**row) for row in rows], top=top)
        return predictions if lengths else predictions[0]

    def predict_products(self, products: Sequence[Product], *, top: int = 3) -> list[Prediction]:
        """Return what the run says of each product.

        Raises:
            HeadError: as `products` says.
        """
        vectors, statuses = self.products.vectors(products)
        answers = self.answers(vectors)
        return [answers.prediction(row, top=top, statuses=status) for row, status in enumerate(statuses)]

    def answers(self, vectors: Vectors) -> Answers:
        """Return the heads' answers to products by their vectors."""
        return answers_of(self.heads, vectors, head=self.head)

    def product(self, *, image: object = None, text: object = None, **columns: object) -> Product:
        """Return a product made of what `predict` takes.

        Raises:
            HeadError: a column is unknown, a text is given beside other cells that it would be made of, or as
                `products` says.
        """
        self._check_columns(columns)
        cells = {name: "" if _is_nothing(value) else str(value) for name, value in columns.items()}
        words = "" if _is_nothing(text) else str(text)
        text_columns = self.products.text_columns
        if set(text_columns) & cells.keys():
            from embed.contents.texts import join

            made = join(cells.get(name, "") for name in text_columns)
            is_other = normalised(words) not in ("", normalised(made))
            if is_other and made and not cells.keys() & set(text_columns) <= set(self.metadata_columns):
                raise HeadError(
                    f"Expected a text, or cells of what texts are made of ({', '.join(text_columns)}), got both, and "
                    "they differ. Leave one out."
                )
            words = words if is_other else made or words
        return Product(picture_bytes(None if _is_nothing(image) else image), words or None, cells)

    def _check_columns(self, columns: Mapping[str, object]) -> None:
        known_columns = [*self.metadata_columns, *self.products.text_columns]
        if unknown := [name for name in columns if name not in known_columns]:
            raise HeadError(
                "Expected image, text"
                + (f" and cells of {', '.join(dict.fromkeys(known_columns))}" if known_columns else "")
                + f", got {unknown[0]}. Leave it out: the run's heads do not look at it."
            )


def _listed(value: object) -> object:
    """Return the list that a Series or an array of one dimension is; all else as it is."""
    return list(value.tolist()) if getattr(value, "ndim", None) == 1 and hasattr(value, "tolist") else value


def _is_nothing(value: object) -> bool:
    """Return whether a value is None, or what numpy and pandas have where nothing is."""
    is_nan = isinstance(value, float | np.floating) and bool(np.isnan(value))
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def _best(run_path: Path, heads: Mapping[str, TrainedHead]) -> str:
    """Return the best of the heads by the validation rows; the last one where the run does not say."""
    try:
        scores = read_object(run_path / "metrics.json")["heads"]
        modalities = {name for head in heads.values() for name in head.description.dims}
        return choose_heads({name: scores[name] for name in heads}, sorted(modalities & heads.keys())).best
    except (FileNotFoundError, LookupError, TypeError, ValueError):
        return list(heads)[-1]

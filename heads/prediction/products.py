"""From products that are in no cache to vectors; it needs an encoder."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from PIL import Image

from cache import CacheError, ContentSpec, Tokens, content_key
from heads.data.metadata.fitted_metadata import FittedMetadata
from heads.data.metadata.metadata_request import is_metadata, metadata_vectors
from heads.data.tokens import ProductTokens
from heads.data.vectors import Vectors
from heads.errors import HeadError
from heads.modules.saving.saved_head import TrainedHead
from heads.prediction.joined_encoder import KnownVectors, known_vectors

if TYPE_CHECKING:
    from embed.encoders.protocol import Encoder

__all__ = ["Product", "ProductEncoder", "picture_bytes"]

log = logging.getLogger("embed_once")
T = TypeVar("T")

MOST_KEPT = 10_000  # contents that were asked for last
MOST_KEPT_BYTES = 2**28  # of their vectors and tokens
BATCH_SIZE = 32  # of an encoder that does not say what suits it


@dataclass(frozen=True)
class Product:
    """What is known of one product: the bytes of its picture's file, its text, its cells of other columns."""

    image: bytes | None = None
    text: str | None = None
    cells: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Content:
    """A picture or a text with its key; or without a key, and the status says why there is no content."""

    key: str
    status: str
    value: bytes | str = ""


class ProductEncoder:
    """Turns products into the vectors that the heads of one run look at.

    Contents whose vectors are in the cache, or that were encoded lately, are not encoded again. It may be called from
    several threads; each encoder works for one at a time.
    """

    def __init__(
        self, heads: Sequence[TrainedHead], encoders: Mapping[str, Encoder], *, cache_path: Path | None = None
    ) -> None:
        from embed.encoders.fitting_batches import FittingBatches

        self._encoders = encoders
        self._batches = {modality: FittingBatches(encoder) for modality, encoder in encoders.items()}
        self._specs = {name: spec for head in heads for name, spec in head.specs.items()}
        self._names = {name: encoder for head in heads for name, encoder in head.encoders.items()}
        self._dims = {name: dim for head in heads for name, dim in head.description.dims.items()}
        self._token_dims = {name: dim for head in heads for name, dim in head.description.token_dims.items()}
        self._contents: dict[str, ContentSpec] = {name: spec for head in heads for name, spec in head.contents.items()}
        self._metadata = next(
            (FittedMetadata.from_spec(spec) for spec in self._specs.values() if is_metadata(spec)), None
        )
        self._known_vectors = {
            modality: vectors
            for modality, encoder in encoders.items()
            if cache_path is not None and modality not in self._token_dims
            if (vectors := known_vectors(cache_path, encoder.spec)) is not None
        }
        self._unreadable: set[str] = set()  # modalities whose known vectors cannot be read for now
        self._recent: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._n_recent_bytes = 0
        self._locks = {modality: threading.Lock() for modality in encoders}
        self._recent_lock = threading.Lock()

    @property
    def text_columns(self) -> list[str]:
        """The columns that texts are made of, none where the heads do not say."""
        return self._contents["text"].columns if "text" in self._contents else []

    def is_known(self, product: Product) -> bool:
        """Return whether a product's vectors are at hand, so that no encoder is needed for it."""
        contents = {modality: self._content(modality, product) for modality in self._encoders}
        return all(
            not content.key
            or (modality, content.key) in self._recent
            or self._look_up(modality, methodcaller("knows", content.key))
            for modality, content in contents.items()
        )

    def vectors(self, products: Sequence[Product]) -> tuple[Vectors, list[dict[str, str]]]:
        """Return the vectors of N products, and each one's status by modality: ``ok``, or why there is no vector.

        Raises:
            WeightsError: an encoder cannot be loaded.
            EncoderError: not even one content fits into the memory.
        """
        parts, statuses = [], [dict[str, str]() for _ in products]
        for modality in self._encoders:
            contents = [self._content(modality, product) for product in products]
            encoded = self._encode(modality, contents)
            for row, content in enumerate(contents):
                failure = encoded.get(content.key) if content.key else content.status
                statuses[row][modality] = failure if isinstance(failure, str) else "ok"
            values = [None if isinstance(value := encoded.get(content.key), str) else value for content in contents]
            parts.append(self._modality_vectors(modality, values))
        if self._metadata is not None:
            cells = {name: [self._cell(product, name) for product in products] for name in self._metadata.names}
            vectors = metadata_vectors(cells, self._metadata)
            parts.append(vectors)
            (present,) = vectors.present.values()
            for row, is_present in enumerate(present.tolist()):
                statuses[row]["metadata"] = "ok" if is_present else "absent"
        return Vectors.merge(parts), statuses

    def _cell(self, product: Product, name: str) -> str:
        """Return a product's cell of a column; of the one column that texts are made of, its text."""
        return product.cells.get(name, (product.text or "") if self.text_columns == [name] else "")

    def _content(self, modality: str, product: Product) -> _Content:
        from embed.extraction.source.text_contents import find_texts

        if modality == "text":
            spec = self._contents.get("text")
            is_cleaned = spec is not None and bool(spec.fields.get("clean"))
            return _Content(*next(find_texts([product.text or ""], is_cleaned=is_cleaned)))
        if not product.image:
            return _Content("", "absent" if product.image is None else "empty")
        return _Content(content_key(product.image), "ok", product.image)

    def _look_up(self, modality: str, look: Callable[[KnownVectors], T]) -> T | None:
        """Return what `look` finds in the cache's vectors; None where there are none, or they cannot be read for now.

        Another file may have taken the cache's place. Answers do not depend on it: the contents are encoded instead.
        """
        if (vectors := self._known_vectors.get(modality)) is None:
            return None
        try:
            answer = look(vectors)
        except CacheError as error:
            if modality not in self._unreadable:
                log.warning("Each %s is encoded until the cache can be read again. %s", modality, error)
            self._unreadable.add(modality)
            return None
        self._unreadable.discard(modality)
        return answer

    def _encode(self, modality: str, contents: Sequence[_Content]) -> dict[str, Any]:
        """Return what each content is encoded to, by key: a vector with its tokens, or the status of a failure."""
        values_by_key = {content.key: content.value for content in contents if content.key}
        with self._recent_lock:
            encoded: dict[str, Any] = {
                key: self._recent[modality, key] for key in values_by_key if (modality, key) in self._recent
            }
        missing_keys = [key for key in values_by_key if key not in encoded]
        if missing_keys and (known := self._look_up(modality, methodcaller("find", missing_keys))):
            vectors, is_known, _ = known
            encoded |= {key: (vectors[n].copy(), None) for n, key in enumerate(missing_keys) if is_known[n]}
            missing_keys = [key for key in missing_keys if key not in encoded]
        size = int(getattr(self._encoders[modality], "batch_size", BATCH_SIZE))
        for start in range(0, len(missing_keys), size):
            encoded |= self._encode_batch(
                modality, {key: values_by_key[key] for key in missing_keys[start : start + size]}
            )
        self._remember(modality, encoded)
        return encoded

    def _encode_batch(self, modality: str, batch: Mapping[str, bytes | str]) -> dict[str, Any]:
        """Return what `_encode` does, for one of the encoder's batches, {key: content}."""
        from embed.encoders.protocol import joined
        from embed.errors import ContentError

        encoder = self._encoders[modality]
        encoded: dict[str, Any] = {}
        prepared = {}
        for key, value in batch.items():
            try:
                prepared[key] = encoder.prepare(value)
            except ContentError as error:
                encoded[key] = str(error)
        if prepared:
            with self._locks[modality]:
                output = joined(self._batches[modality].pieces(list(prepared.values())))
            for n, key in enumerate(prepared):  # copies, for a view would keep the whole batch
                encoded[key] = (output.vectors[n].copy(), None if output.tokens is None else output.tokens[n].copy())
        return encoded

    def _remember(self, modality: str, encoded: Mapping[str, Any]) -> None:
        """Keep vectors, the most recent ones, as many as there is room for; failures are tried again each time."""
        with self._recent_lock:
            for key, value in encoded.items():
                if isinstance(value, str):  # a failure
                    continue
                self._n_recent_bytes += _n_bytes(value) - _n_bytes(self._recent.get((modality, key), (None, None)))
                self._recent[modality, key] = value
                self._recent.move_to_end((modality, key))
            while len(self._recent) > MOST_KEPT or self._n_recent_bytes > MOST_KEPT_BYTES:
                self._n_recent_bytes -= _n_bytes(self._recent.popitem(last=False)[1])

    def _modality_vectors(
        self, modality: str, values: Sequence[tuple[np.ndarray, np.ndarray | None] | None]
    ) -> Vectors:
        matrix = np.zeros((len(values), self._dims[modality]), dtype=np.float32)  # (N, D)
        for row, value in enumerate(values):
            if value is not None:
                matrix[row] = value[0]
        tokens = {}
        if modality in self._token_dims:
            no_tokens = np.zeros((0, self._token_dims[modality]), dtype=np.float16)
            stacked = Tokens.of([no_tokens if value is None or value[1] is None else value[1] for value in values])
            tokens[modality] = ProductTokens(
                torch.from_numpy(stacked.values),
                torch.from_numpy(stacked.offsets[:-1]),
                torch.from_numpy(stacked.counts),
            )
        return Vectors(
            encoders={modality: self._names[modality]},
            specs={modality: self._specs[modality]},
            inputs={modality: torch.from_numpy(matrix)},
            present={modality: torch.tensor([value is not None for value in values])},
            tokens=tokens,
        )


def _n_bytes(value: tuple[np.ndarray | None, np.ndarray | None]) -> int:
    return sum(array.nbytes for array in value if array is not None)


def picture_bytes(picture: object) -> bytes | None:
    """Return the bytes of a picture that is given as a path, as bytes, or as a PIL image, which is turned upright.

    Raises:
        HeadError: it is none of these, the file cannot be read, or the numbers of an image have no known scale.
    """
    if picture is None or isinstance(picture, bytes):
        return picture
    if isinstance(picture, bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str | Path):
        try:
            return Path(picture).read_bytes()
        except OSError as error:
            raise HeadError(f"Expected a picture at {picture}, but it cannot be read: {error.strerror}.") from error
    if isinstance(picture, Image.Image):
        from embed.catalogue.data_frame import HeldPicture
        from embed.errors import ContentError

        try:
            return HeldPicture(picture).read()
        except ContentError as error:
            raise HeadError(
                f"Expected an image of 8 or 16 bits, got mode {picture.mode}, whose scale is unknown. Convert it."
            ) from error
    raise HeadError(f"Expected a picture as a path, bytes or a PIL image, got {type(picture).__name__}.")

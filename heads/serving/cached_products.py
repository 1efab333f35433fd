"""The products of a server's cache: their vectors, found by id, and their titles, pictures and labels."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from cache import Cache, Tokens
from cache.columns.column_names import usual_column
from heads.data.encoder_sets import dimension, joined_name, present, split_name
from heads.data.metadata.fitted_metadata import METADATA, FittedMetadata
from heads.data.metadata.metadata_request import is_metadata, metadata_vectors
from heads.data.tokens import ProductTokens
from heads.data.vectors import Vectors
from heads.modules.saving.head_inputs import check_contents, find_encoder, tell_not_encoded
from heads.modules.saving.saved_head import TrainedHead
from heads.reports.picture_folder import find_picture_folder, no_pictures_note
from heads.reports.thumbnails import Thumbnails

__all__ = ["CachedProducts", "VectorTable"]

log = logging.getLogger("embed_once")

MOST_IN_MEMORY_BYTES = 2 * 2**30  # of all vectors; more stay on the disk
BLOCK_ROWS = 16_384  # contents compared at once
MOST_CHARACTERS = 160  # of a title
N_LOOKED_FOR = 8  # pictures; if none of them is found, a note says that there are none


@dataclass(frozen=True)
class VectorTable:
    """The vectors of one modality's U contents, and which of them each of N products has.

    Shape:
        rows: (N,) int64, each product's content
        present: (N,) bool, which products have a vector
        held: (U, D) float32 for each encoder, the vectors in memory; empty where they stay on the disk
    """

    cache: Cache
    modality: str
    encoders: tuple[str, ...]  # one, or several, whose vectors stand side by side
    rows: np.ndarray
    present: np.ndarray
    held: tuple[np.ndarray, ...]

    @cached_property
    def norms(self) -> list[np.ndarray]:
        """The length of each vector, (U,) float32 for each encoder."""
        return [
            np.concatenate([np.linalg.norm(block, axis=1) for block in self._blocks(encoder)] or [np.zeros(0)])
            for encoder in range(len(self.encoders))
        ]

    @property
    def dims(self) -> list[int]:
        """D of each encoder."""
        return [self.cache.dimension(self.modality, encoder) for encoder in self.encoders]

    def take(self, products: Sequence[int]) -> np.ndarray:
        """Return the vectors of some products, (n, D) float32; zeros where there is none."""
        matrix = np.zeros((len(products), sum(self.dims)), dtype=np.float32)
        for index, product in enumerate(products):
            if self.present[product]:
                row = int(self.rows[product])
                matrix[index] = np.concatenate([self._block(n, row, row + 1)[0] for n in range(len(self.encoders))])
        return matrix

    def tokens(self, products: Sequence[int]) -> ProductTokens:
        """Return the tokens of some products."""
        dim = self.cache.token_dimension(self.modality, self.encoders[0])  # there is one where there are tokens
        states = []
        for product in products:
            start, stop = self._token_offsets[self.rows[product] :][:2] if self.present[product] else (0, 0)
            states.append(self.cache.token_values(self.modality, self.encoders[0], int(start), int(stop)))
        stacked = Tokens.of([values.reshape(-1, dim) for values in states])
        return ProductTokens(
            torch.from_numpy(stacked.values), torch.from_numpy(stacked.offsets[:-1]), torch.from_numpy(stacked.counts)
        )

    def cosines(self, vector: np.ndarray) -> np.ndarray:
        """Return each product's cosine with a vector (D,), (N,) float32; meaningless for products without a vector.

        It is exact: every content is compared, in blocks. With several encoders it is the mean of their cosines.
        """
        tiny = float(np.finfo(np.float32).tiny)
        encoder_cosines = []
        for encoder, part in enumerate(np.split(vector, np.cumsum(self.dims)[:-1])):
            unit = part / max(float(np.linalg.norm(part)), tiny)
            with np.errstate(invalid="ignore"):  # OpenBLAS may warn of it with finite numbers (numpy issue 24067)
                products = [block @ unit for block in self._blocks(encoder)] or [np.zeros(0, dtype=np.float32)]
            encoder_cosines.append(np.concatenate(products) / np.maximum(self.norms[encoder], tiny))
        cosines = np.mean(encoder_cosines, axis=0)
        return np.append(cosines, 0.0)[np.where(self.present, self.rows, -1)]

    @cached_property
    def _token_offsets(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.cache.token_counts(self.modality, self.encoders[0]))])

    def _blocks(self, encoder: int) -> Iterator[np.ndarray]:
        n_contents = self.cache.n_contents(self.modality)
        for start in range(0, n_contents, BLOCK_ROWS):
            yield self._block(encoder, start, min(start + BLOCK_ROWS, n_contents))

    def _block(self, encoder: int, start: int, stop: int) -> np.ndarray:
        if self.held:
            return self.held[encoder][start:stop]
        return self.cache.vector_block(self.modality, self.encoders[encoder], start, stop)


class CachedProducts:
    """The N products of a cache.

    Args:
        heads: of one run, at least one.
        cache: stays open.

    Raises:
        HeadError, MissingEntryError: the cache lacks what the heads look at, or has it made otherwise.
    """

    def __init__(self, heads: Sequence[TrainedHead], cache: Cache) -> None:
        self.cache = cache
        self.ids = cache.ids()
        self._row_by_id = {name: row for row, name in reversed(list(enumerate(self.ids)))}  # the first of equal ids
        self._specs = {name: spec for head in heads for name, spec in head.specs.items()}
        self._names = {name: encoder for head in heads for name, encoder in head.encoders.items()}
        self._token_dims = {name: dim for head in heads for name, dim in head.description.token_dims.items()}
        self._metadata = None
        self._cells: dict[str, list[str]] = {}
        self.tables: dict[str, VectorTable] = {}
        encoders = {}
        for modality, spec in sorted(self._specs.items()):
            if is_metadata(spec):
                self._metadata = FittedMetadata.from_spec(spec)
                self._cells = {name: cache.column(name) for name in self._metadata.names}
                continue
            encoder = find_encoder(
                cache, spec, name=self._names[modality], head=heads[0].name, needs_tokens=modality in self._token_dims
            )
            encoders[modality] = split_name(cache, modality, encoder)
            for head in heads:
                if modality in head.contents:
                    check_contents(cache, head.contents[modality], head=head.name, is_renamed=True)
        sizes = [
            4 * cache.n_contents(name) * dimension(cache, name, encoder_names)
            for name, encoder_names in encoders.items()
        ]
        is_held = sum(sizes) <= MOST_IN_MEMORY_BYTES
        for modality, encoder_names in encoders.items():
            self.tables[modality] = VectorTable(
                cache, modality, encoder_names, cache.rows(modality), present(cache, modality, encoder_names),
                tuple(cache.vectors(modality, encoder_name) for encoder_name in encoder_names) if is_held else (),
            )  # fmt: skip
        self._statuses = {name: cache.statuses(name) for name in self.tables}
        for modality, encoder_names in encoders.items():
            tell_not_encoded(
                cache, modality, joined_name(encoder_names), self.tables[modality].present,
                statuses=self._statuses[modality],
            )  # fmt: skip
        columns = cache.columns()
        text, image = cache.content_spec("text"), cache.content_spec("image")
        text_columns = text.columns if text is not None else [usual_column("text", columns) or ""]
        self._titles = [cache.column(name) for name in text_columns if name in columns]
        name = image.columns[0] if image is not None and image.columns else usual_column("image", columns)
        self._picture_column, self._pictures = (name, cache.column(name)) if name in columns else ("", [])
        label = heads[0].label
        self._labels = cache.column(label) if label in columns else []

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, product_id: str) -> int | None:
        """Return the row of a product, the first that has this id; None where none has it."""
        return self._row_by_id.get(product_id)

    def vectors(self, rows: Sequence[int]) -> tuple[Vectors, list[dict[str, str]]]:
        """Return the vectors of n products, and each one's status by modality."""
        statuses = [{name: column[row] for name, column in self._statuses.items()} for row in rows]
        parts = [
            Vectors(
                encoders={name: self._names[name]},
                specs={name: self._specs[name]},
                inputs={name: torch.from_numpy(table.take(rows))},
                present={name: torch.from_numpy(table.present[list(rows)])},
                tokens={name: table.tokens(rows)} if name in self._token_dims else {},
            )
            for name, table in self.tables.items()
        ]
        if self._metadata is not None:
            cells = {name: [column[row] for row in rows] for name, column in self._cells.items()}
            parts.append(metadata_vectors(cells, self._metadata))
            for status, is_present in zip(statuses, parts[-1].present[METADATA].tolist(), strict=True):
                status[METADATA] = "ok" if is_present else "absent"
        return Vectors.merge(parts), statuses

    def title(self, row: int) -> str:
        """Return a product's title: its text, shortened."""
        title = ". ".join(cell for column in self._titles if (cell := column[row].strip()))
        return title if len(title) <= MOST_CHARACTERS else title[: MOST_CHARACTERS - 1] + "…"

    def label(self, row: int) -> str | None:
        """Return a product's label in the cache; None where it has none."""
        return (self._labels[row] or None) if self._labels else None

    def thumbnails(self, root: Path) -> Thumbnails:
        """Return the pictures, with paths relative to `root` or a folder below it; log a note where none is found."""
        thumbnails = Thumbnails(find_picture_folder(self.cache, self._pictures, root))
        first_cells = list(islice((cell for cell in self._pictures if cell.strip()), N_LOOKED_FOR))
        if first_cells and not any(thumbnails.content(cell) for cell in first_cells):
            log.info(
                "Known products are shown without pictures. %s", no_pictures_note(self._picture_column, first_cells)
            )
        return thumbnails

    def picture_cell(self, row: int) -> str:
        """Return the cell that names a product's picture, empty where nothing does."""
        return self._pictures[row].strip() if self._pictures else ""

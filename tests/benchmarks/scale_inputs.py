"""What `scale.py` extracts: catalogues of any size, and an encoder that computes nothing."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cache import EncoderSpec

DIM = 64
PART_ROWS = 65_536


def write_catalogue(path: Path, n_products: int) -> None:
    """Write a table of ids, unique titles of 1 to 100 words, and labels."""
    with path.open("w", encoding="utf-8") as file:
        file.write("id,text,label\n")
        file.writelines(f"{n:08},{'a ' * (n * 7919 % 100)}shirt {n},class {n % 50}\n" for n in range(n_products))


def write_pictures(path: str, n_products: int) -> None:
    """Write a Parquet file of ids, labels and as many pictures, which nobody decodes: each a number of 8 bytes."""
    schema = pa.schema({"id": pa.string(), "image": pa.binary(), "label": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n_products, PART_ROWS):
            numbers = range(start, min(start + PART_ROWS, n_products))
            rows = [{"id": f"{n:08}", "image": n.to_bytes(8, "big"), "label": f"class {n % 50}"} for n in numbers]
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def draw(seeds: np.ndarray) -> np.ndarray:
    """Return a vector for each number, (n, D) float32."""
    return (seeds[:, None] % np.arange(2, DIM + 2)).astype(np.float32)


class NullEncoder:
    """Draws a vector of a content's checksum; stops at the content numbered `stop_at`, as a run that is killed."""

    name, batch_size = "null", 4096

    def __init__(self, stop_at: float = float("inf"), *, modality: str = "text") -> None:
        self.spec = EncoderSpec(modality, {"weights": "null"})
        self.stop_at = stop_at
        self.n_encoded = 0

    def prepare(self, content: bytes | str) -> int:
        """Return the checksum."""
        return zlib.crc32(content if isinstance(content, bytes) else content.encode())

    def encode(self, batch: list[int]) -> np.ndarray:
        """Return (B, D)."""
        self.n_encoded += len(batch)
        if self.n_encoded > self.stop_at:
            raise KeyboardInterrupt
        return draw(np.array(batch))

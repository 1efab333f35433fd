"""What several tests need: an encoder that counts, small catalogues, synthetic caches, and commands run in-process."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np
from click.testing import CliRunner, Result
from PIL import Image

from cache import Contents, ContentSpec, EncoderSpec, Journal, Part, Products, Tokens, content_key, seal
from embed.contents.images import decode
from heads.head_types import control_names, fusion_names, names_at_once

ROOT = Path(__file__).resolve().parent.parent
FUSIONS, DIRECT, CONTROLS = fusion_names(), names_at_once(), control_names()
BY_STEPS = tuple(name for name in FUSIONS if name not in DIRECT)
FASHION = ROOT.parent / "shared" / "data" / "fashion"


class CountingEncoder:
    """An encoder that notes every content it prepares and encodes; its vectors follow from the content alone."""

    def __init__(self, modality: str, *, name: str = "counting", dim: int = 4, **fields: object) -> None:
        self.name = name
        self.dim = dim
        self.spec = EncoderSpec(modality, {"weights": "counted", **fields})
        self.n_encoded = 0
        self.batch_sizes: list[int] = []

    def prepare(self, content: bytes | str) -> bytes:
        if isinstance(content, bytes):
            return decode(content).tobytes()
        return content.encode()

    def encode(self, batch: Sequence[bytes]) -> np.ndarray:
        self.n_encoded += len(batch)
        self.batch_sizes.append(len(batch))
        return np.stack([vector_of(item, self.dim) for item in batch])


def vector_of(content: bytes, dim: int) -> np.ndarray:
    """Return a vector that only this content has, (D,) float32."""
    seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "little")
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


def image_bytes(
    colour: object = "red", *, size: tuple[int, int] = (8, 8), mode: str = "RGB", kind: str = "PNG"
) -> bytes:
    """Return a picture of one colour as a file's bytes."""
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, kind)
    return buffer.getvalue()


def write_catalogue(folder: Path, rows: Sequence[Mapping[str, str]], images: Mapping[str, bytes] | None = None) -> Path:
    """Write ``data.csv`` and the pictures beside it; return the catalogue's path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (images or {}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    path = folder / "data.csv"
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def small_catalogue(folder: Path, n_products: int = 6) -> Path:
    """Write a catalogue of `n_products`, each with a picture, a text and a label of its own."""
    rows = [
        {"id": f"{n:03}", "image": f"images/{n}.png", "text": f"product number {n}", "label": f"class {n % 2}"}
        for n in range(n_products)
    ]
    return write_catalogue(folder, rows, {f"images/{n}.png": image_bytes((n, 7, 9)) for n in range(n_products)})


def synthetic_cache(
    path: Path,
    vectors: Mapping[str, np.ndarray],
    columns: Mapping[str, Sequence[str]],
    *,
    present: Mapping[str, np.ndarray] | None = None,
    contents: Mapping[str, Sequence[str]] | None = None,
    tokens: Mapping[str, Sequence[np.ndarray]] | None = None,
    made_of: Mapping[str, ContentSpec] | None = None,
    encoder: str = "synthetic",
) -> Path:
    """Seal a cache of given vectors, {modality: (N, D)}, without any encoder; return its path.

    `present` (N,) bool says who has a vector; `contents` names each product's content, to make duplicates of some;
    `tokens` gives N arrays (T_i, D) for some modalities, `made_of` says how contents are made.
    """
    n_products = len(next(iter(vectors.values())))
    product_contents = {}
    with Journal(path) as journal:
        for modality, matrix in vectors.items():
            names = (contents or {}).get(modality) or [f"{modality} {n}" for n in range(n_products)]
            is_present = (present or {}).get(modality, np.ones(n_products, dtype=bool))
            keys = [content_key(name.encode()) if has else "" for name, has in zip(names, is_present, strict=True)]
            first_rows = {key: n for n, key in reversed(list(enumerate(keys))) if key}
            spec = EncoderSpec(modality, {"weights": encoder})
            part_vectors = np.asarray(matrix, dtype=np.float32)[list(first_rows.values())]
            part_tokens = None
            if modality in (tokens or {}):
                part_tokens = Tokens.of([tokens[modality][n].astype(np.float16) for n in first_rows.values()])
                spec = EncoderSpec(modality, {**spec.fields, "tokens": True})
            journal.publish(Part(encoder, spec, list(first_rows), part_vectors, {}, part_tokens))
            statuses = ["ok" if key else "absent" for key in keys]
            product_contents[modality] = Contents(keys, statuses, (made_of or {}).get(modality))
        products = Products(
            ids=[f"{n:05}" for n in range(n_products)],
            columns={name: list(cells) for name, cells in columns.items()},
            contents=product_contents,
        )
        seal(path, journal, products)
    return path


def class_vectors(
    codes: np.ndarray, dim: int, *, spread: float = 1.0, seed: int = 0, signal: float = 1.0
) -> np.ndarray:
    """Return Gaussian vectors around one centre a class, (N, D) float32; `signal` 0 makes them pure noise."""
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((int(codes.max()) + 1, dim)) * signal
    return (centres[codes] + generator.standard_normal((len(codes), dim)) * spread).astype(np.float32)


def write_review_page(folder: Path, *, n_products: int = 8) -> Path:
    """Write a page that asks for products "0", "1", … of the classes a and b, and repeats one earlier answer."""
    from heads.review.picks import Pick  # scores are for those who ask
    from heads.review.review_files import AskedProduct, ReviewPage, write_review

    products = [AskedProduct(str(n), f"thing {n}", None, Pick(n, [("b", 0.5)], "why")) for n in range(n_products)]
    page = ReviewPage("kind", ["a", "b"], products, [("x3", 'a "cup", <large>')], how="", n_more=0, next_lines=[])
    return write_review(page, folder / "r.html")[0]


def invoke(command: click.Command, *arguments: object) -> Result:
    """Run a command in this process; the result has exit_code, stdout and stderr."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments], prog_name=command.name)

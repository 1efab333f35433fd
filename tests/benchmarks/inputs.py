"""What the benchmark encodes: a real catalogue's pictures and titles or drawn ones, and a BERT-base to read them."""

from __future__ import annotations

import csv
import hashlib
import random
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

__all__ = ["draw_pictures", "draw_titles", "read_catalogue_contents", "write_bert"]

ADJECTIVES = (
    "soft",
    "woven",
    "everyday",
    "handmade",
    "light",
    "classic",
    "warm",
    "washed",
    "organic",
    "compact",
    "narrow",
)
ARTICLES = (
    "scarf",
    "cushion",
    "curtain",
    "towel",
    "rug",
    "blanket",
    "shirt",
    "jacket",
    "trousers",
    "bag",
    "belt",
    "watch",
)


def draw_pictures(folder: Path, *, n_pictures: int, size: tuple[int, int], seed: int = 0) -> list[Path]:
    """Draw JPEGs of shapes on a ground with a photograph's grain, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    paths = []
    for n in range(n_pictures):
        ground = Image.fromarray(generator.integers(0, 255, (12, 12, 3), dtype=np.uint8))
        image = ground.resize(size, Image.Resampling.BICUBIC)
        pen = ImageDraw.Draw(image)
        for _ in range(40):
            x, y = generator.integers(0, size)
            radius = int(generator.integers(2, max(3, size[0] // 8)))
            colour = tuple(int(value) for value in generator.integers(0, 255, 3))
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        grain = generator.normal(0, 6, (size[1], size[0], 1))
        pixels = (np.asarray(image) + grain).clip(0, 255).astype(np.uint8)
        path = folder / f"{n:05}.jpg"
        Image.fromarray(pixels).save(path, quality=90)
        paths.append(path)
    return paths


def draw_titles(n_titles: int, *, seed: int = 0) -> list[str]:
    """Return made-up product titles of four to fourteen words, all different."""
    draw = random.Random(seed)
    return [
        f"{' '.join(draw.choices(ADJECTIVES, k=draw.randint(2, 12)))} {draw.choice(ARTICLES)} {n}"
        for n in range(n_titles)
    ]


def read_catalogue_contents(path: Path, *, image_column: str, text_column: str) -> tuple[list[Path], list[str]]:
    """Return a catalogue's unique pictures that are there and its unique titles."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    files = [path.parent / row[image_column] for row in rows if (path.parent / row[image_column]).is_file()]
    pictures = {hashlib.sha256(file.read_bytes()).digest(): file for file in files}
    titles = {" ".join(row[text_column].split()): None for row in rows}
    return list(pictures.values()), [title for title in titles if title]


def write_bert(folder: Path, titles: list[str]) -> Path:
    """Write BERT-base with random weights and a WordPiece tokenizer trained on the titles; return the folder."""
    import torch
    import transformers
    from tokenizers.implementations import BertWordPieceTokenizer

    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(titles, vocab_size=30522, show_progress=False)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "wordpieces.json"))
    transformers.BertTokenizerFast(tokenizer_file=str(folder / "wordpieces.json")).save_pretrained(folder)
    (folder / "wordpieces.json").unlink()
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig()).eval().save_pretrained(folder)
    return folder

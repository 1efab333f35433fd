"""A drawn catalogue of textiles: the picture shows the pattern, the title names the article, the label is both.

Ten classes stand in a ring: each pattern occurs with two articles and each article with two patterns, so that the
picture alone or the title alone leaves two classes to guess between, and both together leave none.
"""

from __future__ import annotations

import csv
import random
import shutil
from pathlib import Path

from PIL import Image, ImageDraw

PATTERNS = ("plain", "striped", "checked", "dotted", "zigzag")
ARTICLES = ("scarf", "cushion", "curtain", "towel", "rug")
MAKERS = ("Alba", "Birk", "Corda", "Dune", "Elm", "Fjord", "Grove", "Hazel")
WORDS = ("soft", "woven", "everyday", "handmade", "light", "classic", "warm", "washed", "organic", "compact")
MATERIALS = ("cotton", "linen", "wool", "jute", "viscose")
SIZE = 96


def draw_catalogue(folder: Path, *, n_products: int = 400, seed: int = 0) -> Path:
    """Draw pictures and ``data.csv`` into `folder` and return the catalogue's path.

    Of 400 products, 8 have a broken picture (truncated, empty, no picture, not there), 12 share the file of another
    product, and 10 have no title.
    """
    draw = random.Random(seed)
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    rows = []
    for n in range(n_products):
        number = n % 10
        pattern, article = PATTERNS[number // 2], ARTICLES[(number + 1) // 2 % 5]
        path = images / f"{n:04}.jpg"
        _draw_picture(pattern, draw).save(path, quality=90)
        title = f"{draw.choice(MAKERS)} {' '.join(draw.sample(WORDS, 2))} {article}, {draw.choice(MATERIALS)} no. {n}"
        rows.append({"id": f"{n:05}", "image": f"images/{path.name}", "title": title, "label": f"{pattern} {article}"})
    _break_some(rows, images, n_products)
    draw.shuffle(rows)
    with (folder / "data.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "data.csv"


def _draw_picture(pattern: str, draw: random.Random) -> Image.Image:
    ground, ink = (tuple(draw.randrange(low, low + 110) for _ in range(3)) for low in (140, 10))
    image = Image.new("RGB", (SIZE, SIZE), ground)
    pen = ImageDraw.Draw(image)
    step, start = draw.randrange(12, 20), draw.randrange(12)
    lines = range(start - step, SIZE + step, step)
    width = step // 3
    if pattern in ("striped", "checked"):
        for x in lines:
            pen.line([(x, 0), (x, SIZE)], fill=ink, width=width)
    if pattern == "checked":
        for y in lines:
            pen.line([(0, y), (SIZE, y)], fill=ink, width=width)
    if pattern == "dotted":
        for x in lines:
            for y in lines:
                pen.ellipse([x - width, y - width, x + width, y + width], fill=ink)
    if pattern == "zigzag":
        for y in lines:
            points = [(x, y + (step // 2 if n % 2 else -step // 2)) for n, x in enumerate(lines)]
            pen.line(points, fill=ink, width=width)
    return image


def _break_some(rows: list[dict[str, str]], images: Path, n_products: int) -> None:
    every = max(n_products // 8, 1)
    for n, row in enumerate(rows[::every][:8]):
        path = images / Path(row["image"]).name
        if n % 4 == 0:
            path.write_bytes(path.read_bytes()[:200])
        elif n % 4 == 1:
            path.write_bytes(b"")
        elif n % 4 == 2:
            path.write_text("<html>404 not found</html>")
        else:
            path.unlink()
    for row, source in zip(rows[11::33], rows[1::33], strict=False):  # ten rows on: the same class
        shutil.copy(images / Path(source["image"]).name, images / Path(row["image"]).name)
    for row in rows[5::40]:
        row["title"] = ""

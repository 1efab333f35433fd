"""Make ``cache_v4.h5``, the cache that every later version must read: ``python tests/golden/make_cache_v4.py``.

It was run once, by the code that wrote format version 4, and its file is never made again: a new format gets a script
and a file of its own. It has all that the format can hold: two modalities, two encoders over the same contents where
each lacks some, contents that could not be read, products that share a content or have none, odd columns and cells,
tokens: as many for each picture, and as many as there are words for each text, beside an encoder that has none; of
which columns the texts are made, while that is not known of the pictures; side notes of two encoders of three; and
a text that is kept as it is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from cache import Contents, ContentSpec, EncoderSpec, Journal, Part, Products, Tokens, content_key, seal  # noqa: E402 - the checkout's own

CELLS = ["", "NA", "00123", 'é "quoted", 雪', "not Unicode: \udce9"]


def main(path: Path) -> None:
    """Write the file at `path`, where none may be."""
    if path.exists():
        sys.exit(f"{path} is there already, and stays as it is.")
    red, green, torn = (content_key(content) for content in (b"red", b"green", b"torn"))
    words = [content_key(text.encode()) for text in ("a red scarf", "a green rug")]
    parts = [
        Part(
            "resnet18",
            spec("image", "resnet18", tokens="1x3"),
            [red, green],
            numbers(2, 3),
            {torn: "truncated"},
            tokens(4, [3, 3]),
        ),
        Part("resnet50", spec("image", "resnet50"), [green], numbers(1, 4), {}),
        Part("bert", spec("text", "bert", max_length=32, tokens=True), words, -numbers(2, 2), {}, tokens(2, [5, 1])),
    ]
    products = Products(
        ids=["p1", "p2", "p3", "p4", "p5"],
        columns={"label": ["scarf", "rug", "rug", "scarf", "rug"], "a/b %.": CELLS},
        contents={
            "image": Contents([red, green, torn, green, ""], ["ok", "ok", "ok", "ok", "missing"]),
            "text": Contents(
                [words[0], words[1], words[1], "", words[0]],
                ["ok", "ok", "ok", "absent", "ok"],
                ContentSpec("text", {"columns": ["title", "body"], "join": ". ", "clean": True}),
                samples={words[0]: b"a red scarf"},
            ),
        },
    )
    with Journal(path) as journal:
        for part in parts:
            journal.publish(part)
        seal(path, journal, products)


def spec(modality: str, architecture: str, **fields: object) -> EncoderSpec:
    """Return a spec with a value of each of JSON's kinds."""
    return EncoderSpec(
        modality,
        {"architecture": architecture, "mean": [0.5, 0.25], "antialias": True, "crop": None, **fields},
        side_notes={"libraries": {"torch": "2.14.1"}} if fields else {},
    )


def numbers(n_rows: int, n_dim: int) -> np.ndarray:
    """Return 0, 1.5, 3, ... row by row, (n_rows, n_dim) float32."""
    return (1.5 * np.arange(n_rows * n_dim, dtype=np.float32)).reshape(n_rows, n_dim)


def tokens(n_dim: int, counts: list[int]) -> Tokens:
    """Return 0, 1.5, 3, ... for each content, (count, n_dim) float16 each."""
    return Tokens.of([numbers(count, n_dim).astype(np.float16) for count in counts])


if __name__ == "__main__":
    main(HERE / "cache_v4.h5")

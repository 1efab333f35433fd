"""Make ``journal_v4/``, a part as version 4 leaves it: ``python tests/golden/make_journal_v4.py``.

It was run once, by the code that wrote format version 4, and its file is never made again: an extraction that was
stopped before an update goes on after it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from cache import EncoderSpec, Journal, Part, Tokens, content_key  # noqa: E402 - the checkout's own


def main(folder: Path) -> None:
    """Write the part into `folder`, where none may be."""
    if folder.exists():
        sys.exit(f"{folder} is there already, and stays as it is.")
    with Journal(HERE / "none.h5") as journal:
        spec = EncoderSpec("image", {"architecture": "resnet18", "tokens": True}, side_notes={"libraries": {}})
        keys = [content_key(b"red"), content_key(b"green")]
        vectors = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32)
        tokens = Tokens.of([np.ones((2, 4), np.float16), np.zeros((1, 4), np.float16)])
        path = journal.publish(Part("resnet18", spec, keys, vectors, {content_key(b"torn"): "truncated"}, tokens))
        folder.mkdir()
        path.rename(folder / path.name)


if __name__ == "__main__":
    main(HERE / "journal_v4")

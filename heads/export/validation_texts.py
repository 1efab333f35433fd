"""The texts of a cache's products, for int8, which needs an encoder to be measured with one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cache import Cache
from heads.errors import ExportError

__all__ = ["read_texts"]


def read_texts(cache_path: Path, rows: np.ndarray, modality: str) -> list[str | None]:
    """Return the texts of some products as they were encoded; None where a product has none.

    Raises:
        ExportError: the cache does not say of which columns texts are made, or they make other texts by now.
    """
    from embed.contents.texts import join
    from embed.extraction.source.text_contents import find_texts

    with Cache(cache_path) as cache:
        spec = cache.content_spec(modality)
        columns = [cache.column(name) for name in spec.columns] if spec else []
        keys = np.append(cache.keys(modality).astype(str), "")[cache.rows(modality)[rows]]
    product_cells = [[cells[row] for cells in columns] for row in rows.tolist()]
    cells = [row[0] if len(row) == 1 else join(row) for row in product_cells]
    is_cleaned = bool(spec and spec.fields.get("clean"))
    texts = list(find_texts(cells, is_cleaned=is_cleaned))
    if not columns or any(key not in ("", made_key) for key, (made_key, _, _) in zip(keys, texts, strict=True)):
        raise ExportError(
            f"Expected the columns of {cache_path} to come to the texts that were encoded, to measure int8 on them, "
            "but they do not. Leave --int8 out, or extract and train again."
        )
    return [text if key else None for key, (_, _, text) in zip(keys, texts, strict=True)]

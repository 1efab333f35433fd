"""Small caches of products whose pictures are named by a word, with vectors that follow from the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from support import vector_of

from cache import Cache, Contents, ContentSpec, EncoderSpec, Journal, Part, Products, Tokens, content_key, seal

SPEC = EncoderSpec("image", {"weights": "drawn"})


def part_of(
    words: Sequence[str],
    *,
    spec: EncoderSpec = SPEC,
    encoder: str = "net",
    failures: Mapping[str, str] | None = None,
    dim: int = 3,
    has_tokens: bool = False,
) -> Part:
    """Return a part with a vector of each word, and as many tokens as it has letters."""
    vectors = np.stack([vector_of(word.encode(), dim) for word in words]) if words else np.zeros((0, 0), "f4")
    tokens = Tokens.of([np.full((len(word), 2), len(word), "f2") for word in words]) if has_tokens else None
    failed = {key_of(word): status for word, status in (failures or {}).items()}
    return Part(encoder, spec, [key_of(word) for word in words], vectors, failed, tokens)


def key_of(word: str) -> str:
    return content_key(word.encode()) if word else ""


def shop_cache(
    path: Path,
    words: Mapping[str, str],
    *,
    columns: Mapping[str, Sequence[str]] | None = None,
    others: Sequence[str] = (),
    failures: Mapping[str, str] | None = None,
    made_of: ContentSpec | None = None,
    samples: Sequence[str] = (),
    **options: object,
) -> Path:
    """Seal a cache of {id: word}; `others` are contents that no product has, "" is a product without picture."""
    encoded = [word for word in dict.fromkeys([*words.values(), *others]) if word and word not in (failures or {})]
    with Journal(path) as journal:
        journal.publish(part_of(encoded, failures=failures, **options))
        contents = Contents(
            [key_of(word) for word in words.values()],
            ["ok" if word else "absent" for word in words.values()],
            made_of,
            samples={key_of(word): word.encode() for word in samples},
        )
        modality = options.get("spec", SPEC).modality
        seal(
            path, journal, Products(list(words), {k: list(v) for k, v in (columns or {}).items()}, {modality: contents})
        )
    return path


def cache_content(path: Path) -> dict[str, object]:
    """Return all that a reader sees of a cache's products and contents, whatever the order of its rows."""
    with Cache(path) as cache:
        products = {name: cache.column(name) for name in cache.columns()}
        for modality in cache.modalities:
            products[f"{modality} status"] = cache.statuses(modality)
            for encoder in cache.encoders(modality):
                products[f"{modality}/{encoder}"] = cache.matrix(modality, encoder).round(6).tolist()
        contents = {
            modality: dict(zip(cache.keys(modality).tolist(), cache.content_statuses(modality).tolist(), strict=True))
            for modality in cache.content_modalities
        }
        return {"ids": cache.ids(), "products": repr(products), "contents": contents}

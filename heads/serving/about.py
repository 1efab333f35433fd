"""The facts that a server tells of itself: its classes, heads, modalities, products and limits."""

from __future__ import annotations

from typing import Any

from heads.data.metadata.fitted_metadata import FittedMetadata
from heads.data.metadata.metadata_request import is_metadata
from heads.serving.service import Service

__all__ = ["about"]


def about(service: Service) -> dict[str, Any]:
    """Return the facts that a page needs, in JSON's types."""
    run, products, settings = service.run, service.products, service.settings
    specs = {name: spec for head in run.heads.values() for name, spec in head.specs.items()}
    fitted = next((FittedMetadata.from_spec(spec) for spec in specs.values() if is_metadata(spec)), None)
    columns = () if fitted is None else fitted.columns
    text = run.contents.get("text")
    return {
        "run": run.path.name,
        "label": run.label,
        "classes": run.classes,
        "head": run.head,
        "heads": {name: sorted(head.description.dims) for name, head in run.heads.items()},
        "modalities": sorted(specs),
        "metadata_columns": [
            {"name": column.name, "kind": column.kind, "categories": list(column.categories)} for column in columns
        ],
        "text_columns": text.columns if text is not None else [],
        **service.answerer.late_facts(),
        "n_products": 0 if products is None else len(products),
        "similar_by": [] if products is None else _similar_by(list(products.tables)),
        "limits": {
            "body_bytes": settings.max_body_bytes,
            "characters": settings.max_characters,
            "products": settings.max_products,
            "top": settings.max_top,
        },
    }


def _similar_by(modalities: list[str]) -> list[str]:
    return [*(["fused"] if len(modalities) > 1 else []), *modalities]

"""What to do about a JSON file of one object that may hold all products, which is read as one product."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cache.columns.column_names import usual_columns
from embed.errors import CatalogueError

__all__ = ["hint_for_single_object"]

LIST_NAME = "products.json"  # where commands that make a list of something else write it
# Of a picture with several annotations the last one's class.
COCO_TO_LIST = shlex.quote(
    "(.categories | INDEX(.id)) as $classes | (.annotations | INDEX(.image_id)) as $annotations | "
    "[.images[] | . + {category: $classes[$annotations[.id | tostring].category_id | tostring].name}]"
)


def hint_for_single_object(document: dict[str, Any], path: Path, *, keeps_lists: Callable[[str], bool]) -> str:
    """Return in a sentence what to do if the one object of a file holds all products; "" where it is one.

    It may be a product whose columns have no usual names, so that this is a hint.

    Args:
        document: the object.
        path: its file.
        keeps_lists: whether lists of a name are cells of a product.

    Raises:
        CatalogueError: it is COCO's, of pictures, annotations and categories, which is none.
    """
    # Where it is the file itself, the shell would empty it before it is read.
    target = f"new-{LIST_NAME}" if path.name == LIST_NAME else LIST_NAME
    files = f"{shlex.quote(str(path))} > {target}"
    if all(isinstance(document.get(name), list) for name in ("images", "annotations", "categories")):
        raise CatalogueError(
            f"Expected {path} to be a list of products, got COCO's lists of pictures, annotations and "
            f"categories. Make one of pictures with their classes: jq {COCO_TO_LIST} {files}."
        )
    if any(usual_columns(role, document) for role in ("id", "image", "text")):
        return ""
    values = document.values()
    if len(document) > 1 and all(isinstance(value, dict) for value in values):
        return (
            f"If the {len(document)} objects in it are the products, by their ids, make a list of them: "
            f"jq '[to_entries[] | {{id: .key}} + .value]' {files}."
        )
    for names, items in _lists(document):
        if len(items) > 1 and all(isinstance(item, dict) for item in items) and not keeps_lists(names[0]):
            query = shlex.quote("." + "".join(f"[{json.dumps(name, ensure_ascii=False)}]" for name in names))
            return (
                f"If the {len(items)} objects in its {'.'.join(names)} are the products, take them out: "
                f"jq {query} {files}."
            )
    if len(document) > 1 and all(isinstance(value, list) and value and isinstance(value[0], str) for value in values):
        query = shlex.quote("[to_entries[] | .key as $class | .value[] | {image: ., category: $class}]")
        return f"If its {len(document)} names are classes, and their lists name pictures: jq {query} {files}."
    return ""


def _lists(document: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """Yield the lists in an object and in those of it, as answers of shops' interfaces have them, with their names."""
    for name, value in document.items():
        if isinstance(value, list):
            yield (name,), value
        elif isinstance(value, dict):
            yield from (((name, inner_name), inner) for inner_name, inner in value.items() if isinstance(inner, list))

"""Pages: one HTML file that opens offline, follows light and dark, and reads well on a phone.

A page is a Jinja2 template that extends ``page.html``, which lies beside this file with the style and the usual script.
All values are escaped, and the page's own policy lets a browser run nothing but the script in it, and fetch nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.shares import percent
from cache.system.stray_bytes import shown

if TYPE_CHECKING:
    import jinja2
    from PIL import Image

__all__ = ["THUMBNAIL_SIDE", "jpeg_url", "picture_url", "render_page", "script_source", "small_jpeg"]

FOLDER = Path(__file__).parent
THUMBNAIL_SIDE = 192  # pixels: cards are about 150 wide, screens finer


def render_page(template_path: str | Path, *, script_path: Path = FOLDER / "sortable.js", **values: Any) -> str:
    """Return the page that a template makes of values; a name that it uses and that is missing is an error."""
    from markupsafe import Markup

    template_path = Path(template_path)
    script = script_path.read_text(encoding="utf-8")
    page = (
        _environment(template_path.parent)
        .get_template(template_path.name)
        .render(
            script=Markup(script),  # noqa: S704 - it is our own
            script_hash=Markup(script_source(script)),  # noqa: S704 - digits and letters
            **values,
        )
    )
    return shown(page)


def script_source(script: str) -> str:
    """Return how a page's policy names a script that stands in the page, without the quotes."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def picture_url(picture: Image.Image, *, side: int = THUMBNAIL_SIDE) -> str:
    """Return an RGB picture as a data URL, scaled down to fit a square and compressed anew."""
    return jpeg_url(small_jpeg(picture, side=side))


def jpeg_url(content: bytes) -> str:
    """Return a JPEG file as a data URL."""
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()


def small_jpeg(picture: Image.Image, *, side: int = THUMBNAIL_SIDE) -> bytes:
    """Return an RGB picture as a JPEG file, scaled down to fit a square and compressed anew."""
    small = picture.copy()
    small.thumbnail((side, side))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=80)
    return content.getvalue()


@functools.cache
def _environment(folder: Path) -> jinja2.Environment:
    """Return the Jinja environment of a folder of templates; it compiles each of them once."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "count": _count}
    return environment


def _count(value: int) -> str:
    return f"{value:,}"

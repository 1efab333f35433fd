"""`serve`: a run loaded, its products found, and requests answered until it is told to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cache import Cache
from cache.errors import EmbedOnceError
from heads.errors import HeadError
from heads.prediction.run import Run
from heads.serving.serve_settings import ServeSettings, is_loopback

if TYPE_CHECKING:
    from heads.serving.cached_products import CachedProducts

__all__ = ["serve"]

log = logging.getLogger("embed_once")

LIBRARIES = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")


def serve(
    run_path: str | Path,
    settings: ServeSettings | None = None,
    *,
    heads: Sequence[str] | None = None,
    cache_path: str | Path | None = None,
    image_root: str | Path | None = None,
    review: str | Path | None = None,
    device: str = "auto",
    encoders: Mapping[str, str] | None = None,
    plugins: bool = False,
    tell: Callable[[str], None] = log.info,
) -> None:
    """Answer requests with the heads of a run, until SIGTERM or Ctrl-C; accepted requests are answered before the end.

    Args:
        run_path: a folder that `heads.train` wrote.
        settings: where to listen, and the limits.
        heads: names of the heads to load, the one whose answer counts first; None: all.
        cache_path: the cache of products that are known by their ids; None: that of the training, if it still exists.
        image_root: what the pictures' paths in the cache are relative to; None: its folder.
        review: a page that `heads-review` wrote: it is shown, and its answers are saved beside it as they are given.
        device: where encoders work.
        encoders: as `Run` takes them.
        plugins: load heads of a user's own class, which runs its code.
        tell: is told the address once requests are taken.

    Raises:
        RunError, HeadError: the run or a head cannot be loaded, or an encoder gives other vectors than it gave.
        CacheError, FileNotFoundError: the cache that is named cannot be read.
        WeightsError, DeviceError, SettingError: an encoder cannot be had.
        SettingError, LabelError: the review is no page, or its answers' file no such file.
        OSError: the address cannot be listened at.
    """
    _check_libraries()
    from heads.review.saved_answers import SavedAnswers
    from heads.serving.server import Server

    settings = settings or ServeSettings()
    saved = SavedAnswers(review) if review is not None else None
    run = Run(run_path, heads=heads, device=device, encoders=encoders, cache_path=cache_path, plugins=plugins)
    if heads is None:
        _warn_of_narrow_head(run)
    products = _open_products(run, is_named=cache_path is not None)
    if not is_loopback(settings.host) and settings.token is None:
        log.warning("Everybody who reaches %s may ask this server: no --token is named.", settings.host)
    root = None if image_root is None else Path(image_root)
    Server(run, products, settings, image_root=root, review=saved).run(tell)


def _check_libraries() -> None:
    uninstalled = [name for name in LIBRARIES if find_spec(name) is None]
    if uninstalled:
        raise HeadError(
            f"Expected what a server needs to be installed, but there is no {', '.join(uninstalled)}. Install it with: "
            "pip install 'embed-once[serve]'."
        )


def _warn_of_narrow_head(run: Run) -> None:
    """Warn if the head that answers looks at fewer modalities than another one of the run."""
    modalities = run.heads[run.head].description.dims.keys()
    wider_heads = [name for name, head in run.heads.items() if modalities < head.description.dims.keys()]
    if wider_heads:
        log.warning(
            "%s, whose answers count, has none for products without %s. --head %s has.",
            run.head, " or ".join(modalities), run.best_of(wider_heads),
        )  # fmt: skip


def _open_products(run: Run, *, is_named: bool) -> CachedProducts | None:
    """Return the products of the run's cache; None, with a warning, where the training's cache cannot be used.

    Raises:
        CacheError, HeadError, FileNotFoundError: a cache that the user named cannot be used.
    """
    from heads.serving.cached_products import CachedProducts

    if run.cache_path is None:
        log.warning("The cache of the training is gone: products are answered, but none is known by its id.")
        return None
    try:
        return CachedProducts(list(run.heads.values()), Cache(run.cache_path))
    except (EmbedOnceError, FileNotFoundError) as error:
        if is_named:
            raise
        log.warning("Products are answered, but none is known by its id. %s", error)
        return None

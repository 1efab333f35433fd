"""The types of commands' paths: files here alone, or objects in a bucket, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cache.cloud.addresses import StoragePath, is_address

__all__ = ["LOCAL_PATH", "PATH"]


class _LocalPath(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if is_address(value):
            self.fail("Expected a path on this machine, got the URL of a bucket. Name one here.", param, ctx)
        return super().convert(value, param, ctx)


PATH = click.Path(path_type=StoragePath)
LOCAL_PATH = _LocalPath(path_type=Path)

"""`cache-gc`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from cache.commands.arguments import cache_argument
from cache.console.command import Command, json_option, print_json, print_wrapped

__all__ = ["gc"]


@click.command(cls=Command)
@cache_argument
@click.option("--yes", "is_meant", is_flag=True, help="Drop them; without it, nothing is changed.")
@click.option("--keep-days", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
              help="Keep what was not found unused N days ago or before.")  # fmt: skip
@json_option
def gc(cache_path: Path, is_meant: bool, keep_days: int, as_json: bool) -> None:
    """Tell which contents no product uses; with --yes, write the cache anew without them."""
    from cache.rebuilding.unused import drop_unused, find_unused

    unused = (drop_unused if is_meant else find_unused)(cache_path, keep_days=keep_days)
    if as_json:
        print_json({"cache": str(cache_path), "was_written": is_meant and unused.n > 0, **asdict(unused)})
        return
    kept_note = f"{unused.n_kept:,} are not known to be unused for {keep_days} days, and stay." if unused.n_kept else ""
    if not unused.n:
        answer = f"no contents to drop. {kept_note}" if kept_note else "products use all contents."
        print_wrapped(f"{cache_path}: {answer}")
        return
    counts = ", ".join(f"{n:,} of {unused.n_contents[modality]:,} {modality}" for modality, n in unused.counts.items())
    size = f"{unused.n_bytes / 1e6:.1f} MB"
    print_wrapped(f"{cache_path}: no product uses {counts} contents ({size} of vectors). {kept_note}")
    click.echo("They are dropped." if is_meant else "Nothing is changed yet: cache-gc --yes drops them.")
    if n_parts := unused.n_unsealed_parts:
        print_wrapped(
            f"{n_parts} {'part waits' if n_parts == 1 else 'parts wait'} in the journal and stay as they are."
        )

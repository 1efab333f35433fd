"""`cache-info`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cache.cloud.addresses import is_address
from cache.commands.arguments import cache_argument
from cache.console.command import (
    WIDTH,
    Command,
    details_option,
    json_option,
    print_json,
    print_table,
    print_wrapped,
    show_statuses,
)
from cache.console.echo import echo
from cache.errors import CacheError

if TYPE_CHECKING:
    from cache.sealed.cache import Cache

__all__ = ["info"]

MOST_COLUMNS = 10  # whose names are shown without --details


@click.command(cls=Command)
@cache_argument
@details_option
@json_option
def info(cache_path: Path, details: bool, as_json: bool) -> None:
    """Show what is in the cache and what made it."""
    try:
        facts = _facts(cache_path)
    except FileNotFoundError as error:
        raise _not_sealed(cache_path) or error from error
    if as_json:
        print_json(facts)
        return
    _show(facts, details=details)


def _facts(cache_path: Path) -> dict[str, Any]:
    """Return what the command prints, in JSON's types."""
    from cache.inventory.waiting_vectors import count_waiting
    from cache.journal.mirrored_journal import n_waiting_parts
    from cache.sealed.cache import Cache
    from cache.system.reading import reading

    with Cache(cache_path) as cache, reading(cache.path):
        return {
            "cache": str(cache_path),
            "bytes": cache.path.stat().st_size,
            "content_sha256": cache.content_sha256,
            "n_products": len(cache),
            "columns": cache.columns(),
            "contents": {
                modality: str(cache.content_spec(modality) or "of columns not known") for modality in cache.modalities
            },
            "statuses": {modality: cache.status_counts(modality) for modality in cache.modalities},
            "encoders": [
                _entry_facts(cache, modality, encoder)
                for modality in cache.content_modalities
                for encoder in cache.encoders(modality)
            ],
            "n_unsealed_parts": n_waiting_parts(cache_path),
            "n_unsealed_vectors": count_waiting(cache),
        }


def _not_sealed(cache_path: Path) -> CacheError | None:
    """Return the error that there is no cache yet where parts of it wait; None where there are none."""
    from cache.journal.mirrored_journal import n_waiting_parts

    n_parts = n_waiting_parts(cache_path)
    if not n_parts:
        return None
    waiting = "1 part waits" if n_parts == 1 else f"{n_parts} parts wait"
    return CacheError(
        f"Expected a sealed cache, but of {cache_path} there is none yet: {waiting} in its journal. Type the line of "
        "embed-extract again that made them, without --shard."
    )


def _show(facts: dict[str, Any], *, details: bool) -> None:
    """Print what the cache holds; with `details` also what made each of its vectors."""
    echo(f"{facts['cache']}: {facts['n_products']} products, {facts['bytes'] / 1e6:.1f} MB")
    if n_parts := facts["n_unsealed_parts"]:
        vectors = ", ".join(f"{count} of {name}" for name, count in facts["n_unsealed_vectors"].items()) or "none"
        is_counted = not is_address(facts["cache"])  # parts in a bucket are not fetched to be counted
        print_wrapped(
            f"{n_parts} {'part waits' if n_parts == 1 else 'parts wait'} in the journal"
            f"{f' (vectors not sealed yet: {vectors})' if is_counted else ''}: an extraction is running or "
            "was stopped, or Python added them; embed-extract goes on where it was."
        )
    columns = facts["columns"] if details else facts["columns"][:MOST_COLUMNS]
    more = f" and {len(facts['columns']) - len(columns)} more" if len(columns) < len(facts["columns"]) else ""
    print_wrapped(f"columns: {', '.join(columns)}{more}")
    for modality, counts in facts["statuses"].items():
        print_wrapped(f"{modality}: {show_statuses(counts)} ({facts['contents'][modality]})")
    echo()
    has_tokens = any("tokens" in entry for entry in facts["encoders"])
    print_table(
        ["encoder", "vectors", "dimensions", *(["tokens", "a vector", "dimensions", "MB"] if has_tokens else [])],
        [
            [
                entry["name"],
                str(entry["n_vectors"]),
                str(entry["dimension"]),
                *(_token_cells(entry) if has_tokens else []),
            ]
            for entry in facts["encoders"]
        ],
        width=WIDTH,
    )
    if details:
        echo(f"\ncontent  {facts['content_sha256']}")
        for entry in facts["encoders"]:
            echo(f"\n{entry['name']}")
            for name, value in sorted(entry["spec"].items()):
                echo(f"  {name:16}{value}")
            for name, notes in sorted(entry["side_notes"].items()):
                print_wrapped(f"  made with {name}: {_notes_text(notes)}")


def _notes_text(notes: Any) -> str:
    """Return a side note, or several by name, in one line."""
    return ", ".join(f"{name} {note}" for name, note in notes.items()) if isinstance(notes, dict) else str(notes)


def _token_cells(entry: dict[str, Any]) -> list[str]:
    if "tokens" not in entry:
        return [""] * 4
    tokens = entry["tokens"]
    span = str(tokens["fewest"]) if tokens["fewest"] == tokens["most"] else f"{tokens['fewest']}–{tokens['most']}"
    return [str(tokens["n_tokens"]), span, str(tokens["dimension"]), f"{tokens['bytes'] / 1e6:.1f}"]


def _entry_facts(cache: Cache, modality: str, encoder: str) -> dict[str, Any]:
    """Return what there is to say of one encoder's vectors."""
    encoded, spec = cache.encoded(modality, encoder), cache.spec(modality, encoder)
    facts: dict[str, Any] = {
        "name": f"{modality}/{encoder}",
        "n_vectors": int(encoded.sum()),
        "dimension": cache.dimension(modality, encoder),
        "spec": dict(spec.fields),
        "side_notes": dict(spec.side_notes),
    }
    if cache.has_tokens(modality, encoder):
        counts, dim = cache.token_counts(modality, encoder), cache.token_dimension(modality, encoder)
        facts["tokens"] = {
            "n_tokens": int(counts.sum()),
            "fewest": int(counts[encoded].min(initial=counts.max(initial=0))),
            "most": int(counts.max(initial=0)),
            "dimension": dim,
            "bytes": 2 * int(counts.sum()) * dim,
        }
    return facts

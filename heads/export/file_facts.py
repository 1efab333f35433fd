"""The facts that an exported file tells of itself, for those who have nothing but the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from heads.modules.saving.saved_head import TrainedHead

__all__ = ["file_facts", "without_folders"]


def file_facts(head: TrainedHead) -> dict[str, str]:
    """Return the facts about a head, {name: text}; files on the machine that it was trained on have their name alone.

    What tells one file from another is in the specs: its digest.
    """
    return {
        "head": head.name,
        "label": head.label,
        "classes": json.dumps(head.classes),
        "encoders": json.dumps(dict(head.encoders)),
        "fingerprints": json.dumps({name: spec.fingerprint for name, spec in head.specs.items()}),
        "specs": json.dumps(
            {
                name: json.loads(replace(spec, side_notes=without_folders(spec.side_notes)).to_json())
                for name, spec in head.specs.items()
            }
        ),
        "contents": json.dumps({name: json.loads(spec.to_json()) for name, spec in head.contents.items()}),
    }


def without_folders(notes: Any) -> Any:
    """Return side notes of a spec, JSON's values, with the last part alone of each whole path.

    >>> without_folders({"image_weights": "/home/me/tuned.safetensors", "text_encoder": "org/bert"})
    {'image_weights': 'tuned.safetensors', 'text_encoder': 'org/bert'}
    """
    if isinstance(notes, dict):
        return {name: without_folders(value) for name, value in notes.items()}
    if isinstance(notes, list):
        return [without_folders(value) for value in notes]
    if isinstance(notes, str):
        paths = [kind(notes) for kind in (PurePosixPath, PureWindowsPath)]
        return next((path.name for path in paths if path.is_absolute()), notes)
    return notes

"""Altered caches, parts, runs, pictures and catalogues: errors have names, and come soon."""

from __future__ import annotations

import io
import json
import random
import resource
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas  # noqa: F401 - which reads catalogues: once, not in each child
from PIL import Image

from cache import verify
from cache.errors import EmbedOnceError
from embed import ContentError, ExtractSettings
from embed.catalogue.catalogue import read_catalogue
from embed.contents.images import decode
from torture.campaign import UNNAMED, Campaign, LossError, Tools, Trial, in_child, require
from torture.targets import answer, kinds_of, targets

MOST_BYTES = 2**30  # of memory; no small file may take more
ODD = (None, True, -1, 0, 2**70, 1e308, "", "\0", "../x", "x" * 70_000, [], {}, [[]], {"": None}, [None] * 999)
CATALOGUES = {
    "data.csv": b'id,image,text,label\n1,a.png,"a, b",x\n2,b.png,"c ""d""",y\n\xff,\xe9,,\n',
    "data.tsv": b"id\ttitle\tlabel\n1\ta\tx\n2\tb\ty\n",
    "data.jsonl": b'{"id": 1, "text": "a", "label": "x"}\n{"id": 2, "text": ["b", {"c": 1}], "label": null}\n',
    "data.json": b'[{"id": 1, "text": "a"}, {"id": 2, "text": "b", "more": [1, 2]}]',
}
PICTURES = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
KINDS = ("cache", "part", "result cache", "run", "picture", "catalogue")


def prepare(tools: Tools) -> Callable[[Trial], None]:
    folder = targets(tools)
    kinds = kinds_of(folder)

    def give(trial: Trial) -> None:
        kind = tools.pick(KINDS, trial.number)
        altered_folder = trial.folder / "shop"
        for _ in range(2 if trial.is_small else 20):
            seed = trial.random.randrange(2**32)
            shutil.rmtree(altered_folder, ignore_errors=True)
            shutil.copytree(folder, altered_folder)
            if kind in kinds:
                _alter_target(altered_folder, kind, kinds[kind], random.Random(seed))
            in_child(partial(_read, kind, altered_folder, seed), timeout_s=60)
            trial.counts[f"altered: {kind}"] += 1

    return give


def altered(content: bytes, chance: random.Random) -> bytes:
    """Return bytes with some of them changed, left out, doubled, or from elsewhere in them."""
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 4, 16, 64])):
        offset = chance.randrange(len(changed) or 1)
        length = min(chance.choice([1, 2, 4, 8, 32]), len(changed) - offset)
        source = chance.randrange(len(changed) or 1)
        kind = chance.choice(["random", "zeros", "ones", "from elsewhere", "left out", "doubled", "cut"])
        if kind == "random":
            changed[offset : offset + length] = chance.randbytes(length)
        elif kind in ("zeros", "ones"):
            changed[offset : offset + length] = bytes([255 * (kind == "ones")]) * length
        elif kind == "from elsewhere":
            changed[offset : offset + length] = changed[source : source + length]
        elif kind == "left out":
            del changed[offset : offset + length]
        elif kind == "doubled":
            changed[offset:offset] = changed[offset : offset + length]
        elif chance.random() < 0.1:
            del changed[offset:]
    return bytes(changed)


def with_odd_value(content: bytes, chance: random.Random) -> bytes:
    """Return JSON one of whose values is another."""
    document = json.loads(content)
    slots: list[tuple[list | dict, object]] = []

    def walk(node: object) -> None:
        items = enumerate(node) if isinstance(node, list) else node.items() if isinstance(node, dict) else ()
        for name, value in list(items):
            slots.append((node, name))  # type: ignore[arg-type]
            walk(value)

    walk(document)
    node, name = chance.choice(slots)
    node[name] = chance.choice(ODD)  # type: ignore[index]
    return json.dumps(document).encode()


def _alter_target(here: Path, kind: str, names: list[Path], chance: random.Random) -> None:
    path = here / chance.choice(names)
    content = path.read_bytes()
    is_json = path.suffix == ".json" and chance.random() < 0.7
    path.write_bytes(with_odd_value(content, chance) if is_json else altered(content, chance))
    if kind == "run" and chance.random() < 0.9:
        (path.parent / "manifest.json").unlink(missing_ok=True)  # its digests would name any change
    if kind == "part":
        import hashlib

        digest = hashlib.sha256(path.read_bytes()).hexdigest()  # as somebody would who wants it to be believed
        path.rename(path.with_name(".".join([*path.name.split(".")[:2], digest, "part.h5"])))


def _read(kind: str, here: Path, seed: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chance = random.Random(seed)
    try:
        if kind == "picture":
            buffer = io.BytesIO()
            picture = Image.effect_noise((40, 30), 90).convert(chance.choice(["L", "RGB"]))
            picture.save(buffer, chance.choice(PICTURES))
            decode(altered(buffer.getvalue(), chance))
        elif kind == "catalogue":
            name = chance.choice(sorted(CATALOGUES))
            (here / name).write_bytes(altered(CATALOGUES[name], chance))
            read_catalogue(here / name, ExtractSettings())
        else:
            answer(kind, here)
            if kind in ("cache", "part"):
                verify(here / "e.h5")
    except (EmbedOnceError, ContentError, FileNotFoundError):
        pass
    except BaseException as error:
        import traceback

        raise LossError(UNNAMED, f"{kind} of seed {seed}: {traceback.format_exc()}") from error
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    require(grown < MOST_BYTES, UNNAMED, f"{kind} of seed {seed} took {grown / 1e9:.1f} GB")


CAMPAIGN = Campaign("hostile-files", "caches, parts, runs, pictures and catalogues of altered bytes", prepare, n_unit=6)

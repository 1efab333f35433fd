"""Products of several pictures: which of them are sound, and the mean of these pictures' vectors."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain

from cache import Contents, Inventory, mean_key, publish_means
from embed.amounts import plural
from embed.contents.statuses import OK, RETRIED
from embed.extraction.source.content_source import ListedPicture

__all__ = ["BrokenPicture", "PictureMeans", "add_means"]

log = logging.getLogger("embed_once")


@dataclass(frozen=True)
class BrokenPicture:
    """A picture without vector, of a product that has sound ones beside it."""

    row: int
    status: str
    cell: str


@dataclass(frozen=True)
class PictureMeans:
    """N products' contents, of which some are means, and what they are made of."""

    contents: Contents
    keys: list[str]  # N, of the pictures that a product's mean is made of, with blanks between; "" without a mean
    broken: list[BrokenPicture]


def add_means(
    contents: Contents, pictures: Mapping[int, list[ListedPicture]], inventory: Inventory, *, left_out: set[str]
) -> PictureMeans:
    """Publish the means of products' sound pictures, and return the contents with these in their places.

    A product of one sound picture has that; of none, what the first has. Nothing is encoded.

    Args:
        contents: the products' image contents, in which each has its first picture.
        pictures: of the products that have several, by their row.
        inventory: what is encoded by now.
        left_out: keys of files that changed under our hands.
    """
    failures = inventory.failures.get("image", {}) | dict.fromkeys(left_out, RETRIED)
    keys, statuses = list(contents.keys), list(contents.statuses)
    joined_keys = [""] * len(keys)
    members: dict[str, list[str]] = {}  # a mean's key -> the keys of its pictures
    broken = []
    for row, listed in pictures.items():
        sound_keys = sorted({picture.key for picture in listed if picture.key and picture.key not in failures})
        if not sound_keys:
            continue
        keys[row], statuses[row] = sound_keys[0], OK
        if len(sound_keys) > 1:
            keys[row] = mean_key(sound_keys)
            members[keys[row]] = sound_keys
            joined_keys[row] = " ".join(sound_keys)
        broken += [
            BrokenPicture(row, failures.get(picture.key, picture.status), picture.cell)
            for picture in listed
            if picture.key not in sound_keys
        ]
    publish_means(inventory, "image", members)
    _tell(broken, inventory)
    member_keys = list(dict.fromkeys(chain.from_iterable(members.values())))
    return PictureMeans(replace(contents, keys=keys, statuses=statuses, kept=member_keys), joined_keys, broken)


def _tell(broken: list[BrokenPicture], inventory: Inventory) -> None:
    """Warn of pictures that could not be read, and of encoders that give no means."""
    if broken:
        counts = Counter(picture.status for picture in broken).most_common()
        log.warning(
            "%s of %s could not be read (%s): the others stand for them.",
            plural(len(broken), "picture"),
            plural(len({picture.row for picture in broken}), "product"),
            ", ".join(f"{count} {status}" for status, count in counts),
        )
    for (modality, encoder), entry in inventory.entries.items():
        if modality == "image" and entry.token_dim:
            log.warning("image/%s has tokens, which have no mean: products of several pictures lack it.", encoder)

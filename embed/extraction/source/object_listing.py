"""The objects that a catalogue names: whether their buckets can be had at all, and what the stores tell of them.

A listing has a thousand objects a request, where asking for each takes a request each. So what lies between the first
and the last key that a catalogue names in a bucket is listed, unless far more than those lies between them.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cache.cloud.addresses import Address
from cache.cloud.buckets import ObjectFacts, open_bucket
from cache.errors import CloudError
from embed.contents.images import locate
from embed.contents.objects import ObjectPlace
from embed.errors import ContentError

__all__ = ["N_OBJECTS_A_TASK", "check_buckets", "list_objects", "locate_all"]

N_OBJECTS_A_TASK = 4
N_LOOKED_AT = 5  # objects of each bucket, to see whether it can be had
MOST_LISTED = 20  # times as many as are wanted
FEW = 1000  # that are listed in any case


def locate_all(cells: Iterable[str], root: Path, *, allow_outside: bool) -> dict[tuple[str, str], set[str]]:
    """Return the keys of the objects that cells name, by scheme and bucket."""
    keys: dict[tuple[str, str], set[str]] = {}
    for cell in cells:
        with suppress(ContentError):
            place = locate(cell, root, allow_outside=allow_outside)
            if isinstance(place, ObjectPlace):
                keys.setdefault((place.address.scheme, place.address.bucket), set()).add(place.address.key)
    return keys


def check_buckets(keys: dict[tuple[str, str], set[str]]) -> None:
    """Check that each bucket answers for one of a few objects, so that a wrong password is no thousand bad pictures.

    Raises:
        CloudError: there is no such bucket, it refuses access to all that were asked for, or does not answer.
    """
    for (scheme, name), bucket_keys in keys.items():
        bucket = open_bucket(Address(scheme, name, ""))
        failure: CloudError | None = None
        for key in sorted(bucket_keys)[:: max(1, len(bucket_keys) // N_LOOKED_AT)][:N_LOOKED_AT]:
            try:
                bucket.head(key)
            except FileNotFoundError:  # HEAD does not tell whether it is the object or the bucket
                with suppress(FileNotFoundError):
                    bucket.get(key, most_bytes=0)
            except CloudError as error:
                failure = error
                continue
            failure = None
            break
        if failure is not None:
            raise failure


def list_objects(keys: dict[tuple[str, str], set[str]]) -> dict[Address, ObjectFacts]:
    """Return what stores tell of objects, as far as a listing is cheap and permitted."""
    facts: dict[Address, ObjectFacts] = {}
    for (scheme, name), bucket_keys in keys.items():
        last_key, n_listed = max(bucket_keys), 0
        prefix = posixpath.commonpath([posixpath.dirname(min(bucket_keys)), posixpath.dirname(last_key)])
        with suppress(CloudError, FileNotFoundError):
            for key, object_facts in open_bucket(Address(scheme, name, "")).list(prefix):
                n_listed += 1
                if key in bucket_keys:
                    facts[Address(scheme, name, key)] = object_facts
                if key >= last_key or n_listed > max(FEW, MOST_LISTED * len(bucket_keys)):
                    break
    return facts

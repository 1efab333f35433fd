"""Clocks that jump and times that are set: whatever the hints say, each product has the key of its picture's bytes."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from support import CountingEncoder, image_bytes, small_catalogue

from cache import Cache
from embed import ExtractSettings, extract
from torture.campaign import WRONG, Campaign, Tools, Trial, require

DAY_NS = 86_400 * 10**9
JUMPS_NS = (0, 1, 10**6, 3 * 10**9, 3600 * 10**9, DAY_NS, 400 * DAY_NS)


def prepare(_: Tools) -> Callable[[Trial], None]:
    def jump(trial: Trial) -> None:
        catalogue, cache_path = small_catalogue(trial.folder / "shop", 4), trial.folder / "e.h5"
        pictures = sorted((trial.folder / "shop" / "images").iterdir())
        encoders = [CountingEncoder("image"), CountingEncoder("text")]
        for turn in range(4 if trial.is_small else 25):
            for picture in trial.random.sample(pictures, trial.random.randrange(3)):
                repaint(trial, picture)
            offset = trial.random.choice(JUMPS_NS) * trial.random.choice([-1, 1])
            now = time.time_ns
            with mock.patch("time.time_ns", lambda now=now, offset=offset: now() + offset):
                extract(catalogue, cache_path, settings=ExtractSettings(n_workers=1), encoders=encoders)
            with Cache(cache_path) as cache:
                keys = cache.keys("image").astype(str)[cache.rows("image")].tolist()
            expected = [hashlib.sha256(picture.read_bytes()).hexdigest() for picture in pictures]
            require(keys == expected, WRONG, f"in turn {turn} a product has the key of other bytes than its picture's")
            trial.counts["extractions"] += 1

    return jump


def repaint(trial: Trial, picture: Path) -> None:
    """Give a picture other bytes of the same size, and some time of modification."""
    before = picture.stat()
    while True:
        content = image_bytes((trial.random.randrange(250), trial.random.randrange(250), 3))
        picture.write_bytes(content.ljust(200, b"\0"))
        kind = trial.random.choice(["as before", "past", "future", "whole seconds", "real"])
        times = {"as before": before.st_mtime_ns, "past": 10**18, "whole seconds": before.st_mtime_ns // 10**9 * 10**9}
        times["future"] = time.time_ns() + trial.random.choice(JUMPS_NS)
        if kind in times:
            os.utime(picture, ns=(times[kind], times[kind]))
        trial.counts[f"times set: {kind}"] += 1
        if picture.stat().st_ctime_ns != before.st_ctime_ns:  # what a clock's tick is, the kernel says
            return


CAMPAIGN = Campaign("clocks", "clocks that jump, and files whose times are set, between extractions", prepare, n_unit=1)

"""A flipped bit in any file: it is then read as before, in part, or with a named error; never as something else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torture.campaign import WRONG, Campaign, Tools, Trial, in_child, require
from torture.targets import READERS, answer, kinds_of, targets

N_FLIPS = 20


def prepare(tools: Tools) -> Callable[[Trial], None]:
    folder = targets(tools)
    kinds = kinds_of(folder)
    whole = {kind: answer(kind, Path(shutil.copytree(folder, tools.folder / f"whole {kind}"))) for kind in READERS}
    for kind, answered in whole.items():
        assert not isinstance(answered, Exception), (kind, answered)

    def flip(trial: Trial) -> None:
        kind = tools.pick(list(READERS), trial.number)
        damaged_folder = Path(shutil.copytree(folder, trial.folder / "shop"))
        for _ in range(2 if trial.is_small else N_FLIPS):
            name = trial.random.choice(kinds[kind])
            sound = (folder / name).read_bytes()
            offset, bit = trial.random.randrange(len(sound)), trial.random.randrange(8)
            damaged = bytearray(sound)
            damaged[offset] ^= 1 << bit
            (damaged_folder / name).write_bytes(damaged)
            answered = in_child(partial(look, kind, damaged_folder), timeout_s=60)
            trial.counts[f"flips in a {kind}"] += 1
            where = f"bit {bit} of byte {offset} of {name}"
            if answered is not None:
                require(is_less(answered, whole[kind]), WRONG, f"{where}: another answer")
            shutil.rmtree(damaged_folder / "e.h5.journal")
            shutil.copytree(folder / "e.h5.journal", damaged_folder / "e.h5.journal")
            (damaged_folder / name).write_bytes(sound)

    return flip


def look(kind: str, folder: Path) -> object:
    """Return what a reader returns, None for a named error."""
    result = answer(kind, folder)
    return None if isinstance(result, Exception) else result


def is_less(answered: object, whole: object) -> bool:
    """Return whether an answer holds nothing that the whole one did not."""
    if isinstance(answered, dict) and isinstance(whole, dict):
        return all(name in whole and is_less(value, whole[name]) for name, value in answered.items() if value != "None")
    if isinstance(answered, tuple) and isinstance(whole, tuple):
        return all(is_less(part, whole_part) for part, whole_part in zip(answered, whole, strict=True))
    if isinstance(answered, list) and all(isinstance(part, str) for part in answered):
        return set(answered) <= set(whole)  # type: ignore[call-overload]
    return answered == whole or answered == [b"", b""]  # hints that are ignored


CAMPAIGN = Campaign("flips", "a flipped bit in a cache, a part, hints, a result cache or a run", prepare, n_unit=5)

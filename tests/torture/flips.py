"""A flipped bit in any file: what is read then is as before, less, or a named error; never something else."""

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
    for kind, said in whole.items():
        assert not isinstance(said, Exception), (kind, said)

    def flip(trial: Trial) -> None:
        kind = tools.pick(list(READERS), trial.number)
        here = Path(shutil.copytree(folder, trial.folder / "shop"))
        for _ in range(2 if trial.is_small else N_FLIPS):
            name = trial.random.choice(kinds[kind])
            sound = (folder / name).read_bytes()
            place, bit = trial.random.randrange(len(sound)), trial.random.randrange(8)
            damaged = bytearray(sound)
            damaged[place] ^= 1 << bit
            (here / name).write_bytes(damaged)
            said = in_child(partial(look, kind, here), timeout_s=60)
            trial.counts[f"flips in a {kind}"] += 1
            where = f"bit {bit} of byte {place} of {name}"
            if said is not None:
                require(is_less(said, whole[kind]), WRONG, f"{where}: another answer")
            shutil.rmtree(here / "e.h5.journal")
            shutil.copytree(folder / "e.h5.journal", here / "e.h5.journal")
            (here / name).write_bytes(sound)

    return flip


def look(kind: str, folder: Path) -> object:
    """Return what a reader says, None for a named error."""
    said = answer(kind, folder)
    return None if isinstance(said, Exception) else said


def is_less(said: object, whole: object) -> bool:
    """Return whether nothing is said that was not said before the flip."""
    if isinstance(said, dict) and isinstance(whole, dict):
        return all(name in whole and is_less(value, whole[name]) for name, value in said.items() if value != "None")
    if isinstance(said, tuple) and isinstance(whole, tuple):
        return all(is_less(one, other) for one, other in zip(said, whole, strict=True))
    if isinstance(said, list) and all(isinstance(one, str) for one in said):
        return set(said) <= set(whole)  # type: ignore[call-overload]
    return said == whole or said == [b"", b""]  # hints that are not believed


CAMPAIGN = Campaign("flips", "a flipped bit in a cache, a part, hints, a result cache or a run", prepare, n_unit=5)

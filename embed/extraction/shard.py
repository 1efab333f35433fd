"""Shards: which of the contents one of several workers takes, and which worker this process is."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from embed.contents.file_ranges import is_inside_file
from embed.errors import SettingError

__all__ = ["Shard", "find_shard"]

NEIGHBOURS = 1024  # pictures inside other files that stay together, because reading one decodes those before it


@dataclass(frozen=True)
class Shard:
    """One of `count` workers, who share contents out by what is known without reading any picture.

    Raises:
        SettingError: there is no such worker.
    """

    number: int  # from 0
    count: int

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count:
            raise SettingError(
                f"--shard: expected one of 0/{self.count} to {self.count - 1}/{self.count}, got {self}. The first is 0."
                if self.count > 0
                else f"--shard: expected one or more shards, got {self}."
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """The name of its journal."""
        return f"{self.number:05}-of-{self.count:05}"

    @staticmethod
    def is_name(text: str) -> bool:
        """Return whether a journal's name is a shard's, and not that of an engine's worker."""
        return re.fullmatch(r"\d{5,}-of-\d{5,}", text) is not None

    def takes_key(self, key: str) -> bool:
        """Return whether the content of a key, which is a SHA-256, is this worker's."""
        return int(key[:16], 16) % self.count == self.number

    def pictures(self, cells: Sequence[str]) -> list[str]:
        """Return those cells whose pictures are this worker's; all cells of one path are the same worker's."""
        return [
            cell
            for n, cell in enumerate(cells)
            if cell.strip() and self._takes(f"{n // NEIGHBOURS}" if is_inside_file(cell) else cell)
        ]

    def _takes(self, name: str) -> bool:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.count == self.number


# What starts many processes tells each which it is: variables of its number and of their count.
_STARTERS = {
    "torchrun": ("RANK", "WORLD_SIZE"),
    "a Slurm step": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    "a Kubernetes indexed job": ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
}
_ARRAY = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX", "SLURM_ARRAY_TASK_COUNT")


def find_shard(text: str, environment: Mapping[str, str]) -> Shard:
    """Return the shard that ``3/16`` names, or of ``auto`` the one that the variables of a job's starter name.

    Of several starters, one that started a single process says nothing.

    Raises:
        SettingError: the text is neither, no starter has set its variables, or two contradict each other.
    """
    if text != "auto":
        if not (match := re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)):
            raise SettingError(
                f"--shard: expected a number and how many there are, such as 3/16, or auto, got {text!r}."
            )
        return Shard(int(match[1]), int(match[2]))
    by_starter = {name: Shard(*numbers) for name, numbers in _started_by(environment)}
    shards = {name: shard for name, shard in by_starter.items() if shard.count > 1} or by_starter
    if len(set(shards.values())) > 1:
        shown = ", ".join(f"{shard} of {name}" for name, shard in shards.items())
        raise SettingError(f"--shard auto: expected one answer, got {shown}. Name the shard, as --shard 3/16.")
    if not shards:
        raise SettingError(
            "--shard auto: expected the variables of a Slurm array (SLURM_ARRAY_TASK_ID) or step (srun), of torchrun "
            "(RANK, WORLD_SIZE) or of a Kubernetes indexed job (JOB_COMPLETION_INDEX), but none is set. Name the "
            "shard, as --shard 3/16."
        )
    return next(iter(shards.values()))


def _started_by(environment: Mapping[str, str]) -> list[tuple[str, tuple[int, int]]]:
    """Return who started this process, the process's number from 0, and the count of processes."""
    if "JOB_COMPLETION_INDEX" in environment and "JOB_COMPLETIONS" not in environment:
        raise SettingError(
            "--shard auto: Kubernetes tells a pod its number and not how many there are. Set JOB_COMPLETIONS to the "
            "job's completions in the pod's env, or write --shard '$(JOB_COMPLETION_INDEX)/16' in its args."
        )
    answers = [
        (name, (_number(environment, of_number), _number(environment, of_count)))
        for name, (of_number, of_count) in _STARTERS.items()
        if of_number in environment and of_count in environment
    ]
    if _ARRAY[0] in environment:
        task, first, last, count = (_number(environment, name) for name in _ARRAY)
        step = (last - first) // (count - 1) if count > 1 else 1
        if count < 1 or step < 1 or first + step * (count - 1) != last or (task - first) % step:
            raise SettingError(
                f"--shard auto: expected the tasks of the Slurm array to be numbered evenly, got {count} from {first} "
                f"to {last}. Use --array=0-15, or name the shard, as --shard 3/16."
            )
        answers.append(("a Slurm array", ((task - first) // step, count)))
    return answers


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not re.fullmatch(r"\d{1,9}", value):
        raise SettingError(
            f"--shard auto: expected {name} to be a number, got {value!r}. Name the shard, as --shard 3/16."
        )
    return int(value)

"""Finished ablations, kept beside the memo, so that the same line again is answered before PyTorch is loaded.

The folder ``<memo>.finished`` has a file for each of the last ones. Its name is the SHA-256 of all that the answer
follows from but the memo: the settings, the cache's file by its inode, size and times, that of corrections, the
versions of libraries, this package's code, the processor, the folder and the variables that libraries look at. Its
first line is the SHA-256 of the second, a JSON object: the report, the files of the run's folder as they are where
nothing is trained, and the digest of each job's row in the memo.

It is a hint: believed where the memo still has each of these rows, whole and as it was, and deleting it loses nothing
but the time to do it all again. Heads of one's own may read anything, a GPU's name is PyTorch's to tell, a cluster's
machines are others, and a race tells of each fold: nothing is kept of these.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import cache
import heads
from cache.aside import write_aside
from cache.circumstances import circumstances_here, devices_here, identities, versions_of
from cache.cloud.addresses import is_address
from cache.errors import EmbedOnceError
from cache.memory_budget import memory_bytes
from cache.stray_bytes import shown, shown_values
from heads.ablation.ablation_settings import AblationSettings
from heads.experiment.result_store import ResultCache
from heads.plain_values import from_plain, to_plain
from heads.runs.ablation_folder import usual_name
from heads.runs.ablation_report import AblationReport
from heads.runs.folder import write_run

__all__ = ["COMMAND", "FinishedAblation", "FinishedAblations"]

log = logging.getLogger("embed_once")

LIBRARIES = ("h5py", "jinja2", "matplotlib", "numpy", "optuna", "pandas", "scikit-learn", "scipy", "torch")
CODE = (".py", ".html", ".js")
COMMAND = "the-command-line-of-this-ablation"  # stands for it in the files that are kept
PAGE, CONFIG = "report.html", "ablation.json"
MOST_KEPT = 16
MOST_BYTES = 2**25  # of one


@dataclass(frozen=True)
class FinishedAblation:
    """What an ablation came to, as it is told where nothing is trained."""

    report: AblationReport
    jobs: dict[str, str]  # key -> digest of what the memo has of it
    files: dict[str, str]  # name -> text

    def write(self, runs_path: Path, name: str | None, *, command: Sequence[str], with_page: bool) -> Path:
        """Write the run's folder, with or without its page, and return where it is.

        Raises:
            RunError: there is a run of that name already, or the name is none for a folder.
        """
        from markupsafe import escape

        in_json, in_page = (_in_json([COMMAND]), _in_json(command)), (COMMAND, shown(escape(shlex.join(command))))
        files = {file_name: text for file_name, text in self.files.items() if with_page or file_name != PAGE}
        files[CONFIG] = files[CONFIG].replace(*in_json, 1)
        if with_page:
            files[PAGE] = files[PAGE].replace(*in_page)

        def write(folder: Path) -> None:
            for file_name, text in files.items():
                (folder / file_name).write_bytes(text.encode("utf-8", "surrogateescape"))

        return write_run(runs_path, name, usual_name(self.report.label), write)


class FinishedAblations:
    """The file that has what an ablation came to; made before the cache is opened, which may change later."""

    def __init__(self, memo_path: Path, cache_path: str | Path, settings: AblationSettings) -> None:
        self._memo_path = memo_path
        self._folder = memo_path.with_name(memo_path.name + ".finished")
        self._name = ""
        with suppress(OSError):  # a folder that is gone, say: who does it all tells what matters
            self._name = _circumstances(cache_path, settings)

    def recall(self, *, with_page: bool) -> FinishedAblation | None:
        """Return what the ablation came to; None where it is not known for sure."""
        if not self._name or not self._memo_path.is_file():
            return None
        try:
            digest, _, text = (self._folder / self._name).read_text(encoding="ascii").partition("\n")
        except (OSError, ValueError):
            return None
        if digest != hashlib.sha256(text.encode()).hexdigest():
            return None
        finished: FinishedAblation = from_plain(FinishedAblation, json.loads(text))
        if with_page and PAGE not in finished.files:
            return None
        with (
            suppress(EmbedOnceError),
            ResultCache(self._memo_path) as memo,
        ):  # what is wrong with it, the jobs will tell
            if all(memo.digest(key) == known for key, known in finished.jobs.items()):
                return finished
        return None

    def remember(self, report: AblationReport, *, jobs: Mapping[str, str | None], folder: Path) -> None:
        """Keep what an ablation came to, and the files of a folder, where all of its jobs are remembered."""
        if not self._name or None in jobs.values():
            return
        files = {path.name: path.read_bytes().decode("utf-8", "surrogateescape") for path in sorted(folder.iterdir())}
        text = json.dumps(to_plain({"report": report, "jobs": jobs, "files": files}))
        whole = f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}"
        if len(whole) > MOST_BYTES:
            return
        try:
            self._folder.mkdir(exist_ok=True)
            kept = sorted((path for path in self._folder.iterdir()), key=lambda path: -path.stat().st_mtime_ns)
            for path in kept[MOST_KEPT - 1 :]:
                path.unlink()
            write_aside(
                self._folder / self._name, lambda aside: aside.write_text(whole, encoding="ascii"), folder=self._folder
            )
        except OSError as error:
            log.warning("%s could not be written (%s): the same line again takes longer.", self._folder, error.strerror)


def _circumstances(cache_path: str | Path, settings: AblationSettings) -> str:
    """Return a digest of all that an answer follows from beside the memo; empty where that is not known."""
    is_here = settings.engine == AblationSettings.engine and not is_address(cache_path)
    is_on_the_cpu = settings.device == "cpu" or not devices_here()
    if not (is_here and is_on_the_cpu) or settings.race or any(":" in name for name in settings.fusions):
        return ""
    packages = [Path(str(package.__file__)).parent for package in (cache, heads)]
    code = [path for package in packages for path in package.rglob("*") if path.suffix in CODE]
    others = [Path(settings.corrections)] if settings.corrections is not None else []
    if not (known := identities([Path(cache_path), *others, *code])):
        return ""
    facts = {
        "cache": str(cache_path),
        "settings": asdict(settings),
        "memory": memory_bytes(settings.memory),
        "here": circumstances_here(),
        "libraries": versions_of(LIBRARIES),
        "files": known,
    }
    text = json.dumps(facts, default=str, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _in_json(command: Sequence[str]) -> str:
    """Return a command as it stands in ``ablation.json``, as `write_json` writes it there."""
    text = json.dumps({"command": shown_values(list(command))}, indent=1, ensure_ascii=False)
    return text.removeprefix("{\n").removesuffix("\n}")

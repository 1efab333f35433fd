"""Finished ablations, kept beside the memo, so that the same line again is answered before PyTorch is loaded.

The folder ``<memo>.finished`` has a file for each of the last ones. Its name is the SHA-256 of all that the answer
depends on besides the memo: the settings, the cache's file by its inode, size and times, likewise that of corrections,
the versions of libraries, this package's code, the processor, the folder and the variables that libraries look at. Its
second line is a JSON object: the report, the files of the run's folder as they are where nothing is trained, and the
digest of each job's row in the memo. Its first line is the HMAC-SHA-256 of the name and the second line, by a secret of
the user's (`cache.system.user_folder`): the memo may come from a stranger, with such a folder beside it, and its rows
alone do not prove the scores and pages there.

A file is a hint: it is used where the memo still has each of these rows unchanged, and deleting it loses nothing but
the time to do it all again. Nothing is kept of ablations with a user's own heads, which may read anything, on a GPU,
whose name only PyTorch knows, on a cluster, whose machines may differ, and of races, which tell of each fold.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import shlex
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import cache
import heads
from cache.cloud.addresses import is_address
from cache.errors import EmbedOnceError
from cache.system.aside import write_aside
from cache.system.circumstances import circumstances_here, devices_here, identities, versions_of
from cache.system.memory_budget import memory_bytes
from cache.system.reading import facts_of
from cache.system.stray_bytes import shown, shown_values
from cache.system.user_folder import user_secret
from heads.ablation.ablation_settings import AblationSettings
from heads.data.corrections import CORRECTIONS
from heads.experiment.result_store import ResultCache
from heads.runs.ablation_folder import usual_name
from heads.runs.ablation_report import AblationReport
from heads.runs.folder import write_run
from heads.typed_json import read_plain_file, to_plain, typed

__all__ = ["COMMAND", "FinishedAblation", "FinishedAblations"]

log = logging.getLogger("embed_once")

LIBRARIES = ("h5py", "jinja2", "matplotlib", "numpy", "optuna", "pandas", "scikit-learn", "scipy", "torch")
CODE = (".py", ".html", ".js")
COMMAND = "the-command-line-of-this-ablation"  # its placeholder in the files that are kept
PAGE, CONFIG = "report.html", "ablation.json"
NEEDED, OPTIONAL = {CONFIG, "ranking.csv", "jobs.csv"}, {PAGE, CORRECTIONS}  # the files that a run's folder may have
NAME = re.compile("[0-9a-f]{64}")
MOST_KEPT = 16  # files
MOST_BYTES = 2**25  # of a file


@dataclass(frozen=True)
class FinishedAblation:
    """The results of an ablation, as they are reported where nothing is trained."""

    report: AblationReport
    jobs: dict[str, str]  # key -> digest of its row in the memo
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
    """The file of one ablation's results; made before the cache is opened, which may change later."""

    def __init__(self, memo_path: Path, cache_path: str | Path, settings: AblationSettings) -> None:
        self._memo_path = memo_path
        self._folder = memo_path.with_name(memo_path.name + ".finished")
        self._name = ""
        with suppress(OSError):  # such as a folder that is gone: the ablation itself will say so
            self._name = _circumstances(cache_path, settings)

    def recall(self, *, with_page: bool) -> FinishedAblation | None:
        """Return the results of the ablation; None where they are not known for sure."""
        if not self._name:
            return None
        with suppress(OSError, EmbedOnceError, ValueError, TypeError, KeyError, RecursionError):  # then jobs are run
            finished = self._read()
            if finished and (PAGE in finished.files or not with_page):
                with ResultCache(self._memo_path) as memo:
                    if all(memo.digest(key) == digest for key, digest in finished.jobs.items()):
                        return finished
        return None

    def remember(
        self, report: AblationReport, *, jobs: Mapping[str, str | None], fill: Callable[[Path], object]
    ) -> None:
        """Keep the results of an ablation, and the files that `fill` writes, where the memo has all of its jobs."""
        try:
            secret = user_secret()
            if self._name and secret and None not in jobs.values() and not self._folder.is_symlink():
                with tempfile.TemporaryDirectory() as folder:
                    fill(Path(folder))
                    files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
                texts = {name: content.decode("utf-8", "surrogateescape") for name, content in files.items()}
                self._write(json.dumps(to_plain({"report": report, "jobs": jobs, "files": texts})), secret)
        except OSError as error:
            log.warning(
                "%s could not be written (%s): the same line again takes longer.",
                self._folder,
                error.strerror or error,
            )

    def _read(self) -> FinishedAblation | None:
        """Return what this user wrote; None where the file is another's or not complete.

        Raises:
            OSError, UnreadableError, ValueError, TypeError, KeyError, RecursionError: there is no such file.
        """
        if self._folder.is_symlink() or not self._memo_path.is_file():
            return None
        content = read_plain_file(self._folder / self._name, most_bytes=MOST_BYTES).decode("ascii")
        signature, _, text = content.partition("\n")
        secret = user_secret()
        if secret is None or not hmac.compare_digest(signature, self._signature(text, secret)):
            return None
        finished = typed(FinishedAblation, json.loads(text), where=self._name)
        is_whole = 0 < len(finished.jobs) == finished.report.n_jobs
        return finished if is_whole and NEEDED <= finished.files.keys() <= NEEDED | OPTIONAL else None

    def _write(self, text: str, secret: bytes) -> None:
        content = f"{self._signature(text, secret)}\n{text}"
        if len(content) > MOST_BYTES:
            return
        self._folder.mkdir(exist_ok=True)
        times = {}
        for path in self._folder.iterdir():
            facts = facts_of(path, follow_symlinks=False)
            if facts and stat.S_ISREG(facts.st_mode) and path.name != self._name and NAME.fullmatch(path.name):
                times[path] = facts.st_mtime_ns
        for path in sorted(times, key=lambda path: -times[path])[MOST_KEPT - 1 :]:
            path.unlink(missing_ok=True)

        def write(aside: Path) -> None:
            with aside.open("x", encoding="ascii") as file:  # never through a link of that name
                file.write(content)

        write_aside(self._folder / self._name, write, folder=self._folder)

    def _signature(self, text: str, secret: bytes) -> str:
        return hmac.new(secret, f"{self._name}\n{text}".encode(), "sha256").hexdigest()


def _circumstances(cache_path: str | Path, settings: AblationSettings) -> str:
    """Return a digest of all that the results depend on besides the memo; empty where nothing is kept."""
    trains_here = settings.engine == AblationSettings.engine and not is_address(cache_path)
    is_on_the_cpu = settings.device == "cpu" or not devices_here()
    if not (trains_here and is_on_the_cpu) or settings.race or any(":" in name for name in settings.fusions):
        return ""
    packages = [Path(str(package.__file__)).parent for package in (cache, heads)]
    code = [path for package in packages for path in package.rglob("*") if path.suffix in CODE]
    corrections_paths = [Path(settings.corrections)] if settings.corrections is not None else []
    if not (file_identities := identities([Path(cache_path), *corrections_paths, *code])):
        return ""
    facts = {
        "cache": str(cache_path),
        "settings": asdict(settings),
        "memory": memory_bytes(settings.memory),
        "here": circumstances_here(),
        "libraries": versions_of(LIBRARIES),
        "files": file_identities,
    }
    text = json.dumps(facts, default=str, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _in_json(command: Sequence[str]) -> str:
    """Return a command as it stands in ``ablation.json``, as `write_json` writes it there."""
    text = json.dumps({"command": shown_values(list(command))}, indent=1, ensure_ascii=False)
    return text.removeprefix("{\n").removesuffix("\n}")

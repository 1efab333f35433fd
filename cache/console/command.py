"""`Command`: a click command with the project's exit codes, and what all commands share."""

from __future__ import annotations

import gc
import io
import json
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, NoReturn

import click

from cache.console.echo import echo
from cache.console.notes import log_to_stderr
from cache.errors import EmbedOnceError
from cache.system.stop_signals import Terminated, terminate
from cache.system.stray_bytes import SHOWN, printable, shown, shown_values

__all__ = [
    "WIDTH",
    "Command",
    "details_option",
    "json_option",
    "print_json",
    "print_table",
    "print_wrapped",
    "setting_options",
    "show_statuses",
]

WIDTH = 80  # columns that a line of text fits into
LEAST_NAME = 8  # characters of a name in a table
# Objects between two collections of garbage. Nearly nothing that libraries make as they are imported is garbage, and
# with Python's usual 700 its collection takes a seventh of that time.
GC_THRESHOLD = 5_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
details_option = click.option("--details", is_flag=True, help="Print all that stands behind the answer, too.")


def setting_options(settings: type) -> Callable[..., Callable[[Any], Any]]:
    """Return a function that makes a click option for a field of a dataclass of settings, with the field's default.

    The option's name is the field's, unless the field is named too.
    """
    defaults = {field.name: field.default for field in fields(settings)}

    def setting(flag: str, field_name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        field_name = field_name or flag.lstrip("-").replace("-", "_")
        default = defaults[field_name]
        shown = isinstance(default, str | int | float) and not isinstance(default, bool)
        kind = {"type": type(default)} if shown else {}
        return click.option(flag, field_name, default=default, show_default=shown, **{**kind, **options})

    return setting


class Command(click.Command):
    """Exit codes: 0 done, 1 a named error, 2 usage, 3 unexpected, 130 Ctrl-C, 143 SIGTERM.

    Results go to stdout; progress, notes and errors go to stderr.
    """

    interrupted = "Stopped."

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run the command as the whole of the process."""
        gc.set_threshold(GC_THRESHOLD)
        try:
            return self.main(*args, **options)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):  # nothing could catch an exception while Python ends
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, signal.SIG_DFL)

    def main(self, *args: Any, **options: Any) -> Any:
        with _stopping_on_signals():
            return self._main(*args, **options)

    def _main(self, *args: Any, **options: Any) -> Any:
        log_to_stderr()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors=SHOWN)  # ids and titles may hold what is not Unicode
        try:
            return super().main(*args, **{**options, "standalone_mode": False}) or sys.exit(0)
        except click.exceptions.Exit as stop:
            sys.exit(stop.exit_code)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort) as stop:
            if isinstance(stop.__cause__, EOFError):
                _fail_unexpectedly(stop.__cause__)  # click takes it for Ctrl-D at a prompt; we have none
            echo("\n" * isinstance(stop, KeyboardInterrupt) + self.interrupted, err=True)  # click begins the line
            sys.exit(143 if Terminated in (type(stop), type(stop.__cause__)) else 130)
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output is gone, as `head` goes
            sys.exit(1)
        except EmbedOnceError as error:
            _fail(str(error))
        except OSError as error:
            # What the system refuses (no such file, no space, read-only) the caller can mend.
            _fail(str(error) if error.strerror is None else f"{error.strerror}: {error.filename or ''}".rstrip(": "))
        except Exception as error:  # noqa: BLE001 - the last line of defence, and it shows all it knows
            _fail_unexpectedly(error)


@contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """Have SIGTERM and Ctrl-C raise an exception in the block, where the system's defaults are in place of handlers."""
    handlers = {signal.SIGTERM: terminate, signal.SIGINT: signal.default_int_handler}
    is_main = threading.current_thread() is threading.main_thread()
    replaced = [number for number in handlers if is_main and signal.getsignal(number) == signal.SIG_DFL]
    try:
        for number in replaced:
            signal.signal(number, handlers[number])
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def print_json(value: Any) -> None:
    """Print one JSON object on stdout."""
    click.echo(json.dumps(shown_values(value), indent=1, default=lambda item: shown(str(item))))


def print_wrapped(text: str) -> None:
    """Print a paragraph on stdout, in lines that fit the width."""
    echo(click.wrap_text(printable(text), width=WIDTH, preserve_paragraphs=True))


def print_table(header: list[str], rows: list[list[str]], *, width: int | None = None) -> None:
    """Print aligned columns on stdout: the first to the left, the others to the right.

    Where they are wider than `width`, cells of the first column are shortened, as far as they stay apart.
    """
    rows = [[printable(cell).replace("\n", "\\n") for cell in cells] for cells in rows]
    widths = [max(len(cells[n]) for cells in [header, *rows]) for n in range(len(header))]
    if width is not None:
        width_left = max(LEAST_NAME, min(widths[0], width - sum(widths[1:]) - 2 * (len(widths) - 1)))
        names = _shortened([cells[0] for cells in [header, *rows]], width_left)
        header, *rows = [[name, *cells[1:]] for name, cells in zip(names, [header, *rows], strict=True)]
        widths[0] = max(width_left, *map(len, names))
    for cells in [header, ["-" * column_width for column_width in widths], *rows]:
        padded = [cells[0].ljust(widths[0])] + [cell.rjust(n) for cell, n in zip(cells[1:], widths[1:], strict=True)]
        echo("  ".join(padded).rstrip())


def _shortened(names: list[str], width: int) -> list[str]:
    """Return names of so many characters at most: their beginnings, or beginnings and ends where two are alike then.

    Where they would still be, names stay as they are.

    >>> _shortened(["image/resnet18-large", "text/bert"], 10), _shortened(["resnet18-large", "resnet18-small"], 9)
    (['image/res…', 'text/bert'], ['resn…arge', 'resn…mall'])
    """
    n_ends = (width - 1) // 2
    for n_end in (0, n_ends):
        shown = [
            name if len(name) <= width else f"{name[: width - 1 - n_end]}…{name[len(name) - n_end :]}" for name in names
        ]
        if len(set(shown)) == len(set(names)):
            return shown
    return names


def show_statuses(counts: Mapping[str, int]) -> str:
    """Return counts of products by status in words: those with a vector first, then the commonest."""
    ordered = sorted(counts.items(), key=lambda pair: (pair[0] != "ok", -pair[1], pair[0]))
    return ", ".join(f"{count:,} {status}" for status, count in ordered)


def _fail(message: str) -> NoReturn:
    echo("Error: " + " ".join(message.split()), err=True)
    sys.exit(1)


def _fail_unexpectedly(error: BaseException) -> NoReturn:
    echo("".join(traceback.format_exception(error)), err=True)
    echo("This is a mistake in embed-once, not in your data. Please report it.", err=True)
    sys.exit(3)

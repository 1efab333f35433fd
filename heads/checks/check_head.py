"""The conformance suite: whether a head does what its name says.

Every check is a defect of well-known fusion code, asked the other way round: see `heads.checks.checks`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from cache.console.notes import PROGRESS
from heads.checks.check_settings import DIMS, N_CLASSES
from heads.checks.checks import CHECKS
from heads.checks.probe import Subject
from heads.errors import HeadError
from heads.head_types import HEAD_TYPES, SYNONYMS, fusion_names, head_type, member_names
from heads.modules.description import HeadDescription
from heads.modules.plugin import is_plugin, load_plugin, shown_error
from heads.modules.registry import build as build_described
from heads.settings import TrainSettings

__all__ = ["CheckReport", "Finding", "check_head", "check_heads"]

log = logging.getLogger("embed_once")

HIDDEN_DIM = 64  # of built-in heads: what is checked does not depend on it
N_CELLS = 9  # of the first modality's token states, as of a picture's map; the others have a few each
COMPARING = frozenset({"alone", "fuse", "absent", "fit", "save"})  # in vain where answers differ from call to call


@dataclass(frozen=True)
class Finding:
    """What a check found: ``ok``, ``failed`` or ``not checked``, and why in the latter two."""

    check: str
    outcome: str
    reason: str = ""


@dataclass(frozen=True)
class CheckReport:
    """What all checks found of one head."""

    name: str
    findings: tuple[Finding, ...]
    elapsed_s: float

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The checks that failed."""
        return tuple(finding for finding in self.findings if finding.outcome == "failed")

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failures


def check_heads(
    names: Sequence[str] = (), *, dims: Mapping[str, int] = DIMS, n_classes: int = N_CLASSES, seed: int = 0
) -> list[CheckReport]:
    """Return what the checks find of heads by their names: built-in ones, or module:Class.

    By default those that are trained by steps are checked; linear heads that are fitted at once may be named. Attention
    is checked over split vectors and over token states.

    Raises:
        HeadError: a name is no head's, or a head cannot be built.
    """
    singles = tuple(sorted(dims))
    built_in = singles + (fusion_names() if len(dims) > 1 else ())
    by_name = tuple(name for name, kind in HEAD_TYPES.items() if kind.has_parameters)
    chosen = [SYNONYMS.get(name, name) for name in names or built_in]
    for name in chosen:
        if name not in (*built_in, *by_name) and not is_plugin(name):
            accepted = ", ".join(dict.fromkeys((*built_in, *by_name)))
            raise HeadError(
                f"Expected a head to be one of {accepted}, or a class of your own as "
                f"module:Class or path/to/file.py:Class, got {name!r}."
            )
    builds = {
        name: load_plugin(name) if is_plugin(name) else partial(_built_in, name=name) for name in dict.fromkeys(chosen)
    }
    check = partial(check_head, n_classes=n_classes, seed=seed)
    reports = []
    for name, build in builds.items():
        reports.append(check(build, name=name, dims={name: dims[name]} if name in dims else dims))
        if head_type(name).takes_tokens:
            tokens: dict[str, Any] = {"token_dims": dims, "n_positions": {singles[0]: N_CELLS}}
            reports.append(check(partial(build, **tokens), name=f"{name}+tokens", dims=dims, **tokens))
    return reports


def check_head(
    build: Callable[..., nn.Module],
    *,
    name: str | None = None,
    dims: Mapping[str, int] = DIMS,
    n_classes: int = N_CLASSES,
    token_dims: Mapping[str, int] | None = None,
    n_positions: Mapping[str, int] | None = None,
    seed: int = 0,
) -> CheckReport:
    """Return what the checks find of the heads that ``build(dims, n_classes=K)`` returns.

    With `token_dims`, {modality: D of its token states}, the head is called as ``head(inputs, present, tokens)``;
    `n_positions` says of which modalities the tokens are always as many.

    Raises:
        HeadError: `build` does.
    """
    started = time.monotonic()
    shown_name = name or str(getattr(build, "__name__", "head"))
    subject = Subject(build, dims, n_classes, seed, token_dims or {}, n_positions or {})
    findings: list[Finding] = []
    in_vain: dict[str, str] = {}  # check -> why it is not worth making
    for check in CHECKS:
        if check in in_vain:
            findings.append(Finding(check, "not checked", in_vain[check]))
            continue
        findings.append(_finding(check, subject))
        if findings[-1].outcome == "failed" and check == "shape":
            in_vain = dict.fromkeys(CHECKS, "its answers are no answers")
        elif findings[-1].outcome == "failed" and check == "repeat":
            in_vain = dict.fromkeys(COMPARING, "its answers are others each time")
    report = CheckReport(shown_name, tuple(findings), time.monotonic() - started)
    failed = ", ".join(finding.check for finding in report.failures)
    log.log(PROGRESS, "%s: %s, %.1f s", shown_name, f"fails {failed}" if failed else "ok", report.elapsed_s)
    return report


def _finding(check: str, subject: Subject) -> Finding:
    with _one_thread(), torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
        torch.default_generator.manual_seed(subject.seed)
        try:
            reason = CHECKS[check](subject)
        except HeadError:
            raise
        except Exception as error:  # noqa: BLE001 - a head is anybody's code, and what it raises is what was found
            reason = f"Expected the head to answer, but it raised {shown_error(error)}"
    if reason is None:
        return Finding(check, "not checked", "it calls no attention of PyTorch")
    return Finding(check, "failed" if reason else "ok", reason)


@contextmanager
def _one_thread() -> Iterator[None]:
    # A few rows gain nothing from threads, which wait for each other where the machine is busy.
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _built_in(
    dims: Mapping[str, int],
    *,
    n_classes: int,
    name: str,
    token_dims: Mapping[str, int] | None = None,
    n_positions: Mapping[str, int] | None = None,
) -> nn.Module:
    usual, kind = TrainSettings(), head_type(name)
    members = [*dims, *(member_names(fusion_names()) if kind.averages_fusions else ())]
    return build_described(
        HeadDescription(
            name=name,
            dims=dims,
            n_classes=n_classes,
            hidden_dim=HIDDEN_DIM,
            dropout=usual.dropout,
            n_tokens=usual.n_tokens,
            n_attention_heads=usual.n_attention_heads,
            weights=dict.fromkeys(members, 1 / len(members)) if kind.is_average else {},
            token_dims=token_dims or {},
            n_positions=n_positions or {},
        )
    )

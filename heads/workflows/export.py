"""Exporting a head of a run: traced, written, checked, made smaller, and described by a model card."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cache.cloud.local_copies import local_copy
from heads.data.encoder_sets import parts_of
from heads.data.metadata.metadata_request import is_metadata
from heads.errors import ExportError
from heads.export.check import Agreement, check_answers
from heads.export.export_settings import ExportSettings
from heads.export.file_facts import file_facts
from heads.export.formats import FORMATS
from heads.export.graph import HeadGraph, trace
from heads.export.graph_input import GraphInput
from heads.export.int8 import Int8Report, check_loss, compare, quantise
from heads.export.model_card import render_card
from heads.export.networks import Network, network_of
from heads.export.probe_rows import ProbeRows, drawn_rows, golden_rows, graph_inputs
from heads.export.raw_rows import raw_rows
from heads.export.run_facts import RunFacts, read_run
from heads.export.validation_rows import ValidationRows, read_validation_rows
from heads.export.validation_texts import read_texts
from heads.modules.saving.saved_head import TrainedHead
from heads.prediction.head_encoders import check_parity, encoders_of
from heads.runs.encoder_samples import EncoderSamples, load_encoder_samples
from heads.runs.folder import load_heads

__all__ = ["ExportReport", "export_head"]

log = logging.getLogger("embed_once")

CARD, INT8 = "README.md", "model.int8.onnx"
USUAL_FOLDER = "export"  # in the run's folder


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and how well it agrees with PyTorch."""

    folder: Path
    head: str
    classes: int
    inputs: list[GraphInput]
    files: dict[str, int]  # name -> bytes
    agreements: dict[str, Agreement]  # by format
    cosines: Mapping[str, float] = field(default_factory=dict)  # modality -> the least of its network's vectors
    int8: Int8Report | None = None


def export_head(
    run_path: str | Path,
    *,
    head: str | None = None,
    settings: ExportSettings | None = None,
    output: str | Path | None = None,
    cache_path: str | Path | None = None,
    encoders: Mapping[str, Any] | None = None,
    encoder_files: Mapping[str, str] | None = None,
    plugins: bool = False,
) -> ExportReport:
    """Write a head of a run as files that others run, with a model card, and return what was written.

    The head is the run's best on the validation rows, unless it is named. The files appear in ``export/HEAD`` in the
    run, or in `output`, once all of them answer as PyTorch does. `cache_path` is where the run's cache is now, on which
    int8 is measured. ``encoders`` are the head's, {modality: encoder}, for the modalities that the settings name; None:
    they are built again, from `encoder_files` where these lie elsewhere by now, as `changed` of
    `heads.prediction.head_encoders.encoders_of`. `plugins` runs the code of a user's own class.

    Raises:
        ExportError: the head cannot be exported, what was written answers otherwise, or int8 loses too much; nothing is
            kept.
        RunError, HeadError, CacheError: the run, the head or the cache cannot be read.
    """
    settings = settings or ExportSettings()
    codes = {name: FORMATS[name].code() for name in settings.formats}
    facts = read_run(run_path)
    name = head or facts.best_head
    trained = load_heads(facts.path, [name], plugins=plugins)[name]
    folder = Path(output) if output else facts.path / USUAL_FOLDER / name
    _check_folder(folder)
    samples = load_encoder_samples(facts.path) if settings.with_encoders else {}
    networks, encoders = _networks(trained, settings.with_encoders, encoders, encoder_files, samples)
    graph = HeadGraph(trained, networks).eval()
    probes, cosines = _probe(trained, facts, networks, encoders, samples)
    rows = _validation_rows(trained, facts, cache_path) if settings.int8 else None
    log.info("Tracing %s.", name)
    program = trace(graph)
    agreements: dict[str, Agreement] = {}
    int8 = None
    with tempfile.TemporaryDirectory(prefix=".export-", dir=_existing_above(folder)) as aside:
        for kind, code in codes.items():
            path = Path(aside) / FORMATS[kind].file_name
            log.info("Writing and checking %s.", path.name)
            code.write(program, path, file_facts(trained))
            agreements[kind] = check_answers(code.load_answer(path), probes)
        if rows is not None:
            int8 = _make_int8(Path(aside), graph, trained, rows, encoders, max_loss=settings.max_loss)
        within = {name: encoders[name] for name in networks}
        card = render_card(facts, trained, inputs=graph.inputs, agreements=agreements, encoders=within, int8=int8)
        (Path(aside) / CARD).write_text(card, encoding="utf-8", errors="backslashreplace")
        files = _put_in_place(Path(aside), folder)
    return ExportReport(folder, name, len(trained.classes), graph.inputs, files, agreements, cosines=cosines, int8=int8)


def _networks(
    head: TrainedHead,
    modalities: Sequence[str],
    encoders: Mapping[str, Any] | None,
    encoder_files: Mapping[str, str] | None,
    samples: Mapping[str, EncoderSamples],
) -> tuple[dict[str, Network], Mapping[str, Any]]:
    """Return the networks of the modalities whose encoder is to be in the graph, and the encoders."""
    encoded = [name for name in sorted(head.description.dims) if not is_metadata(head.specs[name])]
    requested = encoded if "all" in modalities else list(modalities)
    if unknown := [name for name in requested if name not in encoded]:
        raise ExportError(
            f"--with-encoder: expected some of {', '.join(encoded)} or all, got {unknown[0]}. Name what the head "
            f"{head.name} sees and an encoder made."
        )
    if requested and head.description.token_dims:
        raise ExportError(
            f"Expected a head over vectors for --with-encoder, but {head.name} looks at the tokens of "
            f"{', '.join(head.description.token_dims)}. Export it without encoders, or choose another --head."
        )
    if joined := [name for name in requested if len(parts_of(head.specs[name])) > 1]:
        raise ExportError(
            f"Expected one encoder of {joined[0]} for --with-encoder, but {head.name} looks at the vectors of "
            f"{' and '.join(parts_of(head.specs[joined[0]]))}. Export it without this encoder."
        )
    if requested and encoders is None:
        built = encoders_of([head], device="cpu", changed=encoder_files)
        encoders = {name: built[name][0] for name in requested}
        check_parity(encoders, samples)
    return {name: network_of(name, (encoders or {})[name]) for name in requested}, encoders or {}


def _probe(
    head: TrainedHead,
    facts: RunFacts,
    networks: Mapping[str, Network],
    encoders: Mapping[str, Any],
    samples: Mapping[str, EncoderSamples],
) -> tuple[list[ProbeRows], Mapping[str, float]]:
    """Return the rows that the export must answer, and the least cosine of each network's vectors to its encoder's."""
    if networks:
        contents = {name: samples[name].readable for name in networks if name in samples}
        raw = raw_rows(head, networks, encoders, contents=contents)
        return [raw.rows], raw.cosines
    return [golden_rows(head, facts.path / head.name), drawn_rows(head)], {}


def _validation_rows(head: TrainedHead, facts: RunFacts, cache_path: str | Path | None) -> ValidationRows:
    return read_validation_rows(head, facts, local_copy(cache_path) if cache_path else facts.cache_path)


def _make_int8(
    aside: Path,
    graph: HeadGraph,
    head: TrainedHead,
    rows: ValidationRows,
    encoders: Mapping[str, Any],
    *,
    max_loss: float,
) -> Int8Report:
    """Write the int8 version of the ONNX file beside it, and return how it does on the validation rows."""
    inputs = graph_inputs(head, rows.vectors.inputs, rows.vectors.present, rows.vectors.tokens)
    networks = {name: network_of(name, encoders[name]) for name in graph.networks}  # copies, to be turned into bf16
    for name, network in networks.items():
        texts = read_texts(rows.cache_path, rows.rows, name)
        inputs |= network.batch([None if text is None else encoders[name].prepare(text) for text in texts])
    path, int8_path = aside / FORMATS["onnx"].file_name, aside / INT8
    quantise(path, int8_path)
    bf16_graph = HeadGraph(head, networks).eval()
    report = compare(graph, bf16_graph, inputs, rows.targets, path=path, int8_path=int8_path)
    check_loss(report, max_loss)
    return report


def _check_folder(folder: Path) -> None:
    """Check that a folder does not exist yet, or is an export that may be replaced.

    Raises:
        ExportError: there is something else.
    """
    export_names = {CARD, INT8, *(export_format.file_name for export_format in FORMATS.values())}
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - export_names):
        raise ExportError(f"Expected {folder} to be a new folder, or one of an export, but it is another. Choose -o.")


def _existing_above(folder: Path) -> Path:
    """Return the nearest folder above that exists, to write aside in, as that must be on the same disk."""
    return next(path for path in folder.absolute().parents if path.is_dir())


def _put_in_place(aside: Path, folder: Path) -> dict[str, int]:
    """Move the files of an export into their folder, instead of those of an earlier one; return their sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = sorted(aside.iterdir())
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(path, folder / path.name)
    for stale in {path.name for path in folder.iterdir()} - {path.name for path in paths}:
        (folder / stale).unlink()
    return {path.name: (folder / path.name).stat().st_size for path in paths}

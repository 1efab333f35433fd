"""The model card: what a head is, how good it is, where it is weak, and how its files are used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cache.shares import percent
from heads.data.encoder_sets import parts_of
from heads.errors import RunError
from heads.export.check import Agreement
from heads.export.graph_input import GraphInput
from heads.export.int8 import Int8Report
from heads.export.preparation import preparations
from heads.export.run_facts import RunFacts
from heads.modules.saving.saved_head import TrainedHead

__all__ = ["render_card"]

TEMPLATE = Path(__file__).with_name("model_card.md")
MOST_CLASSES = 30  # that are named
MOST_NOTES = 12


def render_card(
    facts: RunFacts,
    head: TrainedHead,
    *,
    inputs: Sequence[GraphInput],
    agreements: Mapping[str, Agreement],
    encoders: Mapping[str, Any],
    int8: Int8Report | None,
) -> str:
    """Return the card as Markdown, with the header that Hugging Face's hub reads.

    ``agreements`` are by format; ``encoders`` are those in the files, by modality.

    Raises:
        RunError: the run does not say what was found.
    """
    import jinja2

    try:
        return _rendered(facts, head, inputs, agreements, encoders, int8)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, jinja2.TemplateError) as error:
        raise RunError(
            f"Expected {facts.path} to say what was found of {head.name}, but its metrics.json does not ({error!r}). "
            "Restore it, or train again."
        ) from error


def _rendered(
    facts: RunFacts,
    head: TrainedHead,
    inputs: Sequence[GraphInput],
    agreements: Mapping[str, Agreement],
    encoders: Mapping[str, Any],
    int8: Int8Report | None,
) -> str:
    import jinja2
    import yaml

    scores = facts.metrics.heads
    singles = [name for name in facts.config.encoders if name in scores]
    shown = list(dict.fromkeys([head.name, *singles]))
    verdicts = [verdict["sentence"] for verdict in facts.metrics.verdicts if verdict["fusion"] == head.name]
    environment = jinja2.Environment(  # noqa: S701 - Markdown, not HTML
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["percent"] = percent
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    environment.filters["tuple"] = tuple
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        header=yaml.safe_dump(_header(head, scores[head.name], agreements), sort_keys=False, allow_unicode=True),
        head=head,
        scores={name: scores[name] for name in shown},
        split={side: len(ids) for side, ids in facts.config.split.items()},
        verdict=verdicts[0] if verdicts else None,
        missing={
            condition: by_head[head.name]
            for condition, by_head in facts.metrics.missing.items()
            if head.name in by_head
        },
        untrained=facts.config.untrained_encoders,
        notes=facts.metrics.notes[:MOST_NOTES],
        classes=head.classes[:MOST_CLASSES],
        n_more=len(head.classes[MOST_CLASSES:]),
        inputs=inputs,
        zeros={graph_input.name: _zeros(graph_input) for graph_input in inputs},
        agreements=agreements,
        encoded=list(encoders),
        prepared=preparations(head, encoders, inputs),
        joined={
            name: list(parts)
            for name, spec in sorted(head.specs.items())
            if len(parts := parts_of(spec, head.encoders[name])) > 1
        },
        int8=int8,
        versions=facts.config.versions,
        content_sha256=facts.config.cache_content_sha256,
    )


def _header(head: TrainedHead, scores: Mapping[str, Any], agreements: Mapping[str, Agreement]) -> dict[str, Any]:
    result = {
        "task": {"type": "classification", "name": f"{head.label} of products"},
        "dataset": {"type": "catalogue", "name": f"a product catalogue, column {head.label}", "split": "test"},
        "metrics": [
            {"type": "accuracy", "name": "Accuracy", "value": round(scores["accuracy"], 6)},
            {"type": "f1", "name": "Macro-F1", "value": round(scores["macro_f1"], 6)},
        ],
    }
    return {
        "library_name": "onnx" if "onnx" in agreements else "pytorch",
        "tags": ["embed-once", "classification", "products", *sorted(head.description.dims)],
        "metrics": ["accuracy", "f1"],
        "model-index": [{"name": head.name, "results": [result]}],
    }


def _zeros(graph_input: GraphInput) -> str:
    """Return Python that makes the input for two products."""
    if graph_input.name == f"{graph_input.modality}_present":
        return "np.array([True, True])"
    sizes = [2, *(size if isinstance(size, int) else 4 for size in graph_input.sizes[1:])]
    kind = str(graph_input.dtype).removeprefix("torch.")
    maker = "ones" if kind == "bool" else "zeros"
    return f'np.{maker}(({", ".join(map(str, sizes))}), "{kind}")'

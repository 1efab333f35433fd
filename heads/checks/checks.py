"""The checks themselves: each is of one thing that a head must do, and returns what is wrong in words, or ""."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn import functional as F

from heads.checks.attention_spy import AttentionCalls
from heads.checks.probe import Subject, answer, arguments, change
from heads.checks.unregistered_tensors import unregistered
from heads.modules.parts.dropout import Dropout
from heads.modules.plugin import shown_error

__all__ = ["CHECKS"]

N_ROWS = 24
SAME = 1e-4  # of the largest answer: more than float32 loses where rows are computed in other batches
DEAD = 1e-6  # of the largest gradient: rounding leaves less, and what learns at all has more
FIT_ROWS = 32
FIT_ENOUGH = 30  # of them: behind a narrow ReLU a row or two may get no gradient
FIT_RATES = (3e-3, 3e-4)  # of AdamW; the second for heads that the first is too much for
FIT_STEPS = 300
FIT_DIM = 64  # of each modality at least, so that even a linear head can do it
FIT_LOOKS = 20  # steps between two looks
SURE = 0.1  # of the loss of guessing: what a learned row's loss must be below
DROPOUTS = (Dropout, nn.Dropout, nn.AlphaDropout)
MOST_NAMED = 4


def _shape(subject: Subject) -> str:
    head = subject.warm()
    rows = subject.rows(7, absent=0.3)
    for name, probe_rows in (("7 rows", rows), ("1 row", rows.take(torch.tensor([3])))):
        answers = answer(head, probe_rows)
        expected = (
            f"Expected the answers to {name} to be ({len(probe_rows)}, {subject.n_classes}) float32, but they are"
        )
        if not isinstance(answers, Tensor):
            return f"{expected} a {type(answers).__name__}."
        if tuple(answers.shape) != (len(probe_rows), subject.n_classes) or answers.dtype != torch.float32:
            return f"{expected} {tuple(answers.shape)} {str(answers.dtype).removeprefix('torch.')}."
        if not answers.isfinite().all():
            return f"Expected the answers to be finite, but to {name} there are NaN or infinite ones."
        if (answers >= 0).all() and torch.allclose(answers.sum(1), torch.ones(len(probe_rows)), atol=1e-5):
            return (
                "Expected the answers to be logits or log-probabilities, but each row's are positive and sum to 1: "
                "leave the last softmax out, the loss has its own."
            )
    return ""


def _repeat(subject: Subject) -> str:
    head, rows = subject.warm(), subject.rows(N_ROWS)
    changed = (answer(head, rows) != answer(head, rows)).any(1)
    if not changed.any():
        return ""
    return (
        f"Expected the same rows to get the same answers in evaluation mode, but {_share(changed)} get others the "
        "second time. Is there dropout that is never switched off? F.dropout needs training=self.training."
    )


def _learn(subject: Subject) -> str:
    if names := unregistered(subject.fresh()):
        return (
            "Expected what learns to be among the parameters, but these tensors are not, and so neither trained nor "
            f"saved: {_some(names)}. Assign the nn.Parameter itself, and use nn.ParameterList or nn.ModuleList "
            "instead of a plain list."
        )
    head = subject.warm()
    if frozen := [name for name, parameter in head.named_parameters() if not parameter.requires_grad]:
        return (
            f"Expected every parameter to want a gradient, but {_some(frozen)} do not. Register what stays as a buffer."
        )
    gradients = _largest_gradients(subject, head)
    if not gradients:
        return "Expected a head to have parameters, but it has none."
    if untouched := [name for name, per_batch in gradients.items() if not per_batch]:
        return f"Expected every parameter to get a gradient, but the answers never depend on {_some(untouched)}."
    if wild := [name for name, per_batch in gradients.items() if not all(map(math.isfinite, per_batch))]:
        return f"Expected every gradient to be finite, but there are NaN or infinite ones of {_some(wild)}."
    largest = {name: max(per_batch) for name, per_batch in gradients.items()}
    rounding = DEAD * max(largest.values())
    dead = {name for name, gradient in largest.items() if gradient <= rounding}
    # A bias may be in vain where its weight is not: that of a key shifts all weights of a softmax alike.
    in_vain = {name for name in dead if name.endswith("bias") and largest.get(f"{name[:-4]}weight", 0.0) > rounding}
    if dead - in_vain:
        return (
            f"Expected every parameter to get a gradient, but it is nothing but rounding for {_some(dead - in_vain)}."
        )
    return ""


def _largest_gradients(subject: Subject, head: nn.Module) -> dict[str, list[float]]:
    """Return each parameter's largest gradient in each of a few batches, as far as it gets one there."""
    gradients: dict[str, list[float]] = {name: [] for name, _ in head.named_parameters()}
    for training in (False, True):  # a bias before batch norm shows in evaluation alone
        head.train(training)
        for draw in range(4):
            rows = subject.rows(N_ROWS, draw=draw, absent=0.3 * (draw % 2))
            head.zero_grad(set_to_none=True)
            loss = F.cross_entropy(head(*arguments(rows)), subject.labels(N_ROWS, draw=draw))
            if loss.requires_grad:
                loss.backward()
            for name, parameter in head.named_parameters():
                if parameter.grad is not None:
                    gradients[name].append(float(parameter.grad.abs().max()))  # max() hands NaN on
    return gradients


def _alone(subject: Subject) -> str:
    head, rows = subject.warm(), subject.rows(N_ROWS, absent=0.3)
    answers = answer(head, rows)
    order = torch.randperm(N_ROWS, generator=subject.generator(1))
    for how, before, after in (
        ("in another order", answers[order], answer(head, rows.take(order))),
        ("beside other rows", answers[:4], answer(head, rows.wild(4))[:4]),
        ("beside fewer rows", answers[5:9], answer(head, rows.take(torch.arange(5, 9)))),
        ("alone", answers[3:4], answer(head, rows.take(torch.tensor([3])))),
    ):
        changed = change(before, after) > SAME
        if changed.any():
            return (
                f"Expected an answer to depend on its own row alone, but {_share(changed)} get another one {how}. Do "
                "rows attend to their batch mates (nn.MultiheadAttention takes 2-D input for one sequence), or get "
                "another row's vector?"
            )
    return ""


def _fuse(subject: Subject) -> str:
    head, rows, other_rows = subject.warm(), subject.rows(N_ROWS), subject.rows(N_ROWS, draw=1)
    answers = answer(head, rows)
    altered = {f"the {name} vectors": rows.with_part_of(other_rows, "inputs", name) for name in sorted(subject.dims)}
    altered |= {
        f"the {name} tokens": rows.with_part_of(other_rows, "tokens", name) for name in sorted(subject.token_dims)
    }
    if unused := [part for part, drawn in altered.items() if (change(answers, answer(head, drawn)) <= SAME).all()]:
        return f"Expected every modality to have its say, but no answer changes with {_some(unused)}."
    return ""


def _attend(subject: Subject) -> str | None:
    head, rows = subject.warm(), subject.rows(N_ROWS)
    with AttentionCalls(subject.generator(2)) as calls:
        head(*arguments(rows))
    if calls.defects:
        return (
            f"Expected attention to depend on the question, but {calls.defects[0]}: its queries and keys are dead. "
            "Give it several tokens a side."
        )
    return "" if calls.n_calls else None


def _absent(subject: Subject) -> str:
    head, rows = subject.warm(), subject.rows(N_ROWS, absent=0.5)
    answers = answer(head, rows.filled(0.0))
    for value in (1e6, math.nan, math.inf):
        changed = (answers != answer(head, rows.filled(value))).any(1)
        if changed.any():
            return (
                f"Expected what stands where a modality is absent not to matter, but {_share(changed)} get another "
                f"answer where it is {value:g} instead of 0. Begin with torch.where(present[name][:, None], "
                "inputs[name], 0.0): NaN times 0 is NaN."
            )
    nothing = rows.without_any().filled(math.nan)
    if not answer(head, nothing).isfinite().all():
        return "Expected a row with nothing present to get a finite answer, but it gets NaN or infinite ones."
    return ""


def _fit(subject: Subject) -> str:
    best, guessing = _LearnedByHeart(), math.log(subject.n_classes)
    wide = replace(subject, dims={name: max(dim, FIT_DIM) for name, dim in subject.dims.items()})
    for learning_rate in FIT_RATES:
        best = max(best, _learned_by_heart(wide, learning_rate))
        if best.is_enough(guessing):
            return ""
    expected = f"Expected {FIT_ROWS} rows to be learned by heart, but after {FIT_STEPS} steps of AdamW"
    if best.n_right >= FIT_ENOUGH:
        return (
            f"{expected} the usual row's loss is still {-best.minus_loss:.2f}, where guessing has {guessing:.2f}: the "
            "answers are bounded. Is there a softmax, sigmoid or tanh on the logits?"
        )
    if best.n_right_training > best.n_right + 2:
        return (
            f"{expected} {best.n_right} are answered rightly in evaluation mode, and {best.n_right_training} in "
            "training mode: what differs between both, such as batch norm's statistics, is wrong."
        )
    return f"{expected} {best.n_right} are answered rightly. Does something cut the gradient, or the logits?"


@dataclass(frozen=True, order=True)
class _LearnedByHeart:
    """How well a head knows the rows it was trained on: in evaluation mode, and in training without dropout."""

    n_right: int = 0
    minus_loss: float = -math.inf  # the median, which a row that cannot be learned does not touch
    n_right_training: int = 0

    def is_enough(self, guessing: float) -> bool:
        """Return whether nearly all rows are known, and known for sure, compared with the loss of guessing."""
        return self.n_right >= FIT_ENOUGH and -self.minus_loss < SURE * guessing


def _learned_by_heart(subject: Subject, learning_rate: float) -> _LearnedByHeart:
    rows, targets = subject.rows(FIT_ROWS), subject.labels(FIT_ROWS)
    head, best = subject.fresh(), _LearnedByHeart()
    optimiser = torch.optim.AdamW(
        [parameter for parameter in head.parameters() if parameter.requires_grad], lr=learning_rate, fused=True
    )
    for step in range(1, FIT_STEPS + 1):
        head.train()
        for module in head.modules():
            if isinstance(module, DROPOUTS):
                module.eval()
        logits = head(*arguments(rows))
        optimiser.zero_grad()
        F.cross_entropy(logits, targets).backward()
        optimiser.step()
        if step % FIT_LOOKS == 0:
            answers = answer(head.eval(), rows)
            n_right, n_right_training = (int((side.argmax(1) == targets).sum()) for side in (answers, logits))
            loss = float(F.cross_entropy(answers, targets, reduction="none").median())
            best = max(best, _LearnedByHeart(n_right, -loss, n_right_training))
            if best.is_enough(math.log(subject.n_classes)):
                break
    return best


def _save(subject: Subject) -> str:
    head, rows = subject.warm(), subject.rows(N_ROWS, absent=0.3)
    answers = answer(head, rows)
    try:
        content = save({name: tensor.contiguous() for name, tensor in head.state_dict().items()})
    except Exception as error:  # noqa: BLE001 - state_dict() is the user's, and may hold anything
        return (
            f"Expected the head's state_dict() to be tensors of their own, but safetensors says: {shown_error(error)}"
        )
    loaded = subject.fresh(with_other_weights=True)
    try:
        loaded.load_state_dict(load(content))
    except (RuntimeError, KeyError, ValueError) as error:
        return f"Expected a saved head to load into a new one, but: {shown_error(error)}"
    changed = (answers != answer(loaded.eval(), rows)).any(1)
    if changed.any():
        return (
            f"Expected a saved head to answer as before, but {_share(changed)} get another answer: something that it "
            "answers by is not in state_dict(). Register it as a parameter or a buffer."
        )
    return ""


def _share(rows: Tensor) -> str:
    return f"{int(rows.sum())} of {len(rows)} rows"


def _some(names: Collection[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(sorted(names)[:MOST_NAMED]) + more


# In the order in which they are made; a check returns None where there is nothing to check.
CHECKS: Mapping[str, Callable[[Subject], str | None]] = MappingProxyType(
    {
        check.__name__.removeprefix("_"): check
        for check in (_shape, _repeat, _learn, _alone, _fuse, _attend, _absent, _fit, _save)
    }
)

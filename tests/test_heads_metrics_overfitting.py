"""The rule of the overfit warning, at its edges."""

import pytest

from heads.metrics.overfitting import warn_of_overfit


def found(*, train=0.9, validation=0.85, losses=(1.0, 0.5, 0.5), best_epoch=2):
    history = [{"train_loss": 1.0, "validation_loss": loss, "validation_macro_f1": 0.5} for loss in losses]
    return {
        "train": {"accuracy": train},
        "validation": {"accuracy": validation},
        "history": history,
        "best_epoch": best_epoch,
    }


def test_a_head_that_generalises_gets_no_warning():
    assert warn_of_overfit("early", found()) == []


@pytest.mark.parametrize(("train", "is_warned"), [(0.94, False), (0.96, True)])
def test_a_gap_of_more_than_ten_points_is_told(train, is_warned):
    warnings = warn_of_overfit("early", found(train=train))
    assert bool(warnings) == is_warned
    if is_warned:
        assert warnings == [
            "early: the accuracy on the training rows (96.0) is 11.0 points above that on the validation rows (85.0)."
        ]


@pytest.mark.parametrize(
    ("losses", "is_warned"),
    [
        ((1.0, 0.5, 0.54), False),  # 8 % above
        ((1.0, 0.5, 0.56), True),  # 12 %
        ((1.0, 0.5, 0.9, 0.52), False),  # it came down again
        ((0.1, 0.01, 0.025), False),  # 150 %, and next to nothing
        ((0.1, 0.01, 0.035), True),
        ((), False),  # fitted at once
    ],
)
def test_a_validation_loss_that_rises_well_after_its_lowest_is_told(losses, is_warned):
    assert bool(warn_of_overfit("early", found(losses=losses))) == is_warned


def test_the_warning_names_the_epochs():
    (warning,) = warn_of_overfit("early", found(losses=(1.0, 0.4, 0.5, 0.6), best_epoch=3))
    assert warning == (
        "early: the validation loss rose from 0.400 in epoch 2 to 0.600 in epoch 4; the weights kept are those of "
        "epoch 3."
    )

"""The loss of a recipe."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from toxonnx.data.label_values import MISSING
from toxonnx.labels import Labels
from toxonnx.recipe import Teacher
from toxonnx.train.loss import Loss

LABELS = Labels(("a", "b"), "sigmoid")


def test_an_unknown_label_has_no_gradient() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.3], [1.0, 1.0]], requires_grad=True)
    y_true = torch.tensor([[1, MISSING], [MISSING, 0], [MISSING, MISSING]])
    loss = Loss(LABELS, class_weights=torch.tensor([3.0, 1.0]), label_weights=torch.tensor([1.0, 2.0]))
    value = loss.training(logits, y_true)
    a, b = (
        binary_cross_entropy_with_logits(x, y)
        for x, y in ((logits[0, 0], torch.ones(())), (logits[1, 1], torch.zeros(())))
    )
    assert value.item() == pytest.approx((3 * a.item() + 2 * b.item()) / 3)
    value.backward()
    assert (logits.grad != 0).tolist() == [[True, False], [False, True], [False, False]]
    assert loss.validation(logits, y_true).item() == pytest.approx((a.item() + b.item()) / 2)


def test_a_batch_without_any_known_label_has_a_loss_of_0() -> None:
    logits = torch.randn(4, 2, requires_grad=True)
    value = Loss(LABELS, None, torch.ones(2)).training(logits, torch.full((4, 2), MISSING))
    value.backward()
    assert value.item() == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize("multi", [False, True])
def test_a_weighted_row_counts_like_repeated_rows(multi: bool) -> None:
    torch.manual_seed(0)
    labels = LABELS if multi else Labels(("a", "b", "c"))
    loss = Loss(labels, torch.rand(len(labels)) + 0.5, torch.ones(len(labels)))
    logits = torch.randn(4, len(labels))
    y_true = torch.tensor([[0, 1], [1, 1], [1, MISSING], [0, 0]]) if multi else torch.tensor([0, 1, 1, 2])
    weights = torch.tensor([1.0, 2.0, 0.0, 3.0])
    # The sum over the rows, not their mean: the weights of a batch do not have to sum to its size.
    weighted, repeats = loss.training(logits, y_true, weights=weights), weights.long()
    total = sum(
        repeat * loss.training(logits[[i]], y_true[[i]]) * _scale(loss, y_true[i]) for i, repeat in enumerate(repeats)
    )
    assert weighted.item() == pytest.approx(float(total / sum(_scale(loss, row) for row in y_true)), rel=1e-5)


def _scale(loss: Loss, row: torch.Tensor) -> float:
    """The weight of a row's loss in a batch: of its class, or of its known labels."""
    if loss.labels.multi:
        return float((row >= 0).sum())
    assert loss.class_weights is not None
    return float(loss.class_weights[row])


@pytest.mark.parametrize("multi", [False, True])
def test_soft_labels_and_smoothing_move_the_minimum(multi: bool) -> None:
    labels = LABELS if multi else Labels(("a", "b"))
    y_true = torch.tensor([[1, 0]]) if multi else torch.tensor([0])
    targets = torch.tensor([[0.8, 0.3]]) if multi else torch.tensor([[0.8, 0.2]])
    for smoothing, shares in ((0.0, targets), (0.2, targets * 0.8 + 0.1)):
        best = torch.logit(shares) if multi else torch.log(shares)
        best.requires_grad_()
        Loss(labels, None, torch.ones(2), smoothing).training(best, y_true, targets).backward()
        assert best.grad is not None and best.grad.abs().max() < 1e-6
    # Smoothing applies to plain labels, too.
    expected = torch.logit(torch.tensor([[0.9, 0.1]])) if multi else torch.log(torch.tensor([[0.9, 0.1]]))
    expected.requires_grad_()
    Loss(labels, None, torch.ones(2), 0.2).training(expected, y_true).backward()
    assert expected.grad is not None and expected.grad.abs().max() < 1e-6


@pytest.mark.parametrize("multi", [False, True])
def test_the_teacher_counts_where_nobody_judged(multi: bool) -> None:
    labels = LABELS if multi else Labels(("a", "b"))
    teacher = torch.tensor([[2.0, -1.0], [0.5, -0.5]])
    y_true = torch.full((2, 2), MISSING) if multi else torch.tensor([MISSING, MISSING])
    settings = Teacher(models=("t",), alpha=0.7, temperature=2.0)
    loss = Loss(labels, None, torch.ones(2), teacher=settings)
    student = teacher.clone().requires_grad_()
    loss.training(student, y_true, teacher=teacher).backward()
    assert student.grad is not None and student.grad.abs().max() < 1e-6  # the teacher's logits are the minimum
    labelled = torch.tensor([[1, 0], [0, 1]]) if multi else torch.tensor([0, 1])
    logits = torch.randn(2, 2)
    whole = loss.training(logits, labelled, teacher=teacher)
    parts = Loss(labels, None, torch.ones(2)).training(logits, labelled), loss.training(logits, y_true, teacher=teacher)
    assert whole.item() == pytest.approx(float(0.3 * parts[0] + parts[1]), rel=1e-5)


@pytest.mark.parametrize("multi", [False, True])
def test_a_row_that_the_teacher_did_not_read_counts_by_its_labels_only(multi: bool) -> None:
    labels = LABELS if multi else Labels(("a", "b"))
    loss = Loss(labels, None, torch.ones(2), teacher=Teacher(models=("t",), alpha=0.7, temperature=2.0))
    logits, y_true = torch.randn(2, 2), torch.tensor([[1, 0], [0, 1]]) if multi else torch.tensor([0, 1])
    teacher = torch.tensor([[2.0, -1.0], [torch.nan, torch.nan]])
    read = loss.training(logits[:1], y_true[:1], teacher=teacher[:1])
    unread = Loss(labels, None, torch.ones(2)).training(logits[1:], y_true[1:])
    student = logits.clone().requires_grad_()
    value = loss.training(student, y_true, weights=torch.tensor([2.0, 3.0]), teacher=teacher)
    assert value.item() == pytest.approx((2 * read.item() + 3 * unread.item()) / 2, rel=1e-5)
    value.backward()
    assert student.grad is not None and student.grad.isfinite().all()

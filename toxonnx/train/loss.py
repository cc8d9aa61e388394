"""The loss of a recipe: weights, shares of annotators, labels that nobody judged, and a teacher."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from toxonnx.data.examples import Examples
from toxonnx.labels import Labels
from toxonnx.recipe import Recipe, Teacher

__all__ = ["Loss"]


@dataclass(frozen=True)
class Loss:
    """Cross-entropy of a batch, in nats.

    Attributes:
        labels: the label set.
        class_weights: float32 [labels]: the weight of the rows of a class (softmax), or of the rows that have a label
            compared with those that do not (sigmoid); None for equal weights.
        label_weights: float32 [labels]: the weight of each label (sigmoid).
        smoothing: see :class:`toxonnx.recipe.Training`.
        teacher: how much the teacher counts.
    """

    labels: Labels
    class_weights: Tensor | None
    label_weights: Tensor
    smoothing: float = 0.0
    teacher: Teacher = field(default_factory=Teacher)

    @classmethod
    def of(cls, recipe: Recipe, examples: Examples) -> Loss:
        """The loss of a recipe on its training rows."""
        training, names = recipe.training, examples.labels.names
        label_weights, pos_weight = (
            torch.tensor([table.get(name, 1.0) for name in names])
            for table in (training.label_weights, training.pos_weight)
        )
        class_weights = pos_weight if training.pos_weight else _class_weights(examples, training.class_weights)
        return cls(examples.labels, class_weights, label_weights, training.label_smoothing, recipe.teacher)

    def training(
        self,
        logits: Tensor,
        y_true: Tensor,
        targets: Tensor | None = None,
        weights: Tensor | None = None,
        teacher: Tensor | None = None,
    ) -> Tensor:
        """The weighted loss.

        Args:
            logits: float [rows, labels].
            y_true: see :class:`toxonnx.data.examples.Examples`; negative where a label is missing.
            targets: float [rows, labels], shares to compare with in place of ``y_true``.
            weights: float [rows], the weight of each row.
            teacher: float [rows, labels], the teacher's logits; NaN for a row that it did not read.
        """
        logits = logits.float()
        of_labels = self._binary if self.labels.multi else self._categorical
        if teacher is None:
            return of_labels(logits, y_true, targets, weights)
        weights = torch.ones(len(logits), device=logits.device) if weights is None else weights
        alpha = self.teacher.alpha * ~teacher.isnan().any(dim=-1)
        of_teacher = self._distillation(logits, teacher.nan_to_num(), weights * alpha)
        return of_labels(logits, y_true, targets, weights * (1 - alpha)) + of_teacher

    def validation(self, logits: Tensor, y_true: Tensor) -> Tensor:
        """The loss without weights, so that epochs and recipes are comparable."""
        return Loss(self.labels, None, torch.ones(len(self.labels))).training(logits, y_true)

    def _categorical(self, logits: Tensor, y_true: Tensor, targets: Tensor | None, weights: Tensor | None) -> Tensor:
        class_weights = None if self.class_weights is None else self.class_weights.to(logits.device)
        known = y_true >= 0
        if targets is None and weights is None and not self.smoothing and bool(known.all()):
            return functional.cross_entropy(logits, y_true, weight=class_weights)
        classes = y_true.clamp(min=0)
        shares = functional.one_hot(classes, len(self.labels)) if targets is None else targets.nan_to_num()
        each = -(self._smoothed(shares, len(self.labels)) * torch.log_softmax(logits, dim=-1)).sum(dim=-1)
        scale = torch.ones_like(each) if class_weights is None else class_weights[classes]
        return _mean(each, scale * known, weights)

    def _binary(self, logits: Tensor, y_true: Tensor, targets: Tensor | None, weights: Tensor | None) -> Tensor:
        pos_weight = None if self.class_weights is None else self.class_weights.to(logits.device)
        shares = self._smoothed(y_true.clamp(min=0) if targets is None else targets.nan_to_num(), 2)
        each = functional.binary_cross_entropy_with_logits(logits, shares, pos_weight=pos_weight, reduction="none")
        return _mean(each, (y_true >= 0) * self.label_weights.to(logits.device), weights)

    def _smoothed(self, shares: Tensor, classes: int) -> Tensor:
        return shares.float() * (1 - self.smoothing) + self.smoothing / classes

    def _distillation(self, logits: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
        """The teacher's share, over all rows and labels; its gradients do not shrink with the temperature."""
        temperature = self.teacher.temperature
        student, teacher = logits / temperature, teacher / temperature
        if self.labels.multi:
            each = functional.binary_cross_entropy_with_logits(student, torch.sigmoid(teacher), reduction="none")
            scale = self.label_weights.to(logits.device).expand_as(each)
        else:
            each = -(torch.softmax(teacher, dim=-1) * torch.log_softmax(student, dim=-1)).sum(dim=-1)
            scale = torch.ones_like(each)
        return _mean(each, scale, weights) * temperature**2


def _mean(each: Tensor, scale: Tensor, weights: Tensor | None) -> Tensor:
    """The mean with weights ``scale``, in which each row counts ``weights`` times; 0 if all of ``scale`` is 0."""
    total = scale.sum().clamp(min=torch.finfo(each.dtype).tiny)
    if weights is not None:
        each = each * weights.reshape(-1, *[1] * (each.dim() - 1))
    return (scale * each).sum() / total


def _class_weights(examples: Examples, power: float) -> Tensor | None:
    """Inverse frequencies to a power, float32 [labels]."""
    if not power:
        return None
    y_true, labels = examples.y_true, examples.labels
    if labels.multi:
        ratio = (y_true == 0).sum(axis=0) / np.maximum((y_true == 1).sum(axis=0), 1)
    else:
        ratio = len(y_true) / (len(labels) * np.maximum(np.bincount(y_true, minlength=len(labels)), 1))
    return torch.tensor(ratio**power, dtype=torch.float32)

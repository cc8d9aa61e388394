"""Exports without some of the labels that a multi-label model has learnt.

The rows of these labels in the last linear layer are removed in PyTorch, before anything else is done, and so are
their columns in the labelled rows. Calibration, thresholds, verification and evaluation then see a model
without them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import nn

from toxonnx.convert.build import BuildInputs
from toxonnx.convert.last_layer import copy_with_own_last_layer
from toxonnx.convert.sample_texts import SENTENCES
from toxonnx.convert.verify import VerificationRows, reference_logits
from toxonnx.data.label_values import MISSING
from toxonnx.errors import CheckpointError, InputError
from toxonnx.evaluate.baseline import without_labels
from toxonnx.evaluate.suites import SuiteRequest
from toxonnx.labels import Labels
from toxonnx.recipe import Export
from toxonnx.train.adapters import Trained

__all__ = ["baselines_without", "kept_labels", "without_left_out_labels"]


def kept_labels(trained: Trained, settings: Export, suite: SuiteRequest | None) -> Labels:
    """The labels that an export keeps.

    Raises:
        InputError: labels cannot be left out, or a setting is about one that is.
    """
    labels = trained.labels.without(settings.leave_out)
    used = {f"export.{key}": getattr(settings, key) for key in ("target_precision", "target_recall", "cascade")}
    for service, names in (trained.recipe.labels.mappings if trained.recipe else {}).items():
        used |= {f"labels.mappings.{service}.{name}": (label,) for name, label in names.items()}
    if suite:
        used["--positive-labels"] = [label for group in suite.positive_labels for label in group]
    for where, names_there in used.items():
        if both := [label for label in settings.leave_out if label in names_there]:
            raise InputError(
                f"{where} names {both[0]}, a label that the export leaves out",
                "Remove the label there, or from leave_out (--leave-out).",
            )
    return labels


def without_left_out_labels(inputs: BuildInputs) -> BuildInputs:
    """An export without the labels that its settings leave out.

    Of the baselines, the F1 of the other labels is kept.

    Args:
        inputs: model and rows with all labels.

    Raises:
        CheckpointError: the logits are not those of a linear layer.
        InputError: in no row was one of the other labels judged.
    """
    trained, settings = inputs.trained, inputs.settings
    if not settings.leave_out:
        return inputs
    names = trained.labels.names
    kept = np.array([i for i, name in enumerate(names) if name not in settings.leave_out])
    narrowed = dataclasses.replace(_with_outputs(trained, kept), labels=trained.labels.without(settings.leave_out))
    expected = reference_logits(trained, SENTENCES)[:, kept]
    if not np.allclose(reference_logits(narrowed, SENTENCES), expected, rtol=1e-4, atol=1e-4):
        raise _not_linear(trained)
    recipe, run = trained.recipe, trained.run
    if recipe:
        columns = tuple(name for name in recipe.labels.columns if name not in settings.leave_out)
        recipe = dataclasses.replace(recipe, labels=dataclasses.replace(recipe.labels, columns=columns))
    if run:
        run = dataclasses.replace(run, baselines=baselines_without(run.baselines, settings.leave_out))
    return dataclasses.replace(
        inputs,
        trained=dataclasses.replace(narrowed, recipe=recipe, run=run),
        rows=_with_columns(inputs.rows, kept),
        test=_with_columns(inputs.test, kept) if inputs.test else None,
    )


def baselines_without(
    baselines: dict[str, dict[str, dict[str, float]]], left_out: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """The baselines of a run as they are without some labels; without those for which this is not known."""
    kept = {
        part: {name: without_labels(measured, left_out) for name, measured in of_part.items()}
        for part, of_part in baselines.items()
    }
    return {part: of_part for part, of_part in kept.items() if all(of_part.values())}


def _with_outputs(trained: Trained, kept: NDArray[np.int64]) -> Trained:
    """The classifier with some of its outputs; weights are shared with the given one."""
    model, layer = copy_with_own_last_layer(trained.model, len(trained.labels))
    if layer is None:
        raise _not_linear(trained)
    layer.weight = nn.Parameter(layer.weight.detach()[kept])
    if layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias.detach()[kept])
    layer.out_features = model.num_labels = len(kept)
    names = [trained.labels.names[i] for i in kept]
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: i for i, name in enumerate(names)}
    return dataclasses.replace(trained, model=model)


def _with_columns(rows: VerificationRows, kept: NDArray[np.int64]) -> VerificationRows:
    if rows.y_true is None:
        return rows
    y_true = rows.y_true[:, kept]
    if (y_true == MISSING).all():
        raise InputError(
            f"{rows.where}: in no row was one of the labels judged that the export keeps",
            "Verify on other rows (--data), or leave out fewer labels.",
        )
    return dataclasses.replace(rows, y_true=y_true)


def _not_linear(trained: Trained) -> CheckpointError:
    return CheckpointError(
        f"no label can be left out of this {trained.model.config.model_type} classifier: its logits are not those of "
        "its last linear layer",
        "Export with all labels.",
    )

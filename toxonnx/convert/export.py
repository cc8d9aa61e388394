"""``toxonnx export``: merges, converts, quantizes, verifies and seals. The bundle appears only when it is complete."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toxonnx.bundle import Bundle, check_output, new_folder, sha256
from toxonnx.convert.build import BuildInputs, build_bundle
from toxonnx.convert.card import without_foreign_prose
from toxonnx.convert.cascade import cascade_target
from toxonnx.convert.encoder_weights import extract_weights
from toxonnx.convert.export_rows import BUILT_IN, calibration_rows, cascade_rows, test_rows, verification_rows
from toxonnx.convert.left_out import baselines_without, kept_labels, without_left_out_labels
from toxonnx.convert.thresholds import threshold_target
from toxonnx.errors import InputError
from toxonnx.evaluate.suites import SuiteRequest
from toxonnx.formats import LAYOUTS, check_precision_and_layout
from toxonnx.io.base import ReadOptions
from toxonnx.io.table import read_table
from toxonnx.long_texts import TRUNCATE, LongTexts
from toxonnx.recipe import Export, Recipe
from toxonnx.recipe_prose import with_prose_of
from toxonnx.texts import TextSpec
from toxonnx.train.adapters import Trained, load_trained

__all__ = ["ExportRequest", "export"]


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """A model to export, and how.

    Attributes:
        source: a run, an adapter folder, or a checkpoint (folder or hub id).
        output: folder of the bundle; its last part is the bundle's name.
        base: base model of an adapter, in place of the one it names.
        labels, activation, max_length: for checkpoints that do not define them.
        tokenizer: folder or hub id of the tokenizer, if it is not next to the weights.
        data: rows to verify on, in place of the run's validation rows.
        reading: how to read ``data``.
        text_columns, label_columns: of ``data``. Without label columns, only the agreement with PyTorch is verified.
        recipe: its limits and card replace those of the run; for a checkpoint from elsewhere, its text does, too.
        settings: fields of :class:`toxonnx.recipe.Export` that replace those of the recipe.
        cascade_data: texts, without labels, for the first stage of a cascade, in place of the run's held-out rows; read
            as ``data`` is.
        suite: a functional suite to run and to put into the card.
        allow_worse_than_baseline: seal a model that is no better than the baselines, with a warning.
        force: replace ``output``.
    """

    source: str | Path
    output: Path
    base: str | None = None
    labels: tuple[str, ...] = ()
    activation: str | None = None
    max_length: int | None = None
    tokenizer: str | None = None
    data: Path | None = None
    reading: ReadOptions | None = None
    text_columns: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()
    recipe: Recipe | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    cascade_data: Path | None = None
    suite: SuiteRequest | None = None
    allow_worse_than_baseline: bool = False
    force: bool = False


def export(request: ExportRequest, log: Callable[[str], None] = print) -> Bundle:
    """Exports a model as a bundle.

    Args:
        request: the model, and how to export it.
        log: called with lines of progress.

    Raises:
        GateError: a limit is exceeded, or the model is no better than a baseline; no bundle is written.
        InputError: the output exists, or the source or the rows are invalid.
        MachineError: the disk is full.
    """
    output = request.output.absolute()
    check_output(output, force=request.force)
    if request.label_columns and request.data is None:
        raise InputError("--label-column names a column of --data, which was not given")
    trained = _load(request)
    if trained.recipe:
        recipe, others = without_foreign_prose(trained.recipe, trained.run)
        trained = dataclasses.replace(trained, recipe=recipe)
        if others:
            log(f"note: what the recipe says about its model was written for other {others}; the model card omits it")
    settings = dataclasses.replace(trained.recipe.export if trained.recipe else Export(), **request.settings)
    check_precision_and_layout(settings.precision, settings.layout)
    trained = dataclasses.replace(trained, long_texts=_long_texts(trained, settings))
    if LAYOUTS[settings.layout].native:
        extract_weights(trained.model)  # fails early if it cannot be done
    labels = kept_labels(trained, settings, request.suite)
    if target := threshold_target(settings):
        target.check(labels)
    cascade_target(settings.cascade, labels)
    if request.cascade_data and not settings.cascade:
        raise InputError("--cascade-data needs --cascade, the wanted agreement")
    if request.suite:
        request.suite.check(labels)
    inputs = _inputs(request, trained, settings)
    _warn(request, inputs, log)
    inputs = without_left_out_labels(inputs)
    with new_folder(output, force=request.force) as work:
        bundle = build_bundle(inputs, work, output.name, log)
    log(f"sealed {output} ({sum(path.stat().st_size for path in output.iterdir()) / 1e6:.1f} MB)")
    return dataclasses.replace(bundle, path=output)


def _load(request: ExportRequest) -> Trained:
    """The trained classifier, with the recipe and the text columns that were requested."""
    trained = load_trained(
        request.source,
        base=request.base,
        labels=request.labels,
        activation=request.activation,
        max_length=request.max_length,
        tokenizer=request.tokenizer,
    )
    recipe = request.recipe
    if recipe and trained.recipe:
        recipe = dataclasses.replace(with_prose_of(trained.recipe, recipe), export=recipe.export)
    elif recipe:
        max_length = request.max_length or recipe.max_length
        if max_length > trained.max_length:
            raise InputError(
                f"max_length is {max_length}, but the checkpoint takes at most {trained.max_length} tokens"
            )
        trained = dataclasses.replace(trained, text=recipe.text, max_length=max_length)
    if recipe:
        trained = dataclasses.replace(trained, recipe=recipe)
    if request.text_columns and not trained.text.columns:
        # A model without text columns gets those that it is verified on.
        text = TextSpec(request.text_columns, "", trained.text.normalise)
        trained = dataclasses.replace(trained, text=text)
    return trained


def _long_texts(trained: Trained, settings: Export) -> LongTexts:
    chosen = settings.reading(max_length=trained.max_length, multi=trained.labels.multi) or TRUNCATE
    chosen.check(trained.max_length, trained.tokenizer.num_special_tokens_to_add())
    return chosen


def _inputs(request: ExportRequest, trained: Trained, settings: Export) -> BuildInputs:
    table = read_table(request.data, request.reading) if request.data else None
    rows = verification_rows(trained, table, request.text_columns, request.label_columns)
    calibration = None
    if settings.precision == "int8":
        calibration, rows = calibration_rows(trained, rows)
    cascade = None
    if settings.cascade:
        texts = read_table(request.cascade_data, request.reading) if request.cascade_data else None
        cascade = cascade_rows(trained, texts, request.text_columns, rows)
    return BuildInputs(
        trained=trained,
        settings=settings,
        calibration=calibration,
        rows=rows,
        test=test_rows(trained),
        cascade=cascade,
        suite=request.suite,
        allow_worse_than_baseline=request.allow_worse_than_baseline,
    )


def _warn(request: ExportRequest, inputs: BuildInputs, log: Callable[[str], None]) -> None:
    trained = inputs.trained
    for note in trained.notes:
        log(f"note: {note}")
    if inputs.calibration and inputs.calibration.where == BUILT_IN:
        log("warning: int8 is calibrated on built-in sentences; --data with 200 or more of your own texts is better")
    if left_out := ", ".join(inputs.settings.leave_out):
        log(f"note: the export leaves out {left_out}")
        if (
            trained.run
            and trained.run.baselines
            and not baselines_without(trained.run.baselines, inputs.settings.leave_out)
        ):
            log("note: it is not compared with the run's TF-IDF baseline, which was measured on all labels together")
    if request.data and trained.run and sha256(request.data) == trained.run.data.sha256:
        log(f"warning: the run was trained on {request.data.name}; metrics on it are inflated")
    if trained.source.merge_largest_logit_difference is not None:
        log(
            f"merged the adapter ({trained.source.method}); logits changed by at most "
            f"{trained.source.merge_largest_logit_difference:.1e}"
        )

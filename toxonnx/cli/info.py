"""``toxonnx info``"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from toxonnx.bundle import Bundle
    from toxonnx.cli.console import Terminal
    from toxonnx.labels import Labels
    from toxonnx.manifest import Manifest


@click.command("info")
@click.argument("bundle", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the whole manifest as JSON.")
def command(bundle: str | None, as_json: bool) -> None:
    """Describe BUNDLE, a folder or a name, after checking all of its files.

    The default is the bundle that ships with toxonnx.
    """
    from toxonnx.bundle import open_bundle
    from toxonnx.resources import find_bundle

    opened = open_bundle(find_bundle(bundle))
    manifest = opened.manifest
    if as_json:
        click.echo(json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False))
        return
    from toxonnx.cli.console import Terminal

    terminal = Terminal()
    terminal.table(["", ""], [list(line) for line in _lines(opened).items()], left=2)
    _print_verification(terminal, manifest)


def _lines(bundle: Bundle) -> dict[str, str]:
    manifest = bundle.manifest
    labels, text, model = manifest.labels, manifest.text, manifest.model
    size = sum((bundle.path / name).stat().st_size for name in manifest.files) / 1e6
    adapter = model.adapter
    return {
        "bundle": f"{manifest.name} ({size:.1f} MB, {len(manifest.files)} files, all hashes match)",
        "labels": f"{', '.join(labels.names)} ({labels.activation})",
        "text": " + ".join(map(repr, text.columns)) or "one text column",
        "normalisation": ", ".join(text.normalise) or "none",
        "max length": f"{manifest.max_length} tokens",
        "precision": f"{manifest.precision}, layout {manifest.layout}",
        "probabilities": f"temperature {labels.temperature:.4f}" if labels.temperature != 1 else "not calibrated",
        "decision": _decision(labels),
        "base": f"{model.base} ({model.revision[:23]})",
        "training": f"LoRA r={adapter.r} on {adapter.layers} layers, merged" if adapter else model.method,
        "made with": ", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
    }


def _decision(labels: Labels) -> str:
    if not labels.thresholds:
        return "the most probable label"
    each = zip(labels.names, labels.thresholds, strict=True)
    return ", ".join(f"{name} from {threshold:.4f}" for name, threshold in each)


def _print_verification(terminal: Terminal, manifest: Manifest) -> None:
    from toxonnx.evaluate.metrics import comparison

    verification, precision = manifest.verification, manifest.precision
    if verification is None:
        return
    for title, agreement in (("verified", verification.agreement), ("tested", verification.test)):
        if agreement is None:
            continue
        ran_on = f" (on {verification.ran_on})" if precision == "fp16" else ""
        terminal.print_text(
            f"\n{title} on {agreement.rows} rows, {agreement.rows_from}: {precision} predicts the same label as "
            f"PyTorch for {agreement.label_agreement:.2%}{ran_on}; the logits of ONNX fp32 differ from PyTorch's by "
            f"at most {agreement.fp32_largest_logit_difference:.1e}"
        )
        if agreement.labelled:
            terminal.table(*comparison(agreement.metrics, precision))
        else:
            terminal.print_text("there were no labelled rows: only the agreement was verified")

"""``toxonnx info``"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from toxonnx.cli.console import Terminal
    from toxonnx.labels import Labels


@click.command("info")
@click.argument("bundle", required=False)
@click.option("--json", "as_json", is_flag=True, help="The whole manifest, for programs.")
def command(bundle: str | None, as_json: bool) -> None:
    """Show a BUNDLE (a folder or a name; the one that ships if not given), after checking every file in it."""
    from toxonnx.bundle import open_bundle
    from toxonnx.resources import find_bundle

    opened = open_bundle(find_bundle(bundle))
    manifest = opened.manifest
    if as_json:
        click.echo(json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False))
        return
    from toxonnx.cli.console import Terminal

    size = sum((opened.path / name).stat().st_size for name in manifest.files) / 1e6
    text, model = manifest.text, manifest.model
    adapter = model.get("adapter")
    trained = f"LoRA r={adapter['r']} on {adapter['layers']} layers, merged" if adapter else str(model.get("method"))
    rows = {
        "bundle": f"{manifest.name} ({size:.1f} MB, {len(manifest.files)} files, all hashes match)",
        "labels": f"{', '.join(manifest.labels.names)} ({manifest.labels.activation})",
        "reads": " + ".join(map(repr, text.columns)) or "one text column",
        "normalises": ", ".join(text.normalise) or "nothing",
        "max length": f"{manifest.max_length} tokens",
        "precision": f"{manifest.precision}, layout {manifest.layout}",
        "probabilities": f"logits over a temperature of {manifest.labels.temperature:.4f}"
        if manifest.labels.temperature != 1
        else "the model's own",
        "decides": _thresholds(manifest.labels),
        "base": f"{model.get('base')} ({str(model.get('revision'))[:23]})",
        "trained": trained,
        "made with": ", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
    }
    screen = Terminal()
    screen.table(["", ""], [list(fact) for fact in rows.items()], left=2)
    _verification(screen, manifest.verification, manifest.precision)


def _thresholds(labels: Labels) -> str:
    if not labels.thresholds:
        return "the likeliest label"
    each = zip(labels.names, labels.thresholds, strict=True)
    return ", ".join(f"{name} from {threshold:.4f}" for name, threshold in each)


def _verification(screen: Terminal, measured: dict[str, Any], precision: str) -> None:
    from toxonnx.evaluate.metrics import comparison

    for title, one in (("verified", measured), ("test", measured.get("test"))):
        if not one:
            continue
        screen.print_text(
            f"\n{title} on {one['rows']} rows, {one['rows_from']}: {precision} agrees with PyTorch on "
            f"{one['label_agreement']:.2%}, ONNX fp32 within {one['fp32_largest_logit_difference']:.1e} of its logits"
            + (f" (it ran on {measured['ran_on']})" if precision == "fp16" and "ran_on" in measured else "")
        )
        if not one["labelled"]:
            screen.print_text("no labelled rows were given: agreement alone was verified")
            continue
        screen.table(*comparison(one["metrics"], precision))

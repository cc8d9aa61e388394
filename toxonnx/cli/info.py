"""``toxonnx info``"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
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
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    size = sum((opened.path / name).stat().st_size for name in manifest.files) / 1e6
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    text, model = manifest.text, manifest.model
    adapter = model.get("adapter")
    trained = f"LoRA r={adapter['r']} on {adapter['layers']} layers, merged" if adapter else str(model.get("method"))
    rows = {
        "bundle": f"{manifest.name} ({size:.1f} MB, {len(manifest.files)} files, all hashes match)",
        "labels": f"{', '.join(manifest.labels.names)} ({manifest.labels.activation})",
        "reads": " + ".join(map(repr, text.columns)) or "one text column",
        "normalises": ", ".join(text.normalise) or "nothing",
        "max length": f"{manifest.max_length} tokens",
        "precision": manifest.precision,
        "probabilities": f"logits over a temperature of {manifest.labels.temperature:.4f}"
        if manifest.labels.temperature != 1
        else "the model's own",
        "decides": _thresholds(manifest.labels),
        "base": f"{model.get('base')} ({str(model.get('revision'))[:23]})",
        "trained": trained,
        "made with": ", ".join(f"{name} {version}" for name, version in manifest.tools.items()),
    }
    for key, value in rows.items():
        facts.add_row(f"[bold]{key}", escape(value))
    console = Console()
    console.print(facts)
    _verification(console, manifest.verification, manifest.precision)


def _thresholds(labels: Labels) -> str:
    if not labels.thresholds:
        return "the likeliest label"
    each = zip(labels.names, labels.thresholds, strict=True)
    return ", ".join(f"{name} from {threshold:.4f}" for name, threshold in each)


def _verification(console: object, measured: dict[str, object], precision: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from toxonnx.evaluate.metrics import comparison

    assert isinstance(console, Console)
    for title, one in (("verified", measured), ("test", measured.get("test"))):
        if not isinstance(one, dict) or not one:
            continue
        console.print(
            f"\n[bold]{title}[/] on {one['rows']} rows, {escape(one['rows_from'])}: {precision} agrees with PyTorch on "
            f"{one['label_agreement']:.2%}, ONNX fp32 within {one['fp32_largest_logit_difference']:.1e} of its logits",
            highlight=False,
        )
        if not one["labelled"]:
            console.print("no labelled rows were given: agreement alone was verified")
            continue
        header, rows = comparison(one["figures"], precision)
        table = Table(*header, box=None, padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)

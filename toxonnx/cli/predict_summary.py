"""What ``toxonnx predict`` reports at its end."""

from __future__ import annotations

import click

from toxonnx.bundle import Bundle
from toxonnx.cli.console import sanitize
from toxonnx.inference.cascade import AuditResult
from toxonnx.io.summary import Summary
from toxonnx.long_texts import LongTexts
from toxonnx.wording import plural

__all__ = ["print_audit", "print_summary"]


def print_summary(summary: Summary, bundle: Bundle, files: int, long_texts: LongTexts) -> None:
    """Prints the counts of a run to standard error.

    Args:
        summary: over all files.
        bundle: what scored them.
        files: how many there are.
        long_texts: how long texts were read.
    """
    manifest = bundle.manifest
    rate = summary.rows / summary.seconds if summary.seconds else 0.0
    of_files = f" of {files:,} files" if files > 1 else ""
    lines = [
        f"{plural(summary.rows, 'row')}{of_files} in {summary.seconds:.1f} s ({rate:,.0f} rows/s) with {manifest.name}"
    ]
    width = max((len(label) for label in summary.labels), default=0)
    for label, count in summary.labels.most_common():
        meaning = manifest.label_descriptions.get(label, "")
        lines.append(f"  {label:{width}}  {count:>9,}  {count / summary.rows:6.1%}  {meaning}".rstrip())
    if summary.rejected:
        kinds = ", ".join(f"{count:,} {kind.lower()}" for kind, count in summary.rejected.most_common())
        count = summary.rejected.total()
        lines.append(f"  rejected: {count:,} of {plural(summary.rows + count, 'row')} read ({kinds})")
    if summary.review:
        lines.append(f"  marked for review: {summary.review:,} ({summary.review / summary.rows:.1%})")
    if summary.truncated:
        share = summary.truncated / summary.rows
        to = f"{long_texts.max_windows} windows of " if long_texts.max_windows > 1 else ""
        lines.append(f"  truncated to {to}{manifest.max_length} tokens: {summary.truncated:,} ({share:.1%})")
    if summary.early:
        share = summary.early / summary.rows
        lines.append(f"  answered by the first stage of the cascade: {summary.early:,} ({share:.1%})")
    if summary.cached:
        lines.append(f"  scores reused from an identical text: {summary.cached:,}")
    if summary.no_tokens:
        lines.append(f"  empty, or without a token that the model knows: {summary.no_tokens:,}")
    if summary.repaired:
        lines.append(f"  lone surrogates replaced by U+FFFD: {summary.repaired:,}")
    if manifest.language:
        lines.append(f"  the model reads {manifest.language} only")
    if bundle.card:
        lines.append(f"  what it can and cannot do: {bundle.card}")
    click.echo("\n".join(map(sanitize, lines)), err=True)


def print_audit(audit: AuditResult, *, stopped: bool) -> None:
    """Prints how often the first stage of a cascade and the full model differed."""
    low, high = audit.interval
    share = audit.disagreements / audit.rows if audit.rows else 0.0
    click.echo(
        f"  audit: {plural(audit.rows, 'text')}, {audit.disagreements:,} decided otherwise by the full model: "
        f"{share:.2%} "
        f"(95% interval {low:.2%} to {high:.2%}; promised at most {audit.promised:.2%})",
        err=True,
    )
    if audit.exceeded:
        rest = "the rest was scored by the full model only" if stopped else "use --no-cascade, or --audit-stop"
        click.echo(f"warning: these texts are unlike those that the cascade was tested on: {rest}", err=True)

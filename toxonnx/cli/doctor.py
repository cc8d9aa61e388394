"""``toxonnx doctor``"""

from __future__ import annotations

import json
from typing import Any

import click


@click.command("doctor")
@click.option("--bundle", metavar="DIR|NAME", help="The bundle to plan for; the one that ships if not given.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(bundle: str | None, as_json: bool) -> None:
    """Show what this machine has, what is installed, and how a bundle would run here.

    Exit code 3 when it could not run.
    """
    from toxonnx.errors import ToxonnxError
    from toxonnx.extras import EXTRAS, missing
    from toxonnx.machine import describe

    machine = describe()
    report: dict[str, Any] = {"machine": machine, "extras": {name: missing(name) for name in EXTRAS}}
    failure: ToxonnxError | None = None
    try:
        from toxonnx.classifier import Classifier

        classifier = Classifier.load(bundle)
        report["plan"] = {"bundle": classifier.bundle.manifest.name, **classifier.plan}
    except ToxonnxError as error:
        failure = error
        report["plan"] = None
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _show(report)
    if failure:
        raise failure


def _show(report: dict[str, Any]) -> None:
    from toxonnx.cli.screen import Screen

    machine, plan = report["machine"], report["plan"]
    quota = machine["cgroup_quota"]
    limit = f"; the cgroup allows {quota:g}" if quota else ""
    power = [f"governor {machine['governor']}"] if machine["governor"] else []
    if machine["boost"] is not None:
        power.append("boost on" if machine["boost"] == "1" else "boost off")
    facts = {
        "cpu": f"{machine['cpu']}{' (virtual machine)' if machine['virtual'] else ''}",
        "instructions": ", ".join(machine["instruction_sets"]) or "none that matter here",
        "cores": f"{machine['cores']} may be used (the host shows {machine['cores_of_the_host']}{limit})",
        "power": ", ".join(power) or "the system does not tell",
        "memory": f"{machine['memory_gb']} GB" if machine["memory_gb"] else "the system does not tell",
        "versions": ", ".join(f"{name} {version}" for name, version in machine["versions"].items()),
    }
    for name, lacks in report["extras"].items():
        facts[f"extra {name}"] = f"lacks {', '.join(lacks)}" if lacks else "installed"
    if plan:
        facts["plan"] = f"{plan['bundle']}: {describe_plan(plan)}"
    Screen().table(["", ""], [list(fact) for fact in facts.items()], left=2)


def describe_plan(plan: dict[str, Any]) -> str:
    """One sentence on how a classifier runs."""
    return (
        f"{plan['precision']}, layout {plan['layout']}, on {plan['provider']}; {plan['threads']} batches at a time, of "
        f"up to {plan['batch_tokens']:,} tokens, out of windows of {plan['window']:,} rows"
        + (f"; {plan['encoders']} processes tokenize" if plan["encoders"] else "")
    )

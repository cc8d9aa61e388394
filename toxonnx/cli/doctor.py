"""``toxonnx doctor``"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from toxonnx.cli.device import device_options, say_fallback

#: differences of a probability that are no matter: of int8, and of others
INT8_LEAST, LEAST = 0.05, 0.005

if TYPE_CHECKING:
    from toxonnx.classifier import Classifier


@click.command("doctor")
@click.option("--bundle", metavar="DIR|NAME", help="The bundle to plan for; the one that ships if not given.")
@device_options
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def command(bundle: str | None, device: str, allow_fallback: bool, as_json: bool) -> None:
    """Show what this machine has, what is installed, and how a bundle would run here.

    The bundle is loaded on the device and scores the sentences whose probabilities by PyTorch it carries. Exit code 3
    when the machine lacks something for it, 2 when it is not made for the device, 1 when it scores otherwise there.
    """
    from toxonnx.devices import describe as describe_gpus
    from toxonnx.errors import GateError, ToxonnxError
    from toxonnx.extras import EXTRAS, missing
    from toxonnx.machine import describe

    machine = describe()
    lacks = {name: missing(name) for name in EXTRAS}
    report: dict[str, Any] = {"machine": machine, "gpu": describe_gpus(), "extras": lacks, "plan": None, "trial": None}
    failure: ToxonnxError | None = None
    try:
        from toxonnx.classifier import Classifier

        classifier = Classifier.load(bundle, device=device, allow_fallback=allow_fallback)
        report["plan"] = {"bundle": classifier.bundle.manifest.name, **classifier.plan}
        say_fallback(classifier)
        report["trial"] = _trial(classifier)
    except ToxonnxError as error:
        failure = error
    trial = report["trial"]
    if failure is None and trial and not trial["sound"]:
        failure = GateError(
            f"on this machine probabilities are {trial['largest_probability_difference']:.4f} from PyTorch's; "
            f"{trial['limit']:.4f} is the limit",
            "Do not use these scores. Try --device cpu, another --layout, or --precision fp32.",
        )
    report["error"] = str(failure) if failure else ""
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _show(report)
    if failure:
        raise failure


def _show(report: dict[str, Any]) -> None:
    from toxonnx.cli.screen import Screen

    machine, plan, trial, gpu = report["machine"], report["plan"], report["trial"], report["gpu"]
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
    facts["driver"] = gpu["driver"] if gpu["gpus"] else gpu["trouble"]
    for number, one in enumerate(gpu["gpus"]):
        facts[f"gpu {number}"] = f"{one['name']}, {one['memory_gb']} GB, compute capability {one['compute_capability']}"
    facts["runtime"] = gpu["runtime"]
    for name, why in gpu["obstacles"].items():
        facts[name] = why or "can be used"
    for name, lacks in report["extras"].items():
        facts[f"extra {'cpu or gpu' if name == 'cpu' else name}"] = (
            f"lacks {', '.join(lacks)}" if lacks else "installed"
        )
    if plan:
        facts["plan"] = f"{plan['bundle']}: {describe_plan(plan)}"
    if trial:
        facts["trial"] = (
            f"{trial['sentences']} sentences scored here; largest difference of a probability from PyTorch's "
            f"{trial['largest_probability_difference']:.4f} (limit {trial['limit']:.4f}), {trial['same_label']} of "
            "them with its label"
        )
    Screen().table(["", ""], [list(fact) for fact in facts.items()], left=2)


def _trial(classifier: Classifier) -> dict[str, Any] | None:
    """Scores what a bundle carries PyTorch's probabilities of.

    They may be twice as far off as the export saw on its many rows, and by LEAST at least.
    """
    file = classifier.bundle.path / "expected.json"
    if not file.is_file():
        return None
    expected = json.loads(file.read_text(encoding="utf-8"))["pytorch"]
    differences, same = [0.0], 0
    for row, (_, prediction) in zip(expected, classifier.stream(row["text"] for row in expected), strict=True):
        theirs, ours = row["probabilities"], prediction.probabilities.tolist()
        differences += [abs(a - b) for a, b in zip(theirs, ours, strict=True)]
        same += theirs.index(max(theirs)) == ours.index(max(ours))
    manifest = classifier.bundle.manifest
    least = INT8_LEAST if manifest.precision == "int8" else LEAST
    limit = max(least, 2 * manifest.verification.get("largest_probability_difference", 0))
    largest = max(differences)
    return {
        "sentences": len(expected), "largest_probability_difference": largest, "same_label": same, "limit": limit,
        "sound": largest <= limit,
    }  # fmt: skip


def describe_plan(plan: dict[str, Any]) -> str:
    """One sentence on how a classifier runs."""
    return (
        f"{plan['precision']}, layout {plan['layout']}, on {plan['provider']}; {plan['threads']} batches at a time, of "
        f"up to {plan['batch_tokens']:,} tokens, out of windows of {plan['window']:,} rows"
        + (f"; {plan['encoders']} processes tokenize" if plan["encoders"] else "")
        + (f"; few texts: {plan['graphs']}" if plan["graphs"] else "")
    )

"""Names that moderation services use for their labels, and what a model's labels are called there."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from toxonnx.errors import InputError

__all__ = ["VOCABULARIES", "check_mappings"]

#: service -> its names: the attributes of Google's Perspective API that models are trained for (the experimental ones
#: included), and the categories of OpenAI's moderation endpoint
VOCABULARIES: dict[str, tuple[str, ...]] = {
    "perspective": (
        "TOXICITY", "SEVERE_TOXICITY", "IDENTITY_ATTACK", "INSULT", "PROFANITY", "THREAT", "SEXUALLY_EXPLICIT",
        "FLIRTATION", "ATTACK_ON_AUTHOR", "ATTACK_ON_COMMENTER", "INCOHERENT", "INFLAMMATORY", "LIKELY_TO_REJECT",
        "OBSCENE", "SPAM", "UNSUBSTANTIAL",
    ),
    "openai": (
        "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
        "self-harm/intent", "self-harm/instructions", "sexual", "sexual/minors", "violence", "violence/graphic",
    ),
}  # fmt: skip


def check_mappings(mappings: Mapping[str, Mapping[str, str]], labels: Collection[str]) -> None:
    """Checks mappings: service -> its name for a label -> the label.

    Args:
        mappings: they need not cover all names or labels.
        labels: the model's; empty if they are not known yet.

    Raises:
        InputError: a service, a name or a label is unknown.
    """
    for service, names in mappings.items():
        if service not in VOCABULARIES:
            raise InputError(f"mappings: unknown service {service!r}", f"Choose from {', '.join(VOCABULARIES)}.")
        for name, label in names.items():
            if name not in VOCABULARIES[service]:
                raise InputError(
                    f"mappings.{service}: unknown name {name!r}", f"Choose from {', '.join(VOCABULARIES[service])}."
                )
            if labels and label not in labels:
                raise InputError(f"mappings.{service}.{name}: {label!r} is not a label")

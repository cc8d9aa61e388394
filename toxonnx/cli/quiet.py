"""What the verbs that load transformers do about its advice on standard error."""

from __future__ import annotations


def silence_transformers() -> None:
    """Errors alone from transformers and the hub: whatever else matters, toxonnx says itself."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging as transformers

    hub.set_verbosity_error()
    transformers.set_verbosity_error()

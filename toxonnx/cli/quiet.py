"""Silences transformers' own messages."""

from __future__ import annotations

import warnings


def silence_transformers() -> None:
    """Shows only errors of transformers and the hub client; toxonnx reports what matters."""
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging as transformers

    hub.set_verbosity_error()
    transformers.set_verbosity_error()
    transformers.disable_progress_bar()  # of loading weights
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")  # meant for PEFT

"""Silences transformers' own messages."""

from __future__ import annotations

import warnings


def silence_transformers() -> None:
    """Shows only errors of transformers and the hub client, and downloads; toxonnx reports what matters."""
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from huggingface_hub.utils import logging as hub
    from transformers.utils import logging as transformers

    hub.set_verbosity_error()
    transformers.set_verbosity_error()
    downloads_shown = not are_progress_bars_disabled()
    transformers.disable_progress_bar()  # of loading and saving weights; also disables those of downloads
    if downloads_shown:
        enable_progress_bars()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")  # meant for PEFT

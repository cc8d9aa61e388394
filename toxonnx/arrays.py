"""Arrays from files, whatever these contain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toxonnx.errors import InputError

__all__ = ["load_array"]


def load_array(path: Path, content: str) -> NDArray[Any]:
    """The array in a ``.npy`` file; a pickle in it is not read.

    Args:
        path: the file.
        content: what it should contain, for the error.

    Raises:
        InputError: it contains something else, or is damaged.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # the header is Python source, and other formats are recognised: errors of any type
        raise InputError(f"{path} does not contain {content}: {error}") from None
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path} does not contain {content}, but several arrays")
    return array

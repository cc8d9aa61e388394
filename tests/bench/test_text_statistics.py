from __future__ import annotations

import numpy as np
import pytest

from toxonnx.bench.text_statistics import padding_share


def test_padding_is_the_difference_to_the_longest_row_of_a_batch() -> None:
    lengths = np.array([2, 10, 2, 10])
    assert padding_share(lengths, 2, by_length=False) == pytest.approx(16 / 40)
    assert padding_share(lengths, 2, by_length=True) == 0
    assert padding_share(lengths, 1, by_length=False) == 0

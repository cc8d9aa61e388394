"""Small batches in fixed shapes, for CUDA graphs."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from toxonnx.inference.cuda_graphs import PADDED_SIZES, pad_to_fixed_shape


@given(lengths=arrays.arrays(np.int64, st.integers(1, 8), elements=st.integers(1, 128)))
def test_small_batches_are_padded_to_few_shapes(lengths: np.ndarray) -> None:
    ids = np.arange(1, lengths.sum() + 1, dtype=np.int32)
    feed = pad_to_fixed_shape(ids, lengths, pad_id=0)
    assert feed is not None and len(feed["input_ids"]) in PADDED_SIZES
    given_lengths = np.diff(feed["cu_seqlens"])
    assert given_lengths[: len(lengths)].tolist() == lengths.tolist()
    assert (given_lengths > 0).all() and len(given_lengths) == (2 if len(lengths) == 1 else 9)
    assert feed["input_ids"][: len(ids)].tolist() == ids.tolist() and not feed["input_ids"][len(ids) :].any()
    assert feed["token_offset"].shape == (len(given_lengths), len(feed["input_ids"]))

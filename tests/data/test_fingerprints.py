import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toxonnx.data.fingerprints import hashes, is_seen, load_fingerprints, save_fingerprints
from toxonnx.errors import InputError

TEXTS = st.lists(st.text(max_size=8), max_size=20)


@given(TEXTS, TEXTS, TEXTS)
def test_a_file_recognises_its_texts_and_no_others(first: list[str], more: list[str], others: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path, both = Path(folder) / "first.npy", Path(folder) / "both.npy"
        save_fingerprints(path, first)
        save_fingerprints(both, more, load_fingerprints(path))
        found = load_fingerprints(both)
        assert found.tolist() == sorted({*hashes(first).tolist(), *hashes(more).tolist()})
        assert is_seen([*first, *more], found).all()
        assert not is_seen([f"{text} that was not seen" for text in others], found).any()
        np.save(path, np.asfortranarray(np.load(both)))
        assert np.array_equal(load_fingerprints(path), found)
        assert both.stat().st_size < 200 + 6 * len(found)


def test_hashes_of_64_bits_are_read(tmp_path: Path) -> None:
    # blake2b of 8 bytes, little-endian, of "one" and "two"
    np.save(tmp_path / "before.npy", np.array([0xC915768BAADDF234, 0x03074A796C55EEF5], dtype=np.uint64))
    assert is_seen(["Two", " one", "three"], load_fingerprints(tmp_path / "before.npy")).tolist() == [True, True, False]


def _npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(12)


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"PK\x03\x04 an archive", _npz(), _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (("),
        _npy(" {}\n  {}"), _npy("{'descr': ('', ), 'fortran_order': False, 'shape': (2, 6)}"),
        _npy("{'descr': [()], 'fortran_order': False, 'shape': (2, 6)}"),
        _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (100000000000000000000, 6)}"),
        _npy("{'descr': '|u1', 'fortran_order': False, 'shape': (True, 'x')}"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "texts.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"texts\.npy does not contain fingerprints"):
        load_fingerprints(tmp_path / "texts.npy")

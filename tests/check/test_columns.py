from __future__ import annotations

from pathlib import Path

import pytest
from check_helpers import check_quickly

from toxonnx.errors import InputError
from toxonnx.inference.tokenizer import Tokenizer


def test_a_header_of_one_field_suggests_the_delimiter(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for delimiter, name in ((";", "semicolon"), ("\t", "tab")):
        (tmp_path / "d.csv").write_text(f"text{delimiter}class\nsoup{delimiter}praise\n", encoding="utf-8")
        with pytest.raises(InputError, match=f"try --delimiter {name}"):
            check_quickly(tmp_path / "d.csv", tokenizer)


def test_an_undecodable_header_suggests_the_encoding(tmp_path: Path, tokenizer: Tokenizer) -> None:
    (tmp_path / "e.csv").write_bytes("texte,cat\xe9gorie\nsoup,praise\n".encode("latin-1"))
    with pytest.raises(InputError, match="with --encoding"):
        check_quickly(tmp_path / "e.csv", tokenizer)

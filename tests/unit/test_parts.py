"""Texts, recipes, splits, batches, metrics, imports: the parts that stand alone."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, recipe
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from toxonnx.data.examples import Examples, load_saved_rows, save_examples
from toxonnx.data.splits import split
from toxonnx.errors import InputError, RecipeError
from toxonnx.inference.batching import EqualLengthBatcher, PackedBatcher, PaddedBatcher
from toxonnx.inference.cache import LogitCache, digest
from toxonnx.inference.cuda_graphs import TOKENS as SIZES
from toxonnx.inference.cuda_graphs import bucketed
from toxonnx.inference.tokenizer import Tokens
from toxonnx.labels import Labels
from toxonnx.predict import added_columns
from toxonnx.recipe import Split, load_recipe, recipe_from_dict
from toxonnx.texts import TextSpec, fold


def test_normalisation() -> None:
    spec = TextSpec(normalise=("html", "urls", "mentions", "spaces"))
    text = "RT @anna_b: see  https://example.org/a?b=1,\tor mail me@example.org &amp;#128512;\n"
    assert spec.clean(text) == "RT @user: see http or mail me@example.org \N{GRINNING FACE}"
    assert spec.clean(spec.clean(text)) == spec.clean(text)
    with pytest.raises(InputError, match="unknown normalisation stem"):
        TextSpec(normalise=("stem",))


def test_template() -> None:
    spec = TextSpec(("query", "image descriptions"), "{query} [image: {image descriptions}]")
    assert spec.render(["why {query}?", "a dog"]) == "why {query}? [image: a dog]"
    with pytest.raises(InputError, match="template reads 'a'"):
        TextSpec(("b",), "{a}")


def test_choosing_the_text_column() -> None:
    pair = TextSpec(("query", "image"), "{query} {image}")
    assert pair.choose_columns(["id", "image", "query"]) == ("query", "image")
    assert pair.choose_columns(["id", "Comment"]) == ("Comment",)
    assert pair.choose_columns(["q", "i"], ["q", "i"]) == ("q", "i")
    assert pair.choose_columns(["q", "i"], ["i"]) == ("i",)
    for header, asked, message in (
        (["id", "n"], (), "no text column"),
        (["text", "body"], (), "several columns might hold the text: 'text', 'body'"),
        (["id", "n"], ("text",), "no column 'text'"),
        (["a", "b", "c"], ("a", "b", "c"), "3 text columns given, the model reads 2"),
    ):
        with pytest.raises(InputError, match=message):
            pair.choose_columns(header, asked)


def test_added_columns_never_repeat_a_name() -> None:
    assert added_columns(["text"], ["a", "b"]) == ["label", "score", "a", "b"]
    assert added_columns(["text", "label"], ["a"]) == ["predicted_label", "predicted_score", "predicted_a"]
    names = added_columns(["text", "score"], ["label", "score"])
    assert len(set(names)) == 4 and not set(names) & {"text", "score"}
    with pytest.raises(InputError, match="scored already"):
        added_columns(["label", "predicted_label"], ["a"])


@pytest.mark.parametrize("name", ["minilm-hate", "distilbert-lora", "distilroberta-full"])
def test_shipped_recipes_load_and_survive_json(name: str) -> None:
    shipped = load_recipe(name)
    assert recipe_from_dict(shipped.to_dict(), name) == shipped


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 2", "epoch = 2", "unknown key training.epoch"),
        ("epochs = 2", 'epochs = "2"', "training.epochs = '2' is no int"),
        ("epochs = 2", "epochs = 0", "training.epochs is too small"),
        ('method = "lora"', 'method = "qlora"', "model.method = 'qlora' is none of lora, full"),
        ('column = "class"', "", "labels needs either column or columns"),
        ("validation = 0.2", "validation = 0.6\ntest = 0.5", "leave nothing to train on"),
        ("[split]", "[split", "is not TOML"),
        ("seed = 3", "seed = -3", "split.seed = -3 is negative"),
        ("dropout = 0.0", "dropout = 1.5", "model.lora.dropout = 1.5 is not between 0 and 1"),
        ("epochs = 2", 'schedule = "cosin"', "training.schedule = 'cosin' is none of linear"),
        ("[training]", "[trainig]", "unknown key trainig"),
    ],
)
def test_recipes_are_checked_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = recipe(tmp_path / "r.toml")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(RecipeError, match=message.replace(".", r"\.")) as caught:
        load_recipe(path)
    assert "r.toml" in str(caught.value)


def test_an_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(RecipeError, match="no recipe 'minilm'") as caught:
        load_recipe("minilm")
    assert "minilm-hate" in str(caught.value)


def _examples(texts: list[str], y_true: list[int], names: tuple[str, ...] = ("a", "b")) -> Examples:
    lines = list(range(2, len(texts) + 2))
    return Examples(texts, np.array(y_true, dtype=np.int64), lines, Labels(names), TextSpec())


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(1, 6), min_size=6, max_size=40),
    shares=st.tuples(st.floats(0.05, 0.4), st.sampled_from([0.0, 0.1, 0.3])),
    seed=st.integers(0, 5),
)
def test_a_split_never_tears_a_text_apart(counts: list[int], shares: tuple[float, float], seed: int) -> None:
    texts, y_true = [], []
    for i, count in enumerate(counts):
        for copy in range(count):
            texts.append(f"Text  {i} " if copy % 2 else f"text {i}")
            y_true.append(i % 2)
    parts = split(_examples(texts, y_true), Split(*shares, seed=seed), "here")
    sides = [parts.train, parts.validation, parts.test]
    assert sorted(np.concatenate(sides).tolist()) == list(range(len(texts)))
    seen = [{fold(texts[i]) for i in side} for side in sides]
    assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]
    assert parts.leaking == 0
    assert parts.duplicates == len(texts) - len(counts)
    for side, share in zip(sides, (1.0, *shares), strict=True):
        assert {y_true[i] for i in side} == ({0, 1} if share else set())
    again = split(_examples(texts, y_true), Split(*shares, seed=seed), "here")
    assert all((a == b).all() for a, b in zip(sides, (again.train, again.validation, again.test), strict=True))


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=30, max_size=80), seed=st.integers(0, 5)
)
def test_rows_of_a_group_stay_together(rows: list[tuple[int, int]], seed: int) -> None:
    # Chains too: rows that share a text with one row and a group with another.
    texts, groups = [f"text {a}" for a, _ in rows], tuple(str(b) for _, b in rows)
    y_true = np.zeros(len(rows), dtype=np.int64)
    for extra in range(4):  # rows that stand alone, so that there is always something to draw
        texts.append(f"lone {extra}")
        groups += (f"lone {extra}",)
    y_true = np.concatenate([y_true, np.zeros(4, dtype=np.int64)])
    examples = Examples(texts, y_true, list(range(len(texts))), Labels(("a", "b")), TextSpec(), groups=groups)
    parts = split(examples, Split(0.3, seed=seed, group=("g",)), "here")
    for keys in (texts, groups):
        assert not {keys[i] for i in parts.train} & {keys[i] for i in parts.validation}
    assert parts.leaking == 0 and len(parts.train) + len(parts.validation) == len(texts)


def test_a_random_split_says_what_leaks() -> None:
    texts = [f"text {i % 20}" for i in range(200)]
    parts = split(_examples(texts, [i % 2 for i in range(200)]), Split(0.2, method="random"), "here")
    assert parts.leaking == parts.leaked == len(parts.validation)


def test_a_class_with_one_text_is_named() -> None:
    with pytest.raises(InputError, match=r"rows\.csv: class 'b' has 1 distinct text \(line 6\), the split needs 2"):
        split(_examples(["v", "w", "x", "y", "z", "Z "], [0, 0, 0, 0, 1, 1]), Split(0.2), "rows.csv")


def test_groups_whose_rows_have_several_labels_are_divided_whole() -> None:
    """Four countries, each with every class: no class is refused, no country stands on two sides."""
    examples = _examples([f"day {i}" for i in range(80)], [i % 3 for i in range(80)], ("a", "b", "c"))
    countries = tuple("abcd"[i // 20] for i in range(80))
    parts = split(dataclasses.replace(examples, groups=countries), Split(0.25, seed=1), "rows.csv")
    sides = [{countries[i] for i in part} for part in (parts.train, parts.validation)]
    assert not sides[0] & sides[1] and len(sides[1]) == 1
    # A class that stands in one group alone cannot be on both sides.
    lone = dataclasses.replace(examples, y_true=np.array([2 if i < 20 and i % 2 else i % 2 for i in range(80)]))
    with pytest.raises(InputError, match="class 'c' has 1 distinct group, the split needs 2"):
        split(dataclasses.replace(lone, groups=countries), Split(0.25), "rows.csv")


@pytest.mark.parametrize("multi", [False, True])
def test_held_out_rows_come_back(tmp_path: Path, multi: bool) -> None:
    y_true = np.array([[0, 1], [1, 1], [0, 0]]) if multi else np.array([1, 0, 1])
    labels = Labels(("a b", "c,d"), "sigmoid" if multi else "softmax")
    save_examples(tmp_path / "v.csv", Examples(["x", "y\nz", '"q"'], y_true, [2, 3, 5], labels, TextSpec()))
    texts, back = load_saved_rows(tmp_path / "v.csv", labels)
    assert texts == ["x", "y\nz", '"q"']
    assert (back == y_true).all()


@given(lengths=arrays.arrays(np.int64, st.integers(0, 60), elements=st.integers(1, 9)), max_tokens=st.integers(1, 60))
def test_batches_hold_rows_of_one_length_within_the_budget(lengths: np.ndarray, max_tokens: int) -> None:
    batches = list(EqualLengthBatcher(max_tokens).plan(lengths))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    longest = [int(lengths[batch].max()) for batch in batches]
    assert longest == sorted(longest, reverse=True)
    for batch in batches:
        assert len(set(lengths[batch].tolist())) == 1
        assert len(batch) == 1 or len(batch) * lengths[batch[0]] <= max_tokens
    # No more batches than it takes: but for the last of a length, none has room for another row.
    full = [len(batch) == max(1, max_tokens // lengths[batch[0]]) for batch in batches]
    assert len(batches) - sum(full) <= len(set(lengths.tolist()))


LENGTHS = arrays.arrays(np.int64, st.integers(1, 50), elements=st.integers(1, 40))


def _made(lengths: np.ndarray) -> Tokens:
    ids = np.arange(1, lengths.sum() + 1, dtype=np.int32)  # each token is known again
    return Tokens(ids, lengths, np.zeros(len(lengths), dtype=np.bool_))


@given(lengths=LENGTHS, max_tokens=st.integers(1, 200))
def test_padded_batches_lose_nothing_and_have_few_shapes(lengths: np.ndarray, max_tokens: int) -> None:
    batcher, tokens = PaddedBatcher(max_tokens, pad_id=0, longest=40), _made(lengths)
    batches = list(batcher.plan(lengths))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        feed = batcher.feed(tokens, batch)
        height, width = feed["input_ids"].shape
        assert width in {16, 32, 40} and (height & (height - 1) == 0 or height == max_tokens // width)
        assert len(batch) == 1 or height * width <= max_tokens
        mask = feed["attention_mask"]
        assert mask.sum(axis=1)[: len(batch)].tolist() == lengths[batch].tolist()
        assert (np.diff(mask, axis=1) <= 0).all() and (mask[:, 0] == 1).all()
        assert feed["input_ids"][: len(batch)][mask[: len(batch)] == 1].tolist() == tokens.of(batch).tolist()
        assert (feed["input_ids"][mask == 0] == 0).all()


@given(lengths=LENGTHS, max_tokens=st.integers(1, 200))
def test_packed_batches_say_where_rows_begin_and_where_padding_would_stand(
    lengths: np.ndarray, max_tokens: int
) -> None:
    batcher, tokens = PackedBatcher(max_tokens), _made(lengths)
    batches = list(batcher.plan(lengths))
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].sum() <= max_tokens
        feed = batcher.feed(tokens, batch)
        starts, ends = feed["cu_seqlens"][:-1], feed["cu_seqlens"][1:]
        assert (ends - starts).tolist() == lengths[batch].tolist()
        assert feed["first_tokens"].tolist() == starts.tolist()
        rows = [feed["input_ids"][start:end].tolist() for start, end in zip(starts, ends, strict=True)]
        assert rows == [tokens.of(np.array([row])).tolist() for row in batch]
        assert [feed["position_ids"][a:b].tolist() for a, b in zip(starts, ends, strict=True)] == [
            list(range(length)) for length in lengths[batch]
        ]
        # Spread out by token_offset, tokens stand where a padded batch has them.
        offset = feed["token_offset"]
        flat = np.zeros(offset.size, dtype=np.int32)
        flat[offset.reshape(-1)[: len(feed["input_ids"])]] = feed["input_ids"]
        assert sorted(offset.reshape(-1).tolist()) == list(range(offset.size))
        for row, padded in zip(rows, flat.reshape(offset.shape), strict=True):
            assert padded.tolist() == row + [0] * (offset.shape[1] - len(row))


@given(lengths=arrays.arrays(np.int64, st.integers(1, 8), elements=st.integers(1, 128)))
def test_small_batches_come_in_few_shapes(lengths: np.ndarray) -> None:
    ids = np.arange(1, lengths.sum() + 1, dtype=np.int32)
    feed = bucketed(ids, lengths, pad_id=0)
    assert feed is not None and len(feed["input_ids"]) in SIZES
    given_lengths = np.diff(feed["cu_seqlens"])
    assert given_lengths[: len(lengths)].tolist() == lengths.tolist()
    assert (given_lengths > 0).all() and len(given_lengths) == (2 if len(lengths) == 1 else 9)
    assert feed["input_ids"][: len(ids)].tolist() == ids.tolist() and not feed["input_ids"][len(ids) :].any()
    assert feed["token_offset"].shape == (len(given_lengths), len(feed["input_ids"]))


@given(
    windows=st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), max_size=40),
    capacity=st.integers(32, 48),
    in_flight=st.integers(0, 3),
)
def test_a_remembered_text_finds_its_own_logits(windows: list[list[int]], capacity: int, in_flight: int) -> None:
    memo = LogitCache(1, capacity, in_flight=4 * 4)
    waiting: list[tuple[list[int], np.ndarray]] = []
    met: set[int] = set()
    for texts in windows:
        places, fresh = memo.places([digest(str(text)) for text in texts])
        # Scored at once, read some windows later: a place must not be taken in between.
        memo.logits[places[fresh], 0] = [texts[i] for i in fresh]
        met |= {texts[i] for i in fresh}
        assert met >= set(texts)
        assert len({texts[i] for i in fresh}) == len(fresh)
        waiting.append((texts, places))
        if len(waiting) > in_flight:
            then, at = waiting.pop(0)
            assert memo.logits[at, 0].tolist() == then


def test_a_memo_forgets_what_lies_far_back() -> None:
    memo = LogitCache(1, 8, in_flight=2)
    assert [memo.places([digest(text)])[1] for text in "aabab"] == [[0], [], [0], [], []]
    memo.places([digest(str(number)) for number in range(20)])
    assert memo.places([digest("a")])[1] == [0]


#: module -> what it may import: modules of this package, and packages from elsewhere. Any may import errors.
MAY_IMPORT = {
    "ahead": (set(), set()),
    "errors": (set(), set()),
    "extras": (set(), set()),
    "labels": (set(), set()),
    "texts": (set(), set()),
    "resources": (set(), set()),
    "recipe": ({"labels", "resources", "texts"}, set()),
    "rows": (set(), set()),
    "bundle": ({"labels", "texts"}, set()),
    "tokens": (set(), {"tokenizers", "numpy"}),
    "batches": ({"tokens"}, {"numpy"}),
    "captured": ({"batches", "sessions", "tokens"}, {"onnxruntime", "numpy"}),
    "devices": ({"extras"}, {"onnxruntime"}),
    "encoding": ({"memo", "texts", "tokens"}, {"numpy"}),
    "engine": (
        {"batches", "bundle", "captured", "devices", "machine", "sessions", "tokens"},
        {"numpy"},
    ),
    "machine": (set(), set()),
    "memo": (set(), {"numpy"}),
    "sessions": ({"batches", "bundle", "devices"}, {"onnxruntime", "numpy"}),
    "scores": ({"labels"}, {"numpy"}),
    "classifier": (
        {"ahead", "bundle", "encoding", "engine", "labels", "memo", "resources", "scores", "tokens"},
        {"numpy"},
    ),
    "pages": (set(), {"matplotlib"}),
    "measure": (
        {"bundle", "classifier", "engine", "labels", "measure", "pages", "scores", "texts", "tokens"},
        {"matplotlib", "numpy", "tokenizers", "torch", "transformers"},
    ),
    "annotate": ({"classifier", "rows"}, set()),
    "evaluate": (
        {"bundle", "classifier", "evaluate", "labels", "pages", "resources", "rows", "scores", "seen", "texts"},
        {"matplotlib", "numpy"},
    ),
    "seen": ({"texts"}, {"numpy"}),
    "train": (
        {"bundle", "evaluate", "labels", "recipe", "rows", "seen", "texts", "train"},
        {
            "accelerate", "huggingface_hub", "matplotlib", "numpy", "peft", "safetensors", "sklearn", "threadpoolctl",
            "torch", "transformers",
        },
    ),
    "check": (
        {"check", "evaluate", "labels", "pages", "recipe", "rows", "seen", "texts", "tokens", "train"},
        {"datasketch", "ftfy", "matplotlib", "numpy", "sklearn"},
    ),
    "convert": (
        {
            "bundle", "classifier", "convert", "devices", "evaluate", "labels", "recipe", "rows", "scores", "seen",
            "sessions", "texts", "tokens", "train",
        },
        {"numpy", "onnx", "onnxruntime", "optimum", "torch", "transformers"},
    ),
}  # fmt: skip


def test_modules_import_what_the_design_names() -> None:
    for path in sorted((ROOT / "toxonnx").rglob("*.py")):
        parts = path.relative_to(ROOT / "toxonnx").with_suffix("").parts
        if parts[0] in {"__init__", "__main__", "cli"}:
            continue
        inside, outside = MAY_IMPORT[parts[0]]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                names = [node.module or ""]
            for name in names:
                first, _, rest = name.partition(".")
                if first == "toxonnx":
                    assert not rest or rest.split(".")[0] in inside | {"errors"}, f"{path} imports {name}"
                else:
                    assert first in outside or first in sys.stdlib_module_names, f"{path} imports {name}"


def test_the_benchmark_page_says_what_was_measured() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--check"], check=False)
    assert done.returncode == 0, "run python benchmarks/tables.py"

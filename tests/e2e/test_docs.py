"""README.md and docs/: every command and Python example is run, and what the pages list agrees with the code.

Each ``sh`` and ``python`` block has a mark in the line above it:

* ``<!-- run -->``: run here, in a folder of its own with the files that the pages name (posts.csv, my-bundle ...).
  What the block writes itself is removed first.
* ``<!-- not run: REASON -->``: needs a network, a GPU, or minutes.
* ``<!-- command: NAME -->``: run by ``.ci/run`` in a fresh environment.

``<!-- file: NAME -->`` marks the content of a file, ``<!-- output of: COMMAND -->`` the start of an output, and
``<!-- answer to the request above -->`` what the server answers to the block before.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import importlib
import inspect
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
from helpers import ROOT, SHIPPED, sentences, toxonnx, write_csv
from serve_helpers import serving

from toxonnx import Classifier, Prediction, RuntimeOptions, Scores, errors
from toxonnx.bundle import SCHEMA, Manifest
from toxonnx.recipe_files import recipe_from_dict

PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "node_modules" not in page.parts),
]
LINKED_PAGES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md"]
WRITING_OPTIONS = {"-o", "--output", "--json", "--html", "--markdown"}
_FENCE = re.compile(r"(?P<mark>[^\n]*)\n```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: its page and line, its language, the mark in the line above it, and its text."""

    page: Path
    line: int
    language: str
    mark: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Its commands, without comments; a Python block is one command."""
        if self.language != "sh":
            return [self.code]
        lines = [shlex.split(line, comments=True) for line in self.code.replace("\\\n", " ").splitlines()]
        return [shlex.join(words) for words in lines if words]


def _blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            line = text.count("\n", 0, found.start("language")) + 1
            mark = re.fullmatch(r"<!-- (.*) -->", found["mark"])
            yield Block(page, line, found["language"], mark[1] if mark else "", found["code"])


BLOCKS = list(_blocks())
CODE = [block for block in BLOCKS if block.language in {"sh", "python"}]
#: trains and exports: what it makes is used by the other blocks
TRAINING = next(block for block in CODE if "toxonnx train" in block.code and block.mark == "run")


def _to_run() -> list[Block]:
    """The blocks to run, without those whose commands an earlier one runs too."""
    blocks, covered = [], set(TRAINING.commands)
    for block in CODE:
        if block.mark == "run" and not covered.issuperset(block.commands):
            blocks.append(block)
            covered.update(block.commands)
    return blocks


def _table(page: str, header: str) -> list[list[str]]:
    """The cells of the table with this header row."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(header))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def _names(cells: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cells)


# --- the examples run ---


def _write_files(folder: Path, base: Path) -> None:
    """The files that the pages name, with mild sentences."""
    requests = [
        {"custom_id": str(number), "method": "POST", "url": "/v1/moderations", "body": {"input": text}}
        for number, (text, _) in enumerate(sentences(5, 14))
    ]
    (folder / "batch.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in requests))
    shutil.copytree(ROOT / "examples", folder / "examples")
    subprocess.run([sys.executable, "examples/make_comments.py"], cwd=folder, check=True)  # as in the tutorial
    with open(folder / "test.csv", encoding="utf-8", newline="") as file:
        coded = [[row["comment"], int(row["kind"] == "offensive")] for row in csv.DictReader(file)]
    write_csv(folder / "coded.csv", ["comment", "code"], coded)
    recipe = next(block.code for block in BLOCKS if block.mark == "file: my-recipe.toml" and "tutorial" in str(block))
    recipe = re.sub(r'base = "[^"]+"', f'base = "{base}"', recipe)
    # A small model that was trained on nothing needs larger steps, and more of them, to learn this.
    recipe += "[training]\nlearning_rate = 3e-3\nbatch_size = 8\nepochs = 8\n"
    recipe += '[labels.mappings]\nperspective = { TOXICITY = "offensive" }\nopenai = { harassment = "offensive" }\n'
    recipe += '[model.lora]\nalpha = 32\ndropout = 0.0\ntargets = "all-linear"\n'
    (folder / "my-recipe.toml").write_text(recipe, encoding="utf-8")


def _run(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a block as a person would who types it in, stopping at the first command that fails."""
    command = [sys.executable, "-c", block.code]
    if block.language == "sh":
        # An alias, so that $! is the process of a command in the background, as it is where toxonnx is a program.
        alias = f"shopt -s expand_aliases\nalias toxonnx='{sys.executable} -m toxonnx'"
        script = f"{alias}\nset -euo pipefail\n{block.code}"
        command = ["bash", "-c", script]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _outputs(block: Block) -> list[str]:
    """The files and folders that the commands of a block write."""
    pairs = itertools.chain.from_iterable(itertools.pairwise(shlex.split(command)) for command in block.commands)
    return [value for option, value in pairs if option in WRITING_OPTIONS]


@pytest.fixture(scope="module")
def files(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages name; my-run and my-bundle are made by the README's own commands."""
    folder = tmp_path_factory.mktemp("docs")
    _write_files(folder, bases["bert"])
    done = _run(TRAINING, folder)
    assert done.returncode == 0, f"{TRAINING}:\n{done.stdout}\n{done.stderr}"
    shutil.copytree(folder / "my-bundle", folder / "other-bundle")
    return folder


@pytest.mark.parametrize("block", _to_run(), ids=str)
def test_examples_run(block: Block, files: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    shutil.copytree(files, folder)
    for name in _outputs(block):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    done = _run(block, folder)
    assert done.returncode == 0, f"{block}:\n{done.stdout}\n{done.stderr}"
    missing = [name for name in _outputs(block) if not (folder / name).exists()]
    assert not missing, f"{block} does not write {missing}"


@pytest.mark.parametrize("block", CODE, ids=str)
def test_every_example_has_a_mark(block: Block) -> None:
    assert re.fullmatch(r"run|not run: .+|command: (predict|test)", block.mark), f"{block}: {block.mark!r}"


def test_the_output_in_the_readme_is_real() -> None:
    block = next(block for block in BLOCKS if block.mark.startswith("output of: "))
    words = shlex.split(block.mark.removeprefix("output of: "))
    done = toxonnx(*words[1:], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    shown, real = (list(csv.reader(text.splitlines())) for text in (block.code, done.stdout))
    assert len(shown) > 2 and shown[0] == real[0]
    for expected, actual in zip(shown[1:], real[1:], strict=False):
        assert actual[:4] == expected[:4]
        assert [float(cell) for cell in actual[4:]] == pytest.approx([float(cell) for cell in expected[4:]], abs=0.005)


ANSWERS = [(BLOCKS[i - 1], block) for i, block in enumerate(BLOCKS) if block.mark == "answer to the request above"]


@pytest.mark.parametrize(("request_block", "answer"), ANSWERS, ids=lambda block: str(block))
def test_answers_of_the_server_are_real(request_block: Block, answer: Block) -> None:
    # The shell says which words curl gets, so that quotes and variables mean what they mean to a reader.
    script = f"curl() {{ printf '%s\\0' \"$@\"; }}\n{request_block.code}"
    words = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split("\0")
    address = next(urlsplit(word) for word in words if word.startswith("http"))
    with serving(SHIPPED) as client:
        body = json.loads(words[words.index("-d") + 1])
        real = client.post(f"{address.path}?{address.query}", json=body).json()
    shown = json.loads(answer.code)
    if "id" in shown:
        assert shown["id"].endswith("...") and real.pop("id").startswith(shown.pop("id").rstrip("."))
    shown_leaves, real_leaves = dict(_leaves(shown)), dict(_leaves(real))
    assert shown_leaves.keys() == real_leaves.keys()
    for place, value in shown_leaves.items():
        assert real_leaves[place] == (pytest.approx(value, abs=0.005) if isinstance(value, float) else value)


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The values in a JSON document that are neither lists nor objects, with where they are."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, f"{place}/{key}")
    else:
        yield place, value


# --- what the pages list is what there is ---


def _commands() -> dict[str, click.Command]:
    group = importlib.import_module("toxonnx.cli").group
    context = click.Context(group)
    return {name: group.get_command(context, name) for name in group.list_commands(context)}


def test_options_in_the_text_exist() -> None:
    commands = _commands()
    known = {option for command in commands.values() for parameter in command.params for option in parameter.opts}
    known |= {"--help", "--debug", "--version"}
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        text = page.read_text(encoding="utf-8")
        spans = re.findall(r"`([^`]+)`", _FENCE.sub("", text))
        for code in [*spans, *(block.code for block in BLOCKS if block.page == page)]:
            if re.search(r"\b(pip install|docker (build|run)|kubectl)\b", code):  # options of other programs
                continue
            unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", code)) - known
            assert not unknown, f"{page.name}: {unknown} in {code!r}"


def test_not_run_examples_use_options_of_their_command() -> None:
    commands = _commands()
    for block in CODE:
        for command in block.commands if block.language == "sh" else ():
            words = shlex.split(command)
            if words[0] != "toxonnx" or words[1] == "--help":
                continue
            known = {option for parameter in commands[words[1]].params for option in parameter.opts}
            unknown = {word for word in words[2:] if word.startswith("-")} - known
            assert not unknown, f"{block}: toxonnx {words[1]} has no {unknown}"


@pytest.mark.parametrize("page", LINKED_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {target}"


def test_the_readme_is_short_and_links_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in PAGES[1:]:
        name = page.relative_to(ROOT / "docs")
        assert page.name == "index.md" or f"({name})" in index, f"docs/index.md does not link to {name}"


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.mark == "file: my-recipe.toml"], ids=str)
def test_the_smallest_recipe_is_a_recipe(block: Block) -> None:
    recipe = recipe_from_dict({"name": "my-recipe", **tomllib.loads(block.code)}, "my-recipe.toml")
    assert recipe.text.columns == ("comment",) and recipe.labels.column == "kind"


def test_every_section_of_the_manifest_is_documented() -> None:
    rows = _table("docs/bundle.md", "| section | content |")
    documented = {name for cells in rows for name in _names(cells[0])}
    assert documented == {field.name for field in dataclasses.fields(Manifest)} | {"schema", "seal"}
    assert f"schema version {SCHEMA} " in (ROOT / "docs" / "bundle.md").read_text(encoding="utf-8")


def test_the_python_api_is_documented() -> None:
    page = "docs/python-api.md"
    options = {_names(name)[0]: _names(default)[0] for name, default, _ in _table(page, "| option | default |")}
    assert options == {
        field.name: repr(field.default).replace("'", '"') for field in dataclasses.fields(RuntimeOptions)
    }
    attributes = [_names(cells[0])[0] for cells in _table(page, "| attribute | type |")]
    computed = {name for name, value in vars(Scores).items() if isinstance(value, functools.cached_property)}
    assert set(attributes) == {field.name for field in dataclasses.fields(Scores)} - {"review_below"} | computed
    methods = [_names(cells[0])[0].partition("(")[0] for cells in _table(page, "| method | returns |")]
    public = [name for name, value in vars(Classifier).items() if inspect.isfunction(value) and name[0] != "_"]
    assert sorted(methods) == sorted(public)
    text = (ROOT / page).read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in Prediction._fields)
    codes = {name: int(code) for cells, code, _ in _table(page, "| exception | exit code |") for name in _names(cells)}
    exceptions = {name: value for name in errors.__all__ if isinstance(value := getattr(errors, name), type)}
    assert {**codes, "ToxonnxError": 1} == {name: value.exit_code for name, value in exceptions.items()}

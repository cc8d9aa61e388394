"""A bundle as the Hugging Face Hub and transformers.js want it: the ONNX file in ``onnx/``, a card with metadata.

It is still a bundle: the same model, tokenizer and manifest, sealed again, since the layout changes some of the files.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toxonnx.bundle import MANIFEST, Bundle, check_output, copy_file, new_folder, seal
from toxonnx.errors import InputError
from toxonnx.evaluate.report import EvaluationReport
from toxonnx.formats import PRECISIONS
from toxonnx.languages import language_codes
from toxonnx.manifest import MODEL_FOLDER, Manifest
from toxonnx.records import read_json, to_json

__all__ = ["METADATA", "write_hub_layout"]

#: what the card's metadata may be given, and whether it is a list; see https://huggingface.co/docs/hub/model-cards
METADATA = {
    "license": False,
    "license_name": False,
    "license_link": False,
    "language": True,
    "base_model": True,
    "datasets": True,
    "tags": True,
}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
#: tokenizer classes of transformers read tokenizer.json through this one where the bundle names none
_TOKENIZER_CLASS = "PreTrainedTokenizerFast"


def write_hub_layout(
    bundle: Bundle,
    output: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    files: Sequence[Path] = (),
    force: bool = False,
) -> Bundle:
    """Writes a bundle in the layout of the Hugging Face Hub.

    Args:
        bundle: with the plain layout.
        output: the folder.
        metadata: key of :data:`METADATA` -> its value, in place of what the manifest says; lists with commas.
        files: files to add, such as a licence.
        force: replace the bundle in ``output``.

    Raises:
        InputError: the bundle's graph is for toxonnx only, or already in ``onnx/``; a key or file is not allowed; or
            the output exists.
        MachineError: the disk is full.
    """
    output = output.absolute()
    check_output(output, force=force)
    manifest = bundle.manifest
    if manifest.layout != "plain":
        raise InputError(
            f"{bundle.path} has the {manifest.layout} layout, which only toxonnx runs",
            "Export the model with --layout plain.",
        )
    if any(name.startswith(f"{MODEL_FOLDER}/") for name in manifest.files):
        raise InputError(f"{bundle.path} already has the layout of the hub: files in {MODEL_FOLDER}/")
    if unknown := sorted(set(metadata or ()) - set(METADATA)):
        raise InputError(f"unknown metadata {unknown[0]!r}", f"The known keys are {', '.join(METADATA)}.")
    for file in files:
        if not file.is_file():
            raise InputError(f"there is no file {file}")
        if file.name in {*manifest.files, MANIFEST, MODEL_FOLDER}:
            raise InputError(f"the bundle has a file or folder {file.name} already", "Rename yours.")
    if repeated := [name for name, count in Counter(file.name for file in files).items() if count > 1]:
        raise InputError(f"several of the files to add are called {repeated[0]}", "Rename all but one.")
    with new_folder(output, force=force) as work:
        _copy(bundle, work, files)
        for name, changed in (("config.json", _config), ("tokenizer_config.json", _tokenizer_config)):
            table = read_json(work / name) if (work / name).is_file() else {}
            (work / name).write_text(to_json(changed(table, manifest)), encoding="utf-8")
        (work / "README.md").write_text(_card(bundle, manifest, metadata or {}), encoding="utf-8")
        sealed = seal(work, manifest)
    return dataclasses.replace(sealed, path=output)


def _copy(bundle: Bundle, work: Path, files: Sequence[Path]) -> None:
    for name in bundle.manifest.files:
        target = work / name
        if name == bundle.manifest.model_file:
            target = work / MODEL_FOLDER / PRECISIONS[bundle.manifest.precision].hub_file
        copy_file(bundle, name, target)
    for file in files:
        shutil.copyfile(file, work / file.name)


def _config(config: dict[str, Any], manifest: Manifest) -> dict[str, Any]:
    """``config.json`` with the activation, and with the dtype that transformers.js uses where none is given."""
    kind = "multi_label_classification" if manifest.labels.multi else "single_label_classification"
    return {
        **config,
        "problem_type": kind,
        "transformers.js_config": {"dtype": PRECISIONS[manifest.precision].dtype},
    }


def _tokenizer_config(config: dict[str, Any], manifest: Manifest) -> dict[str, Any]:
    """``tokenizer_config.json`` with the maximum length, at which transformers and transformers.js truncate."""
    return {**(config or {"tokenizer_class": _TOKENIZER_CLASS}), "model_max_length": manifest.max_length}


def _card(bundle: Bundle, manifest: Manifest, metadata: Mapping[str, str]) -> str:
    """The bundle's card with metadata in front, and a section on JavaScript before its other ones."""
    card = bundle.read_card() or f"# {manifest.name}\n"
    start, heading, rest = card.partition("\n## ")
    # JSON is YAML as well, and has one way to quote.
    entries = {**_derived(manifest), **_given(metadata)}
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in entries.items()]
    return "\n".join(["---", *lines, "---", "", start.rstrip(), "", *_javascript(manifest), f"{heading}{rest}"])


def _given(metadata: Mapping[str, str]) -> dict[str, Any]:
    return {
        key: [part.strip() for part in value.split(",")] if METADATA[key] else value for key, value in metadata.items()
    }


def _derived(manifest: Manifest) -> dict[str, Any]:
    """The metadata that the manifest has."""
    entries: dict[str, Any] = {"library_name": "transformers.js", "pipeline_tag": "text-classification"}
    if languages := language_codes(manifest.language):
        entries["language"] = languages
    # The base may have been a run of this machine, which is named like that of a repository: RUN/checkpoint.
    if _HUB_ID.fullmatch(manifest.model.base) and not manifest.model.base.endswith("/checkpoint"):
        entries["base_model"] = [manifest.model.base]
    entries["tags"] = ["toxonnx", "onnx", manifest.precision]
    if results := _results(manifest):
        entries["model-index"] = [{"name": manifest.name, "results": results}]
    return entries


def _results(manifest: Manifest) -> list[dict[str, Any]]:
    """The metrics on rows of the test split, in the form of the hub; none where there was no such split."""
    report = EvaluationReport.of_manifest(manifest.evaluation)
    unseen = report.models[0].unseen if report and report.models else None
    if manifest.evaluation.get("part") != "test" or unseen is None or not manifest.training:
        return []
    data = manifest.training.data["file"]
    values = {"accuracy": ("accuracy", "Accuracy"), "macro_f1": ("f1", "Macro F1")}
    return [
        {
            "task": {"type": "text-classification"},
            "dataset": {"name": f"{data}, test split of the run", "type": data},
            "metrics": [
                {"type": kind, "name": name, "value": round(getattr(unseen.metrics, key), 4)}
                for key, (kind, name) in values.items()
            ],
        }
    ]


def _javascript(manifest: Manifest) -> list[str]:
    steps = ", ".join(manifest.text.normalise)
    notes = [
        *([f"Texts must be normalised first as in `toxonnx.json`: {steps}."] if steps else []),
        *(["The thresholds of the labels are in `toxonnx.json`."] if manifest.labels.thresholds else []),
        *(
            [f"Logits must be divided by the temperature, {manifest.labels.temperature:.4f}, for calibrated scores."]
            if manifest.labels.temperature != 1
            else []
        ),
    ]
    return [
        "## In Node and in the browser",
        "",
        "```js",
        'import { pipeline } from "@huggingface/transformers";',
        "",
        f'const classify = await pipeline("text-classification", "OWNER/{manifest.name}", '
        f'{{ dtype: "{PRECISIONS[manifest.precision].dtype}" }});',
        'console.log(await classify("What a lovely morning!", { top_k: null }));',
        "```",
        *(["", " ".join(notes)] if notes else []),
    ]

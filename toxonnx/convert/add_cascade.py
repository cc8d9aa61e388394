"""``toxonnx fit-cascade``: a sealed bundle with a first stage for texts like those given. Needs no torch."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toxonnx.bundle import CASCADE_WEIGHTS, Bundle, check_output, copy_file, new_folder, seal
from toxonnx.convert.cascade import cascade_target, fit_cascade
from toxonnx.convert.messages import cascade_lines, cascade_section
from toxonnx.data.fingerprints import FINGERPRINT_FILES, load_fingerprints, save_fingerprints
from toxonnx.errors import InputError
from toxonnx.inference.classifier import Classifier
from toxonnx.labels import Labels
from toxonnx.manifest_decisions import Cascade

__all__ = ["add_cascade"]

#: as :func:`toxonnx.convert.messages.cascade_section` begins; a recipe may have a section of that title, too
_SECTION = re.compile(r"\n## Cascade\n\nA first stage answers .*?(?=\n## |\Z)", re.DOTALL)
#: what is in front of the bundle's name: title and command, and metadata and JavaScript in the layout of the hub
_BEFORE_NAME = r'# |toxonnx predict .* --bundle |model-index: \[\{"name": "|const classify = .*"OWNER/'
#: what the card of an export has after the section
_NEXT = "\n## Verification of the export\n"


def add_cascade(
    classifier: Classifier,
    texts: Sequence[str],
    output: Path,
    wanted: dict[str, float],
    *,
    where: str,
    force: bool = False,
    log: Callable[[str], None] = print,
) -> Bundle:
    """Writes a copy of a bundle with a first stage, in place of the one that it may have.

    Args:
        classifier: the bundle, without the first stage that it may have.
        texts: texts like those that it will score, not normalised.
        output: folder of the copy; its last part is the name of the copy.
        wanted: share of the decisions to keep, see :class:`toxonnx.recipe.Export`.
        where: a description of where the texts are from.
        force: replace the bundle in ``output``.
        log: called with lines of progress.

    Raises:
        GateError: the promise cannot be kept, or there are too few texts to show it; nothing is written.
        InputError: the output exists, a share is invalid, or the bundle's card is not UTF-8.
        MachineError: the disk is full.
    """
    bundle, output = classifier.bundle, output.absolute()
    check_output(output, force=force)
    card = bundle.read_card()
    manifest = dataclasses.replace(bundle.manifest, name=output.name, cascade=None)
    target = cascade_target(wanted, manifest.labels)
    if target is None:
        raise InputError("there is no wanted agreement, such as 0.995")
    cleaned = [manifest.text.clean(text) for text in texts]
    log(f"scoring {len(cleaned):,} texts ({where})")
    cascade, weights = fit_cascade(classifier, cleaned, _fingerprints(bundle, "training"), target, where=where)
    manifest = dataclasses.replace(manifest, cascade=cascade)
    with new_folder(output, force=force) as work:
        for name in bundle.manifest.files:
            copy_file(bundle, name, work / name)
        np.save(work / CASCADE_WEIGHTS, weights, allow_pickle=False)
        save_fingerprints(work / FINGERPRINT_FILES["fitted"], cleaned, _fingerprints(bundle, "fitted"))
        if bundle.card:
            renamed = _renamed(card, bundle.manifest.name, manifest.name)
            (work / bundle.card.name).write_text(_with_section(renamed, cascade, manifest.labels), encoding="utf-8")
        sealed = seal(work, manifest)
    for line in cascade_lines(manifest):
        log(line)
    return dataclasses.replace(sealed, path=output)


def _fingerprints(bundle: Bundle, part: str) -> NDArray[np.uint64]:
    name = FINGERPRINT_FILES[part]
    listed = name in bundle.manifest.files
    return load_fingerprints(bundle.path / name) if listed else np.zeros(0, dtype=np.uint64)


def _renamed(card: str, old: str, new: str) -> str:
    """The card with another name: in its title, its command, and what the layout of the hub adds."""
    return re.sub(rf'(?m)^({_BEFORE_NAME}){re.escape(old)}(?=[\s"]|$)', lambda match: match[1] + new, card)


def _with_section(card: str, cascade: Cascade, labels: Labels) -> str:
    """The card with the section about the first stage, where an export would have put it."""
    card = _SECTION.sub("", card)
    start, following, rest = card.partition(_NEXT)
    section = "\n".join(["## Cascade", "", *cascade_section(cascade, labels)])
    return f"{start.rstrip()}\n\n{section}\n{following}{rest}"

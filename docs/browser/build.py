"""Collects a page that scores texts in the browser: static files, which any web server can deliver.

    npm --prefix docs/browser ci
    python docs/browser/build.py my-model site

``my-model`` is a folder that ``toxonnx hub-layout`` wrote; ``site`` is created.
"""

from __future__ import annotations

import argparse
import html.entities
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).absolute().parent
#: shared with the page of `toxonnx serve`
SHARED = HERE.parent.parent / "toxonnx" / "serve" / "page"
PACKAGES = HERE / "node_modules"
OWN = ("index.html", "page.js", "scorer.js", "normalise.js")
FROM_SERVER = ("bars.js", "dom.js", "icon.svg", "style.css")
VENDOR = (
    "onnxruntime-web/dist/ort.wasm.bundle.min.mjs",
    "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
    "@huggingface/tokenizers/dist/tokenizers.min.mjs",
)


def build(model: Path, site: Path) -> None:
    """Writes the page.

    Args:
        model: a bundle in the layout of the Hugging Face Hub.
        site: the folder to create.
    """
    if site.exists():
        raise SystemExit(f"{site} already exists: remove it, or name another folder")
    if not (model / "toxonnx.json").is_file() or not (model / "onnx").is_dir():
        raise SystemExit(f"{model} is not a folder that toxonnx hub-layout wrote")
    manifest = json.loads((model / "toxonnx.json").read_text(encoding="utf-8"))
    if len(manifest["text"]["columns"]) > 1:
        raise SystemExit(f"{model} reads several columns, for which the page has no fields")
    if missing := [name for name in VENDOR if not (PACKAGES / name).is_file()]:
        raise SystemExit(f"{PACKAGES / missing[0]} is missing: run npm --prefix {HERE} ci")
    (site / "vendor").mkdir(parents=True)
    for name in OWN:
        shutil.copyfile(HERE / name, site / name)
    for name in FROM_SERVER:
        shutil.copyfile(SHARED / name, site / name)
    for name in VENDOR:
        shutil.copyfile(PACKAGES / name, site / "vendor" / Path(name).name)
    # The browser's own tables cannot be read; these are the ones that Python decodes references with.
    (site / "entities.json").write_text(json.dumps(html.entities.html5), encoding="utf-8")
    # The fingerprints of training texts are for toxonnx eval only.
    shutil.copytree(model, site / "model", ignore=shutil.ignore_patterns("*.npy"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("site", type=Path)
    options = parser.parse_args(arguments)
    build(options.model, options.site)
    size = sum(path.stat().st_size for path in options.site.rglob("*") if path.is_file())
    print(f"wrote {options.site}: {size / 1e6:.0f} MB of static files")


if __name__ == "__main__":
    main()

"""Folders: of recipes, bundles and suites that ship with toxonnx, next to the package in a checkout and inside it in a
wheel; and of what toxonnx keeps for later runs."""

from __future__ import annotations

import os
from pathlib import Path

from toxonnx.errors import BundleError, InputError, RecipeError

__all__ = ["DEFAULT_BUNDLE", "cache_folder", "find_bundle", "find_recipe", "find_suite"]

DEFAULT_BUNDLE = "minilm-toxicity-int8"


def _root() -> Path:
    package = Path(__file__).parent
    inside = package / "_export"
    return inside if inside.is_dir() else package.parent / "export"


def cache_folder(name: str) -> Path:
    """A folder in the user's cache, which may not exist yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "toxonnx" / name


def find_recipe(name_or_path: str | Path) -> Path:
    """The TOML file of a recipe, given by path or by the name of one that ships with toxonnx."""
    return _toml("recipe", name_or_path, RecipeError)


def find_suite(name_or_path: str | Path) -> Path:
    """The TOML file of a functional suite, given by path or by the name of one that ships with toxonnx."""
    return _toml("suite", name_or_path, InputError)


def _toml(kind: str, name_or_path: str | Path, error: type[InputError]) -> Path:
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = sorted((_root() / f"{kind}s").glob("*.toml"))
    for candidate in shipped:
        if candidate.stem == str(name_or_path):
            return candidate
    names = ", ".join(p.stem for p in shipped)
    raise error(f"there is no {kind} {str(name_or_path)!r}", f"Give a TOML file, or one of: {names}.")


def find_bundle(name_or_path: str | Path | None) -> Path:
    """The folder of a bundle, given by path or by the name of one that ships with toxonnx; the default one for None."""
    if not isinstance(name_or_path, str | Path | None):
        raise InputError(f"expected the folder or name of a bundle, got {type(name_or_path).__name__}")
    if name_or_path == "":
        raise BundleError("the name of the bundle is empty", "Is a variable of the shell not set?")
    path = Path(DEFAULT_BUNDLE if name_or_path is None else name_or_path)
    if name_or_path is not None and path.is_dir():
        return path
    shipped = sorted(p.parent for p in (_root() / "bundles").glob("*/toxonnx.json"))
    for candidate in shipped:
        if candidate.name == str(path):
            return candidate
    names = ", ".join(p.name for p in shipped)
    raise BundleError(f"there is no bundle {str(path)!r}", f"Give a folder, or one of: {names}.")

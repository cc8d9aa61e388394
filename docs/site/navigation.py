"""The order of the pages, by the kind of help that they give (https://diataxis.fr)."""

from __future__ import annotations

HOME = "docs/index"

#: caption in the sidebar -> pages, as paths from the root of the repository without their suffix
SECTIONS = {
    "Tutorial": ["docs/tutorial"],
    "How to": [
        "docs/checking-data",
        "docs/training",
        "docs/exporting",
        "docs/evaluation",
        "docs/cascade",
        "docs/serving",
        "docs/deployment",
        "docs/gpu",
        "docs/browser-and-node",
        "docs/many-machines",
        "docs/data-frames",
    ],
    "Reference": [
        "docs/reference/command-line",
        "docs/reference/recipe",
        "docs/reference/findings",
        "docs/file-formats",
        "docs/bundle",
        "docs/reference/manifest",
        "docs/python-api",
        "docs/reference/python",
        "docs/reference/http",
        "docs/exit-codes",
    ],
    "Explanation": ["docs/int8", "docs/splits", "docs/decisions", "docs/speed"],
    "Migration": ["docs/from-perspective", "docs/from-openai-moderation", "docs/from-pipelines"],
    "Comparison": ["docs/comparison", "docs/benchmarks", "benchmarks/README"],
    "Project": ["export/bundles/*/README", "CHANGELOG", "CONTRIBUTING", "SECURITY"],
}


def pages() -> list[str]:
    """Patterns of the files that the site consists of. A page of docs/ that no section lists is an error."""
    return ["docs/*.md", "docs/reference/*.md", *(f"{page}.md" for pages in SECTIONS.values() for page in pages)]


def toctrees() -> str:
    """The navigation, in MyST."""
    trees = []
    for caption, pages in SECTIONS.items():
        lines = [":hidden:", ":glob:", ":titlesonly:", f":caption: {caption}", "", *(f"/{page}" for page in pages)]
        trees.append("\n\n```{toctree}\n" + "\n".join(lines) + "\n```\n")
    return "".join(trees)

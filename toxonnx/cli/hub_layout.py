"""``toxonnx hub-layout``"""

from __future__ import annotations

from pathlib import Path

import click


@click.command("hub-layout")
@click.argument("bundle", required=False)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option(
    "--metadata", "metadata", multiple=True, metavar="KEY=VALUE",
    help="Metadata of the card, such as license=apache-2.0, base_model=OWNER/NAME or datasets=A,B; repeatable.",
)  # fmt: skip
@click.option(
    "--add", "files", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="A file to add, such as LICENSE or NOTICE; repeatable.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the bundle in the output folder.")
def command(bundle: str | None, output: Path, metadata: tuple[str, ...], files: tuple[Path, ...], force: bool) -> None:
    """Copy BUNDLE to a folder for the Hugging Face Hub and transformers.js.

    BUNDLE is a folder or a name; the default is the one that ships with toxonnx. The folder is a bundle, too, and
    nothing is uploaded: do that with hf upload OWNER/NAME FOLDER.
    """
    from toxonnx.bundle import open_bundle
    from toxonnx.errors import InputError
    from toxonnx.hub import write_hub_layout
    from toxonnx.resources import find_bundle

    entries = {}
    for entry in metadata:
        key, sign, value = entry.partition("=")
        if not sign or not value.strip():
            raise InputError(f"--metadata must be KEY=VALUE, got {entry!r}")
        if key.strip() in entries:
            raise InputError(f"--metadata has two values for {key.strip()}", "Separate several by commas: KEY=A,B.")
        entries[key.strip()] = value.strip()
    written = write_hub_layout(open_bundle(find_bundle(bundle)), output, metadata=entries, files=files, force=force)
    # The manifest does not list itself: with it, there are as many other files as it lists.
    click.echo(f"wrote {output}: {written.manifest.model_file} and {len(written.manifest.files)} other files")
    if "license" not in entries:
        click.echo("note: the card has no licence; add one with --metadata license=apache-2.0, or another id", err=True)

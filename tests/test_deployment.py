"""The container files: valid by their schemas and linters, and what they name exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import yaml
from helpers import ROOT

from toxonnx.cli.serve import command
from toxonnx.serve.app import PROTOCOLS

BIN = Path(sys.executable).parent
PATHS = {endpoint.path for protocol in PROTOCOLS for endpoint in protocol.endpoints}


def _check_arguments(words: list[str]) -> None:
    assert words[0] == "serve"
    context = click.Context(command)
    command.parse_args(context, words[1:])
    assert context.params["host"] == "0.0.0.0", "a container is reached from outside"


def _run(*words: str) -> None:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile() -> None:
    _run(str(BIN / "hadolint"), "Dockerfile")
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    _check_arguments(json.loads(text.rpartition("\nCMD ")[2]))
    assert set(re.findall(r"127\.0\.0\.1:8000(/\w+)", text)) <= PATHS
    assert "\nUSER 10001\n" in text
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert all((ROOT / name).exists() for name in kept)


def test_compose() -> None:
    _run(str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "compose.yaml")
    services = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    scraped = yaml.safe_load((ROOT / "deploy" / "prometheus.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = [target for job in scraped for config in job["static_configs"] for target in config["targets"]]
    assert [target.partition(":")[0] in services for target in targets] == [True]
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in services.values())
    volumes = [volume.split(":") for service in services.values() for volume in service.get("volumes", [])]
    files = [(source, target) for source, target, *_ in volumes if source.startswith(".")]
    assert all((ROOT / source).is_file() for source, _ in files)
    provided = yaml.safe_load((ROOT / "deploy" / "grafana" / "dashboards.yaml").read_text(encoding="utf-8"))
    assert provided["providers"][0]["options"]["path"] in {str(Path(target).parent) for _, target in files}


def test_files_that_github_reads() -> None:
    forms = sorted(str(path) for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")
    for schema, files in (
        ("citation-file-format", ["CITATION.cff"]),
        ("github-workflows", [".github/workflows/ci.yml", ".github/workflows/publish.yml"]),
        ("github-issue-forms", forms),
        ("github-issue-config", [".github/ISSUE_TEMPLATE/config.yml"]),
    ):
        _run(
            str(BIN / "check-jsonschema"), "--default-filetype", "yaml", "--builtin-schema", f"vendor.{schema}", *files
        )


def test_tags_of_the_image_are_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    paths = (ROOT / "deploy" / "kubernetes.yaml", ROOT / "docs" / "deployment.md")
    tags = {tag for path in paths for tag in re.findall(r"toxonnx:(\d[\w.]*)", path.read_text(encoding="utf-8"))}
    assert tags == {version}


def test_kubernetes() -> None:
    _run(str(BIN / "kubernetes-validate"), "--strict", "deploy/kubernetes.yaml")
    documents = yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8"))
    pod: dict[str, Any] = next(one for one in documents if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    _check_arguments(container["args"])
    probed = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert probed <= PATHS and probed == {"/livez", "/readyz"}
    timeout = float(container["args"][container["args"].index("--timeout") + 1])
    assert pod["terminationGracePeriodSeconds"] > timeout

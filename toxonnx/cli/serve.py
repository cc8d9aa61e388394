"""``toxonnx serve``"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toxonnx.cli.options import (
    FiniteRange,
    device_options,
    long_texts_options,
    max_batch_tokens_option,
    no_cascade_option,
    threads_option,
    thresholds_option,
)

if TYPE_CHECKING:
    from toxonnx.serve.address import Address
    from toxonnx.serve.service import Service

log = logging.getLogger("toxonnx.serve")

#: where API keys may be, if not in a file: one, or several separated by white space
KEYS_VARIABLE = "TOXONNX_API_KEY"


@click.command("serve")
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all of them.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any free port.")
@click.option(
    "--api-key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Require one of the API keys in this file, one per line. The variable {KEYS_VARIABLE} can hold one, too.",
)  # fmt: skip
@device_options
@threads_option
@max_batch_tokens_option
@click.option(
    "--max-wait-ms", type=FiniteRange(min=0), default=0.0, show_default=True, metavar="MS",
    help="Time for which a batch with free space waits for texts that are being tokenized.",
)  # fmt: skip
@click.option(
    "--max-concurrent-requests", type=click.IntRange(min=1), default=512, show_default=True,
    help="Requests in progress; further ones get status 429.",
)  # fmt: skip
@click.option(
    "--max-client-batch-size", type=click.IntRange(min=1), default=1024, show_default=True,
    help="Texts in one request.",
)  # fmt: skip
@click.option(
    "--payload-limit", type=click.IntRange(min=1), default=2_000_000, show_default=True, metavar="BYTES",
    help="Size of the body of a request.",
)  # fmt: skip
@click.option(
    "--timeout", type=FiniteRange(min=0, min_open=True), default=30.0, show_default=True, metavar="SECONDS",
    help="A request that takes longer gets status 504.",
)  # fmt: skip
@click.option(
    "--cached-texts", type=click.IntRange(min=0), default=1 << 15, show_default=True,
    help="Distinct texts whose scores are kept in memory.",
)  # fmt: skip
@click.option(
    "--review-below", type=FiniteRange(0, 1), default=0.0, metavar="P",
    help="Mark texts for review whose label has a probability below P; with several labels per text, those in which "
    "one has a probability between 1 - P and P.",
)  # fmt: skip
@thresholds_option
@long_texts_options
@no_cascade_option
@click.option(
    "--allow-origin", "allowed_origins", multiple=True, metavar="ORIGIN",
    help="Answer scripts of pages from there, such as https://example.org (CORS); repeatable, * for all.",
)  # fmt: skip
@click.option(
    "--fill-categories", is_flag=True,
    help="OpenAI: also send the categories that no label is mapped to, with 0, for clients that insist on all of them.",
)  # fmt: skip
@click.option(
    "--suggestions", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Perspective: append what moderators decided (comments:suggestscore) to FILE, JSON lines to train on.",
)  # fmt: skip
@click.option(
    "--tls-cert", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Certificate chain, PEM."
)
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Its private key, PEM.")
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="Format of the log on standard error: one line per request, without texts.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True,
    help="Processes, each with its own copy of the models and its share of the cores.",
)  # fmt: skip
def command(
    bundles: tuple[str, ...],
    host: str,
    port: int,
    api_key_file: Path | None,
    device: str,
    allow_fallback: bool,
    threads: int | None,
    max_batch_tokens: int | None,
    max_wait_ms: float,
    max_concurrent_requests: int,
    max_client_batch_size: int,
    payload_limit: int,
    timeout: float,
    cached_texts: int,
    review_below: float,
    thresholds: dict[str, float],
    long_texts: str | None,
    max_windows: int | None,
    no_cascade: bool,
    allowed_origins: tuple[str, ...],
    fill_categories: bool,
    suggestions: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    log_format: str,
    workers: int,
) -> None:
    """Serve BUNDLEs, folders or names, over HTTP.

    The default is the bundle that ships with toxonnx. Endpoints: toxonnx's own, Perspective, OpenAI moderation,
    text-embeddings-inference, KServe v2 and Hugging Face. In a browser, / is a page that scores texts and files, and
    /docs describes the endpoints.

    SIGTERM and Ctrl-C end the server after all accepted requests are answered. SIGHUP loads the bundles again.
    """
    from toxonnx.extras import require

    require("serve")
    from toxonnx.inference.options import RuntimeOptions
    from toxonnx.serve import logs
    from toxonnx.serve.address import Address, bind
    from toxonnx.serve.options import ServeOptions
    from toxonnx.serve.workers import run_workers
    from toxonnx.system import available_cores

    options = ServeOptions(
        api_keys=_api_keys(api_key_file),
        max_concurrent_requests=max_concurrent_requests,
        max_client_batch_size=max_client_batch_size,
        payload_limit=payload_limit,
        timeout=timeout,
        max_wait=max_wait_ms / 1000,
        cached_texts=cached_texts,
        suggestions=suggestions,
        allowed_origins=allowed_origins,
        fill_categories=fill_categories,
    )
    if workers > 1 and threads is None and device == "cpu":
        threads = max(1, available_cores() // workers)
    runtime = RuntimeOptions(
        device=device, allow_fallback=allow_fallback, threads=threads, max_batch_tokens=max_batch_tokens,
        long_texts=long_texts, max_windows=max_windows, cascade=not no_cascade, thresholds=thresholds,
    )  # fmt: skip
    address = Address(host=host, port=port, tls_cert=tls_cert, tls_key=tls_key)
    address.check_tls()
    logs.configure(log_format)
    if not address.is_loopback and not options.api_keys:
        log.warning("everybody who reaches %s can use this server; see --api-key-file", host)
    with bind(address) as listener:

        def serve(announce: bool) -> None:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what is being loaded is new
            from toxonnx.serve.server import run_server
            from toxonnx.serve.service import Service

            service = Service(bundles, runtime, options, review_below=review_below)
            run_server(service, address, listener, lambda: _announce(service, address, listener) if announce else None)

        if workers == 1:
            serve(True)
        else:
            sys.exit(run_workers(workers, serve, listener.close))


def _announce(service: Service, address: Address, listener: socket.socket) -> None:
    """Says which protocols each bundle answers, and where."""
    from toxonnx.serve.app import PROTOCOLS

    for bundle in service.bundles:
        if fallback := bundle.classifier.settings.fallback:
            log.warning("%s runs on the CPU: %s", bundle.name, fallback.replace("\n", ". "))
        reasons = {protocol.name: protocol.why_unavailable(bundle.manifest) for protocol in PROTOCOLS}
        available = [name for name, reason in reasons.items() if not reason]
        log.info("%s (%s) answers %s", bundle.name, bundle.bundle.seal[:16], ", ".join(available))
        for name, reason in reasons.items():
            if reason:
                log.info("%s does not answer %s: %s", bundle.name, name, reason)
    scheme = "https" if address.tls_cert else "http"
    host = f"[{address.host}]" if ":" in address.host else address.host
    log.info("listening on %s://%s:%d", scheme, host, listener.getsockname()[1])


def _api_keys(file: Path | None) -> tuple[str, ...]:
    """The keys of the file and of the environment.

    Raises:
        InputError: a file or a variable was given that has none.
    """
    from toxonnx.errors import InputError

    keys: list[str] = []
    for where, text in (
        (KEYS_VARIABLE, os.environ.get(KEYS_VARIABLE)),
        (str(file), file.read_text(encoding="utf-8") if file else None),
    ):
        if text is None:
            continue
        if not text.split():
            raise InputError(f"{where} contains no API key", "Write one per line, or do not set it.")
        keys += text.split()
    return tuple(dict.fromkeys(keys))

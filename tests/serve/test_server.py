"""A real server in a process of its own: real clients, signals, TLS, and the scores of ``toxonnx predict``."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import googleapiclient.discovery
import googleapiclient.errors
import httpx2
import huggingface_hub
import openai
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from helpers import SHIPPED, child_processes, sentences
from serve_helpers import RunningServer, make_bundle, running

from toxonnx import Classifier
from toxonnx.cli import group

TEXT = "What a lovely morning!"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_scores_over_the_wire_are_those_of_predict(server: RunningServer, plain: Path) -> None:
    texts = [text for text, _ in sentences(120)]
    texts += ["", "word " * 300, "\ud83d today", " " * 200_000 + "awful", "a&amp;b http://x.y"]
    expected = [prediction for _, prediction in Classifier.load(plain).stream(texts)]
    with httpx2.Client(base_url=server.url) as client, ThreadPoolExecutor(8) as pool:

        def classify(part: list[str]) -> Any:
            body = json.dumps({"texts": part, "bundle": "plain"})  # httpx cannot send half a character
            answer = client.post("/v1/classify", content=body, headers={"content-type": "application/json"})
            return answer.json()["results"]

        parts = pool.map(classify, [texts[i : i + 3] for i in range(0, len(texts), 3)])
        results = list(itertools.chain.from_iterable(parts))
    for one, result in zip(expected, results, strict=True):
        assert list(one.labels) == result["labels"] and one.probabilities == result["probabilities"]
        assert (one.truncated, one.no_tokens, one.repaired) == tuple(
            result[name] for name in ("truncated", "no_tokens", "repaired")
        )


def test_coral_gets_its_answer_within_its_limit(server: RunningServer) -> None:
    body = {
        "comment": {"text": "Please be kind to each other."}, "doNotStore": True, "languages": ["en"],
        "requestedAttributes": {"TOXICITY": {}}, "clientToken": "comment:42",
    }  # fmt: skip
    url = f"{server.url}/v1alpha1/comments:analyze?key=any"
    answer = httpx2.post(url, json=body, timeout=0.8).json()
    assert 0 < answer["attributeScores"]["TOXICITY"]["summaryScore"]["value"] < 1


def test_google_api_client(server: RunningServer) -> None:
    client = googleapiclient.discovery.build(
        "commentanalyzer", "v1alpha1", developerKey="any key", static_discovery=False,
        discoveryServiceUrl=f"{server.url}/$discovery/rest?version=v1alpha1",
    )  # fmt: skip
    body = {"comment": {"text": TEXT}, "requestedAttributes": {"TOXICITY": {}, "INSULT": {}}}
    scores = client.comments().analyze(body=body).execute()["attributeScores"]
    own = httpx2.post(f"{server.url}/v1/classify", json={"text": TEXT}).json()["results"][0]["probabilities"]
    assert {name: one["summaryScore"]["value"] for name, one in scores.items()} == {
        "TOXICITY": own["toxic"], "INSULT": own["insult"],
    }  # fmt: skip
    body["requestedAttributes"] = {"SPAM": {}}
    with pytest.raises(googleapiclient.errors.HttpError, match="Unknown requested attribute: SPAM") as caught:
        client.comments().analyze(body=body).execute()
    assert caught.value.error_details[0]["errorType"] == "INVALID_REQUEST"


def test_the_discovery_document_trusts_the_named_proxies(
    server: RunningServer, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def root(url: str) -> str:
        forwarded = {"host": "moderation.example.org", "x-forwarded-proto": "https"}
        return str(httpx2.get(f"{url}/$discovery/rest", headers=forwarded).json()["rootUrl"])

    assert root(server.url) == "https://moderation.example.org/"
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "192.0.2.1")
    with running(plain) as other:
        assert root(other.url) == "http://moderation.example.org/"


def test_openai_client_with_strict_validation(server: RunningServer) -> None:
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key="any", _strict_response_validation=True, max_retries=0
    ) as client:
        answer = client.moderations.create(input=[TEXT, "word " * 300])
        assert answer._request_id
        first, second = answer.results
        assert first.categories.violence is False and first.category_scores.violence == 0
        assert first.category_applied_input_types.violence == [] and first.categories.illicit is None
        own = httpx2.post(f"{server.url}/v1/classify", json={"text": TEXT}).json()["results"][0]
        assert first.category_scores.hate == own["probabilities"]["toxic"]
        assert first.flagged == bool({"toxic", "insult"} & set(own["labels"]))
        assert second.model_extra == {"review": False, "truncated": True}
        with pytest.raises(openai.BadRequestError) as caught:
            client.moderations.create(input=[{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}])
        assert caught.value.param == "input" and caught.value.type == "invalid_request_error"
        with pytest.raises(openai.APIStatusError) as large:
            client.moderations.create(input=["x"] * 1025)
        assert large.value.status_code == 413


def test_hugging_face_client(server: RunningServer) -> None:
    client = huggingface_hub.InferenceClient(model=server.url, token="any")
    own = httpx2.post(f"{server.url}/v1/classify", json={"text": TEXT}).json()["results"][0]["probabilities"]
    expected = sorted(own.items(), key=lambda pair: -pair[1])
    assert [(one.label, one.score) for one in client.text_classification(TEXT)] == expected
    assert [(one.label, one.score) for one in client.text_classification(TEXT, top_k=1)] == expected[:1]


def test_work_of_a_client_that_went_away_ends(server: RunningServer) -> None:
    texts = [f"{text} {number}" for number, (text, _) in enumerate(sentences(1000, 5))]
    with httpx2.Client(base_url=server.url) as client:
        with pytest.raises(httpx2.TimeoutException):
            client.post("/v1/classify", json={"texts": texts}, timeout=httpx2.Timeout(5, read=0.1))
        server.wait_for("status=499")
        assert "toxonnx_requests_in_progress 0.0" in client.get("/metrics").text
        assert "toxonnx_queue_texts 0.0" in client.get("/metrics").text


def test_sigterm_answers_what_was_accepted(tone: Path) -> None:
    with running(tone) as server, ThreadPoolExecutor(8) as pool:
        client = httpx2.Client(base_url=server.url, timeout=60)

        def classify(number: int) -> tuple[int, int]:
            texts = [f"{text} {number}" for text, _ in sentences(60, number)]
            answer = client.post("/v1/classify", json={"texts": texts})
            return answer.status_code, len(answer.json()["results"])

        answers = [pool.submit(classify, number) for number in range(8)]
        while "toxonnx_requests_in_progress 8.0" not in client.get("/metrics").text:
            time.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        assert [answer.result() for answer in answers] == [(200, 60)] * 8
        assert server.process.wait(30) == 0
        with pytest.raises(httpx2.ConnectError):
            client.get("/livez")


def test_sighup_reloads_without_a_lost_request_and_refuses_a_bad_bundle(tmp_path: Path) -> None:
    first = make_bundle(tmp_path / "bundle")
    second = make_bundle(tmp_path / "second", thresholds=(0.3, 0.3, 0.3))
    with (
        running(first) as server,
        ThreadPoolExecutor(4) as pool,
        httpx2.Client(base_url=server.url, timeout=60) as client,
    ):
        loaded = threading.Event()

        def classify(number: int) -> set[str]:
            seals = set()
            while not loaded.is_set() or len(seals) < 2:
                answer = client.post("/v1/classify", json={"texts": [f"text {number} {time.monotonic()}"] * 3})
                assert answer.status_code == 200, answer.text
                seals.add(answer.headers["x-toxonnx-bundle"])
            return seals

        seals = [pool.submit(classify, number) for number in range(4)]
        (first / "model.onnx").write_bytes(b"damaged")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("bundle was not reloaded, the old one stays: .*model.onnx does not match")
        first.rename(tmp_path / "old")
        second.rename(first)
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("was loaded in place of")
        metrics = client.get("/metrics").text
        assert 'toxonnx_reloads_total{result="refused"} 1.0' in metrics
        assert client.get("/v1/bundles").json()["bundles"][0]["labels"][0]["threshold"] == 0.3
        loaded.set()
        assert [len(one.result()) for one in seals] == [2] * 4


def test_workers_share_a_socket_and_are_replaced(tone: Path) -> None:
    with running(tone, "--workers", 2) as server:
        first = child_processes(server.process.pid)
        assert len(first) == 2
        os.kill(min(first), signal.SIGKILL)
        server.wait_for("a worker was ended by signal 9 and is replaced")
        while len(child_processes(server.process.pid)) < 2:
            time.sleep(0.01)
        for number in range(30):  # a connection each
            assert httpx2.post(f"{server.url}/v1/classify", json={"text": f"day {number}"}).status_code == 200
        metrics = httpx2.get(f"{server.url}/metrics").text
        for line in (
            'toxonnx_texts_total{bundle="tone"} 30.0', 'te_predict_count{bundle="tone"} 30.0', "te_queue_size 0.0",
        ):  # fmt: skip
            assert f"\n{line}\n" in metrics
        workers = child_processes(server.process.pid)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
        assert len(workers) == 2 and not any(Path(f"/proc/{worker}").exists() for worker in workers)
    with running(tone, "--workers", 2) as server:
        workers = child_processes(server.process.pid)
        server.process.kill()
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(Path(f"/proc/{worker}").exists() for worker in workers)


def certificate(folder: Path) -> Iterator[Path]:
    """A certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for file, content in (("cert.pem", made.public_bytes(serialization.Encoding.PEM)), ("key.pem", secret)):
        (folder / file).write_bytes(content)
        yield folder / file


def test_tls_keys_from_a_file_and_logs_in_json(plain: Path, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    keys = tmp_path / "keys"
    keys.write_text("abc\ndef\n")
    options = ["--tls-cert", cert, "--tls-key", key, "--api-key-file", keys, "--log-format", "json"]
    with running(plain, *options, "--host", "127.0.0.1") as server:
        assert server.url.startswith("https://")
        assert "plain does not answer perspective: no label is mapped" in "\n".join(server.lines)
        with httpx2.Client(base_url=server.url, verify=ssl.create_default_context(cafile=str(cert))) as client:
            assert client.post("/v1/classify", json={"text": TEXT}).status_code == 401
            answer = client.post("/v1/classify", json={"text": TEXT}, headers={"authorization": "Bearer def"})
            assert answer.status_code == 200
        line = json.loads(server.wait_for('"status": 200'))
        assert line["id"] == answer.headers["x-request-id"] and line["texts"] == 1 and TEXT not in str(line)
        assert all(json.loads(line)["level"] for line in server.lines)  # those of the start, too


def test_wrong_options_are_one_line(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for arguments, message in (
        (["--api-key-file", str(empty)], f"{empty} contains no API key"),
        (["--tls-cert", str(empty)], "--tls-cert and --tls-key belong together"),
        (["--tls-cert", str(empty), "--tls-key", str(empty)], "not a certificate with its key"),
        (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1, port 8000"),
        (["--port", "0", str(SHIPPED), str(SHIPPED)], f"two bundles have the name {SHIPPED.name}"),
    ):
        done = CliRunner().invoke(group, ["serve", *arguments])
        assert message in str(done.exception), done.output

"""What is the same for all protocols: keys, limits, strict JSON, errors without texts, headers, metrics, logs."""

from __future__ import annotations

import gzip
import json
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from serve_helpers import serving
from starlette.testclient import TestClient

from toxonnx import Classifier, InputError
from toxonnx.inference.scores import COLUMNS
from toxonnx.serve.options import ServeOptions
from toxonnx.serve.pages import FOLDER
from toxonnx.texts import USUAL_TEXT_COLUMNS

POSTS = [
    "/v1/classify", "/v1alpha1/comments:analyze", "/v1alpha1/comments:suggestscore", "/v1/moderations", "/predict", "/",
    "/v2/models/tone/infer",
]  # fmt: skip
SECRET = "a secret sentence"


def test_bodies_that_are_not_strict_json_are_refused(client: TestClient) -> None:
    bodies = {
        b"": "not JSON", b"{": "not JSON", b'{"a": 1, "a": 2}': "repeated key", b'{"texts": [NaN]}': "NaN",
        b'{"texts": [1e999]}': "too large", b'{"texts": ["\xff"]}': "not UTF-8", b"[" * 40 + b"]" * 40: "nested",
        b"[" * 90_000: "nested", b'{"texts": ' + b"9" * 5000 + b"}": "too many digits",
        b'"' + rb"\"" * 90_000: "not JSON", b'"[[[[\\"' + b"[" * 90_000 + b'"': "object",
    }  # fmt: skip
    for path in POSTS:
        for body, message in bodies.items():
            answer = client.post(path, content=body, headers={"content-type": "application/json"})
            assert 400 <= answer.status_code < 500 and message in answer.text, (path, body[:20], answer.text)


_KEYS = [
    SECRET,
    *[
        "texts",
        "text",
        "type",
        "inputs",
        "input",
        "comment",
        "requestedAttributes",
        "attributeScores",
        "TOXICITY",
        "summaryScore",
        "value",
        "top_k",
    ],
    *[
        "shape",
        "datatype",
        "data",
        "bundle",
        "model",
        "parameters",
        "truncate",
        "spanAnnotations",
        "languages",
        "outputs",
        "name",
    ],
]
_values = st.recursive(
    st.none() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from([True, "", SECRET, "TOXICITY", "BYTES"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=12,
)


def test_no_body_is_an_internal_error_and_no_text_is_in_an_error(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("toxonnx.serve").propagate = True

    @settings(max_examples=60, deadline=None)
    @given(_values)
    def check(body: Any) -> None:
        for path in POSTS:
            answer = client.post(path, json=body)
            assert answer.status_code < 500, (path, body, answer.text)
            answer.json()
            if answer.status_code >= 400:
                assert SECRET not in answer.text, (path, answer.text)

    with caplog.at_level(logging.INFO):
        check()
    assert "request" in caplog.text and SECRET not in caplog.text
    assert not [record for record in caplog.records if SECRET in str(vars(record))]


def test_limits(client: TestClient) -> None:
    big = {"texts": ["x" * 300_000]}
    chunked = iter([json.dumps(big).encode()])
    for answer in (
        client.post("/v1/classify", json=big),
        client.post("/v1/classify", content=chunked, headers={"content-type": "application/json"}),
    ):
        assert answer.status_code == 413 and "200,000 bytes" in answer.json()["error"]["message"]
    many = client.post("/v1/classify", json={"texts": [""] * 1025})
    assert many.status_code == 413 and "batch size 1025 > maximum allowed batch size 1024" in many.text
    assert client.post("/v1/classify", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415


def test_wrong_paths_and_methods_have_the_form_of_their_protocol(client: TestClient) -> None:
    for path, status, error in (
        ("/v1/classify", 405, {"message": "this path does not take the method", "type": "method"}),
        ("/nothing", 404, {"message": "this path does not exist", "type": "not_found"}),
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]) == (status, error | {"param": None, "code": None})
    method = client.get("/v1alpha1/comments:analyze")
    assert method.status_code == method.json()["error"]["code"] == 405 and method.headers["allow"] == "POST"
    assert client.post("/v1alpha1/comments:foo", json={}).json()["error"]["status"] == "NOT_FOUND"
    assert client.get("/v2/nothing").json() == {"error": "this path does not exist"}
    assert client.get("/predict").json()["error_type"] == "Validation"


def test_pages_of_other_origins_are_answered_where_they_are_allowed(client: TestClient, plain: Path) -> None:
    site, other = {"origin": "https://forum.example"}, {"origin": "https://other.example"}
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "x-api-key"}
    assert "access-control-allow-origin" not in client.get("/livez", headers=site).headers
    assert client.options("/v1/classify", headers=site | preflight).status_code == 405
    with serving(plain, allowed_origins=("https://forum.example",)) as allowing:
        answer = allowing.options("/v1/classify", headers=site | preflight)
        assert answer.status_code == 200 and answer.headers["access-control-allow-headers"] == "x-api-key"
        answer = allowing.post("/v1/classify", json={"text": "a fine day"}, headers=site)
        assert answer.headers["access-control-allow-origin"] == "https://forum.example"
        assert "x-toxonnx-bundle" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-origin" not in allowing.get("/livez", headers=other).headers
    for wrong in ("forum.example", "https://forum.example/page"):
        with pytest.raises(InputError, match="is not an origin"):
            ServeOptions(allowed_origins=(wrong,))


def test_bodies_may_be_compressed_by_gzip_only(client: TestClient) -> None:
    def post(body: bytes, encoding: str = "gzip") -> tuple[int, str]:
        headers = {"content-type": "application/json", "content-encoding": encoding}
        answer = client.post("/v1/classify", content=body, headers=headers)
        return answer.status_code, answer.text

    packed = gzip.compress(b'{"text": "So kind!"}')
    status, text = post(packed)
    assert status == 200 and json.loads(text) == client.post("/v1/classify", json={"text": "So kind!"}).json()
    assert post(gzip.compress(b'{"text": "' + b"x" * 300_000 + b'"}'))[0] == 413  # of 300 bytes
    for damaged, message in ((b"{}", "not valid gzip"), (packed[:-1], "cut off"), (packed + packed, "further bytes")):
        status, text = post(damaged)
        assert status == 400 and message in text
    assert post(packed, "br")[0] == post(packed, "gzip, gzip")[0] == 415


def test_only_programs_may_leave_out_the_content_type(client: TestClient) -> None:
    def post(**headers: str) -> int:
        return client.post("/v1/classify", content=b'{"text": "So kind!"}', headers=headers).status_code

    assert post() == 200
    assert post(origin="null") == post(**{"sec-fetch-site": "cross-site"}) == post(**{"content-type": ""}) == 415


def test_api_keys_are_needed_everywhere_but_for_health_and_metrics(tone: Path) -> None:
    with serving(tone, api_keys=("first", "second")) as client:
        for path in POSTS:
            wrong = client.post(path, json={"texts": [SECRET]}, headers={"authorization": "Bearer third"})
            assert wrong.status_code == 401 and wrong.headers["www-authenticate"] == "Bearer"
            assert "third" not in wrong.text
        assert client.post("/predict", json={"inputs": "x"}).content == b""
        assert client.get("/info").status_code == client.get("/v1/bundles").status_code == 401
        for path in ("/livez", "/readyz", "/health", "/ping", "/v2/health/live", "/v2/health/ready", "/metrics",
                     "/openapi.json", "/$discovery/rest"):  # fmt: skip
            assert client.get(path).status_code == 200, path
        for where in ({"headers": {"authorization": "bearer second"}}, {"headers": {"x-api-key": "first"}},
                      {"headers": {"x-goog-api-key": "second"}}, {"params": {"key": "first"}}):  # fmt: skip
            assert client.post("/v1/classify", json={"text": "fine"}, **where).status_code == 200, where  # type: ignore[arg-type]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds up all models until it is set."""
    event = threading.Event()
    from toxonnx.inference.engine import Engine

    run = Engine.run
    monkeypatch.setattr(Engine, "run", lambda *arguments: event.wait(30) and run(*arguments))
    yield event
    event.set()


def test_too_many_requests_and_deadlines(tone: Path, gate: threading.Event) -> None:
    with serving(tone, max_concurrent_requests=2) as client, ThreadPoolExecutor(2) as pool:
        slow = [pool.submit(client.post, "/v1/classify", json={"text": text}) for text in ("one", "two")]
        while "toxonnx_requests_in_progress 2.0" not in client.get("/metrics").text:
            pass
        for path in POSTS:
            refused = client.post(path, json={})
            assert refused.status_code == 429 and refused.headers["retry-after"] == "1"
        assert client.get("/livez").status_code == 200
        gate.set()
        assert [one.result().status_code for one in slow] == [200, 200]
    gate.clear()
    with serving(tone, timeout=1.0) as client:
        assert client.post("/v1/classify", json={"text": "three"}).status_code == 504
        gate.set()
        assert client.post("/v1/classify", json={"text": "four"}).status_code == 200


def test_many_small_requests_in_chunks_are_accepted(tone: Path, gate: threading.Event) -> None:
    with serving(tone) as client, ThreadPoolExecutor(40) as pool:

        def post(number: int) -> int:
            body = iter([json.dumps({"text": f"text {number}"}).encode()])
            return client.post("/v1/classify", content=body, headers={"content-type": "application/json"}).status_code

        answers = [pool.submit(post, number) for number in range(40)]
        while "toxonnx_requests_in_progress 40.0" not in client.get("/metrics").text:
            assert not any(answer.done() for answer in answers)
        gate.set()
        assert {answer.result() for answer in answers} == {200}


def test_request_ids_headers_metrics_and_logs(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("toxonnx.serve").propagate = True
    with caplog.at_level(logging.INFO, "toxonnx.serve"):
        answer = client.post(
            "/v1/classify?key=hidden", json={"texts": [SECRET, "word " * 300]}, headers={"x-request-id": "abc-1"}
        )
        other = client.get("/nothing", headers={"x-request-id": "bad id"})
    assert answer.headers["x-request-id"] == "abc-1" and re.fullmatch("[0-9a-f]{32}", other.headers["x-request-id"])
    for one in (answer, other):
        assert (
            one.headers["x-content-type-options"] == "nosniff"
            and "default-src 'none'" in one.headers["content-security-policy"]
        )
    assert answer.headers["x-toxonnx-truncated"] == "1"
    assert answer.headers["x-toxonnx-bundle"] == answer.json()["bundle"]["sha256"]
    first, second = (record.fields for record in caplog.records if record.message == "request")  # type: ignore[attr-defined]
    assert (first["id"], first["status"], first["texts"], first["path"]) == ("abc-1", 200, 2, "/v1/classify")
    assert second["status"] == 404 and "hidden" not in str(first)
    assert client.post("/predict", json={"inputs": [["A fine day"], ["So kind"]]}).status_code == 200
    assert client.post("/predict", json={}).status_code == 422
    assert client.get("/livez").status_code == 200
    metrics = client.get("/metrics").text
    for line in (
        'toxonnx_truncated_texts_total{bundle="tone"}', 'toxonnx_decisions_total{bundle="tone",label="toxic"}',
        'toxonnx_cached_texts_total{bundle="tone"}', 'toxonnx_review_texts_total{bundle="tone"}',
        'toxonnx_requests_total{protocol="classify",status="200"}', "toxonnx_batch_tokens_bucket",
        'toxonnx_requests_total{protocol="public",status="200"}', 'toxonnx_reloads_total{result="refused"} 0.0',
        'te_request_count{method="batch"}', 'te_request_success{method="batch"}', "te_request_duration_bucket",
        'te_request_failure{err="', "te_queue_size 0.0", "te_batch_next_tokens_sum", "te_predict_count",
        'toxonnx_validation_label_share{bundle="plain",label="rain"} 0.5',
        'toxonnx_validation_label_share{bundle="tone",label="toxic"} 0.25',
        'toxonnx_validation_mean_tokens{bundle="tone"} 9.5',
    ):  # fmt: skip
        assert f"\n{line}" in metrics, line


def test_requests_for_scores_are_counted_once_and_pages_are_not_in_the_names_of_tei(plain: Path) -> None:
    with serving(plain, max_client_batch_size=2) as client:
        for inputs in ([["a"]], [["a"], ["b"]], [["a"], ["b"], ["c"]], "x"):
            client.post("/predict", json={"inputs": inputs})
        client.post("/predict", content=b"{", headers={"content-type": "application/json"})
        client.post("/v1alpha1/comments:suggestscore", json={})
        client.get("/livez")
        client.get("/nothing")
        families = list(text_string_to_metric_families(client.get("/metrics").text))
    samples = [sample for family in families for sample in family.samples if sample.name.startswith("te_request_")]
    counts = {(one.name, *one.labels.values()): one.value for one in samples if len(one.labels) == 1}
    assert {key[1:]: value for key, value in counts.items() if key[0] == "te_request_count"} == {
        ("single",): 2, ("batch",): 2, ("unknown",): 1,
    }  # fmt: skip
    assert {key[1:]: value for key, value in counts.items() if key[0] == "te_request_success"} == {
        ("single",): 2, ("batch",): 1,
    }  # fmt: skip
    assert {key[1:]: value for key, value in counts.items() if key[0] == "te_request_failure"} == {
        ("too_many_texts",): 1, ("malformed",): 1,
    }  # fmt: skip
    durations = {one.labels["protocol"] for one in samples if one.name == "te_request_duration_count"}
    assert durations == {"tei", "perspective"}


def test_the_dashboard_and_the_alerts_use_existing_metrics(client: TestClient) -> None:
    assert client.post("/v1/classify", json={"texts": ["A fine day"]}).status_code == 200
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        labels |= {f"{family.name}{suffix}": set() for suffix in ("", "_total")}  # one that has counted nothing yet
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "toxonnx.json").read_text(encoding="utf-8"))
    rules = yaml.safe_load((ROOT / "deploy" / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    used = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    used += [rule["expr"] for rule in rules]
    for expression in used:
        names = set(re.findall(r"\btoxonnx_\w+", expression))
        assert names <= set(labels), expression
        known = set().union({"job"}, *(labels[name] for name in names))
        chosen = re.findall(r"\bby \(([\w, ]+)\)", expression) + re.findall(r"(\w+)[=!]=?~?\"", expression)
        assert set(re.findall(r"\w+", " ".join(chosen))) <= known, expression


def test_a_comment_without_span_annotations_is_scored_once(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("toxonnx.serve").propagate = True
    body = {"comment": {"text": "So kind! This soup is awful."}, "requestedAttributes": {"TOXICITY": {}}}
    with caplog.at_level(logging.INFO, "toxonnx.serve"):
        for annotations in (False, True):
            answer = client.post("/v1alpha1/comments:analyze", json={**body, "spanAnnotations": annotations}).json()
            assert len(answer["attributeScores"]["TOXICITY"]["spanScores"]) == 1 + annotations
    requests = [record.fields for record in caplog.records if record.message == "request"]  # type: ignore[attr-defined]
    assert [one["texts"] for one in requests] == [1, 3]


def test_the_texts_are_compared_with_those_of_the_verification(
    tone: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toxonnx.serve.drift.TEXTS_PER_LINE", 4)
    logging.getLogger("toxonnx.serve").propagate = True
    texts = ["What a lovely morning!", "So kind!", "This soup is awful."]
    with caplog.at_level(logging.INFO, "toxonnx.serve"), serving(tone) as client:
        for _ in range(2):
            client.post("/v1/classify", json={"texts": texts})
    scores = Classifier.load(tone).score(texts)
    tokens = Classifier.load(tone).preprocess(texts).tokens([0, 1, 2])
    (line,) = (record.fields for record in caplog.records if record.message == "drift")  # type: ignore[attr-defined]
    assert line == {
        "bundle": "tone", "texts": 6, "mean_tokens": round(float(tokens.lengths.mean()), 1),
        "shares": dict(zip(("toxic", "insult", "calm"), scores.decisions.mean(axis=0).round(4).tolist(), strict=True)),
        "validation_shares": {"toxic": 0.25, "insult": 0.5, "calm": 0.75}, "validation_mean_tokens": 9.5,
    }  # fmt: skip


def test_openapi_lists_all_paths(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert set(POSTS[:6]) < set(document["paths"])
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(set(names)) == len(names)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_whose_model_stopped_is_alive_but_not_ready(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise SystemExit

    with serving(plain) as client:
        assert client.get("/readyz").status_code == 200
        monkeypatch.setattr("toxonnx.inference.engine.Engine.run", stop)
        client.post("/v1/classify", json={"text": "fine"})
        for path in ("/readyz", "/health", "/v2/health/ready", "/v2/models/plain/ready"):
            assert client.get(path).status_code == 503, path
        refused = client.post("/v1/classify", json={"text": "fine"})
        assert refused.status_code == 503 and refused.headers["retry-after"]
        assert client.get("/livez").status_code == client.get("/v2/health/live").status_code == 200


@pytest.mark.parametrize(("name", "values"), [("USUAL_TEXT_COLUMNS", USUAL_TEXT_COLUMNS), ("RESERVED", COLUMNS)])
def test_the_page_has_the_names_of_the_command_line(name: str, values: tuple[str, ...]) -> None:
    script = (FOLDER / "tables.js").read_text(encoding="utf-8")
    found = re.search(rf"const {name} = (\[.*?\]);", script, re.DOTALL)
    assert found is not None and tuple(re.findall(r'"(\w+)"', found[1])) == values

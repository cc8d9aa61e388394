"""Each protocol's requests, responses and errors, as its own documentation has them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serve_helpers import serving
from starlette.testclient import TestClient

from toxonnx import Classifier, Scores
from toxonnx.inference.options import RuntimeOptions
from toxonnx.serve.sentences import sentence_spans

TEXT, OTHER = "What a lovely morning!", "This soup is awful."
LONG = "word " * 300


@pytest.fixture(scope="module")
def scores(tone: Path) -> Scores:
    """Of TEXT, OTHER and LONG."""
    return Classifier.load(tone, threads=1).score([TEXT, OTHER, LONG])


def ranked(scores: Scores, row: int, *, raw: bool = False) -> list[dict[str, Any]]:
    values = (scores.logits if raw else scores.probabilities)[row].tolist()
    pairs = sorted(zip(scores.labels.names, values, strict=True), key=lambda pair: -pair[1])
    return [{"label": label, "score": value} for label, value in pairs]


def test_classify(client: TestClient, scores: Scores) -> None:
    body = {"texts": [TEXT, None, OTHER, LONG]}
    answer = client.post("/v1/classify", json=body).json()
    assert answer["bundle"]["name"] == "tone" and len(answer["bundle"]["sha256"]) == 64
    first, bad, second, third = answer["results"]
    assert bad == {"error": "the text must be a string, got null"}
    for i, result in enumerate((first, second, third)):
        assert result["labels"] == list(scores.label_names[i])
        assert list(result["probabilities"].values()) == scores.probabilities[i].tolist()
        assert result["truncated"] == (i == 2)
    chosen = client.post("/v1/classify", json={"text": TEXT, "bundle": "plain"}).json()
    assert chosen["results"][0]["labels"][0] in ("sun", "rain", "wind")
    unknown = client.post("/v1/classify", json={"text": TEXT, "bundle": "other"})
    assert unknown.status_code == 404 and "tone, plain" in unknown.text
    assert client.post("/v1/classify", json={"text": TEXT, "texts": []}).status_code == 400


def analyze(client: TestClient, **body: Any) -> Any:
    answer = client.post("/v1alpha1/comments:analyze", params={"key": "any"}, json=body)
    assert answer.status_code == (200 if "attributeScores" in answer.json() else 400), answer.text
    return answer.json()


def test_perspective_scores_what_is_mapped(client: TestClient, scores: Scores) -> None:
    # As Coral sends it.
    body = {
        "comment": {"text": TEXT}, "clientToken": "comment:42", "doNotStore": True, "languages": ["en"],
        "requestedAttributes": {"TOXICITY": {}},
    }  # fmt: skip
    toxic = {"value": scores.probabilities[0, 0], "type": "PROBABILITY"}
    expected = {"spanScores": [{"begin": 0, "end": len(TEXT), "score": toxic}], "summaryScore": toxic}
    answer = analyze(client, **body)
    assert answer == {"attributeScores": {"TOXICITY": expected}, "languages": ["en"], "clientToken": "comment:42"}
    del body["languages"]
    assert analyze(client, **body)["languages"] == ["en"]
    both = {"TOXICITY": {"scoreThreshold": 0.9999}, "INSULT": {"scoreType": "PROBABILITY"}}
    assert list(analyze(client, comment={"text": TEXT}, requestedAttributes=both)["attributeScores"]) == ["INSULT"]


def test_perspective_spans_are_sentences_in_utf16(client: TestClient) -> None:
    text = "  So nice \U0001f600!  Bye... \n\nWhat? 3.5 km "
    body = {"comment": {"text": text}, "requestedAttributes": {"INSULT": {}}, "spanAnnotations": True}
    spans = analyze(client, **body)["attributeScores"]["INSULT"]["spanScores"]
    units = text.encode("utf-16-le")
    parts = [units[2 * span["begin"] : 2 * span["end"]].decode("utf-16-le") for span in spans]
    assert parts == ["So nice \U0001f600!", "Bye...", "What?", "3.5 km"]
    alone = client.post("/v1/classify", json={"texts": parts}).json()["results"]
    assert [span["score"]["value"] for span in spans] == [one["probabilities"]["insult"] for one in alone]
    many = {**body, "comment": {"text": "".join(f"So {number}. " for number in range(1500))}}  # one text of a request
    assert len(analyze(client, **many)["attributeScores"]["INSULT"]["spanScores"]) == 1500


@given(st.text("ab.!? \n\u3002\U0001f600", max_size=30))
def test_sentences_are_in_order_and_leave_out_white_space_only(text: str) -> None:
    spans = sentence_spans(text)
    ends = [0, *(place for span in spans for place in span), len(text)]
    assert ends == sorted(ends)
    assert all(text[span.begin : span.end] == text[span.begin : span.end].strip() != "" for span in spans)
    between = "".join(text[start:end] for start, end in zip(ends[::2], ends[1::2], strict=True))
    assert not between.strip()


def test_perspective_errors(client: TestClient) -> None:
    toxicity: Any = {"TOXICITY": {}}
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"comment": {"text": " "}, "requestedAttributes": toxicity}, "COMMENT_EMPTY", "must be non-empty"),
        ({"requestedAttributes": toxicity}, "COMMENT_EMPTY", "must be non-empty"),
        ({"comment": {"text": TEXT}}, "NO_REQUESTED_ATTRIBUTES", "Missing requested_attributes"),
        ({"comment": {"text": "\u00e4" * 10_241}, "requestedAttributes": toxicity}, "COMMENT_TOO_LONG", "too long"),
        (
            {"comment": {"text": TEXT}, "requestedAttributes": {"THREAT": {}}},
            "INVALID_REQUEST", "Unknown requested attribute: THREAT; the attributes here are INSULT, TOXICITY",
        ),
        (
            {"comment": {"text": TEXT}, "requestedAttributes": {"THREAT": {}, "TOXICITY": {}, "a b": {}}},
            "INVALID_REQUEST", "Unknown requested attributes: THREAT, (not a name); the attributes here are",
        ),
        (
            {"comment": {"text": TEXT}, "requestedAttributes": {"TOXICITY": {"scoreType": "RAW"}}},
            "INVALID_REQUEST", "score type is not supported by attribute TOXICITY",
        ),
        (
            {"comment": {"text": TEXT, "type": "HTML"}, "requestedAttributes": toxicity},
            "INVALID_REQUEST", "Currently, only 'PLAIN_TEXT' comments are supported",
        ),
        (
            {"comment": {"text": TEXT}, "requestedAttributes": toxicity, "languages": ["om", "zh-Hant"]},
            "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE", "Attribute TOXICITY does not support request languages: om, zh-Hant",
        ),
        (
            {"comment": {"text": TEXT}, "requestedAttributes": {"TOXICITY": {"scoreThreshold": 10**400}}},
            "INVALID_REQUEST", "scoreThreshold is too large",
        ),
        (
            {"comment": {"text": TEXT}, "requestedAttributes": toxicity, "languages": ["en", 3]},
            "INVALID_REQUEST", "languages[1] must be a string, got a number",
        ),
    ]  # fmt: skip
    for body, error_type, message in cases:
        error = analyze(client, **body)["error"]
        assert error["status"] == "INVALID_ARGUMENT" and message in error["message"], error
        assert error["details"][0]["errorType"] == error_type


def test_perspective_leaves_out_unsupported_attributes_on_request(client: TestClient) -> None:
    body = {"comment": {"text": TEXT}, "requestedAttributes": {"THREAT": {}, "TOXICITY": {}}}
    supported = analyze(client, **body, dropUnsupportedAttributes=True)
    assert list(supported["attributeScores"]) == ["TOXICITY"] and supported["languages"] == ["en"]
    nothing = analyze(client, **body, dropUnsupportedAttributes=True, languages=["om"], clientToken="c")
    assert nothing == {"attributeScores": {}, "languages": ["om"], "clientToken": "c"}
    request = client.get("/$discovery/rest").json()["schemas"]["AnalyzeCommentRequest"]
    assert request["properties"]["dropUnsupportedAttributes"] == {"type": "boolean"}


def test_suggested_scores_become_labelled_rows(client: TestClient, plain: Path) -> None:
    path = "/v1alpha1/comments:suggestscore"
    for score in (1, 0):
        decision = {"TOXICITY": {"summaryScore": {"value": score}}}
        body = {"comment": {"text": TEXT}, "clientToken": "c", "attributeScores": decision}
        assert client.post(path, json=body).json() == {"clientToken": "c"}
    file: Path = client.app_state["suggestions"]
    rows = [json.loads(line) for line in file.read_text().splitlines()][-2:]
    assert rows == [{"text": TEXT, "toxic": score, "insult": None} for score in (1.0, 0.0)]
    assert file.stat().st_mode & 0o777 == 0o600
    kept = file.read_text()
    for wrong in (
        {"attributeScores": {"TOXICITY": {"summaryScore": {"value": 2}}}},
        {"attributeScores": {"TOXICITY": {"summaryScore": {"value": 10**400}}}},
        {"attributeScores": {"SPAM": {"summaryScore": {"value": 1}}}}, {"attributeScores": {}}, {"clientToken": 1},
    ):  # fmt: skip
        assert client.post(path, json={**body, **wrong}).status_code == 400
    assert file.read_text() == kept
    with serving(plain) as other:
        refused = other.post(path, json=body)
        assert refused.status_code == 501 and "--suggestions FILE" in refused.json()["error"]["message"]


def moderate(client: TestClient, value: Any, **more: Any) -> Any:
    return client.post("/v1/moderations", json={"input": value, **more})


def test_openai_moderations(client: TestClient, scores: Scores) -> None:
    answer = moderate(client, [TEXT, OTHER, LONG], model="omni-moderation-latest").json()
    assert answer["id"].startswith("modr-") and answer["model"] == "tone"
    for row, result in enumerate(answer["results"]):
        toxic, insult, _ = scores.decisions[row].tolist()
        assert result["categories"] == {"harassment": insult, "hate": toxic}
        assert result["flagged"] == (toxic or insult) and result["truncated"] == (row == 2)
        assert result["category_scores"] == {
            "harassment": scores.probabilities[row, 1], "hate": scores.probabilities[row, 0],
        }  # fmt: skip
        assert result["category_applied_input_types"] == {"harassment": ["text"], "hate": ["text"]}
    parts = [{"type": "text", "text": TEXT}, {"type": "text", "text": OTHER}]
    (one,) = moderate(client, parts).json()["results"]
    assert one == moderate(client, f"{TEXT}\n{OTHER}").json()["results"][0]
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    for wrong in ([*parts, image], None, [], [1], {}):
        answer = moderate(client, wrong)
        assert answer.status_code == 400 and set(answer.json()["error"]) == {"message", "type", "param", "code"}
    unmapped = moderate(client, TEXT, model="plain")
    assert unmapped.status_code == 400 and "no label of plain is mapped" in unmapped.text


def test_text_embeddings_inference(client: TestClient, scores: Scores) -> None:
    def predict(inputs: Any, **more: Any) -> Any:
        return client.post("/predict", json={"inputs": inputs, **more})

    answer = predict(TEXT)
    assert answer.json() == ranked(scores, 0)
    assert int(answer.headers["x-compute-characters"]) == len(TEXT) and int(answer.headers["x-compute-tokens"]) > 2
    times = {part: int(answer.headers[f"x-{part}-time"]) for part in ("total", "tokenization", "queue", "inference")}
    assert max(times.values()) == times["total"], times
    assert predict([TEXT]).json() == ranked(scores, 0)
    assert predict([[TEXT]]).json() == [ranked(scores, 0)]
    assert predict([[TEXT], [OTHER]], raw_scores=True).json() == [ranked(scores, i, raw=True) for i in (0, 1)]
    assert predict(LONG, truncate=None).headers["x-toxonnx-truncated"] == "1"
    for wrong, status, kind in (
        (predict([TEXT, OTHER]), 422, "Validation"), (predict([["a", "b", "c"]]), 422, "Validation"),
        (predict([]), 400, "Empty"), (predict([["x"]] * 1025), 422, "Validation"),
        (predict(LONG, truncate=False), 422, "Validation"),
        (predict(LONG, truncation_direction="left"), 422, "Validation"),
    ):  # fmt: skip
        assert wrong.status_code == status and wrong.json()["error_type"] == kind, wrong.text
    info = client.get("/info").json()
    assert info["model_type"]["classifier"]["id2label"] == {"0": "toxic", "1": "insult", "2": "calm"}
    assert (info["max_input_length"], info["max_client_batch_size"]) == (128, 1024)
    assert client.get("/health").content == client.get("/ping").content == b""


def test_the_longest_text_is_stated_as_it_is_read_in_windows(tone: Path) -> None:
    runtime = RuntimeOptions(threads=1, long_texts="windows", max_windows=2)
    with serving(tone, runtime=runtime) as client:
        limit = client.get("/info").json()["max_input_length"]
        longest = {"inputs": "word " * (limit - 2), "truncate": False}  # and two special tokens
        assert limit > 128 and client.post("/predict", json=longest).status_code == 200
        refused = client.post("/predict", json={**longest, "inputs": "word " * (limit - 1)})
        assert f"must have less than {limit + 1} tokens" in refused.json()["error"]
        (description,) = client.get("/v1/bundles").json()["bundles"]
        assert (description["max_length"], description["max_tokens"]) == (128, limit)


def test_hugging_face_form(client: TestClient, scores: Scores) -> None:
    def classify(inputs: Any, **parameters: Any) -> Any:
        return client.post("/", json={"inputs": inputs, "parameters": parameters}).json()

    assert classify(TEXT) == [ranked(scores, 0)]
    assert classify([TEXT, OTHER], top_k=1) == [ranked(scores, i)[:1] for i in (0, 1)]
    assert classify(TEXT, function_to_apply="none") == [ranked(scores, 0, raw=True)]
    assert "must be sigmoid" in classify(TEXT, function_to_apply="softmax")["error"]


@pytest.mark.parametrize("size", ["9", "9" * 4300], ids=["many", "large"])
def test_a_shape_that_does_not_fit_is_refused_at_once(tone: Path, size: str) -> None:
    shape = ",".join([size] * (1_900_000 // (len(size) + 1)))
    body = f'{{"inputs": [{{"name": "text", "datatype": "BYTES", "data": ["a", "b"], "shape": [{shape}]}}]}}'
    with serving(tone) as client:
        start = time.perf_counter()
        answer = client.post("/v2/models/tone/infer", content=body, headers={"content-type": "application/json"})
        assert time.perf_counter() - start < 5
    assert answer.status_code == 400 and "does not fit its 2 values" in answer.text


def test_open_inference_protocol(client: TestClient, scores: Scores) -> None:
    model = "/v2/models/tone"
    metadata = client.get(model).json()
    version = metadata["versions"][0]
    assert metadata["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]} in metadata["outputs"]
    tensor = {"name": "text", "shape": [2, 1], "datatype": "BYTES", "data": [[TEXT], [LONG]]}
    body = {"id": "7", "inputs": [tensor], "outputs": [{"name": "probabilities"}, {"name": "truncated"}]}
    for path in (f"{model}/infer", f"{model}/versions/{version}/infer"):
        answer = client.post(path, json=body).json()
        assert (answer["model_name"], answer["id"]) == ("tone", "7")
        assert answer["outputs"] == [
            {
                "name": "probabilities", "shape": [2, 3], "datatype": "FP32",
                "data": scores.probabilities[[0, 2]].ravel().tolist(),
            },
            {"name": "truncated", "shape": [2], "datatype": "BOOL", "data": [False, True]},
        ]  # fmt: skip
    without_id = client.post(f"{model}/infer", json={"id": None, "inputs": [tensor]}).json()
    assert "id" not in without_id
    label, *_ = without_id["outputs"]
    assert label["data"] == ["|".join(scores.label_names[i]) for i in (0, 2)]
    for wrong in ({"shape": [3]}, {"datatype": "FP32"}, {"data": [1, 2]}, {"shape": [-1, -2]}):
        answer = client.post(f"{model}/infer", json={"inputs": [{**tensor, **wrong}]})
        assert answer.status_code == 400 and isinstance(answer.json()["error"], str)
    repeated = client.post(f"{model}/infer", json={**body, "outputs": [{"name": "label"}] * 2})
    assert repeated.status_code == 400 and "each output once" in repeated.text
    assert client.post("/v2/models/other/infer", json=body).status_code == 404
    assert client.get(f"{model}/versions/1").status_code == 404
    assert client.get("/v2/health/ready").json() == {"live": True}
    assert client.get(f"{model}/ready").json() == {"name": "tone", "ready": True}

"""``predict --input-format openai-batch``: the answers are those of the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from toxonnx.cli import group
from toxonnx.errors import InputError

PART = {"type": "text", "text": "a fine day"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
BODIES: list[Any] = [
    {"input": "a fine day"}, {"model": "omni-moderation-latest", "input": ["one", "a fine day", "", "long " * 200]},
    {"input": [PART, PART]}, {"input": ["\ud83d"]}, {"model": None, "input": "caf\u00e9"},
    {"input": [PART, IMAGE]}, {"input": []}, {"input": 1}, {"input": [1]}, {"model": 3, "input": "one"}, {}, [],
]  # fmt: skip


def _line(custom_id: str, body: Any, **other: Any) -> str:
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": "/v1/moderations", "body": body, **other})


def _predict(*arguments: str | Path) -> None:
    group(["predict", "--input-format", "openai-batch", "--threads", "1", *map(str, arguments)], standalone_mode=False)


def test_each_body_is_answered_as_by_the_server(client: TestClient, tone: Path, tmp_path: Path) -> None:
    path, out, rejects = tmp_path / "batch.jsonl", tmp_path / "out.jsonl", tmp_path / "rejects.csv"
    lines = [_line(f"request-{number}", body) for number, body in enumerate(BODIES)]
    others = [
        "{", '{"method": "POST"}', _line("method", {}, method="GET"), _line("url", {}, url="/v1/responses"),
        _line("twice", 0)[:-2] + '{"input": "one", "input": "two"}}',
    ]  # fmt: skip
    path.write_text("\n\n".join([*lines, *others]) + "\n")
    _predict(path, "-o", out, "--bundle", tone, "--on-error", "null", "--rejects", rejects)
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert len({one["id"] for one in answers}) == len(answers) == len(lines) + len(others)
    assert all(one["id"].startswith("batch_req_") for one in answers)
    for number, (body, answer) in enumerate(zip(BODIES, answers, strict=False)):
        content = json.dumps(body)
        served = client.post("/v1/moderations", content=content, headers={"content-type": "application/json"})
        response = answer.pop("response")
        assert answer == {"id": f"batch_req_{response['request_id']}", "custom_id": f"request-{number}", "error": None}
        assert response["status_code"] == served.status_code
        expected, body = served.json(), response["body"]
        if served.status_code == 200:
            assert body["id"] == f"modr-{response['request_id']}"
            body["id"] = expected["id"]
        assert body == expected
    first, *rest = answers[len(lines) :]
    assert first["custom_id"] is None and first["response"] is None and first["error"]["code"] == "invalid_json_line"
    for answer, custom_id, param in zip(
        rest, (None, "method", "url", "twice"), ("custom_id", "method", "url", None), strict=True
    ):
        assert answer["custom_id"] == custom_id and answer["response"]["status_code"] == 400
        assert answer["response"]["body"]["error"]["param"] == param
    listed = rejects.read_text()
    assert listed.count("INVALID REQUEST") == 11 and listed.count("INVALID JSON") == 1


def test_what_cannot_be_answered_is_refused(tone: Path, plain: Path, tmp_path: Path) -> None:
    path = tmp_path / "batch.jsonl"
    with pytest.raises(InputError, match="no label of plain is mapped to a category of OpenAI"):
        _predict(path, "--bundle", plain)  # which is found before the missing file
    path.write_text(_line("one", {"input": [IMAGE]}))
    with pytest.raises(InputError, match=r"line 1: .*only parts of type text can be scored\nWith --on-error null"):
        _predict(path, "--bundle", tone, "-o", tmp_path / "out.jsonl")
    with pytest.raises(InputError, match="not written as csv"):
        _predict(path, "--bundle", tone, "-o", tmp_path / "out.csv", "--output-format", "csv")
    assert [one.name for one in tmp_path.iterdir()] == ["batch.jsonl"]

"""OpenAI's moderation endpoint, with the categories to which the bundle's manifest maps labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toxonnx.inference.scores import Scores
from toxonnx.manifest import Manifest
from toxonnx.serve.endpoints import Answer, Call, Endpoint, Protocol, check_texts, first_error
from toxonnx.serve.errors import RequestError
from toxonnx.serve.json_body import as_object, get, require, type_name
from toxonnx.serve.service import ServedBundle
from toxonnx.vocabularies import VOCABULARIES

__all__ = ["PROTOCOL"]

#: kind of error -> type and code
_ERRORS = {
    "unauthorized": ("invalid_request_error", "invalid_api_key"),
    "overloaded": ("rate_limit_error", "slow_down"),
    "unhealthy": ("server_error", "server_is_overloaded"),
    "timeout": ("server_error", "timeout"),
    "internal": ("server_error", None),
}


async def _moderate(call: Call) -> Answer:
    body = as_object(call.body)
    texts = _texts(body.get("input"))
    check_texts(call, len(texts))
    bundle = call.service.with_mapping("openai", get(body, "model", str, ""))
    scored = await bundle.score(texts)
    first_error(scored)
    results = [_result(bundle, scored.scores, row, call.service.options.fill_categories) for row in range(len(texts))]
    content = {"id": f"modr-{call.id}", "model": bundle.name, "results": results}
    return Answer(content=content, scored=((bundle, scored),))


def _texts(value: object) -> list[str]:
    """One text per result: a string is one, a list of strings several, and a list of parts is one in parts."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise RequestError("invalid", f"input must be a string or a list, got {type_name(value)}", field="input")
    if not any(isinstance(item, dict) for item in value):
        return [require(item, str, f"input[{i}]") for i, item in enumerate(value)]
    return ["\n".join(_part(as_object(item, f"input[{i}]"), i) for i, item in enumerate(value))]


def _part(part: Mapping[str, Any], position: int) -> str:
    if part.get("type") != "text":
        raise RequestError("invalid", f"input[{position}]: only parts of type text can be scored", field="input")
    return require(part.get("text"), str, f"input[{position}].text")


def _result(bundle: ServedBundle, scores: Scores, row: int, fill: bool) -> Mapping[str, Any]:
    mapping, names = bundle.manifest.mappings["openai"], bundle.labels.names
    columns = {category: names.index(mapping[category]) for category in VOCABULARIES["openai"] if category in mapping}
    others = [category for category in VOCABULARIES["openai"] if fill and category not in columns]
    applies = {category: bool(scores.decisions[row, column]) for category, column in columns.items()}
    # null is allowed for these two only
    nothing = {category: None if category.startswith("illicit") else False for category in others}
    return {
        "flagged": any(applies.values()),
        "categories": {**applies, **nothing},
        "category_scores": {
            **{category: float(scores.probabilities[row, column]) for category, column in columns.items()},
            **dict.fromkeys(others, 0.0),
        },
        "category_applied_input_types": {
            **{category: ["text"] for category in columns},
            **{category: [] for category in others},
        },
        "review": bool(scores.needs_review[row]),
        "truncated": bool(scores.truncated[row]),
    }


def _error(error: RequestError) -> Answer:
    kind, code = _ERRORS.get(error.kind, ("invalid_request_error", error.code or None))
    content = {"message": error.message, "type": kind, "param": error.field or None, "code": code}
    return Answer(content={"error": content}, status=error.status)


def _why_unavailable(manifest: Manifest) -> str:
    return "" if manifest.mappings.get("openai") else "no label is mapped to a category of OpenAI"


PROTOCOL = Protocol(
    name="openai",
    error=_error,
    why_unavailable=_why_unavailable,
    endpoints=(
        Endpoint(
            method="POST",
            path="/v1/moderations",
            answer=_moderate,
            summary="Categories of texts, as OpenAI's moderation endpoint gives them.",
            request={
                "type": "object",
                "required": ["input"],
                "properties": {
                    "input": {"oneOf": [{"type": "string"}, {"type": "array"}]},
                    "model": {"type": "string"},
                },
            },
            response={
                "type": "object",
                "required": ["id", "model", "results"],
                "properties": {"results": {"type": "array", "items": {"type": "object"}}},
            },
        ),
    ),
)

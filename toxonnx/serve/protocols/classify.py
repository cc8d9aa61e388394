"""toxonnx's own endpoint: all that is known about each text, and an error for each value that is not a string."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toxonnx.inference.scores import Prediction
from toxonnx.serve.descriptions import describe
from toxonnx.serve.endpoints import Answer, Call, Endpoint, Protocol, check_texts
from toxonnx.serve.scored import Scored
from toxonnx.wire.errors import RequestError
from toxonnx.wire.json_body import as_object, get, require, type_name

__all__ = ["PROTOCOL"]


async def _classify(call: Call) -> Answer:
    body = as_object(call.body)
    if ("texts" in body) == ("text" in body):
        raise RequestError("invalid", "give either text, a string, or texts, a list of strings", field="texts")
    texts = require(body["texts"], list, "texts") if "texts" in body else [require(body["text"], str, "text")]
    check_texts(call, len(texts))
    bundle = call.service.find(get(body, "bundle", str, ""))
    scored = await bundle.score([text for text in texts if isinstance(text, str)])
    content = {"bundle": {"name": bundle.name, "sha256": bundle.bundle.seal}, "results": _results(texts, scored)}
    return Answer(content=content, scored=((bundle, scored),))


def _results(texts: Sequence[Any], scored: Scored) -> list[Mapping[str, Any]]:
    rows = enumerate(scored.scores)
    results: list[Mapping[str, Any]] = []
    for text in texts:
        if not isinstance(text, str):
            results.append({"error": f"the text must be a string, got {type_name(text)}"})
            continue
        position, prediction = next(rows)
        error = scored.errors.get(position)
        results.append(_result(prediction) if error is None else {"error": error})
    return results


def _result(prediction: Prediction) -> Mapping[str, Any]:
    return {
        "labels": prediction.labels,
        "score": prediction.score,
        "probabilities": prediction.probabilities,
        "review": prediction.needs_review,
        "truncated": prediction.truncated,
        "no_tokens": prediction.no_tokens,
        "repaired": prediction.repaired,
    }


async def _bundles(call: Call) -> Answer:
    options = call.service.options
    content = {
        "bundles": [describe(bundle.classifier) for bundle in call.service.bundles],
        "max_texts": options.max_client_batch_size,
        "max_bytes": options.payload_limit,
    }
    return Answer(content=content)


async def _bundle(call: Call) -> Answer:
    return Answer(content=call.service.find(call.path["name"]).details)


async def _live(_: Call) -> Answer:
    return Answer(content={"live": True})


async def _ready(call: Call) -> Answer:
    await call.service.check()
    return Answer(content={"ready": True})


async def _metrics(call: Call) -> Answer:
    kind = "text/plain; version=0.0.4; charset=utf-8"
    return Answer(content=call.service.metrics.render(), headers={"content-type": kind})


def _error(error: RequestError) -> Answer:
    content = {"error": {"message": error.message, "type": error.kind, "param": error.field or None, "code": None}}
    return Answer(content=content, status=error.status)


_TEXTS = {"type": "array", "items": {}, "description": "strings; another value gets an error in its place"}
_RESULT = {
    "type": "object",
    "properties": {
        "labels": {"type": "array", "items": {"type": "string"}, "description": "labels that apply"},
        "score": {"type": "number", "description": "the probability of the decision"},
        "probabilities": {
            "type": "object", "additionalProperties": {"type": "number"}, "description": "of each label, 0 to 1",
        },
        "review": {"type": "boolean", "description": "whether a person should look at the text"},
        "truncated": {"type": "boolean", "description": "whether the end of the text was not read"},
        "no_tokens": {"type": "boolean", "description": "whether it has no word that the model knows"},
        "repaired": {"type": "boolean", "description": "whether it had lone surrogates, which were replaced"},
        "error": {"type": "string", "description": "in place of all others"},
    },
}  # fmt: skip
_BUNDLE = {
    "type": "object",
    "description": "what scored the texts",
    "properties": {
        "name": {"type": "string", "description": "of the bundle"},
        "sha256": {"type": "string", "description": "its seal, which changes with any of its files"},
    },
}

PROTOCOL = Protocol(
    name="classify",
    error=_error,
    endpoints=(
        Endpoint(
            method="POST",
            path="/v1/classify",
            answer=_classify,
            summary="Labels and probabilities of texts.",
            request={
                "type": "object",
                "properties": {
                    "texts": _TEXTS,
                    "text": {"type": "string", "description": "a single text, in place of texts"},
                    "bundle": {"type": "string", "description": "name of a bundle; the first one if absent"},
                },
            },
            response={
                "type": "object",
                "required": ["bundle", "results"],
                "properties": {
                    "bundle": _BUNDLE,
                    "results": {"type": "array", "items": _RESULT, "description": "one for each text, in order"},
                },
            },
        ),
        Endpoint(
            method="GET",
            path="/v1/bundles",
            answer=_bundles,
            summary="The bundles that are served, and the limits of a request.",
        ),
        Endpoint(
            method="GET",
            path="/v1/bundles/{name}",
            answer=_bundle,
            summary="A bundle, with what was measured on labelled rows and the limits that its card states.",
        ),
        Endpoint(
            method="GET", path="/livez", answer=_live, is_public=True, summary="Whether the process answers at all."
        ),
        Endpoint(
            method="GET", path="/readyz", answer=_ready, is_public=True, summary="Whether all models score texts."
        ),
        Endpoint(method="GET", path="/metrics", answer=_metrics, is_public=True, summary="Prometheus metrics."),
    ),
)

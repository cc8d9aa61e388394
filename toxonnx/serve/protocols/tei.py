"""The endpoints of Hugging Face's text-embeddings-inference for a classifier, of version 1.9.

Other than there, a multi-label model has a sigmoid, and a single request is counted once in the metrics.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from toxonnx.manifest import Manifest
from toxonnx.serve.endpoints import Answer, Call, Endpoint, Protocol, check_texts, first_error
from toxonnx.serve.scored import Scored
from toxonnx.wire.errors import RequestError
from toxonnx.wire.json_body import as_object, get, require, type_name

__all__ = ["PROTOCOL"]

#: kind of error -> type, and the status where it differs from the usual one
_ERRORS = {
    "malformed": ("Validation", 400), "invalid": ("Validation", 422), "too_many_texts": ("Validation", 422),
    "too_large": ("Validation", 413), "media_type": ("Validation", 415), "not_found": ("Validation", 404),
    "method": ("Validation", 405),
    "unauthorized": ("Validation", 401), "empty": ("Empty", 400), "overloaded": ("Overloaded", 429),
    "unhealthy": ("Unhealthy", 503), "timeout": ("Backend", 424), "internal": ("Backend", 424),
}  # fmt: skip


async def _predict(call: Call) -> Answer:
    start = time.monotonic()
    body = as_object(call.body)
    bundle = call.service.find()
    inputs = body.get("inputs")
    texts, is_batch = _texts(inputs, bundle.manifest)
    check_texts(call, len(texts))
    truncate = get(body, "truncate", bool, True)
    direction = get(body, "truncation_direction", str, "right").lower()
    if direction not in {"right", "left"}:
        raise RequestError("invalid", "`truncation_direction` must be right or left", field="truncation_direction")
    raw = get(body, "raw_scores", bool, False)
    scored = await bundle.score(texts)
    first_error(scored)
    if scored.scores.truncated.any():
        _check_truncation(truncate, direction, bundle.classifier.preprocess.tokenizer.max_tokens)
    rows: list[Any] = scored.scores.ranked(raw=raw)
    return Answer(
        content=rows if is_batch else rows[0],
        scored=((bundle, scored),),
        headers=_headers(scored, texts, time.monotonic() - start),
    )


def _texts(inputs: object, manifest: Manifest) -> tuple[list[str], bool]:
    """The texts, and whether they are a batch: a list of lists, each with one text or with a pair."""
    if isinstance(inputs, str):
        return [inputs], False
    if not isinstance(inputs, list):
        raise RequestError("invalid", f"`inputs` must be a string or a list, got {type_name(inputs)}", field="inputs")
    if inputs and all(isinstance(item, str) for item in inputs):
        return [_joined(inputs, manifest)], False
    items = [require(item, list, f"inputs[{i}]") for i, item in enumerate(inputs)]
    return [_joined([require(one, str, "inputs") for one in item], manifest) for item in items], True


def _joined(texts: Sequence[str], manifest: Manifest) -> str:
    """The text of an item of one string, or of a pair for a model that reads two columns."""
    if len(texts) == 1:
        return texts[0]
    if len(texts) == 2 and len(manifest.text.columns) == 2:
        return manifest.text.join(texts)
    if len(texts) == 2:
        message = "a pair, but the model reads single texts; a batch is a list of lists: [[text], [text]]"
        raise RequestError("invalid", f"`inputs` is {message}", field="inputs")
    raise RequestError("invalid", f"an item of `inputs` must have 1 or 2 strings, got {len(texts)}", field="inputs")


def _check_truncation(truncate: bool, direction: str, limit: int) -> None:
    if not truncate:
        raise RequestError("invalid", f"Input validation error: `inputs` must have less than {limit + 1} tokens")
    if direction == "left":
        raise RequestError("invalid", "a text is too long, and texts can be truncated on the right only")


def _headers(scored: Scored, texts: Sequence[str], seconds: float) -> dict[str, str]:
    timings = scored.timings
    milliseconds = {
        "total": seconds, "tokenization": timings.tokenization, "queue": timings.queue, "inference": timings.inference,
    }  # fmt: skip
    return {
        **{f"x-{name}-time": str(round(value * 1000)) for name, value in milliseconds.items()},
        "x-compute-time": str(round((timings.tokenization + timings.inference) * 1000)),
        "x-compute-characters": str(sum(map(len, texts))),
        "x-compute-tokens": str(int(scored.lengths.sum())),
    }


async def _info(call: Call) -> Answer:
    bundle, options = call.service.find(), call.service.options
    names, settings = bundle.labels.names, bundle.classifier.settings
    return Answer(
        content={
            "model_id": bundle.name,
            "model_sha": bundle.bundle.seal,
            "model_dtype": settings.precision,
            "served_model_name": bundle.name,
            "model_type": {
                "classifier": {
                    "id2label": {str(i): name for i, name in enumerate(names)},
                    "label2id": {name: i for i, name in enumerate(names)},
                }
            },
            "max_concurrent_requests": options.max_concurrent_requests,
            "max_input_length": bundle.classifier.preprocess.tokenizer.max_tokens,
            "max_batch_tokens": settings.max_batch_tokens,
            "max_batch_requests": None,
            "max_client_batch_size": options.max_client_batch_size,
            "auto_truncate": True,
            "tokenization_workers": max(2, settings.threads),
            "version": call.service.version,
            "sha": None,
            "docker_label": None,
        }
    )


async def _health(call: Call) -> Answer:
    await call.service.check()
    return Answer()


def _error(error: RequestError) -> Answer:
    if error.kind == "unauthorized":
        return Answer(status=401)
    kind, status = _ERRORS.get(error.kind, ("Backend", error.status))
    message = "Model is overloaded" if error.kind == "overloaded" else error.message
    return Answer(content={"error": message, "error_type": kind}, status=status)


_LABEL = {
    "label": {"type": "string", "description": "its name"},
    "score": {"type": "number", "description": "its probability, or its logit"},
}
_PREDICTION = {
    "type": "array",
    "items": {"type": "object", "properties": _LABEL},
}

PROTOCOL = Protocol(
    name="tei",
    error=_error,
    endpoints=(
        Endpoint(
            method="POST",
            path="/predict",
            answer=_predict,
            summary="Labels and scores, as text-embeddings-inference gives them.",
            request={
                "type": "object",
                "required": ["inputs"],
                "properties": {
                    "inputs": {
                        "oneOf": [{"type": "string"}, {"type": "array"}],
                        "description": "a text; a list of lists, each with a text or a pair, for a batch",
                    },
                    "truncate": {
                        "type": "boolean",
                        "nullable": True,
                        "description": "whether to truncate long texts, the default, or to refuse them",
                    },
                    "truncation_direction": {"type": "string", "description": "`right`"},
                    "raw_scores": {"type": "boolean", "description": "whether to answer with logits"},
                },
            },
            response={"oneOf": [_PREDICTION, {"type": "array", "items": _PREDICTION}]},
        ),
        Endpoint(method="GET", path="/info", answer=_info, summary="The first bundle, and the server's limits."),
        Endpoint(
            method="GET", path="/health", answer=_health, is_public=True, summary="Whether all models score texts."
        ),
        Endpoint(method="GET", path="/ping", answer=_health, is_public=True, summary="The same as /health."),
    ),
)

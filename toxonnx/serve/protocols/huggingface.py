"""The form of Hugging Face's inference endpoints: ``POST / {"inputs": ...}``.

The answer is a list with one list of labels per text, also for a single text: Hugging Face's clients expect it so.
"""

from __future__ import annotations

from typing import Any

from toxonnx.serve.endpoints import Answer, Call, Endpoint, Protocol, check_texts, first_error
from toxonnx.wire.errors import RequestError
from toxonnx.wire.json_body import as_object, get, require, type_name

__all__ = ["PROTOCOL"]


async def _classify(call: Call) -> Answer:
    body = as_object(call.body)
    inputs = body.get("inputs")
    if not isinstance(inputs, str | list):
        raise RequestError("invalid", f"inputs must be a string or a list, got {type_name(inputs)}", field="inputs")
    texts = [inputs] if isinstance(inputs, str) else inputs
    texts = [require(text, str, f"inputs[{i}]") for i, text in enumerate(texts)]
    check_texts(call, len(texts))
    parameters = as_object(body.get("parameters") or {}, "parameters")
    bundle = call.service.find()
    raw = _is_raw(get(parameters, "function_to_apply", str, "", "parameters."), bundle.labels.activation)
    top_k = get(parameters, "top_k", int, len(bundle.labels), "parameters.")
    if top_k < 1:
        raise RequestError("invalid", "parameters.top_k must be positive", field="parameters.top_k")
    scored = await bundle.score(texts)
    first_error(scored)
    rows: list[Any] = [row[:top_k] for row in scored.scores.ranked(raw=raw)]
    return Answer(content=rows, scored=((bundle, scored),))


def _is_raw(function: str, activation: str) -> bool:
    if function not in {"", "none", activation}:
        raise RequestError(
            "invalid", f"parameters.function_to_apply must be {activation}, as the model was trained, or none",
            field="parameters.function_to_apply",
        )  # fmt: skip
    return function == "none"


def _error(error: RequestError) -> Answer:
    return Answer(content={"error": error.message}, status=error.status)


PROTOCOL = Protocol(
    name="huggingface",
    error=_error,
    endpoints=(
        Endpoint(
            method="POST",
            path="/",
            answer=_classify,
            summary="Labels and scores, as Hugging Face's inference API gives them.",
            request={
                "type": "object",
                "required": ["inputs"],
                "properties": {
                    "inputs": {
                        "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
                        "description": "a text, or a list of texts",
                    },
                    "parameters": {
                        "type": "object",
                        "description": "top_k, a number; function_to_apply, `none` for logits",
                    },
                },
            },
            response={
                "type": "array",
                "description": "one list per text, also for a single one: labels with their scores, highest first",
                "items": {"type": "array", "items": {"type": "object"}},
            },
        ),
    ),
)

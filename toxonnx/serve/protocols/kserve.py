"""The Open Inference Protocol (KServe v2) over HTTP, as far as a classifier of texts needs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from toxonnx.inference.scores import Scores
from toxonnx.serve.endpoints import Answer, Call, Endpoint, Protocol, Schema, check_texts, first_error
from toxonnx.serve.service import ServedBundle
from toxonnx.wire.errors import RequestError
from toxonnx.wire.json_body import MAX_DEPTH, as_object, get, require

__all__ = ["PROTOCOL"]

#: output -> datatype, and its values in row-major order
_OUTPUTS: Mapping[str, tuple[str, Callable[[Scores], list[Any]]]] = {
    "label": ("BYTES", lambda scores: ["|".join(names) for names in scores.label_names]),
    "probabilities": ("FP32", lambda scores: scores.probabilities.ravel().tolist()),
    "review": ("BOOL", lambda scores: scores.needs_review.tolist()),
    "truncated": ("BOOL", lambda scores: scores.truncated.tolist()),
}


async def _infer(call: Call) -> Answer:
    bundle = _bundle(call)
    body = as_object(call.body)
    inputs = require(body.get("inputs"), list, "inputs")
    if len(inputs) != 1:
        raise RequestError("invalid", f"inputs must have one tensor, text, got {len(inputs)}", field="inputs")
    texts = _texts(as_object(inputs[0], "inputs[0]"))
    check_texts(call, len(texts))
    wanted = _wanted(body)
    request_id = get(body, "id", str, "")
    scored = await bundle.score(texts)
    first_error(scored)
    outputs = [
        {
            "name": name,
            "shape": [len(texts), len(bundle.labels)] if name == "probabilities" else [len(texts)],
            "datatype": _OUTPUTS[name][0],
            "data": _OUTPUTS[name][1](scored.scores),
        }
        for name in wanted
    ]
    content = {"model_name": bundle.name, "model_version": bundle.bundle.seal, "outputs": outputs}
    if body.get("id") is not None:
        content["id"] = request_id
    return Answer(content=content, scored=((bundle, scored),))


def _texts(tensor: Mapping[str, Any]) -> list[str]:
    if get(tensor, "datatype", str, "", "inputs[0].") != "BYTES":
        raise RequestError("invalid", "inputs[0].datatype must be BYTES", field="inputs[0].datatype")
    data = list(_flat(require(tensor.get("data"), list, "inputs[0].data")))
    shape = [require(size, int, "inputs[0].shape") for size in require(tensor.get("shape"), list, "inputs[0].shape")]
    # The product of many sizes, or of huge ones, would take minutes.
    is_small = len(shape) <= MAX_DEPTH and all(0 <= size <= len(data) for size in shape)
    if not is_small or math.prod(shape) != len(data):
        raise RequestError("invalid", f"inputs[0].shape does not fit its {len(data)} values", field="inputs[0].shape")
    return [require(text, str, f"inputs[0].data[{i}]") for i, text in enumerate(data)]


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(value)
        else:
            yield value


def _wanted(body: Mapping[str, Any]) -> list[str]:
    """Names of the outputs that the request asks for; all where it names none."""
    wanted = [
        get(as_object(output, f"outputs[{i}]"), "name", str, "", f"outputs[{i}].")
        for i, output in enumerate(get(body, "outputs", list, []))
    ]
    if any(name not in _OUTPUTS for name in wanted):
        raise RequestError("invalid", f"outputs: the known names are {', '.join(_OUTPUTS)}", field="outputs")
    if len(set(wanted)) < len(wanted):  # a small request could make the answer as large as it likes
        raise RequestError("invalid", "outputs: name each output once", field="outputs")
    return wanted or list(_OUTPUTS)


def _bundle(call: Call) -> ServedBundle:
    bundle = call.service.find(call.path["name"])
    version = call.path.get("version", bundle.bundle.seal)
    if version != bundle.bundle.seal:
        raise RequestError("not_found", f"the only version of {bundle.name} is {bundle.bundle.seal}")
    return bundle


async def _metadata(call: Call) -> Answer:
    bundle = _bundle(call)
    outputs = [
        {"name": name, "datatype": datatype, "shape": [-1, len(bundle.labels)] if name == "probabilities" else [-1]}
        for name, (datatype, _) in _OUTPUTS.items()
    ]
    return Answer(
        content={
            "name": bundle.name,
            "versions": [bundle.bundle.seal],
            "platform": "onnx_onnxv1",
            "inputs": [{"name": "text", "datatype": "BYTES", "shape": [-1]}],
            "outputs": outputs,
        }
    )


async def _model_ready(call: Call) -> Answer:
    bundle = _bundle(call)
    await call.service.check()
    return Answer(content={"name": bundle.name, "ready": True})


async def _server(call: Call) -> Answer:
    return Answer(content={"name": "toxonnx", "version": call.service.version, "extensions": []})


async def _live(_: Call) -> Answer:
    return Answer(content={"live": True})


async def _ready(call: Call) -> Answer:
    await call.service.check()
    return Answer(content={"live": True})  # the specification's own word for ready


def _error(error: RequestError) -> Answer:
    return Answer(content={"error": error.message}, status=error.status)


def _model_endpoints(prefix: str) -> tuple[Endpoint, ...]:
    def tensors(description: str) -> Schema:
        return {"type": "array", "items": {"type": "object"}, "description": description}

    return (
        Endpoint(method="GET", path=prefix, answer=_metadata, summary="Inputs and outputs of a bundle."),
        Endpoint(
            method="GET", path=f"{prefix}/ready", answer=_model_ready, is_public=True,
            summary="Whether a bundle scores texts.",
        ),
        Endpoint(
            method="POST", path=f"{prefix}/infer", answer=_infer, summary="Labels and probabilities as tensors.",
            request={
                "type": "object",
                "required": ["inputs"],
                "properties": {
                    "inputs": tensors("one tensor `text` of datatype BYTES, with shape and data"),
                    "outputs": tensors("names of the wanted ones; all of them if absent"),
                },
            },
            response={
                "type": "object",
                "required": ["model_name", "outputs"],
                "properties": {
                    "model_name": {"type": "string", "description": "name of the bundle"},
                    "model_version": {"type": "string", "description": "its seal"},
                    "outputs": tensors(f"{', '.join(_OUTPUTS)}: name, datatype, shape, data"),
                },
            },
        ),
    )  # fmt: skip


PROTOCOL = Protocol(
    name="kserve",
    error=_error,
    endpoints=(
        Endpoint(method="GET", path="/v2", answer=_server, is_public=True, summary="Name and version of the server."),
        Endpoint(
            method="GET", path="/v2/health/live", answer=_live, is_public=True, summary="Whether the process answers."
        ),
        Endpoint(
            method="GET", path="/v2/health/ready", answer=_ready, is_public=True, summary="Whether models score texts."
        ),
        *_model_endpoints("/v2/models/{name}"),
        *_model_endpoints("/v2/models/{name}/versions/{version}"),
    ),
)

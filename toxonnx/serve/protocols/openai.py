"""OpenAI's moderation endpoint, with the categories to which the bundle's manifest maps labels."""

from __future__ import annotations

from toxonnx.manifest import Manifest
from toxonnx.serve.endpoints import Answer, Call, Endpoint, Protocol, check_texts, first_error
from toxonnx.wire.errors import RequestError
from toxonnx.wire.json_body import as_object, get
from toxonnx.wire.moderations import PATH, Moderator, error_content, moderation, texts_of

__all__ = ["PROTOCOL"]


async def _moderate(call: Call) -> Answer:
    body = as_object(call.body)
    texts = texts_of(body.get("input"))
    check_texts(call, len(texts))
    bundle = call.service.with_mapping("openai", get(body, "model", str, ""))
    scored = await bundle.score(texts)
    first_error(scored)
    mapping, fill = bundle.manifest.mappings["openai"], call.service.options.fill_categories
    moderator = Moderator.of(bundle.name, mapping, bundle.labels.names, fill_categories=fill)
    results = [moderator.result(scored.scores, row) for row in range(len(texts))]
    return Answer(content=moderation(call.id, bundle.name, results), scored=((bundle, scored),))


def _error(error: RequestError) -> Answer:
    return Answer(content=error_content(error), status=error.status)


def _why_unavailable(manifest: Manifest) -> str:
    return "" if manifest.mappings.get("openai") else "no label is mapped to a category of OpenAI"


_RESULT = {
    "type": "object",
    "properties": {
        "flagged": {"type": "boolean", "description": "whether any category applies"},
        "categories": {"type": "object", "description": "category to whether its label reaches the threshold"},
        "category_scores": {"type": "object", "description": "category to probability"},
        "category_applied_input_types": {"type": "object", "description": "category to a list with `text`"},
        "review": {"type": "boolean", "description": "whether a person should look at the text; not OpenAI's"},
        "truncated": {"type": "boolean", "description": "whether the end of the text was not read; not OpenAI's"},
    },
}

PROTOCOL = Protocol(
    name="openai",
    error=_error,
    why_unavailable=_why_unavailable,
    endpoints=(
        Endpoint(
            method="POST",
            path=PATH,
            answer=_moderate,
            summary="Categories of texts, as OpenAI's moderation endpoint gives them.",
            request={
                "type": "object",
                "required": ["input"],
                "properties": {
                    "input": {
                        "oneOf": [{"type": "string"}, {"type": "array"}],
                        "description": "a text, a list of texts, or parts with type text; images are refused",
                    },
                    "model": {
                        "type": "string",
                        "description": "name of a bundle; any other name means the first one with categories",
                    },
                },
            },
            response={
                "type": "object",
                "required": ["id", "model", "results"],
                "properties": {
                    "id": {"type": "string", "description": "`modr-`, and the id of the request"},
                    "model": {"type": "string", "description": "name of the bundle"},
                    "results": {"type": "array", "items": _RESULT, "description": "one for each text, in order"},
                },
            },
        ),
    ),
)

"""Google's Perspective API (v1alpha1), with the attributes to which the manifests of the bundles map labels."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from toxonnx.languages import language_codes
from toxonnx.manifest import Manifest
from toxonnx.serve.endpoints import Answer, Call, Endpoint, Protocol, first_error
from toxonnx.serve.protocols.perspective_discovery import discovery_document
from toxonnx.serve.sentences import Span, sentence_spans
from toxonnx.serve.service import ServedBundle
from toxonnx.serve.suggestions import append_suggestion
from toxonnx.wire.errors import RequestError
from toxonnx.wire.json_body import as_object, get, require

__all__ = ["PROTOCOL"]

#: bytes of a comment
MAX_BYTES = 20 * 1024
_PROBABILITY = "PROBABILITY"
#: kind of error -> Google's status, and the HTTP status where it differs from the usual one
_STATUS = {
    "unauthorized": ("UNAUTHENTICATED", 401), "not_found": ("NOT_FOUND", 404),
    "overloaded": ("RESOURCE_EXHAUSTED", 429), "unhealthy": ("UNAVAILABLE", 503),
    "timeout": ("DEADLINE_EXCEEDED", 504), "internal": ("INTERNAL", 500),
    "method": ("UNIMPLEMENTED", 405), "not_implemented": ("UNIMPLEMENTED", 501),
}  # fmt: skip


async def _analyze(call: Call) -> Answer:
    body = as_object(call.body)
    call.count_request(1)
    text, token = _comment(body), get(body, "clientToken", str, "")
    requested = _requested(body)
    given = [require(one, str, f"languages[{i}]") for i, one in enumerate(get(body, "languages", list, []))]
    drops = get(body, "dropUnsupportedAttributes", bool, False)
    chosen = _with_languages(_bundles(call, requested, drops=drops), given, drops=drops)
    known = {code for bundle in chosen.values() for code in language_codes(bundle.manifest.language)}
    languages = given or sorted(known)
    spans = [Span(0, len(text))]
    if get(body, "spanAnnotations", bool, False):
        spans = sentence_spans(text)
    parts = [text, *(text[span.begin : span.end] for span in spans)]
    texts = list(dict.fromkeys(parts))  # a comment of one sentence is its own span
    position = {part: row for row, part in enumerate(texts)}
    rows = [position[part] for part in parts]
    bundles = list(dict.fromkeys(chosen.values()))
    scored = await asyncio.gather(*(bundle.score(texts) for bundle in bundles))
    for one in scored:
        first_error(one)
    of_bundle = dict(zip(bundles, scored, strict=True))
    scores = {
        name: _scores(
            of_bundle[bundle].scores.probabilities[rows, _column(bundle, name)], _offsets(text, spans), requested[name]
        )
        for name, bundle in chosen.items()
    }
    content: dict[str, Any] = {"attributeScores": {name: value for name, value in scores.items() if value}}
    if languages:
        content["languages"] = languages
    if token:
        content["clientToken"] = token
    return Answer(content=content, scored=tuple(of_bundle.items()))


def _comment(body: Mapping[str, Any]) -> str:
    comment = as_object(body.get("comment") or {}, "comment")
    text = get(comment, "text", str, "", "comment.")
    if get(comment, "type", str, "PLAIN_TEXT", "comment.") not in {"PLAIN_TEXT", "TEXT_TYPE_UNSPECIFIED"}:
        raise _invalid("Currently, only 'PLAIN_TEXT' comments are supported.")
    if not text.strip():
        raise RequestError("invalid", "Comment must be non-empty.", code="COMMENT_EMPTY")
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise RequestError("invalid", "Comment text too long.", code="COMMENT_TOO_LONG")
    return text


def _requested(body: Mapping[str, Any]) -> dict[str, float]:
    """The requested attributes, and below which score each of them is left out."""
    requested = as_object(body.get("requestedAttributes") or {}, "requestedAttributes")
    if not requested:
        raise RequestError("invalid", "Missing requested_attributes.", code="NO_REQUESTED_ATTRIBUTES")
    thresholds = {}
    for name, value in requested.items():
        settings = as_object(value or {}, "requestedAttributes")
        kind = get(settings, "scoreType", str, _PROBABILITY, "requestedAttributes.")
        if kind not in {_PROBABILITY, "SCORE_TYPE_UNSPECIFIED"}:
            raise _invalid(f"Requested score type is not supported by attribute {_shown(name)}")
        thresholds[name] = get(settings, "scoreThreshold", float, 0.0, "requestedAttributes.")
    return thresholds


def _bundles(call: Call, attributes: Iterable[str], *, drops: bool = False) -> dict[str, ServedBundle]:
    """The first bundle that has a label for each attribute.

    Raises:
        RequestError: none has, for at least one of them, and such attributes are not to be dropped.
    """
    known: dict[str, ServedBundle] = {}
    for bundle in call.service.bundles:
        for attribute in bundle.manifest.mappings.get("perspective", {}):
            known.setdefault(attribute, bundle)
    unknown = [name for name in attributes if name not in known]
    if unknown and not drops:
        which = f"Unknown requested attribute{'s' * (len(unknown) > 1)}: {', '.join(map(_shown, unknown))}"
        here = f"the attributes here are {', '.join(sorted(known))}"
        raise _invalid(f"{which}; {here if known else 'no label is mapped to an attribute here'}")
    return {name: known[name] for name in attributes if name in known}


def _shown(name: str) -> str:
    """The name of an attribute or a language, unless it may be a text."""
    return (
        name
        if name.replace("_", "").replace("-", "").isalnum() and name.isascii() and len(name) <= 60
        else "(not a name)"
    )


def _column(bundle: ServedBundle, attribute: str) -> int:
    return bundle.labels.names.index(bundle.manifest.mappings["perspective"][attribute])


def _with_languages(
    chosen: Mapping[str, ServedBundle], languages: Sequence[str], *, drops: bool
) -> dict[str, ServedBundle]:
    """The attributes whose bundle reads one of the languages: all where none are given, or the bundle names none.

    Raises:
        RequestError: an attribute is left out, and such attributes are not to be dropped.
    """
    given = {one.lower().split("-")[0] for one in languages}
    kept = {}
    for name, bundle in chosen.items():
        codes = language_codes(bundle.manifest.language)
        if not given or not codes or given.intersection(codes):
            kept[name] = bundle
        elif not drops:
            raise RequestError(
                "invalid",
                f"Attribute {name} does not support request languages: {', '.join(map(_shown, languages))}",
                code="LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
                field=name,
            )
    return kept


def _offsets(text: str, spans: Sequence[Span]) -> list[Span]:
    """The same spans in UTF-16 code units."""
    positions, before, units = {0: 0}, 0, 0
    for position in sorted({place for span in spans for place in (span.begin, span.end)}):
        units += len(text[before:position].encode("utf-16-le", "surrogatepass")) // 2
        positions[position], before = units, position
    return [Span(positions[span.begin], positions[span.end]) for span in spans]


def _scores(values: np.ndarray[Any, Any], spans: Sequence[Span], threshold: float) -> Mapping[str, Any]:
    """The scores of an attribute: of the comment, then of the spans; empty if the comment's is below the threshold."""
    summary, *each = (float(value) for value in values)
    if summary < threshold:
        return {}
    return {
        "spanScores": [
            {"begin": span.begin, "end": span.end, "score": {"value": value, "type": _PROBABILITY}}
            for span, value in zip(spans, each, strict=True)
            if value >= threshold
        ],
        "summaryScore": {"value": summary, "type": _PROBABILITY},
    }


async def _suggest(call: Call) -> Answer:
    body = as_object(call.body)
    text, token = _comment(body), get(body, "clientToken", str, "")
    path = call.service.options.suggestions
    if path is None:
        raise RequestError(
            "not_implemented", "Suggested scores are not kept: start the server with --suggestions FILE."
        )
    scores = as_object(body.get("attributeScores") or {}, "attributeScores")
    if not scores:
        raise _invalid("Missing attribute_scores.")
    values = {
        bundle.manifest.mappings["perspective"][name]: _suggested(name, scores[name])
        for name, bundle in _bundles(call, scores).items()
    }
    labels = dict.fromkeys(
        label for one in call.service.bundles for label in one.manifest.mappings.get("perspective", {}).values()
    )
    try:
        await asyncio.to_thread(append_suggestion, path, text, {label: values.get(label) for label in labels})
    except OSError as error:
        raise RequestError("internal", f"The suggested scores were not kept: {error.strerror}.") from None
    return Answer(content={"clientToken": token} if token else {})


def _suggested(name: str, value: object) -> float:
    given = as_object(value, f"attributeScores.{_shown(name)}")
    if given.get("summaryScore") is None:
        raise _invalid(f"attributeScores.{_shown(name)} has no summaryScore")
    summary = as_object(given["summaryScore"], "summaryScore")
    score = require(summary.get("value"), float, "summaryScore.value")
    if not 0 <= score <= 1:
        raise _invalid(f"The suggested score of {_shown(name)} must be between 0 and 1")
    return score


async def _discovery(call: Call) -> Answer:
    if call.query.get("version", "v1alpha1") != "v1alpha1":
        raise RequestError("not_found", "The only version is v1alpha1.")
    return Answer(content=discovery_document(call.base_url))


def _invalid(message: str) -> RequestError:
    return RequestError("invalid", message, code="INVALID_REQUEST")


def _error(error: RequestError) -> Answer:
    status, code = _STATUS.get(error.kind, ("INVALID_ARGUMENT", 413 if error.kind == "too_large" else 400))
    content: dict[str, Any] = {"code": code, "message": error.message, "status": status}
    if status == "INVALID_ARGUMENT":
        detail: dict[str, Any] = {
            "@type": "type.googleapis.com/google.commentanalyzer.v1alpha1.Error",
            "errorType": error.code or "INVALID_REQUEST",
        }
        if error.code == "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE":
            detail["languageNotSupportedByAttributeError"] = {"attribute": error.field}
        content["details"] = [detail]
    return Answer(content={"error": content}, status=code)


def _why_unavailable(manifest: Manifest) -> str:
    return "" if manifest.mappings.get("perspective") else "no label is mapped to an attribute of Perspective"


_COMMENT = {
    "type": "object",
    "description": "what to score",
    "properties": {
        "text": {"type": "string", "description": "the comment"},
        "type": {"type": "string", "description": "`PLAIN_TEXT`"},
    },
}

PROTOCOL = Protocol(
    name="perspective",
    error=_error,
    why_unavailable=_why_unavailable,
    endpoints=(
        Endpoint(
            method="POST",
            path="/v1alpha1/comments:analyze",
            answer=_analyze,
            summary="Attributes of a comment, as the Perspective API gives them.",
            request={
                "type": "object",
                "required": ["comment", "requestedAttributes"],
                "properties": {
                    "comment": _COMMENT,
                    "requestedAttributes": {
                        "type": "object", "additionalProperties": {"type": "object"},
                        "description": "name of an attribute to an empty object, or to one with scoreThreshold",
                    },
                    "languages": {
                        "type": "array", "items": {"type": "string"}, "description": "of the comment, such as `en`",
                    },
                    "dropUnsupportedAttributes": {
                        "type": "boolean",
                        "description": "whether to leave out attributes that cannot be answered, or to refuse them",
                    },
                    "spanAnnotations": {"type": "boolean", "description": "whether to score each sentence, too"},
                    "clientToken": {"type": "string", "description": "comes back in the response"},
                },
            },
            response={
                "type": "object",
                "required": ["attributeScores"],
                "properties": {
                    "attributeScores": {
                        "type": "object",
                        "description": "name of an attribute to summaryScore and spanScores; without spanAnnotations, "
                        "the only span is the whole comment",
                    },
                },
            },
        ),
        Endpoint(
            method="POST",
            path="/v1alpha1/comments:suggestscore",
            answer=_suggest,
            summary="Keeps a moderator's decision as a labelled row.",
            scores=False,
            request={
                "type": "object",
                "required": ["comment", "attributeScores"],
                "properties": {
                    "comment": _COMMENT,
                    "attributeScores": {"type": "object", "description": "name of an attribute to summaryScore"},
                },
            },
            response={"type": "object"},
        ),
        Endpoint(
            method="GET", path="/$discovery/rest", answer=_discovery, is_public=True,
            summary="The API's description for Google's client libraries.",
        ),
    ),
)  # fmt: skip

"""The discovery document from which Google's client libraries learn methods and addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["discovery_document"]

#: parameters of every method
_PARAMETERS = {
    name: {"type": "string", "location": "query"}
    for name in ("key", "fields", "alt", "quotaUser", "$.xgafv", "access_token", "oauth_token", "callback")
} | {"prettyPrint": {"type": "boolean", "location": "query", "default": "true"}}
_STRING = {"type": "string"}
_TEXT_ENTRY = {"$ref": "TextEntry"}


def discovery_document(root_url: str) -> Mapping[str, Any]:
    """The document for a server at some address, which ends in a slash."""
    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "commentanalyzer:v1alpha1",
        "name": "commentanalyzer",
        "version": "v1alpha1",
        "title": "Perspective Comment Analyzer API, served by toxonnx",
        "protocol": "rest",
        "rootUrl": root_url,
        "servicePath": "",
        "baseUrl": root_url,
        "parameters": _PARAMETERS,
        "resources": {
            "comments": {
                "methods": {
                    "analyze": _method("analyze", "AnalyzeComment"),
                    "suggestscore": _method("suggestscore", "SuggestCommentScore"),
                }
            }
        },
        "schemas": _SCHEMAS,
    }


def _method(name: str, schema: str) -> Mapping[str, Any]:
    path = f"v1alpha1/comments:{name}"
    return {
        "id": f"commentanalyzer.comments.{name}",
        "path": path,
        "flatPath": path,
        "httpMethod": "POST",
        "parameterOrder": [],
        "parameters": {},
        "request": {"$ref": f"{schema}Request"},
        "response": {"$ref": f"{schema}Response"},
    }


def _object(name: str, **properties: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"id": name, "type": "object", "properties": properties}


def _list(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "array", "items": item}


def _map(name: str) -> Mapping[str, Any]:
    return {"type": "object", "additionalProperties": {"$ref": name}}


_COMMON: Mapping[str, Mapping[str, Any]] = {
    "comment": _TEXT_ENTRY, "clientToken": _STRING, "communityId": _STRING, "context": {"$ref": "Context"},
    "languages": _list(_STRING), "sessionId": _STRING,
}  # fmt: skip
_SCHEMAS: Mapping[str, Any] = {
    schema["id"]: schema
    for schema in (
        _object(
            "AnalyzeCommentRequest", **_COMMON, requestedAttributes=_map("AttributeParameters"),
            doNotStore={"type": "boolean"}, dropUnsupportedAttributes={"type": "boolean"},
            spanAnnotations={"type": "boolean"},
        ),
        _object(
            "AnalyzeCommentResponse", attributeScores=_map("AttributeScores"), clientToken=_STRING,
            detectedLanguages=_list(_STRING), languages=_list(_STRING),
        ),
        _object("SuggestCommentScoreRequest", **_COMMON, attributeScores=_map("AttributeScores")),
        _object(
            "SuggestCommentScoreResponse", clientToken=_STRING, detectedLanguages=_list(_STRING),
            requestedLanguages=_list(_STRING),
        ),
        _object("TextEntry", text=_STRING, type=_STRING),
        _object("Context", entries=_list(_TEXT_ENTRY), articleAndParentComment={"$ref": "ArticleAndParentComment"}),
        _object("ArticleAndParentComment", article=_TEXT_ENTRY, parentComment=_TEXT_ENTRY),
        _object(
            "AttributeParameters", scoreThreshold={"type": "number", "format": "float"}, scoreType=_STRING
        ),
        _object("AttributeScores", spanScores=_list({"$ref": "SpanScore"}), summaryScore={"$ref": "Score"}),
        _object(
            "SpanScore", begin={"type": "integer", "format": "int32"}, end={"type": "integer", "format": "int32"},
            score={"$ref": "Score"},
        ),
        _object("Score", type=_STRING, value={"type": "number", "format": "float"}),
    )
}  # fmt: skip

"""OpenAI's moderations: the texts of a request, and the answer to it. The server and batch files share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toxonnx.inference.scores import Scores
from toxonnx.vocabularies import VOCABULARIES
from toxonnx.wire.errors import RequestError
from toxonnx.wire.json_body import as_object, require, type_name

__all__ = ["PATH", "Moderator", "error_content", "moderation", "texts_of"]

PATH = "/v1/moderations"

#: kind of error -> type and code
_ERRORS = {
    "unauthorized": ("invalid_request_error", "invalid_api_key"),
    "overloaded": ("rate_limit_error", "slow_down"),
    "unhealthy": ("server_error", "server_is_overloaded"),
    "timeout": ("server_error", "timeout"),
    "internal": ("server_error", None),
}


def texts_of(value: object) -> list[str]:
    """The texts of an ``input``, one per result: a string is one, a list of strings several, and a list of parts is
    one in parts.

    Raises:
        RequestError: it is something else, or there is no text.
    """
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise RequestError("invalid", f"input must be a string or a list, got {type_name(value)}", field="input")
    if not value:
        raise RequestError("empty", "there is no text")
    if not any(isinstance(item, dict) for item in value):
        return [require(item, str, f"input[{i}]") for i, item in enumerate(value)]
    return ["\n".join(_part(as_object(item, f"input[{i}]"), i) for i, item in enumerate(value))]


def _part(part: Mapping[str, Any], position: int) -> str:
    if part.get("type") != "text":
        raise RequestError("invalid", f"input[{position}]: only parts of type text can be scored", field="input")
    return require(part.get("text"), str, f"input[{position}].text")


@dataclass(frozen=True, kw_only=True)
class Moderator:
    """What a model's scores are in an answer.

    Attributes:
        model: its name.
        columns: category -> column of the scores, for the categories that one of its labels is mapped to.
        fill_categories: whether a result has the other categories as well, with 0.
    """

    model: str
    columns: Mapping[str, int]
    fill_categories: bool = False

    @classmethod
    def of(
        cls, model: str, mapping: Mapping[str, str], labels: tuple[str, ...], *, fill_categories: bool = False
    ) -> Moderator:
        """That of a model with these labels, of which ``mapping`` names those of some categories."""
        columns = {name: labels.index(mapping[name]) for name in VOCABULARIES["openai"] if name in mapping}
        return cls(model=model, columns=columns, fill_categories=fill_categories)

    def result(self, scores: Scores, row: int) -> dict[str, Any]:
        """The result of one text."""
        others = [name for name in VOCABULARIES["openai"] if self.fill_categories and name not in self.columns]
        applies = {name: bool(scores.decisions[row, column]) for name, column in self.columns.items()}
        # null is allowed for these two only
        nothing = {name: None if name.startswith("illicit") else False for name in others}
        return {
            "flagged": any(applies.values()),
            "categories": {**applies, **nothing},
            "category_scores": {
                **{name: float(scores.probabilities[row, column]) for name, column in self.columns.items()},
                **dict.fromkeys(others, 0.0),
            },
            "category_applied_input_types": {
                **{name: ["text"] for name in self.columns},
                **{name: [] for name in others},
            },
            "review": bool(scores.needs_review[row]),
            "truncated": bool(scores.truncated[row]),
        }


def moderation(request_id: str, model: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    """The body of an answer."""
    return {"id": f"modr-{request_id}", "model": model, "results": results}


def error_content(error: RequestError) -> dict[str, Any]:
    """The body of an answer that is an error."""
    kind, code = _ERRORS.get(error.kind, ("invalid_request_error", error.code or None))
    return {"error": {"message": error.message, "type": kind, "param": error.field or None, "code": code}}

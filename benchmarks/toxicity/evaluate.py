"""Measures models of toxicity on sets that people judged, none of which they were trained on.

    python benchmarks/toxicity/evaluate.py BUNDLE_OR_RUN ... --data FOLDER --json benchmarks/results/toxicity.json

``--data`` is a folder with hatecheck.csv, davidson-2017.csv, eval_surge.csv and eval_openai_mod.csv. Texts that a model
has seen in training, validation or fitting are left out and counted. A model has the labels of the recipe
minilm-toxicity, or hate, offensive and neither.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from extend import filled
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from toxonnx.convert.evaluated_checkpoint import evaluated_checkpoint
from toxonnx.data.fingerprints import is_seen
from toxonnx.evaluate.loading import load_models
from toxonnx.evaluate.models import EvaluatedModel
from toxonnx.evaluate.suites import load_suite, measure_answers, read_cases
from toxonnx.inference.options import RuntimeOptions
from toxonnx.io.table import read_table
from toxonnx.system import describe_system

#: label -> the labels of a model with three classes that stand for it
CLASSES = {"toxicity": ("hate", "offensive"), "identity_attack": ("hate",)}
#: column of eval_openai_mod.csv -> the labels of which the highest probability is compared with it
MODERATION = {
    "sexual": ("sexual",),
    "identity_attack": ("identity_attack",),
    "threat": ("threat",),
    "any": ("toxicity", "identity_attack", "insult", "threat", "sexual"),
    "H": ("identity_attack",),
    "HR": ("insult",),
    "V": ("threat",),
}


#: spellings and grammar that are frequent in African-American English (Blodgett et al., EMNLP 2016; Green, African
#: American English, 2002) and rude in none: habitual be, ain't, finna, consonants as they are spoken
DIALECT = re.compile(
    r"\b(?:(?:he|she|they|we|you|it|i|people|folks) be (?!like\b)\w+|ain'?t|finna|tryna|imma|ima|gon|dat|dis|dem|dey"
    r"|wit|witcha|nun|nuttin|sumn|sum'n|iont|ion|talmbout|bouta|boutta|ery|errbody|skool|doe|tho|yall|y'all)\b",
    re.IGNORECASE,
)
#: harmless statements about groups, which ``extend.py`` does not write
STATEMENTS = (
    "{Many} opened a bakery here.", "My neighbours are {many} and they have a cat.", "{One} sold me this table.",
    "{Many} meet in the library on Fridays.", "The choir has six {many}.", "{Many} painted the fence.",
    "{One} lives on the third floor.", "{Many} asked for a longer break.", "We hired {one} last month.",
    "{Many} were at the market this morning.", "{One} walks two goats to the field.", "The ad shows {many} with a pig.",
    "{Many} pay the same fare.", "{One} left a bag on the bus.", "Some {many} own boats.", "{Many} answered first.",
    "{One} waters the garden.", "{Many} study law here.", "I saw {one} feeding ducks.",
    "{Many} and students share this kitchen.",
)  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What a model says about some texts.

    Attributes:
        probabilities: label -> float64 [texts].
        decisions: label -> bool [texts].
        new: bool [texts], whether the model has not seen the text before.
    """

    probabilities: dict[str, NDArray[np.float64]]
    decisions: dict[str, NDArray[np.bool_]]
    new: NDArray[np.bool_]


def ask(model: EvaluatedModel, texts: list[str]) -> Answers:
    """Scores texts."""
    scores = model.scorer.score(texts)
    names = model.labels.names
    groups = {name: (name,) for name in names} if model.labels.multi else CLASSES
    columns = {label: [names.index(name) for name in of] for label, of in groups.items() if set(of) <= set(names)}
    cleaned = [model.text.clean(text) for text in texts]
    seen = np.zeros(len(texts), dtype=bool)
    for hashes in model.fingerprints.values():
        seen |= is_seen(cleaned, hashes)
    return Answers(
        {label: scores.probabilities[:, where].sum(axis=1) for label, where in columns.items()},
        {label: scores.decisions[:, where].any(axis=1) for label, where in columns.items()},
        ~seen,
    )


def _judged(column: list[str]) -> NDArray[np.float64]:
    return np.array([float(cell) if cell.strip() else np.nan for cell in column])


def _binary(truth: NDArray[np.float64], probability: NDArray[np.float64], decision: NDArray[np.bool_]) -> Any:
    rows = ~np.isnan(truth)
    truth, probability, decision = truth[rows] > 0, probability[rows], decision[rows]
    return {
        "rows": int(rows.sum()),
        "positive": int(truth.sum()),
        "auc": float(roc_auc_score(truth, probability)),
        "accuracy": float((truth == decision).mean()),
        "macro_f1": float(f1_score(truth, decision, average="macro")),
    }


def surge(model: EvaluatedModel, data: Path) -> dict[str, Any]:
    """Toxicity of comments from many platforms."""
    table = read_table(data / "eval_surge.csv")
    answers = ask(model, table.column("text"))
    truth = np.where(answers.new, _judged(table.column("toxicity")), np.nan)
    return {"toxicity": _binary(truth, answers.probabilities["toxicity"], answers.decisions["toxicity"])}


def moderation(model: EvaluatedModel, data: Path) -> dict[str, Any]:
    """The categories of OpenAI's moderation set."""
    table = read_table(data / "eval_openai_mod.csv")
    answers = ask(model, table.column("text"))
    result = {}
    for column, labels in MODERATION.items():
        known = [label for label in labels if label in answers.probabilities]
        if not known:
            continue
        truth = np.where(answers.new, _judged(table.column(column)), np.nan)
        probability = np.max([answers.probabilities[label] for label in known], axis=0)
        decision = np.any([answers.decisions[label] for label in known], axis=0)
        result[column] = {"labels": known, **_binary(truth, probability, decision)}
    return result


def davidson(model: EvaluatedModel, data: Path) -> dict[str, Any]:
    """Hate speech or offensive language against neither, on tweets that the model has not seen."""
    table = read_table(data / "davidson-2017.csv")
    answers = ask(model, table.column("tweet"))
    truth = np.where(answers.new, np.array(table.column("class")) != "2", np.nan)
    return {"toxicity": _binary(truth, answers.probabilities["toxicity"], answers.decisions["toxicity"])}


def dialect(model: EvaluatedModel, data: Path) -> dict[str, Any]:
    """How often harmless tweets are taken for toxic, with and without marks of African-American English.

    A model that was trained on many of them has seen all but a few, so the share of all of them is given, too.
    """
    table = read_table(data / "davidson-2017.csv")
    texts = [text for text, name in zip(table.column("tweet"), table.column("class"), strict=True) if name == "2"]
    answers = ask(model, texts)
    marked = np.array([DIALECT.search(text) is not None for text in texts])
    taken = answers.decisions["toxicity"]
    return {
        name: {
            "rows": int((rows & answers.new).sum()),
            "false_positive_rate": float(taken[rows & answers.new].mean()) if (rows & answers.new).any() else None,
            "rows_with_seen": int(rows.sum()),
            "false_positive_rate_with_seen": float(taken[rows].mean()),
        }
        for name, rows in (("marked", marked), ("others", ~marked))
    }


def hatecheck(model: EvaluatedModel, data: Path) -> dict[str, Any]:
    """HateCheck, with identity_attack as hateful."""
    suite = load_suite("hatecheck")
    cases = read_cases(suite, data / "hatecheck.csv")
    answers = ask(model, cases.texts)
    decided = answers.decisions["identity_attack"]
    measured = asdict(measure_answers(suite, cases, decided, model.name, ("identity_attack",)))
    groups = {}
    for one in measured.pop("groups"):
        parts = [part for part in (one["positive"], one["negative"]) if part]
        groups[one["group"]] = sum(p["correct"] for p in parts) / sum(p["cases"] for p in parts)
    return {
        "seen": int((~answers.new).sum()),
        **{key: measured[key]["accuracy"] for key in ("all", "positive", "negative")},
        "functionalities": {one["code"]: one["accuracy"] for one in measured["functionalities"]},
        "groups": groups,
    }


def statements(model: EvaluatedModel, data: Path) -> dict[str, Any]:
    """How often harmless statements about groups get a label; they are the same for every ``data``."""
    texts = list(filled(STATEMENTS, random.Random(0)))
    answers = ask(model, texts)
    return {"rows": len(texts), **{label: float(answers.decisions[label].mean()) for label in CLASSES}}


SETS: dict[str, Callable[[EvaluatedModel, Path], dict[str, Any]]] = {
    "hatecheck": hatecheck, "surge": surge, "openai_mod": moderation, "davidson": davidson,
    "dialect": dialect, "statements": statements,
}  # fmt: skip


def main() -> None:
    """Measures each model on each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names of bundles, or folders of bundles or runs")
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--json", required=True, type=Path, help="results of other models in it are kept")
    arguments = parser.parse_args()
    table = json.loads(arguments.json.read_text(encoding="utf-8")) if arguments.json.exists() else {"models": {}}
    models = load_models(
        arguments.models, RuntimeOptions(), lambda source, gpu: evaluated_checkpoint(source, on_gpu=gpu), lambda _: None
    )
    for model in models:
        table["models"][model.name] = {name: measure(model, arguments.data) for name, measure in SETS.items()}
        table["machine"] = describe_system().to_dict()
        arguments.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        print(f"{model.name}: {json.dumps(table['models'][model.name], indent=1)}")


if __name__ == "__main__":
    main()

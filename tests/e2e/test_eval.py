"""``toxonnx eval``, and the thresholds that an export fits."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn.metrics
from helpers import SHIPPED, SHIPPED_LABELS, real_data, recipe, sentences, toxonnx, write_csv

from toxonnx.bundle import open_bundle
from toxonnx.evaluate.suites import load_suite, measure_answers, read_cases
from toxonnx.texts import fold

#: a word in the texts that no report may contain
MARKER = "quokka"


@pytest.fixture(scope="session")
def mixed(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows that the run was trained or validated on, with other case and white space, and new rows."""
    with open(labelled, encoding="utf-8", newline="") as file:
        seen = [[f"  {row['text'].upper()} ", row["class"], "old"] for row in list(csv.DictReader(file))[:40]]
    new = [[f"{text} {MARKER}", label, "new" if i % 3 else "newer"] for i, (text, label) in enumerate(sentences(90, 9))]
    new[5][1] = "praise" if new[5][1] == "complaint" else "complaint"  # one that no model gets right
    return write_csv(tmp_path_factory.mktemp("mixed") / "mixed.csv", ["text", "class", "source"], [*seen, *new, new[0]])


def test_a_bundle_and_pytorch_on_partly_seen_rows(
    run: Path, bundles: dict[str, Path], labelled: Path, mixed: Path, tmp_path: Path
) -> None:
    done = toxonnx(
        "eval", bundles["int8"], mixed, "--compare", run, "--compare", bundles["fp32"], "--group-by", "source",
        "--bootstrap-samples", 100, "--json", tmp_path / "e.json", "--html", tmp_path / "e.html",
        "--markdown", tmp_path / "e.md", "--fail-under", "accuracy=0.5",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "e.json").read_text())
    ours, pytorch, exact = report["models"]
    assert [one["name"] for one in report["models"]] == ["int8", "run in PyTorch", "fp32"]
    # Fingerprints identify every seen row, regardless of case and white space.
    with open(labelled, encoding="utf-8", newline="") as file:
        texts = {fold(row["text"]) for row in csv.DictReader(file)}
    with open(mixed, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    seen = [fold(row["text"]) in texts for row in rows]
    assert sum(seen) >= 40
    for one in report["models"]:
        assert one["rows"] == 131 and one["leaky_rows"] == sum(seen)
        assert one["leaks"]["training"] + one["leaks"]["validation"] == sum(seen)
        assert (one["unseen"]["rows"], one["all_rows"]["rows"]) == (131 - sum(seen), 131)
    assert f"LEAKY: int8 has seen {sum(seen)} of 131 rows" in done.stdout

    # The metrics are those of what predict writes.
    scored = toxonnx("predict", mixed, "--bundle", bundles["int8"])
    predicted = [row["label"] for row in csv.DictReader(scored.stdout.splitlines())]
    new = [i for i, was_seen in enumerate(seen) if not was_seen]
    y_true, answers = [rows[i]["class"] for i in new], [predicted[i] for i in new]
    metrics = ours["unseen"]["metrics"]
    assert metrics["accuracy"] == pytest.approx(sklearn.metrics.accuracy_score(y_true, answers))
    assert metrics["macro_f1"] == pytest.approx(sklearn.metrics.f1_score(y_true, answers, average="macro"))
    low, high = ours["unseen"]["intervals"]["accuracy"]
    assert low <= metrics["accuracy"] <= high and low < high
    groups = {one["value"]: one["rows"] for one in ours["groups"]["source"]}
    assert groups == {value: sum(rows[i]["source"] == value for i in new) for value in ("new", "newer")}

    first, second = report["comparisons"]
    assert (first["other"], second["other"]) == ("run in PyTorch", "fp32")
    assert first["rows"] == 131 - sum(seen) and first["same_label"] >= 0.97
    value, low, high = first["differences"]["accuracy"].values()
    assert (value == 0 if low is None else low <= value <= high) and first["mcnemar"]["p"] > 0.05
    # ONNX fp32 equals PyTorch, except for the temperature.
    assert exact["unseen"]["metrics"]["accuracy"] == pytorch["unseen"]["metrics"]["accuracy"]

    page = (tmp_path / "e.html").read_text(encoding="utf-8")
    assert page.count("<svg") == page.count("</svg>") == 1 + 3 * 2
    assert not re.findall(r'(?:src|href)="(?!#)', page), "the page loads external resources"
    everything = page + (tmp_path / "e.json").read_text() + (tmp_path / "e.md").read_text() + done.stdout + done.stderr
    assert MARKER not in everything.lower(), "a report contains the text of a row"
    assert f"| accuracy | {metrics['accuracy']:.4f} (" in (tmp_path / "e.md").read_text()


def test_metrics_on_seen_rows_prove_nothing(bundles: dict[str, Path], labelled: Path) -> None:
    done = toxonnx("eval", bundles["int8"], labelled, "--bootstrap-samples", 0, "--fail-under", "macro_f1=0.1")
    assert done.returncode == 1
    assert "int8 has seen all of these rows that have a label: metrics on them prove nothing" in done.stderr
    assert "no unseen row with a label is left" in done.stdout and "LEAKY" in done.stdout


def test_a_missed_limit_is_exit_code_1(bundles: dict[str, Path], mixed: Path) -> None:
    done = toxonnx("eval", bundles["int8"], mixed, "--bootstrap-samples", 0, "--fail-under", "accuracy=1")
    assert done.returncode == 1
    assert re.search(r"int8, on \d+ rows: accuracy is 0\.\d+, required is 1", done.stderr)


SUITE = """
title = "Politeness"
source = "Made up."
cases = 4
positive = "rude"
negative = "polite"
[columns]
text = "case"
gold = "gold"
functionality = "kind"
group = "about"
[[functionality]]
id = "plain_r"
code = "P1"
group = "Plain"
description = "Plain rudeness"
gold = "rude"
[[functionality]]
id = "thanks_p"
code = "P2"
group = "Plain"
description = "Thanks"
gold = "polite"
"""


LIST_OF_NUMBERS = 'functionality = [1, 2]\ncolumns = {text = "case", gold = "gold", functionality = "kind"}'


def test_a_user_defined_suite(bundles: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(SUITE)
    cases = [
        ["the soup was awful", "rude", "plain_r", "food"], ["the train was rotten", "rude", "plain_r", "travel"],
        ["the bread was lovely", "polite", "thanks_p", "food"], ["the film was great", "polite", "thanks_p", ""],
    ]  # fmt: skip
    header = ["case", "gold", "kind", "about"]
    file = write_csv(tmp_path / "cases.csv", header, [list(case) for case in cases])
    asked = ("--suite", tmp_path / "suite.toml", "--cases", file)
    done = toxonnx(
        "eval", bundles["int8"], *asked, "--positive-labels", "complaint", "--positive-labels", "complaint,praise",
        "--json", tmp_path / "s.json", "--html", tmp_path / "s.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, every = json.loads((tmp_path / "s.json").read_text())["suite"]["models"]
    assert (one["name"], every["name"]) == ("int8 (complaint)", "int8 (complaint, praise)")
    # Calling everything rude gets the rude cases right and no other.
    assert (every["positive"]["accuracy"], every["negative"]["accuracy"]) == (1, 0)
    assert [part["correct"] for part in every["functionalities"]] == [2, 0]
    assert {part["group"] for part in every["groups"]} == {"food", "travel"}
    assert one["all"]["correct"] >= 3
    assert "P2 Thanks" in done.stdout and "2 cases" not in done.stdout

    for change, message in (
        (["x", "rude", "plain_x", ""], "cases.csv, line 6: functionality 'plain_x' is not in Politeness"),
        (["x", "polite", "plain_r", ""], "cases.csv, line 6: a case of 'plain_r' is labelled 'polite'"),
    ):
        write_csv(tmp_path / "cases.csv", header, [*(list(case) for case in cases), change])
        done = toxonnx("eval", bundles["int8"], *asked, "--positive-labels", "complaint")
        assert done.returncode == 2 and message in done.stderr, done.stderr
    write_csv(tmp_path / "cases.csv", header, [list(cases[0])])
    done = toxonnx("eval", bundles["int8"], *asked, "--positive-labels", "complaint")
    assert "1 case, but the complete suite has 4" in done.stdout and "no cases of P2" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to evaluate on"),
        (
            ["rows.csv", "--label-column", "tone"],
            "rows.csv, line 3: column 'tone' must contain one of complaint, praise",
        ),
        (
            ["rows.csv"],
            "rows.csv: no column is known to contain the labels\n"
            "Name it with --label-column; the columns are 'text', 'tone'",
        ),
        (["rows.csv", "--label-column", "mood"], "has no column 'mood'"),
        (["rows.csv", "--group-by", "mood"], "has no column 'mood'"),
        (["rows.csv", "--label-map", "ok"], "--label-map must be NAME=LABEL,..., got 'ok'"),
        (["rows.csv", "--label-column", "tone", "--label-map", "ok=fine"], "the model has no label fine"),
        (["rows.csv", "--fail-under", "accuracy=0.9", "--fail-under", "accuracy=0.1"], "two limits for accuracy"),
        (["rows.csv", "--fail-under", "beauty=1"], "--fail-under must be METRIC=X with X from 0 to 1, got 'beauty=1'"),
        (["--suite", "hatecheck"], "--suite, --cases and --positive-labels must be given together"),
        (["rows.csv", "--json", "a.json", "--html", "a.json"], "--html a.json is also the file of --json"),
        (["rows.csv", "--json", "rows.csv", "--force"], "--json rows.csv is an input of this command"),
        (["rows.csv", "--seed", "-1"], "-1 is not in the range x>=0"),
        (["rows.csv", "--bootstrap-samples", "5"], "5 bootstrap samples are too few"),
        (
            ["rows.csv", "--fail-under", "accuracy=90"],
            "--fail-under must be METRIC=X with X from 0 to 1, got 'accuracy=90'",
        ),
        (
            ["rows.csv", "--label-column", "text"],
            "line 2: column 'text' must contain one of complaint, praise, got a value of 10 characters",
        ),
        (
            ["good.csv", "--label-column", "tone", "--group-by", "text"],
            "--group-by text: this column is part of the text",
        ),
        (["--suite", "nothing", "--cases", "rows.csv", "--positive-labels", "praise"], "no suite 'nothing'"),
        (["--suite", "hatecheck", "--cases", "rows.csv", "--positive-labels", "praise"], "has no column 'test_case'"),
        (["--fail-under", "accuracy=1", "--suite", "hatecheck"], "--label-map need DATA"),
        (["rows.csv", "--json", "good.csv"], "good.csv already exists"),
        (["rows.csv", "--compare", "nowhere"], "no bundle 'nowhere'"),
    ],
)
def test_wrong_usage_is_one_clear_error(
    bundles: dict[str, Path], tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_csv(tmp_path / "rows.csv", ["text", "tone"], [["a fine day", "praise"], ["a coat", "odd"]])
    write_csv(tmp_path / "good.csv", ["text", "tone"], [["a fine day", "praise"], ["a coat", "praise"]])
    done = toxonnx("eval", bundles["int8"], *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and "Traceback" not in done.stderr


def test_other_labels_are_refused(bundles: dict[str, Path], mixed: Path) -> None:
    done = toxonnx("eval", bundles["int8"], mixed, "--compare", SHIPPED)
    assert done.returncode == 2
    assert f"{SHIPPED.name} has the labels {', '.join(SHIPPED_LABELS)}; int8 has complaint, praise" in done.stderr


def test_thresholds_are_part_of_the_bundle_and_used(run: Path, mixed: Path, tmp_path: Path) -> None:
    done = toxonnx(
        "export", run, "-o", tmp_path / "sure", "--target-precision", "praise=1", "--data", mixed,
        "--text-column", "text", "--label-column", "class",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "thresholds for precision 1 of praise, on mixed.csv: complaint from 0.500" in done.stderr
    manifest = open_bundle(tmp_path / "sure").manifest
    fitted = manifest.decisions.fitted
    assert fitted is not None and fitted["per_class"]["praise"]["precision"][0] == 1
    assert "Thresholds for precision 1 of praise." in (tmp_path / "sure" / "README.md").read_text()

    done = toxonnx("predict", mixed, "--bundle", tmp_path / "sure")
    rows = list(csv.DictReader(done.stdout.splitlines()))
    praise = manifest.labels.thresholds[1]
    assert manifest.labels.thresholds[0] == 0.5 < praise
    for row in rows:
        reached = float(row["praise"]) >= praise or float(row["complaint"]) >= 0.5
        if abs(float(row["praise"]) - praise) > 1e-6:
            assert row["review"] == str(int(not reached))
    marked = sum(row["review"] == "1" for row in rows)
    assert (f"marked for review: {marked} (" in done.stderr) == (marked > 0)

    # Everything is below a probability of 1.
    done = toxonnx("predict", mixed, "--bundle", tmp_path / "sure", "--review-below", 1)
    assert {row["review"] for row in csv.DictReader(done.stdout.splitlines())} == {"1"}
    assert "marked for review: 131 (100.0%)" in done.stderr
    assert "review" in toxonnx("predict", mixed, "--review-below", 0.5, "--text-column", "text").stdout.splitlines()[0]

    done = toxonnx("export", run, "-o", tmp_path / "no", "--target-precision", "fine=1")
    assert done.returncode == 2 and "there is no label fine to set a target for" in done.stderr
    for given, message in (
        ("much", "--target-recall must be X or LABEL=X,..., got 'much'"),
        ("", "--target-recall must be X or LABEL=X,..., got ''"),
        ("praise=0.5,praise=0.9", "--target-recall 'praise=0.5,praise=0.9' has two values for praise"),
        ("praise=2", "a target must be greater than 0 and at most 1"),
    ):
        done = toxonnx("export", run, "-o", tmp_path / "no", "--target-recall", given)
        assert done.returncode == 2 and message in done.stderr, done.stderr
    assert not (tmp_path / "no").exists()


def test_the_shipped_bundle_has_its_recorded_hatecheck_results() -> None:
    """Scored here again; a few cases may differ by the CPU's rounding."""
    suite = load_suite("hatecheck")
    cases = read_cases(suite, real_data("hatecheck.csv"))
    assert (len(cases.texts), len(suite.functionalities), cases.notes) == (3728, 29, [])
    from toxonnx import Classifier

    classifier = Classifier.load()
    hateful = classifier.labels.names.index("identity_attack")
    predicted = classifier.score(cases.texts).decisions[:, hateful]
    found = measure_answers(suite, cases, predicted, "shipped", ["identity_attack"])
    kept = classifier.bundle.manifest.evaluation["suite"]["models"][0]
    assert kept["positive_labels"] == ["identity_attack"]
    for side in ("all", "positive", "negative"):
        assert abs(getattr(found, side).correct - kept[side]["correct"]) <= 5


@pytest.fixture(scope="session")
def several(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A multi-label bundle with unusual label names, and its training file."""
    folder = tmp_path_factory.mktemp("several")
    rows = [[text, int(label == "complaint"), int("soup" in text)] for text, label in sentences(160, 5)]
    data = write_csv(folder / "multi.csv", ["text", "$rude/a_$", "_food, [b]"], rows)
    mappings = """
[labels.mappings.perspective]
INSULT = "$rude/a_$"
"""
    path = recipe(folder / "multi.toml", method="full", epochs=2, rate=1e-3, tail=mappings)
    path.write_text(path.read_text().replace('column = "class"', 'columns = ["$rude/a_$", "_food, [b]"]'))
    done = toxonnx("train", data, "--recipe", path, "--base", bases["bert"], "-o", folder / "run")
    assert done.returncode == 0, done.stderr
    done = toxonnx("export", folder / "run", "-o", folder / "bundle", "--best-f1")
    assert done.returncode == 0, done.stderr
    return folder / "bundle", data


def test_unusual_label_names(several: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, _ = several
    assert "names of perspective: INSULT is $rude/a_$" in toxonnx("info", bundle).stdout
    rows = [[text, int(label == "complaint"), int("soup" in text), "a|b"] for text, label in sentences(60, 77)]
    data = write_csv(tmp_path / "new.csv", ["text", "$rude/a_$", "_food, [b]", "group"], rows)
    done = toxonnx(
        "eval", bundle, data, "--bootstrap-samples", 100, "--json", tmp_path / "e.json", "--html", tmp_path / "e.html",
        "--markdown", tmp_path / "e.md", "--group-by", "group",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    model = json.loads((tmp_path / "e.json").read_text())["models"][0]
    metrics = model["unseen"]["metrics"]
    assert metrics["confusion"] == [] and set(metrics["per_class"]) == {"$rude/a_$", "_food, [b]"}
    assert model["rows"] == 60 and model["unseen"]["rows"] == 60 - model["leaky_rows"]
    assert set(model["threshold_metrics"]["per_class"]) == set(metrics["per_class"])
    # The names are shown unchanged: in plots, in Markdown, on the terminal.
    assert "$rude/a_$" in (tmp_path / "e.html").read_text() and "$rude/a_$" in done.stdout
    assert "a\\|b" in (tmp_path / "e.md").read_text()
    card = (bundle / "README.md").read_text()
    assert "Thresholds for the best macro F1" in card and "$rude/a\\_$" in card
    assert "marked for review" not in card


def test_a_file_with_some_of_the_labels(several: tuple[Path, Path], tmp_path: Path) -> None:
    bundle, _ = several
    rows = [[text, int(label == "complaint") if i % 3 else ""] for i, (text, label) in enumerate(sentences(60, 78))]
    data = write_csv(tmp_path / "some.csv", ["text", "impolite"], rows)
    arguments = ("eval", bundle, data, "--bootstrap-samples", 0, "--json", tmp_path / "e.json")
    done = toxonnx(*arguments, "--label-map", "impolite=$rude/a_$")
    assert done.returncode == 0, done.stderr
    model = json.loads((tmp_path / "e.json").read_text())["models"][0]
    assert {name: one["known"] for name, one in model["unseen"]["metrics"]["per_class"].items()} == {
        "$rude/a_$": 40, "_food, [b]": 0,
    }  # fmt: skip
    assert model["unseen"]["metrics"]["per_class"]["$rude/a_$"]["roc_auc"] > 0.9
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith("_food, [b]"))
    assert row[2:] == ["0", "0", "0", *["-"] * 6]
    assert model["unseen"]["metrics"]["macro_f1"] == model["unseen"]["metrics"]["per_class"]["$rude/a_$"]["f1"]
    for wrong, message in (
        (["--label-column", "impolite"], r"'impolite' is not a label of the model\n.*--label-map"),
        (["--label-map", "impolite=rude"], "the model has no label rude"),
        (["--label-column", "text", "--label-map", "text=$rude/a_$"], "column 'text' must contain 0, 1 or nothing"),
        ([], "no column is known to contain the labels"),
    ):
        done = toxonnx(*arguments, *wrong, "--force")
        assert done.returncode == 2 and re.search(message, done.stderr), done.stderr
    empty = write_csv(tmp_path / "empty.csv", ["text", "_food, [b]"], [["a fine day", ""]])
    assert "no row has a label in '_food, [b]'" in toxonnx("eval", bundle, empty).stderr


def test_a_model_with_unknown_training_texts(run: Path, labelled: Path, tmp_path: Path) -> None:
    """Exported from a checkpoint with --data: the training texts are unknown, the fitted rows are recognised."""
    fitted = write_csv(tmp_path / "fit.csv", ["text", "class"], [list(row) for row in sentences(90, 31)])
    done = toxonnx(
        "export", run / "checkpoint", "-o", tmp_path / "bare", "--precision", "fp32", "--data", fitted,
        "--text-column", "text", "--label-column", "class", "--best-f1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    card = (tmp_path / "bare" / "README.md").read_text()
    assert "no test split" not in card and "TF-IDF" not in card
    done = toxonnx("eval", tmp_path / "bare", labelled, "--label-column", "class", "--bootstrap-samples", 0)
    assert "The training texts of bare are unknown" in done.stdout
    assert "No text matches the fingerprints" not in done.stdout
    done = toxonnx("eval", tmp_path / "bare", fitted, "--label-column", "class", "--bootstrap-samples", 0)
    assert "to fit scales, calibration or thresholds" in done.stdout
    assert "LEAKY" in done.stdout and "are unknown" in done.stdout


def test_a_card_without_test_rows_reports_that_its_rows_were_seen(bundles: dict[str, Path]) -> None:
    card = (bundles["int8"] / "README.md").read_text()
    assert "no test split: these rows" in card
    assert "LEAKY: int8 has seen 64 of 64 rows (64 in validation, to choose the epoch)" in card
    assert "No text matches the fingerprints" not in card


def test_suite_cases_seen_in_training_are_reported(bundles: dict[str, Path], labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "suite.toml").write_text(SUITE)
    with open(labelled, encoding="utf-8", newline="") as file:
        text = next(csv.DictReader(file))["text"]
    cases = write_csv(
        tmp_path / "cases.csv", ["case", "gold", "kind", "about"],
        [[text, "rude", "plain_r", ""], ["the lamp was grand", "polite", "thanks_p", ""]],
    )  # fmt: skip
    asked = ("--suite", tmp_path / "suite.toml", "--cases", cases, "--positive-labels", "complaint")
    assert "LEAKY: int8 has seen 1 of these cases" in toxonnx("eval", bundles["int8"], *asked).stdout
    for key, value, message in (
        ("cases = 4", 'cases = "four"', 'cases must be an integer, got "four"'),
        ('title = "Politeness"\n', "", "missing key title"),
        ('code = "P2"', 'codes = "P2"', "unknown key functionality[1].codes"),
        (SUITE[SUITE.index("[columns]") :], LIST_OF_NUMBERS, "functionality[0] must be an object, got 1"),
        ("cases = 4", f"cases = {'[' * 3000}4{']' * 3000}", "is not TOML"),
        ('id = "thanks_p"', 'id = "plain_r"', "functionality[1].id 'plain_r' is that of another functionality"),
    ):
        (tmp_path / "suite.toml").write_text(SUITE.replace(key, value))
        done = toxonnx("eval", bundles["int8"], *asked)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_a_closed_pipe_loses_no_report(mixed: Path, bundles: dict[str, Path], tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "toxonnx", "eval", str(bundles["int8"]), str(mixed), "--bootstrap-samples", "0",
        "--json", str(tmp_path / "e.json"), "--fail-under", "accuracy=1",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait() == 1
    assert "accuracy is 0." in errors and "Traceback" not in errors
    assert json.loads((tmp_path / "e.json").read_text())["models"]

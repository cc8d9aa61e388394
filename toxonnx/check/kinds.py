"""The registry of finding kinds: every problem that ``toxonnx check`` can report.

After a change, run ``python tests/check/test_kinds.py``, which writes the table of kinds in docs/checking-data.md.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["KINDS", "SEVERITIES", "FindingKind"]

#: from the most to the least severe
SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class FindingKind:
    """A kind of problem.

    Attributes:
        id: stable identifier, the same in every version.
        description: what is wrong, one line.
        severity: one of :data:`SEVERITIES`; None if it depends on the data.
        advice: what to do, unless the finding has more specific advice.
    """

    id: str
    description: str
    severity: str | None
    advice: str


_KINDS = (
    # file format
    FindingKind(
        "missing-header", "The first line looks like data, not like a header.", "error",
        "Add a first line with the column names, or use --no-header; the first line was read as the header.",
    ),
    FindingKind(
        "ragged-rows", "Rows have more or fewer fields than the header.", "error",
        "Quote fields that contain the delimiter or a line break. These rows were skipped here.",
    ),
    FindingKind(
        "undecodable-bytes", "Rows contain bytes that are invalid in the file's encoding.", "error",
        "Pass the file's encoding with --encoding, or fix the rows.",
    ),
    FindingKind(
        "repeated-header", "The header occurs again between the rows, as in concatenated files.", "error",
        "Remove these lines, which usually come from concatenated files. They were skipped here.",
    ),
    FindingKind(
        "merged-rows", "An unbalanced quote has merged several rows into one.", "warning",
        "Look for a field that starts with a stray quote: everything up to the next quote becomes part of that field.",
    ),
    # labels
    FindingKind(
        "empty-labels", "Rows have no label.", None,
        'Label these rows, or leave them out with labels.missing = "drop" in the recipe; else training stops.',
    ),
    FindingKind(
        "score-labels", "The label column contains scores.", "error",
        "Set labels.threshold in the recipe, the number from which a row counts as 1, or name another column.",
    ),
    FindingKind(
        "decimal-labels", "Labels are whole numbers with decimals.", "note",
        "Nothing: data frames write integers so if some rows have no value. Training reads them the same way.",
    ),
    FindingKind(
        "unknown-labels", "Rows have a label that the recipe does not list, or a value other than 0 and 1.", "error",
        "Fix these rows, or add the label to labels.names in the recipe.",
    ),
    FindingKind(
        "label-variants", "The same label is spelled in several ways.", "error",
        "Use one spelling per label, or map every spelling in the recipe's labels.names; otherwise each spelling "
        "becomes a separate class.",
    ),
    FindingKind(
        "label-typos", "A rare label is spelled almost like a frequent one.", "warning",
        "Check these rows: a typo creates a separate class.",
    ),
    FindingKind(
        "possible-label-columns", "Other columns contain only 0 and 1, too.", "note",
        "If a text can have several labels, pass each of these columns with --label-column.",
    ),
    FindingKind(
        "single-class", "All rows have the same label.", None,
        "A classifier needs rows of at least two classes.",
    ),
    FindingKind(
        "small-classes", "Classes have too few distinct texts to be trained or evaluated.", None,
        "Add texts to these classes.",
    ),
    FindingKind(
        "class-imbalance", "The largest class is many times the size of the smallest.", None,
        "Use macro F1 and per-class F1 rather than accuracy, and weight the classes in training.",
    ),
    FindingKind(
        "conflicting-labels", "The same text has different labels.", "warning",
        "Decide on one label for each of these texts, or add the information that distinguishes the rows to the text.",
    ),
    # texts
    FindingKind(
        "empty-texts", "Rows have no text after normalisation.", "warning",
        "Remove these rows; training skips them.",
    ),
    FindingKind(
        "mojibake", "Texts were decoded with the wrong encoding.", None,
        "Read the file in its original encoding, or repair the texts with ftfy.fix_encoding.",
    ),
    FindingKind(
        "replacement-characters", "Texts contain U+FFFD, the replacement for undecodable bytes.", "warning",
        "Export the file from its source again as UTF-8; the lost characters cannot be restored.",
    ),
    FindingKind(
        "html-entities", "Texts contain HTML entities after normalisation.", "note",
        "Add the step html to text.normalise in the recipe, so that the model reads the characters.",
    ),
    FindingKind(
        "control-characters", "Texts contain control characters.", "note",
        "Remove them; they usually come from another program.",
    ),
    FindingKind(
        "invisible-characters", "Texts contain zero-width or other invisible characters.", "note",
        "Find out whether people or a program wrote them, and whether they are more frequent in one class.",
    ),
    FindingKind(
        "bidirectional-overrides", "Texts contain characters that change the display order of letters.", "warning",
        "View these rows in an editor that shows such characters: annotators did not see what the model reads.",
    ),
    FindingKind(
        "truncation", "Texts are longer than the model's maximum length.", None,
        "Raise max_length if the model supports it, or make sure that the relevant part comes first.",
    ),
    # duplicates and leakage
    FindingKind(
        "duplicate-texts", "Rows repeat the text of an earlier row.", None,
        "Keep identical texts on one side of every split (split.method grouped), or remove the duplicates.",
    ),
    FindingKind(
        "near-duplicates", "Rows have nearly the same text.", None,
        "Review the pairs with different labels; a split.group column can keep near duplicates on one side of a split.",
    ),
    FindingKind(
        "missing-group-values", "Rows have no value in the group columns.", "warning",
        "Give each of these rows its own value there.",
    ),
    FindingKind(
        "infeasible-split", "Training cannot draw the split.", "error",
        "Add rows of that class, or leave out the class or the group.",
    ),
    FindingKind(
        "leaky-split", "A random split inflates the metrics.", None,
        "Report metrics of the clean split, and do not compare them with metrics of a random split.",
    ),
    FindingKind(
        "leaky-column", "A single column predicts the label.", None,
        "It contains the label in another form (votes, a source, a sort order): do not use it as part of the text.",
    ),
    FindingKind(
        "near-perfect-baseline", "The TF-IDF baseline makes almost no errors.", "note",
        "Check whether the text contains the label or the name of its source. No transformer is needed for this data.",
    ),
    # validation file
    FindingKind(
        "unseen-labels", "Labels of the validation file do not occur in the training data.", "error",
        "A model cannot learn a label that has no training rows.",
    ),
    FindingKind(
        "unvalidated-labels", "Labels of the training data do not occur in the validation file.", "warning",
        "Add rows with these labels to the validation file; without them, the labels are not evaluated.",
    ),
    FindingKind(
        "label-shift", "The class distributions of the two files differ.", "note",
        "Find out which file is closer to the texts that the model will score; accuracy depends on it.",
    ),
    FindingKind(
        "train-validation-overlap", "Rows of the validation file have a text of the training data.", "error",
        "Remove these rows from one of the two files, or report metrics without them.",
    ),
    FindingKind(
        "train-validation-near-duplicates", "Rows of the validation file have a near duplicate in the training data.",
        "warning", "Remove these rows from one of the two files, or report metrics without them.",
    ),
)  # fmt: skip

#: id -> kind
KINDS = {kind.id: kind for kind in _KINDS}

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
        example: a case of it, one sentence in Markdown, for the documentation.
    """

    id: str
    description: str
    severity: str | None
    advice: str
    example: str


_KINDS = (
    # file format
    FindingKind(
        "missing-header", "The first line looks like data, not like a header.", "error",
        "Add a first line with the column names, or use --no-header; the first line was read as the header.",
        "the file starts with `The soup was lovely.,praise`; no line names the columns.",
    ),
    FindingKind(
        "ragged-rows", "Rows have more or fewer fields than the header.", "error",
        "Quote fields that contain the delimiter or a line break. These rows were skipped here.",
        "`The soup was warm, and the bread fresh.,praise` below `comment,tone`: the comma in the text makes three "
        "fields.",
    ),
    FindingKind(
        "undecodable-bytes", "Rows contain bytes that are invalid in the file's encoding.", "error",
        "Pass the file's encoding with --encoding, or fix the rows.",
        "a file in Windows-1252 that is read as UTF-8, with the byte `E9` for é.",
    ),
    FindingKind(
        "repeated-header", "The header occurs again between the rows, as in concatenated files.", "error",
        "Remove these lines; they were skipped here.",
        "two files that were joined with `cat`, so that `comment,tone` is also line 5,001.",
    ),
    FindingKind(
        "merged-rows", "An unbalanced quote has merged several rows into one.", "warning",
        "Look for a field that starts with a stray quote: everything up to the next quote becomes part of that field.",
        '`"The soup was cold,complaint` has one quote; the rows below, up to the next quote, become part of this '
        "text.",
    ),
    # labels
    FindingKind(
        "empty-labels", "Rows have no label.", None,
        'Label these rows, or leave them out with labels.missing = "drop" in the recipe; otherwise training stops.',
        "`The train was on time.,` has nothing in the column `tone`.",
    ),
    FindingKind(
        "label-names", "Training refuses the name of a label.", "error",
        "Rename it: a name has no line break, and if a text can have several labels, no |, which joins them.",
        "the label column `rude|vulgar`, beside others.",
    ),
    FindingKind(
        "score-labels", "The label column contains scores.", "error",
        "Set labels.threshold in the recipe, the number from which a row counts as 1, or name another column.",
        "the label column `toxicity` has values such as 0.17, 0.5 and 0.83: shares of annotators.",
    ),
    FindingKind(
        "decimal-labels", "Labels are whole numbers with decimals.", "note",
        "No action needed: pandas writes integers this way if some rows have no value, and training reads 1.0 as 1.",
        "the labels are `0.0` and `1.0`, as pandas writes integers if a row has no value.",
    ),
    FindingKind(
        "unknown-labels", "Rows have a label that the recipe does not list, or a value other than 0 and 1.", "error",
        "Fix these rows, or add the label to labels.names in the recipe.",
        "a row has the label `spam`, and `labels.names` of the recipe lists `praise` and `complaint`.",
    ),
    FindingKind(
        "refused-values", "Shares, votes or weights have values that training refuses.", "error",
        "Fix these cells; training stops at the first one.",
        "`labels.soft` is set, and a row has the share 1.5.",
    ),
    FindingKind(
        "label-variants", "The same label is spelled in several ways.", "error",
        "Use one spelling per label, or map every spelling in the recipe's labels.names; otherwise each spelling "
        "becomes a separate class.",
        "`praise` in 900 rows, `Praise` in 80 and `PRAISE` in 20.",
    ),
    FindingKind(
        "label-typos", "A rare label is spelled almost like a frequent one.", "warning",
        "Check these rows: a typo creates a separate class.",
        "`complaint` in 900 rows, and `complaimt` in 2.",
    ),
    FindingKind(
        "possible-label-columns", "Other columns contain only 0 and 1, too.", "note",
        "If a text can have several labels, pass each of these columns with --label-column.",
        "the label column is `rude`, and the columns `sarcastic` and `off_topic` contain only 0 and 1, too.",
    ),
    FindingKind(
        "single-class", "All rows have the same label.", None,
        "A classifier needs rows of at least two classes.",
        "every row has the label `praise`.",
    ),
    FindingKind(
        "small-classes", "Classes have too few distinct texts to be trained or evaluated.", None,
        "Add texts to these classes.",
        "the class `question` has 3 texts, too few for a training and a validation set.",
    ),
    FindingKind(
        "class-imbalance", "The largest class is many times the size of the smallest.", None,
        "Use macro F1 and per-class F1 rather than accuracy, and weight the classes (training.class_weights).",
        "9,800 rows are `praise` and 200 are `complaint`: a model that always says praise has an accuracy of 98%.",
    ),
    FindingKind(
        "conflicting-labels", "The same text has different labels.", "warning",
        "Decide on one label for each of these texts, or add the information that distinguishes the rows to the text.",
        "`Well done.` is `praise` in line 7 and `complaint` in line 90.",
    ),
    # texts
    FindingKind(
        "empty-texts", "Rows have no text after normalization.", "warning",
        "Remove these rows; training skips them.",
        "a text that is only spaces.",
    ),
    FindingKind(
        "mojibake", "Texts were decoded with the wrong encoding.", None,
        "Read the file in its original encoding, or repair the texts with ftfy.fix_encoding.",
        "`cafÃ©` where someone wrote café: UTF-8 that was read as Windows-1252.",
    ),
    FindingKind(
        "replacement-characters", "Texts contain U+FFFD, the replacement for undecodable bytes.", "warning",
        "Export the file from its source again as UTF-8; the lost characters cannot be restored.",
        "`caf\N{REPLACEMENT CHARACTER}` where someone wrote café.",
    ),
    FindingKind(
        "html-entities", "Texts contain HTML entities after normalization.", "note",
        "Add the step html to text.normalise in the recipe, so that the model reads the characters.",
        "`Fish &amp; chips, please.`, and the recipe does not list the step `html`.",
    ),
    FindingKind(
        "control-characters", "Texts contain control characters.", "note",
        "Remove them; they usually come from another program.",
        "a text with U+0008, a backspace.",
    ),
    FindingKind(
        "invisible-characters", "Texts contain zero-width or other invisible characters.", "note",
        "Find out whether people or a program inserted them, and whether they are more frequent in one class.",
        "`love\N{ZERO WIDTH SPACE}ly`, written here with a zero-width space between the letters.",
    ),
    FindingKind(
        "bidirectional-overrides", "Texts contain characters that change the display order of letters.", "warning",
        "View these rows in an editor that shows such characters: annotators did not see what the model reads.",
        "a text with U+202E, after which an editor shows the letters from right to left.",
    ),
    FindingKind(
        "truncation", "Texts are longer than the model's maximum length.", None,
        "Raise max_length if the model supports it, export with --long-texts windows, or put the relevant part first.",
        "a letter of 900 tokens, of which a model with `max_length = 128` reads the first 128.",
    ),
    # duplicates and leakage
    FindingKind(
        "duplicate-texts", "Rows repeat the text of an earlier row.", None,
        "Keep identical texts on one side of every split (split.method grouped), or remove the duplicates.",
        "`See you at noon.` in lines 3, 40 and 512.",
    ),
    FindingKind(
        "near-duplicates", "Rows have nearly the same text.", None,
        "Review the pairs with different labels; a split.group column can keep near duplicates on one side of a split.",
        "`See you at noon, as agreed last week.` and `See you at noon as agreed last week!`",
    ),
    FindingKind(
        "missing-group-values", "Rows have no value in the group columns.", "warning",
        "Give each of these rows its own value there.",
        "`split.group` is `author`, and 12 rows have no author: they would all count as one group.",
    ),
    FindingKind(
        "infeasible-split", "Training cannot draw the split.", "error",
        "Add rows of that class, or leave out the class or the group.",
        "all rows of the class `question` have the same author, and `split.group` keeps them on one side.",
    ),
    FindingKind(
        "leaky-split", "A random split inflates the metrics.", None,
        "Report metrics of the clean split, and do not compare them with metrics of a random split.",
        "a third of the texts occur twice: the TF-IDF baseline is better on a random split than on a grouped one.",
    ),
    FindingKind(
        "leaky-column", "A single column predicts the label.", None,
        "It contains the label in another form (votes, a source, a sort order): do not use it as part of the text.",
        "the column `votes_rude` is above 2 exactly where the label is `rude`.",
    ),
    FindingKind(
        "near-perfect-baseline", "The TF-IDF baseline makes almost no errors.", "note",
        "Check whether the text contains the label or the name of its source. No transformer is needed for this data.",
        "every text of one class ends with the name of the forum that it was taken from.",
    ),
    # validation file
    FindingKind(
        "unseen-labels", "Labels of the validation file do not occur in the training data.", "error",
        "A model cannot learn a label that has no training rows.",
        "the validation file has rows with the label `question`; the training file has none.",
    ),
    FindingKind(
        "unvalidated-labels", "Labels of the training data do not occur in the validation file.", "warning",
        "Add rows with these labels to the validation file; without them, the labels are not evaluated.",
        "the training file has 40 rows with the label `question`; the validation file has none.",
    ),
    FindingKind(
        "label-shift", "The class distributions of the two files differ.", "note",
        "Find out which file is closer to the texts that the model will score; accuracy depends on it.",
        "30% of the rows in the training file are `complaint`, and 4% in the validation file.",
    ),
    FindingKind(
        "train-validation-overlap", "Rows of the validation file have a text of the training data.", "error",
        "Remove these rows from one of the two files, or report metrics without them.",
        "`See you at noon.` is in both files.",
    ),
    FindingKind(
        "train-validation-near-duplicates", "Rows of the validation file have a near duplicate in the training data.",
        "warning", "Remove these rows from one of the two files, or report metrics without them.",
        "`See you at noon, Anna.` is in the training file, and `See you at noon, Anna!!` in the validation file.",
    ),
)  # fmt: skip

#: id -> kind
KINDS = {kind.id: kind for kind in _KINDS}

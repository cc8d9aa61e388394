/** Scores a file in the browser, batch by batch, and offers it as a download. */

import { batches, classify, joined } from "./api.js";
import { byId, counted, element, fail, select } from "./dom.js";
import { DELIMITERS, FileError, decode, formatOf, guessColumns, isRow, openTable } from "./tables.js";

/** All of it is held in memory. */
const MAX_BYTES = 50_000_000;

const drop = byId("drop");
const input = byId("file");
const form = byId("file-form");
const progress = byId("progress");
const cancel = byId("cancel");
const status = byId("file-status");
const output = byId("file-result");

let bundle;
/** Ends the work on the newest file. Older ones have no effect any more. */
let newest = new AbortController();

export function showFileForm(chosen) {
  bundle = chosen;
  input.value = "";
  clear();
}

function clear() {
  newest.abort();
  form.hidden = true;
  progress.hidden = true;
  status.textContent = "";
  removeResult();
}

function removeResult() {
  for (const link of output.querySelectorAll("a")) URL.revokeObjectURL(link.href);
  output.replaceChildren();
}

/** Whether files are dragged: selected text and links are left to the browser. */
const hasFiles = (event) => event.dataTransfer.types.includes("Files");

// Choosing the same file again would be no change.
input.addEventListener("click", () => {
  input.value = "";
});
input.addEventListener("change", () => input.files.length && open(input.files[0]));
for (const type of ["dragenter", "dragover"]) {
  drop.addEventListener(type, (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    drop.classList.add("over");
  });
}
for (const type of ["dragleave", "drop"]) drop.addEventListener(type, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
});
// A file that is dropped beside the field would be opened in place of the page.
for (const type of ["dragover", "drop"]) {
  addEventListener(type, (event) => hasFiles(event) && event.preventDefault());
}
cancel.addEventListener("click", () => newest.abort());

async function open(file) {
  clear();
  const work = (newest = new AbortController());
  status.textContent = `Reading ${file.name}…`;
  try {
    const format = formatOf(file.name);
    if (file.size > MAX_BYTES) throw new FileError("it has more than 50 MB; score it with toxonnx predict");
    const text = decode(await file.arrayBuffer());
    if (newest === work) ask(file.name, format, text);
  } catch (error) {
    if (newest === work) fail(status, `${file.name} cannot be read: ${error.message}.`);
  }
}

/** Asks which columns are the text, and for the delimiter if the guess is wrong. */
function ask(name, format, text, delimiter) {
  const table = openTable(format, text, delimiter);
  status.textContent = "";
  const count = table.rows.filter(isRow).length;
  const parts = bundle.text.columns.length > 1 ? bundle.text.columns : ["the text"];
  const guess = guessColumns(table.columns, bundle);
  // A single column can have the whole text, also for a model that reads several.
  const none = table.columns.length;
  const selects = parts.map((_, i) =>
    select(i ? [...table.columns, "(none)"] : table.columns, guess[i] ?? none, { id: `column-${i}` }),
  );
  const controls = selects.flatMap((node, i) => [
    element("label", { htmlFor: node.id }, `Column with ${parts[i]}`),
    node,
  ]);
  if (format === "csv" || format === "tsv") {
    const all = { ...DELIMITERS, [table.delimiter]: DELIMITERS[table.delimiter] ?? table.delimiter };
    const keys = Object.keys(all);
    const choice = select(Object.values(all), keys.indexOf(table.delimiter), { id: "delimiter" });
    choice.onchange = () => {
      try {
        ask(name, format, text, keys[choice.value]);
        byId("delimiter").focus();
      } catch (error) {
        fail(status, `With the delimiter ${all[keys[choice.value]]}, ${name} cannot be read: ${error.message}.`);
        choice.value = keys.indexOf(table.delimiter);
      }
    };
    controls.push(element("label", { htmlFor: choice.id }, "Delimiter"), choice);
  }
  const button = element("button", { disabled: !count }, `Score ${counted(count, "row")}`);
  form.replaceChildren(
    element("p", {}, element("strong", {}, name)),
    ...(format === "text" ? [] : [element("div", { className: "grid" }, ...controls)]),
    element("div", { className: "row" }, button),
  );
  form.hidden = false;
  form.onsubmit = (event) => {
    event.preventDefault();
    const columns = selects.map((node) => Number(node.value)).filter((column) => column < none);
    if (columns.length > 1 && columns.length < parts.length) {
      fail(status, "Choose all columns that the model reads, or only the first one if it has the whole text.");
      return;
    }
    score(name, table, columns);
  };
}

async function score(name, table, columns) {
  const work = (newest = new AbortController());
  removeResult();
  const summary = new Summary(table.rows.filter(isRow).length);
  form.hidden = true;
  progress.hidden = false;
  cancel.focus();
  status.textContent = `Scoring ${name}…`;
  const stopped = await fill(table, columns, summary, work.signal);
  if (newest !== work) return;
  const parts = [table.start(bundle)];
  for (const row of table.rows) {
    parts.push(table.line(row, row.result ?? { error: `not scored: ${stopped}` }));
    delete row.result;
  }
  const hadFocus = document.activeElement === cancel;
  progress.hidden = true;
  form.hidden = false;
  const link = offer(name, table, new Blob(parts), summary, stopped);
  if (hadFocus) link.focus();
}

/**
 * Adds a result to each row.
 *
 * @returns {Promise<string>} why the rows after the last one with a result have none; empty if all have one.
 */
async function fill(table, columns, summary, signal) {
  const waiting = [];
  for (const row of table.rows.filter(isRow)) {
    try {
      row.text = joined(table.textOf(row, columns), bundle.text);
      waiting.push(row);
    } catch (error) {
      row.result = { error: error.message };
      summary.add(row.result);
    }
  }
  const onWait = (seconds) => summary.show(`; the server is busy, trying again in ${Math.ceil(seconds)} s`);
  try {
    let next = 0;
    summary.show();
    for (const batch of batches(textsOf(waiting), bundle)) {
      for (const result of await classify(batch, bundle, { signal, onWait })) {
        waiting[next++].result = result;
        summary.add(result);
      }
      summary.show();
    }
    return "";
  } catch (error) {
    return error.name === "AbortError" ? "cancelled" : error.message;
  }
}

function* textsOf(rows) {
  for (const row of rows) {
    yield row.text;
    delete row.text;
  }
}

/** What is counted, and the progress bar. */
class Summary {
  done = 0;
  failed = 0;
  review = 0;
  truncated = 0;

  constructor(rows) {
    this.rows = rows;
    this.labels = new Map(bundle.labels.map(({ name }) => [name, 0]));
    byId("bar").max = Math.max(rows, 1);
  }

  add(result) {
    this.done += 1;
    this.failed += Boolean(result.error);
    this.review += Boolean(result.review);
    this.truncated += Boolean(result.truncated);
    for (const name of result.labels ?? []) this.labels.set(name, this.labels.get(name) + 1);
  }

  show(remark = "") {
    byId("bar").value = this.done;
    byId("count").textContent = `${this.done.toLocaleString("en")} of ${counted(this.rows, "row")}${remark}`;
  }
}

function offer(name, table, content, summary, stopped) {
  const stem = name.replace(/\.[^.]*$/, "");
  const download = `${stem}.scored.${table.suffix}`;
  const link = element(
    "a",
    { href: URL.createObjectURL(content), download, className: "button" },
    `Download ${download}`,
  );
  status.textContent = outcome(summary.done - summary.failed, summary.rows, stopped);
  const facts = [...summary.labels, ["for review", summary.review], ["cut off", summary.truncated]];
  const prefixed = table.added?.prefix || table.prefix;
  output.replaceChildren(
    element(
      "dl",
      { className: "facts" },
      ...facts.map(([term, count]) =>
        element("div", {}, element("dt", {}, term), element("dd", {}, count.toLocaleString("en"))),
      ),
    ),
    ...(prefixed
      ? [
          element(
            "p",
            { className: "note" },
            `The file has such columns already: the added ones start with ${prefixed}.`,
          ),
        ]
      : []),
    element("p", {}, link),
  );
  return link;
}

function outcome(scored, rows, stopped) {
  if (scored === rows) return `${counted(scored, "row")} scored.`;
  const why = stopped === "cancelled" ? "Cancelled. " : stopped && `Stopped: ${stopped}. `;
  const part = `${scored.toLocaleString("en")} of ${counted(rows, "row")} scored`;
  return `${why}${part}; the others have an error that says why.`;
}

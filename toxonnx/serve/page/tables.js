/**
 * Files as tables: rows come out as they went in, with columns added, as `toxonnx predict` writes them with
 * `--columns label,score,probabilities,review,truncated,error`.
 */

import { counted } from "./dom.js";

/** Names that toxonnx can add; a label of such a name makes the columns of all labels start with "probability_". */
const RESERVED = ["label", "score", "probabilities", "review", "truncated", "no_tokens", "repaired", "stage", "error"];
const USUAL_TEXT_COLUMNS = [
  "text",
  "comment",
  "comment_text",
  "tweet",
  "content",
  "message",
  "body",
  "sentence",
  "post",
  "prompt",
];
/** Objects at the start of a file whose keys are its columns, also those of objects inside them. */
const SAMPLE_OBJECTS = 100;
const DEPTH = 8;

export const DELIMITERS = { ",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe" };

const NUL = "\0";
const NUL_BYTE = "a NUL byte, which no text file contains";

export class FileError extends Error {}

/** The format of a file, by its name. */
export function formatOf(name) {
  const suffix = name.toLowerCase().split(".").pop();
  const formats = { csv: "csv", tsv: "tsv", tab: "tsv", jsonl: "jsonl", ndjson: "jsonl", txt: "text", text: "text" };
  if (Object.hasOwn(formats, suffix)) return formats[suffix];
  throw new FileError("the name must end in .csv, .tsv, .jsonl or .txt");
}

/** The text of a file. */
export function decode(buffer) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(buffer);
  } catch {
    throw new FileError("the file is not in UTF-8; save it again as “CSV UTF-8” or “Unicode (UTF-8)”");
  }
}

/**
 * A table of a file's text.
 *
 * A table has `columns`, names; `rows`, those with texts and those without; `textOf(row, columns)`, the texts of a row
 * (or a FileError); `suffix`, of the output; `start(bundle)`, what is above the rows; `line(row, result)`.
 */
export function openTable(format, text, delimiter) {
  if (!withoutMark(text)) throw new FileError("the file is empty");
  if (format === "jsonl") return new JsonlTable(text);
  if (format === "text") return new TextTable(text);
  return format === "tsv" ? new CsvTable(text, delimiter, "tsv", "\t") : new CsvTable(text, delimiter);
}

/** Which columns are the text: those that the model was trained on, else the first one with a usual name. */
export function guessColumns(columns, bundle) {
  const own = bundle.text.columns.map((name) => columns.indexOf(name));
  if (own.length && !own.includes(-1)) return own;
  const usual = columns.findIndex((name) => USUAL_TEXT_COLUMNS.includes(name.trim().toLowerCase()));
  return [Math.max(usual, 0)];
}

/** Whether a row is one that needs a result; blank lines are copied. */
export const isRow = (row) => !row.isBlank;

/** The part of a name that keeps the added columns apart from those of the file. */
function freePrefix(names, taken) {
  let prefix = "";
  while (names.some((name) => taken.has(prefix + name))) prefix += "predicted_";
  return prefix;
}

const flag = (value) => (value ? "1" : "0");

/** Cells of CSV for results. */
class CsvColumns {
  constructor(bundle, existing, delimiter) {
    this.delimiter = delimiter;
    this.labels = bundle.labels.map((label) => label.name);
    const start = this.labels.some((name) => RESERVED.includes(name)) ? "probability_" : "";
    const names = ["label", "score", ...this.labels.map((name) => start + name), "review", "truncated", "error"];
    this.prefix = freePrefix(names, new Set(existing));
    this.names = names.map((name) => this.prefix + name);
  }

  header() {
    return this.names.map((name) => this.cell(name)).join(this.delimiter);
  }

  cells(result) {
    if (result.error) return [...Array(this.names.length - 1).fill(""), this.cell(result.error)].join(this.delimiter);
    const numbers = [result.score, ...this.labels.map((name) => result.probabilities[name])];
    return [
      // A cell for itself is quoted if it is empty.
      this.cell(result.labels.join("|")) || '""',
      ...numbers.map((number) => number.toFixed(6)),
      flag(result.review),
      flag(result.truncated),
      "",
    ].join(this.delimiter);
  }

  cell(value) {
    const special = value.includes(this.delimiter) || /["\r\n]/.test(value);
    return special ? `"${value.replaceAll('"', '""')}"` : value;
  }
}

class CsvTable {
  /** `usual` is the delimiter where neither the caller nor the file names one; without it, the most likely one. */
  constructor(text, delimiter, suffix = "csv", usual) {
    this.suffix = suffix;
    const mark = text.startsWith("\ufeff") ? "\ufeff" : "";
    // A first line that only names the delimiter, as Excel writes it.
    const named = /^"?sep=(?![".0-9])([\t -~])"?(?:\r\n|\r|\n|$)/i.exec(text.slice(mark.length));
    this.above = mark + (named?.[0] ?? "");
    const body = text.slice(this.above.length);
    this.delimiter = delimiter ?? named?.[1] ?? usual ?? likelyDelimiter(body);
    const records = readCsv(body, this.delimiter, 1 + lineEnds(this.above));
    [this.header, ...this.rows] = records;
    checkHeader(this.header);
    this.columns = this.header.fields;
  }

  textOf(row, columns) {
    const problem = this.problemOf(row);
    if (problem) throw new FileError(problem);
    return columns.map((index) => row.fields[index]);
  }

  /** What is wrong with a row; empty if it is valid. */
  problemOf({ raw, fields }) {
    if (raw.includes(NUL)) return NUL_BYTE;
    const width = this.columns.length;
    return fields.length === width ? "" : `${counted(fields.length, "field")} instead of ${width}`;
  }

  start(bundle) {
    this.added = new CsvColumns(bundle, this.columns, this.delimiter);
    return this.above + this.header.raw + this.delimiter + this.added.header() + this.header.end;
  }

  line(row, result) {
    if (row.isBlank) return row.raw + row.end;
    const isInvalid = Boolean(this.problemOf(row));
    // A row with the cells of the invalid one would be invalid as well.
    const raw = isInvalid ? this.delimiter.repeat(this.columns.length - 1) : row.raw;
    return raw + this.delimiter + this.added.cells(result) + (isInvalid ? this.header.end || "\n" : row.end);
  }
}

function checkHeader(header) {
  if (!header) throw new FileError("the file has no header");
  if (!header.fields.some((field) => field.trim())) throw new FileError(`line ${header.line}: the header is blank`);
  if (header.raw.includes(NUL)) throw new FileError(`line ${header.line}: ${NUL_BYTE}`);
  const { fields } = header;
  const repeated = new Set(fields.filter((name, i) => name && fields.indexOf(name) < i));
  if (repeated.size) {
    const names = [...repeated].sort().map((name) => `'${name}'`);
    throw new FileError(`line ${header.line}: the header repeats the column ${names.join(", ")}`);
  }
}

/** The delimiter that is most frequent in the first line. */
function likelyDelimiter(text) {
  const first = text.slice(0, text.search(/[\r\n]|$/)).replaceAll(/"[^"]*"/g, "");
  const count = (delimiter) => first.split(delimiter).length;
  return Object.keys(DELIMITERS).reduce((best, next) => (count(next) > count(best) ? next : best));
}

/** The records of CSV: their fields, their text as it is, and their line end. */
function readCsv(text, delimiter, line) {
  const records = [];
  const stop = new RegExp(`[${delimiter.replace(/[\\\]^-]/, "\\$&")}\\r\\n]`, "g");
  let position = 0;
  while (position < text.length) {
    const [fields, ending] = readRecord(text, position, stop, line);
    const raw = text.slice(position, ending);
    position = ending + (text.startsWith("\r\n", ending) ? 2 : 1);
    records.push({ fields, raw, end: text.slice(ending, position), line, isBlank: !raw });
    line += 1 + lineEnds(raw);
  }
  return records;
}

const lineEnds = (text) => text.match(/\r\n|\r|\n/g)?.length ?? 0;

/** The fields of the record at a position, and where its line end is. */
function readRecord(text, start, stop, line) {
  const fields = [];
  let position = start;
  let isStrict = true;
  for (;;) {
    let field = "";
    const isQuoted = text[position] === '"';
    if (isQuoted) [field, position] = readQuoted(text, position, line);
    stop.lastIndex = position;
    const found = stop.exec(text);
    const end = found?.index ?? text.length;
    fields.push(field + text.slice(position, end));
    if (isQuoted && end > position) isStrict = false;
    if (!found || /[\r\n]/.test(found[0])) {
      // A quote that closes no field was meant to open one: an earlier line has a quote that is left open.
      if (!isStrict && lineEnds(text.slice(start, end))) throw new FileError(openQuote(line));
      return [fields, end];
    }
    position = end + 1;
  }
}

const openQuote = (line) => `line ${line}: a quote is opened and not closed`;

/** The value of a quoted field, and the position behind its closing quote. */
function readQuoted(text, start, line) {
  let position = start + 1;
  let field = "";
  for (;;) {
    const quote = text.indexOf('"', position);
    if (quote < 0) throw new FileError(openQuote(line));
    field += text.slice(position, quote);
    position = quote + 1;
    if (text[position] !== '"') return [field, position];
    field += '"';
    position += 1;
  }
}

/** One text per line, written as CSV. */
class TextTable {
  suffix = "csv";
  columns = ["text"];

  constructor(text) {
    const lines = text.replace(/^\ufeff/, "").split("\n");
    if (!lines.at(-1)) lines.pop();
    this.rows = lines.map((raw, i) => ({ raw: raw.replace(/\r$/, ""), line: i + 1, isBlank: false }));
  }

  textOf(row, columns) {
    if (row.raw.includes(NUL)) throw new FileError(NUL_BYTE);
    return columns.map(() => row.raw);
  }

  start(bundle) {
    this.added = new CsvColumns(bundle, this.columns, ",");
    return `text,${this.added.header()}\n`;
  }

  line(row, result) {
    const cell = row.raw.includes(NUL) ? "" : this.added.cell(row.raw) || '""';
    return `${cell},${this.added.cells(result)}\n`;
  }
}

class JsonlTable {
  suffix = "jsonl";

  constructor(text) {
    const lines = text.match(/[^\n]*\n|[^\n]+$/g);
    this.rows = lines.map((raw, i) => ({ raw, line: i + 1, isBlank: /^[ \t\r\n]*$/.test(withoutMark(raw)) }));
    this.keys = new Set();
    const names = new Set();
    let objects = 0;
    for (const row of this.rows.filter(isRow)) {
      const object = parsed(row.raw);
      if (!isObject(object)) continue;
      for (const key of Object.keys(object)) this.keys.add(key);
      if (objects++ < SAMPLE_OBJECTS) for (const path of stringPaths(object)) names.add(path.join("."));
    }
    if (!names.size) throw new FileError("none of its first lines is a JSON object that contains a text");
    this.columns = [...names];
  }

  textOf(row, columns) {
    const object = parsed(row.raw);
    if (object === undefined) throw new FileError("not JSON");
    if (!isObject(object)) throw new FileError(`${typeName(object)}, not a JSON object`);
    return columns.map((index) => {
      const value = valueAt(object, this.columns[index]);
      if (typeof value === "string") return value;
      const problem = value === undefined ? "there is no key" : `${typeName(value)}, not a string, in`;
      throw new FileError(`${problem} '${this.columns[index]}'`);
    });
  }

  start(bundle) {
    this.labels = bundle.labels.map((label) => label.name);
    this.isMulti = bundle.activation === "sigmoid";
    this.prefix = freePrefix(["label", "score", "probabilities", "review", "truncated", "error"], this.keys);
    return "";
  }

  line(row, result) {
    if (row.isBlank) return row.raw;
    const object = parsed(row.raw);
    if (!isObject(object)) return `{${this.pairs(result)}}\n`;
    const body = row.raw.trimEnd();
    const comma = Object.keys(object).length ? ", " : "";
    return `${body.slice(0, -1)}${comma}${this.pairs(result)}}${row.raw.slice(body.length)}`;
  }

  pairs(result) {
    const failed = Boolean(result.error);
    const labels = (result.labels ?? []).map((name) => JSON.stringify(name)).join(", ");
    const values = {
      label: failed ? "null" : this.isMulti ? `[${labels}]` : labels,
      score: failed ? "null" : result.score.toFixed(6),
      probabilities: failed ? "null" : this.probabilities(result),
      review: failed ? "null" : String(result.review),
      truncated: failed ? "null" : String(result.truncated),
      error: JSON.stringify(result.error ?? null),
    };
    return Object.entries(values)
      .map(([name, value]) => `${JSON.stringify(this.prefix + name)}: ${value}`)
      .join(", ");
  }

  probabilities(result) {
    const pairs = this.labels.map((name) => `${JSON.stringify(name)}: ${result.probabilities[name].toFixed(6)}`);
    return `{${pairs.join(", ")}}`;
  }
}

const withoutMark = (line) => line.replace(/^\ufeff/, "");

/** The JSON value of a line; undefined if it has none. */
function parsed(line) {
  try {
    return JSON.parse(withoutMark(line));
  } catch {
    return undefined;
  }
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function typeName(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return { object: "an object", boolean: "true or false", number: "a number" }[typeof value] ?? "a string";
}

/** The value at a name with dots, of which some can be part of a key; undefined if there is none. */
function valueAt(object, name) {
  if (Object.hasOwn(object, name)) return object[name];
  for (let dot = name.indexOf("."); dot >= 0; dot = name.indexOf(".", dot + 1)) {
    const key = name.slice(0, dot);
    const inner = Object.hasOwn(object, key) ? object[key] : undefined;
    const value = isObject(inner) ? valueAt(inner, name.slice(dot + 1)) : undefined;
    if (value !== undefined) return value;
  }
  return undefined;
}

/** The ways to the strings in an object, through objects inside it. */
function* stringPaths(object, above = []) {
  for (const [key, value] of Object.entries(object)) {
    const path = [...above, key];
    if (typeof value === "string") yield path;
    else if (isObject(value) && path.length <= DEPTH) yield* stringPaths(value, path);
  }
}

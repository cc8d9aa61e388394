/**
 * Which words move a score: each word is left out in turn, and the text is scored again.
 *
 * The difference is that of the model's probability. It shows what the model reacts to, not why.
 */

import { classifyAll, joined } from "./api.js";
import { byId, counted, element, fail, select } from "./dom.js";

/** Each word costs a text. */
const MAX_WORDS = 100;
const WORD = /\S+/g;
const node = byId("words");

/** Ends the requests for a text that is no longer shown. */
let running = null;

export function hideWords() {
  running?.abort();
  node.replaceChildren();
}

export function offerWords(bundle, values, result) {
  const strongest = bundle.labels.findIndex(({ name }) => result.probabilities[name] === strongestOf(result));
  const label = select(
    bundle.labels.map(({ name }) => name),
    strongest,
    { id: "words-label" },
  );
  const button = element("button", { type: "button" }, "Show which words matter");
  const status = element("p", { role: "status" });
  const list = element("div");
  const request = { bundle, values, result };
  button.onclick = async () => {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    try {
      status.textContent = "Scoring the text without each of its words…";
      const words = await effects(request, signal);
      const show = () => {
        const { summary, content } = described(words, bundle.labels[label.value].name, request);
        status.textContent = summary;
        list.replaceChildren(...content);
      };
      label.onchange = show;
      label.focus();
      button.remove();
      show();
    } catch (error) {
      if (!signal.aborted) fail(status, `The words were not scored: ${error.message}.`);
    }
  };
  node.replaceChildren(
    element("h3", {}, "Which words moved the score"),
    element("div", { className: "row" }, element("label", { htmlFor: label.id }, "Label"), label, button),
    status,
    list,
  );
}

const strongestOf = ({ labels, probabilities }) =>
  Math.max(...(labels.length ? labels : Object.keys(probabilities)).map((name) => probabilities[name]));

/** The first words of all values, each with the result without it. */
async function effects({ bundle, values }, signal) {
  const words = values
    .flatMap((value, field) =>
      [...value.matchAll(WORD)].map((match) => ({ field, start: match.index, word: match[0] })),
    )
    .slice(0, MAX_WORDS);
  const variants = words.map(({ field, start, word }) => {
    const value = values[field];
    const without = value.slice(0, start) + value.slice(start + word.length).trimStart();
    return joined(values.with(field, without), bundle.text);
  });
  const results = await classifyAll(variants, bundle, { signal });
  const failed = results.find(({ error }) => error);
  if (failed) throw new Error(failed.error);
  return words.map(({ word }, i) => ({ word, without: results[i].probabilities }));
}

function described(words, label, { values, result }) {
  const before = result.probabilities[label];
  const moves = words.map(({ word, without }) => ({ word, change: before - without[label], left: without[label] }));
  const largest = moves.reduce((a, b) => (Math.abs(b.change) > Math.abs(a.change) ? b : a));
  const move = `${largest.change > 0 ? "falls" : "rises"} from ${before.toFixed(2)} to ${largest.left.toFixed(2)}`;
  const summary =
    Math.abs(largest.change) < 0.005
      ? `No single word changes the probability of ${label} by 0.005 or more.`
      : `Without “${largest.word}”, the probability of ${label} ${move}.`;
  const count = values.join(" ").match(WORD).length;
  const left = count > words.length ? ` Only the first ${words.length} of ${counted(count, "word")} are shown.` : "";
  return {
    summary: summary + left,
    content: [
      element(
        "ul",
        { className: "words", ariaLabel: `Words, and by how much each changes the probability of ${label}` },
        ...moves.map((move) => shaded(move, Math.abs(largest.change))),
      ),
      element(
        "p",
        { className: "note" },
        "A number is the probability with the word minus that without it: + raises it, − lowers it. It shows what the " +
          "model reacts to. Words that matter only together can each have a small number.",
      ),
    ],
  };
}

function shaded({ word, change }, largest) {
  const text = Math.abs(change).toFixed(2);
  const sign = text === "0.00" ? "" : change > 0 ? "+" : "−";
  const item = element(
    "li",
    { className: sign === "+" ? "raises" : sign ? "lowers" : "" },
    word,
    " ",
    element("small", {}, sign + text),
  );
  item.style.setProperty("--strength", `${Math.round((Math.abs(change) / Math.max(largest, 0.05)) * 100)}%`);
  return item;
}

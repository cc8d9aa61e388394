/** Scores one text: probabilities with their thresholds, and the decision in words. */

import { classifyAll, joined } from "./api.js";
import { bars, decision } from "./bars.js";
import { byId, element, fail } from "./dom.js";
import { hideWords, offerWords } from "./words.js";

const form = byId("text-form");
const status = byId("text-status");

/** Ends the request for the text that is being scored: another text takes its place. */
let running = null;

export function showTextForm(bundle) {
  const { columns } = bundle.text;
  const names = columns.length > 1 ? columns : ["Text"];
  const fields = names.map((_, i) => element("textarea", { id: `field-${i}`, rows: columns.length > 1 ? 2 : 4 }));
  byId("fields").replaceChildren(
    ...fields.flatMap((field, i) => [element("label", { htmlFor: field.id }, names[i]), field]),
  );
  clear();
  form.onsubmit = (event) => {
    event.preventDefault();
    score(
      bundle,
      fields.map((field) => field.value),
    );
  };
  form.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  };
}

function clear() {
  running?.abort();
  status.textContent = "";
  byId("result").replaceChildren();
  hideWords();
}

async function score(bundle, values) {
  clear();
  if (!values.some((value) => value.trim())) {
    fail(status, "There is no text yet: type or paste one.");
    return;
  }
  status.textContent = "Scoring…";
  running = new AbortController();
  const { signal } = running;
  try {
    const onWait = () => {
      status.textContent = "The server is busy; the text is sent again shortly.";
    };
    const [result] = await classifyAll([joined(values, bundle.text)], bundle, { onWait, signal });
    if (result.error) throw new Error(result.error);
    status.replaceChildren(...decision(result, bundle));
    byId("result").replaceChildren(bars(result, bundle));
    offerWords(bundle, values, result);
  } catch (error) {
    if (!signal.aborted) fail(status, `The text was not scored: ${error.message}.`);
  }
}

/** The page: loads the model once, and scores what is typed. build.py puts the files that it imports beside it. */

import { bars, decision } from "./bars.js";
import { byId, element, fail } from "./dom.js";
import { loadScorer } from "./scorer.js";
import * as ort from "./vendor/ort.wasm.bundle.min.mjs";
import { Tokenizer } from "./vendor/tokenizers.min.mjs";

ort.env.wasm.wasmPaths = { wasm: new URL("vendor/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.wasm.numThreads = 1; // more of them need headers that many static hosts do not send

const status = byId("status");

async function read(name) {
  const response = await fetch(new URL(name, import.meta.url));
  if (!response.ok) throw new Error(`${name} answers with status ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

function show(scorer) {
  const { bundle } = scorer;
  const textStatus = byId("text-status");
  const result = byId("result");
  byId("model").replaceChildren(
    element("p", {}, element("strong", {}, bundle.name), bundle.language ? `, for ${bundle.language}` : ""),
    element(
      "dl",
      {},
      ...bundle.labels.flatMap(({ name, meaning }) => [element("dt", {}, name), element("dd", {}, meaning ?? "")]),
    ),
  );
  const form = byId("text-form");
  form.onsubmit = async (event) => {
    event.preventDefault();
    const text = byId("text").value;
    result.replaceChildren();
    if (!text.trim()) {
      fail(textStatus, "There is no text yet: type or paste one.");
      return;
    }
    try {
      const scored = await scorer.score(text);
      textStatus.replaceChildren(...decision(scored, bundle));
      result.replaceChildren(bars(scored, bundle));
    } catch (error) {
      fail(textStatus, `The text was not scored: ${error.message}.`);
    }
  };
  form.onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  };
  status.textContent = "";
  byId("content").hidden = false;
}

try {
  const entities = JSON.parse(new TextDecoder().decode(await read("entities.json")));
  show(await loadScorer({ ort, Tokenizer, entities, read: (name) => read(`model/${name}`) }));
} catch (error) {
  fail(status, `The model was not loaded: ${error.message}.`);
}

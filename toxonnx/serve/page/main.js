/** The page: asks for a key if the server wants one, and shows what there is about the chosen model. */

import { ApiError, call, useKey, whenKeyIsRefused } from "./api.js";
import { byId, element, fail } from "./dom.js";
import { showFileForm } from "./file.js";
import { showMeasured } from "./measured.js";
import { showModel, showLimits } from "./model.js";
import { showTextForm } from "./text.js";

const status = byId("status");
const keyForm = byId("key-form");

/** Name of the model that the page shows. */
let shown = "";
/** Ends the loading of a model's description: another one was chosen. */
let opening = new AbortController();

async function load() {
  const wasAsked = !keyForm.hidden;
  try {
    const served = await call("v1/bundles");
    // What was typed stays where the key was refused later.
    if (shown) status.textContent = "";
    else await showFirst(served);
    if (wasAsked) byId("field-0").focus();
    keyForm.hidden = true;
  } catch (error) {
    report(error);
  }
}

async function showFirst(served) {
  const choice = byId("bundle");
  choice.replaceChildren(...served.bundles.map(({ name }) => element("option", { value: name }, name)));
  byId("choice").hidden = served.bundles.length === 1;
  choice.onchange = async () => {
    try {
      await open(choice.value, served);
    } catch (error) {
      choice.value = shown;
      report(error);
    }
  };
  await open(choice.value, served);
}

function report(error) {
  if (!(error instanceof ApiError)) throw error;
  if (error.status === 401) return; // askForKey was called
  fail(status, `The description of the model could not be loaded: ${error.message}.`);
}

function askForKey(hadKey) {
  keyForm.hidden = false;
  status.textContent = "";
  if (hadKey) fail(status, "The server does not accept this key.");
  byId("key").focus();
}

async function open(name, served) {
  opening.abort();
  const { signal } = (opening = new AbortController());
  let details;
  try {
    details = await call(`v1/bundles/${encodeURIComponent(name)}`, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
  if (signal.aborted) return;
  const bundle = { ...details, maxTexts: served.max_texts, maxBytes: served.max_bytes };
  document.title = `${bundle.name} · toxonnx`;
  showModel(bundle);
  showTextForm(bundle);
  showFileForm(bundle);
  showMeasured(bundle);
  showLimits(bundle);
  status.textContent = "";
  shown = name;
  byId("content").hidden = false;
}

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  try {
    useKey(byId("key").value.trim());
  } catch (error) {
    fail(status, `The key cannot be used: ${error.message}. Copy it again, or type it.`);
    return;
  }
  load();
});

whenKeyIsRefused(askForKey);

load();

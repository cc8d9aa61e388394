/** The page: asks for a key if the server wants one, and shows what there is about the chosen model. */

import { ApiError, call, useKey } from "./api.js";
import { byId, element, fail } from "./dom.js";
import { showFileForm } from "./file.js";
import { showMeasured } from "./measured.js";
import { showModel, showLimits } from "./model.js";
import { showTextForm } from "./text.js";

const status = byId("status");
const keyForm = byId("key-form");

async function load() {
  try {
    const served = await call("v1/bundles");
    keyForm.hidden = true;
    const choice = byId("bundle");
    choice.replaceChildren(...served.bundles.map(({ name }) => element("option", { value: name }, name)));
    byId("choice").hidden = served.bundles.length === 1;
    choice.onchange = () => open(choice.value, served);
    await open(choice.value, served);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 401) askForKey();
    else fail(status, `The description of the model could not be loaded: ${error.message}.`);
  }
}

function askForKey() {
  const wasWrong = !keyForm.hidden;
  keyForm.hidden = false;
  status.textContent = "";
  if (wasWrong) fail(status, "The server does not accept this key.");
  byId("key").focus();
}

async function open(name, served) {
  const details = await call(`v1/bundles/${encodeURIComponent(name)}`);
  const bundle = { ...details, maxTexts: served.max_texts, maxBytes: served.max_bytes };
  document.title = `${bundle.name} · toxonnx`;
  showModel(bundle);
  showTextForm(bundle);
  showFileForm(bundle);
  showMeasured(bundle);
  showLimits(bundle);
  status.textContent = "";
  byId("content").hidden = false;
}

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key").value.trim());
  load();
});

load();

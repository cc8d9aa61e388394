/** The OpenAPI document as a page: the endpoints of each protocol, with the schemas of their bodies. */

import { call } from "./api.js";
import { byId, element, fail } from "./dom.js";

async function load() {
  try {
    const document = await call("openapi.json");
    byId("status").textContent = `toxonnx ${document.info.version}. ${document.info.description}`;
    byId("endpoints").replaceChildren(...protocols(document).map(section));
  } catch (error) {
    fail(byId("status"), `The OpenAPI document could not be loaded: ${error.message}.`);
  }
}

/** Name of each protocol, with its endpoints. */
function protocols({ paths }) {
  const byTag = new Map();
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const [tag] = operation.tags;
      byTag.set(tag, [...(byTag.get(tag) ?? []), { method: method.toUpperCase(), path, ...operation }]);
    }
  }
  return [...byTag];
}

function section([tag, endpoints]) {
  const id = `protocol-${tag}`;
  return element("section", { "aria-labelledby": id }, element("h2", { id }, tag), ...endpoints.map(endpoint));
}

function endpoint({ method, path, summary, security, requestBody, responses }) {
  const isPublic = security.every((one) => !Object.keys(one).length);
  return element(
    "article",
    { className: "endpoint" },
    element("h3", {}, element("span", { className: "method" }, method), " ", element("code", {}, path)),
    element("p", {}, summary, isPublic ? " Needs no API key." : ""),
    ...schema("Request", requestBody),
    ...schema("Response", responses["200"]),
  );
}

function schema(title, body) {
  const json = body?.content?.["application/json"].schema;
  if (!json) return [];
  const text = element(
    "pre",
    { tabIndex: 0, role: "region", ariaLabel: `${title}, JSON schema` },
    JSON.stringify(json, null, 2),
  );
  return [element("details", {}, element("summary", {}, `${title} (JSON schema)`), text)];
}

load();

/** What the model is, and what it is known not to do well. */

import { byId, counted, element } from "./dom.js";

export function showModel(bundle) {
  const many =
    bundle.labels.length > 1 ? "Each label applies or not, independently of the others." : "The label applies or not.";
  const windows = bundle.max_tokens > bundle.max_length ? `, in windows of ${counted(bundle.max_length, "token")}` : "";
  const tokens = counted(bundle.max_tokens, "token");
  const length = `The model reads up to ${tokens} of a text${windows}; what follows is cut off.`;
  const kind = bundle.activation === "sigmoid" ? many : "Each text gets one label.";
  const language = bundle.language ? ` Language of the texts: ${bundle.language}.` : "";
  byId("model").replaceChildren(
    element("p", {}, element("strong", {}, bundle.name), bundle.description ? `: ${bundle.description}` : ""),
    element(
      "ul",
      {},
      ...bundle.labels.map(({ name, meaning }) =>
        element("li", {}, element("strong", {}, name), meaning ? `: ${meaning}` : ""),
      ),
    ),
    element("p", { className: "note" }, `${kind} ${length}${language}`),
  );
}

export function showLimits(bundle) {
  const node = byId("limits");
  if (!bundle.limits.length) {
    node.replaceChildren(
      element("p", {}, "No limits are recorded in this bundle. That does not mean that there are none."),
    );
    return;
  }
  node.replaceChildren(
    element(
      "p",
      { className: "note" },
      "From the model card, README.md in the bundle, which has the tables that it mentions.",
    ),
    ...bundle.limits.flatMap(({ title, text }) => [
      element("h3", {}, title),
      ...text.split(/\n\s*\n/).map((paragraph) => element("p", {}, paragraph)),
    ]),
  );
}

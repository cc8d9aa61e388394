/** The scores of one text: the decision in words, and a bar per label. Also used by docs/browser. */

import { counted, element } from "./dom.js";

/** What was decided, in sentences. */
export function decision(result, bundle) {
  const remarks = [];
  if (result.review) remarks.push("A person should look at this text.");
  if (result.truncated) {
    remarks.push(`It is longer than the model reads (${counted(bundle.max_tokens, "token")}); its end was cut off.`);
  }
  if (result.no_tokens) remarks.push("It has no word that the model knows, and was scored like an empty text.");
  return [element("strong", {}, headline(result, bundle)), ...remarks.map((remark) => ` ${remark}`)];
}

/** The decision in a sentence. */
function headline({ labels, probabilities }, bundle) {
  if (bundle.activation === "sigmoid") {
    return labels.length ? `Labels that apply: ${labels.join(", ")}.` : "No label applies.";
  }
  const [name] = labels;
  const { threshold } = bundle.labels.find((label) => label.name === name);
  if (threshold === null || probabilities[name] >= threshold) return `Label: ${name}.`;
  return `No label reaches its threshold. The most probable one: ${name}.`;
}

/** A bar per label, with its threshold as a line. */
export function bars(result, bundle) {
  const items = bundle.labels.map(({ name, threshold }) => {
    const probability = result.probabilities[name];
    const bar = element("span", { className: "bar", ariaHidden: "true" }, element("i"));
    bar.style.setProperty("--share", probability);
    if (threshold !== null) {
      bar.append(element("b"));
      bar.style.setProperty("--threshold", threshold);
    }
    return element(
      "li",
      { className: result.labels.includes(name) ? "applies" : "" },
      element("span", { className: "name" }, name),
      bar,
      element("span", { className: "number" }, probability.toFixed(3)),
      element("span", { className: "note" }, remark(name, probability, threshold, result)),
    );
  });
  const legend = bundle.labels.some(({ threshold }) => threshold !== null)
    ? "The line in a bar is the threshold of the label."
    : "This model has no thresholds: the most probable label is chosen.";
  return element(
    "div",
    {},
    element("ul", { className: "bars", ariaLabel: "Probability of each label" }, ...items),
    element("p", { className: "note" }, legend),
  );
}

function remark(name, probability, threshold, { labels }) {
  if (threshold === null) return labels.includes(name) ? "the most probable" : "";
  const relation = probability >= threshold ? "reaches" : "below";
  return `${relation} threshold ${Number(threshold.toFixed(4))}`;
}

/** How often the model is right on labelled rows, and what other thresholds would do on them. */

import { byId, counted, element, percent } from "./dom.js";

/** Thresholds of a curve: 0.00, 0.01, ... 1.00. */
const STEPS = 100;

export function showMeasured(bundle) {
  const node = byId("measured");
  const { measured } = bundle;
  if (!measured) {
    node.replaceChildren(element("p", {}, "No measurement on labelled rows is recorded in this bundle."));
    return;
  }
  const rows = element(
    "p",
    {},
    `Measured on ${counted(measured.rows, "row")}: ${measured.rows_from}. On other texts it can be different.`,
  );
  const terms = element(
    "p",
    { className: "note" },
    "Precision: of the texts to which the model gives the label, the share to which people gave it, too. Recall: of the " +
      "texts to which people gave the label, the share to which the model gives it.",
  );
  node.replaceChildren(rows, terms, ...asDecided(measured), ...sliders(bundle));
}

const shown = (share) => (share === null ? "unknown" : percent(share));

function asDecided({ labels }) {
  const names = Object.keys(labels);
  if (!names.length) return [];
  const header = ["Label", "Precision", "Recall"].map((name) => element("th", { scope: "col" }, name));
  const rows = names.map((name) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      element("td", {}, shown(labels[name].precision)),
      element("td", {}, shown(labels[name].recall)),
    ),
  );
  return [
    element(
      "table",
      {},
      element("caption", {}, "As the model decides now"),
      element("thead", {}, element("tr", {}, ...header)),
      element("tbody", {}, ...rows),
    ),
  ];
}

function sliders({ labels, measured, activation }) {
  const { curves } = measured;
  const known = labels.filter(({ name }) => Object.hasOwn(curves, name));
  const title = element("h3", {}, "What another threshold would do");
  if (!known.length) {
    return [
      title,
      element("p", {}, "This bundle has no figures for other thresholds. A new export of the model records them."),
    ];
  }
  const notes = [
    "A slider changes nothing on the server. Flagged: of the texts that were judged for this label, the share that " +
      "reaches the threshold.",
  ];
  if (activation === "softmax") {
    notes.push("Each label is looked at by itself here, even where another one is more probable.");
  }
  if (known.length < labels.length) notes.push("For the other labels there are no figures.");
  return [
    title,
    element("p", { className: "note" }, notes.join(" ")),
    ...known.map((label, i) => {
      // With softmax, a label is decided by the others, too, and the figures of the table are no point of its curve.
      const decided = activation === "sigmoid" ? measured.labels[label.name] : undefined;
      return slider(label, curves[label.name], i, decided);
    }),
  ];
}

/**
 * The effect of thresholds on a label.
 *
 * @param {object} label its name and its threshold.
 * @param {object} curve see toxonnx.manifest_decisions.ThresholdCurve.
 * @param {number} number of the slider.
 * @param {object} [decided] what was measured with its threshold, if that is a point of the curve or between two.
 */
function slider({ name, threshold }, curve, number, decided) {
  const input = element("input", {
    id: `threshold-${number}`,
    type: "range",
    min: 0,
    max: STEPS,
    step: 1,
    value: Math.round((threshold ?? 0.5) * STEPS),
  });
  const value = element("output", { htmlFor: input.id });
  const facts = element("dl", { className: "facts" });
  const show = (at, counts) => {
    const effect = Object.entries(effectOf(curve, counts));
    value.textContent = at;
    input.ariaValueText = [at, ...effect.map((pair) => pair.join(" "))].join(", ");
    facts.replaceChildren(
      ...effect.map(([term, text]) => element("div", {}, element("dt", {}, term), element("dd", {}, text))),
    );
  };
  const showStep = () => {
    const at = Number(input.value);
    const found = curve.true_positives[at];
    show((at / STEPS).toFixed(2), { found, flagged: found + curve.false_positives[at] });
  };
  input.oninput = showStep;
  const exact = threshold === null ? "" : String(Number(threshold.toFixed(4)));
  if (decided && threshold !== null && threshold !== Number(input.value) / STEPS) {
    // The nearest step of the slider has other figures than the table.
    show(exact, { found: Math.round((decided.recall ?? 0) * curve.positives), flagged: decided.predicted });
  } else {
    showStep();
  }
  const heading = element(
    "div",
    { className: "row" },
    element("label", { htmlFor: input.id }, `${name}: threshold`),
    value,
    element("span", { className: "note" }, exact && ` (now ${exact})`),
  );
  return element("div", { className: "slider" }, heading, input, facts);
}

/** Precision, recall and the share of rows that reach a threshold, of which `found` have the label. */
function effectOf({ positives, negatives }, { found, flagged }) {
  const share = (part, whole) =>
    whole ? `${percent(part / whole)} (${part.toLocaleString("en")} of ${whole.toLocaleString("en")})` : "no such rows";
  return {
    Precision: share(found, flagged),
    Recall: share(found, positives),
    Flagged: share(flagged, positives + negatives),
  };
}

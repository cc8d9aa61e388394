/** Small helpers for the document. Texts only ever become text nodes. */

/** An element with properties (or attributes, where it has no such property) and children: nodes or strings. */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** Says in a status element what went wrong. */
export function fail(status, message) {
  status.replaceChildren(element("span", { className: "alert" }, message));
}

export const byId = (id) => document.getElementById(id);

/** A select of some names, whose values are their positions. */
export function select(names, chosen, properties) {
  const options = names.map((name, i) => element("option", { value: i, selected: i === chosen }, name));
  return element("select", properties, ...options);
}

/** "1 row", "2,000 rows". */
export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** A share of 0 to 1 as "12.3%". */
export const percent = (share) => `${(share * 100).toFixed(1)}%`;

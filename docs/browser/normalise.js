/** The steps of toxonnx.texts, by which texts are normalised before the model reads them. */

/** White space for Python's str.split(). */
const SPACES = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/u;
const URL_START = /(?:https?:\/\/|www\.)[^\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/giu;
const MENTION = /(?<![\p{L}\p{N}_@])@[\p{L}\p{N}_]+/gu;
/** A character reference, as Python's html.unescape() finds it. */
const REFERENCE = /&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/gu;
const WINDOWS_1252 = new TextDecoder("windows-1252");

/**
 * A normalised text.
 *
 * @param {string} text
 * @param {string[]} steps `text.normalise` of the manifest.
 * @param {Record<string, string>} entities name of a character reference, with its semicolon if it needs one -> text;
 *   entities.json. Used by the step "html" only.
 */
export function normalise(text, steps, entities = {}) {
  const functions = {
    html: (value) => unescape(unescape(value, entities), entities), // "&amp;#128512;" is frequent in scraped data
    urls: (value) => value.replace(URL_START, "http"),
    mentions: (value) => value.replace(MENTION, "@user"),
    spaces: (value) => value.split(SPACES).filter(Boolean).join(" "),
  };
  let result = text.toWellFormed();
  for (const step of steps) {
    if (!Object.hasOwn(functions, step)) throw new Error(`this page does not know the normalisation ${step}`);
    result = functions[step](result);
  }
  return result;
}

function unescape(text, entities) {
  return text.replace(REFERENCE, (_, name) => (name[0] === "#" ? numeric(name) : named(name, entities)));
}

function numeric(name) {
  const digits = name.replace(/^#|;$/g, "");
  const number = Number(/^[xX]/.test(digits) ? `0${digits}` : digits);
  if (number >= 0x80 && number <= 0x9f) return WINDOWS_1252.decode(new Uint8Array([number]));
  if (number === 0x0d) return "\r";
  if (number === 0 || number > 0x10ffff || (number >= 0xd800 && number <= 0xdfff)) return "\ufffd";
  return isLeftOut(number) ? "" : String.fromCodePoint(number);
}

/** Control characters and code points that are no characters. */
function isLeftOut(number) {
  if (number < 0x20) return number !== 0x09 && number !== 0x0a && number !== 0x0c;
  return number === 0x7f || (number >= 0xfdd0 && number <= 0xfdef) || (number & 0xfffe) === 0xfffe;
}

function named(name, entities) {
  if (Object.hasOwn(entities, name)) return entities[name];
  const characters = [...name];
  for (let length = characters.length - 1; length > 1; length--) {
    const start = characters.slice(0, length).join("");
    if (Object.hasOwn(entities, start)) return entities[start] + characters.slice(length).join("");
  }
  return `&${name}`;
}

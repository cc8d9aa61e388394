/** The server's API: one key for all requests, waiting where the server asks for it, and errors in words. */

/** Requests with more texts would leave long pauses between two steps of a progress bar. */
const MAX_TEXTS = 128;
/** Times that a request is sent while the server says that it is too busy. */
const MAX_ATTEMPTS = 30;
const RETRIED = new Set([429, 503]);
/** With fewer texts, such a request may succeed. */
const TOO_MUCH = new Set([413, 504]);

/** Visible characters of Latin-1: a header has no others, and U+00AD is not visible. */
const KEY_CHARACTER = /^[\x21-\x7e\xa1-\xac\xae-\xff]$/;

let key = "";
let askForKey = () => {};

/**
 * The key of all further requests.
 *
 * @throws {ApiError} it cannot be sent.
 */
export function useKey(value) {
  const characters = [...value];
  const wrong = characters.findIndex((character) => !KEY_CHARACTER.test(character));
  if (wrong >= 0) {
    const code = characters[wrong].codePointAt(0).toString(16).toUpperCase().padStart(4, "0");
    throw new ApiError(`character ${wrong + 1} of the key (U+${code}) is one that no key can have`);
  }
  key = value;
}

/** Calls a function when the server refuses a request for its key, with whether the request had one. */
export function whenKeyIsRefused(handler) {
  askForKey = handler;
}

export class ApiError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/**
 * The JSON value of a response.
 *
 * @param {string} path below the page's own address.
 * @param {{body?: object, signal?: AbortSignal, onWait?: (seconds: number) => void}} options
 */
export async function call(path, { body, signal, onWait = () => {} } = {}) {
  const sentKey = key;
  const headers = sentKey ? { authorization: `Bearer ${sentKey}` } : {};
  const options = body
    ? { method: "POST", body: JSON.stringify(body), headers: { ...headers, "content-type": "application/json" } }
    : { headers };
  for (let attempt = 1; ; attempt++) {
    const response = await send(path, { ...options, signal });
    if (RETRIED.has(response.status) && attempt < MAX_ATTEMPTS) {
      const seconds = retryAfter(response);
      onWait(seconds);
      await pause(seconds * 1000, signal);
      continue;
    }
    const content = await contentOf(response);
    if (response.ok && content) return content;
    // An answer to a request with an earlier key says nothing about the present one.
    if (response.status === 401 && sentKey === key) askForKey(Boolean(sentKey));
    const problem = response.ok
      ? "the server's answer is not JSON, or only a part of it"
      : `the server answered with status ${response.status}`;
    throw new ApiError(content?.error?.message ?? problem, response.status);
  }
}

async function send(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("the server cannot be reached");
  }
}

/** The JSON value of a response; undefined if it has none. */
async function contentOf(response) {
  let text;
  try {
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("the server's answer was cut off");
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Seconds that a response asks to wait: a number, or the seconds until a date. */
function retryAfter(response) {
  const value = response.headers.get("retry-after") ?? "";
  const seconds = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
  return Math.max(seconds || 1, 0.1);
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

const bytes = (value) => new TextEncoder().encode(JSON.stringify(value)).length;

/** The text that the model reads, from the values of its columns; see toxonnx.texts.TextSpec.join. */
export function joined(values, { columns, template }) {
  if (!template || columns.length !== values.length) return values.join(" ");
  return template.replaceAll(/\{([^{}]*)\}/g, (_, name) => values[columns.indexOf(name)]);
}

/** Bytes of a request that its texts can have. */
const room = (bundle) => bundle.maxBytes - bytes({ texts: [], bundle: bundle.name });

/** A text, or if it is too large for a request, as much of its start as fits: the model reads only its first tokens. */
function startOf(text, maxBytes) {
  let start = text;
  let size;
  while (start && (size = bytes(start)) > maxBytes) {
    // Without the first half of a character that the end cuts in two.
    start = start.slice(0, Math.floor((start.length * maxBytes) / size)).replace(/[\ud800-\udbff]$/, "");
  }
  return start;
}

/** Parts of a list of texts that fit in one request each. */
export function* batches(texts, bundle) {
  const maxTexts = Math.min(bundle.maxTexts, MAX_TEXTS);
  const maxBytes = room(bundle);
  let batch = [];
  let size = 0;
  for (const text of texts) {
    const added = bytes(text) + 1;
    if (batch.length && (batch.length === maxTexts || size + added > maxBytes)) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(text);
    size += added;
  }
  if (batch.length) yield batch;
}

/** One result per text of a batch. A text that takes too long has an error for itself. */
export async function classify(texts, bundle, options = {}) {
  // batches() leaves a text that is too large by itself.
  const sent = texts.length === 1 ? [startOf(texts[0], room(bundle))] : texts;
  try {
    const answer = await call("v1/classify", { ...options, body: { texts: sent, bundle: bundle.name } });
    if (answer.bundle.sha256 === bundle.sha256) {
      return answer.results.map((result, i) => (sent[i] === texts[i] ? result : { ...result, truncated: true }));
    }
  } catch (error) {
    if (!TOO_MUCH.has(error.status)) throw error;
    if (texts.length === 1) return [{ error: error.message }];
    const half = texts.length >> 1;
    const first = await classify(texts.slice(0, half), bundle, options);
    return [...first, ...(await classify(texts.slice(half), bundle, options))];
  }
  throw new ApiError("the server has loaded another version of this model; reload the page");
}

/** One result per text, of any number of texts. */
export async function classifyAll(texts, bundle, options) {
  const results = [];
  for (const batch of batches(texts, bundle)) results.push(...(await classify(batch, bundle, options)));
  return results;
}

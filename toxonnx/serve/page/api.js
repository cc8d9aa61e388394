/** The server's API: one key for all requests, waiting where the server asks for it, and errors in words. */

/** Requests with more texts would leave long pauses between two steps of a progress bar. */
const MAX_TEXTS = 128;
/** Times that a request is sent while the server says that it is too busy. */
const MAX_ATTEMPTS = 30;
const RETRIED = new Set([429, 503]);
/** With fewer texts, such a request may succeed. */
const TOO_MUCH = new Set([413, 504]);

let key = "";

export function useKey(value) {
  key = value;
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
  const headers = key ? { authorization: `Bearer ${key}` } : {};
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
    const content = await response.json().catch(() => null);
    if (response.ok && content) return content;
    throw new ApiError(
      content?.error?.message ?? `the server answered with status ${response.status}`,
      response.status,
    );
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

/** Parts of a list of texts that fit in one request each. */
export function* batches(texts, bundle) {
  const maxTexts = Math.min(bundle.maxTexts, MAX_TEXTS);
  const maxBytes = bundle.maxBytes - bytes({ texts: [], bundle: bundle.name });
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

/** One result per text of a batch. A text that is too large or takes too long has an error for itself. */
export async function classify(texts, bundle, options = {}) {
  try {
    const answer = await call("v1/classify", { ...options, body: { texts, bundle: bundle.name } });
    if (answer.bundle.sha256 === bundle.sha256) return answer.results;
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

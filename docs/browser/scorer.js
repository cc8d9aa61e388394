/** Scores texts with a bundle in the layout of the hub (toxonnx hub-layout), in a browser or in Node. */

import { normalise } from "./normalise.js";

/**
 * Loads a bundle.
 *
 * @param {object} runtime
 * @param {object} runtime.ort onnxruntime-web.
 * @param {Function} runtime.Tokenizer of @huggingface/tokenizers.
 * @param {(name: string) => Promise<Uint8Array>} runtime.read reads a file of the bundle.
 * @param {Record<string, string>} [runtime.entities] see normalise().
 */
export async function loadScorer({ ort, Tokenizer, read, entities }) {
  const json = async (name) => JSON.parse(new TextDecoder().decode(await read(name)));
  const manifest = await json("toxonnx.json");
  const model = Object.keys(manifest.files).find((name) => name.startsWith("onnx/"));
  if (!model) throw new Error("the model does not have the layout of the hub; toxonnx hub-layout writes it");
  const tokenizer = new Tokenizer(await json("tokenizer.json"), await json("tokenizer_config.json"));
  const session = await ort.InferenceSession.create(await read(model), { executionProviders: ["wasm"] });
  return new Scorer({ ort, tokenizer, session, manifest, entities });
}

class Scorer {
  constructor(parts) {
    Object.assign(this, parts);
    const only = (text) => this.tokenizer.encode(text, { add_special_tokens: false }).ids;
    const unknown = only("\u{10ffff}"); // a code point that is no character
    this.empty = this.tokenizer.encode("").ids;
    /** Tokens that say nothing about a text; see toxonnx.inference.tokenizer.EmptyText. */
    this.ignored = new Set([...(unknown.length === 1 ? unknown : []), this.tokenizer.token_to_id("\u2581")]);
    const { names, thresholds } = this.manifest.labels;
    const meanings = this.manifest.label_descriptions;
    /** The model in the words of the server's API, /v1/bundles/NAME. */
    this.bundle = {
      ...this.manifest,
      activation: this.manifest.labels.activation,
      max_tokens: this.manifest.max_length,
      labels: names.map((name, i) => ({ name, meaning: meanings[name], threshold: thresholds[i] ?? null })),
    };
  }

  /** Probabilities and labels of a text, whether its end was not read, and whether no token of it is known. */
  async score(text) {
    const { manifest } = this;
    const { ids, truncated, hasNoTokens } = this.encode(normalise(text, manifest.text.normalise, this.entities));
    const tensor = (values) => new this.ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
    const inputs = {
      input_ids: tensor(ids),
      attention_mask: tensor(ids.map(() => 1)),
      token_type_ids: tensor(ids.map(() => 0)),
    };
    const feed = Object.fromEntries(this.session.inputNames.map((name) => [name, inputs[name]]));
    const output = (await this.session.run(feed))[this.session.outputNames[0]];
    const values = activate([...output.data].map(Number), manifest.labels);
    const applies = decide(values, manifest.labels);
    const { names } = manifest.labels;
    return {
      probabilities: Object.fromEntries(names.map((name, i) => [name, values[i]])),
      labels: names.filter((_, i) => applies[i]),
      truncated,
      no_tokens: hasNoTokens,
    };
  }

  /**
   * Token ids; of a long text the first ones, with the special tokens at the end; of a text without a known token those
   * of an empty one.
   */
  encode(text) {
    const { ids } = this.tokenizer.encode(text);
    const limit = this.manifest.max_length;
    const truncated = ids.length > limit;
    const known = ids.slice(0, limit).filter((id) => !this.ignored.has(id));
    const hasNoTokens = known.length <= this.empty.length;
    if (hasNoTokens) return { ids: this.empty, truncated, hasNoTokens };
    if (!truncated) return { ids, truncated, hasNoTokens };
    const atStart = this.empty.findIndex((id, i) => id !== ids[i]);
    const atEnd = atStart < 0 ? [] : this.empty.slice(atStart);
    return { ids: [...ids.slice(0, limit - atEnd.length), ...atEnd], truncated, hasNoTokens };
  }
}

/** Softmax or sigmoid; see toxonnx.inference.scores.probabilities. */
function activate(logits, { activation, temperature }) {
  const scaled = logits.map((logit) => logit / temperature);
  if (activation === "sigmoid") return scaled.map((logit) => 1 / (1 + Math.exp(-logit)));
  const largest = Math.max(...scaled);
  const powers = scaled.map((logit) => Math.exp(logit - largest));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** Which labels apply; see toxonnx.inference.scores.decide. */
function decide(values, { activation, thresholds }) {
  if (activation === "sigmoid") return values.map((value, i) => value >= thresholds[i]);
  const ratios = values.map((value, i) => value / thresholds[i]);
  const ranked = thresholds.length && Math.max(...ratios) >= 1 ? ratios : values;
  const best = ranked.indexOf(Math.max(...ranked));
  return values.map((_, i) => i === best);
}

/**
 * For tests: probabilities of texts, by two JavaScript libraries. Standard input has {"folder", "entities", "texts"} with
 * {"transformers.js", "onnxruntime-web"}, lists of texts; standard output a {label: probability} for each of them.
 *
 * package.json lets onnxruntime-web take the place of onnxruntime-node (114 MB) in transformers.js, and leaves out sharp
 * (images), so that both run the WebAssembly kernels that a browser has.
 */

import { readFile } from "node:fs/promises";
import path from "node:path";
import { text as readText } from "node:stream/consumers";
import { Tokenizer } from "@huggingface/tokenizers";
import { env, pipeline } from "@huggingface/transformers";
import * as ort from "onnxruntime-web";
import { loadScorer } from "./scorer.js";

const { folder, texts, entities } = JSON.parse(await readText(process.stdin));

env.allowRemoteModels = false;
env.localModelPath = path.dirname(folder);
env.useWasmCache = false;
env.backends.onnx.wasm.wasmPaths = undefined; // else from a CDN
const classify = await pipeline("text-classification", path.basename(folder));
const rows = await Promise.all(texts["transformers.js"].map((text) => classify(text, { top_k: null })));

const read = (name) => readFile(path.join(folder, name));
const scorer = await loadScorer({ ort, Tokenizer, read, entities });
const scored = [];
for (const text of texts["onnxruntime-web"]) scored.push(await scorer.score(text));

process.stdout.write(
  JSON.stringify({
    "transformers.js": rows.map((row) => Object.fromEntries(row.map(({ label, score }) => [label, score]))),
    "onnxruntime-web": scored.map(({ probabilities }) => probabilities),
  }),
);

// The back end in this tab: a worker that computes with ONNX Runtime. Nothing leaves the tab.

import { trimapOfMask } from "./mask.js";
import { LEVELS } from "./trimap.js";

let worker = null, provider = null;

// `wanted` is ONNX Runtime's name of what computes: `wasm` or `webgpu`.
export function inBrowser(wanted) {
  return { makeTrimap, makeCutout: (asked) => makeCutout(wanted, asked) };
}

// The levels of a trimap, as local.js makes them. All of a rectangle is unknown: no outline is looked for.
async function makeTrimap({ size, rectangle, mask, width }) {
  if (mask) return trimapOfMask(await createImageBitmap(mask), size, width);
  const levels = new Uint8Array(size.width * size.height);
  for (let row = rectangle.y; row < rectangle.y + rectangle.height; row++) {
    const start = row * size.width + rectangle.x;
    levels.fill(LEVELS.unknown, start, start + rectangle.width);
  }
  return levels;
}

// The cut-out, as local.js makes it; `say` is told how far it is.
function makeCutout(wanted, { photo, trimap, views, say }) {
  if (provider !== wanted) stop(); // two runtimes would take twice the memory
  provider = wanted;
  worker ??= new Worker("worker.js", { type: "module", name: provider });
  return new Promise((resolve, reject) => {
    const failed = (text) => {
      stop();
      reject(new Error(`${text}`));
    };
    worker.onerror = (event) => failed(event.message ?? "The worker of this page could not be loaded.");
    worker.onmessage = ({ data }) => {
      if (data.progress) say(data.progress);
      else if (data.error) failed(data.error);
      else resolve(data.cutout);
    };
    worker.postMessage({ photo, levels: trimap.levels, views: Number(views) });
  });
}

function stop() {
  worker?.terminate(); // its memory goes with it
  worker = null;
}

// In a worker: from a photograph and a trimap to the cut-out. The worker's name is what computes, `wasm` or `webgpu`.

import { withForeground } from "./foreground.js";
import { pngOf } from "./png.js";
import { tilesOf } from "./tiles.js";
import { pixels } from "./trimap.js";

const RUNTIMES = { wasm: "./runtime/ort.wasm.min.mjs", webgpu: "./runtime/ort.webgpu.min.mjs" };
const MOST_THREADS = 8;
// As VIEWS of matte.py: whether columns and rows are mirrored.
const VIEWS = [[false, false], [true, false], [false, true], [true, true]];
let ready = null; // a promise of {ort, session}

self.onmessage = async ({ data }) => {
  try {
    postMessage({ cutout: await cutout(data) });
  } catch (error) {
    postMessage({ error: error.message ?? String(error) });
  }
};

async function cutout({ photo, levels, views }) {
  const image = pixels(await createImageBitmap(photo));
  postMessage({ progress: "Loading the network…" });
  const { ort, session } = await (ready ??= load());
  const tiles = tilesOf(levels, image.width, image.height);
  const alpha = new Float32Array(levels.length);
  for (const [index, tile] of tiles.entries()) {
    postMessage({ progress: tiles.length > 1 ? `Cutting out: tile ${index + 1} of ${tiles.length}…` : "Cutting out…" });
    for (const view of VIEWS.slice(0, views)) {
      add(alpha, image.width, tile, view, await seen(ort, session, image, levels, tile, view), 1 / views);
    }
  }
  for (let index = 0; index < levels.length; index++) {
    if (levels[index] !== 128) alpha[index] = levels[index] / 255;
  }
  postMessage({ progress: "Finding the colours…" });
  return pngOf(withForeground(image, alpha));
}

async function load() {
  if (self.name === "webgpu" && !(await navigator.gpu?.requestAdapter())) {
    throw new Error("WebGPU: this browser has no graphics processor for it; compute without WebGPU instead.");
  }
  const ort = await import(RUNTIMES[self.name]);
  // Threads share memory, which browsers allow only to isolated pages (COOP and COEP).
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  const answer = await fetch("model.onnx");
  if (!answer.ok) throw new Error(`model.onnx: ${answer.status} ${answer.statusText}`);
  const session = await ort.InferenceSession.create(new Uint8Array(await answer.arrayBuffer()), {
    executionProviders: [self.name],
    enableCpuMemArena: false, // an arena keeps more than the largest tile needs
    enableMemPattern: false,
    logSeverityLevel: 3, // errors; with WebGPU, it warns that sizes are computed on the CPU, as they should be
  });
  return { ort, session };
}

// The network's alpha of a tile's mirror image.
async function seen(ort, session, image, levels, tile, view) {
  const { width, height } = tile, count = width * height;
  const colours = new Float32Array(3 * count), trimap = new Float32Array(count);
  eachPixel(image.width, tile, view, (from, to) => {
    for (let channel = 0; channel < 3; channel++) colours[channel * count + to] = image.data[4 * from + channel] / 255;
    trimap[to] = levels[from];
  });
  const inputs = {
    image: new ort.Tensor("float32", colours, [1, 3, height, width]),
    trimap: new ort.Tensor("float32", trimap, [1, 1, height, width]),
  };
  const { alpha } = await session.run(inputs);
  return alpha.data;
}

// Add a view's share of a tile to the alpha of the whole.
function add(alpha, wholeWidth, tile, view, part, share) {
  eachPixel(wholeWidth, tile, view, (to, from, weight) => {
    alpha[to] += part[from] * weight * share;
  });
}

// Calls `visit` with each pixel's index in the whole image, its index in the mirrored tile, and the tile's weight.
function eachPixel(wholeWidth, { left, top, width, height, columnWeights, rowWeights }, [mirrorX, mirrorY], visit) {
  for (let y = 0; y < height; y++) {
    const line = (mirrorY ? height - 1 - y : y) * width;
    for (let x = 0; x < width; x++) {
      visit((top + y) * wholeWidth + left + x, line + (mirrorX ? width - 1 - x : x), rowWeights[y] * columnWeights[x]);
    }
  }
}

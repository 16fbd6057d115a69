// The back ends: what makes trimaps and mattes. The page knows no more of one than its functions `makeTrimap` and
// `makeCutout`, how it is called, and whether it looks for the outline in a rectangle.

import { inBrowser } from "./browser.js";
import * as local from "./local.js";

const ALL = {
  local: { shown: "on this server", outlines: true, ...local },
  wasm: { shown: "in this browser", outlines: false, ...inBrowser("wasm") },
  webgpu: { shown: "in this browser, by WebGPU", outlines: false, ...inBrowser("webgpu") },
};

// Those that this page has, by name; the first is the default. WebGPU is one only where the browser has it.
export async function backEnds() {
  const names = await (await fetch("backends.json")).json();
  const there = names.filter((name) => name !== "webgpu" || navigator.gpu);
  return Object.fromEntries(there.map((name) => [name, ALL[name]]));
}

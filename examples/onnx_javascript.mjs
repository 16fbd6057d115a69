// The alpha of a photograph in Node, where neither Python nor this project is needed; photo and trimap are PPM and PGM files.
//
// cheapmatting export cheapmatting-light --format onnx --trimap plane --out matte.onnx
// npm install onnxruntime-web
// node onnx_javascript.mjs matte.onnx photo.ppm trimap.pgm alpha.pgm

import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import * as ort from "onnxruntime-web/wasm";

const [model, photo, trimap, output] = process.argv.slice(2);
ort.env.wasm.numThreads = 1; // in Node, this build has no more
const session = await ort.InferenceSession.create(readFileSync(model));
const rgb = read(photo), { levels, width, height } = read(trimap), count = width * height;
const planes = Float32Array.from({ length: 3 * count }, (_, i) => rgb.levels[3 * (i % count) + Math.floor(i / count)] / 255);
const { alpha } = await session.run({
  image: new ort.Tensor("float32", planes, [1, 3, height, width]),
  trimap: new ort.Tensor("float32", Float32Array.from(levels), [1, 1, height, width]),
});
writeFileSync(output, `P5 ${width} ${height} 255\n`);
appendFileSync(output, Uint8Array.from(alpha.data, (a) => Math.round(a * 255)));

function read(path) {
  const bytes = readFileSync(path), [head, width, height] = /^P[56]\s(\d+)\s(\d+)\s255\s/.exec(bytes.toString("latin1", 0, 40));
  return { levels: bytes.subarray(head.length), width: Number(width), height: Number(height) };
}

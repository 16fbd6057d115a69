// The colours of a foreground without the background behind it: blur fusion, as foreground.py of the Python engine.

const RADII = [90, 6]; // sides of the averaging boxes in pixels, coarse to fine
const REACH = 64; // rows that the two boxes reach, and some more
const BAND = 2 ** 20; // pixels at once, so that memory has a bound

// Straight RGBA {data, width, height} of an image of that kind and its alpha, Float32Array in 0..1.
export function withForeground({ data, width, height }, alpha, band = BAND) {
  const result = new Uint8ClampedArray(data.length);
  const rows = Math.max(Math.floor(band / width), 2 * REACH);
  for (let start = 0; start < height; start += rows) {
    const stop = Math.min(start + rows, height);
    const top = Math.max(start - REACH, 0), bottom = Math.min(stop + REACH, height);
    const part = alpha.subarray(top * width, bottom * width);
    const colours = foregroundOf(data.subarray(4 * top * width, 4 * bottom * width), part, width, bottom - top);
    for (let to = start * width, from = (start - top) * width; to < stop * width; to++, from++) {
      for (let channel = 0; channel < 3; channel++) result[4 * to + channel] = colours[channel][from] * 255;
      result[4 * to + 3] = part[from] * 255; // the array rounds
    }
  }
  return { data: result, width, height };
}

// Three planes of colours in 0..1.
function foregroundOf(data, alpha, width, height) {
  const rest = alpha.map((a) => 1 - a);
  const weights = RADII.map((side) => blurred(alpha, width, height, side));
  return [0, 1, 2].map((channel) => {
    const image = Float32Array.from(alpha, (_, index) => data[4 * index + channel] / 255);
    let foreground = image, background = image;
    for (const [index, side] of RADII.entries()) {
      const weight = weights[index];
      const near = blurred(foreground.map((value, i) => value * alpha[i]), width, height, side);
      const far = blurred(background.map((value, i) => value * rest[i]), width, height, side);
      background = far.map((value, i) => value / (1 - weight[i] + 1e-5));
      foreground = near.map((value, i) => {
        const mean = value / (weight[i] + 1e-5), a = alpha[i];
        return Math.min(1, Math.max(0, mean + a * (image[i] - a * mean - (1 - a) * background[i])));
      });
    }
    return foreground.map((value, i) => (alpha[i] === 1 ? image[i] : value));
  });
}

// Averages over boxes of `side` pixels; the plane is mirrored at its ends, without the last pixel again.
function blurred(plane, width, height, side) {
  const across = new Float32Array(plane.length), result = new Float32Array(plane.length);
  const line = new Float64Array(Math.max(width, height) + side);
  for (let row = 0; row < height; row++) average(plane, across, row * width, 1, width, side, line);
  for (let column = 0; column < width; column++) average(across, result, column, width, height, side, line);
  return result;
}

// Of one line: `size` values from `start`, each `step` after the last. `line` has room for them and for a box.
function average(from, to, start, step, size, side, line) {
  const before = side >> 1; // of an even box, one more pixel lies before its middle than behind it
  for (let index = 0; index < size + side; index++) line[index] = from[start + step * mirrored(index - before, size)];
  let sum = 0;
  for (let index = 0; index < side; index++) sum += line[index];
  for (let index = 0; index < size; index++) {
    to[start + step * index] = sum / side;
    sum += line[index + side] - line[index];
  }
}

function mirrored(index, size) {
  if (size === 1) return 0;
  while (index < 0 || index >= size) index = index < 0 ? -index : 2 * size - 2 - index;
  return index;
}

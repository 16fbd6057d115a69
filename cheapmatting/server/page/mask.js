// A trimap from a mask, in the browser: the same pixels as trimap_from_mask.py of the Python engine.

import { LEVELS, fitting } from "./trimap.js";

const CERTAIN_BACKGROUND = 12, CERTAIN_FOREGROUND = 243; // levels up to the one and from the other
const FAR = 2 ** 34; // more than any squared distance in a picture

// The levels of a trimap of the photograph's `size`; `width` is the unknown band's, such as `20` or `2%`.
export function trimapOfMask(bitmap, size, width) {
  const mask = levelsOfMask(fitting(bitmap, size.width, size.height));
  if (!mask.some((level) => level <= CERTAIN_BACKGROUND)) throw new Error("The mask has no background (0 to 12).");
  if (!mask.some((level) => level >= CERTAIN_FOREGROUND)) throw new Error("The mask has no foreground (243 to 255).");
  const band = bandOf(width, size), inner = Math.floor(band / 2), outer = band - inner;
  const levels = new Uint8Array(mask.length).fill(LEVELS.unknown);
  keep(levels, mask.map((level) => level >= CERTAIN_FOREGROUND), size, inner, LEVELS.foreground);
  keep(levels, mask.map((level) => level <= CERTAIN_BACKGROUND), size, outer, LEVELS.background);
  return levels;
}

// The alpha channel where there is one, else the levels; a mask of 0 and 1 is one of 0 and 255.
function levelsOfMask(data) {
  const count = data.length / 4;
  const channel = (which) => Uint8Array.from({ length: count }, (_, index) => data[4 * index + which]);
  const alpha = channel(3), mask = alpha.some((level) => level < 255) ? alpha : channel(0);
  return mask.some((level) => level > 1) ? mask : mask.map((level) => 255 * level);
}

function bandOf(text, { width, height }) {
  const found = /^([0-9]{1,5}(?:\.[0-9]{1,3})?) ?(%|px|)$/.exec(text.trim());
  const value = found && Number(found[1]);
  if (!found || (found[2] === "%" ? value > 100 : value % 1)) {
    throw new Error(`Band: expected pixels such as 20, or percent of the diagonal such as 2%, got ${text}`);
  }
  return found[2] === "%" ? Math.max(2, Math.round((Math.hypot(width, height) * value) / 100)) : value;
}

// Write `level` where everything within `radius` pixels is `inside`.
function keep(levels, inside, { width, height }, radius, level) {
  const squares = squaredDistances(inside, width, height);
  for (let index = 0; index < levels.length; index++) if (squares[index] > radius ** 2) levels[index] = level;
}

// Of every pixel to the nearest one that is not `inside`, squared (Felzenszwalb and Huttenlocher, 2012).
function squaredDistances(inside, width, height) {
  const squares = Float64Array.from(inside, (is) => (is ? FAR : 0));
  for (let column = 0; column < width; column++) lowest(squares, column, width, height);
  for (let row = 0; row < height; row++) lowest(squares, row * width, 1, width);
  return squares;
}

// One line: the lower envelope of parabolas that stand on its values.
function lowest(values, start, step, size) {
  const line = Float64Array.from({ length: size }, (_, index) => values[start + step * index]);
  const places = [0], from = [-Infinity]; // of the parabolas of the envelope: where they stand, where they begin
  for (let place = 1; place < size; place++) {
    const meet = (other) => (line[place] + place ** 2 - line[other] - other ** 2) / (2 * (place - other));
    while (meet(places.at(-1)) <= from.at(-1)) {
      places.pop();
      from.pop();
    }
    from.push(meet(places.at(-1)));
    places.push(place);
  }
  for (let index = 0, now = 0; index < size; index++) {
    while (now + 1 < places.length && from[now + 1] < index) now++;
    values[start + step * index] = line[places[now]] + (index - places[now]) ** 2;
  }
}

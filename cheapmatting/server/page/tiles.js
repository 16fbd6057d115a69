// Which parts of a photograph the network sees at once: all of a small one, or overlapping tiles, so that the memory has
// a bound whatever the photograph's size. As regions.py of the Python engine divides images for --max-memory.

export const TILE = 1024; // pixels a side, at most: 310 MiB with the shipped network
const OVERLAP = 256; // pixels that neighbouring tiles share
const ALIGNED = 32; // tiles begin at multiples of it, where the network's halvings do

// The tiles that hold something unknown: {left, top, width, height, columnWeights, rowWeights}.
export function tilesOf(levels, width, height) {
  const tiles = [];
  for (const row of tilesAlong(height)) {
    for (const column of tilesAlong(width)) {
      const tile = {
        left: column.start, top: row.start, width: column.weights.length, height: row.weights.length,
        columnWeights: column.weights, rowWeights: row.weights,
      };
      if (hasUnknown(levels, width, tile)) tiles.push(tile);
    }
  }
  return tiles;
}

// Tiles of an axis of `size` pixels, {start, weights}: at every pixel, the weights of all tiles add up to 1.
export function tilesAlong(size) {
  const length = Math.min(TILE, size);
  const count = size === length ? 1 : Math.ceil((size - OVERLAP) / (length - OVERLAP));
  const starts = Array.from({ length: count - 1 }, (_, i) =>
    Math.floor((i * (size - length)) / (count - 1) / ALIGNED) * ALIGNED);
  starts.push(size - length);
  const hill = Float64Array.from({ length }, (_, i) => Math.min(i + 0.5, length - i - 0.5, OVERLAP)); // 0 at the ends
  const total = new Float64Array(size);
  for (const start of starts) hill.forEach((weight, i) => (total[start + i] += weight));
  return starts.map((start) => ({ start, weights: hill.map((weight, i) => weight / total[start + i]) }));
}

function hasUnknown(levels, wholeWidth, { left, top, width, height }) {
  for (let row = top; row < top + height; row++) {
    if (levels.subarray(row * wholeWidth + left, row * wholeWidth + left + width).includes(128)) return true;
  }
  return false;
}

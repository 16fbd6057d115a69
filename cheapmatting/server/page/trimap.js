// The trimap: a base (from a rectangle or a file) and what the brush paints over it, with undo.

export const LEVELS = { background: 0, unknown: 128, foreground: 255 };
// How the trimap is shown over the photograph: red, yellow, green, as in the buttons.
const COLOURS = { 0: [255, 69, 58], 128: [255, 214, 10], 255: [52, 199, 89] };
const MOST_UNDONE = 50; // strokes

export class Trimap {
  // `canvas` shows it; width and height are the photograph's.
  constructor(canvas, width, height) {
    [this.width, this.height] = [width, height];
    [canvas.width, canvas.height] = [width, height];
    this.context = canvas.getContext("2d");
    this.base = new Uint8Array(width * height);
    this.levels = new Uint8Array(width * height);
    this.strokes = []; // what to restore: {base, levels} of the whole, or {box, levels} of a stroke
    this.show(this.whole);
  }

  get whole() {
    return { left: 0, top: 0, right: this.width, bottom: this.height };
  }

  has(name) {
    return this.levels.includes(LEVELS[name]);
  }

  // Another base, which replaces what was painted.
  replace(levels) {
    this.remember({ base: this.base, levels: this.levels });
    this.base = levels;
    this.levels = levels.slice();
    this.show(this.whole);
  }

  // A stroke begins; `name` is a level's, or `eraser`, which brings the base back.
  begin(name) {
    this.tool = name;
    this.before = this.levels.slice();
    this.box = null;
  }

  // Discs of `radius` pixels from one point to another.
  paint(from, to, radius) {
    const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(0.5, radius / 2)));
    let changed = null;
    for (let step = 0; step <= steps; step++) {
      const share = step / steps;
      changed = joined(changed, this.disc(from.x + (to.x - from.x) * share, from.y + (to.y - from.y) * share, radius));
    }
    if (!changed) return;
    this.box = joined(this.box, changed);
    this.show(changed);
  }

  disc(x, y, radius) {
    const top = Math.max(0, Math.ceil(y - radius - 0.5)), bottom = Math.min(this.height, Math.floor(y + radius + 0.5));
    const level = LEVELS[this.tool];
    for (let row = top; row < bottom; row++) {
      const half = Math.sqrt(Math.max(0, radius ** 2 - (row + 0.5 - y) ** 2));
      const start = row * this.width + Math.max(0, Math.round(x - half));
      const stop = row * this.width + Math.min(this.width, Math.max(Math.round(x + half), Math.round(x - half) + 1));
      if (stop <= start) continue;
      if (level === undefined) this.levels.set(this.base.subarray(start, stop), start);
      else this.levels.fill(level, start, stop);
    }
    const left = Math.max(0, Math.floor(x - radius)), right = Math.min(this.width, Math.ceil(x + radius) + 1);
    return right > left && bottom > top ? { left, top, right, bottom } : null;
  }

  end() {
    if (this.box) this.remember({ box: this.box, levels: cut(this.before, this.width, this.box) });
    this.before = null;
  }

  remember(state) {
    this.strokes.push(state);
    if (this.strokes.length > MOST_UNDONE) this.strokes.shift();
  }

  undo() {
    const state = this.strokes.pop();
    if (!state) return;
    if (state.base) {
      this.base = state.base;
      this.levels = state.levels;
      this.show(this.whole);
      return;
    }
    const { left, top, right, bottom } = state.box;
    for (let row = top; row < bottom; row++) {
      const line = (row - top) * (right - left);
      this.levels.set(state.levels.subarray(line, line + right - left), row * this.width + left);
    }
    this.show(state.box);
  }

  show(box) {
    const { left, top, right, bottom } = box;
    const part = this.context.createImageData(right - left, bottom - top);
    let to = 0;
    for (let row = top; row < bottom; row++) {
      for (let index = row * this.width + left; index < row * this.width + right; index++, to += 4) {
        const colour = COLOURS[this.levels[index]];
        part.data[to] = colour[0];
        part.data[to + 1] = colour[1];
        part.data[to + 2] = colour[2];
        part.data[to + 3] = 255;
      }
    }
    this.context.putImageData(part, left, top);
  }

  // A grey PNG of 0, 128 and 255.
  blob() {
    return greyBlob(this.levels, this.width, this.height);
  }
}

// Levels of a picture's file: what is nearly black is background, what is nearly white foreground, the rest unknown.
export function levelsOf(bitmap, width, height) {
  const data = fitting(bitmap, width, height);
  return Uint8Array.from({ length: width * height }, (_, index) => {
    const level = data[4 * index];
    return level <= 32 ? 0 : level >= 223 ? 255 : 128;
  });
}

// The RGBA of a picture that must have the photograph's size.
export function fitting(bitmap, width, height) {
  if (bitmap.width !== width || bitmap.height !== height) {
    throw new Error(`The photo has ${width} x ${height} pixels, this file has ${bitmap.width} x ${bitmap.height}.`);
  }
  return pixels(bitmap).data;
}

export function pixels(bitmap) {
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

export function greyBlob(levels, width, height) {
  const image = new ImageData(width, height);
  for (let index = 0; index < levels.length; index++) {
    image.data.fill(levels[index], 4 * index, 4 * index + 3);
    image.data[4 * index + 3] = 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

function joined(a, b) {
  if (!a || !b) return a || b;
  return {
    left: Math.min(a.left, b.left), top: Math.min(a.top, b.top),
    right: Math.max(a.right, b.right), bottom: Math.max(a.bottom, b.bottom),
  };
}

function cut(levels, width, { left, top, right, bottom }) {
  const part = new Uint8Array((right - left) * (bottom - top));
  for (let row = top; row < bottom; row++) {
    part.set(levels.subarray(row * width + left, row * width + right), (row - top) * (right - left));
  }
  return part;
}

// The page: what its controls do. Drawing is in trimap.js and stage.js, the back end in engine.js.

import { backEnds } from "./engine.js";
import { Result } from "./result.js";
import { Stage } from "./stage.js";
import { Trimap, levelsOf } from "./trimap.js";

const find = (id) => document.getElementById(id);
const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;
const picture = find("picture").getContext("2d");
const state = { photo: null, bitmap: null, trimap: null, result: null, behind: null, busy: false, backEnds: {} };
const MEND = "Yellow is unknown: mend it with the brushes where it misses hair or fur, then cut out.";
const NO_OUTLINE = "All inside is unknown, as the browser looks for no outline: paint sure Foreground, then cut out.";
const KEYS = { r: "rectangle", f: "foreground", b: "background", u: "unknown", e: "eraser", h: "hand" };

// ---- what the user sees

function say(text, fault = false) {
  find("status").textContent = text;
  find("status").classList.toggle("fault", fault);
}

function refresh() {
  const there = { photo: state.bitmap, result: state.result };
  for (const part of document.querySelectorAll("[data-needs]")) {
    const off = !there[part.dataset.needs];
    for (const control of [part, ...part.querySelectorAll("input, button, select")]) {
      const needs = control.closest("[data-needs=result]") ? there.photo && there.result : there.photo;
      if ("disabled" in control) control.disabled = !needs;
    }
    if (part.classList.contains("buttons")) part.setAttribute("aria-disabled", String(off));
  }
  find("undo").disabled = !state.trimap?.strokes.length;
  find("run").disabled = !state.bitmap || state.busy;
  draw();
}

function draw() {
  if (!state.bitmap) return;
  const { width, height } = state.bitmap;
  const view = chosen("view"), split = (find("split").value / 100) * width;
  picture.clearRect(0, 0, width, height);
  if (view === "photo" || !state.result) picture.drawImage(state.bitmap, 0, 0);
  else {
    state.result.draw(picture, view, state.behind ?? find("colour").value);
    if (split > 0) picture.drawImage(state.bitmap, 0, 0, split, height, 0, 0, split, height);
  }
  find("marks").style.opacity = find("veil").value / 100;
}

// ---- files

async function open(file) {
  try {
    const bitmap = await createImageBitmap(file);
    Object.assign(state, { photo: file, bitmap, result: null });
  } catch {
    say(`${file.name}: this browser cannot show it; expected PNG, JPEG, WebP or AVIF.`, true);
    return;
  }
  const { width, height } = state.bitmap;
  [find("picture").width, find("picture").height] = [width, height];
  state.trimap = new Trimap(find("marks"), width, height);
  find("hint").hidden = true;
  stage.open(width, height);
  select("tool", "rectangle");
  select("view", "photo");
  say("Draw a rectangle around what to cut out; or paint it; or choose a mask file.");
  refresh();
}

// Run a task that takes time; its faults are shown, and nothing else changes.
async function busy(text, task) {
  if (state.busy) return;
  state.busy = true;
  say(text);
  refresh();
  const start = performance.now();
  try {
    const done = await task();
    say(`${done} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  } catch (error) {
    say(error.message, true);
  }
  state.busy = false;
  refresh();
}

const backEnd = () => state.backEnds[find("backend").value];

async function makeTrimap(marks) {
  const { width, height } = state.bitmap;
  const asked = { photo: state.photo, size: { width, height }, width: find("width").value, ...marks };
  state.trimap.replace(await backEnd().makeTrimap(asked));
  return MEND;
}

const fromRectangle = (rectangle) => busy("Looking for the outline…", async () => {
  await makeTrimap({ rectangle });
  return backEnd().outlines ? MEND : NO_OUTLINE;
});

const fromMask = (mask) => busy("Making the trimap…", () => makeTrimap({ mask }));

const fromTrimap = (file) => busy("Reading the trimap…", async () => {
  const { width, height } = state.bitmap;
  state.trimap.replace(levelsOf(await createImageBitmap(file), width, height));
  return MEND;
});

async function cutOut() {
  await taken;
  if (state.busy || !state.trimap) return;
  if (!state.trimap.has("unknown")) {
    say("Nothing is unknown. Draw a rectangle, or paint the edges with Unknown and the inside with Foreground.", true);
    return;
  }
  busy("Cutting out…", async () => {
    const first = !state.result, { photo, trimap } = state;
    state.result = await Result.of(await backEnd().makeCutout({ photo, trimap, views: find("views").value, say }));
    if (first || chosen("view") === "photo") select("view", "cutout");
    find("veil").value = 0;
    return "Done. Where it is wrong, paint the trimap and cut out again.";
  });
}

const DOWNLOADS = {
  cutout: () => state.result.cutout,
  alpha: () => state.result.alphaBlob(),
  composite: () => state.result.compositeBlob(state.behind ?? find("colour").value),
  trimap: () => state.trimap.blob(),
};

async function download(what) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await DOWNLOADS[what]());
  link.download = `${state.photo.name.replace(/\.\w+$/, "")}_${what}.png`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// ---- the pen

let last = null, corner = null;
const radius = () => find("size").value / 2;

const pen = {
  down(point) {
    if (state.busy) return;
    last = point;
    if (chosen("tool") === "rectangle") corner = point;
    else {
      if (find("veil").value < 20) find("veil").value = 50;
      draw();
      state.trimap.begin(chosen("tool"));
      state.trimap.paint(point, point, radius());
    }
  },
  move(point) {
    if (!last) return;
    if (corner) showFrame(rectangleTo(point));
    else state.trimap.paint(last, point, radius());
    last = point;
  },
  up() {
    if (!last) return;
    const rectangle = corner && rectangleTo(last), painted = !corner;
    this.cancel();
    if (painted) refresh();
    else if (rectangle.width > 4 && rectangle.height > 4) fromRectangle(rectangle);
  },
  cancel() {
    if (last && !corner) state.trimap.end();
    last = corner = null;
    find("frame").hidden = true;
  },
  hover(point) {
    const brush = find("brush"), brushes = !["rectangle", "hand"].includes(chosen("tool"));
    brush.hidden = !point;
    if (!point) return;
    const place = stage.placeOf(point), size = brushes ? Math.max(4, find("size").value * stage.scale) : 8;
    Object.assign(brush.style, { left: `${place.x}px`, top: `${place.y}px`, width: `${size}px`, height: `${size}px` });
  },
};

function rectangleTo(point) {
  const clamp = (value, most) => Math.round(Math.min(most, Math.max(0, value)));
  const { width, height } = state.bitmap;
  const xs = [corner.x, point.x].map((x) => clamp(x, width)).sort((a, b) => a - b);
  const ys = [corner.y, point.y].map((y) => clamp(y, height)).sort((a, b) => a - b);
  return { x: xs[0], y: ys[0], width: xs[1] - xs[0], height: ys[1] - ys[0] };
}

function showFrame({ x, y, width, height }) {
  const frame = find("frame");
  frame.hidden = false;
  Object.assign(frame.style, { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
}

const stage = new Stage(find("stage"), find("paper"), pen, () => chosen("tool") === "hand");

// ---- controls

function select(name, value) {
  const input = document.querySelector(`input[name=${name}][value=${value}]`);
  if (!input.disabled || name === "view") input.checked = true;
}

function resize(factor) {
  find("size").value = Math.max(1, Math.round(find("size").value * factor + Math.sign(factor - 1)));
  find("size-shown").value = find("size").value;
}

function undo() {
  if (state.busy || !state.trimap) return;
  state.trimap.undo();
  refresh();
}

// Files are taken one after the other: a trimap waits for the photo that was chosen before it, and a cut-out for both.
let taken = Promise.resolve();

function take(use, file) {
  taken = taken.then(() => use(file)).catch((error) => say(error.message, true));
}

function takeFile(id, use) {
  find(id).addEventListener("change", ({ target }) => {
    const [file] = target.files;
    target.value = ""; // the same file may be chosen again
    if (file) take(use, file);
  });
}

takeFile("photo", open);
takeFile("mask", fromMask);
takeFile("trimap", fromTrimap);
takeFile("behind", async (file) => {
  try {
    state.behind = await createImageBitmap(file);
  } catch {
    say(`${file.name}: this browser cannot show it; expected PNG, JPEG, WebP or AVIF.`, true);
    return;
  }
  select("view", "composite");
  draw();
});
find("colour").addEventListener("input", () => {
  state.behind = null;
  select("view", "composite");
  draw();
});
for (const id of ["veil", "split"]) find(id).addEventListener("input", draw);
for (const input of document.querySelectorAll("input[name=view]")) input.addEventListener("change", draw);
find("size").addEventListener("input", () => resize(1));
find("undo").addEventListener("click", undo);
find("clear").addEventListener("click", () => {
  state.trimap.replace(new Uint8Array(state.bitmap.width * state.bitmap.height));
  refresh();
});
find("run").addEventListener("click", cutOut);
find("tools").addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-download]")) {
  button.addEventListener("click", () => download(button.dataset.download));
}

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  find("stage").classList.add("over");
});
document.addEventListener("dragleave", () => find("stage").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("stage").classList.remove("over");
  if (event.dataTransfer.files.length) take(open, event.dataTransfer.files[0]);
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input[type=text], select");
  if (!state.bitmap || typing || event.altKey) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key !== "z") return;
    undo();
  } else if (event.target === find("stage") && stage.key(event, Math.max(1, radius() / 2))) {
    // the pen took it
  } else if (KEYS[event.key]) select("tool", KEYS[event.key]);
  else if ("1234".includes(event.key)) {
    const view = ["photo", "alpha", "cutout", "composite"][event.key - 1];
    if (state.result || view === "photo") select("view", view);
    draw();
  } else if (event.key === "[" || event.key === "]") resize(event.key === "[" ? 0.8 : 1.25);
  else if (event.key === "+" || event.key === "=") stage.zoom(1.25);
  else if (event.key === "-") stage.zoom(0.8);
  else if (event.key === "0") stage.fit();
  else if (event.key === "Enter" && !event.target.matches("button, summary")) cutOut();
  else return;
  event.preventDefault();
});

async function offerBackEnds() {
  state.backEnds = await backEnds();
  for (const [name, { shown }] of Object.entries(state.backEnds)) find("backend").add(new Option(shown, name));
  find("backend-row").hidden = Object.keys(state.backEnds).length < 2;
  if (!state.backEnds.local) find("hint").lastChild.textContent = "It stays in this tab.";
}

offerBackEnds().catch(() => say("The page is not whole: backends.json is missing. Write or start it anew.", true));
refresh();

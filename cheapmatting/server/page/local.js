// The back end behind HTTP: the server that this page comes from.

import { levelsOf } from "./trimap.js";

// The levels of a trimap of the photograph's `size`, from a rectangle {x, y, width, height} or a mask file.
export async function makeTrimap({ photo, size, rectangle, mask, width }) {
  const form = new FormData();
  if (mask) form.append("mask", mask, "mask");
  else {
    form.append("image", photo, "photo");
    form.append("rectangle", [rectangle.x, rectangle.y, rectangle.width, rectangle.height].join());
  }
  form.append("width", width);
  return levelsOf(await createImageBitmap(await post("v1/trimap", form)), size.width, size.height);
}

// The cut-out of a photograph by its trimap, as a PNG blob: straight RGBA, whose alpha is the matte.
export async function makeCutout({ photo, trimap, views }) {
  const form = new FormData();
  form.append("image", photo, "photo");
  form.append("trimap", await trimap.blob(), "trimap.png");
  form.append("views", views);
  return post("v1/matte", form);
}

async function post(path, form) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", body: form });
  } catch {
    throw new Error("The server does not answer. Is cheapmatting web still running?");
  }
  if (answer.ok) return answer.blob();
  const { error } = await answer.json().catch(() => ({ error: answer.statusText }));
  throw new Error(error);
}

// The back end: what makes trimaps and mattes. The page knows no more of it than these two functions.

// The trimap of a photograph's rectangle {x, y, width, height}, or of a mask file, as a PNG blob.
export function makeTrimap({ photo, rectangle, mask, width }) {
  const form = new FormData();
  if (mask) form.append("mask", mask, "mask");
  else {
    form.append("image", photo, "photo");
    form.append("rectangle", [rectangle.x, rectangle.y, rectangle.width, rectangle.height].join());
  }
  form.append("width", width);
  return post("v1/trimap", form);
}

// The cut-out of a photograph by its trimap, as a PNG blob: straight RGBA, whose alpha is the matte.
export function makeCutout({ photo, trimap, views }) {
  const form = new FormData();
  form.append("image", photo, "photo");
  form.append("trimap", trimap, "trimap.png");
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

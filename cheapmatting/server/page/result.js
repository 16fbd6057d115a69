// A finished matte, and what is shown and downloaded of it.

import { greyBlob, pixels } from "./trimap.js";

export class Result {
  // `blob` is the cut-out's PNG, straight RGBA.
  static async of(blob) {
    const result = new Result();
    result.cutout = blob;
    // Straight colours: the canvas multiplies them by alpha, which changes only what nobody sees.
    result.bitmap = await createImageBitmap(blob);
    const { data } = pixels(result.bitmap);
    result.alpha = Uint8Array.from({ length: data.length / 4 }, (_, index) => data[4 * index + 3]);
    result.alphaPicture = await createImageBitmap(await result.alphaBlob());
    return result;
  }

  alphaBlob() {
    return greyBlob(this.alpha, this.bitmap.width, this.bitmap.height);
  }

  // Draw a view on a canvas; `behind` is a colour or a bitmap, for `composite`.
  draw(context, view, behind) {
    const { width, height } = this.bitmap;
    if (view === "composite") drawBackground(context, behind, width, height);
    context.drawImage(view === "alpha" ? this.alphaPicture : this.bitmap, 0, 0);
  }

  compositeBlob(behind) {
    const canvas = new OffscreenCanvas(this.bitmap.width, this.bitmap.height);
    this.draw(canvas.getContext("2d"), "composite", behind);
    return canvas.convertToBlob({ type: "image/png" });
  }
}

// A colour, or a bitmap that covers the whole and loses its margins.
function drawBackground(context, behind, width, height) {
  if (typeof behind === "string") {
    context.fillStyle = behind;
    context.fillRect(0, 0, width, height);
    return;
  }
  const scale = Math.max(width / behind.width, height / behind.height);
  const [wide, tall] = [behind.width * scale, behind.height * scale];
  context.drawImage(behind, (width - wide) / 2, (height - tall) / 2, wide, tall);
}

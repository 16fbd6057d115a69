// PNG files of straight RGBA. A canvas cannot write them: it keeps colours multiplied by alpha, and rounds what is left.

const SIGNATURE = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
const RGBA = [8, 6, 0, 0, 0]; // bits; colour type; ways of compression, filter and interlacing
const LEFT = 1; // the filter of a row: differences to the pixel on the left
const CRCS = Uint32Array.from({ length: 256 }, (_, crc) => {
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

// The file of {data, width, height}, as a blob.
export async function pngOf({ data, width, height }) {
  const size = new DataView(new ArrayBuffer(8));
  size.setUint32(0, width);
  size.setUint32(4, height);
  const packed = new Blob([filtered(data, width, height)]).stream().pipeThrough(new CompressionStream("deflate"));
  const parts = [
    SIGNATURE,
    ...chunk("IHDR", Uint8Array.of(...new Uint8Array(size.buffer), ...RGBA)),
    ...chunk("IDAT", new Uint8Array(await new Response(packed).arrayBuffer())),
    ...chunk("IEND", new Uint8Array()),
  ];
  return new Blob(parts, { type: "image/png" });
}

function filtered(data, width, height) {
  const line = 4 * width, rows = new Uint8Array((line + 1) * height);
  for (let row = 0, to = 0; row < height; row++) {
    rows[to++] = LEFT;
    for (let from = row * line, start = from; from < start + line; from++) {
      rows[to++] = data[from] - (from >= start + 4 ? data[from - 4] : 0);
    }
  }
  return rows;
}

function chunk(name, data) {
  const kind = new TextEncoder().encode(name);
  return [word(data.length), kind, data, word(crcOf(kind, data))];
}

function word(value) {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

function crcOf(...parts) {
  let crc = 0xffffffff;
  for (const part of parts) for (const byte of part) crc = CRCS[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

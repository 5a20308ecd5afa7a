// Makes a real PNG without a library, for uploads that browsers must be able to draw.

import { crc32, deflateSync } from "node:zlib";

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const out = Buffer.alloc(body.length + 8);
  out.writeUInt32BE(data.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), body.length + 4);
  return out;
}

/** A picture of hills at dusk, `width` × `height` (PNG, 8-bit RGB). */
export function hills(width, height) {
  const rows = Buffer.alloc((width * 3 + 1) * height);
  const ridge = (x, base, size, phase) => base + size * Math.sin(x / 47 + phase) + (size / 2) * Math.sin(x / 19 + phase * 3);
  for (let y = 0; y < height; y++) {
    const line = y * (width * 3 + 1);
    for (let x = 0; x < width; x++) {
      const share = y / height;
      let colour = [246 - 60 * share, 204 - 40 * share, 150 + 60 * share];
      if (Math.hypot(x - width * 0.7, y - height * 0.34) < height * 0.09) colour = [255, 244, 214];
      if (y > ridge(x, height * 0.55, height * 0.06, 1)) colour = [106, 146, 132];
      if (y > ridge(x, height * 0.68, height * 0.07, 2.4)) colour = [52, 106, 88];
      if (y > ridge(x, height * 0.82, height * 0.06, 4)) colour = [18, 61, 49];
      rows.set(colour, line + 1 + x * 3);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([signature, chunk("IHDR", header), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

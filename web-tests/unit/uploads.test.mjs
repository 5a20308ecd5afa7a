import assert from "node:assert/strict";
import { test } from "node:test";

import { Upload } from "../../chat-server/web/uploads.js";

test("two uploads go on at once, and a cancelled one gives its turn on", async () => {
  const begun = [];
  const api = {
    upload: (_channel, file) => new Promise((resolve) => begun.push({ name: file.name, resolve })),
  };
  const file = (name) => ({ name, size: 1 });
  const upload = (name) => new Upload({ api, channel: "c", file: file(name), changed: () => {} });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const uploads = ["a", "b", "c", "d"].map(upload);
  await settled();
  assert.deepEqual(begun.map(({ name }) => name), ["a", "b"]);
  uploads[2].cancel();
  begun[0].resolve({ id: 1 });
  await settled();
  assert.deepEqual(begun.map(({ name }) => name), ["a", "b", "d"]);
  begun[1].resolve({ id: 2 });
  begun[2].resolve({ id: 3 });
  await settled();
  assert.deepEqual(uploads.map(({ state }) => state), ["done", "done", "uploading", "done"]);
});

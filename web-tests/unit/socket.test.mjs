import assert from "node:assert/strict";
import { test } from "node:test";

import { Socket } from "../../chat-server/web/socket.js";

/** What a browser gives a page, as far as the socket uses it; connections are the test's. */
function world() {
  const it = { connections: [], tokens: [], renewed: 0 };
  globalThis.addEventListener ??= () => {};
  globalThis.removeEventListener ??= () => {};
  globalThis.document = { addEventListener() {}, removeEventListener() {}, visibilityState: "visible" };
  globalThis.location = { protocol: "http:", host: "chat.example" };
  globalThis.WebSocket = class {
    sent = [];
    constructor() {
      it.connections.push(this);
    }
    send(text) {
      this.sent.push(JSON.parse(text));
    }
    close() {}
  };
  it.session = {
    current: {},
    async token(rejected) {
      it.tokens.push(rejected);
      if (rejected === `token-${it.renewed}`) it.renewed += 1;
      return `token-${it.renewed}`;
    },
  };
  it.socket = new Socket(it.session);
  /** How long it waits before each next connection. */
  it.waits = [];
  it.socket.addEventListener("state", () => {
    if (it.socket.state === "waiting") it.waits.push(it.socket.retryAt - Date.now());
  });
  /** The next connection, open, after its hello. */
  it.hello = async () => {
    const connection = await until(() => it.connections.shift());
    connection.onopen();
    assert.equal(connection.sent[0].type, "hello");
    return connection;
  };
  it.welcome = (connection) =>
    connection.onmessage({ data: JSON.stringify({ type: "welcome", heartbeat_ms: 30_000, channels: [] }) });
  return it;
}

async function until(holds) {
  const end = Date.now() + 20_000;
  for (;;) {
    const found = holds();
    if (found) return found;
    assert.ok(Date.now() < end, "expected it within 20 s");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

test("a role that changed, even twice, costs a new token and no wait", async (t) => {
  const it = world();
  t.after(() => it.socket.stop());
  it.socket.start();
  for (let n = 0; n < 3; n++) {
    const connection = await it.hello();
    assert.equal(connection.sent[0].token, `token-${n}`);
    it.welcome(connection);
    assert.equal(it.socket.state, "online");
    if (n < 2) connection.onclose({ code: 4002 });
  }
  assert.deepEqual(it.tokens, [null, "token-0", "token-1"]);
  assert.ok(it.waits.every((wait) => wait <= 0), `${it.waits}`);
});

test("a welcome alone does not shorten the wait, an acknowledgement does", async (t) => {
  const [random, now] = [Math.random, Date.now];
  t.after(() => (Math.random = random));
  Math.random = () => 0.01;
  const it = world();
  t.after(() => it.socket.stop());
  it.socket.start();
  for (let n = 0; n < 6; n++) {
    const connection = await it.hello();
    it.welcome(connection);
    if (n === 4) connection.onmessage({ data: JSON.stringify({ type: "ack", id: "a", channel: "x", seq: 1, at: 0 }) });
    // The clock stands still, so that a busy machine makes no wait look shorter.
    Date.now = () => 1_000_000;
    connection.onclose({ code: 1009 });
    Date.now = now;
    assert.equal(it.socket.closedBy, 1009);
  }
  assert.deepEqual(it.waits, [4, 8, 16, 32, 4, 8]);
});

test("a session that was revoked does not come back", async (t) => {
  const it = world();
  t.after(() => it.socket.stop());
  let revoked = 0;
  it.socket.addEventListener("revoked", () => (revoked += 1));
  it.socket.start();
  const connection = await it.hello();
  it.welcome(connection);
  connection.onclose({ code: 4003 });
  assert.equal(revoked, 1);
  assert.equal(it.connections.length, 0);
});

test("a socket that a newer one pushed out waits for the person, and pushes out nobody by itself", async (t) => {
  const it = world();
  t.after(() => it.socket.stop());
  it.socket.start();
  const connection = await it.hello();
  it.welcome(connection);
  connection.onclose({ code: 4004 });
  assert.deepEqual([it.socket.state, it.socket.retryAt], ["waiting", null]);
  assert.equal(it.connections.length, 0);
  it.socket.retryNow();
  it.welcome(await it.hello());
  assert.equal(it.socket.state, "online");
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { Logs } from "../../chat-server/web/logs.js";

const message = (seq) => ({ channel: "c", seq, at: seq, by: "ada", kind: "message", text: `m${seq}` });
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => message(from + i));

/** A server with a log of `head` events, a socket that notes what is written, and the client's logs. */
function world(head) {
  const w = { head, sent: [], applied: [], generations: [], held: null, online: true, fails: false };
  let ids = 0;
  w.logs = new Logs({
    uuid: () => `id${++ids}`,
    api: {
      events: async (channel, after, limit, generation) => {
        w.generations.push(generation);
        await w.held;
        if (w.fails) throw new Error("away");
        return range(after + 1, Math.min(w.head, after + limit));
      },
    },
    socket: {
      send: (frame) => {
        if (w.online) w.sent.push(frame);
        return w.online;
      },
    },
    applied: (_, events) => w.applied.push(...events.map((event) => event.seq)),
    changed: () => {},
  });
  w.seqs = () => w.logs.get("c").timeline.entries.map((entry) => entry.seq);
  w.settled = async () => {
    for (let i = 0; i < 50; i++) await null;
  };
  return w;
}

const seqs = (from, to) => range(from, to).map((event) => event.seq);

test("opening loads the newest page of history, and older pages on demand", async () => {
  const w = world(250);
  w.logs.open("c", 250);
  await w.settled();
  assert.deepEqual(w.seqs(), seqs(151, 250));
  await w.logs.older("c");
  await w.logs.older("c");
  await w.logs.older("c");
  assert.deepEqual(w.seqs(), seqs(1, 250));
});

test("a gap is asked for once, and closed by what comes", async () => {
  const w = world(10);
  w.logs.open("c", 10);
  await w.settled();
  w.head = 14;
  w.logs.receive(message(13));
  w.logs.receive(message(14));
  assert.deepEqual(w.sent, [{ type: "sync", id: "id1", channel: "c", after: 10 }]);
  w.logs.receive(message(11));
  w.logs.receive(message(12));
  await w.logs.synced({ id: "id1", channel: "c", head: 14, recovered: true });
  assert.deepEqual(w.seqs(), seqs(1, 14));
  assert.equal(new Set(w.applied).size, w.applied.length, "each event is applied once");
});

test("what the server cannot recover is read page by page", async () => {
  const w = world(10);
  w.logs.open("c", 10);
  await w.settled();
  w.head = 600;
  w.logs.welcomed([{ channel: "c", head: 600, read: 0 }]);
  await w.logs.synced({ id: "id1", channel: "c", head: 600, recovered: false });
  assert.deepEqual(w.seqs(), seqs(1, 600));
});

test("a client that is far behind starts afresh at the end", async () => {
  const w = world(10);
  w.logs.open("c", 10);
  await w.settled();
  w.head = 5000;
  w.logs.welcomed([{ channel: "c", head: 5000, read: 0 }]);
  await w.settled();
  assert.deepEqual(w.sent, []);
  assert.deepEqual(w.seqs(), seqs(4901, 5000));
});

test("a log that is shorter than before is another log", async () => {
  const w = world(50);
  w.logs.open("c", 50);
  await w.settled();
  w.head = 30;
  w.logs.welcomed([{ channel: "c", head: 30, read: 0 }]);
  await w.settled();
  assert.deepEqual(w.seqs(), seqs(1, 30));
});

const welcome = (w, generation) => w.logs.welcomed([{ channel: "c", head: w.head, read: 0 }], generation);

test("another generation of the server's store makes all logs begin anew", async () => {
  const w = world(50);
  w.logs.open("c", 50);
  await w.settled();
  welcome(w, "g1");
  w.applied.length = 0;
  // As long as before, and further: only the generation tells that these are other events.
  w.head = 60;
  welcome(w, "g2");
  await w.settled();
  assert.deepEqual(w.sent, []);
  assert.deepEqual(w.seqs(), seqs(1, 60));
  assert.deepEqual(w.applied.toSorted((a, b) => a - b), seqs(1, 60), "each once more");
  assert.equal(w.generations.at(-1), "g2");
});

test("a generation that is learnt, repeated or not said changes nothing", async () => {
  const w = world(10);
  w.logs.open("c", 10);
  await w.settled();
  w.applied.length = 0;
  for (const said of ["g1", "g1", undefined, "g1"]) welcome(w, said);
  await w.settled();
  assert.deepEqual([w.sent, w.applied], [[], []]);
});

test("history that was on its way when the logs began anew is not taken", async () => {
  const w = world(250);
  w.logs.open("c", 250);
  await w.settled();
  welcome(w, "g1");
  let release;
  w.held = new Promise((resolve) => (release = resolve));
  const older = w.logs.older("c");
  w.held = null;
  w.head = 150;
  welcome(w, "g2");
  await w.settled();
  assert.deepEqual(w.seqs(), seqs(51, 150));
  w.applied.length = 0;
  release();
  await older;
  assert.deepEqual([w.seqs(), w.applied], [seqs(51, 150), []]);
  assert.equal(w.logs.get("c").loading, false);
});

test("a sync that the connection took with it is asked again with the next one", async () => {
  const w = world(10);
  w.logs.open("c", 10);
  await w.settled();
  w.logs.receive(message(12));
  w.logs.disconnected();
  w.head = 12;
  w.logs.welcomed([{ channel: "c", head: 12, read: 0 }]);
  assert.equal(w.sent.length, 2);
  w.logs.disconnected();
});

test("history that failed to load is loaded with the next connection", async () => {
  const w = world(10);
  w.fails = true;
  w.logs.open("c", 10);
  await w.settled();
  assert.ok(w.logs.get("c").failed);
  w.fails = false;
  w.logs.welcomed([{ channel: "c", head: 10, read: 0 }]);
  await w.settled();
  assert.deepEqual(w.seqs(), seqs(1, 10));
});

test("events of channels that are not open are passed on, and cost no memory", () => {
  const w = world(0);
  w.logs.receive(message(7));
  assert.deepEqual(w.applied, [7]);
  assert.equal(w.logs.get("c"), undefined);
});

test("only the most recently opened channels are kept", async () => {
  const w = world(0);
  for (let i = 0; i < 25; i++) w.logs.open(`c${i}`, 0);
  w.logs.open("c5", 0);
  assert.equal(w.logs.get("c4"), undefined);
  assert.ok(w.logs.get("c5") && w.logs.get("c24"));
});

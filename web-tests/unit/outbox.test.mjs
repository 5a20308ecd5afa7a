import assert from "node:assert/strict";
import { test } from "node:test";

import { Outbox } from "../../chat-server/web/outbox.js";
import { excess } from "../../chat-server/web/kinds.js";
import { backoff } from "../../chat-server/web/socket.js";

class Storage extends Map {
  get length() {
    return this.size;
  }
  key(i) {
    return [...this.keys()][i];
  }
  getItem(key) {
    return this.get(key) ?? null;
  }
  setItem(key, value) {
    this.set(key, value);
  }
  removeItem(key) {
    this.delete(key);
  }
}

/** A world with a clock that stands still until told, and ids that count. */
function world() {
  let ids = 0;
  const it = { now: 1_000_000, storage: new Storage() };
  it.outbox = (user = "ada") =>
    new Outbox({ storage: it.storage, user, uuid: () => `id${++ids}`, now: () => it.now, random: () => 1 });
  return it;
}

const send = (channel, text) => ({ type: "send", channel, text });
const ids = (entries) => entries.map((entry) => entry.id);

test("one command a channel is on its way, in the order written", () => {
  const outbox = world().outbox();
  const [a, b, c] = [outbox.add(send("x", "1")), outbox.add(send("x", "2")), outbox.add(send("y", "3"))];
  assert.deepEqual(ids(outbox.due()), [a.id, c.id]);
  outbox.wrote(a.id);
  outbox.wrote(c.id);
  assert.deepEqual(outbox.due(), []);
  outbox.acked(a.id, 1);
  assert.deepEqual(ids(outbox.due()), [b.id]);
});

/** A legal text that JSON makes six times as long. */
const ESCAPED = "\u0001".repeat(16_384);

test("what the socket would refuse fails before it is queued, and holds nothing up", () => {
  const w = world();
  const outbox = w.outbox();
  const [large, next] = [outbox.add(send("x", ESCAPED)), outbox.add(send("x", "2"))];
  assert.deepEqual([large.state, large.error.code], ["failed", "too_large"]);
  assert.deepEqual(ids(outbox.due()), [next.id]);
  const edit = outbox.add({ type: "edit", channel: "y", target: 1, text: ESCAPED });
  assert.equal(edit.state, "failed");
  assert.equal(outbox.add(send("z", "€".repeat(5_461))).state, "queued");
  // One that an older version of this client has taken.
  w.storage.setItem("folkmoot.outbox.ada.old", JSON.stringify({ type: "send", id: "old", channel: "x", at: w.now, text: ESCAPED }));
  assert.equal(w.outbox().get("old").state, "failed");
});

test("a text is too long as it is, or as JSON", () => {
  assert.equal(excess("a".repeat(16_384)), 0);
  assert.equal(excess("a".repeat(16_385)), 1);
  assert.equal(excess("é".repeat(8_193)), 2);
  assert.ok(excess(ESCAPED) > 0);
});

test("a close because of a frame that is too large gives up the largest command, and sends the others again", () => {
  const outbox = world().outbox();
  const [small, large, waiting] = [send("x", "1"), send("y", "a".repeat(99)), send("z", "b".repeat(999))].map((c) => outbox.add(c));
  outbox.wrote(small.id);
  outbox.wrote(large.id);
  assert.equal(outbox.disconnected({ tooLarge: true }), large);
  assert.deepEqual([large.state, large.error.code], ["failed", "too_large"]);
  assert.deepEqual(ids(outbox.due()), [small.id, waiting.id]);
  assert.equal(outbox.disconnected({ tooLarge: true }), null);
});

test("a lost connection sends the same ids again", () => {
  const outbox = world().outbox();
  const entry = outbox.add(send("x", "1"));
  outbox.wrote(entry.id);
  outbox.disconnected();
  assert.deepEqual(ids(outbox.due()), [entry.id]);
});

test("a reload loses nothing that was not acked, and keeps the order within one millisecond", () => {
  const w = world();
  const before = w.outbox();
  const made = ["1", "2", "3", "4"].map((text) => before.add(send("x", text)));
  before.wrote(made[0].id);
  before.acked(made[0].id, 9);
  const after = w.outbox();
  assert.deepEqual(after.entries.map(({ id, text, state }) => [id, text, state]), [
    [made[1].id, "2", "queued"],
    [made[2].id, "3", "queued"],
    [made[3].id, "4", "queued"],
  ]);
  assert.deepEqual(w.outbox("grace").entries, [], "another user's stay theirs");
});

test("all fields of a command survive a reload, and commands of a newer client are left to it", () => {
  const w = world();
  const entry = w.outbox().add({ type: "edit", channel: "x", target: 3, text: "new", mood: { good: true } });
  const other = w.outbox().add({ type: "of_the_future", channel: "x", target: 3 });
  const after = w.outbox();
  assert.deepEqual(after.entries, [{ ...entry, first: false }]);
  assert.equal(after.get(entry.id).mood.good, true);
  assert.ok(w.storage.has(`folkmoot.outbox.ada.${other.id}`));
});

test("an acked command stays visible until its event is there", () => {
  const outbox = world().outbox();
  const entry = outbox.add(send("x", "1"));
  outbox.acked(entry.id, 7);
  outbox.settleUpTo("x", 6);
  assert.equal(outbox.of("x")[0].state, "sent");
  outbox.settleUpTo("x", 7);
  assert.deepEqual(outbox.of("x"), []);
});

test("the event may come before the ack", () => {
  const w = world();
  const outbox = w.outbox();
  const entry = outbox.add(send("x", "1"));
  outbox.settle(entry.id);
  outbox.acked(entry.id, 7);
  assert.deepEqual(outbox.entries, []);
  assert.equal(w.storage.size, 0);
});

test("a refusal that says later is waited for, and blocks what was written after it", () => {
  const w = world();
  const outbox = w.outbox();
  const first = outbox.add(send("x", "1"));
  outbox.add(send("x", "2"));
  outbox.wrote(first.id);
  outbox.refused(first.id, { code: "overloaded", message: "busy", retryable: true, retryAfterMs: 5000 });
  assert.deepEqual(outbox.due(), []);
  assert.equal(outbox.nextDue(), 6000);
  w.now += 6000;
  assert.deepEqual(ids(outbox.due()), [first.id]);
});

test("while the server says when to come back it is asked again, soon after it is well", () => {
  const w = world();
  const outbox = w.outbox();
  const entry = outbox.add(send("x", "1"));
  for (let i = 0; i < 200; i++) {
    outbox.wrote(entry.id);
    outbox.refused(entry.id, { code: "overloaded", message: "away", retryable: true, retryAfterMs: 1000 });
    assert.ok(outbox.nextDue() <= 3000);
    w.now += 3000;
    assert.deepEqual(ids(outbox.due()), [entry.id]);
  }
});

test("a refusal for good fails, lets the next one pass, and can be tried again or discarded", () => {
  const w = world();
  const outbox = w.outbox();
  const [first, second] = [outbox.add(send("x", "1")), outbox.add(send("x", "2"))];
  outbox.wrote(first.id);
  outbox.refused(first.id, { code: "forbidden", message: "no", retryable: false });
  assert.equal(first.state, "failed");
  assert.deepEqual(ids(outbox.due()), [second.id]);
  assert.equal(w.outbox().get(first.id).state, "failed", "also after a reload");
  const { id } = first;
  outbox.retry(id);
  assert.equal(first.id, id, "the same id: the server may have done it");
  assert.equal(first.state, "queued");
  outbox.refused(id, { code: "forbidden", message: "no", retryable: false });
  outbox.discard(id);
  assert.deepEqual(ids(outbox.entries), [second.id]);
  assert.equal(w.storage.size, 1);
});

test("it does not try for ever", () => {
  const w = world();
  const outbox = w.outbox();
  const entry = outbox.add(send("x", "1"));
  for (let i = 0; i < 12; i++) outbox.refused(entry.id, { code: "internal", message: "bug", retryable: true });
  assert.equal(entry.state, "failed");
});

test("no answer for long is asked about again", () => {
  const w = world();
  const outbox = w.outbox();
  const entry = outbox.add(send("x", "1"));
  outbox.wrote(entry.id);
  assert.equal(outbox.nextDue(), 15_000);
  w.now += 15_000;
  assert.deepEqual(ids(outbox.due()), [entry.id]);
});

test("what waited beyond the server's window needs a person, and then gets a new id", () => {
  const w = world();
  const { id } = w.outbox().add(send("x", "1"));
  w.now += 24 * 3600 * 1000;
  const outbox = w.outbox();
  assert.equal(outbox.get(id).state, "failed");
  assert.deepEqual(outbox.due(), []);
  outbox.retry(id);
  assert.equal(outbox.get(id), undefined);
  assert.equal(outbox.due().length, 1);
  assert.equal(w.storage.size, 1);
});

test("a full storage does not stop anybody", () => {
  const w = world();
  w.storage.setItem = () => {
    throw new Error("quota");
  };
  const outbox = w.outbox();
  outbox.add(send("x", "1"));
  assert.equal(outbox.due().length, 1);
});

test("backoff is jittered fully, grows and is capped", () => {
  assert.equal(backoff(0, () => 0), 0);
  assert.equal(backoff(0, () => 1), 400);
  assert.equal(backoff(3, () => 1), 3200);
  assert.equal(backoff(1000, () => 1), 15_000);
});

test("after a restore of the server nothing is changed by a position of before", () => {
  const w = world();
  const before = w.outbox();
  before.welcomed("g1");
  const text = before.add(send("x", "hello"));
  const acked = before.add(send("y", "committed before"));
  before.acked(acked.id, 90);
  const edit = before.add({ type: "edit", channel: "x", target: 62, text: "better" });
  const deletion = before.add({ type: "delete", channel: "x", target: 63 });
  assert.deepEqual(before.welcomed("g1"), []);
  assert.deepEqual(before.welcomed(undefined), [], "a server that does not say");
  assert.deepEqual(before.welcomed("g2"), [edit, deletion]);
  assert.deepEqual(ids(before.entries), [text.id]);

  // Also when the person signed in again in between, as a restore demands.
  const again = world();
  const first = again.outbox();
  first.welcomed("g1");
  const kept = first.add(send("x", "hello"));
  first.add({ type: "delete", channel: "x", target: 63 });
  const second = again.outbox();
  assert.equal(second.entries.length, 2);
  assert.equal(second.welcomed("g2").length, 1);
  assert.deepEqual(ids(second.due()), [kept.id]);
  assert.deepEqual(ids(again.outbox().entries), [kept.id], "and it is stored so");
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { Timeline } from "../../chat-server/web/timeline.js";

const message = (seq, text = `m${seq}`, more = {}) => ({ channel: "c", seq, at: seq * 1000, by: "ada", kind: "message", text, ...more });
const edited = (seq, target, text) => ({ channel: "c", seq, at: seq * 1000, by: "ada", kind: "edited", target, text });
const deleted = (seq, target) => ({ channel: "c", seq, at: seq * 1000, by: "ada", kind: "deleted", target });
const reaction = (seq, target, by, emoji, removed) => ({ channel: "c", seq, at: seq * 1000, by, kind: "reaction", target, emoji, ...(removed && { removed }) });
const reactions = (timeline) => timeline.entries.map((entry) => entry.reactions.map(({ emoji, by }) => `${emoji} ${by}`).join(" "));
const texts = (timeline) => timeline.entries.map((entry) => (entry.deleted ? "†" : entry.text));
const seqs = (events) => events.map((event) => event.seq);

test("events in order are applied, duplicates dropped", () => {
  const t = new Timeline("c", 0);
  assert.deepEqual(seqs(t.apply(message(1))), [1]);
  assert.deepEqual(seqs(t.apply(message(2))), [2]);
  assert.deepEqual(t.apply(message(1)), []);
  assert.deepEqual(t.apply(message(2, "other")), []);
  assert.deepEqual(texts(t), ["m1", "m2"]);
  assert.equal(t.cursor, 2);
});

test("an event ahead of a gap waits until the gap is filled", () => {
  const t = new Timeline("c", 10);
  assert.deepEqual(t.apply(message(13)), []);
  assert.deepEqual(t.apply(message(12)), []);
  assert.ok(t.hasGap);
  assert.deepEqual(texts(t), []);
  assert.deepEqual(seqs(t.apply(message(11))), [11, 12, 13]);
  assert.ok(!t.hasGap);
  assert.deepEqual(texts(t), ["m11", "m12", "m13"]);
});

test("edits and deletions change their message, in the order of the log", () => {
  const t = new Timeline("c", 0);
  [message(1), message(2), edited(3, 1, "new"), edited(4, 1, "newer"), deleted(5, 2)].forEach((e) => t.apply(e));
  assert.deepEqual(texts(t), ["newer", "†"]);
  assert.ok(t.entries[0].edited);
  t.apply(edited(6, 2, "too late"));
  assert.deepEqual(texts(t), ["newer", "†"]);
});

test("reactions stand with their message, in the order in which they came, until they are taken back", () => {
  const t = new Timeline("c", 0);
  [message(1), reaction(2, 1, "ada", "🎉"), reaction(3, 1, "bob", "👍"), reaction(4, 1, "ada", "👍")].forEach((e) => t.apply(e));
  assert.deepEqual(reactions(t), ["🎉 ada 👍 bob,ada"]);
  t.apply(reaction(5, 1, "ada", "🎉", true));
  t.apply(reaction(6, 1, "bob", "👍", true));
  assert.deepEqual(reactions(t), ["👍 ada"]);
  t.apply(reaction(7, 1, "bob", "👍"));
  assert.deepEqual(reactions(t), ["👍 ada,bob"]);
  assert.equal(t.entries.length, 1, "a reaction is no row");
  t.apply(edited(8, 1, "new"));
  assert.deepEqual([texts(t), reactions(t)], [["new"], ["👍 ada,bob"]]);
  t.apply(deleted(9, 1));
  t.apply(reaction(10, 1, "eve", "👍"));
  assert.deepEqual([texts(t), reactions(t)], [["†"], [""]]);
});

test("an older reaction in history does not undo what came of it", () => {
  const t = new Timeline("c", 3);
  t.apply(reaction(4, 1, "ada", "👍", true));
  t.apply(reaction(5, 1, "bob", "👍"));
  assert.ok(t.prepend([message(1), reaction(2, 1, "ada", "👍"), reaction(3, 1, "bob", "👍", true)]));
  assert.deepEqual(reactions(t), ["👍 bob"]);
});

test("reactions go with the history that is let go, and come back with it", () => {
  const log = [message(1), message(2), reaction(3, 1, "ada", "👍"), message(4), message(5), reaction(6, 2, "bob", "🎉"), reaction(7, 5, "ada", "👀")];
  const t = new Timeline("c", 0);
  log.forEach((event) => t.apply(event));
  t.trim(1);
  assert.deepEqual(reactions(t), ["👀 ada"]);
  assert.deepEqual([...t.changes.keys()], [2, 5], "only what will not be read again is kept");
  assert.ok(t.prepend(log.slice(0, 4)));
  assert.deepEqual(reactions(t), ["👍 ada", "🎉 bob", "", "👀 ada"]);
});

test("a change of a message is a new entry, so that views can compare", () => {
  const t = new Timeline("c", 0);
  t.apply(message(1));
  const before = t.entries[0];
  t.apply(edited(2, 1, "x"));
  assert.notEqual(t.entries[0], before);
});

test("history fits on below, and knows of edits that were seen before it", () => {
  const t = new Timeline("c", 4);
  t.apply(edited(5, 2, "edited live"));
  t.apply(deleted(6, 3));
  assert.deepEqual(t.olderRange(3), { after: 1, limit: 3 });
  assert.ok(t.prepend([message(2), message(3), message(4)]));
  assert.deepEqual(texts(t), ["edited live", "†", "m4"]);
  assert.deepEqual(t.olderRange(3), { after: 0, limit: 1 });
  assert.ok(t.prepend([message(1)]));
  assert.ok(!t.hasOlder);
  assert.deepEqual(texts(t), ["m1", "edited live", "†", "m4"]);
});

test("an older edit in history does not undo a newer one", () => {
  const t = new Timeline("c", 3);
  t.apply(edited(4, 1, "newest"));
  t.prepend([message(1), edited(2, 1, "older"), message(3)]);
  assert.deepEqual(texts(t), ["newest", "m3"]);
});

test("history that does not fit is refused", () => {
  const t = new Timeline("c", 4);
  assert.equal(t.prepend([]), false);
  assert.equal(t.prepend([message(1), message(2)]), false);
  assert.equal(t.prepend([message(2), message(4)]), false);
  assert.deepEqual(texts(t), []);
});

test("unknown kinds keep the log dense and show nothing", () => {
  const t = new Timeline("c", 0);
  t.apply(message(1));
  t.apply({ channel: "c", seq: 2, at: 0, by: "x", kind: "of_the_future", target: 1 });
  t.apply(message(3));
  assert.deepEqual(texts(t), ["m1", "m3"]);
  assert.equal(t.cursor, 3);
});

test("a note from a frame is the same as one from history", () => {
  const joined = { channel: "c", seq: 1, at: 0, by: "x", kind: "member_joined", user: "x" };
  const [live, past] = [new Timeline("c", 0), new Timeline("c", 1)];
  live.apply({ type: "event", ...joined });
  past.prepend([joined]);
  assert.deepEqual(live.entries, past.entries);
});

test("trimming lets the oldest go, and they come back as they were", () => {
  const log = [message(1), message(2), message(3), edited(4, 1, "e1"), message(5), deleted(6, 2), message(7)];
  const t = new Timeline("c", 0);
  log.forEach((event) => t.apply(event));
  t.trim(2);
  assert.deepEqual(texts(t), ["m5", "m7"]);
  const { after, limit } = t.olderRange(100);
  assert.ok(t.prepend(log.slice(after, after + limit)));
  assert.deepEqual(texts(t), ["e1", "†", "m3", "m5", "m7"]);
});

test("the picture does not depend on how the log arrived", () => {
  let seed = 7;
  const random = () => (seed = (seed * 1103515245 + 12345) % 2147483648) / 2147483648;
  for (let round = 0; round < 200; round++) {
    const log = [];
    for (let seq = 1; seq <= 30; seq++) {
      const target = 1 + Math.floor(random() * Math.max(1, seq - 1));
      const kind = random();
      const by = ["ada", "bob"][seq % 2];
      if (seq > 1 && kind < 0.2) log.push(edited(seq, target, `e${seq}`));
      else if (seq > 1 && kind > 0.6) log.push(reaction(seq, Math.min(target, 5), by, kind > 0.8 ? "👍" : "🎉", random() < 0.4));
      else if (seq > 1 && kind < 0.3) log.push(deleted(seq, target));
      else log.push(message(seq));
    }
    const plain = new Timeline("c", 0);
    log.forEach((event) => plain.apply(event));

    const start = Math.floor(random() * 30);
    const other = new Timeline("c", start);
    const live = log.slice(start).flatMap((event) => (random() < 0.3 ? [event, event] : [event]));
    live.sort(() => random() - 0.5);
    for (const event of live) {
      other.apply(event);
      if (random() < 0.3 && other.hasOlder) {
        const { after, limit } = other.olderRange(1 + Math.floor(random() * 9));
        assert.ok(other.prepend(log.slice(after, after + limit)));
      }
    }
    while (other.hasOlder) {
      const { after, limit } = other.olderRange(7);
      assert.ok(other.prepend(log.slice(after, after + limit)));
    }
    assert.deepEqual(other.entries, plain.entries);
    assert.equal(other.cursor, 30);
  }
});

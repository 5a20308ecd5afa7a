import assert from "node:assert/strict";
import { test } from "node:test";
import { Unread } from "../../chat-server/web/unread.js";

test("a read frame and a message that cross count the same in either order", () => {
  for (const messageFirst of [false, true]) {
    for (const [count, head, expected] of [
      [2, 513, 2], // The server counted the message already.
      [1, 512, 2], // It did not.
    ]) {
      const unread = new Unread();
      unread.counted(2, 511);
      unread.message(512);
      const steps = [() => unread.counted(count, head), () => unread.message(513)];
      if (messageFirst) steps.reverse();
      for (const step of steps) step();
      assert.equal(unread.count, expected, `${messageFirst} ${head}`);
    }
  }
});

test("an older number that comes late takes the messages in that came since", () => {
  const unread = new Unread();
  unread.counted(0, 10);
  for (const seq of [11, 12, 13]) unread.message(seq);
  unread.counted(3, 13);
  unread.counted(1, 11);
  assert.equal(unread.count, 3);
  unread.none();
  assert.equal(unread.count, 0);
  unread.message(14);
  assert.equal(unread.count, 1);
});

test("it remembers no more than it needs", () => {
  const unread = new Unread();
  for (let seq = 1; seq <= 5000; seq += 1) unread.message(seq);
  assert.equal(unread.count, 5000);
  unread.counted(0, 4990);
  assert.equal(unread.count, 10);
});

// The server's own cases (chat-log/vectors) hold the web client to what an event means.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Timeline } from "../../chat-server/web/timeline.js";

const cases = JSON.parse(readFileSync(new URL("../../chat-log/vectors/fold.json", import.meta.url)));

const events = (log) => log.map(({ by, body }, i) => ({ channel: "c", seq: i + 1, at: (i + 1) * 1000, by, ...body }));

/** A message as the vectors have it. */
const read = ({ seq, at, by, text, files, deleted, edited, reactions }) => ({
  seq,
  at,
  by,
  text,
  deleted,
  edited,
  files: files.length,
  reactions: Object.fromEntries(reactions.map((reaction) => [reaction.emoji, [...reaction.by].sort()])),
});

const expected = ({ seq, at, by, text, files = [], deleted = false, edited_at, reactions = {} }) => ({
  seq,
  at,
  by,
  text,
  deleted,
  edited: edited_at !== undefined,
  files: files.length,
  reactions,
});

const messages = (timeline) => timeline.entries.filter((entry) => entry.type === "message").map(read);

assert.ok(cases.length >= 10, "the cases are there");

for (const { name, log, messages: wanted } of cases) {
  test(`events show as the vectors say: ${name}`, () => {
    const live = new Timeline("c", 0);
    for (const event of events(log)) live.apply(event);
    assert.deepEqual(messages(live), wanted.map(expected));
  });

  test(`and as history that is read backwards: ${name}`, () => {
    const history = new Timeline("c", log.length);
    const all = events(log);
    while (history.hasOlder) {
      const { after, limit } = history.olderRange(3);
      assert.ok(history.prepend(all.slice(after, after + limit)));
    }
    assert.deepEqual(messages(history), wanted.map(expected));
  });
}

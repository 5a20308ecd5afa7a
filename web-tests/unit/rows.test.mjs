import assert from "node:assert/strict";
import { test } from "node:test";

import { buildRows } from "../../chat-server/web/rows.js";

const NOON = new Date(2024, 4, 10, 12).getTime();
const MINUTE = 60_000;
const message = (seq, by, minutes = seq, more = {}) => ({
  type: "message", seq, by, at: NOON + minutes * MINUTE, text: `m${seq}`, files: [], deleted: false, edited: false, ...more,
});
const send = (id, minutes, more = {}) => ({ type: "send", id, at: NOON + minutes * MINUTE, text: id, files: [], state: "queued", error: null, ...more });
const rows = (entries, pending = [], unreadAfter = null) => buildRows({ entries, pending, me: "me", unreadAfter });
const kinds = (list) => list.map((row) => (row.kind === "message" ? (row.grouped ? "grouped" : "message") : row.kind));

test("messages of one author stand under one name for five minutes", () => {
  const list = rows([message(1, "ada", 0), message(2, "ada", 4), message(3, "ada", 10), message(4, "bob", 11)]);
  assert.deepEqual(kinds(list), ["day", "message", "grouped", "message", "message"]);
});

test("each day has a heading", () => {
  const list = rows([message(1, "ada", 0), message(2, "ada", 24 * 60)]);
  assert.deepEqual(kinds(list), ["day", "message", "day", "message"]);
  assert.notEqual(list[0].key, list[2].key);
});

test("the line for new messages stands above the first one of somebody else", () => {
  const list = rows([message(1, "ada"), message(2, "me"), message(3, "ada"), message(4, "ada")], [], 1);
  assert.deepEqual(kinds(list), ["day", "message", "message", "unread", "message", "grouped"]);
});

test("what waits comes last, with its state", () => {
  const failed = { state: "failed", error: { code: "forbidden", message: "no" } };
  const list = rows([message(1, "me", 0)], [send("a", 1), send("b", 2, failed)]);
  assert.deepEqual(list.slice(1).map((row) => [row.key, row.state]), [["s1", "sent"], ["a", "queued"], ["b", "failed"]]);
});

test("a waiting edit shows its text, a waiting deletion fades, a failed one shows what is true", () => {
  const change = (type, target, more) => ({ type, id: `${type}${target}`, target, text: "new", state: "queued", error: null, ...more });
  const list = rows(
    [message(1, "me"), message(2, "me"), message(3, "me")],
    [change("edit", 1), change("delete", 2), change("edit", 3, { state: "failed" })],
  ).slice(1);
  assert.deepEqual(list.map((row) => [row.text, row.state, Boolean(row.fading)]), [
    ["new", "queued", false],
    ["m2", "queued", true],
    ["m3", "failed", false],
  ]);
});

test("several changes of one message wait together", () => {
  const change = (type, id, more) => ({ type, id, target: 1, text: "", state: "queued", error: null, ...more });
  const [, row] = rows([message(1, "me")], [change("edit", "a", { text: "first" }), change("edit", "b", { text: "second" })]);
  assert.deepEqual([row.text, row.command], ["second", "b"]);
});

test("a reaction that waits shows already, and the message does not wait", () => {
  const react = (id, target, emoji, more) => ({ type: "react", id, target, emoji, removed: false, text: "", state: "queued", error: null, ...more });
  const reactions = [{ emoji: "👍", by: ["ada", "me"] }, { emoji: "🎉", by: ["me"] }];
  const entries = [message(1, "ada", 1, { reactions }), message(2, "ada", 2, { reactions: [] }), message(3, "ada", 3, { reactions: [] })];
  const before = structuredClone(entries);
  const failed = { state: "failed", error: { code: "archived" } };
  const [, first, second, third] = rows(entries, [
    react("a", 1, "👍", { removed: true }),
    react("b", 1, "🎉", { removed: true }),
    react("c", 1, "🚀"),
    react("d", 2, "👍"),
    react("e", 2, "👍"),
    react("f", 3, "👍", failed),
  ]);
  assert.deepEqual(first.reactions, [{ emoji: "👍", by: ["ada"], waiting: true }, { emoji: "🚀", by: ["me"], waiting: true }]);
  assert.deepEqual(second.reactions, [{ emoji: "👍", by: ["me"], waiting: true }]);
  assert.deepEqual([first.state, second.state, second.command], ["sent", "sent", undefined]);
  assert.deepEqual([third.reactions, third.state, third.command], [[], "failed", "f"]);
  assert.deepEqual(entries, before, "what is true stays as it is");
});

test("only the newest own message is marked as such", () => {
  const newest = (list) => list.filter((row) => row.newest).map((row) => row.seq);
  assert.deepEqual(newest(rows([message(1, "me"), message(2, "me"), message(3, "ada")])), [2]);
  assert.deepEqual(newest(rows([message(1, "me")], [send("a", 2)])), []);
});

test("what goes without saying is not said", () => {
  const note = (seq, kind, by, user) => ({ type: "note", seq, kind, by, user, at: NOON });
  const log = [note(1, "channel_created", "ada"), note(2, "member_joined", "ada", "ada"), note(3, "member_joined", "ada", "bob")];
  const shown = (direct) => buildRows({ entries: log, pending: [], me: "me", unreadAfter: null, direct }).slice(1).map((row) => row.note.seq);
  assert.deepEqual(shown(false), [1, 3]);
  assert.deepEqual(shown(true), [1]);
});

test("keys are unique", () => {
  const list = rows([message(1, "ada"), message(2, "me", 24 * 60)], [send("a", 24 * 60 + 1)], 0);
  assert.equal(new Set(list.map((row) => row.key)).size, list.length);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { changed, entryOf, failure, frameOf, isCommand, sentence, slotOf, waiting } from "../../chat-server/web/kinds.js";

const name = (id) => ({ ada: "Ada", bob: "Bob" })[id];
const event = (kind, more = {}) => ({ channel: "c", seq: 7, at: 1, by: "ada", kind, ...more });

test("notes read like sentences", () => {
  for (const [kind, fields, expected] of [
    ["channel_created", { name: "general" }, "Ada created the channel general"],
    ["channel_created", {}, "Ada started the conversation"],
    ["member_joined", { user: "ada" }, "Ada joined"],
    ["member_joined", { user: "bob" }, "Ada added Bob"],
    ["member_left", { user: "ada" }, "Ada left"],
    ["member_left", { user: "bob" }, "Ada removed Bob"],
    ["renamed", { name: "new" }, "Ada renamed the channel to new"],
    ["topic_changed", { topic: "bread" }, "Ada set the topic: bread"],
    ["topic_changed", { topic: "" }, "Ada cleared the topic"],
    ["archived", { archived: true }, "Ada archived the channel"],
    ["archived", { archived: false }, "Ada brought the channel back"],
  ]) {
    const entry = entryOf(event(kind, fields));
    assert.equal(entry.type, "note");
    assert.equal(sentence(entry, name), expected);
  }
});

test("kinds of the future show nothing, also those that objects have by themselves", () => {
  for (const kind of ["of_the_future", "constructor", "__proto__", "toString"]) {
    assert.equal(entryOf(event(kind)), null);
    assert.equal(slotOf(event(kind)), null);
    assert.ok(!isCommand(kind));
  }
});

test("the same changes give the same message, however often", () => {
  const message = entryOf(event("message", { text: "old", files: [{ id: "f" }] }));
  const edit = event("edited", { target: 7, seq: 8, text: "new" });
  const deletion = event("deleted", { target: 7, seq: 9 });
  const once = changed(message, [edit]);
  assert.deepEqual([once.text, once.edited, message.text], ["new", true, "old"]);
  assert.deepEqual(changed(once, [edit]), once);
  const gone = changed(once, [edit, deletion]);
  assert.deepEqual([gone.text, gone.files, gone.deleted, gone.edited], ["", [], true, false]);
  assert.deepEqual(changed(gone, [edit, deletion]), gone);
});

test("commands become frames", () => {
  const command = (type, more) => ({ type, id: "i", channel: "c", target: null, text: "", files: [], first: false, ...more });
  const frame = (type, more) => JSON.parse(JSON.stringify(frameOf(command(type, more), { read: 5 })));
  const send = { text: "hi", files: [{ id: "f", name: "notes" }] };
  assert.deepEqual(frame("send", { ...send, first: true }), { type: "send", id: "i", channel: "c", text: "hi", files: ["f"], seen: 5 });
  assert.deepEqual(frame("send", send), { type: "send", id: "i", channel: "c", text: "hi", files: ["f"] });
  assert.deepEqual(frame("edit", { target: 3, text: "x" }), { type: "edit", id: "i", channel: "c", target: 3, text: "x" });
  const react = { target: 3, emoji: "👍", removed: true };
  assert.deepEqual(frame("react", react), { type: "react", id: "i", channel: "c", ...react });
  assert.deepEqual(frame("delete", { target: 3 }), { type: "delete", id: "i", channel: "c", target: 3 });
  assert.equal(frameOf(command("send", { ...send, first: true }), undefined).seen, undefined, "a channel that is not known yet");
});

test("what was refused says why", () => {
  const why = (type, error) => failure({ type, error });
  assert.equal(why("send", { code: "archived", message: "-" }), "Not sent: the channel is archived");
  assert.equal(why("edit", { code: "forbidden", message: "-" }), "Not changed: you may not write here");
  assert.equal(why("delete", { code: "invalid", message: "expected less" }), "Not changed: expected less");
  assert.equal(why("delete", null), "Not changed: the server was restored from a backup");
  assert.equal(why("react", { code: "not_found", message: "-" }), "No reaction: the message is not there any more");
  assert.equal(why("react", { code: "too_many_reactions", message: "at most 20" }), "No reaction: there are too many already");
  assert.equal(why("react", { code: "conflict", message: "in any words" }), null);
  assert.equal(why("react", null), "No reaction: the server was restored from a backup");
  const failed = { type: "edit", id: "i", text: "new", state: "failed", error: { code: "archived" } };
  assert.deepEqual(waiting({ text: "old" }, failed, "me"), {
    state: "failed", error: failed.error, command: "i", failure: "Not changed: the channel is archived",
  });
});

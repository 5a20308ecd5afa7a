// What the timeline shows, as plain data: days, the line above the first unread message, notes, and
// messages grouped by author. Pure, so that it can be tested without a browser.

import { dayKey } from "./format.js";
import { failure, waiting } from "./kinds.js";

/** Messages of one author within this many milliseconds stand under one name. */
const GROUP_MS = 5 * 60 * 1000;

/**
 * Rows for `entries` of a timeline followed by what still waits in the outbox.
 * `unreadAfter`: the read marker when the channel was opened, or `null` when all was read.
 * `direct`: the members are fixed, so their joining is no news.
 */
export function buildRows({ entries, pending, me, unreadAfter, direct = false }) {
  const rows = [];
  let previous = null;
  let marked = unreadAfter === null;
  let lastOwn = null;

  const changes = new Map();
  for (const command of pending) {
    if (command.type !== "send") changes.set(command.target, [...(changes.get(command.target) ?? []), command]);
  }
  const add = (row) => {
    if (!previous || dayKey(previous.at) !== dayKey(row.at)) {
      rows.push({ kind: "day", key: `day-${dayKey(row.at)}`, at: row.at });
      previous = null;
    }
    row.grouped =
      row.kind === "message" &&
      previous?.kind === "message" &&
      previous.by === row.by &&
      row.at - previous.at < GROUP_MS;
    rows.push(row);
    previous = row;
  };

  let creator = null;
  for (const entry of entries) {
    if (entry.kind === "channel_created") creator = entry.by;
    if (entry.kind === "member_joined" && (direct || entry.user === creator)) {
      creator = null;
      continue;
    }
    if (!marked && entry.seq > unreadAfter && entry.by !== me) {
      rows.push({ kind: "unread", key: "unread" });
      marked = true;
      previous = previous && { ...previous, kind: "unread" };
    }
    if (entry.type === "note") {
      add({ kind: "note", key: `s${entry.seq}`, at: entry.at, by: entry.by, note: entry });
      continue;
    }
    const own = entry.by === me;
    const row = { ...message(entry, changes.get(entry.seq) ?? [], me), key: `s${entry.seq}`, own };
    add(row);
    if (own && !row.deleted) lastOwn = row;
  }
  for (const command of pending) {
    if (command.type !== "send") continue;
    lastOwn = null;
    const { id, at, text, files, state, error } = command;
    add({
      kind: "message",
      key: id,
      at,
      by: me,
      own: true,
      id,
      seq: null,
      text,
      files,
      deleted: false,
      edited: false,
      state,
      error,
      failure: state === "failed" ? failure(command) : null,
      command: id,
    });
  }
  if (lastOwn && !lastOwn.command) lastOwn.newest = true;
  return rows;
}

/** A message as it will read once the commands that wait to change it are committed. */
function message(entry, commands, me) {
  const row = { ...entry, kind: "message", state: "sent" };
  for (const command of commands) Object.assign(row, waiting(row, command, me));
  return row;
}

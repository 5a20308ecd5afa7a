// One row of the timeline: a day, a note, or a message with its state and its menu.

import { avatar } from "./ui-avatar.js";
import { confirmDialog } from "./ui-dialog.js";
import { fileList } from "./ui-files.js";
import { day, full, shortTime, size, time } from "./format.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { render } from "./markdown.js";
import { sentence } from "./kinds.js";
import { toggleMenu } from "./ui-menu.js";

const STATE = { queued: ["clock", "Waiting to be sent"], sent: ["check", "Sent"], failed: ["alert", "Not sent"] };

/** What a row looks like depends on this and nothing else. */
export function signature(row, { chat, editing }) {
  // An open editor stays as it is: presence or a new name must not take away what is being typed.
  if (editing === row.key && !row.deleted) return "editing";
  const { kind, seq, at, by, text, files, deleted, edited, fading, state, failure, newest, grouped, note } = row;
  const name = by && chat.people.name(by);
  const about = note && note.user && chat.people.name(note.user);
  const online = kind === "message" && !grouped && isOnline(chat, by);
  const body = [text, files?.length, deleted, edited, fading, state, failure, newest, grouped];
  return JSON.stringify([kind, seq, at, name, about, online, body]);
}

/** Builds a row. `view` has `chat`, `channel`, `editing`, and `edit(key)` to start or (`null`) end editing. */
export function buildRow(row, view) {
  if (row.kind === "day") return h("li", { class: "day" }, h("span", null, day(row.at, Date.now())));
  if (row.kind === "unread") return h("li", { class: "new-line" }, h("span", null, "New"));
  if (row.kind === "note") return h("li", { class: "note", title: full(row.at) }, sentence(row.note, (user) => view.chat.people.name(user)));
  return messageRow(row, view);
}

const isOnline = (chat, user) => (user === chat.me.id ? chat.socket.state === "online" : chat.people.isOnline(user));

function messageRow(row, view) {
  const { chat } = view;
  const name = chat.people.name(row.by);
  const editing = view.editing === row.key && !row.deleted;
  const classes = ["message", row.state, row.grouped && "grouped", row.newest && "newest", row.fading && "fading"];
  const stamp = h("time", { datetime: new Date(row.at).toISOString(), title: full(row.at) }, (row.grouped ? shortTime : time)(row.at));
  const head = h("div", { class: row.grouped ? "unseen" : "head" }, h("b", null, name), " ", !row.grouped && stamp);
  const tools = !row.deleted && !editing && [row.own && state(row), menuButton(row, view)];
  const side = tools && h("div", { class: "side" }, tools);
  return h(
    "li",
    { class: classes.filter(Boolean).join(" ") },
    row.grouped ? h("div", { class: "gutter" }, stamp) : avatar(row.by, name, { presence: isOnline(chat, row.by) }),
    h("div", { class: "body" }, side, head, editing ? editor(row, view) : content(row, chat), problem(row, chat)),
  );
}

function content(row, chat) {
  if (row.deleted) return h("p", { class: "gone" }, "This message was deleted");
  const text = h("div", { class: "text" }, render(row.text));
  if (row.edited) text.append(h("span", { class: "edited" }, " (edited)"));
  return [text, fileList(chat.api, row.files)];
}

function state(row) {
  const [name, label] = STATE[row.state];
  return h("span", { class: `state ${row.state}`, title: label }, icon(name), h("span", { class: "unseen" }, label));
}

function problem(row, chat) {
  if (row.state !== "failed") return null;
  return h(
    "div",
    { class: "failure" },
    h("span", null, row.failure),
    h("button", { type: "button", onclick: () => chat.retry(row.command) }, "Try again"),
    h("button", { type: "button", onclick: () => chat.outbox.discard(row.command) }, "Discard"),
  );
}

function menuButton(row, view) {
  const items = [];
  if (row.text) items.push({ label: "Copy text", icon: "copy", run: () => navigator.clipboard?.writeText(row.text) });
  if (row.own && row.seq !== null && row.state === "sent") {
    items.push({ label: "Edit", icon: "edit", run: () => view.edit(row.key) });
  }
  const mayDelete = row.own || view.chat.me.role === "owner" || view.chat.me.role === "admin";
  if (mayDelete && row.seq !== null && row.state === "sent") {
    items.push({ label: "Delete", icon: "trash", risky: true, run: () => askDelete(row, view) });
  }
  if (!items.length) return null;
  const button = h(
    "button",
    {
      type: "button",
      class: "icon-button menu-button",
      "aria-label": "More about this message",
      "aria-haspopup": "menu",
      "aria-expanded": "false",
      dataset: { focus: "menu" },
    },
    icon("more"),
  );
  button.addEventListener("click", () => toggleMenu(button, items));
  return button;
}

function askDelete(row, { chat, channel }) {
  const files = row.files.map((file) => `${file.name} (${size(file.size)})`).join(", ");
  const what = [row.text.slice(0, 140), files].filter(Boolean).join(" · ");
  confirmDialog("Delete this message?", `“${what}” will be gone for everybody, for good.`, "Delete", () =>
    chat.change(channel, { type: "delete", target: row.seq }),
  );
}

function editor(row, view) {
  const area = h("textarea", { class: "editor", rows: 1, "aria-label": "Edit the message", value: row.text, dataset: { focus: "editor" } });
  const save = () => {
    const text = area.value.trim();
    if (text && text !== row.text) view.chat.change(view.channel, { type: "edit", target: row.seq, text });
    view.edit(null);
  };
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") view.edit(null);
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) save();
    else return;
    event.preventDefault();
  });
  return h(
    "div",
    { class: "edit-box" },
    area,
    h(
      "div",
      { class: "actions" },
      h("button", { type: "button", class: "primary", onclick: save }, "Save"),
      h("button", { type: "button", class: "secondary", onclick: () => view.edit(null) }, "Cancel"),
    ),
  );
}

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

const SMILE = "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M8.5 14.5c.8 1.3 2 2 3.5 2s2.7-.7 3.5-2M9 9.8v.3M15 9.8v.3";
/** Offered to react with; those that others chose stand below the message. */
const PALETTE = [
  ["👍", "thumbs up"],
  ["❤️", "heart"],
  ["😂", "tears of joy"],
  ["🎉", "celebration"],
  ["👏", "applause"],
  ["🙏", "thank you"],
  ["👀", "eyes"],
  ["✅", "done"],
  ["🔥", "fire"],
  ["🚀", "rocket"],
  ["🤔", "thinking"],
  ["😢", "sad"],
];
/** Names in the tooltip of a reaction; the others are counted. */
const MAX_NAMES = 10;
const LIST = new Intl.ListFormat("en-GB");

/** What a row looks like depends on this and nothing else. */
export function signature(row, view) {
  const { chat, editing } = view;
  // An open editor stays as it is: presence or a new name must not take away what is being typed.
  if (editing === row.key && !row.deleted) return "editing";
  const { kind, seq, at, by, text, files, deleted, edited, fading, state, failure, newest, grouped, note, reactions } = row;
  const name = by && chat.people.name(by);
  const about = note && note.user && chat.people.name(note.user);
  const online = kind === "message" && !grouped && isOnline(chat, by);
  const reacted = reactions?.map(({ emoji, by: users, waiting }) => [emoji, users.length, who(users, chat), waiting]);
  const body = [text, files?.length, deleted, edited, fading, state, failure, newest, grouped, reacted, isArchived(view)];
  return JSON.stringify([kind, seq, at, name, about, online, body]);
}

/** Builds a row. `view` has `chat`, `channel`, `editing`, and `edit(key)` to start or (`null`) end editing. */
export function buildRow(row, view) {
  if (row.kind === "day") return h("li", { class: "day" }, h("span", null, day(row.at, Date.now())));
  if (row.kind === "unread") return h("li", { class: "new-line" }, h("span", null, "New"));
  if (row.kind === "note") return h("li", { class: "note", title: full(row.at) }, sentence(row.note, (user) => view.chat.people.name(user)));
  return messageRow(row, view);
}

/** Nobody reacts in such a channel any more. */
const isArchived = ({ chat, channel }) => Boolean(chat.channels.get(channel)?.archived);

const isOnline = (chat, user) => (user === chat.me.id ? chat.socket.state === "online" : chat.people.isOnline(user));

function messageRow(row, view) {
  const { chat } = view;
  const name = chat.people.name(row.by);
  const editing = view.editing === row.key && !row.deleted;
  const classes = ["message", row.state, row.grouped && "grouped", row.newest && "newest", row.fading && "fading"];
  const stamp = h("time", { datetime: new Date(row.at).toISOString(), title: full(row.at) }, (row.grouped ? shortTime : time)(row.at));
  const head = h("div", { class: row.grouped ? "unseen" : "head" }, h("b", null, name), " ", !row.grouped && stamp);
  const tools = !row.deleted && !editing && [row.own && state(row), reactButton(row, view), menuButton(row, view)];
  const side = tools && h("div", { class: "side" }, tools);
  return h(
    "li",
    { class: classes.filter(Boolean).join(" ") },
    row.grouped ? h("div", { class: "gutter" }, stamp) : avatar(row.by, name, { presence: isOnline(chat, row.by) }),
    h("div", { class: "body" }, side, head, editing ? editor(row, view) : content(row, chat), pills(row, view), problem(row, chat)),
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

/** Who reacted, oneself first: "You, Ada and 12 others". */
function who(users, chat) {
  const me = chat.me.id;
  const sorted = users.includes(me) ? [me, ...users.filter((id) => id !== me)] : users;
  const list = sorted.slice(0, MAX_NAMES).map((id) => (id === me ? "You" : chat.people.name(id)));
  const others = users.length - list.length;
  if (others) list.push(others === 1 ? "1 other" : `${others} others`);
  return LIST.format(list);
}

/** The reactions below a message, each a button that takes part or takes back. */
function pills(row, view) {
  if (row.deleted || !row.reactions?.length) return null;
  return h("div", { class: "reactions", role: "group", "aria-label": "Reactions" }, row.reactions.map((reaction) => pill(reaction, row, view)));
}

function pill({ emoji, by, waiting }, row, view) {
  const people = who(by, view.chat);
  const mine = by.includes(view.chat.me.id);
  const archived = isArchived(view);
  const toggle = ({ currentTarget }) => {
    // This button is about to go.
    if (mine && by.length === 1) currentTarget.closest(".message").querySelector(".react-button")?.focus();
    react(row, emoji, view);
  };
  return h(
    "button",
    {
      type: "button",
      class: waiting ? "reaction waiting" : "reaction",
      "aria-pressed": String(mine),
      // It stays in reach of the keyboard: it says who reacted.
      "aria-disabled": archived && "true",
      "aria-label": `${emoji} ${by.length}, ${people}`,
      title: `${people} reacted with ${emoji}`,
      // What others chose may be no name in a selector.
      dataset: { focus: `reaction-${[...emoji].map((char) => char.codePointAt(0).toString(16)).join("-")}` },
      onclick: archived ? null : toggle,
    },
    h("bdi", null, emoji),
    h("span", { class: "count" }, by.length),
  );
}

/** Adds one's own reaction, or takes it back when it is there. */
function react(row, emoji, { chat, channel }) {
  const removed = row.reactions.some((reaction) => reaction.emoji === emoji && reaction.by.includes(chat.me.id));
  chat.change(channel, { type: "react", target: row.seq, emoji, removed });
}

function reactButton(row, view) {
  if (row.seq === null || isArchived(view)) return null;
  const button = h(
    "button",
    {
      type: "button",
      class: "icon-button menu-button react-button",
      "aria-label": "React",
      title: "React",
      "aria-haspopup": "menu",
      "aria-expanded": "false",
      dataset: { focus: "react" },
    },
    icon("smile", SMILE),
  );
  const items = PALETTE.map(([label, name]) => ({ label, name, run: () => react(row, label, view) }));
  button.addEventListener("click", () => toggleMenu(button, items, "palette"));
  return button;
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

// The open conversation: its header, and the timeline that stays at the bottom until a person scrolls up.

import { announce, byId, h, perFrame, reconcile } from "./dom.js";
import { buildRow, signature } from "./ui-message.js";
import { buildRows } from "./rows.js";
import { failure } from "./kinds.js";
import { icon } from "./icons.js";
import { showDetails } from "./ui-dialogs.js";

/** Closer to the end than this counts as being there. */
const BOTTOM_PX = 48;
/** History is asked for this far before its end is reached. */
const AHEAD_PX = 800;
const MAX_WATCHED_AUTHORS = 200;

export function setUpPane({ chat, signal, leave }) {
  const [scroller, list, older, jump] = [byId("scroller"), byId("rows"), byId("older"), byId("to-bottom")];
  const view = { chat, channel: null, editing: null, edit };
  let stuck = true;
  let unreadAfter = null;
  let missed = 0;
  delete byId("pane-header").dataset.sig;

  const channel = () => chat.channels.get(view.channel);
  const log = () => chat.logs.get(view.channel);
  /** Whether a person is looking at the newest messages of this channel. */
  const seen = (id) =>
    id === view.channel && stuck && log()?.loading === false && document.visibilityState === "visible" && document.hasFocus();

  function open(id) {
    view.channel = id;
    view.editing = null;
    stuck = true;
    missed = 0;
    unreadAfter = null;
    list.replaceChildren();
    attach();
    now();
  }

  /** Opens the log as soon as the channel is known: it may not be yet, right after the page has loaded. */
  function attach() {
    if (!channel() || log()) {
      if (log()) noteUnread();
      return;
    }
    noteUnread();
    chat.logs.open(view.channel, channel().head);
  }

  function noteUnread() {
    unreadAfter = chat.unread(channel()) ? channel().read : null;
  }

  function edit(key) {
    view.editing = key;
    now();
    const area = list.querySelector("textarea");
    area?.focus();
    area?.setSelectionRange(area.value.length, area.value.length);
    if (!key) byId("composer-text")?.focus();
  }

  const now = () => {
    header(view, leave);
    const open = channel() && log();
    older.replaceChildren(...(open ? beginning(chat, channel(), log()) : []));
    jump.hidden = true;
    if (!open) {
      list.replaceChildren();
      return;
    }
    const { entries } = log().timeline;
    const pending = chat.outbox.of(view.channel);
    const direct = chat.others(channel()).length > 0;
    const rows = buildRows({ entries, pending, me: chat.me.id, unreadAfter, direct });
    for (const row of rows) row.sig = signature(row, view);
    const anchor = stuck ? null : topRow();
    reconcile(list, rows, (row) => buildRow(row, view));
    if (stuck) toBottom();
    else if (anchor) restore(anchor);
    const authors = rows.filter((row) => row.kind === "message").map((row) => row.by);
    chat.people.watch("pane", [...new Set(authors.reverse())].slice(0, MAX_WATCHED_AUTHORS));
    showJump();
    more();
    read();
  };
  const render = perFrame(now);

  function toBottom() {
    scroller.scrollTop = scroller.scrollHeight;
  }

  /** The first row in sight and where it is, to keep it there while history grows above it. */
  function topRow() {
    const top = scroller.getBoundingClientRect().top;
    const row = [...list.children].find((node) => node.getBoundingClientRect().bottom > top);
    return row && { key: row.dataset.key, at: row.getBoundingClientRect().top };
  }

  function restore({ key, at }) {
    const row = [...list.children].find((node) => node.dataset.key === key);
    if (row) scroller.scrollTop += row.getBoundingClientRect().top - at;
  }

  function showJump() {
    jump.hidden = stuck;
    jump.replaceChildren(icon("down"), missed ? `${missed} new ${missed === 1 ? "message" : "messages"}` : "Latest");
  }

  function more() {
    const { timeline, loading, failed } = log();
    if (!loading && !failed && timeline.hasOlder && scroller.scrollTop < AHEAD_PX) chat.logs.older(view.channel);
  }

  function read() {
    if (seen(view.channel)) chat.markRead(view.channel);
  }

  scroller.addEventListener(
    "scroll",
    () => {
      if (!log()) return;
      stuck = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < BOTTOM_PX;
      if (stuck) missed = 0;
      showJump();
      more();
      read();
    },
    { passive: true, signal },
  );
  jump.addEventListener(
    "click",
    () => {
      stuck = true;
      missed = 0;
      now();
      byId("composer-text")?.focus();
    },
    { signal },
  );
  // The keyboard of a phone, a growing composer or a picture that has loaded must not hide the end.
  const sizes = new ResizeObserver(() => stuck && toBottom());
  sizes.observe(scroller);
  sizes.observe(list);
  signal.addEventListener("abort", () => sizes.disconnect());
  const back = () => {
    if (document.visibilityState !== "visible" || !channel()) return;
    if (chat.unread(channel())) noteUnread();
    render();
  };
  addEventListener("focus", back, { signal });
  document.addEventListener("visibilitychange", back, { signal });

  chat.on("timeline", (id) => id === view.channel && render());
  for (const topic of ["people", "connection"]) chat.on(topic, render);
  chat.on("channels", () => {
    if (view.channel && !log()) attach();
    render();
  });
  chat.on("failed", (command) => announce(`${failure(command)}. ${command.text}`));
  chat.on("message", (event) => {
    if (event.channel !== view.channel || event.kind !== "message" || event.by === chat.me.id) return;
    if (!stuck) missed += 1;
    const files = (event.files ?? []).map((file) => file.name).join(", ");
    announce(`${chat.people.name(event.by)}: ${event.text || files}`);
  });

  return {
    open,
    seen,
    /** One's own message was sent: go to the end, everything was read. */
    wrote() {
      stuck = true;
      unreadAfter = null;
      render();
    },
    /** Starts editing the newest own message, as arrow up in an empty composer does. */
    editLast() {
      const last = log()?.timeline.entries.findLast((entry) => entry.type === "message" && entry.by === chat.me.id && !entry.deleted);
      const waiting = chat.outbox.of(view.channel).some((entry) => entry.target === last?.seq);
      if (last && !waiting) edit(`s${last.seq}`);
    },
  };
}

/** What stands above the oldest row: loading, a failure, or the beginning of it all. */
function beginning(chat, channel, { timeline, loading, failed }) {
  if (failed) {
    const again = h("button", { type: "button", class: "secondary", onclick: () => chat.logs.older(channel.id) }, icon("retry"), "Try again");
    return [h("p", null, "Earlier messages could not be loaded."), again];
  }
  if (timeline.hasOlder || loading) return [h("p", null, "Loading earlier messages…")];
  return [h("div", { class: "welcome" }, h("b", null, chat.title(channel)), h("span", null, "This is where it begins."))];
}

function header({ chat, channel: id }, leave) {
  const channel = chat.channels.get(id);
  const back = h("button", { type: "button", class: "icon-button back", "aria-label": "Back to the channels", onclick: leave }, icon("back"));
  const title = channel ? chat.title(channel) : chat.loaded && id ? "Not found" : "Folkmoot";
  const [other] = channel?.kind === "direct" ? chat.others(channel) : [];
  const status = other && (chat.people.isOnline(other) ? "Online" : "Offline");
  const sign = { public: "hash", private: "lock", group: "people" }[channel?.kind];
  const line = status ?? (channel?.topic || (channel?.kind === "group" ? "Group" : ""));
  const sig = JSON.stringify([id, title, line, sign, channel?.archived]);
  const node = byId("pane-header");
  if (node.dataset.sig === sig) return;
  node.dataset.sig = sig;
  node.replaceChildren(
    back,
    h("div", { class: "titles" }, h("h1", null, sign && icon(sign), title), line && h("p", null, line)),
  );
  if (!channel) return;
  const details = h("button", { type: "button", class: "icon-button", "aria-label": "Members and details", title: "Members and details", onclick: () => showDetails(chat, chat.channels.get(id)) }, icon("people"));
  node.append(details);
}

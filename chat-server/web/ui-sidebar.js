// The list of channels and direct messages, and oneself at its foot.

import { avatar } from "./ui-avatar.js";
import { byId, h, perFrame, reconcile } from "./dom.js";
import { browseChannels, invitePeople, newDirect, showSessions } from "./ui-dialogs.js";
import { icon } from "./icons.js";
import { toggleMenu } from "./ui-menu.js";

const STATE = { online: "Online", connecting: "Connecting…", waiting: "Offline" };

/** `current()` is the open channel's id, `seen(id)` whether its newest messages are before a person's eyes. */
export function setUpSidebar({ chat, open, current, seen, signOut }) {
  const section = (title, label, name, act) => {
    const list = h("ul", { "aria-label": title });
    const add = h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick: act }, icon(name));
    return { list, node: h("section", null, h("div", { class: "section-head" }, h("h2", null, title), add), list) };
  };
  const channels = section("Channels", "Browse or create channels", "compass", () => browseChannels(chat, open));
  const direct = section("Direct messages", "Write to somebody", "plus", () => newDirect(chat, open));
  byId("lists").replaceChildren(channels.node, direct.node);

  const state = h("small");
  const menuButton = h(
    "button",
    { type: "button", class: "icon-button", "aria-label": "Your account", "aria-haspopup": "menu", "aria-expanded": "false" },
    icon("more"),
  );
  menuButton.addEventListener("click", () =>
    toggleMenu(menuButton, [
      ...(["owner", "admin"].includes(chat.me.role)
        ? [{ label: "Invite people", icon: "people", run: () => invitePeople(chat) }]
        : []),
      { label: "Your sessions", icon: "device", run: () => showSessions(chat) },
      { label: "Sign out", icon: "leave", run: signOut },
    ]),
  );
  const picture = h("span");
  byId("me").replaceChildren(
    picture,
    h("span", { class: "grow" }, h("b", null, chat.me.display_name), state),
    menuButton,
  );

  const render = perFrame(() => {
    const all = [...chat.channels.values()].map((channel) => ({
      channel,
      title: chat.title(channel),
      open: channel.id === current(),
      // What is being looked at is about to be marked as read: no badge that flashes up.
      unread: seen(channel.id) ? 0 : chat.unread(channel),
    }));
    all.sort((a, b) => a.title.localeCompare(b.title));
    const isDirect = ({ channel }) => channel.kind === "direct" || channel.kind === "group";
    const rows = (list) => list.map((entry) => ({ ...entry, key: entry.channel.id, sig: signature(chat, entry) }));
    reconcile(channels.list, rows(all.filter((entry) => !isDirect(entry))), (item) => row(chat, item));
    reconcile(direct.list, rows(all.filter(isDirect)), (item) => row(chat, item));
    state.textContent = STATE[chat.socket.state];
    picture.replaceChildren(avatar(chat.me.id, chat.me.display_name, { presence: chat.socket.state === "online" }));
    chat.people.watch("sidebar", all.filter(isDirect).flatMap(({ channel }) => chat.others(channel)));
    const unread = all.reduce((sum, entry) => sum + entry.unread, 0);
    const here = chat.channels.get(current());
    document.title = `${unread ? `(${unread}) ` : ""}${here ? `${chat.title(here)} · ` : ""}Folkmoot`;
  });
  for (const topic of ["channels", "people", "connection"]) chat.on(topic, render);
  render();
  return render;
}

function signature(chat, { channel, title, open, unread }) {
  const online = chat.others(channel).map((id) => chat.people.isOnline(id));
  return JSON.stringify([title, channel.topic, channel.kind, channel.archived, unread, open, online]);
}

function row(chat, { channel, title, open, unread }) {
  const others = chat.others(channel);
  let picture = icon(channel.kind === "private" ? "lock" : "hash");
  if (channel.kind === "direct") {
    const other = others[0] ?? chat.me.id;
    picture = avatar(other, title, { small: true, presence: others.length === 0 || chat.people.isOnline(other) });
  } else if (channel.kind === "group") {
    picture = icon("people");
  }
  const online = channel.kind === "direct" && others[0] && chat.people.isOnline(others[0]);
  return h(
    "li",
    null,
    h(
      "a",
      {
        class: `channel${unread ? " unread" : ""}`,
        href: `#/c/${channel.id}`,
        "aria-current": open ? "page" : null,
        dataset: { focus: "channel", name: title },
      },
      picture,
      h(
        "span",
        { class: "label" },
        h("span", { class: "name" }, title, channel.archived ? " (archived)" : "", online && h("span", { class: "unseen" }, ", online")),
        channel.topic && h("span", { class: "topic" }, channel.topic),
      ),
      unread > 0 && h("span", { class: "badge" }, unread > 99 ? "99+" : String(unread), h("span", { class: "unseen" }, " unread")),
    ),
  );
}

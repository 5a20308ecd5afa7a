// The dialogs: browse and create channels, write to people, a channel's details, one's sessions.

import { avatar } from "./ui-avatar.js";
import { during, openDialog, problemLine } from "./ui-dialog.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { when } from "./format.js";

const SEARCH_DELAY_MS = 200;
/** A group has at most 16 members, oneself included. */
const MAX_OTHERS = 15;
const MAX_SHOWN = 200;

/** Public channels to join, and a way to make a new one. */
export async function browseChannels(chat, open) {
  const { line, fail } = problemLine();
  const list = h("div", null, h("p", { class: "empty" }, "Looking for channels…"));
  const create = h("button", { type: "button", class: "secondary wide", onclick: () => (dialog.close(), createChannel(chat, open)) }, icon("plus"), "Create a channel");
  const dialog = openDialog("Channels", create, line, list);
  const join = (channel, button) =>
    during(button, fail, async () => {
      chat.put(await chat.api.join(channel.id));
      dialog.close();
      open(channel.id);
    });
  try {
    const channels = (await chat.api.publicChannels()).filter((c) => !chat.channels.has(c.id) && !c.archived);
    channels.sort((a, b) => a.name.localeCompare(b.name));
    list.replaceChildren(
      ...channels.map((channel) => {
        const button = h("button", { type: "button", class: "primary", onclick: () => join(channel, button) }, "Join", h("span", { class: "unseen" }, ` ${channel.name}`));
        return h("div", { class: "list-row" }, icon("hash"), h("span", { class: "grow" }, h("b", null, channel.name), h("small", null, channel.topic || "No topic yet")), button);
      }),
    );
    if (!channels.length) list.replaceChildren(h("p", { class: "empty" }, "You are in every public channel there is."));
  } catch (error) {
    list.replaceChildren();
    fail(error);
  }
}

function createChannel(chat, open) {
  const { line, fail } = problemLine();
  const name = h("input", { maxlength: 80, required: true, autocomplete: "off", placeholder: "e.g. release-planning" });
  const topic = h("input", { maxlength: 250, autocomplete: "off" });
  const choice = (value, label, hint) =>
    h("label", { class: "choice" }, h("input", { type: "radio", name: "kind", value, checked: value === "public" }), h("span", null, label, h("small", null, hint)));
  const submit = h("button", { type: "submit", class: "primary wide" }, "Create channel");
  const form = h(
    "form",
    {
      class: "choices",
      onsubmit: (event) => {
        event.preventDefault();
        if (!name.value.trim()) return fail(new Error("A channel needs a name."));
        const kind = new FormData(form).get("kind");
        return during(submit, fail, async () => {
          const channel = await chat.api.createChannel({ kind, name: name.value.trim(), topic: topic.value.trim() });
          chat.put(channel);
          dialog.close();
          open(channel.id);
        });
      },
    },
    line,
    h("label", null, "Name", name),
    h("label", null, "Topic (optional)", topic),
    h("div", { class: "choices", role: "radiogroup", "aria-label": "Who can see it" }, choice("public", "Public", "Everybody can find and join it"), choice("private", "Private", "Only people who are added see it")),
    submit,
  );
  const dialog = openDialog("Create a channel", form);
  name.focus();
}

/** Makes a link with which one person makes an account. */
export function invitePeople(chat) {
  const { line, fail } = problemLine();
  const roles = [["member", "Member"], ["guest", "Guest"], ...(chat.me.role === "owner" ? [["admin", "Admin"]] : [])];
  const role = h("select", null, roles.map(([value, label]) => h("option", { value }, label)));
  const link = h("input", { readonly: true, "aria-label": "Link of the invitation", onfocus: () => link.select() });
  const made = h("div", { hidden: true }, h("p", null, "Send this link to one person. It is good for 7 days and one account."), link);
  const submit = h("button", { type: "submit", class: "primary wide" }, "Make a link");
  const onsubmit = (event) => {
    event.preventDefault();
    return during(submit, fail, async () => {
      const { code } = await chat.api.invite(role.value);
      link.value = `${location.origin}/#invitation=${code}`;
      made.hidden = false;
      link.focus();
    });
  };
  openDialog("Invite people", h("form", { class: "choices", onsubmit }, line, h("label", null, "They come as", role), submit, made));
}

/** Chooses people and opens the direct or group channel with them. */
export function newDirect(chat, open) {
  pickPeople(chat, {
    title: "New message",
    label: "Start writing",
    run: async (users) => {
      const channel = await chat.api.openDirect(users);
      chat.put(channel);
      open(channel.id);
    },
  });
}

function pickPeople(chat, { title, label, run, except = new Set(), most = MAX_OTHERS }) {
  const { line, fail } = problemLine();
  const chosen = new Set();
  const list = h("div", { role: "group", "aria-label": "People" });
  const search = h("input", { type: "text", role: "searchbox", placeholder: "Search by name or handle", "aria-label": "Search people", autocomplete: "off" });
  const submit = h("button", { type: "button", class: "primary wide", disabled: true }, label);
  submit.addEventListener("click", () =>
    during(submit, fail, async () => {
      await run([...chosen]);
      dialog.close();
    }),
  );
  const choose = (user, button) => {
    if (chosen.has(user.id)) chosen.delete(user.id);
    else if (chosen.size < most) chosen.add(user.id);
    button.setAttribute("aria-pressed", String(chosen.has(user.id)));
    submit.disabled = chosen.size === 0;
    submit.textContent = chosen.size > 1 ? `${label} (${chosen.size} people)` : label;
  };
  const row = (user) => {
    const button = h(
      "button",
      { type: "button", class: "list-row", "aria-pressed": String(chosen.has(user.id)), onclick: () => choose(user, button) },
      avatar(user.id, user.display_name),
      h("span", { class: "grow" }, h("b", null, user.display_name), h("small", null, `@${user.handle}`)),
      h("span", { class: "tick" }, icon("check")),
    );
    return button;
  };
  let asked = 0;
  const load = async () => {
    const mine = ++asked;
    try {
      const users = await chat.api.searchUsers(search.value.trim());
      if (mine !== asked) return;
      chat.people.put(users);
      const shown = users.filter((user) => user.id !== chat.me.id && !user.deactivated && !except.has(user.id));
      list.replaceChildren(...shown.map(row));
      if (!shown.length) list.replaceChildren(h("p", { class: "empty" }, "Nobody found."));
    } catch (error) {
      if (mine === asked) fail(error);
    }
  };
  let timer = null;
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(load, SEARCH_DELAY_MS);
  });
  const dialog = openDialog(title, search, line, list, submit);
  search.focus();
  load();
}

/** Topic, members, adding people, leaving. */
export async function showDetails(chat, channel) {
  const { line, fail } = problemLine();
  const named = channel.kind === "public" || channel.kind === "private";
  const list = h("div", null, h("p", { class: "empty" }, "Loading members…"));
  const heading = h("h3", null, "Members");
  const leave = h("button", { type: "button", class: "danger" }, icon("leave"), "Leave channel");
  leave.addEventListener("click", () =>
    during(leave, fail, async () => {
      await chat.api.leave(channel.id);
      dialog.close();
      chat.drop(channel.id);
    }),
  );
  const add = h("button", { type: "button", class: "secondary" }, icon("plus"), "Add people");
  const actions = named && h("div", { class: "actions" }, !channel.archived && add, leave);
  const dialog = openDialog(chat.title(channel), channel.topic && h("p", null, channel.topic), actions, line, heading, list);
  try {
    const ids = named ? (await chat.api.members(channel.id)).map((member) => member.user) : channel.users;
    add.addEventListener("click", () => {
      dialog.close();
      pickPeople(chat, { title: "Add people", label: "Add", except: new Set(ids), most: 100, run: (users) => chat.api.addMembers(channel.id, users) });
    });
    heading.textContent = ids.length === 1 ? "1 member" : `${ids.length} members`;
    for (const id of ids.slice(0, MAX_SHOWN)) chat.people.get(id);
    chat.people.watch("details", ids.slice(0, MAX_SHOWN));
    const render = () => {
      const online = (id) => id === chat.me.id || chat.people.isOnline(id);
      const sorted = ids.slice(0, MAX_SHOWN).sort((a, b) => online(b) - online(a) || chat.people.name(a).localeCompare(chat.people.name(b)));
      list.replaceChildren(...sorted.map((id) => member(chat, id, online(id))));
    };
    render();
    const listener = () => render();
    chat.addEventListener("people", listener);
    dialog.addEventListener("close", () => {
      chat.removeEventListener("people", listener);
      chat.people.watch("details", []);
    });
  } catch (error) {
    list.replaceChildren();
    fail(error);
  }
}

function member(chat, id, online) {
  const user = chat.people.get(id);
  const name = user?.display_name ?? "…";
  const about = [user && `@${user.handle}`, online ? "online" : "offline"].filter(Boolean).join(" · ");
  return h("div", { class: "list-row" }, avatar(id, name, { presence: online }), h("span", { class: "grow" }, h("b", null, id === chat.me.id ? `${name} (you)` : name), h("small", null, about)));
}

/** Where one is signed in, and a way to end that. */
export async function showSessions(chat) {
  const { line, fail } = problemLine();
  const list = h("div", null, h("p", { class: "empty" }, "Loading…"));
  openDialog("Your sessions", line, list);
  const load = async () => {
    try {
      const sessions = await chat.api.sessions();
      sessions.sort((a, b) => Number(b.current) - Number(a.current) || b.used_at - a.used_at);
      list.replaceChildren(
        ...sessions.map((session) => {
          const end = h("button", { type: "button", class: "danger", "aria-label": `End the session on ${session.device || "an unnamed device"}` }, "End");
          end.addEventListener("click", () =>
            during(end, fail, async () => {
              await chat.api.revoke(session.id);
              await load();
            }),
          );
          const used = session.current ? "This device" : `Last used ${when(session.used_at)}`;
          return h("div", { class: "list-row" }, icon("device"), h("span", { class: "grow" }, h("b", null, session.device || "Unnamed device"), h("small", null, used)), !session.current && end);
        }),
      );
    } catch (error) {
      list.replaceChildren();
      fail(error);
    }
  };
  await load();
}

// What each kind of event means in this client, and each command that makes one: how it changes what is shown, how it reads,
// what is sent, and how it shows while it waits. Pure: no network, no DOM.

/** How a message reads that nothing has changed. */
const plain = () => ({ edited: false, reactions: [] });

/**
 * Kinds of events. `entry`: it is a row of its own, which begins as this. `slot` and `change`: it changes the message
 * `target`; of the events in one slot of a message only the newest counts, and they change a copy of it in the order of
 * the log. `note(event, name)`: it reads like this sentence, where `name` gives a user's name.
 */
const EVENTS = {
  message: {
    entry: ({ seq, at, by, id, text, files = [], deleted = false }) =>
      ({ type: "message", seq, at, by, id, text, files, deleted, ...plain() }),
  },
  edited: {
    slot: () => "edited",
    change(message, { text }) {
      if (!message.deleted) Object.assign(message, { text, edited: true });
    },
  },
  deleted: {
    slot: () => "deleted",
    change(message) {
      Object.assign(message, plain(), { deleted: true, text: "", files: [] });
    },
  },
  reaction: {
    // Of one person and one emoji only the newest counts, so one that was taken back leaves nothing to undo.
    slot: ({ by, emoji }) => `reaction ${by} ${emoji}`,
    change(message, { by, emoji, removed }) {
      if (message.deleted || removed) return;
      const same = message.reactions.find((reaction) => reaction.emoji === emoji);
      if (same) same.by.push(by);
      else message.reactions.push({ emoji, by: [by] });
    },
  },
  channel_created: {
    note: ({ by, name: channel }, name) =>
      channel ? `${name(by)} created the channel ${channel}` : `${name(by)} started the conversation`,
  },
  member_joined: {
    note: ({ by, user }, name) => (user === by ? `${name(by)} joined` : `${name(by)} added ${name(user)}`),
  },
  member_left: {
    note: ({ by, user }, name) => (user === by ? `${name(by)} left` : `${name(by)} removed ${name(user)}`),
  },
  renamed: {
    note: ({ by, name: channel }, name) => `${name(by)} renamed the channel to ${channel}`,
  },
  topic_changed: {
    note: ({ by, topic }, name) => (topic ? `${name(by)} set the topic: ${topic}` : `${name(by)} cleared the topic`),
  },
  archived: {
    note: ({ by, archived }, name) => (archived ? `${name(by)} archived the channel` : `${name(by)} brought the channel back`),
  },
};

const WHY = {
  forbidden: "you may not write here",
  not_found: "the conversation is not there any more",
  archived: "the channel is archived",
  too_large: "it is too long",
  conflict: "the message was deleted",
  too_many_reactions: "there are too many already",
};

/**
 * Commands by their type. `frame(command, channel)`: what is sent beside type, id and channel. `show(row, command, me)`: what
 * the row of the target shows meanwhile. `failed(error)`: what a person reads when it was refused, `null` for nothing.
 */
const COMMANDS = {
  send: {
    frame: ({ text, files, first }, channel) => ({
      text,
      files: files.map((file) => file.id),
      // Sent again later, it says nothing of what was seen meanwhile.
      ...(first && { seen: channel?.read }),
    }),
    failed: (error) => `Not sent: ${reason(error)}`,
  },
  edit: {
    frame: ({ target, text }) => ({ target, text }),
    show: (row, { text }) => ({ text }),
    failed: (error) => `Not changed: ${reason(error)}`,
  },
  delete: {
    frame: ({ target }) => ({ target }),
    show: () => ({ fading: true }),
    failed: (error) => `Not changed: ${reason(error)}`,
  },
  react: {
    frame: ({ target, emoji, removed }) => ({ target, emoji, removed }),
    // The text is sent all the same, so the message itself does not wait.
    show: (row, command, me) => ({
      state: row.state,
      error: row.error,
      command: row.command,
      reactions: reacted(row.reactions, command, me),
    }),
    // It is there, or gone, already: from another device, perhaps.
    failed: (error) =>
      error?.code === "conflict" ? null : `No reaction: ${reason(error, { not_found: "the message is not there any more" })}`,
  },
};

/** The row of its own that an event is, or `null`. */
export function entryOf(event) {
  const { entry, note } = EVENTS[event.kind] ?? {};
  if (note) return { ...event, type: "note" };
  return entry?.(event) ?? null;
}

/** Which change of its target an event is, or `null`. */
export const slotOf = (event) => EVENTS[event.kind]?.slot?.(event) ?? null;

/** A message with all changes that are known of it, which are in the order of the log. Does not matter how often it is done. */
export function changed(message, events) {
  const copy = { ...message, ...plain() };
  for (const event of events) EVENTS[event.kind].change(copy, event);
  return copy;
}

/** The sentence of a note; `name` gives a user's name. */
export const sentence = (note, name) => EVENTS[note.kind].note(note, name);

/** Whether this version knows such commands. */
export const isCommand = (type) => Object.hasOwn(COMMANDS, type);

/** Longest text of a message, in bytes of UTF-8. */
export const MAX_TEXT_BYTES = 16 * 1024;
/** Largest frame that the server reads; it closes the socket on a larger one. */
const MAX_FRAME_BYTES = 64 * 1024;
/** What a frame has beside a text: ids, and those of ten files. */
const FRAME_ROOM = 2 * 1024;

const bytes = (text) => new TextEncoder().encode(text).length;

/** By how many bytes a text is too long for a message. In JSON some characters take six. */
export const excess = (text) =>
  Math.max(0, bytes(text) - MAX_TEXT_BYTES, bytes(JSON.stringify(text)) - (MAX_FRAME_BYTES - FRAME_ROOM));

/** Whether a command can never be sent: the server would close the socket on it, and what is behind it would never leave. */
export const isTooLarge = (command) =>
  isCommand(command.type) && bytes(JSON.stringify(frameOf(command))) > MAX_FRAME_BYTES - FRAME_ROOM / 4;

/** What goes over the socket for a command of the outbox; `channel` is what is known of its channel. */
export function frameOf(command, channel) {
  const { type, id } = command;
  return { type, id, channel: command.channel, ...COMMANDS[type].frame(command, channel) };
}

/** What a row becomes while a command that changes it waits, or has failed. */
export function waiting(row, command, me) {
  const { type, state, error, id } = command;
  const shown = state === "failed" ? { failure: failure(command) } : COMMANDS[type].show(row, command, me);
  return { state, error, command: id, ...shown };
}

/** What a person reads about a command that was refused or given up; `null`: nothing. */
export const failure = ({ type, error }) => COMMANDS[type].failed(error);

function reason(error, why = {}) {
  if (!error) return "the server was restored from a backup";
  return why[error.code] ?? WHY[error.code] ?? error.message ?? "unknown reason";
}

/** Reactions as they will be when the command `{ emoji, removed }` of `user` is committed. */
function reacted(reactions, { emoji, removed }, user) {
  const by = reactions.find((reaction) => reaction.emoji === emoji)?.by ?? [];
  const next = { emoji, by: removed ? by.filter((id) => id !== user) : [...new Set([...by, user])], waiting: true };
  const known = reactions.some((reaction) => reaction.emoji === emoji);
  const all = known ? reactions.map((reaction) => (reaction.emoji === emoji ? next : reaction)) : [...reactions, next];
  return all.filter((reaction) => reaction.by.length);
}

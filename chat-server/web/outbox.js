// Commands that are on their way: sends, edits and deletions. Each has a client id, and the server gives
// the same id the same outcome for 24 hours, so sending again after a lost connection, a crash on either
// side or a reload can neither lose nor double it. Pure but for the `storage` it is given.

import { isCommand, isTooLarge } from "./kinds.js";

/** Resending is safe for 24 h (the server's window); an hour is kept as margin for clocks. */
const RESEND_WINDOW_MS = 23 * 60 * 60 * 1000;
/** An answer takes milliseconds; after this long the command is sent again on the same socket. */
const ACK_TIMEOUT_MS = 15_000;
/** After this many refusals that said "later" without saying when, a person should look. */
const MAX_ATTEMPTS = 12;
const MAX_BACKOFF_MS = 30_000;
/** What is added at most to a time that the server named: it knows best when it is well again. */
const MAX_HINTED_BACKOFF_MS = 2_000;

export class Outbox {
  #storage;
  #prefix;
  #now;
  #random;
  #changed;

  /** `storage` is a `localStorage`; every entry has a key of its own, so tabs cannot overwrite each other. */
  constructor({ storage, user, uuid, now = Date.now, random = Math.random, changed = () => {} }) {
    this.#storage = storage;
    this.#prefix = `folkmoot.outbox.${user}.`;
    this.#now = now;
    this.#random = random;
    this.#changed = changed;
    this.uuid = uuid;
    /** The life of the server's store, as far as is known. */
    this.generation = null;
    /** In the order in which they were made. */
    this.entries = [];
    this.#load();
  }

  /** Commands of one channel that are not (or not yet visibly) part of its log. */
  of(channel) {
    return this.entries.filter((entry) => entry.channel === channel);
  }

  get(id) {
    return this.entries.find((entry) => entry.id === id);
  }

  /** Takes a command: `{ type, channel }` and what else its type has. It is stored before this returns. */
  add(command) {
    // Strictly increasing, because the order must survive a reload and storage keeps none.
    const at = Math.max(this.#now(), (this.entries.at(-1)?.at ?? 0) + 1);
    const entry = this.#fresh({ ...command, id: this.uuid(), at, first: true, generation: this.generation });
    this.entries.push(entry);
    if (isTooLarge(entry)) this.#fail(entry, "too_large", "It is too long.");
    else this.#save(entry);
    this.#changed(entry.channel);
    return entry;
  }

  /**
   * The commands to put on the wire now. One at a time per channel, because a person's messages must be
   * committed in the order they were written, whatever happens to one of them.
   */
  due() {
    const now = this.#now();
    const busy = new Set();
    const due = [];
    for (const entry of this.entries) {
      if (entry.state !== "queued" || busy.has(entry.channel)) continue;
      busy.add(entry.channel);
      if (entry.sentAt !== null && now - entry.sentAt < ACK_TIMEOUT_MS) continue;
      if (entry.notBefore <= now) due.push(entry);
    }
    return due;
  }

  /** Milliseconds until `due` may have something new, or `null` when only an event can change that. */
  nextDue() {
    const heads = new Map();
    for (const entry of this.entries) {
      if (entry.state === "queued" && !heads.has(entry.channel)) heads.set(entry.channel, entry);
    }
    const times = [...heads.values()].map((entry) =>
      entry.sentAt === null ? entry.notBefore : entry.sentAt + ACK_TIMEOUT_MS,
    );
    return times.length ? Math.max(0, Math.min(...times) - this.#now()) : null;
  }

  /** It was written to the socket. */
  wrote(id) {
    const entry = this.get(id);
    if (entry) Object.assign(entry, { sentAt: this.#now(), first: false });
  }

  /** The server committed it at `seq`. It stays visible until that event arrives. */
  acked(id, seq) {
    const entry = this.get(id);
    if (!entry) return;
    entry.state = "sent";
    entry.seq = seq;
    entry.error = null;
    this.#storage.removeItem(this.#prefix + id);
    this.#changed(entry.channel);
  }

  /** The server refused it; tried again later when that may help, otherwise failed until a person decides. */
  refused(id, { code, message, retryable, retryAfterMs }) {
    const entry = this.get(id);
    if (!entry || entry.state === "sent") return;
    entry.sentAt = null;
    entry.attempts += 1;
    // A server that says when to come back is well enough to be asked again, however long it takes.
    const hinted = retryAfterMs != null;
    if (!hinted) entry.unhinted += 1;
    if (retryable && (hinted || entry.unhinted < MAX_ATTEMPTS)) {
      const most = hinted ? MAX_HINTED_BACKOFF_MS : MAX_BACKOFF_MS;
      const cap = Math.min(most, 500 * 2 ** entry.attempts);
      entry.notBefore = this.#now() + (retryAfterMs ?? 0) + this.#random() * cap;
    } else {
      this.#fail(entry, code, message);
    }
    this.#changed(entry.channel);
  }

  /**
   * The server says which life of its store this is. After a restore from a backup positions mean other messages: edits
   * and deletions of before are given up and returned, and nobody waits for the events of what was acked before.
   */
  welcomed(generation) {
    this.generation = generation ?? this.generation;
    const dropped = [];
    for (const entry of [...this.entries]) {
      const other = entry.generation && generation && entry.generation !== generation;
      if (other && (entry.type !== "send" || entry.state === "sent")) {
        if (entry.type !== "send") dropped.push(entry);
        this.settle(entry.id);
      } else if (entry.generation !== this.generation) {
        entry.generation = this.generation;
        if (entry.state !== "sent") this.#save(entry);
      }
    }
    return dropped;
  }

  /**
   * The socket is gone: nobody knows what became of the unanswered ones, so they are sent again. When it closed because a
   * frame was too large, that was the largest of them: again it would close the next one too.
   */
  disconnected({ tooLarge = false } = {}) {
    const unanswered = this.entries.filter((entry) => entry.state === "queued" && entry.sentAt !== null);
    for (const entry of this.entries) entry.sentAt = null;
    if (!tooLarge || !unanswered.length) return null;
    const largest = unanswered.reduce((a, b) => (JSON.stringify(b).length > JSON.stringify(a).length ? b : a));
    this.#fail(largest, "too_large", "It is too long.");
    this.#changed(largest.channel);
    return largest;
  }

  /** Its event is in the timeline (by client id, or a log that reaches the acked seq): done. */
  settle(id) {
    const index = this.entries.findIndex((entry) => entry.id === id);
    if (index === -1) return;
    const [entry] = this.entries.splice(index, 1);
    this.#storage.removeItem(this.#prefix + id);
    this.#changed(entry.channel);
  }

  /** Settles acked commands of a channel whose log is known up to `cursor`. */
  settleUpTo(channel, cursor) {
    for (const entry of this.of(channel)) {
      if (entry.state === "sent" && entry.seq <= cursor) this.settle(entry.id);
    }
  }

  /** A person wants a failed one tried again. A stale id would no longer protect it, so it gets a new one. */
  retry(id) {
    const entry = this.get(id);
    if (!entry || entry.state !== "failed") return;
    if (this.#stale(entry)) {
      this.#storage.removeItem(this.#prefix + id);
      entry.id = this.uuid();
      entry.at = this.#now();
    }
    Object.assign(entry, { state: "queued", error: null, attempts: 0, unhinted: 0, notBefore: 0, sentAt: null });
    this.#save(entry);
    this.#changed(entry.channel);
  }

  /** A person gives up on a failed one. */
  discard(id) {
    if (this.get(id)?.state === "failed") this.settle(id);
  }

  #fail(entry, code, message) {
    entry.state = "failed";
    entry.error = { code, message };
    this.#save(entry);
  }

  #stale(entry) {
    return this.#now() - entry.at > RESEND_WINDOW_MS;
  }

  #fresh(entry) {
    // `first`: it was never written to a socket, and no reload came in between.
    const defaults = { text: "", files: [], target: null, state: "queued", error: null, first: false, generation: null };
    return { ...defaults, ...entry, seq: null, attempts: 0, unhinted: 0, notBefore: 0, sentAt: null };
  }

  #save({ first, seq, attempts, unhinted, notBefore, sentAt, ...kept }) {
    try {
      this.#storage.setItem(this.#prefix + kept.id, JSON.stringify(kept));
    } catch {
      // Storage is full or forbidden: the entry lives in memory, which still survives a lost connection.
    }
  }

  #load() {
    for (let i = 0; i < this.#storage.length; i++) {
      const key = this.#storage.key(i);
      if (!key.startsWith(this.#prefix)) continue;
      try {
        const entry = this.#fresh(JSON.parse(this.#storage.getItem(key)));
        // A newer version of this client may have left others, and will come back for them.
        if (isCommand(entry.type)) this.entries.push(entry);
      } catch {
        // Not ours, or half written by a crash of the browser: leave it alone.
      }
    }
    this.entries.sort((a, b) => a.at - b.at);
    for (const entry of this.entries) {
      if (entry.state !== "queued") continue;
      if (this.#stale(entry)) this.#fail(entry, "stale", "It waited for more than a day.");
      // A version of this client before this one may have taken it.
      else if (isTooLarge(entry)) this.#fail(entry, "too_large", "It is too long.");
    }
  }
}

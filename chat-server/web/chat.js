// The state of the client, and what each frame does to it. Views listen to its topics:
// `channels`, `timeline` (a channel id), `people`, `typing`, `connection`, `message` (an event), `failed`.

import { ApiError } from "./api.js";
import { names, uuid } from "./format.js";
import { failure, frameOf } from "./kinds.js";
import { Logs } from "./logs.js";
import { Outbox } from "./outbox.js";
import { People } from "./people.js";
import { Socket, TOO_LARGE, backoff } from "./socket.js";
import { Typing } from "./typing.js";
import { Unread } from "./unread.js";

const READ_DELAY_MS = 250;
/** How long after an ack the event itself may take before the client asks for it. */
const ACKED_EVENT_MS = 2000;
const META = new Set(["renamed", "topic_changed", "archived"]);

export class Chat extends EventTarget {
  #readTimers = new Map();
  #pumpTimer = null;
  #stopped = false;
  #loadingChannels = null;
  #unread = new Map();

  constructor({ session, api }) {
    super();
    this.session = session;
    this.api = api;
    this.me = session.current.user;
    this.channels = new Map();
    this.loaded = false;
    this.socket = new Socket(session);
    const emit = (topic) => (detail) => this.emit(topic, detail);
    this.people = new People({ api, socket: this.socket, changed: emit("people") });
    this.people.put([this.me]);
    this.typing = new Typing({ socket: this.socket, changed: emit("typing") });
    this.outbox = new Outbox({ storage: localStorage, user: this.me.id, uuid, changed: emit("timeline") });
    this.logs = new Logs({
      api,
      socket: this.socket,
      uuid,
      changed: emit("timeline"),
      applied: (channel, events, live) => this.#applied(channel, events, live),
    });
    this.socket.addEventListener("state", () => this.#connection());
    this.socket.addEventListener("welcome", ({ detail }) => this.#welcome(detail));
    this.socket.addEventListener("frame", ({ detail }) => this.#frame(detail));
    this.socket.addEventListener("revoked", () =>
      session.end("This session was ended from another device. Sign in again; nothing you wrote is lost."),
    );
  }

  emit(topic, detail) {
    // An answer that comes after signing out must not draw over the next person's page.
    if (!this.#stopped) this.dispatchEvent(new CustomEvent(topic, { detail }));
  }

  on(topic, listener) {
    this.addEventListener(topic, (event) => listener(event.detail));
  }

  start() {
    this.socket.start();
    this.loadChannels();
  }

  stop() {
    this.#stopped = true;
    this.socket.stop();
    clearTimeout(this.#pumpTimer);
    this.typing.stopped();
  }

  // What people do.

  /** Sends a message; its state is in the outbox from here on. */
  send(channel, text, files = []) {
    this.#add({ type: "send", channel, text, files });
    this.typing.stopped();
    this.#pump();
  }

  /** Changes a message: a command with a type, a `target` and what else its type has. */
  change(channel, command) {
    this.#add({ ...command, channel });
    this.#pump();
  }

  #add(command) {
    const entry = this.outbox.add(command);
    if (entry.state === "failed") this.emit("failed", entry);
  }

  retry(id) {
    this.outbox.retry(id);
    this.#pump();
  }

  /** Everything that is loaded of the channel has been seen. */
  markRead(id) {
    const channel = this.channels.get(id);
    const cursor = this.logs.get(id)?.timeline.cursor ?? 0;
    if (!channel || channel.read >= cursor || this.socket.state !== "online") return;
    channel.read = cursor;
    // Until the server says how many are left, if there is more than what is loaded.
    if (cursor >= channel.head) this.#unreadIn(id).none();
    this.emit("channels");
    clearTimeout(this.#readTimers.get(id));
    const tell = () => this.socket.send({ type: "read", channel: id, seq: channel.read });
    this.#readTimers.set(id, setTimeout(tell, READ_DELAY_MS));
  }

  // What there is.

  unread(channel) {
    return this.#unreadIn(channel.id).count;
  }

  /** The others of a direct or group channel. */
  others(channel) {
    return (channel.users ?? []).filter((id) => id !== this.me.id);
  }

  title(channel) {
    if (channel.kind === "public" || channel.kind === "private") return channel.name ?? "…";
    const others = this.others(channel);
    return others.length ? names(others.map((id) => this.people.name(id))) : `${this.me.display_name} (you)`;
  }

  /** Loads the list of channels, for as long as it takes. */
  loadChannels() {
    this.#loadingChannels ??= this.#loadChannels().finally(() => (this.#loadingChannels = null));
    return this.#loadingChannels;
  }

  /** Takes a channel as some answer described it. */
  put(channel) {
    const known = this.channels.get(channel.id);
    const read = Math.max(channel.read ?? 0, known?.read ?? 0);
    const head = Math.max(channel.head, known?.head ?? 0);
    // An answer from before a marker that was moved here counts what is outdated.
    const outdated = known && known.read > (channel.read ?? 0);
    if (!outdated) this.#unreadIn(channel.id).counted(channel.unread ?? 0, channel.head);
    this.channels.set(channel.id, { ...channel, head, read });
    this.emit("channels");
    const now = this.channels.get(channel.id);
    // An event that came while the channel was not known yet is asked for.
    if (now.head > (this.logs.get(channel.id)?.timeline.cursor ?? now.head)) this.logs.fill(channel.id);
    return now;
  }

  /** Forgets a channel that one is no longer in. */
  drop(id) {
    if (!this.channels.delete(id)) return;
    this.logs.close(id);
    this.emit("channels");
  }

  async #loadChannels() {
    for (let attempt = 0; !this.#stopped; attempt++) {
      try {
        for (const channel of await this.api.channels()) this.put(channel);
        this.loaded = true;
        this.emit("channels");
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 250 + backoff(attempt)));
      }
    }
  }

  /** Asks how one channel is now; it is dropped when one may no longer read it or has left. */
  async #refresh(id) {
    try {
      const channel = await this.api.channel(id);
      if (channel.read === undefined) this.drop(id);
      else this.put(channel);
    } catch (error) {
      if (error instanceof ApiError && (error.status === 403 || error.status === 404)) this.drop(id);
    }
  }

  // What the server says.

  #connection() {
    if (this.socket.state !== "online") {
      const failed = this.outbox.disconnected({ tooLarge: this.socket.closedBy === TOO_LARGE });
      if (failed) this.emit("failed", failed);
      this.logs.disconnected();
      this.people.disconnected();
    }
    this.emit("connection");
  }

  #welcome({ channels, generation }) {
    for (const entry of this.outbox.welcomed(generation)) this.emit("failed", entry);
    const ids = new Set(channels.map((state) => state.channel));
    this.#unread.clear();
    for (const { channel: id, head, read, unread = 0 } of channels) {
      const channel = this.channels.get(id);
      if (channel) Object.assign(channel, { head, read });
      this.#unreadIn(id).counted(unread, head);
    }
    if (this.loaded) {
      if (channels.some((state) => !this.channels.has(state.channel))) this.loadChannels();
      for (const id of this.channels.keys()) if (!ids.has(id)) this.#refresh(id);
    }
    this.logs.welcomed(channels, generation);
    this.people.welcomed();
    this.emit("channels");
    this.#pump();
  }

  #frame(frame) {
    switch (frame.type) {
      case "event":
        this.logs.receive(frame);
        break;
      case "ack":
        this.#acked(frame);
        break;
      case "error":
        this.#refused(frame);
        break;
      case "synced":
        this.logs.synced(frame);
        break;
      case "presence":
        this.people.presence(frame.users);
        break;
      case "typing":
        if (frame.user !== this.me.id) this.typing.received(frame);
        break;
      case "read": {
        const channel = this.channels.get(frame.channel);
        if (channel && frame.seq >= channel.read) {
          channel.read = frame.seq;
          const { unread, head } = frame;
          if (head !== undefined) this.#unreadIn(channel.id).counted(unread, head);
          else if (frame.seq >= channel.head) this.#unreadIn(channel.id).none();
          else if (unread !== undefined) this.#unreadIn(channel.id).counted(unread, channel.head);
          this.emit("channels");
        }
        break;
      }
    }
  }

  /** Events that are new to this client, in order. */
  #applied(id, events, live) {
    const channel = this.channels.get(id);
    for (const event of events) {
      if (event.by === this.me.id && event.id) this.outbox.settle(event.id);
      if (!live) continue;
      if (event.kind === "message") this.typing.wrote(id, event.by);
      if (event.kind === "message" && event.by !== this.me.id) this.#unreadIn(id).message(event.seq);
      if (channel && event.seq > channel.head) {
        channel.head = event.seq;
        // Whether it was somebody else's is the server's to say.
        if (event.kind === "deleted" && event.target > channel.read) this.#refresh(id);
      }
      // Also one's own coming and going: `event.user` is the member it is about.
      if (channel && (META.has(event.kind) || event.user === this.me.id)) this.#refresh(id);
      this.emit("message", event);
    }
    this.outbox.settleUpTo(id, this.logs.get(id)?.timeline.cursor ?? 0);
    if (!live) return;
    if (!channel) this.#refresh(id);
    this.emit("channels");
    this.#pump();
  }

  /** What is unread in a channel, known or not yet. */
  #unreadIn(id) {
    if (!this.#unread.has(id)) this.#unread.set(id, new Unread());
    return this.#unread.get(id);
  }

  #acked({ id, channel, seq }) {
    this.outbox.acked(id, seq);
    const log = this.logs.get(channel);
    if (!log || log.timeline.cursor >= seq) this.outbox.settle(id);
    else
      setTimeout(() => {
        if (log.timeline.cursor < seq) this.logs.fill(channel);
      }, ACKED_EVENT_MS);
    this.#pump();
  }

  #refused({ id, code, message, retryable, retry_after_ms }) {
    if (!id || this.logs.refused({ id, retry_after_ms })) return;
    this.outbox.refused(id, { code, message, retryable, retryAfterMs: retry_after_ms });
    const entry = this.outbox.get(id);
    if (entry?.state === "failed") {
      if (failure(entry) === null) this.outbox.discard(id);
      else this.emit("failed", entry);
    }
    this.#pump();
  }

  /** Puts on the wire what is due, and comes back when more may be. */
  #pump() {
    clearTimeout(this.#pumpTimer);
    if (this.socket.state !== "online") return;
    for (const entry of this.outbox.due()) {
      const frame = frameOf(entry, this.channels.get(entry.channel));
      if (this.socket.send(frame)) this.outbox.wrote(entry.id);
    }
    const wait = this.outbox.nextDue();
    if (wait !== null) this.#pumpTimer = setTimeout(() => this.#pump(), wait + 5);
  }
}

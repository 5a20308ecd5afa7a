// Keeps the timelines of opened channels complete: history, live events, and whatever was missed.

import { Timeline } from "./timeline.js";

const HISTORY_PAGE = 100;
const EVENTS_PAGE = 200;
/** A client further behind than this starts afresh at the end instead of reading it all. */
const FAR_BEHIND = 1000;
const MAX_OPEN = 20;
const MAX_ENTRIES = 2000;
const KEEP_ENTRIES = 800;
const SYNC_TIMEOUT_MS = 10_000;
const MAX_RETRIES = 5;

export class Logs {
  #api;
  #socket;
  #uuid;
  #applied;
  #changed;
  #logs = new Map();
  /** The life of the server's store that the logs are of, as far as is known. */
  #generation = null;

  /** `applied(channel, events, live)` sees each event once; `changed(channel)` asks for a render. */
  constructor({ api, socket, uuid, applied, changed }) {
    this.#api = api;
    this.#socket = socket;
    this.#uuid = uuid;
    this.#applied = applied;
    this.#changed = changed;
  }

  /** `{ timeline, loading, failed }` of an opened channel. */
  get(channel) {
    return this.#logs.get(channel);
  }

  /** Opens a channel's log at its `head` and loads the newest page of history. */
  open(channel, head) {
    let log = this.#logs.get(channel);
    if (log) {
      // Most recently opened last, so that the least recently opened is the one to forget.
      this.#logs.delete(channel);
    } else {
      const timeline = new Timeline(channel, head);
      log = { timeline, life: 0, loading: false, failed: false, sync: null, timer: null, retries: 0 };
      for (const oldest of this.#logs.keys()) {
        if (this.#logs.size < MAX_OPEN) break;
        this.close(oldest);
      }
    }
    this.#logs.set(channel, log);
    if (!log.timeline.entries.length) this.older(channel);
    return log;
  }

  close(channel) {
    clearTimeout(this.#logs.get(channel)?.timer);
    this.#logs.delete(channel);
  }

  /** Loads the page of history before what is there. Because the log is dense, its bounds are known. */
  async older(channel) {
    const log = this.#logs.get(channel);
    if (!log || log.loading || !log.timeline.hasOlder) return;
    Object.assign(log, { loading: true, failed: false });
    this.#changed(channel);
    const { life } = log;
    try {
      const before = log.timeline.entries.length;
      // A page may be all edits, which show nothing by themselves.
      while (log.timeline.hasOlder && log.timeline.entries.length < before + HISTORY_PAGE / 4) {
        const { after, limit } = log.timeline.olderRange(HISTORY_PAGE);
        const events = await this.#api.events(channel, after, limit, this.#generation);
        // Begun anew meanwhile, which loads by itself: these are of before.
        if (log.life !== life) return;
        if (!log.timeline.prepend(events)) break;
        this.#applied(channel, events, false);
      }
    } catch {
      if (log.life !== life) return;
      log.failed = true;
    }
    log.loading = false;
    this.#changed(channel);
  }

  /** A live or recovered event of any channel. */
  receive(event) {
    const log = this.#logs.get(event.channel);
    if (!log) {
      this.#applied(event.channel, [event], true);
      return;
    }
    const { timeline } = log;
    const events = timeline.apply(event);
    if (timeline.ahead.size > FAR_BEHIND) this.#restart(event.channel, Math.max(...timeline.ahead.keys()));
    else if (timeline.hasGap) this.fill(event.channel);
    if (!events.length) return;
    log.retries = 0;
    if (timeline.entries.length > MAX_ENTRIES) timeline.trim(KEEP_ENTRIES);
    this.#applied(event.channel, events, true);
    this.#changed(event.channel);
  }

  /**
   * The connection is new: what its heads say is missing gets asked for. Another `generation` than before means that the
   * server was restored from a backup: all logs are others.
   */
  welcomed(states, generation = null) {
    const restored = this.#generation && generation && this.#generation !== generation;
    this.#generation = generation ?? this.#generation;
    for (const { channel, head } of states) {
      const log = this.#logs.get(channel);
      if (!log) continue;
      log.sync = null;
      log.retries = 0;
      const behind = head - log.timeline.cursor;
      // A head below the cursor means the same as another generation, or that this gateway is behind for a moment: to begin
      // anew is right in both cases.
      if (restored || behind > FAR_BEHIND || behind < 0) this.#restart(channel, head);
      else if (behind > 0) this.fill(channel);
      if (log.failed) this.older(channel);
    }
  }

  disconnected() {
    for (const log of this.#logs.values()) {
      log.sync = null;
      clearTimeout(log.timer);
    }
  }

  /** Asks for the events after the cursor, once at a time. */
  fill(channel) {
    const log = this.#logs.get(channel);
    if (!log || log.sync) return;
    const id = this.#uuid();
    if (!this.#socket.send({ type: "sync", id, channel, after: log.timeline.cursor })) return;
    log.sync = id;
    clearTimeout(log.timer);
    log.timer = setTimeout(() => this.#again(channel, id), SYNC_TIMEOUT_MS);
  }

  /** A `synced` frame. */
  async synced({ id, channel, head, recovered }) {
    const log = this.#logs.get(channel);
    if (!log || log.sync !== id) return;
    if (!recovered) await this.#read(channel, log, head);
    if (log.sync !== id) return;
    clearTimeout(log.timer);
    log.sync = null;
    if (log.timeline.hasGap) this.#retry(channel, log);
  }

  /** An `error` frame; true when it answered one of these syncs. */
  refused({ id, retry_after_ms }) {
    for (const [channel, log] of this.#logs) {
      if (log.sync !== id) continue;
      clearTimeout(log.timer);
      log.timer = setTimeout(() => this.#again(channel, id), retry_after_ms ?? 1000);
      return true;
    }
    return false;
  }

  /** The server could not recover the range from memory: read it page by page. */
  async #read(channel, log, head) {
    clearTimeout(log.timer);
    const { life } = log;
    try {
      while (log.timeline.cursor < head) {
        const before = log.timeline.cursor;
        const events = await this.#api.events(channel, before, EVENTS_PAGE, this.#generation);
        if (log.life !== life) return;
        for (const event of events) this.receive(event);
        if (log.timeline.cursor === before) return;
      }
    } catch {
      if (log.life === life) this.#retry(channel, log);
    }
  }

  #retry(channel, log) {
    const { sync: id } = log;
    log.timer = setTimeout(() => this.#again(channel, id), 500 * 2 ** log.retries);
  }

  #again(channel, id) {
    const log = this.#logs.get(channel);
    if (!log || log.sync !== id) return;
    log.sync = null;
    log.retries += 1;
    if (log.retries <= MAX_RETRIES) this.fill(channel);
    else this.#restart(channel, Math.max(log.timeline.cursor, ...log.timeline.ahead.keys()));
  }

  #restart(channel, head) {
    const log = this.#logs.get(channel);
    clearTimeout(log.timer);
    Object.assign(log, { life: log.life + 1, loading: false, sync: null, retries: 0 });
    log.timeline.reset(head);
    this.older(channel);
    this.#changed(channel);
  }
}

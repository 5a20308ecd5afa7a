// One channel's log as far as this client has it, and what it looks like. Pure: no network, no DOM.
//
// The client holds one unbroken range of the log, `(low, cursor]`, because sequence numbers are dense.
// It grows at the end with live and recovered events and at the start with history, and its picture
// does not depend on the order in which it grew.

import { changed, entryOf, slotOf } from "./kinds.js";

export class Timeline {
  /** Starts empty at the log's `head`: what is older is history, what is newer arrives. */
  constructor(channel, head) {
    this.channel = channel;
    this.reset(head);
  }

  /** Forgets everything and starts again at `head`, for a client that was away for too long. */
  reset(head) {
    /** Every event up to here (and above `low`) is applied. */
    this.cursor = head;
    /** Everything at or below this is history that is not loaded. */
    this.low = head;
    /** Messages and notes, by seq, ascending. */
    this.entries = [];
    /** Events that arrived ahead of a gap, by seq. */
    this.ahead = new Map();
    this.bySeq = new Map();
    /** target seq → slot → the newest event in it, which may be known before its message is. */
    this.changes = new Map();
    /** Client ids of the messages held, to recognise one's own sends. */
    this.ids = new Set();
  }

  /** Whether there is history to load. */
  get hasOlder() {
    return this.low > 0;
  }

  /** Whether events are missing between the cursor and something that arrived. */
  get hasGap() {
    return this.ahead.size > 0;
  }

  /**
   * Takes one live or recovered event. Returns the events that became part of the timeline, in order: none
   * for a duplicate or one ahead of a gap (then `hasGap`), several when it closed a gap.
   */
  apply(event) {
    if (event.seq <= this.cursor) return [];
    this.ahead.set(event.seq, event);
    const applied = [];
    for (let next; (next = this.ahead.get(this.cursor + 1)); ) {
      this.ahead.delete(next.seq);
      this.cursor = next.seq;
      this.#take(next, "end");
      applied.push(next);
    }
    return applied;
  }

  /** The history request that comes next: events after `after`, `limit` of them, end right below `low`. */
  olderRange(limit) {
    const after = Math.max(0, this.low - limit);
    return { after, limit: this.low - after };
  }

  /** Takes the answer to `olderRange`. False when it does not fit on any more: nothing was taken. */
  prepend(events) {
    const first = events[0]?.seq;
    const dense = events.every((event, i) => event.seq === first + i);
    if (!events.length || !dense || events.at(-1).seq !== this.low) return false;
    for (const event of events.slice().reverse()) this.#take(event, "start");
    this.low = first - 1;
    return true;
  }

  /** Lets go of the oldest entries beyond `keep`, so that a tab left open does not grow for ever. */
  trim(keep) {
    if (this.entries.length <= keep) return;
    const dropped = this.entries.splice(0, this.entries.length - keep);
    for (const entry of dropped) {
      this.bySeq.delete(entry.seq);
      if (entry.id) this.ids.delete(entry.id);
    }
    this.low = dropped.at(-1).seq;
    // Changes above `low` will not be read again; those below come back with the history.
    for (const [target, slots] of this.changes) {
      for (const [slot, { seq }] of slots) if (seq <= this.low) slots.delete(slot);
      if (!slots.size) this.changes.delete(target);
    }
  }

  /** Kinds that this version does not know show nothing, but still move the cursor: the log stays dense. */
  #take(event, where) {
    const entry = entryOf(event);
    if (entry) {
      this.bySeq.set(entry.seq, entry);
      if (where === "end") this.entries.push(entry);
      else this.entries.unshift(entry);
      if (entry.id) this.ids.add(entry.id);
      this.#settle(entry.seq);
    }
    const slot = slotOf(event);
    if (slot === null) return;
    if (!this.changes.has(event.target)) this.changes.set(event.target, new Map());
    const slots = this.changes.get(event.target);
    if ((slots.get(slot)?.seq ?? 0) < event.seq) slots.set(slot, event);
    this.#settle(event.target);
  }

  /** Applies what is known about a message to it. Replaces the entry, so that a view sees the change. */
  #settle(seq) {
    const entry = this.bySeq.get(seq);
    if (entry?.type !== "message") return;
    const events = [...(this.changes.get(seq)?.values() ?? [])].sort((a, b) => a.seq - b.seq);
    const next = changed(entry, events);
    this.bySeq.set(seq, next);
    this.entries[this.#indexOf(seq)] = next;
  }

  #indexOf(seq) {
    let [from, to] = [0, this.entries.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.entries[middle].seq < seq) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}

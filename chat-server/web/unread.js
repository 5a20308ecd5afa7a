// How many messages of others are unread in a channel: what the server counts up to some position, and what came live
// after that. Frames that cross may come in either order.

/** Messages that are remembered, to be added to what the server counts. */
const MAX_LIVE = 1000;

export class Unread {
  #live = [];
  #head = 0;
  count = 0;

  /** The server counts so many up to `head`. */
  counted(count, head) {
    this.#head = head;
    this.count = count + this.#live.filter((seq) => seq > head).length;
  }

  /** Everything that is known has been read. */
  none() {
    this.count = 0;
  }

  /** A live message of somebody else. */
  message(seq) {
    this.#live = [...this.#live.slice(1 - MAX_LIVE), seq];
    if (seq > this.#head) this.count += 1;
  }
}

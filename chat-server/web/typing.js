// Who is typing where, and telling others that one is.

/** The protocol: show it for 5 seconds, pass it on at most every 3. */
const SHOWN_MS = 5000;
const SENT_MS = 3000;

export class Typing {
  #socket;
  #changed;
  #users = new Map();
  #sentAt = 0;
  #due = null;
  #expiry = null;

  constructor({ socket, changed }) {
    this.#socket = socket;
    this.#changed = changed;
  }

  /** The person typed: told at once, or when the server would pass it on again. */
  typed(channel) {
    const tell = () => {
      this.#due = null;
      if (this.#socket.send({ type: "typing", channel })) this.#sentAt = Date.now();
    };
    const wait = this.#sentAt + SENT_MS - Date.now();
    if (wait <= 0) tell();
    else this.#due ??= setTimeout(tell, wait + 50);
  }

  /** The person sent or gave up what they typed. */
  stopped() {
    clearTimeout(this.#due);
    this.#due = null;
  }

  /** A `typing` frame. */
  received({ channel, user }) {
    if (!this.#users.has(channel)) this.#users.set(channel, new Map());
    this.#users.get(channel).set(user, Date.now() + SHOWN_MS);
    clearTimeout(this.#expiry);
    this.#expiry = setTimeout(() => this.#changed(), SHOWN_MS + 50);
    this.#changed();
  }

  /** A message of the user came: they are done. */
  wrote(channel, user) {
    if (this.#users.get(channel)?.delete(user)) this.#changed();
  }

  /** Users to show as typing in a channel. */
  in(channel) {
    const now = Date.now();
    const users = [...(this.#users.get(channel) ?? [])];
    return users.filter(([, until]) => until > now).map(([user]) => user);
  }
}

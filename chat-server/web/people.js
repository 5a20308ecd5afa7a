// Who is who, and who is here: a cache of users, and the presence of those that can be seen.

const BATCH = 100;
/** The server's limit for one socket's watch list. */
const MAX_WATCHED = 500;
const WATCH_DELAY_MS = 150;

export class People {
  #api;
  #socket;
  #changed;
  #users = new Map();
  #wanted = new Set();
  #fetching = false;
  #online = new Set();
  #watchers = new Map();
  #watched = "";
  #timer = null;

  constructor({ api, socket, changed }) {
    this.#api = api;
    this.#socket = socket;
    this.#changed = changed;
  }

  /** Takes users that some answer contained. */
  put(users) {
    for (const user of users) this.#users.set(user.id, user);
  }

  /** A user, or `undefined` until the server has told; then `changed` is called. */
  get(id) {
    const user = this.#users.get(id);
    if (!user && !this.#wanted.has(id)) {
      this.#wanted.add(id);
      queueMicrotask(() => this.#fetch());
    }
    return user;
  }

  /** The name to show. */
  name(id) {
    return this.get(id)?.display_name ?? "…";
  }

  isOnline(id) {
    return this.#online.has(id);
  }

  /** Says which users one part of the page shows; all parts together are watched. */
  watch(part, ids) {
    this.#watchers.set(part, ids);
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#watch(false);
    }, WATCH_DELAY_MS);
  }

  /** A new socket knows nothing of the old one's watch list, nor of lookups that failed. */
  welcomed() {
    this.#watch(true);
    if (this.#wanted.size) this.#fetch();
  }

  /** Without a connection nobody is known to be here. */
  disconnected() {
    if (!this.#online.size) return;
    this.#online.clear();
    this.#changed();
  }

  /** A `presence` frame. */
  presence(users) {
    for (const { user, status } of users) {
      if (status === "online") this.#online.add(user);
      else this.#online.delete(user);
    }
    this.#changed();
  }

  #watch(always) {
    const ids = [...new Set([...this.#watchers.values()].flat())].slice(0, MAX_WATCHED).sort();
    const key = ids.join();
    if (!always && key === this.#watched) return;
    if (this.#socket.send({ type: "watch", users: ids })) this.#watched = key;
  }

  async #fetch() {
    if (this.#fetching) return;
    this.#fetching = true;
    try {
      while (this.#wanted.size) {
        const ids = [...this.#wanted].slice(0, BATCH);
        this.put(await this.#api.usersById(ids));
        for (const id of ids) this.#wanted.delete(id);
        this.#changed();
      }
    } catch {
      // Still wanted: asked again with the next connection.
    } finally {
      this.#fetching = false;
    }
  }
}

// One WebSocket that keeps coming back: hello and welcome, heartbeats, and backoff with full jitter.
// It knows frames but not what they mean; `frame` events carry them on.

const WELCOME_TIMEOUT_MS = 10_000;
const PONG_TIMEOUT_MS = 10_000;
const BASE_MS = 400;
const CAP_MS = 15_000;
/** A connection that held for so long is well: the next wait is short again. */
const SETTLED_MS = 10_000;
/** Doublings of the wait on top of a time that the server has named. */
const HINTED_DOUBLINGS = 2;

/** Close codes of `folkmoot.v1` that need more than a new attempt. */
export const TOO_LARGE = 1009;
const RESTART = 1012;
const TRY_LATER = 1013;
const UNAUTHENTICATED = 4002;
const SESSION_REVOKED = 4003;
const TOO_MANY_SOCKETS = 4004;

/** Full jitter: anything between nothing and a doubling, capped limit, so that a crowd spreads out. */
export function backoff(attempt, random = Math.random) {
  return random() * Math.min(CAP_MS, BASE_MS * 2 ** Math.min(attempt, 16));
}

/**
 * Fires `state` ({ state: "connecting" | "online" | "waiting", retryAt }), `welcome`, `frame` and `revoked`.
 */
export class Socket extends EventTarget {
  #session;
  #socket = null;
  #timers = new Map();
  #attempt = 0;
  #hint = null;
  #rejected = null;
  #stopped = true;

  constructor(session) {
    super();
    this.#session = session;
    this.state = "waiting";
    this.retryAt = null;
    /** The close code of the last connection. */
    this.closedBy = null;
  }

  start() {
    this.#stopped = false;
    addEventListener("online", this.retryNow);
    document.addEventListener("visibilitychange", this.#seen);
    this.#connect();
  }

  stop() {
    this.#stopped = true;
    removeEventListener("online", this.retryNow);
    document.removeEventListener("visibilitychange", this.#seen);
    for (const name of [...this.#timers.keys()]) this.#clear(name);
    this.#socket?.close(1000);
    this.#socket = null;
  }

  /** Stops waiting: the network came back, or a person asked. */
  retryNow = () => {
    if (!this.#stopped && this.state === "waiting") this.#connect();
  };

  #seen = () => {
    if (document.visibilityState === "visible") this.retryNow();
  };

  /** Writes a frame; false when there is no connection to write to. */
  send(frame) {
    if (this.state !== "online") return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  async #connect() {
    this.#clear("retry");
    this.#become("connecting");
    let token;
    try {
      token = await this.#session.token(this.#rejected);
    } catch {
      // Either the session has ended, which its own event tells, or the server is away.
      if (!this.#stopped && this.#session.current) this.#wait(backoff(this.#attempt++));
      return;
    }
    if (this.#stopped || this.state !== "connecting") return;
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/v1/ws`, "folkmoot.v1");
    this.#socket = socket;
    this.#after("welcome", WELCOME_TIMEOUT_MS, () => this.#drop(socket));
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", token, client: "folkmoot-web/1" }));
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#received(JSON.parse(event.data), token);
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#closed(event.code, token);
    };
  }

  #received(frame, token) {
    this.#clear("pong");
    if (frame.type === "welcome") {
      this.#clear("welcome");
      // Not a reset of the backoff: what is sent now may be what ended the last connection.
      this.#after("settled", SETTLED_MS, () => (this.#attempt = 0));
      if (this.#rejected !== token) this.#rejected = null;
      this.#become("online");
      this.#beat(frame.heartbeat_ms);
      this.#fire("welcome", frame);
    } else if (frame.type === "reconnect") {
      this.#hint = frame.after_ms;
    } else if (frame.type === "error" && this.state === "connecting") {
      // No welcome for now; a close follows.
      this.#hint = frame.retry_after_ms ?? null;
    } else if (frame.type !== "pong") {
      if (frame.type === "ack") this.#attempt = 0;
      this.#fire("frame", frame);
    }
  }

  /** Says something in time, and notices a connection that is dead without saying so. */
  #beat(interval) {
    const socket = this.#socket;
    this.#after("beat", Math.max(1000, interval * 0.8), () => {
      this.send({ type: "ping" });
      this.#after("pong", PONG_TIMEOUT_MS, () => this.#drop(socket));
      this.#beat(interval);
    });
  }

  /** Gives up on a socket without waiting for its closing handshake, which may never come. */
  #drop(socket) {
    if (socket !== this.#socket) return;
    socket.close();
    this.#closed(1006, null);
  }

  #closed(code, token) {
    this.#socket = null;
    this.closedBy = code;
    for (const name of ["welcome", "settled", "beat", "pong"]) this.#clear(name);
    if (this.#stopped) return;
    if (code === SESSION_REVOKED) {
      this.#fire("revoked");
      return;
    }
    if (code === TOO_MANY_SOCKETS) {
      // A newer one of this person took its place. Coming back by itself would push out another one, and so on for ever: it
      // waits until the person turns to it.
      this.#become("waiting");
      return;
    }
    let delay = backoff(this.#attempt++);
    if (code === UNAUTHENTICATED) {
      // The first refusal only means that the token was too old.
      if (this.#rejected === null) delay = 0;
      this.#rejected = token;
    } else if (code === RESTART && this.#hint !== null) {
      delay = this.#hint;
    } else if (code === TRY_LATER && this.#hint !== null) {
      // It knows when it is well again: doubling further would only keep us away.
      delay = this.#hint + backoff(Math.min(this.#attempt, HINTED_DOUBLINGS));
    }
    this.#hint = null;
    this.#wait(delay);
  }

  #wait(delay) {
    this.#become("waiting", Date.now() + delay);
    this.#after("retry", delay, () => this.#connect());
  }

  #become(state, retryAt = null) {
    this.state = state;
    this.retryAt = retryAt;
    this.#fire("state");
  }

  #fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #after(name, ms, work) {
    this.#clear(name);
    this.#timers.set(name, setTimeout(work, ms));
  }

  #clear(name) {
    clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}

// Who is signed in, and a valid access token for whoever needs one.
//
// The tokens are in localStorage. That is acceptable here because no foreign script can run to read them:
// the CSP allows only this server's own files, nothing parses HTML, and there is no third-party code. In
// exchange a sign-in survives a closed tab and is shared by all tabs. Tokens never appear in an address.

const KEY = "folkmoot.session";
const LOCK = "folkmoot.refresh";
/** A token is renewed when this share of its life is over, so that none expires on its way. */
const RENEW_AT = 0.8;
const LEASE_MS = 20_000;

export class SignedOut extends Error {}

export class Session extends EventTarget {
  #renewing = null;

  constructor() {
    super();
    // Another tab signed in, out, or renewed.
    addEventListener("storage", (event) => {
      if (event.key === KEY && !event.newValue) this.dispatchEvent(new Event("ended"));
    });
  }

  /** `{ access, renewAt, refresh, session, user }`, or `null`. Read afresh: other tabs write it too. */
  get current() {
    try {
      return JSON.parse(localStorage.getItem(KEY));
    } catch {
      return null;
    }
  }

  /** Keeps the answer to a sign-in, registration or renewal. */
  keep(response) {
    const value = {
      access: response.access_token,
      renewAt: Date.now() + response.expires_in * 1000 * RENEW_AT,
      refresh: response.refresh_token,
      session: response.session,
      user: response.user,
    };
    localStorage.setItem(KEY, JSON.stringify(value));
    return value;
  }

  /** Forgets the tokens; `reason` is for the person, when it was not their own wish. */
  end(reason = "") {
    localStorage.removeItem(KEY);
    this.dispatchEvent(Object.assign(new Event("ended"), { reason }));
  }

  /** An access token that is good for a while; `rejected` names one that the server did not take. */
  async token(rejected = null) {
    const current = this.current;
    if (!current) throw new SignedOut("sign in first");
    if (usable(current, rejected)) return current.access;
    this.#renewing ??= this.#renew(rejected).finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  /**
   * A refresh token works once, and using it twice ends the session, so only one tab may spend it: the
   * others wait for the lock and then find the new tokens in storage.
   */
  #renew(rejected) {
    return exclusively(async () => {
      const current = this.current;
      if (!current) throw new SignedOut("sign in first");
      if (usable(current, rejected)) return current.access;
      const response = await fetch("/v1/auth/refresh", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ refresh_token: current.refresh }),
        signal: AbortSignal.timeout(15_000),
      });
      if (response.ok) return this.keep(await response.json()).access;
      if (response.status === 400 || response.status === 401 || response.status === 422) {
        this.end("Your session has ended. Please sign in again; nothing you wrote is lost.");
        throw new SignedOut("the session has ended");
      }
      throw new Error(`renewing the session failed with status ${response.status}`);
    });
  }
}

function usable(current, rejected) {
  return current.access !== rejected && Date.now() < current.renewAt;
}

/** Runs `work` in one tab at a time. */
async function exclusively(work) {
  if (navigator.locks) return navigator.locks.request(LOCK, work);
  // Plain http to another machine has no Web Locks: a short lease in storage comes close enough.
  const owner = String(Math.random());
  for (;;) {
    const lease = JSON.parse(localStorage.getItem(LOCK) ?? "null");
    if (!lease || lease.until < Date.now()) {
      localStorage.setItem(LOCK, JSON.stringify({ owner, until: Date.now() + LEASE_MS }));
      await pause(50);
      if (JSON.parse(localStorage.getItem(LOCK) ?? "null")?.owner === owner) break;
    }
    await pause(100);
  }
  try {
    return await work();
  } finally {
    localStorage.removeItem(LOCK);
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

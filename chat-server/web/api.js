// The REST interface. Errors are RFC 9457 problems, turned into `ApiError`.

export const MAX_FILE_BYTES = 25 * 1024 * 1024;
const TIMEOUT_MS = 20_000;
const MAX_PAGES = 200;

export class ApiError extends Error {
  /** `status` is 0 when the server was not reached. */
  constructor(status, problem = {}) {
    super(problem.detail || problem.title || (status ? `The server answered ${status}.` : "The server is not reachable."));
    this.status = status;
    this.code = problem.code ?? "unknown";
    this.retryable = problem.retryable ?? status === 0;
    this.retryAfterMs = problem.retry_after_ms ?? null;
  }
}

export class Api {
  constructor(session) {
    this.session = session;
  }

  // Accounts. The first three are the only requests without a token.
  login = (handle, password) => this.#open("/v1/auth/login", { handle, password, device: device() });
  register = (handle, password, name, invitation) =>
    this.#open("/v1/auth/register", {
      handle,
      password,
      device: device(),
      ...(name ? { display_name: name } : {}),
      ...(invitation ? { invitation } : {}),
    });
  redeem = (code, password) => this.#open("/v1/auth/redeem", { code, password, device: device() });
  logout = () => this.#json("POST", "/v1/auth/logout");
  sessions = () => this.#all("/v1/auth/sessions");
  revoke = (id) => this.#json("DELETE", `/v1/auth/sessions/${id}`);

  // People.
  invite = (role) => this.#json("POST", "/v1/invitations", { role });
  usersById = async (ids) => (await this.#json("GET", `/v1/users?ids=${ids.join(",")}&limit=200`)).items;
  searchUsers = async (q) =>
    (await this.#json("GET", `/v1/users?limit=50${q ? `&q=${encodeURIComponent(q)}` : ""}`)).items;

  // Channels.
  channels = () => this.#all("/v1/channels");
  publicChannels = () => this.#all("/v1/channels?scope=public");
  channel = (id) => this.#json("GET", `/v1/channels/${id}`);
  createChannel = (body) => this.#json("POST", "/v1/channels", body);
  join = (id) => this.#json("POST", `/v1/channels/${id}/join`);
  leave = (id) => this.#json("POST", `/v1/channels/${id}/leave`);
  members = (id) => this.#all(`/v1/channels/${id}/members`);
  addMembers = (id, users) => this.#json("POST", `/v1/channels/${id}/members`, { users });
  openDirect = (users) => this.#json("POST", "/v1/dms", { users });

  /**
   * Events after `after`, ascending, at most 200 of them. With a `generation`, those of another life of the server's store
   * are refused: not all of its processes notice a restore at once.
   */
  events = async (channel, after, limit, generation) => {
    const path = `/v1/channels/${channel}/events?after=${after}&limit=${limit}`;
    const response = await this.#fetch("GET", path, {}, TIMEOUT_MS);
    const said = response.headers.get("folkmoot-generation");
    if (generation && said && said !== generation) throw new ApiError(0, { title: "The server was restored." });
    return (await response.json()).items;
  };

  /** The content of a file. It needs the token, so it cannot be a plain link. */
  async content(id) {
    const response = await this.#fetch("GET", `/v1/files/${id}/content`, {}, 120_000);
    return response.blob();
  }

  /**
   * Uploads a file to a channel and resolves to its `FileRef`. XMLHttpRequest, because fetch cannot tell
   * how much of a body has left.
   */
  async upload(channel, file, { progress, signal }) {
    let token = await this.session.token();
    for (let attempt = 0; ; attempt++) {
      try {
        return await put(channel, file, token, progress, signal);
      } catch (error) {
        if (error.status !== 401 || attempt > 0) throw error;
        token = await this.session.token(token);
      }
    }
  }

  async #open(path, body) {
    const response = await send("POST", path, json(body), TIMEOUT_MS);
    return response.json();
  }

  async #json(method, path, body) {
    const response = await this.#fetch(method, path, body === undefined ? {} : json(body), TIMEOUT_MS);
    return response.status === 204 ? null : response.json();
  }

  /** Every page of a listing. */
  async #all(path) {
    const items = [];
    let cursor = "";
    for (let page = 0; page < MAX_PAGES; page++) {
      const more = `${path.includes("?") ? "&" : "?"}limit=200${cursor && `&cursor=${encodeURIComponent(cursor)}`}`;
      const answer = await this.#json("GET", path + more);
      items.push(...answer.items);
      if (!answer.next) break;
      cursor = answer.next;
    }
    return items;
  }

  async #fetch(method, path, init, timeout) {
    const token = await this.session.token();
    try {
      return await send(method, path, bearer(init, token), timeout);
    } catch (error) {
      if (error.status !== 401) throw error;
      return send(method, path, bearer(init, await this.session.token(token)), timeout);
    }
  }
}

const json = (body) => ({ body: JSON.stringify(body), headers: { "content-type": "application/json" } });
const bearer = (init, token) => ({ ...init, headers: { ...init.headers, authorization: `Bearer ${token}` } });

async function send(method, path, init, timeout) {
  let response;
  try {
    response = await fetch(path, { ...init, method, signal: AbortSignal.timeout(timeout), cache: "no-store" });
  } catch {
    throw new ApiError(0);
  }
  if (response.ok) return response;
  throw new ApiError(response.status, await response.json().catch(() => ({})));
}

function put(channel, file, token, progress, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const name = encodeURIComponent(file.name || "file");
    request.open("POST", `/v1/files?channel=${channel}&name=${name}`);
    request.setRequestHeader("authorization", `Bearer ${token}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => progress(event.loaded / Math.max(1, event.total));
    request.onload = () => {
      if (request.status === 201 || request.status === 200) resolve(request.response);
      else reject(new ApiError(request.status, request.response ?? {}));
    };
    request.onerror = request.ontimeout = () => reject(new ApiError(0));
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(file);
  });
}

/** What the list of sessions calls this device. */
function device() {
  const agent = navigator.userAgent;
  const browser = /Firefox|Edg|OPR|Chrome|Safari/.exec(agent)?.[0] ?? "Browser";
  const system = /Android|iPhone|iPad|Windows|Mac OS|Linux/.exec(agent)?.[0] ?? "unknown system";
  return `${{ Edg: "Edge", OPR: "Opera" }[browser] ?? browser} on ${system}`;
}

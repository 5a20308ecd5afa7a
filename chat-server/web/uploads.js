// Files on their way to a channel, before the message that carries them. A failed network or a server
// that restarts costs a new attempt, not the file.

import { ApiError, MAX_FILE_BYTES } from "./api.js";
import { backoff } from "./socket.js";
import { size } from "./format.js";

export const MAX_FILES = 10;
const MAX_ATTEMPTS = 8;
/** The server takes four at once of one person, who may have two windows. */
const MAX_AT_ONCE = 2;
let uploads = 0;
let running = 0;
const waiting = [];

/** Resolves when it is an upload's turn; `over` gives the turn on. */
async function turn() {
  if (running < MAX_AT_ONCE) running++;
  else await new Promise((resolve) => waiting.push(resolve));
}

function over() {
  const next = waiting.shift();
  if (next) next();
  else running--;
}

/** `{ name, size, progress, state: "uploading" | "done" | "failed", ref, error }`, and how to steer it. */
export class Upload {
  #api;
  #channel;
  #file;
  #changed;
  #abort = new AbortController();

  constructor({ api, channel, file, changed }) {
    this.#api = api;
    this.#channel = channel;
    this.#file = file;
    this.#changed = changed;
    this.key = `upload-${++uploads}`;
    this.name = file.name || "file";
    this.size = file.size;
    this.ref = null;
    this.start();
  }

  /** Begins, or begins again after a failure. */
  async start() {
    Object.assign(this, { state: "uploading", progress: 0, error: "" });
    const { signal } = this.#abort;
    const progress = (share) => {
      this.progress = share;
      this.#changed();
    };
    this.#changed();
    await turn();
    try {
      await this.#send(progress, signal);
    } finally {
      over();
    }
  }

  async #send(progress, signal) {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        this.ref = await this.#api.upload(this.#channel, this.#file, { progress, signal });
        this.state = "done";
        break;
      } catch (error) {
        if (signal.aborted) return;
        const again = !(error instanceof ApiError) || error.retryable || (error.status >= 500 && error.status !== 507);
        if (!again || attempt + 1 >= MAX_ATTEMPTS) {
          this.state = "failed";
          this.error = explain(error);
          break;
        }
        progress(0);
        await new Promise((resolve) => setTimeout(resolve, (error.retryAfterMs ?? 300) + backoff(attempt)));
      }
    }
    if (!signal.aborted) this.#changed();
  }

  cancel() {
    this.#abort.abort();
  }
}

/** Why a file cannot be attached, or `null`. Asked before a byte is sent. */
export function refusal(file, attached) {
  if (attached >= MAX_FILES) return `A message takes at most ${MAX_FILES} files.`;
  if (file.size > MAX_FILE_BYTES) {
    return `“${file.name}” cannot be attached: it is larger than ${size(MAX_FILE_BYTES)}, the most a file may have.`;
  }
  if (file.size === 0) return `“${file.name}” is empty.`;
  return null;
}

function explain(error) {
  if (error.status === 413) return `Larger than ${size(MAX_FILE_BYTES)}`;
  if (error.status === 0) return "No connection";
  return error.message;
}

// Starts, kills and restarts the real server on one data directory and one pair of ports.

import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const BINARY = process.env.CHAT_SERVER_BIN ?? fileURLToPath(new URL("../../target/debug/chat-server", import.meta.url));
const START_MS = 30_000;

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class Server {
  static async create(...options) {
    const server = new Server();
    server.options = options;
    server.dir = await mkdtemp(join(tmpdir(), "folkmoot-web-"));
    server.port = await freePort();
    server.adminPort = await freePort();
    server.url = `http://127.0.0.1:${server.port}`;
    server.log = "";
    await server.start();
    return server;
  }

  async start() {
    const args = ["dev", "--data-dir", this.dir, "--listen", `127.0.0.1:${this.port}`];
    args.push("--admin-listen", `127.0.0.1:${this.adminPort}`, ...this.options);
    this.child = spawn(BINARY, args, { stdio: ["ignore", "pipe", "pipe"] });
    this.exited = new Promise((resolve) => this.child.once("exit", resolve));
    const keep = (bytes) => (this.log = (this.log + bytes).slice(-20_000));
    this.child.stdout.on("data", keep);
    this.child.stderr.on("data", keep);
    const failed = new Promise((_, reject) => {
      this.child.once("error", reject);
      this.exited.then((code) => reject(new Error(`the server ended with ${code}:\n${this.log}`)));
    });
    failed.catch(() => {});
    await Promise.race([this.#ready(), failed]);
  }

  async #ready() {
    const deadline = Date.now() + START_MS;
    while (Date.now() < deadline) {
      const answer = await fetch(`http://127.0.0.1:${this.adminPort}/readyz`).catch(() => null);
      if (answer?.ok) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`the server was not ready within ${START_MS} ms:\n${this.log}`);
  }

  /** `kill -9`: nothing is flushed, nobody is told. */
  async kill() {
    this.child.kill("SIGKILL");
    await this.exited;
  }

  async dispose() {
    await this.kill();
    await rm(this.dir, { recursive: true, force: true });
  }

  /** A request with a person's token, for what a test needs but is not about; again, when it comes too soon after others. */
  async request(method, path, { token, body, headers } = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: {
        ...(body ? { "content-type": "application/json" } : {}),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...headers,
      },
      body: body && JSON.stringify(body),
    });
    const text = await response.text();
    if (response.status === 429) {
      await new Promise((resolve) => setTimeout(resolve, JSON.parse(text).retry_after_ms));
      return this.request(method, path, { token, body, headers });
    }
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  register(handle, password, display_name) {
    return this.request("POST", "/v1/auth/register", { body: { handle, password, display_name } });
  }
}

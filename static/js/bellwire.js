// What every client does: keep tokens fresh, keep offsets, resume, send once.
import { io } from "/vendor/socket.io.esm.min.js";

/** REST with the bearer token, refreshed before it expires. */
export class Api {
  /** @param {Storage} storage where the refresh token survives a reload */
  constructor(storage) {
    this.storage = storage;
    this.user = null;
    this.access = null;
    this.expires = 0;
  }

  restore() {
    return Boolean(this.storage.getItem("refreshToken"));
  }

  forget() {
    this.storage.removeItem("refreshToken");
  }

  /** @param {"login"|"register"|"refresh"} verb */
  async enter(verb, body) {
    const pair = await this.call("POST", `/api/v1/auth/${verb}`, body, null);
    this.user = pair.user;
    this.access = pair.accessToken;
    this.expires = Date.now() + pair.expiresIn * 1000;
    this.storage.setItem("refreshToken", pair.refreshToken);
  }

  async logout() {
    await this.post("/api/v1/auth/logout");
    this.forget();
  }

  /** A token that lives at least another minute; one refresh at a time, for a refresh token works once. */
  async token() {
    if (Date.now() > this.expires - 60_000) {
      this.refreshing ??= this.enter("refresh", { refreshToken: this.storage.getItem("refreshToken") })
        .finally(() => { this.refreshing = null; });
      await this.refreshing;
    }
    return this.access;
  }

  async get(path) { return this.call("GET", path, undefined, await this.token()); }
  async post(path, body) { return this.call("POST", path, body, await this.token()); }

  async call(method, path, body, token) {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    if (token) headers.Authorization = `Bearer ${token}`;
    const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    const answer = await response.json();
    if (!response.ok) throw new Refused(problem(answer), response.status);
    return "isSuccess" in answer ? answer.data : answer;
  }
}

/** The server's own no; anything else that is thrown is the network's. */
export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** What an error answer or ack says, for people. */
export function problem(answer) {
  const details = (answer.details ?? []).map(({ field, message }) => (field ? `${field}: ${message}` : message));
  return details.join("; ") || answer.errors?.[0] || "Something went wrong";
}

/**
 * The live connection. `handlers` are called with the payload of each event, once and in order; `reload` when what was
 * missed can't be replayed, `status` with a line for people, `closed` when the server ended the login.
 */
export class Live {
  constructor(api, handlers) {
    this.handlers = handlers;
    this.offsets = {};
    this.epoch = null;
    // Without an answer the server closes the connection after a while, and the client tries again.
    const auth = (give) => api.token().then((token) => give({
      token, v: 1, client: "web", offsets: this.offsets, epoch: this.epoch ?? undefined,
    })).catch((error) => { if (error instanceof Refused) handlers.closed(); });
    this.socket = io("/chat", { auth });
    this.socket.onAny((name, payload, place) => this.event(name, payload, place));
    this.socket.on("disconnect", () => handlers.status("reconnecting…"));
    this.socket.on("connect_error", (error) => {
      handlers.status(error.message);
      if (this.socket.active) return;
      if (error.message === "token expired") setTimeout(() => this.socket.connect(), 1000);
      else handlers.closed();
    });
    this.api = api;
  }

  event(name, payload, place) {
    if (place) {
      if (place.seq <= (this.offsets[place.channel] ?? 0)) return;
      this.offsets[place.channel] = place.seq;
    } else if (name === "session:ready") {
      this.epoch = payload.epoch;
      const lost = Object.keys(payload.recovered).some((channel) => !payload.recovered[channel]);
      const first = Object.keys(this.offsets).length === 0;
      if (lost) this.offsets = {};
      for (const [channel, head] of Object.entries(payload.heads)) {
        this.offsets[channel] = Math.max(head, this.offsets[channel] ?? 0);
      }
      if (lost || first) this.handlers.reload();
      this.handlers.status("");
      return;
    } else if (name === "channel:reset") {
      this.offsets[payload.channel] = payload.head;
      this.handlers.reload();
      return;
    } else if (name === "session:expiring") {
      this.api.expires = 0;
      this.api.token().then((token) => this.socket.emit("session:refresh", { token }));
      return;
    } else if (name === "session:closed") {
      this.handlers.closed();
      return;
    }
    this.handlers[name]?.(payload);
  }

  /** Send a message; with its `clientMessageId` a retry can't post it twice. */
  async send(message) {
    for (;;) {
      try {
        const answer = await this.socket.timeout(10_000).emitWithAck("message:send", message);
        if (answer.isSuccess) return answer.data;
        if (answer.statusCode !== 503) throw new Error(problem(answer));
      } catch (error) {
        if (error.message !== "operation has timed out") throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
}

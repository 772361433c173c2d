/** The live connection. */
import { io } from "socket.io-client";

import { newKey, pause } from "./keys.js";
import { Refused } from "./refused.js";

const ACK_WITHIN_MS = 10_000;
const RETRY_MS = 1_000;

/**
 * The live connection: every durable event once and in order, over any number of cuts; every message sent once.
 *
 * Messages that wait are kept in the storage: they outlive a reload, and go out under the same key.
 */
export class Live {
  /** @param {import("./api.js").Api} api @param {string} [client] how it names itself to the server */
  constructor(api, client = "web") {
    this.api = api;
    this.user = api.user;
    this.listeners = new Map();
    this.state = "connecting";
    this.epoch = null;
    /** The last seq of each channel that was seen. */
    this.offsets = {};
    /** @type {import("./types.js").Outgoing[]} */
    this.queue = this.#kept();
    this.sending = new Set();
    this.waiting = [];
    /** The streams that are watched, by id: the channel of an open one's chat, or null. @type {Map<string, string|null>} */
    this.watched = new Map();
    // Without an answer the server closes the connection after a while, and the client tries again.
    const auth = (give) => api.token().then(
      (token) => give({ token, v: 1, client, offsets: this.offsets, epoch: this.epoch ?? undefined }),
      (error) => { if (error instanceof Refused && !error.passing) this.#end("logout"); },
    );
    /** @type {import("socket.io-client").Socket} */
    this.socket = io(`${api.url}/chat`, { auth, autoConnect: false, reconnectionDelayMax: 5000 });
    this.socket.onAny((name, payload, place) => this.#arrived(name, payload, place));
    this.socket.on("disconnect", (reason) => this.#lost(reason));
    this.socket.on("connect_error", (error) => this.#failed(error));
  }

  /**
   * @template {keyof import("./types.js").Events} K
   * @param {K} name @param {(payload: import("./types.js").Events[K], place?: {channel: string, seq: number}) => void} listener
   */
  on(name, listener) {
    if (!this.listeners.has(name)) this.listeners.set(name, new Set());
    this.listeners.get(name).add(listener);
    return () => this.listeners.get(name).delete(listener);
  }

  #tell(name, payload, place) {
    for (const listener of this.listeners.get(name) ?? []) listener(payload, place);
  }

  connect() {
    this.socket.connect();
  }

  close() {
    this.socket.disconnect();
  }

  // The connection

  #turn(state) {
    if (this.state === state) return;
    this.state = state;
    this.#tell("state", state);
  }

  #lost(reason) {
    this.#turn("offline");
    // The server says DISCONNECT only at an end, for which it gave the reason before.
    if (reason === "io server disconnect") this.#again();
  }

  #failed(error) {
    this.#turn("offline");
    // A transport that failed: the client tries again by itself.
    if (this.socket.active) return;
    if (error.message === "token expired") this.#again();
    else this.#end(error.message);
  }

  /** Renew the token and connect, however long the network is away; where it is refused, the login is over. */
  async #again() {
    while (!this.ended && !this.socket.active) {
      try {
        await this.api.token(true);
        if (!this.ended) this.socket.connect();
      } catch (error) {
        if (error instanceof Refused && !error.passing) return this.#end("logout");
        await pause(RETRY_MS);
      }
    }
    return undefined;
  }

  #end(reason) {
    this.ended = true;
    this.socket.disconnect();
    this.#tell("closed", { reason });
  }

  #arrived(name, payload, place) {
    if (place) this.#event(name, payload, place);
    else if (name === "session:ready") this.#ready(payload);
    else if (name === "session:expiring") this.#renew();
    else if (name === "session:closed") {
      // The token's end is not the login's.
      if (payload.reason !== "expired") this.#end(payload.reason);
    }
    else if (name === "channel:reset") {
      this.offsets[payload.channel] = payload.head;
      this.#tell("reload", { channels: [payload.channel], first: false });
    } else this.#tell(name, payload);
  }

  #event(name, payload, { channel, seq }) {
    const had = this.offsets[channel];
    if (had !== undefined && seq <= had) return;
    if (had !== undefined && seq > had + 1) {
      // The server does not let this happen. If it does, what is missing comes with a resume.
      this.socket.io.engine.close();
      return;
    }
    this.offsets[channel] = seq;
    // A room is read where it is watched, whoever is a member.
    if (name === "chat:new" && payload.type !== "room") this.offsets[`chat:${payload._id}`] = payload.at;
    const room = name === "chat:removed" && [...this.watched.values()].includes(`chat:${payload.chatId}`);
    if (name === "chat:removed" && !room) delete this.offsets[`chat:${payload.chatId}`];
    this.#tell(name, payload, { channel, seq });
  }

  #ready({ epoch, recovered, heads }) {
    const first = this.epoch === null;
    const lost = Object.keys(recovered).filter((channel) => !recovered[channel]);
    this.epoch = epoch;
    for (const channel of lost) delete this.offsets[channel];
    for (const [channel, head] of Object.entries(heads)) {
      // Joined during the cut: nothing was replayed of what was said there since.
      if (!first && !(channel in recovered) && head > (this.offsets[channel] ?? -1)) lost.push(channel);
    }
    for (const [channel, head] of Object.entries(heads)) this.offsets[channel] = Math.max(head, this.offsets[channel] ?? 0);
    this.#turn("online");
    if (first || lost.length) this.#tell("reload", { channels: lost, first });
    for (const resolve of this.waiting.splice(0)) resolve();
    for (const [streamId, room] of this.watched) if (!room || !recovered[room]) this.#watchAgain(streamId, room);
    this.#flush();
  }

  async #renew() {
    try {
      await this.emit("session:refresh", { token: await this.api.token(true) });
    } catch { /* the connection ends at its time, and the next one takes a new token */ }
  }

  /** Watch a stream, and the chat of an open one, over any number of connections, until `unwatch`. @returns {Promise<import("./types.js").Stream>} */
  async watch(streamId) {
    const answer = await this.emit("stream:watch", { streamId });
    const room = "stream" in answer ? `chat:${answer.chatId}` : null;
    if (room && !this.watched.get(streamId)) this.offsets[room] = Math.max(answer.head, this.offsets[room] ?? 0);
    this.watched.set(streamId, room);
    return room ? answer.stream : answer;
  }

  async #watchAgain(streamId, room) {
    try {
      await this.watch(streamId);
      // What was said during the cut is not replayed.
      if (room) this.#tell("reload", { channels: [room], first: false });
    } catch {
      this.watched.delete(streamId);
    }
  }

  unwatch(streamId) {
    const room = this.watched.get(streamId);
    if (room) delete this.offsets[room];
    if (this.watched.delete(streamId)) this.hint("stream:unwatch", { streamId });
  }

  /** Resolves when the connection stands. */
  online() {
    return this.state === "online" ? Promise.resolve() : new Promise((resolve) => { this.waiting.push(resolve); });
  }

  /**
   * Emit an event and wait for its ack.
   * @returns {Promise<any>} the `data` of the ack
   * @throws {Refused} and, like fetch, TypeError when no ack came in time
   */
  async emit(name, payload) {
    const answer = await this.socket.timeout(ACK_WITHIN_MS).emitWithAck(name, payload)
      .catch(() => { throw new TypeError("No answer came"); });
    if (!answer.isSuccess) throw new Refused(answer, answer.statusCode);
    return answer.data;
  }

  /** What may get lost: typing, app:state. Nothing while offline. */
  hint(name, payload) {
    if (this.state === "online") this.socket.volatile.emit(name, payload);
  }

  // Sending

  #place(key = "") {
    return `bellwire.queue.${this.user?.id}.${key}`;
  }

  /** What earlier pages left, and other tabs wait with, too: sent twice, it is posted once. */
  #kept() {
    const { storage } = this.api;
    const keys = Array.from({ length: storage.length }, (_, index) => storage.key(index));
    const kept = keys.filter((key) => key.startsWith(this.#place())).map((key) => JSON.parse(storage.getItem(key)));
    return kept.sort((one, other) => one.at - other.at).map(({ message }) => message);
  }

  /**
   * Send a message, as soon as there is a connection, once, after those of the same chat that wait already.
   * @param {import("./types.js").Outgoing} message
   * @returns {import("./types.js").Outgoing} as it waits; `sent` or `refused` follows, with the same `clientMessageId`
   */
  send(message) {
    const waiting = { ...message, clientMessageId: message.clientMessageId ?? newKey() };
    this.queue.push(waiting);
    this.api.storage.setItem(this.#place(waiting.clientMessageId), JSON.stringify({ at: Date.now(), message: waiting }));
    this.#tell("queued", waiting);
    this.#flush();
    return waiting;
  }

  #flush() {
    for (const chat of new Set(this.queue.map(chatOf))) {
      if (this.sending.has(chat)) continue;
      this.sending.add(chat);
      this.#work(chat);
    }
  }

  async #work(chat) {
    for (let next; (next = this.queue.find((each) => chatOf(each) === chat));) {
      await this.online();
      try {
        this.#settle(next, "sent", await this.emit("message:send", next));
      } catch (error) {
        if (error instanceof Refused && !error.passing) this.#settle(next, "refused", { message: next, error });
        else await pause(RETRY_MS);
      }
    }
    this.sending.delete(chat);
  }

  #settle(message, name, payload) {
    this.queue.splice(this.queue.indexOf(message), 1);
    this.api.storage.removeItem(this.#place(message.clientMessageId));
    this.#tell(name, payload, message);
  }
}

const chatOf = (message) => message.chatId ?? message.targetUserId;

/**
 * The client library of these pages, and a model for any other: keep tokens fresh, keep offsets, resume, see gaps, send once.
 *
 * `docs/clients.md` explains each part, and shows the same in Swift and Kotlin.
 *
 * @module bellwire
 */
import { io } from "socket.io-client";

/**
 * @typedef {object} User
 * @property {string} id
 * @property {string} name
 * @property {string|null} avatarUrl
 * @property {string[]} [permissions] of the logged-in user alone
 * @property {string|null} [email] of the logged-in user alone
 *
 * @typedef {object} Member
 * @property {string} userId
 * @property {string} name
 * @property {"owner"|"admin"|"moderator"|"member"|"readonly"} role
 * @property {number} readSeq up to where this member has read
 * @property {number} joinedSeq
 *
 * @typedef {object} Media
 * @property {string} id
 * @property {"image"|"video"|"audio"|"file"} type by its content
 * @property {string} name
 * @property {number} size bytes
 * @property {number|null} duration seconds
 * @property {number|null} width
 * @property {number|null} height
 * @property {string|null} thumbnail_url
 *
 * @typedef {object} Reaction
 * @property {string} key an emoji, or a name such as :heart:
 * @property {number} count
 * @property {string[]} userIds some of those who reacted so, at most 20
 *
 * @typedef {object} Thread the summary of a thread, of the replies that are not deleted
 * @property {number} replyCount
 * @property {number} lastSeq 0 without a reply
 * @property {string|null} lastAt
 * @property {string[]} participants who replied first, at most 5
 *
 * @typedef {object} Message
 * @property {string} _id
 * @property {string} chatId
 * @property {string} senderId
 * @property {"text"|"media"|"creditTransfer"} type
 * @property {string|null} content
 * @property {Media|null} media
 * @property {{amount: number, recipientId: string, senderId: string, reversal?: true}|null} creditTransfer
 * @property {number} seq its place in the chat: messages sort by it
 * @property {string} createdAt
 * @property {string} updatedAt
 * @property {Reaction[]} [reactions] where there are some; not in `message:new` and `message:updated`
 * @property {string[]} [mine] keys of one's own reactions, as the page keeps them
 * @property {string[]} [mentions] ids of members
 * @property {true} [mentionAll]
 * @property {true} [forwarded] it is a copy of another message
 * @property {string} [threadId] of a reply: the message that began its thread
 * @property {true} [alsoInChat] of a reply that the chat shows, too
 * @property {Thread} [thread] of a message with replies; not in events of it
 * @property {string} [deletedAt]
 *
 * @typedef {object} Chat
 * @property {string} _id
 * @property {"direct"|"group"|"room"} type anybody reads a room
 * @property {string|null} name
 * @property {Member[]} members at most 100
 * @property {number} memberCount
 * @property {string} [role] one's own in a room; "viewer" without a membership
 * @property {Message|null} lastMessage
 * @property {number} unreadCount
 * @property {number} [mentionCount] unread messages that mention the user, where there are any
 * @property {string|null} mutedUntil
 * @property {"none"} [muteLevel] mentions are not pushed either
 * @property {string|null} [silencedUntil] until when the user may not write; null for no end
 * @property {number} [slowMode] seconds between two messages of a member
 * @property {boolean} [frozen] only moderators may write
 * @property {"all"|"moderators"} [links] who may post links
 * @property {"all"|"members"|"none"} [reactions] who may react
 * @property {number} seq that of the last event of the chat that this document contains
 * @property {string} createdAt
 * @property {string} updatedAt
 *
 * @typedef {object} Notification
 * @property {string} id
 * @property {string} type
 * @property {string} category
 * @property {string} title
 * @property {string} message
 * @property {string|null} actionUrl
 * @property {boolean} read
 * @property {string} createdAt
 *
 * @typedef {object} Stream
 * @property {string} id
 * @property {string} title
 * @property {"scheduled"|"ready"|"started"|"ended"|"cancelled"|"expired"} status
 * @property {string} startsAt
 * @property {string} ownerId
 * @property {string} chatId
 * @property {"open"} [audience] anybody watches it
 * @property {number} [viewers] of an open one
 * @property {number} [peak] how many there were at most
 *
 * @typedef {object} Outgoing what `Live.send` takes
 * @property {"text"|"media"|"creditTransfer"} type
 * @property {string} [chatId]
 * @property {string} [targetUserId]
 * @property {string} [content]
 * @property {string} [forwardOf] it is a copy of this message
 * @property {string[]} [mentions] ids of members, at most 50
 * @property {boolean} [mentionAll]
 * @property {string} [threadId] it is a reply in the thread of this message
 * @property {boolean} [alsoInChat] the chat shows the reply, too
 * @property {string} [file] the id of an upload
 * @property {{amount: number}} [creditTransfer]
 * @property {string} [clientMessageId] the key under which it is sent at most once; made here if absent
 */

/**
 * What a `Live` tells of, and what each listener is given. The durable ones come once, in order, with `{channel, seq}`.
 *
 * @typedef {object} Events
 * @property {Message} message:new
 * @property {Message} message:updated
 * @property {Message} message:deleted
 * @property {{chatId: string, userId: string, messageId: string, readSeq: number}} message:read
 * @property {{chatId: string, items: {messageId: string, reactions: Reaction[]}[]}} message:reactions whole states
 * @property {{chatId: string, threadId: string, thread: Thread}} message:thread
 * @property {{chatId: string, threadId: string, readSeq: number}} thread:read on another device, too
 * @property {Chat & {at: number}} chat:new
 * @property {{chatId: string, changes: object, added: string[], removed: string[]}} chat:updated
 * @property {{chatId: string}} chat:removed
 * @property {Notification} notification:new
 * @property {{ids?: string[], all?: true, before?: string}} notification:read
 * @property {Notification} notification:deleted
 * @property {{balance: number, transactionId: string}} credit:balance
 * @property {Stream} stream:status
 * @property {{streamId: string, viewers: number, peak: number}} stream:viewers of a stream that is watched
 * @property {{streamId: string, counts: {[key: string]: number}}} stream:reactions since the ones before
 * @property {{chatId: string, until: string|null}} member:silenced one may not write until then
 * @property {{chatId: string, userId: string}} typing gone after six seconds
 * @property {{userId: string, online: boolean, lastSeenAt: string|null}} presence
 * @property {"connecting"|"online"|"offline"} state
 * @property {{channels: string[], first: boolean}} reload what was missed can't be replayed: read it over REST
 * @property {{reason: "logout"|"banned"|"deleted"|string}} closed the login is over
 * @property {Outgoing} queued a message waits to be sent
 * @property {Message} sent it was, and this is how it is kept
 * @property {{message: Outgoing, error: Refused}} refused it never will be
 */

const ACK_WITHIN = 10_000;
const AGAIN_AFTER = 1_000;
const REFRESH_BEFORE = 60_000;
const LEASE = 10_000;
const SEEN_AFTER = 200;

/** The server's own no. Anything else that is thrown is the network's, and may be tried again. */
export class Refused extends Error {
  /** @param {object} answer an error in the envelope @param {number} status @param {string} [code] that of X-Error-Code */
  constructor(answer, status, code) {
    const details = (answer?.details ?? []).map(({ field, message }) => (field ? `${field}: ${message}` : message));
    super(details.join("; ") || answer?.errors?.[0] || `HTTP ${status}`);
    this.status = status;
    /** Names the reason, where the answer has one: `silenced`, `frozen`, `links`, `slow_mode` … */
    this.code = code || answer?.code || answer?.details?.[0]?.code;
    /** In how many seconds a message may be sent in a chat in slow mode. */
    this.retryAfter = answer?.details?.[0]?.retryAfter;
  }

  /** Whether the same may work in a moment. */
  get passing() {
    return this.status === 503 || (this.status === 429 && this.code !== "slow_mode");
  }
}

/** A random key for what must happen at most once. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

/** Run `work` in one tab at a time. */
async function alone(storage, work) {
  if (navigator.locks) return navigator.locks.request("bellwire.login", work);
  // Pages without TLS have no locks. A lease in the storage is as good but for the moment in which two look at once.
  while (Date.now() - Number(storage.getItem("bellwire.lease") ?? 0) < LEASE) await pause(50 + 100 * Math.random());
  storage.setItem("bellwire.lease", String(Date.now()));
  try {
    return await work();
  } finally {
    storage.removeItem("bellwire.lease");
  }
}

/** REST with a bearer token that is renewed in time. All tabs share one login. */
export class Api {
  /** @param {Storage} storage where the login survives a reload */
  constructor(storage) {
    this.storage = storage;
  }

  get login() {
    return JSON.parse(this.storage.getItem("bellwire.login") ?? "null");
  }

  set login(value) {
    if (value) this.storage.setItem("bellwire.login", JSON.stringify(value));
    else this.storage.removeItem("bellwire.login");
  }

  /** @returns {User|null} who is logged in */
  get user() {
    return this.login?.user ?? null;
  }

  /**
   * @param {"login"|"register"} verb
   * @param {{email: string, password: string, name?: string}} body
   */
  async enter(verb, body) {
    // Shows that this device has logged in to the account before, while many others try passwords on it.
    const place = `bellwire.device.${body.email.toLowerCase()}`;
    const deviceToken = this.storage.getItem(place);
    const answer = await this.call("POST", `/api/v1/auth/${verb}`, { body: { ...body, deviceToken }, token: null });
    this.storage.setItem(place, answer.deviceToken);
    this.login = Api.#pair(answer);
  }

  async logout() {
    await this.post("/api/v1/auth/logout");
  }

  static #pair({ user, accessToken, refreshToken, expiresIn }) {
    return { user, access: accessToken, refresh: refreshToken, expires: Date.now() + expiresIn * 1000 };
  }

  /**
   * A token that lives at least another minute.
   *
   * A refresh token works once, and one used twice ends the login: one refresh at a time, over all tabs.
   * @param {boolean} [renewed] whatever its age
   */
  async token(renewed = false) {
    const had = this.login;
    if (!had) throw new Refused({ errors: ["Authentication required"] }, 401);
    const enough = (login) => login.expires - Date.now() > REFRESH_BEFORE && !(renewed && login.access === had.access);
    if (enough(had)) return had.access;
    const refresh = async () => {
      // What another tab has just written takes a moment to be seen here.
      await pause(SEEN_AFTER);
      const login = this.login;
      if (!login || enough(login)) return;
      const body = { refreshToken: login.refresh };
      const pair = Api.#pair(await this.call("POST", "/api/v1/auth/refresh", { body, token: null }));
      // Somebody else may have logged in meanwhile.
      if (this.login?.refresh === login.refresh) this.login = pair;
    };
    this.refreshing ??= alone(this.storage, refresh).finally(() => { this.refreshing = null; });
    try {
      await this.refreshing;
    } catch (error) {
      // The network failed, and the token is good for a moment still.
      if (renewed || (error instanceof Refused && !error.passing) || had.expires < Date.now()) throw error;
    }
    return this.login?.access ?? this.token();
  }

  get(path) { return this.call("GET", path); }
  post(path, body, key) { return this.call("POST", path, { body, key }); }
  put(path, body) { return this.call("PUT", path, { body }); }
  patch(path, body) { return this.call("PATCH", path, { body }); }
  delete(path) { return this.call("DELETE", path); }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{body?: object, key?: string, token?: string|null}} [options] `key`: of what must happen once; `token`: null for none
   * @returns {Promise<any>} the document, taken out of the envelope
   * @throws {Refused}
   */
  async call(method, path, { body, key, token } = {}) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (key) headers["Idempotency-Key"] = key;
    if (token !== null) headers.Authorization = `Bearer ${token ?? (await this.token())}`;
    const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    return Api.#read(response.status, await response.text(), response.headers.get("X-Error-Code"));
  }

  static #read(status, text, code = undefined) {
    let answer = null;
    try { answer = JSON.parse(text); } catch { /* a proxy's page */ }
    if (status >= 400 || answer === null) throw new Refused(answer, status, code);
    return "isSuccess" in answer ? answer.data : answer;
  }

  /**
   * Upload a file, to be sent by its id.
   * @param {File|Blob} file
   * @param {(part: number) => void} progress from 0 to 1
   * @param {AbortSignal} [signal]
   * @returns {Promise<{id: string, media: Media}>}
   */
  async upload(file, progress, signal) {
    const form = new FormData();
    form.append("file", file, "name" in file ? file.name : "file");
    const token = await this.token();
    signal?.throwIfAborted();
    // fetch tells nothing of how far an upload is.
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", "/api/v2/media");
      request.setRequestHeader("Authorization", `Bearer ${token}`);
      request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 0);
      request.onload = () => {
        try { resolve(Api.#read(request.status, request.responseText)); } catch (error) { reject(error); }
      };
      request.onerror = () => reject(new TypeError("The network failed"));
      request.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
      signal?.addEventListener("abort", () => request.abort());
      request.send(form);
    });
  }

  /** The bytes of one's own kind of URL: a picture, a thumbnail. */
  async blob(url) {
    const response = await fetch(new URL(url, location.href).pathname, {
      headers: { Authorization: `Bearer ${await this.token()}` },
    });
    if (!response.ok) throw new Refused(null, response.status);
    return response.blob();
  }
}

/**
 * The live connection: every durable event once and in order, over any number of cuts; every message sent once.
 *
 * Messages that wait are kept in the storage: they outlive a reload, and go out under the same key.
 */
export class Live {
  /** @param {Api} api @param {string} [client] how it names itself to the server */
  constructor(api, client = "web") {
    this.api = api;
    this.user = api.user;
    this.listeners = new Map();
    this.state = "connecting";
    this.epoch = null;
    /** The last seq of each channel that was seen. */
    this.offsets = {};
    /** @type {Outgoing[]} */
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
    this.socket = io("/chat", { auth, autoConnect: false, reconnectionDelayMax: 5000 });
    this.socket.onAny((name, payload, place) => this.#arrived(name, payload, place));
    this.socket.on("disconnect", (reason) => this.#lost(reason));
    this.socket.on("connect_error", (error) => this.#failed(error));
  }

  /**
   * @template {keyof Events} K
   * @param {K} name @param {(payload: Events[K], place?: {channel: string, seq: number}) => void} listener
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
        await pause(AGAIN_AFTER);
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

  /** Hear of a stream, and of an open one's chat, over any number of connections, until `unwatch`. @returns {Promise<Stream>} */
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
    const answer = await this.socket.timeout(ACK_WITHIN).emitWithAck(name, payload)
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
   * @param {Outgoing} message
   * @returns {Outgoing} as it waits; `sent` or `refused` follows, with the same `clientMessageId`
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
        else await pause(AGAIN_AFTER);
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

/** What the page knows, and what can be done: the views draw `state`, and call what is here. */
import { Api, Live, newKey, Refused } from "./bellwire.js";
import { jumpTo, load } from "./history.js";
import { notice, say } from "./notice.js";
import { readBy, readNewest } from "./receipts.js";
import { isMine, reacted, silenced, viewersChanged, watchRoom } from "./room.js";
import { t } from "./texts.js";
import { putReply, reactInThreads, reopenThreads } from "./threads.js";
import { Timeline } from "./timeline.js";
import { stopTyping, typed } from "./typing.js";

const PRESENCE_MOST = 500;
const PICTURES_KEPT = 300;
const AGAIN_AFTER = 2_000;

export const api = new Api(localStorage);

/** @type {Live} */
export let live;

export const state = {
  connection: "connecting",
  chats: new Map(),
  moreChats: null,
  open: null,
  timelines: new Map(),
  people: new Map(),
  /** Grows when the name of an unknown user becomes known. */
  names: 0,
  typing: new Map(),
  uploads: [],
  refused: [],
  notifications: { items: [], unread: 0, cursor: null },
  credits: { balance: null, items: null, cursor: null },
  streams: { items: null, cursor: null },
  /** The chats of the streams that one watches, by the streams' ids. */
  watching: new Map(),
  /** When the user posted last in each chat, in milliseconds, as far as it was seen. */
  posted: new Map(),
  /** The number of bans made in this page; when it changes, the list of bans is loaded again. */
  banned: 0,
  /** A message to be shown among its neighbours: `{chatId, messageId, shown, root}`; of a reply `shown` is the root of its thread. */
  jump: null,
};

let draw = () => {};
let drawing = false;

/** Call `listener` when the state has changed, once a frame. */
export function onChange(listener) {
  draw = listener;
}

export function changed() {
  if (drawing) return;
  drawing = true;
  const run = () => { drawing = false; draw(); };
  if (document.hidden) setTimeout(run); else requestAnimationFrame(run);
}

/** Run `work`; what goes wrong is shown. */
export async function trying(work) {
  try {
    return await work();
  } catch (error) {
    say(error instanceof Refused ? why(error) : error instanceof TypeError ? t("networkFailed") : t("somethingFailed", { why: error.message }));
    return undefined;
  }
}

const REASONS = {
  banned: "bannedHere", silenced: "silenced", frozen: "frozen", links: "linksRefused", slow_mode: "slowModeRefused", listed_word: "wordRefused",
};

/** Why something was refused, in the reader's language where the server names a reason. */
const why = (error) => (Object.hasOwn(REASONS, error.code) ? t(REASONS[error.code]) : error.message);

notice.shown = changed;

const busy = new Set();

/** Like `trying`, but not while the same is under way. */
export async function once(name, work) {
  if (busy.has(name)) return;
  busy.add(name);
  await trying(work);
  busy.delete(name);
}

// Coming and going

export const me = () => api.user?.id;

export async function enter(verb, body) {
  await api.enter(verb, body);
  start();
  changed();
}

export function start() {
  live = new Live(api);
  live.on("state", connected);
  live.on("closed", ({ reason }) => leave(t({ banned: "banned", deleted: "accountDeleted" }[reason] ?? "loginEnded")));
  live.on("reload", reload);
  const events = {
    "message:new": arrived, "message:updated": put, "message:deleted": put, "message:read": readBy,
    "message:reactions": reactionsChanged, "message:thread": threadChanged, "thread:read": recount,
    "chat:new": keep, "chat:updated": updated, "chat:removed": left,
    "notification:new": notified, "notification:read": notificationsRead, "notification:deleted": notificationGone,
    "credit:balance": balanceChanged, "stream:status": keepStream, "member:silenced": silenced,
  };
  for (const [name, handle] of Object.entries(events)) {
    live.on(/** @type {any} */ (name), (payload, place) => whenLoaded(() => { handle(payload); heard(place); }));
  }
  live.on("typing", typed);
  live.on(/** @type {any} */ ("stream:viewers"), viewersChanged);
  live.on(/** @type {any} */ ("stream:reactions"), reacted);
  live.on("presence", ({ userId, online, lastSeenAt }) => know(userId, { online, lastSeenAt }));
  live.on("queued", changed);
  live.on("sent", (message) => { state.posted.set(message.chatId, Date.now()); put(message); });
  live.on("refused", ({ message, error }) => {
    const { slowMode } = state.chats.get(message.chatId) ?? {};
    if (slowMode && error.retryAfter) state.posted.set(message.chatId, Date.now() + (error.retryAfter - slowMode) * 1000);
    state.refused.push({ message, why: why(error) });
    changed();
  });
  live.connect();
}

/** What a new connection does not know of the one before it. */
function connected(connection) {
  state.connection = connection;
  changed();
  if (connection !== "online") return;
  tellActive();
  watch();
  if (state.open) show(state.open);
}

/** Whether anybody looks at this page: who does not is told on their phone. */
export function tellActive() {
  if (state.connection === "online") live.emit("app:state", { active: !document.hidden }).catch(() => {});
}

/** Forget who was here, in every tab. */
export function leave(why = "") {
  // Somebody else may have logged in meanwhile, in another tab.
  if (me() === live.user.id) api.login = null;
  sessionStorage.setItem("bellwire.ended", why);
  location.hash = "";
  location.reload();
}

export async function logOut() {
  live.close();
  await api.logout().catch(() => {});
  for (const key of Object.keys(localStorage)) {
    if (key.startsWith("bellwire.") && key.includes(me())) localStorage.removeItem(key);
  }
  leave();
}

// While all is read over REST, events wait: what was read may be older than they are.
let loading = 0;
const held = [];

function whenLoaded(work) {
  if (loading) held.push(work); else work();
}

async function reload({ channels, first }) {
  loading += 1;
  if (!first) {
    // What was missed can't be told any more: everything that was loaded may be old.
    for (const id of [...state.timelines.keys()]) if (channels.includes(`chat:${id}`)) state.timelines.delete(id);
  }
  while (!(await trying(readAll))) await new Promise((resolve) => { setTimeout(resolve, AGAIN_AFTER); });
  loading -= 1;
  if (!loading) for (const work of held.splice(0)) work();
  changed();
  watch();
}

async function readAll() {
  const [chats, unread, recent, balance] = await Promise.all([
    api.get("/api/v2/chats?limit=100"), api.get("/api/v1/notifications/unread-count"),
    api.get("/api/v1/notifications?limit=30"), api.get("/api/v1/credits"),
  ]);
  state.chats = new Map(chats.items.map((chat) => [chat._id, chat]));
  state.moreChats = chats.nextCursor;
  state.notifications = { items: recent.items, unread: unread.count, cursor: recent.nextCursor };
  state.credits.balance = balance.balance;
  for (const chat of chats.items) meet(chat.members);
  if (state.open) await open(state.open);
  await reopenThreads();
  return true;
}

export async function renameMe(name) {
  const user = await api.patch("/api/v1/users/me", { name });
  api.login = { ...api.login, user: { ...api.user, ...user } };
  changed();
}

// People

function know(id, facts) {
  const known = state.people.get(id);
  if (facts.name !== undefined && known?.name !== facts.name) state.names += 1;
  state.people.set(id, { ...known, ...facts });
  changed();
}

function meet(members) {
  for (const { userId, name } of members) know(userId, { name });
}

export const nameOf = (id) => (id === me() ? t("you") : state.people.get(id)?.name ?? t("unknownUser"));

/** The other one of a direct chat. */
export const otherOf = (chat) => (chat.type === "direct" ? chat.members.find((each) => each.userId !== me()) : undefined);

export const titleOf = (chat) => chat.name ?? otherOf(chat)?.name ?? t("unknownUser");

/** Hear who comes and goes of those whom one chats with. */
async function watch() {
  if (state.connection !== "online") return;
  const others = [...state.chats.values()].map((chat) => otherOf(chat)?.userId).filter(Boolean);
  const userIds = [...new Set(others)].slice(0, PRESENCE_MOST);
  if (!userIds.length) return;
  try {
    for (const { userId, ...facts } of (await live.emit("presence:watch", { userIds })).items) know(userId, facts);
  } catch { /* asked again when the connection is back */ }
}

/** @returns {Promise<import("./bellwire.js").User[]>} */
export async function find(query) {
  const { items } = await api.get(`/api/v1/users?query=${encodeURIComponent(query)}`);
  return items.filter((user) => user.id !== me());
}

/** Those who wrote, and of whom the chat's document tells nothing: it names a hundred members. */
export async function introduce(messages) {
  const strangers = new Set(messages.map((each) => each.senderId).filter((id) => id !== me() && !state.people.has(id)));
  if (!strangers.size) return;
  for (const id of strangers) state.people.set(id, {});
  const { items } = await api.get(`/api/v1/users?ids=${[...strangers].join(",")}`);
  for (const { id, name } of items) know(id, { name });
}

// Chats

/** A chat as the server shows it; of what was heard of it, what is newer stays. */
function keep(chat) {
  const known = state.chats.get(chat._id);
  meet(chat.members);
  if (known && known.seq > chat.seq) {
    const { lastMessage, unreadCount, seq } = known;
    const others = chat.members.filter((each) => !known.members.some(({ userId }) => userId === each.userId));
    state.chats.set(chat._id, { ...chat, lastMessage, unreadCount, seq, members: [...known.members, ...others] });
  } else {
    state.chats.set(chat._id, chat);
  }
  changed();
  if (otherOf(chat) && state.people.get(otherOf(chat).userId)?.online === undefined) watch();
}

/** Up to where a chat was heard of: a document that is older is known as such. */
function heard({ channel, seq }) {
  const chat = channel.startsWith("chat:") && state.chats.get(channel.slice(5));
  if (chat && seq > chat.seq) state.chats.set(chat._id, { ...chat, seq });
}

function left({ chatId }) {
  const chat = state.chats.get(chatId);
  // Who leaves a room goes on watching it.
  if (chat?.type === "room" && [...state.watching.values()].includes(chatId)) change(chatId, { role: "viewer" });
  else forget({ chatId });
}

function forget({ chatId }) {
  state.chats.delete(chatId);
  state.timelines.delete(chatId);
  changed();
}

export const change = (id, values) => {
  const chat = state.chats.get(id);
  if (chat) state.chats.set(id, { ...chat, ...values });
  changed();
};

function updated({ chatId, changes, added, removed }) {
  const chat = state.chats.get(chatId);
  if (!chat) return;
  if (chat.type === "room" && removed.includes(me())) {
    forget({ chatId });
    say(t("putOut"));
    return;
  }
  const { members: roles = [], ...facts } = changes;
  // Slow mode counts from the next message on.
  if (facts.slowMode) state.posted.delete(chatId);
  const roleOf = ({ userId, role }) => roles.find((each) => each.userId === userId)?.role ?? role;
  const members = chat.members.filter((each) => !removed.includes(each.userId)).map((each) => ({ ...each, role: roleOf(each) }));
  change(chatId, { ...facts, members, memberCount: chat.memberCount + added.length - removed.length });
  // Who they are, only the chat's document tells.
  if (added.length && chat.type !== "room") trying(async () => keep(await api.get(`/api/v2/chats/${chatId}`)));
}

/** Load chats that are not among those that were loaded, for their titles. */
export const introduceChats = (ids) =>
  Promise.all([...new Set(ids)].filter((id) => !state.chats.has(id)).map(async (id) => keep(await api.get(`/api/v2/chats/${id}`))));

export async function moreChats() {
  const { items, nextCursor } = await api.get(`/api/v2/chats?limit=100&cursor=${encodeURIComponent(state.moreChats)}`);
  for (const chat of items) if (!state.chats.has(chat._id)) keep(chat);
  state.moreChats = nextCursor;
  changed();
}

export async function chatWith(userId) {
  const chat = await api.post("/api/v2/chats", { type: "direct", memberIds: [userId] });
  keep(chat);
  return chat._id;
}

export async function newGroup(name, memberIds) {
  const chat = await api.post("/api/v2/chats", { type: "group", name, memberIds });
  keep(chat);
  return chat._id;
}

export const patchChat = async (id, changes) => {
  keep(await api.patch(`/api/v2/chats/${id}`, changes));
  return true;
};
export const rename = (id, name) => patchChat(id, { name });
export const setRole = async (chat, userId, role) => {
  await api.patch(`/api/v2/chats/${chat._id}/members/${userId}`, { role });
  const { members } = state.chats.get(chat._id) ?? chat;
  change(chat._id, { members: members.map((each) => (each.userId === userId ? { ...each, role } : each)) });
};
export const addMember = async (id, userId) => keep(await api.post(`/api/v2/chats/${id}/members`, { userIds: [userId] }));
export const removeMember = async (id, userId) => keep(await api.delete(`/api/v2/chats/${id}/members/${userId}`));
export const leaveChat = (id) => api.post(`/api/v2/chats/${id}/leave`);

export async function mute(id, muted) {
  keep(await api.post(`/api/v2/chats/${id}/mute`, { until: muted ? "2100-01-01T00:00:00Z" : null }));
}

/**
 * Show a chat: load its newest messages, unless they are here, or those around a message. What fails is tried again when the
 * connection is back. `chosen`: by the user, who after a jump to older messages wants the newest again.
 */
export async function show(id, { messageId = undefined, chosen = false } = {}) {
  state.open = id;
  if (chosen && !messageId && state.timelines.get(id)?.after) state.timelines.delete(id);
  for (const [streamId, chatId] of state.watching) if (chatId !== id) unwatchStream(streamId);
  changed();
  if (id) await once(`open ${id}`, () => open(id));
  if (id && messageId && state.open === id) await trying(() => jumpTo(id, messageId));
  readNewest();
}

async function open(id) {
  if (!state.chats.has(id)) keep(await api.get(`/api/v2/chats/${id}`));
  if (state.chats.get(id).type === "room") await watchRoom(state.chats.get(id));
  if (state.timelines.get(id)?.before === undefined) await load(id);
}

// Messages

/** A reply that only its thread shows. */
export const isApart = (message) => Boolean(message.threadId) && !message.alsoInChat;

function put(message) {
  if (message.threadId) putReply(message);
  if (isApart(message)) {
    changed();
    return;
  }
  state.timelines.get(message.chatId)?.put(message);
  const chat = state.chats.get(message.chatId);
  if (chat && message.seq >= (chat.lastMessage?.seq ?? 0)) {
    state.chats.set(chat._id, { ...chat, lastMessage: message, updatedAt: message.createdAt });
  }
  changed();
}

function arrived(message) {
  stopTyping(message.chatId, message.senderId);
  put(message);
  trying(() => introduce([message]));
  const chat = state.chats.get(message.chatId);
  if (!chat) {
    // One of those that were not loaded, for they are many.
    trying(async () => keep(await api.get(`/api/v2/chats/${message.chatId}`)));
  } else if (isApart(message)) {
    if (message.senderId !== me()) recount(message);
  } else if (message.seq > chat.seq) {
    // What the chat's document counts already is not counted again.
    const counts = message.senderId !== me() && isMine(chat);
    change(chat._id, { seq: message.seq, unreadCount: chat.unreadCount + (counts ? 1 : 0) });
    readNewest();
    // Presence is shown to those whom one has written to: it may have been the first message.
    if (otherOf(chat)?.userId === message.senderId && !state.people.get(message.senderId)?.online) watch();
  }
}

/** Replies count as unread where one follows their threads, which the server knows. */
const recount = ({ chatId }) => once(`count ${chatId}`, async () => {
  const { unreadCount, seq } = await api.get(`/api/v2/chats/${chatId}`);
  if (seq >= (state.chats.get(chatId)?.seq ?? seq)) change(chatId, { unreadCount });
});

function threadChanged({ chatId, threadId, thread }) {
  state.timelines.get(chatId)?.summarize(threadId, thread);
  changed();
}

function reactionsChanged({ chatId, items }) {
  for (const { messageId, reactions } of items) {
    state.timelines.get(chatId)?.react(messageId, reactions, me());
    reactInThreads(messageId, reactions, me());
  }
  changed();
}

/** Add one's own reaction, or take it back. */
export async function react(message, key) {
  const path = `/api/v2/messages/${message._id}/reactions/${encodeURIComponent(key)}`;
  const answer = await (message.mine?.includes(key) ? api.delete(path) : api.put(path));
  state.timelines.get(message.chatId)?.react(message._id, answer.reactions, me(), answer.mine);
  reactInThreads(message._id, answer.reactions, me(), answer.mine);
  changed();
}

export const sendText = (chatId, content, replyTo) => live.send({ type: "text", chatId, content, ...(replyTo && { replyTo }) });
export const edit = async (id, content) => put(await api.patch(`/api/v2/messages/${id}`, { content }));
export const remove = async (id) => put(await api.delete(`/api/v2/messages/${id}`));
export const report = (id, reason) => api.post(`/api/v2/messages/${id}/report`, { reason });

/** What waits to be sent in a chat. */
export const waitingIn = (id) => live.queue.filter((each) => each.chatId === id);

export function sendAgain(message) {
  discard(message);
  live.send(message);
}

export function discard(message) {
  state.refused = state.refused.filter((each) => each.message !== message);
  changed();
}

// Files

/** Upload a file, then send it; while the network is away it is tried again. */
export async function sendFile(chatId, file) {
  const upload = { key: newKey(), chatId, name: file.name, part: 0, cancel: new AbortController() };
  state.uploads.push(upload);
  changed();
  for (let again = true; again;) {
    again = false;
    try {
      const { id } = await api.upload(file, (part) => { upload.part = part; changed(); }, upload.cancel.signal);
      live.send({ type: "media", chatId, file: id, clientMessageId: upload.key });
    } catch (error) {
      if (error.name === "AbortError") break;
      if (error instanceof Refused && !error.passing) say(t("notSent", { why: why(error) }));
      else again = await later(upload);
    }
  }
  state.uploads = state.uploads.filter((each) => each !== upload);
  changed();
}

async function later(upload) {
  upload.part = 0;
  await Promise.race([live.online(), cancelled(upload.cancel.signal)]);
  if (!upload.cancel.signal.aborted) await new Promise((resolve) => { setTimeout(resolve, AGAIN_AFTER); });
  return !upload.cancel.signal.aborted;
}

const cancelled = (signal) => new Promise((resolve) => { signal.addEventListener("abort", resolve); });

const pictures = new Map();

/** An object URL of a picture that only its chat's members may see. */
export function picture(url) {
  if (pictures.size >= PICTURES_KEPT) {
    const [oldest, source] = pictures.entries().next().value;
    pictures.delete(oldest);
    source.then((made) => made && URL.revokeObjectURL(made));
  }
  if (!pictures.has(url)) {
    pictures.set(url, api.blob(url).then((blob) => URL.createObjectURL(blob), () => { pictures.delete(url); return null; }));
  }
  return pictures.get(url);
}

/** A URL of a file that needs no token, for ten minutes; on this page's own host, whatever the server is called. */
export async function linkTo(id) {
  const { pathname, search } = new URL((await api.post(`/api/v2/media/${id}/link`)).url);
  return pathname + search;
}

// Notifications

function notified(item) {
  if (state.notifications.items.some((each) => each.id === item.id)) return;
  state.notifications.items = [item, ...state.notifications.items];
  state.notifications.unread += 1;
  say(item.title);
}

function notificationGone({ id }) {
  state.notifications.items = state.notifications.items.filter((each) => each.id !== id);
  countNotifications();
}

/** How many are unread of all, not only of those that were loaded. */
async function countNotifications() {
  changed();
  await trying(async () => { state.notifications.unread = (await api.get("/api/v1/notifications/unread-count")).count; });
  changed();
}

function notificationsRead({ ids, all, before }) {
  const read = (item) => (all ? item.createdAt <= before : ids.includes(item.id));
  state.notifications.items = state.notifications.items.map((item) => (read(item) ? { ...item, read: true } : item));
  countNotifications();
}

export const readNotification = (id) => live.emit("notification:read", { id });
export const readAllNotifications = () => api.post("/api/v1/notifications/read-all");
export const deleteNotification = (id) => api.delete(`/api/v1/notifications/${id}`);

export async function moreNotifications() {
  const { items, nextCursor } = await api.get(`/api/v1/notifications?limit=30&cursor=${encodeURIComponent(state.notifications.cursor)}`);
  state.notifications.items = [...state.notifications.items, ...items];
  state.notifications.cursor = nextCursor;
  changed();
}

// Credits

function balanceChanged({ balance }) {
  state.credits.balance = balance;
  if (state.credits.items) trying(loadTransactions);
  changed();
}

export async function loadTransactions(cursor) {
  const { items, nextCursor } = await api.get(`/api/v1/credits/transactions?limit=30${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  state.credits.items = cursor ? [...state.credits.items, ...items] : items;
  state.credits.cursor = nextCursor;
  changed();
}

export function sendCredits(chat, userId, amount) {
  live.send({ type: "creditTransfer", chatId: chat._id, targetUserId: userId, creditTransfer: { amount } });
}

// Streams

export async function loadStreams(cursor) {
  const { items, nextCursor } = await api.get(`/api/v1/streams?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  // What happened while it was read is newer than what was read.
  const known = new Map((state.streams.items ?? []).map((stream) => [stream.id, stream]));
  const newest = items.map((stream) => (known.get(stream.id)?.updatedAt > stream.updatedAt ? known.get(stream.id) : stream));
  state.streams.items = cursor ? [...state.streams.items, ...newest] : newest;
  state.streams.cursor = nextCursor;
  changed();
}

export function keepStream(stream) {
  const items = state.streams.items ?? [];
  const known = items.some((each) => each.id === stream.id);
  state.streams.items = known ? items.map((each) => (each.id === stream.id ? { ...each, ...stream } : each)) : [stream, ...items];
  changed();
}

export async function scheduleStream(title, startsAt, audience) {
  keepStream(await api.post("/api/v1/streams", { title, startsAt, audience }));
}

export const moveStream = async (id, verb) => keepStream(await api.post(`/api/v1/streams/${id}/${verb}`));

/** Watch a stream while its chat is shown: its changes come live, and one is in the chat. */
export async function watchStream(id) {
  const stream = await live.watch(id);
  state.watching.set(id, stream.chatId);
  keepStream(stream);
}

function unwatchStream(id) {
  const chat = state.chats.get(state.watching.get(id));
  if (chat && !isMine(chat)) forget({ chatId: chat._id });
  state.watching.delete(id);
  live.unwatch(id);
}

export async function followStream(id, wanted) {
  keepStream(await api.post(`/api/v1/streams/${id}/${wanted ? "follow" : "unfollow"}`));
}

export const may = (permission) => Boolean(api.user?.permissions?.some((each) => each === permission || each === "admin"));

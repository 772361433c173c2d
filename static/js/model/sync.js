/** How the state follows the server: events from the connection, and everything again where events were missed. */
import { t } from "../ui/texts.js";
import { reloadEvents } from "./chat_events.js";
import { advance, onAdded, onRemoved, onUpdated } from "./chats.js";
import { onBalance } from "./credits.js";
import { offerInvite } from "./invites.js";
import { countUnread, onNew, onRefused, onSent, onThread, put } from "./messages.js";
import { openChat, show } from "./navigation.js";
import { countNotifications, onDeleted, onNotification, onRead } from "./notifications.js";
import { introduceUsers, know, knowMembers, otherOf, watchPresence } from "./people.js";
import { onReactions } from "./reactions.js";
import { onReadBy } from "./receipts.js";
import { onSilenced } from "./roles.js";
import { onStreamReactions } from "./rooms.js";
import { api, connect, leave, reportActive } from "./session.js";
import { attempt, changed, state } from "./state.js";
import { keepStream, onViewers } from "./streams.js";
import { reopenThreads } from "./threads.js";
import { onTyping } from "./typing.js";

const RETRY_MS = 2_000;

const DURABLE = {
  "message:new": onNew, "message:updated": put, "message:deleted": put, "message:read": onReadBy,
  "message:reactions": onReactions, "message:thread": onThread, "thread:read": countUnread,
  "chat:new": onAdded, "chat:updated": onUpdated, "chat:removed": onRemoved,
  "notification:new": onNotification, "notification:read": onRead, "notification:deleted": onDeleted,
  "credit:balance": onBalance, "stream:status": keepStream, "member:silenced": onSilenced,
};

const OTHERS = {
  state: onConnection,
  closed: ({ reason }) => leave(t({ banned: "banned", deleted: "accountDeleted" }[reason] ?? "loginEnded")),
  reload: onReload,
  typing: onTyping,
  presence: ({ userId, online, lastSeenAt }) => know(userId, { online, lastSeenAt }),
  "stream:viewers": onViewers,
  "stream:reactions": onStreamReactions,
  queued: changed,
  sent: onSent,
  refused: onRefused,
};

/** Connect as the user who is logged in. */
export function start() {
  connect((live) => {
    for (const [name, handle] of Object.entries(DURABLE)) {
      live.on(name, (payload, place) => whenLoaded(() => { handle(payload, place); advance(place); }));
    }
    for (const [name, handle] of Object.entries(OTHERS)) live.on(name, handle);
  });
}

/** @param {"login"|"register"} verb @param {{email: string, password: string, name?: string}} body */
export async function logIn(verb, body) {
  await api.enter(verb, body);
  start();
  changed();
  offerInvite();
}

/** Tell a new connection what only the one before knew. */
function onConnection(connection) {
  state.connection = connection;
  changed();
  if (connection !== "online") return;
  reportActive();
  watchPresence();
  reloadEvents();
  if (state.open) show(state.open);
}

// While everything is read over REST, events wait: what was read may be older than they are.
let loading = 0;
const held = [];

function whenLoaded(work) {
  if (loading) held.push(work); else work();
}

async function onReload({ channels, first }) {
  loading += 1;
  if (!first) {
    // Missed events can't be replayed any more: everything that was loaded may be old.
    for (const id of [...state.timelines.keys()].filter((each) => channels.includes(`chat:${each}`))) {
      state.timelines.delete(id);
      state.chatEvents.delete(id);
    }
  }
  while (!(await attempt(readAll))) await new Promise((resolve) => { setTimeout(resolve, RETRY_MS); });
  loading -= 1;
  if (!loading && held.length) {
    for (const work of held.splice(0)) work();
    // The count may have been read after an event that the list was read before.
    countNotifications();
  }
  changed();
  watchPresence();
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
  for (const chat of chats.items) knowMembers(chat.members);
  // Some of them may be replies, which are not read with the chat.
  state.unreadReplies = new Set(chats.items.filter((chat) => chat.unreadCount > 0).map((chat) => chat._id));
  attempt(() => introduceUsers(chats.items.map((chat) => otherOf(chat)?.userId).filter(Boolean)));
  // A chat that the user can't see is shown as an error, and does not keep the others from being read.
  if (state.open) await attempt(() => openChat(/** @type {string} */ (state.open)));
  await reopenThreads();
  return true;
}

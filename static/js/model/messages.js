/** Messages: what events say of them, and sending, editing, deleting and reporting them. */
import { announce } from "../ui/attention.js";
import { change, loadChat } from "./chats.js";
import { introduce, nameOf, otherOf, titleOf, watchPresence } from "./people.js";
import { isOn } from "./push.js";
import { reasonOf } from "./reasons.js";
import { isMine } from "./rooms.js";
import { api, live, me } from "./session.js";
import { attempt, changed, state } from "./state.js";
import { summary } from "./summary.js";
import { putReply } from "./threads.js";
import { stopTyping } from "./typing.js";

/** Whether a message is a reply that only its thread shows. */
export const isApart = (message) => Boolean(message.threadId) && !message.alsoInChat;

/** A message as it is now. */
export function put(message) {
  if (message.threadId) putReply(message);
  if (!isApart(message)) {
    state.timelines.get(message.chatId)?.put(message);
    const chat = state.chats.get(message.chatId);
    if (chat && message.seq >= (chat.lastMessage?.seq ?? 0)) {
      state.chats.set(chat._id, { ...chat, lastMessage: message, updatedAt: message.createdAt });
    }
  }
  changed();
}

export function onNew(message) {
  stopTyping(message.chatId, message.senderId);
  put(message);
  attempt(() => introduce([message]));
  const chat = state.chats.get(message.chatId);
  if (!chat) {
    // One of those that were not loaded, for they are many.
    attempt(() => loadChat(message.chatId));
  } else if (isApart(message)) {
    if (message.senderId === me()) return;
    state.unreadReplies.add(chat._id);
    countUnread(message);
  } else if (message.seq > chat.seq) {
    // What the chat's document counts already is not counted again.
    const counts = message.senderId !== me() && isMine(chat);
    const mentions = counts && (message.mentionAll || message.mentions?.includes(me()));
    change(chat._id, {
      seq: message.seq, unreadCount: chat.unreadCount + (counts ? 1 : 0), mentionCount: (chat.mentionCount ?? 0) + (mentions ? 1 : 0),
    });
    if (counts && !chat.mutedUntil && (document.hidden || state.open !== chat._id)) {
      announce(
        { title: titleOf(chat), body: `${nameOf(message.senderId)}: ${summary(message)}`, href: `#/chat/${chat._id}`, tag: chat._id },
        { isPushed: isOn() },
      );
    }
    // The presence of a user is visible to those who share a chat with messages: this may have been the first.
    if (otherOf(chat)?.userId === message.senderId && !state.people.get(message.senderId)?.online) watchPresence();
  }
}

export function onSent(message) {
  state.posted.set(message.chatId, Date.now());
  put(message);
}

export function onRefused({ message, error }) {
  const { slowMode } = state.chats.get(message.chatId) ?? {};
  if (slowMode && error.retryAfter) state.posted.set(message.chatId, Date.now() + (error.retryAfter - slowMode) * 1000);
  state.refused.push({ message, why: reasonOf(error) });
  changed();
}

// Chats whose unread messages are being counted, and whether to count once more.
const counting = new Map();

/** Ask the server, which knows the followers of threads, how many messages of a chat are unread. */
export async function countUnread({ chatId }) {
  if (counting.has(chatId)) {
    counting.set(chatId, true);
    return;
  }
  do {
    counting.set(chatId, false);
    await attempt(async () => {
      const { unreadCount, mentionCount = 0, seq } = await api.get(`/api/v2/chats/${chatId}`);
      if (seq < (state.chats.get(chatId)?.seq ?? 0)) {
        counting.set(chatId, true);
        return;
      }
      change(chatId, { unreadCount, mentionCount });
      if (!unreadCount) state.unreadReplies.delete(chatId);
    });
  } while (counting.get(chatId));
  counting.delete(chatId);
}

export function onThread({ chatId, threadId, thread }) {
  state.timelines.get(chatId)?.summarize(threadId, thread);
  changed();
}

/** `more`: `replyTo`, `mentions`, `mentionAll`. */
export const sendText = (chatId, content, { replyTo = undefined, ...more } = {}) =>
  live.send({ type: "text", chatId, content, ...(replyTo && { replyTo }), ...more });
/** Send a copy of a message to a chat. */
export const forward = (message, chatId) =>
  live.send({ type: message.media ? "media" : "text", chatId, forwardOf: message._id });
export const edit = async (id, content) => put(await api.patch(`/api/v2/messages/${id}`, { content }));
export const remove = async (id) => put(await api.delete(`/api/v2/messages/${id}`));
export const report = (id, reason) => api.post(`/api/v2/messages/${id}/report`, { reason });

/** The messages of a chat that wait to be sent. */
export const waitingIn = (id) => live.queue.filter((each) => each.chatId === id);

export function sendAgain(message) {
  discard(message);
  live.send(message);
}

export function discard(message) {
  state.refused = state.refused.filter((each) => each.message !== message);
  changed();
}

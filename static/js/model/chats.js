/** Chats: their documents, kept up to date by events, and what a member can change of them. */
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";
import { addEvent } from "./chat_events.js";
import { knowMembers, otherOf, watchPresence } from "./people.js";
import { loadPins } from "./pins.js";
import { api, me } from "./session.js";
import { attempt, changed, state } from "./state.js";

/** A chat as the server shows it. What events have said meanwhile and is newer stays. */
export function keep(chat) {
  const known = state.chats.get(chat._id);
  knowMembers(chat.members);
  if (known && known.seq > chat.seq) {
    const { lastMessage, unreadCount, seq } = known;
    const others = chat.members.filter((each) => !known.members.some(({ userId }) => userId === each.userId));
    state.chats.set(chat._id, { ...chat, lastMessage, unreadCount, seq, members: [...known.members, ...others] });
  } else {
    state.chats.set(chat._id, chat);
  }
  changed();
  const other = otherOf(chat);
  if (other && state.people.get(other.userId)?.online === undefined) watchPresence();
}

/** The user is in a chat now. In a large chat the event may not list the user among its members. */
export function onAdded(chat) {
  keep(chat);
  if (!chat.members.some(({ userId }) => userId === me())) attempt(() => loadChat(chat._id));
}

export const loadChat = async (id) => keep(await api.get(`/api/v2/chats/${id}`));

/** The seq of the last event of a chat: a document that is older is known as such. */
export function advance({ channel, seq }) {
  const chat = channel.startsWith("chat:") && state.chats.get(channel.slice(5));
  if (chat && seq > chat.seq) state.chats.set(chat._id, { ...chat, seq });
}

export function change(id, values) {
  const chat = state.chats.get(id);
  if (chat) state.chats.set(id, { ...chat, ...values });
  changed();
}

export function forget({ chatId }) {
  state.chats.delete(chatId);
  state.timelines.delete(chatId);
  state.chatEvents.delete(chatId);
  changed();
}

export function onRemoved({ chatId }) {
  const chat = state.chats.get(chatId);
  // Who leaves a room still watches it.
  if (chat?.type === "room" && [...state.watching.values()].includes(chatId)) change(chatId, { role: "viewer" });
  else forget({ chatId });
}

export function onUpdated({ chatId, changes, added, removed }, { seq }) {
  const chat = state.chats.get(chatId);
  if (!chat) return;
  if (chat.type === "room" && removed.includes(me())) {
    forget({ chatId });
    say(t("putOut"));
    return;
  }
  addEvent({ chatId, changes, added, removed }, seq);
  const { members: roles = [], pins, ...facts } = changes;
  if (pins && state.pins.has(chatId)) loadPins(chatId);
  // Slow mode counts from the next message on.
  if (facts.slowMode) state.posted.delete(chatId);
  const roleOf = ({ userId, role }) => roles.find((each) => each.userId === userId)?.role ?? role;
  const members = chat.members.filter((each) => !removed.includes(each.userId)).map((each) => ({ ...each, role: roleOf(each) }));
  change(chatId, { ...facts, members, memberCount: chat.memberCount + added.length - removed.length });
  // Only the chat's document has their names.
  if (added.length && chat.type !== "room") attempt(() => loadChat(chatId));
}

/** Load chats that are not loaded yet, for their titles. */
export const introduceChats = (ids) => Promise.all([...new Set(ids)].filter((id) => !state.chats.has(id)).map(loadChat));

export async function moreChats() {
  const { items, nextCursor } = await api.get(`/api/v2/chats?limit=100&cursor=${encodeURIComponent(state.moreChats)}`);
  for (const chat of items) if (!state.chats.has(chat._id)) keep(chat);
  state.moreChats = nextCursor;
  changed();
}

/** Make a chat; its id. */
async function create(body) {
  const chat = await api.post("/api/v2/chats", body);
  keep(chat);
  return chat._id;
}

export const chatWith = (userId) => create({ type: "direct", memberIds: [userId] });
export const newGroup = (name, memberIds) => create({ type: "group", name, memberIds });

export async function patchChat(id, changes) {
  keep(await api.patch(`/api/v2/chats/${id}`, changes));
  return true;
}

export async function setRole(chat, userId, role) {
  await api.patch(`/api/v2/chats/${chat._id}/members/${userId}`, { role });
  const { members } = state.chats.get(chat._id) ?? chat;
  change(chat._id, { members: members.map((each) => (each.userId === userId ? { ...each, role } : each)) });
}

export const addMember = async (id, userId) => keep(await api.post(`/api/v2/chats/${id}/members`, { userIds: [userId] }));
export const removeMember = async (id, userId) => keep(await api.delete(`/api/v2/chats/${id}/members/${userId}`));
export const deleteChat = (id) => api.delete(`/api/v2/chats/${id}`);
export const leaveChat = (id) => api.post(`/api/v2/chats/${id}/leave`);

/** Mute a chat until then; null unmutes it. */
export const mute = async (id, until) => keep(await api.post(`/api/v2/chats/${id}/mute`, { until }));

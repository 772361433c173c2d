/** Threads that are open: their replies, and how far they are read. */
import { introduce } from "./people.js";
import { api, live } from "./session.js";
import { changed, state } from "./state.js";
import { Timeline } from "./timeline.js";

/** By the id of the message that began each. @type {Map<string, {root: import("@bellwire/client").Message, timeline: Timeline}>} */
const opened = new Map();

export const repliesOf = (root) => opened.get(root._id)?.timeline;

/** Load the newest replies. */
export async function openThread(root) {
  const timeline = new Timeline();
  opened.set(root._id, { root, timeline });
  const page = await api.get(`/api/v2/messages?chatId=${root.chatId}&threadId=${root._id}&limit=200`);
  timeline.begin(page);
  await introduce(page.items);
  changed();
}

export const closeThread = (root) => opened.delete(root._id);

/** What was missed can't be replayed: load the replies again. */
export const reopenThreads = () => Promise.all([...opened.values()].map(({ root }) => openThread(root)));

/** A new reply, or a changed one. */
export const putReply = (message) => opened.get(message.threadId)?.timeline.put(message);

export function reactInThreads(id, reactions, user, mine) {
  for (const { timeline } of opened.values()) timeline.react(id, reactions, user, mine);
}

/** `more`: `mentions`, `mentionAll`. */
export const sendReply = (root, content, more = {}) => live.send({ type: "text", chatId: root.chatId, threadId: root._id, content, ...more });

/** Mark the newest reply as read that only the thread shows. */
export async function readThread(root) {
  const apart = (repliesOf(root)?.pages ?? []).flat().filter((each) => !each.alsoInChat);
  const newest = apart.at(-1);
  if (!newest || document.hidden || state.connection !== "online") return;
  try {
    await live.emit("message:read", { chatId: root.chatId, messageId: newest._id });
  } catch { /* sent again with the next reply */ }
}

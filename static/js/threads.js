/** Threads that were opened: their replies, and how far they are read. */
import { api, changed, introduce, live, once, state } from "./store.js";
import { Timeline } from "./timeline.js";

/** The replies of the threads that were opened, by the message that began each. @type {Map<string, Timeline>} */
const opened = new Map();

export const repliesOf = (root) => opened.get(root._id);

/** Load the newest replies. */
export const openThread = (root) => once(`thread ${root._id}`, async () => {
  const timeline = new Timeline();
  opened.set(root._id, timeline);
  const page = await api.get(`/api/v2/messages?chatId=${root.chatId}&threadId=${root._id}&limit=200`);
  timeline.begin(page);
  await introduce(page.items);
  changed();
});

export const closeThread = (root) => opened.delete(root._id);

/** A reply that arrived, or what one has become. */
export const putReply = (message) => opened.get(message.threadId)?.put(message);

export function reactInThreads(id, reactions, user, mine) {
  for (const timeline of opened.values()) timeline.react(id, reactions, user, mine);
}

export const sendReply = (root, content) => live.send({ type: "text", chatId: root.chatId, threadId: root._id, content });

/** Mark the newest reply as read that only the thread shows. */
export async function readThread(root) {
  const apart = (opened.get(root._id)?.pages ?? []).flat().filter((each) => !each.alsoInChat);
  const newest = apart.at(-1);
  if (!newest || document.hidden || state.connection !== "online") return;
  try {
    await live.emit("message:read", { chatId: root.chatId, messageId: newest._id });
  } catch { /* sent again with the next reply */ }
}

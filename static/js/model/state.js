/** What the page knows. Views draw `state`; the modules beside this one change it and call `changed`. */
import { notice, say } from "../ui/notice.js";
import { reasonOf } from "./reasons.js";

export const state = {
  /** @type {"connecting"|"online"|"offline"} */
  connection: "connecting",
  /** By id. @type {Map<string, import("@bellwire/client").Chat>} */
  chats: new Map(),
  /** The cursor of the next page of chats. */
  moreChats: null,
  /** The id of the open chat. */
  open: null,
  /** In the open chat, the seq after which messages were unread when it was opened; null where none were. */
  unreadAfter: null,
  /** The loaded messages of each chat. @type {Map<string, import("./timeline.js").Timeline>} */
  timelines: new Map(),
  /** Joins, leaves and names of each group, ascending by seq, as far as they were loaded. */
  chatEvents: new Map(),
  /** What is known of each user: name, presence. */
  people: new Map(),
  /** Grows when the name or the picture of a user becomes known. */
  names: 0,
  /** By chat, the timers of those who are typing. */
  typing: new Map(),
  /** The pinned messages of each chat, where they were loaded. */
  pins: new Map(),
  /** The users whom the current one blocks, by id; null before they are loaded. */
  blocks: null,
  /** The ids of chats with replies that may be unread and that only their threads show. */
  unreadReplies: new Set(),
  uploads: [],
  /** Messages that the server refused: `{message, why}`. */
  refused: [],
  notifications: { items: [], unread: 0, cursor: null },
  credits: { balance: null, items: null, cursor: null },
  streams: { items: null, cursor: null },
  /** The chats of the streams that are watched, by the streams' ids. */
  watching: new Map(),
  /** When the user posted last in each chat, in milliseconds, as far as it was seen. */
  posted: new Map(),
  /** The number of bans made in this page; when it changes, the list of bans is loaded again. */
  banned: 0,
  /** A message to be shown among its neighbours: `{chatId, messageId, shown, root}`; of a reply `shown` is the root of its thread. `block`: where it is to stand. */
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

notice.shown = changed;

/** Run `work`; an error is shown, and the result is undefined. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    say(reasonOf(error));
    return undefined;
  }
}

const running = new Set();

/** Like `attempt`, but nothing while work of the same name is running. */
export async function once(name, work) {
  if (running.has(name)) return;
  running.add(name);
  await attempt(work);
  running.delete(name);
}

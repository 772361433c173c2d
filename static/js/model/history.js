/** Loading the messages of a chat: the newest, older and newer ones, and those around a message to jump to. */
import { loadEvents } from "./chat_events.js";
import { isApart } from "./messages.js";
import { introduce } from "./people.js";
import { readSeqOf } from "./receipts.js";
import { api, me } from "./session.js";
import { attempt, changed, once, state } from "./state.js";
import { Timeline } from "./timeline.js";

let jumps = 0;

const page = (id, query) => api.get(`/api/v2/messages?chatId=${id}${query}`);

/** Load the newest messages. */
export async function loadNewest(id) {
  const timeline = new Timeline();
  state.timelines.set(id, timeline);
  await begin(id, timeline, "");
  changed();
}

async function begin(id, timeline, query) {
  show(id, timeline, await page(id, query));
}

// Where a page of messages begins and ends, for what happened between them: all that is older than the first message belongs to it.
const startOf = ({ items, before }) => (before === null ? 0 : items[0].seq);
const endOf = ({ items, after }) => (after ? items.at(-1).seq + 1 : undefined);

/** Show a page of messages in place of all that were loaded. */
function show(id, timeline, found) {
  timeline.begin(found);
  attempt(() => introduce(found.items));
  attempt(() => loadEvents(id, startOf(found), endOf(found)));
  const mine = found.items.findLast((each) => each.senderId === me());
  // Slow mode counts from the last message of the user, which only the newest page is sure to have.
  if (mine && !found.after && !state.posted.has(id)) state.posted.set(id, Date.parse(mine.createdAt));
}

/** Load the messages around the first unread one, and show that; the newest where all are read. */
export async function loadAtUnread(chat) {
  const read = readSeqOf(chat);
  if (!chat.unreadCount || read === undefined) return loadNewest(chat._id);
  const timeline = new Timeline();
  state.timelines.set(chat._id, timeline);
  const [older, newer] = await Promise.all([page(chat._id, `&before=${read + 1}&limit=20`), page(chat._id, `&after=${read}`)]);
  const items = [...older.items, ...newer.items];
  show(chat._id, timeline, { items, before: older.before, after: newer.after, mine: { ...older.mine, ...newer.mine } });
  const first = newer.items.find((each) => each.senderId !== me());
  if (first && state.open === chat._id) {
    state.unreadAfter = read;
    state.jump = { chatId: chat._id, messageId: first._id, shown: first._id, block: "start" };
  }
  changed();
  return undefined;
}

/** Load what is older than all that is here. */
export async function older(id) {
  const timeline = state.timelines.get(id);
  if (!timeline || timeline.loading || !timeline.before) return;
  timeline.loading = true;
  changed();
  await attempt(async () => {
    const end = timeline.before;
    const found = await page(id, `&before=${end}`);
    timeline.prepend(found);
    attempt(() => introduce(found.items));
    attempt(() => loadEvents(id, startOf(found), end));
  });
  timeline.loading = false;
  changed();
}

/** Load what is newer than all that is here, after a jump to older ones; whether anything was. */
export async function newer(id) {
  const timeline = state.timelines.get(id);
  if (!timeline?.after || timeline.loading) return false;
  const { last } = timeline;
  timeline.loading = true;
  await attempt(async () => {
    const start = timeline.after + 1;
    const found = await page(id, `&after=${timeline.after}`);
    timeline.append(found);
    attempt(() => introduce(found.items));
    attempt(() => loadEvents(id, start, endOf(found)));
  });
  timeline.loading = false;
  changed();
  return timeline.last !== last;
}

/** Go back to the newest messages. */
export async function showNewest(id) {
  if (state.timelines.get(id)?.after) await once(`open ${id}`, () => loadNewest(id));
}

/** Show a message among its neighbours; a reply that the chat does not show, in its thread. A later jump takes its place. */
export async function jumpTo(chatId, messageId) {
  jumps += 1;
  const jump = jumps;
  const isPast = () => jump !== jumps || state.open !== chatId;
  const message = await api.get(`/api/v2/messages/${messageId}`);
  const root = isApart(message) ? await api.get(`/api/v2/messages/${message.threadId}`).catch(() => null) : null;
  const shown = root ?? message;
  const before = state.timelines.get(chatId);
  if (isPast()) return;
  if (!before?.has(shown._id)) {
    const timeline = new Timeline();
    state.timelines.set(chatId, timeline);
    changed();
    try {
      await begin(chatId, timeline, `&around=${shown._id}`);
    } catch (error) {
      if (before && state.timelines.get(chatId) === timeline) state.timelines.set(chatId, before);
      throw error;
    }
  }
  if (isPast()) return;
  state.jump = { chatId, messageId, shown: shown._id, root };
  // Loading the page again shows the newest, and the same hit can be chosen again.
  history.replaceState(null, "", `#/chat/${chatId}`);
  changed();
}

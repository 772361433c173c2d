/** Joins, leaves and names of groups, which are shown between their messages. */
import { introduceUsers } from "./people.js";
import { api } from "./session.js";
import { attempt, changed, state } from "./state.js";

// Chats whose events are to be loaded again when the connection is back: loading failed, or they were replayed, without a time.
const incomplete = new Set();

/**
 * Load what happened in a group from one seq on and before another one, or until now.
 * @param {string} id @param {number} from @param {number} [before]
 */
export async function loadEvents(id, from, before = undefined) {
  if (state.chats.get(id)?.type !== "group") return;
  let next = before;
  try {
    do {
      const page = await api.get(`/api/v2/chats/${id}/events?limit=200${next === undefined ? "" : `&before=${next}`}`);
      put(id, page.items);
      next = page.before;
    } while (next !== null && next > from);
  } catch (error) {
    incomplete.add(id);
    throw error;
  }
}

/** Load again what is missing among the loaded messages. */
export function reloadEvents() {
  for (const id of [...incomplete]) {
    incomplete.delete(id);
    const timeline = state.timelines.get(id);
    if (timeline?.first) attempt(() => loadEvents(id, timeline.before === null ? 0 : timeline.first.seq));
  }
}

/** Add what a `chat:updated` says, at its seq. */
export function addEvent({ chatId, changes, added, removed }, seq) {
  const isShown = added.length || removed.length || changes.name !== undefined;
  const isKnown = state.chatEvents.get(chatId)?.some((each) => each.seq === seq);
  if (!isShown || isKnown || !state.timelines.has(chatId) || state.chats.get(chatId)?.type !== "group") return;
  if (state.connection !== "online") incomplete.add(chatId);
  put(chatId, [{ seq, changes, added, removed, createdAt: new Date().toISOString() }]);
}

/** Those of a chat between two seqs, both excluded. */
export function eventsBetween(events, after, before) {
  const start = firstAfter(events, after);
  return events.slice(start, Math.max(start, firstAfter(events, before - 1)));
}

/** The index of the first event with a higher seq, by halves. */
function firstAfter(events, seq) {
  let [low, high] = [0, events.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle].seq > seq) high = middle; else low = middle + 1;
  }
  return low;
}

/** What is known of the same seqs is replaced. */
function put(id, items) {
  if (!items.length) return;
  const seqs = new Set(items.map(({ seq }) => seq));
  const others = (state.chatEvents.get(id) ?? []).filter(({ seq }) => !seqs.has(seq));
  state.chatEvents.set(id, [...others, ...items].sort((a, b) => a.seq - b.seq));
  attempt(() => introduceUsers(items.flatMap((each) => [...each.added, ...each.removed])));
  changed();
}

/** Joins, leaves and names of groups, which are shown between their messages. */
import { introduceUsers } from "./people.js";
import { api } from "./session.js";
import { attempt, changed, state } from "./state.js";

/**
 * Load what happened in a group from one seq on and before another one, or until now.
 * @param {string} id @param {number} from @param {number} [before]
 */
export async function loadEvents(id, from, before = undefined) {
  if (state.chats.get(id)?.type !== "group") return;
  let next = before;
  do {
    const page = await api.get(`/api/v2/chats/${id}/events?limit=200${next === undefined ? "" : `&before=${next}`}`);
    add(id, page.items);
    next = page.before;
  } while (next !== null && next > from);
}

/** What a `chat:updated` says, at its seq. */
export function addEvent({ chatId, changes, added, removed }, seq) {
  const isShown = added.length || removed.length || changes.name !== undefined;
  if (isShown) add(chatId, [{ seq, changes, added, removed, createdAt: new Date().toISOString() }]);
}

/** Those of a chat between two seqs, both excluded. */
export const eventsBetween = (events, after, before) => events.filter(({ seq }) => after < seq && seq < before);

function add(id, items) {
  const known = state.chatEvents.get(id) ?? [];
  const seqs = new Set(known.map(({ seq }) => seq));
  const added = items.filter(({ seq }) => !seqs.has(seq));
  if (!added.length) return;
  state.chatEvents.set(id, [...known, ...added].sort((a, b) => a.seq - b.seq));
  attempt(() => introduceUsers(added.flatMap((each) => [...each.added, ...each.removed])));
  changed();
}

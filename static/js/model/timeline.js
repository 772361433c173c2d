/** The messages of a chat that were loaded, in pages: a page that did not change is the same array, and is not drawn again. */

const PAGE = 50;

export class Timeline {
  constructor() {
    /** @type {import("@bellwire/client").Message[][]} oldest first */
    this.pages = [];
    /** From where older ones can be asked for: a seq, null at the beginning, undefined while nothing was loaded. */
    this.before = undefined;
    /** From where newer ones can be asked for, null where the newest is here. */
    this.after = null;
    this.loading = false;
    this.early = [];
    this.earlyReactions = [];
    this.earlyThreads = [];
    /** What came while newer ones were asked for, after a jump to older ones. */
    this.late = [];
  }

  get first() { return this.pages[0]?.[0]; }
  get last() { return this.pages.at(-1)?.at(-1); }

  /** What is newest, as REST answers it: all that was here before goes. */
  begin({ items, before, after = null, mine }) {
    this.pages = items.length ? [withMine(items, mine)] : [];
    this.before = before;
    this.after = after;
    for (const message of this.early.splice(0)) this.put(message);
    for (const each of this.earlyReactions.splice(0)) this.react(each.id, each.reactions, each.user);
    for (const each of this.earlyThreads.splice(0)) this.summarize(each.id, each.thread);
  }

  /** Older ones, as REST answers them. */
  prepend({ items, before, mine }) {
    const known = this.first?.seq ?? Infinity;
    const older = withMine(items, mine).filter((message) => message.seq < known);
    if (older.length) this.pages = [older, ...this.pages];
    this.before = before;
  }

  /** Newer ones, as REST answers them, until the newest is here. */
  append({ items, after, mine }) {
    const newer = withMine(items, mine).filter((message) => message.seq > (this.last?.seq ?? 0));
    if (newer.length) this.pages = [...this.pages, newer];
    this.after = after;
    for (const message of this.late.splice(0)) this.put(message);
  }

  /** The message with this seq, where it is loaded. */
  find(seq) { return this.pages.find((page) => page.at(-1).seq >= seq)?.find((each) => each.seq === seq); }

  has(id) { return this.pages.some((page) => page.some((each) => each._id === id)); }

  /** A new message, or a changed one. One that is older than all that were loaded is ignored. */
  put(message) {
    if (this.before === undefined) {
      // The page that is on its way may have been read before this happened.
      this.early.push(message);
      return;
    }
    const last = this.pages.length - 1;
    if (last < 0 || message.seq > this.last.seq) {
      if (this.after !== null) {
        // It is loaded when the user scrolls down to it; a page that is on its way may have been read before this happened.
        if (this.loading) this.late.push(message);
        return;
      }
      if (last < 0 || this.pages[last].length >= PAGE) this.pages = [...this.pages, [message]];
      else this.#replace(last, [...this.pages[last], message]);
      return;
    }
    const index = this.pages.findIndex((page) => message.seq <= page.at(-1).seq);
    const page = this.pages[index];
    const at = page.findIndex((each) => each.seq >= message.seq);
    if (page[at].seq === message.seq) {
      if (page[at].updatedAt <= message.updatedAt) this.#replace(index, page.toSpliced(at, 1, become(page[at], message)));
    } else if (index > 0 || at > 0 || this.before === null) {
      this.#replace(index, page.toSpliced(at, 0, message));
    }
  }

  /**
   * What reactions a message has now; `mine` are the user's own keys, where they are known. Of those with which many have
   * reacted, an event does not say it.
   */
  react(id, reactions, user, mine) {
    if (this.before === undefined) {
      this.earlyReactions.push({ id, reactions, user });
      return;
    }
    const index = this.pages.findIndex((page) => page.some((each) => each._id === id));
    if (index < 0) return;
    const page = this.pages[index];
    const at = page.findIndex((each) => each._id === id);
    if (page[at].deletedAt) return;
    const known = page[at].mine ?? [];
    const isMine = ({ key, count, userIds }) => (userIds.length === count ? userIds.includes(user) : known.includes(key));
    const own = mine ?? reactions.filter(isMine).map(({ key }) => key);
    this.#replace(index, page.toSpliced(at, 1, { ...page[at], reactions, mine: own }));
  }

  /** The summary of the thread that a message began. */
  summarize(id, thread) {
    if (this.before === undefined) {
      this.earlyThreads.push({ id, thread });
      return;
    }
    const index = this.pages.findIndex((page) => page.some((each) => each._id === id));
    if (index < 0) return;
    const page = this.pages[index];
    this.#replace(index, page.map((each) => (each._id === id ? { ...each, thread } : each)));
  }

  #replace(index, page) {
    this.pages = this.pages.toSpliced(index, 1, page);
  }
}

/** Messages with the user's own reactions, which the answer has beside them. */
const withMine = (items, mine = {}) => items.map((message) => (mine[message._id] ? { ...message, mine: mine[message._id] } : message));

/** An event of a message has neither its reactions, which stay until it is deleted, nor its thread's summary. */
const become = (old, message) => {
  const thread = message.thread ?? old.thread;
  return message.deletedAt ? { ...message, thread } : { ...message, thread, reactions: message.reactions ?? old.reactions, mine: old.mine };
};

/** Streams: those that are known, following and watching them. */
import { forget } from "./chats.js";
import { isMine } from "./rooms.js";
import { api, live } from "./session.js";
import { changed, state } from "./state.js";

export async function loadStreams(cursor) {
  const { items, nextCursor } = await api.get(`/api/v1/streams?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  // What happened while it was read is newer than what was read.
  const known = new Map((state.streams.items ?? []).map((stream) => [stream.id, stream]));
  const newest = items.map((stream) => (known.get(stream.id)?.updatedAt > stream.updatedAt ? known.get(stream.id) : stream));
  state.streams.items = cursor ? [...state.streams.items, ...newest] : newest;
  state.streams.cursor = nextCursor;
  changed();
}

export function keepStream(stream) {
  const items = state.streams.items ?? [];
  const known = items.some((each) => each.id === stream.id);
  state.streams.items = known ? items.map((each) => (each.id === stream.id ? { ...each, ...stream } : each)) : [stream, ...items];
  changed();
}

export function onViewers({ streamId, viewers, peak }) {
  const stream = state.streams.items?.find((each) => each.id === streamId);
  if (stream) keepStream({ ...stream, viewers, peak });
}

export async function scheduleStream(title, startsAt, audience) {
  keepStream(await api.post("/api/v1/streams", { title, startsAt, audience }));
}

export const moveStream = async (id, verb) => keepStream(await api.post(`/api/v1/streams/${id}/${verb}`));

export async function followStream(id, wanted) {
  keepStream(await api.post(`/api/v1/streams/${id}/${wanted ? "follow" : "unfollow"}`));
}

/** Watch a stream while its chat is shown: its changes come live, and its chat can be read. */
export async function watchStream(id) {
  const stream = await live.watch(id);
  state.watching.set(id, stream.chatId);
  keepStream(stream);
}

export function unwatchStream(id) {
  const chat = state.chats.get(state.watching.get(id));
  if (chat && !isMine(chat)) forget({ chatId: chat._id });
  state.watching.delete(id);
  live.unwatch(id);
}

/** The stream whose chat this is, where it is open. @returns {import("@bellwire/client").Stream|undefined} */
export const streamOf = (chat) => state.streams.items?.find((each) => each.chatId === chat._id && each.audience === "open");

/** Watch the stream of a room that was opened by its address. */
export async function watchRoom(chat) {
  if ([...state.watching.values()].includes(chat._id)) return;
  if (!streamOf(chat)) await loadStreams();
  const stream = streamOf(chat);
  if (stream) await watchStream(stream.id);
}

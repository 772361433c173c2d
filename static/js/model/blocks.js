/** The users whom the current one blocks. */
import { api } from "./session.js";
import { changed, state } from "./state.js";

export async function loadBlocks() {
  state.blocks = new Map((await api.get("/api/v1/users/me/blocks?limit=100")).items.map((each) => [each.id, each]));
  changed();
}

export async function block(userId) {
  const user = await api.post("/api/v1/users/me/blocks", { userId });
  state.blocks = new Map([...(state.blocks ?? []), [userId, user]]);
  changed();
}

export async function unblock(userId) {
  await api.delete(`/api/v1/users/me/blocks/${userId}`);
  state.blocks = new Map([...(state.blocks ?? [])].filter(([id]) => id !== userId));
  changed();
}

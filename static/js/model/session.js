/** The login of this browser, and the connection of this page. */
import { Api, Live } from "@bellwire/client";

import { changed } from "./state.js";

export const api = new Api({ storage: localStorage });

/** @type {Live} */
export let live;

export const me = () => api.user?.id;

export const may = (permission) => Boolean(api.user?.permissions?.some((each) => each === permission || each === "admin"));

/** Open the connection of the user who is logged in; `listen` adds its listeners before anything arrives. */
export function connect(listen) {
  live = new Live(api);
  listen(live);
  live.connect();
}

/** End the login in every tab. The next page shows `why`. */
export function leave(why = "") {
  // Another user may have logged in meanwhile, in another tab.
  if (me() === live.user.id) api.login = null;
  sessionStorage.setItem("bellwire.ended", why);
  location.hash = "";
  location.reload();
}

export async function logOut() {
  live.close();
  await api.logout().catch(() => {});
  for (const key of Object.keys(localStorage)) {
    if (key.startsWith("bellwire.") && key.includes(me())) localStorage.removeItem(key);
  }
  leave();
}

/** Report whether the page is on the screen; while it is not, the user's phones get pushes. */
export function reportActive() {
  if (live?.state === "online") live.emit("app:state", { active: !document.hidden }).catch(() => {});
}

export async function patchMe(changes) {
  keepMe(await api.patch("/api/v1/users/me", changes));
}

/** What is known of the user who is logged in. */
export function keepMe(user) {
  api.login = { ...api.login, user: { ...api.user, ...user } };
  changed();
}

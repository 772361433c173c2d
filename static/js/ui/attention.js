/** Telling a user who looks elsewhere that something has arrived: a sound, the system's notification, the icons of tab and app. */
import { chime } from "./sound.js";

const ICONS = { read: "/static/images/logo.svg", unread: "/static/images/logo-unread.svg" };

/**
 * @param {{title: string, body: string, href: string, tag: string}} what `tag`: a later one replaces one with the same
 * @param {{isPushed: boolean}} options `isPushed`: the service worker shows it, as a push of the server
 */
export function announce({ title, body, href, tag }, { isPushed }) {
  chime();
  if (isPushed || !document.hidden || !("Notification" in window) || Notification.permission !== "granted") return;
  try {
    const shown = new Notification(title, { body, tag, icon: "/static/images/icon-192.png" });
    shown.onclick = () => { window.focus(); location.hash = href; shown.close(); };
  } catch { /* Android has notifications through the service worker alone, which shows pushes */ }
}

let badged = -1;

/** Show how much is unread, in the tab and on the app's icon. */
export function badge(unread) {
  document.title = unread ? `(${unread}) Bellwire` : "Bellwire";
  if (unread === badged) return;
  badged = unread;
  document.querySelector("link[rel=icon]")?.setAttribute("href", unread ? ICONS.unread : ICONS.read);
  const { setAppBadge, clearAppBadge } = /** @type {any} */ (navigator);
  (unread ? setAppBadge?.call(navigator, unread) : clearAppBadge?.call(navigator))?.catch(() => {});
}

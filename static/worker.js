/**
 * The service worker: shows what is pushed while the page is closed, and opens it by a click; and keeps the page's own files for
 * when the server can't be reached.
 *
 * The messages are declarative, so that Safari shows them without this file:
 * https://www.w3.org/TR/push-api/#declarative-push-message
 */
const worker = /** @type {any} */ (self);

worker.addEventListener("install", () => worker.skipWaiting());
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));

// The page and its files. What the API answers is never kept.
const FILES = /^\/(?:$|manifest\.webmanifest$|(?:static|client|vendor)\/)/;
const KEPT = "bellwire";

worker.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  const { origin, pathname } = new URL(url);
  if (method === "GET" && origin === location.origin && FILES.test(pathname)) event.respondWith(newest(event.request));
});

/** What the server has, or what it had when it was last reached. */
async function newest(request) {
  const cache = await caches.open(KEPT);
  try {
    const answer = await fetch(request);
    if (answer.ok) cache.put(request, answer.clone());
    return answer;
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

worker.addEventListener("push", (event) => {
  const { notification, app_badge: badge } = event.data.json();
  const { title, navigate, data, ...options } = notification;
  // The same tag replaces what a push that came twice has shown.
  const shown = worker.registration.showNotification(title, { ...options, data: { ...data, navigate } });
  const badged = badge === undefined ? undefined : worker.navigator.setAppBadge?.(badge);
  event.waitUntil(Promise.all([shown, badged]));
});

worker.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data.navigate));
});

/** In the page that is open already, if there is one. */
async function open(address) {
  const pages = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  const page = pages.find((each) => new URL(each.url).origin === new URL(address).origin);
  if (!page) return worker.clients.openWindow(address);
  await page.focus();
  return page.navigate(address);
}

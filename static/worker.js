/**
 * The service worker: shows what is pushed while the page is closed, and opens it by a click.
 *
 * The messages are declarative, so that Safari shows them without this file:
 * https://www.w3.org/TR/push-api/#declarative-push-message
 */
const worker = /** @type {any} */ (self);

worker.addEventListener("install", () => worker.skipWaiting());
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));

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

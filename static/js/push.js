/** Notifications of this browser while the page is closed: allowed by a click, subscribed, registered with the server. */
import { api, me } from "./store.js";
import { language } from "./texts.js";

// Whose notifications this browser shows.
const SHOWN_TO = "bellwire.pushed";
const DEVICE = "bellwire.device";

export const supported = "serviceWorker" in navigator && "PushManager" in window && "Notification" in window;

/** Whether the browser allows them: "granted", "denied" or "default". */
export const permission = () => Notification.permission;

export const isOn = () => supported && permission() === "granted" && localStorage.getItem(SHOWN_TO) === me();

/** The id under which this browser is a device. */
function deviceId() {
  const known = localStorage.getItem(DEVICE) ?? `browser-${crypto.randomUUID()}`;
  localStorage.setItem(DEVICE, known);
  return known;
}

async function register() {
  const { vapidPublicKey: key } = await api.get("/api/v1/push/config");
  if (!key) return false;
  await navigator.serviceWorker.register("/worker.js");
  const { pushManager } = await navigator.serviceWorker.ready;
  const old = await pushManager.getSubscription();
  if (old && !isOf(old, key)) await old.unsubscribe();
  const subscription = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  const { endpoint, keys } = subscription.toJSON();
  const device = { deviceId: deviceId(), platform: "web", endpoint, keys, locale: language(), features: ["live.ongoing"] };
  await api.post("/api/v1/devices", device);
  localStorage.setItem(SHOWN_TO, me());
  return true;
}

/** Whether a subscription was made with this key; with another one nothing can be pushed to it. */
function isOf(subscription, key) {
  const bytes = new Uint8Array(subscription.options.applicationServerKey ?? 0);
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "") === key;
}

/** @type {Promise<unknown>} */
let last = Promise.resolve();

/**
 * One after the other: what is turned off must not be registered by what began before.
 * @template T
 * @param {() => T | Promise<T>} work
 * @returns {Promise<T>}
 */
function inTurn(work) {
  const done = last.then(work);
  last = done.catch(() => {});
  return done;
}

/** Ask, which a browser allows by a click alone, and subscribe. Whether notifications are shown from now on. */
export async function turnOn() {
  return (await Notification.requestPermission()) === "granted" && inTurn(register);
}

export const turnOff = () => inTurn(end);

async function end() {
  if (!isOn()) return;
  // The server first: whatever the push service says, nothing more is sent.
  await api.delete(`/api/v1/devices/${deviceId()}`);
  localStorage.removeItem(SHOWN_TO);
  const registration = await navigator.serviceWorker.getRegistration("/worker.js");
  await (await registration?.pushManager.getSubscription())?.unsubscribe();
}

/** At each start: a subscription may be another one by now, and the server may have another key. */
export const renew = () => inTurn(() => isOn() && register());

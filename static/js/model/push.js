/** Notifications of this browser while the page is closed: allowed by a click, subscribed, registered with the server. */
import { language } from "../ui/texts.js";
import { api, me } from "./session.js";

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

export const isThisDevice = (id) => isOn() && id === localStorage.getItem(DEVICE);

/** Keep the page's files in the browser, for when the server can't be reached. */
export function keepOffline() {
  if (supported) navigator.serviceWorker.register("/worker.js").catch(() => {});
}

// How often the user has turned them on or off: what began before the last time is of no use.
let turned = 0;
/** @type {Promise<unknown>} */
let registering = Promise.resolve();

async function register() {
  const began = turned;
  const { vapidPublicKey: key } = await api.get("/api/v1/push/config");
  if (!key) return false;
  await navigator.serviceWorker.register("/worker.js");
  const { pushManager } = await navigator.serviceWorker.ready;
  const old = await pushManager.getSubscription();
  if (old && !isOf(old, key)) await old.unsubscribe();
  const subscription = await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  if (began !== turned) return false;
  const { endpoint, keys } = subscription.toJSON();
  const device = { deviceId: deviceId(), platform: "web", endpoint, keys, locale: language(), features: ["live.ongoing"] };
  registering = api.post("/api/v1/devices", device).then(() => localStorage.setItem(SHOWN_TO, me()));
  await registering;
  return true;
}

/** Whether a subscription was made with this key; with another one nothing can be pushed to it. */
function isOf(subscription, key) {
  const bytes = new Uint8Array(subscription.options.applicationServerKey ?? 0);
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "") === key;
}

/** Ask, which a browser allows by a click alone, and subscribe. Whether notifications are shown from now on. */
export async function turnOn() {
  const allowed = (await Notification.requestPermission()) === "granted";
  turned += 1;
  return allowed && register();
}

/** The server forgets the browser; the push service, which may not answer, is not waited for. */
export async function turnOff() {
  turned += 1;
  await registering.catch(() => {});
  if (!isOn()) return;
  await api.delete(`/api/v1/devices/${deviceId()}`);
  localStorage.removeItem(SHOWN_TO);
  unsubscribe().catch(() => {});
}

async function unsubscribe() {
  const registration = await navigator.serviceWorker.getRegistration("/worker.js");
  await (await registration?.pushManager.getSubscription())?.unsubscribe();
}

/** At each start: a subscription may be another one by now, and the server may have another key. */
export const renew = async () => isOn() && register();

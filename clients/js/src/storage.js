/** Where a login and unsent messages are kept, and who may renew the login. */
import { pause } from "./keys.js";

const LEASE_MS = 10_000;

/** Like `localStorage`, for a program or page that keeps nothing. */
export class MemoryStorage {
  #items = new Map();

  get length() { return this.#items.size; }
  key(index) { return [...this.#items.keys()][index] ?? null; }
  getItem(key) { return this.#items.get(key) ?? null; }
  setItem(key, value) { this.#items.set(key, String(value)); }
  removeItem(key) { this.#items.delete(key); }
}

/** The browser's storage where there is one. */
export function defaultStorage() {
  try {
    return globalThis.localStorage ?? new MemoryStorage();
  } catch {
    return new MemoryStorage();
  }
}

/** Run `work` in one tab at a time. */
export async function alone(storage, work) {
  if (storage instanceof MemoryStorage) return work();
  if (globalThis.navigator?.locks) return navigator.locks.request("bellwire.login", work);
  // Pages without TLS have no locks. A lease in the storage is as good, except for the moment in which two look at once.
  while (Date.now() - Number(storage.getItem("bellwire.lease") ?? 0) < LEASE_MS) await pause(50 + 100 * Math.random());
  storage.setItem("bellwire.lease", String(Date.now()));
  try {
    return await work();
  } finally {
    storage.removeItem("bellwire.lease");
  }
}

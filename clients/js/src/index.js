/**
 * The client library of Bellwire: tokens that are renewed, a connection that resumes without losing or doubling events, and
 * messages that are sent once, also after a reload.
 *
 * `docs/clients.md` explains each part, and shows the same in Swift and Kotlin.
 *
 * @module @bellwire/client
 */
export { Api } from "./api.js";
export { newKey } from "./keys.js";
export { Live } from "./live.js";
export { Refused } from "./refused.js";
export { MemoryStorage } from "./storage.js";

/** @typedef {import("./types.js").User} User */
/** @typedef {import("./types.js").Member} Member */
/** @typedef {import("./types.js").Media} Media */
/** @typedef {import("./types.js").Reaction} Reaction */
/** @typedef {import("./types.js").Thread} Thread */
/** @typedef {import("./types.js").Message} Message */
/** @typedef {import("./types.js").Chat} Chat */
/** @typedef {import("./types.js").Notification} Notification */
/** @typedef {import("./types.js").Stream} Stream */
/** @typedef {import("./types.js").Outgoing} Outgoing */
/** @typedef {import("./types.js").Events} Events */

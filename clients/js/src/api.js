/** REST: log-in, tokens, requests, uploads. */
import { pause } from "./keys.js";
import { Refused } from "./refused.js";
import { alone, defaultStorage } from "./storage.js";

const REFRESH_BEFORE_MS = 60_000;
// How long what another tab has written takes to be seen here, at most.
const SEEN_AFTER_MS = 200;

/** REST with a bearer token that is renewed in time. All tabs of a browser share one login. */
export class Api {
  /**
   * @param {{url?: string, storage?: Pick<Storage, "getItem"|"setItem"|"removeItem"|"key"|"length">}} [options] `url`: of the
   *   server, such as `https://chat.example.org`; absent for the one that the page is from. `storage`: where the login and unsent
   *   messages outlive the page; the browser's by default, memory where there is none
   */
  constructor({ url = "", storage = defaultStorage() } = {}) {
    this.url = url.replace(/\/+$/, "");
    this.storage = storage;
  }

  /** An access token that was made elsewhere, as by `run.py token`: there is no log-in, and nothing renews it. */
  useToken(token) {
    const { sub, exp } = JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/")));
    this.login = { user: { id: String(sub) }, access: token, refresh: null, expires: exp ? exp * 1000 : Number.MAX_SAFE_INTEGER };
  }

  get login() {
    return JSON.parse(this.storage.getItem("bellwire.login") ?? "null");
  }

  set login(value) {
    if (value) this.storage.setItem("bellwire.login", JSON.stringify(value));
    else this.storage.removeItem("bellwire.login");
  }

  /** @returns {import("./types.js").User|null} who is logged in */
  get user() {
    return this.login?.user ?? null;
  }

  /**
   * @param {"login"|"register"} verb
   * @param {{email: string, password: string, name?: string, invitation?: string}} body
   */
  async enter(verb, body) {
    // Shows that this device has logged in to the account before, while many others try passwords on it.
    const place = `bellwire.device.${body.email.toLowerCase()}`;
    const deviceToken = this.storage.getItem(place);
    const answer = await this.call("POST", `/api/v1/auth/${verb}`, { body: { ...body, deviceToken }, token: null });
    this.storage.setItem(place, answer.deviceToken);
    this.login = Api.#pair(answer);
  }

  async logout() {
    await this.post("/api/v1/auth/logout");
  }

  static #pair({ user, accessToken, refreshToken, expiresIn }) {
    return { user, access: accessToken, refresh: refreshToken, expires: Date.now() + expiresIn * 1000 };
  }

  /**
   * A token that lives at least another minute.
   *
   * A refresh token works once, and one used twice ends the login: one refresh at a time, over all tabs.
   * @param {boolean} [renewed] whatever its age
   */
  async token(renewed = false) {
    const had = this.login;
    if (!had) throw new Refused({ errors: ["Authentication required"] }, 401);
    const enough = (login) => login.expires - Date.now() > REFRESH_BEFORE_MS && !(renewed && login.access === had.access);
    if (enough(had)) return had.access;
    if (!had.refresh) {
      if (had.expires > Date.now()) return had.access;
      throw new Refused({ errors: ["The token has expired"] }, 401);
    }
    const refresh = async () => {
      // What another tab has just written takes a moment to be seen here.
      await pause(SEEN_AFTER_MS);
      const login = this.login;
      if (!login || enough(login)) return;
      const body = { refreshToken: login.refresh };
      const pair = Api.#pair(await this.call("POST", "/api/v1/auth/refresh", { body, token: null }));
      // Another user may have logged in meanwhile.
      if (this.login?.refresh === login.refresh) this.login = pair;
    };
    this.refreshing ??= alone(this.storage, refresh).finally(() => { this.refreshing = null; });
    try {
      await this.refreshing;
    } catch (error) {
      // The network failed, and the token is good for a moment still.
      if (renewed || (error instanceof Refused && !error.passing) || had.expires < Date.now()) throw error;
    }
    return this.login?.access ?? this.token();
  }

  get(path) { return this.call("GET", path); }
  post(path, body, key) { return this.call("POST", path, { body, key }); }
  put(path, body) { return this.call("PUT", path, { body }); }
  patch(path, body) { return this.call("PATCH", path, { body }); }
  delete(path) { return this.call("DELETE", path); }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{body?: object, key?: string, token?: string|null}} [options] `key`: of what must happen once; `token`: null for none
   * @returns {Promise<any>} the document, taken out of the envelope
   * @throws {Refused}
   */
  async call(method, path, { body, key, token } = {}) {
    /** @type {Record<string, string>} */
    const headers = {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (key) headers["Idempotency-Key"] = key;
    if (token !== null) headers.Authorization = `Bearer ${token ?? (await this.token())}`;
    const response = await fetch(this.url + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    return Api.#read(response.status, await response.text(), response.headers.get("X-Error-Code"));
  }

  static #read(status, text, code = undefined) {
    let answer = null;
    try { answer = JSON.parse(text); } catch { /* a proxy's page */ }
    if (status >= 400 || answer === null) throw new Refused(answer, status, code);
    return "isSuccess" in answer ? answer.data : answer;
  }

  /**
   * Upload a file, to be sent by its id.
   * @param {File|Blob} file
   * @param {(part: number) => void} [progress] from 0 to 1
   * @param {AbortSignal} [signal]
   * @returns {Promise<{id: string, media: import("./types.js").Media}>}
   */
  async upload(file, progress = () => {}, signal = undefined) {
    const form = new FormData();
    form.append("file", file, "name" in file ? file.name : "file");
    const token = await this.token();
    signal?.throwIfAborted();
    if (!globalThis.XMLHttpRequest) {
      const headers = { Authorization: `Bearer ${token}` };
      const response = await fetch(`${this.url}/api/v2/media`, { method: "POST", headers, body: form, signal });
      return Api.#read(response.status, await response.text(), response.headers.get("X-Error-Code"));
    }
    // fetch reports no progress.
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", `${this.url}/api/v2/media`);
      request.setRequestHeader("Authorization", `Bearer ${token}`);
      request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 0);
      request.onload = () => {
        try { resolve(Api.#read(request.status, request.responseText, request.getResponseHeader("X-Error-Code"))); } catch (error) { reject(error); }
      };
      request.onerror = () => reject(new TypeError("The network failed"));
      request.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
      signal?.addEventListener("abort", () => request.abort());
      request.send(form);
    });
  }

  /** Send a file as a form, such as the user's picture. @param {string} path @param {File|Blob} file @returns {Promise<any>} */
  async putFile(path, file) {
    const form = new FormData();
    form.append("file", file, "name" in file ? file.name : "file");
    const headers = { Authorization: `Bearer ${await this.token()}` };
    const response = await fetch(this.url + path, { method: "PUT", headers, body: form });
    return Api.#read(response.status, await response.text(), response.headers.get("X-Error-Code"));
  }

  /** The bytes behind a URL of this server that needs the token: a picture, a thumbnail. */
  blob(url) {
    const { pathname, search } = new URL(url, this.url || location.href);
    return this.file("GET", pathname + search);
  }

  /** The bytes of an answer. @param {string} method @param {string} path @returns {Promise<Blob>} */
  async file(method, path) {
    const response = await fetch(this.url + path, { method, headers: { Authorization: `Bearer ${await this.token()}` } });
    if (!response.ok) throw new Refused(null, response.status, response.headers.get("X-Error-Code") ?? undefined);
    return response.blob();
  }
}

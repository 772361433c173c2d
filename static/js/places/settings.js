/** The settings of the user and of this browser. */
import { Avatar } from "../chat/avatar.js";
import { changePassword, deleteAccount, endOtherSessions, endSession, exportMe, loadDevices, loadMe, loadSessions, putAvatar, removeAvatar, removeDevice } from "../model/account.js";
import { loadBlocks, unblock } from "../model/blocks.js";
import { isOn, isThisDevice, permission, supported, turnOff, turnOn } from "../model/push.js";
import { api, leave, logOut, patchMe } from "../model/session.js";
import { attempt, changed, once, state } from "../model/state.js";
import { ask } from "../ui/ask.js";
import { ago } from "../ui/formats.js";
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { icon, iconButton } from "../ui/icons.js";
import { say } from "../ui/notice.js";
import { PasswordField } from "../ui/password.js";
import { isQuiet, setQuiet } from "../ui/sound.js";
import { t } from "../ui/texts.js";
import { chooseTheme, theme, THEMES } from "../ui/theme.js";
import { Languages } from "./enter.js";

export function Settings() {
  return html`
    <header><h2>${t("settings")}</h2></header>
    <div class="settings">
      <${ProfileSettings} /><${Appearance} /><${NotificationSettings} /><${Password} /><${Sessions} /><${Devices} /><${Blocked} />
      <section>
        <p><a href="/docs">${t("docs")}</a></p>
        <button type="button" class="quiet" onClick=${() => once("export", download)}>${icon("download")} ${t("exportData")}</button>
        <button type="button" class="quiet" onClick=${() => attempt(goOut)}>${icon("leave")} ${t("logOut")}</button>
        <button type="button" class="danger" onClick=${erase}>${icon("delete")} ${t("deleteAccount")}</button>
      </section>
    </div>`;
}

async function goOut() {
  // The server forgets the device with the login, even where the push service does not answer.
  await turnOff().catch(() => {});
  await logOut();
}

async function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await exportMe());
  link.download = "bellwire.ndjson";
  link.click();
  URL.revokeObjectURL(link.href);
}

async function erase() {
  const { name } = api.user;
  const answer = await ask({ title: t("deleteAccount"), text: t("deleteAccountHint"), input: t("typeName", { name }), action: t("deleteAccount"), danger: true });
  if (!answer) return;
  if (answer.text.trim() !== name) say(t("otherName"));
  else attempt(async () => { await deleteAccount(); leave(t("accountDeleted")); });
}

function ProfileSettings() {
  const chooser = useRef();
  const upload = (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) attempt(async () => { await putAvatar(file); say(t("saved")); });
  };
  const save = (event) => {
    event.preventDefault();
    attempt(async () => { await patchMe({ name: new FormData(event.target).get("name") }); say(t("saved")); });
  };
  return html`
    <section>
      <div class="inline photo"><${Avatar} id=${api.user.id} name=${api.user.name} url=${api.user.avatarUrl} /><p class="hint"><bdi>${t("loggedInAs", { email: api.user.email ?? api.user.name })}</bdi></p></div>
      <p class="inline">
        <input type="file" hidden ref=${chooser} accept="image/png,image/jpeg,image/webp,image/gif" aria-label=${t("photo")} onChange=${upload} />
        <button type="button" class="quiet" onClick=${() => chooser.current.click()}>${icon("image")} ${t("changePhoto")}</button>
        ${api.user.avatarUrl && html`<button type="button" class="plain" onClick=${() => attempt(removeAvatar)}>${t("removePhoto")}</button>`}
      </p>
      <form onSubmit=${save}>
        <label>${t("yourName")}<input name="name" defaultValue=${api.user.name} maxlength="255" required /></label>
        <button class="quiet">${t("save")}</button>
      </form>
    </section>`;
}

function Appearance() {
  const change = (event) => { chooseTheme(event.target.value); changed(); };
  return html`
    <section>
      <h3>${t("appearance")}</h3>
      <label>${t("theme")}<select name="theme" onChange=${change}>
        ${THEMES.map((each) => html`<option value=${each} selected=${each === theme()}>${t(each)}</option>`)}</select></label>
      <${Languages} />
    </section>`;
}

async function toggle() {
  if (isOn()) await turnOff();
  else if (!(await turnOn())) say(t("pushUnavailable"));
  changed();
}

function NotificationSettings() {
  const [quiet, setQuietHours] = useState(null);
  useEffect(() => { attempt(async () => setQuietHours((await loadMe()).quietHours ?? {})); }, []);
  const save = (event) => {
    event.preventDefault();
    const { from, to } = /** @type {Record<string, string>} */ (Object.fromEntries(new FormData(event.target)));
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    attempt(async () => { await patchMe({ quietHours: from && to ? { from, to } : null, timeZone }); say(t("saved")); });
  };
  return html`
    <section>
      <h3>${t("notifications")}</h3>
      ${supported && (permission() === "denied"
        ? html`<p class="hint">${t("pushDenied")}</p>`
        : html`<button type="button" class="quiet" onClick=${() => once("push", toggle)}>${icon(isOn() ? "bell-off" : "bell")} ${t(isOn() ? "pushOff" : "pushOn")}</button>`)}
      <label class="row"><input type="checkbox" checked=${!isQuiet()} onChange=${(event) => setQuiet(!event.target.checked)} />${t("playSound")}</label>
      ${quiet && html`
        <form onSubmit=${save}>
          <fieldset class="inline"><legend>${t("quietHours")}</legend>
            <label>${t("from")}<input type="time" name="from" defaultValue=${quiet.from ?? ""} /></label>
            <label>${t("until")}<input type="time" name="to" defaultValue=${quiet.to ?? ""} /></label></fieldset>
          <p class="hint">${t("quietHoursHint")}</p>
          <button class="quiet">${t("save")}</button>
        </form>`}
    </section>`;
}

function Password() {
  const submit = (event) => {
    event.preventDefault();
    const form = event.target;
    const { old, password } = /** @type {Record<string, string>} */ (Object.fromEntries(new FormData(form)));
    attempt(async () => { await changePassword(old, password); form.reset(); say(t("passwordChanged")); });
  };
  return html`
    <section>
      <h3>${t("changePassword")}</h3>
      <form onSubmit=${submit}>
        <${PasswordField} name="old" label=${t("oldPassword")} autocomplete="current-password" />
        <${PasswordField} name="password" label=${t("newPassword")} autocomplete="new-password" hint=${t("passwordRule")} />
        <button class="quiet">${t("changePassword")}</button>
      </form>
    </section>`;
}

function Sessions() {
  const [items, setItems] = useState([]);
  const load = () => attempt(async () => setItems(await loadSessions()));
  useEffect(() => { load(); }, []);
  const end = (work) => attempt(async () => { await work(); await load(); });
  return html`
    <section>
      <h3>${t("sessions")}</h3>
      <ul>${items.map((each) => html`
        <li class="row" key=${each.id}>${icon("monitor")}
          <span class="about"><bdi class="title" title=${each.device}>${program(each.device) || t("unknownDevice")}</bdi>
            <span class="hint">${each.current ? t("thisSession") : ago(each.lastUsedAt)} · <bdi>${each.address}</bdi></span></span>
          ${!each.current && iconButton("close", t("endSession"), () => end(() => endSession(each.id)))}</li>`)}</ul>
      ${items.length > 1 && html`<button type="button" class="quiet" onClick=${() => end(endOtherSessions)}>${t("endOtherSessions")}</button>`}
    </section>`;
}

const PROGRAMS = { Edg: "Edge", OPR: "Opera", Firefox: "Firefox", Chrome: "Chrome", Safari: "Safari" };
const SYSTEMS = { Android: "Android", iPhone: "iPhone", iPad: "iPad", Windows: "Windows", Macintosh: "macOS", Linux: "Linux" };

/** What a User-Agent header names; of another program its first word. */
function program(device) {
  const agent = device ?? "";
  const named = (names) => names[Object.keys(names).find((each) => agent.includes(each)) ?? ""];
  return [named(PROGRAMS) ?? agent.split(/[\s/]/)[0], named(SYSTEMS)].filter(Boolean).join(" · ");
}

function Devices() {
  const [items, setItems] = useState([]);
  const load = () => attempt(async () => setItems(await loadDevices()));
  useEffect(() => { load(); }, []);
  if (!items.length) return null;
  const remove = (each) => attempt(async () => { await (isThisDevice(each.deviceId) ? turnOff() : removeDevice(each.deviceId)); await load(); });
  return html`
    <section>
      <h3>${t("devices")}</h3>
      <ul>${items.map((each) => html`
        <li class="row" key=${each.deviceId}>${icon("device")}<span class="about"><bdi class="title">${each.deviceId}</bdi><span class="hint">${each.platform}</span></span>
          ${iconButton("close", t("remove", { name: each.deviceId }), () => remove(each))}</li>`)}</ul>
    </section>`;
}

function Blocked() {
  useEffect(() => { attempt(loadBlocks); }, []);
  const items = [...(state.blocks?.values() ?? [])];
  if (!items.length) return null;
  return html`
    <section>
      <h3>${t("blockedUsers")}</h3>
      <ul>${items.map((each) => html`
        <li class="row" key=${each.id}><${Avatar} id=${each.id} name=${each.name} url=${each.avatarUrl} size="small" /><bdi class="title">${each.name}</bdi>
          <button type="button" class="plain" onClick=${() => attempt(() => unblock(each.id))}>${t("unblock")}</button></li>`)}</ul>
    </section>`;
}

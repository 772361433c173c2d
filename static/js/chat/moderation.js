/** What moderators do: silence and ban members, freeze a chat, slow it down; and what others see of it. */
import { patchChat, setRole } from "../model/chats.js";
import { nameOf } from "../model/people.js";
import { manages, mayAct, moderates, roleIn, slowModeSeconds } from "../model/roles.js";
import { api } from "../model/session.js";
import { attempt, state } from "../model/state.js";
import { Dialog } from "../ui/dialog.js";
import { Durations, endAfter } from "../ui/durations.js";
import { lasting, moment, seconds } from "../ui/formats.js";
import { html, useEffect, useState } from "../ui/html.js";
import { icon } from "../ui/icons.js";
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";
import { Avatar } from "./avatar.js";

const SLOW = [0, 10, 30, 60, 300, 900, 3600];

/** Silence or ban a user. */
export function SanctionDialog({ chat, userId, kind, onClose }) {
  const submit = (event) => {
    event.preventDefault();
    const dialog = event.target.closest("dialog");
    const { duration, reason, erase } = Object.fromEntries(new FormData(event.target));
    const until = endAfter(String(duration));
    const body = {
      ...(until && { until }),
      ...(String(reason).trim() && { reason: String(reason).trim() }),
      ...(erase && { delete: erase }),
    };
    attempt(async () => {
      await api.post(`/api/v2/chats/${chat._id}/members/${userId}/${kind}`, body);
      say(t(kind === "ban" ? "wasBanned" : "wasSilenced", { name: nameOf(userId) }));
      if (kind === "ban") state.banned += 1;
      dialog.close();
    });
  };
  return html`
    <${Dialog} title=${t(kind === "ban" ? "banName" : "silenceName", { name: nameOf(userId) })} onClose=${onClose}>
      <form onSubmit=${submit}>
        <label>${t("duration")}<${Durations} name="duration" chosen=${kind === "ban" ? "forever" : "day"} /></label>
        ${kind === "ban" && html`
          <label>${t("deleteMessages")}<select name="erase">
            <option value="none">${t("deleteNone")}</option><option value="hour">${t("deleteHour")}</option>
            <option value="day">${t("deleteDay")}</option><option value="all">${t("deleteAll")}</option></select></label>`}
        <label>${t("reasonOptional")}<input name="reason" maxlength="1000" /></label>
        <p class="inline buttons">
          <button type="button" class="quiet" onClick=${(event) => event.target.closest("dialog").close()}>${t("cancel")}</button>
          <button class="danger">${t(kind)}</button></p>
      </form>
    <//>`;
}

/** What may be done with one member. */
export function MemberActions({ chat, member, onSanction }) {
  const endSilence = () => attempt(async () => {
    await api.delete(`/api/v2/chats/${chat._id}/members/${member.userId}/silence`);
    say(t("silenceEnded", { name: member.name }));
  });
  const give = (event) => {
    event.preventDefault();
    const role = String(new FormData(event.target).get("role"));
    if (role === "owner" && !confirm(t("ownerSure", { name: member.name }))) return;
    attempt(() => setRole(chat, member.userId, role));
  };
  if (!mayAct(chat, member.userId)) return null;
  const roles = roleIn(chat) === "owner" ? ["owner", "admin", "moderator", "member", "readonly"] : ["moderator", "member", "readonly"];
  return html`
    <details class="actions">
      <summary aria-label=${t("actionsFor", { name: member.name })} title=${t("more")}>${icon("more")}</summary>
      ${manages(chat) && html`
        <form class="inline" onSubmit=${give}>
          <select name="role" aria-label=${t("role")}>${roles.map((role) => html`<option value=${role} selected=${role === member.role}>${t(role)}</option>`)}</select>
          <button>${t("save")}</button>
        </form>`}
      <p class="inline"><button type="button" onClick=${() => onSanction(member.userId, "silence")}>${t("silence")}</button>
        <button type="button" class="plain" onClick=${endSilence}>${t("endSilence")}</button>
        <button type="button" class="danger" onClick=${() => onSanction(member.userId, "ban")}>${t("ban")}</button></p>
    </details>`;
}

/** What a chat allows, for those who manage it. */
export function ChatRules({ chat }) {
  /** What the server refuses is shown as it was. */
  const set = async (changes, undo) => { if (!(await attempt(() => patchChat(chat._id, changes)))) undo(); };
  const check = (event, changes) => set(changes, () => { event.target.checked = !event.target.checked; });
  const slow = (event) => set({ slowMode: Number(event.target.value) }, () => { event.target.value = String(chat.slowMode ?? 0); });
  return html`
    <h3>${t("rules")}</h3>
    <label class="row"><input type="checkbox" checked=${Boolean(chat.frozen)} onChange=${(event) => check(event, { frozen: event.target.checked })} />${t("freezeChat")}</label>
    <label class="row"><input type="checkbox" checked=${chat.links === "moderators"} onChange=${(event) => check(event, { links: event.target.checked ? "moderators" : "all" })} />${t("noLinks")}</label>
    <label>${t("slowMode")}<select value=${String(chat.slowMode ?? 0)} onChange=${slow}>
      ${[...new Set([...SLOW, chat.slowMode ?? 0])].map((each) => html`<option value=${String(each)}>${each ? t("onePer", { time: lasting(each) }) : t("off")}</option>`)}</select></label>`;
}

/** Who is banned, and a button to end it. */
export function Bans({ chat }) {
  const [items, setItems] = useState(null);
  const load = () => attempt(async () => setItems((await api.get(`/api/v2/chats/${chat._id}/bans`)).items));
  useEffect(() => { load(); }, [chat.memberCount, state.banned]);
  if (!items?.length) return null;
  const lift = (userId) => attempt(async () => {
    await api.delete(`/api/v2/chats/${chat._id}/members/${userId}/ban`);
    await load();
  });
  return html`
    <h3>${t("bans")}</h3>
    <ul class="found">${items.map((each) => html`
      <li class="row" key=${each.userId}><${Avatar} name=${each.name} />
        <span class="about"><bdi class="title">${each.name}</bdi>
          <span class="hint">${each.until ? t("untilTime", { time: moment(each.until) }) : t("forever")}${each.reason && html` · <bdi>${each.reason}</bdi>`}</span></span>
        <button type="button" class="quiet" aria-label=${t("liftBan", { name: each.name })} onClick=${() => lift(each.userId)}>${t("unban")}</button></li>`)}</ul>`;
}

/** Seconds until the user may post again, counted down. */
export function useSlowMode(chat) {
  const [left, setLeft] = useState(slowModeSeconds(chat));
  useEffect(() => {
    setLeft(slowModeSeconds(chat));
    if (!slowModeSeconds(chat)) return undefined;
    const timer = setInterval(() => {
      setLeft(slowModeSeconds(chat));
      if (!slowModeSeconds(chat)) clearInterval(timer);
    }, 500);
    return () => clearInterval(timer);
  }, [chat._id, chat.slowMode, state.posted.get(chat._id)]);
  return left;
}

export const SlowMode = ({ chat, left }) =>
  chat.slowMode > 0 && !moderates(chat) && html`
    <p class="rule" role=${left ? "timer" : null}>${left ? t("slowModeWait", { time: seconds(left) }) : t("slowModeOn", { time: lasting(chat.slowMode) })}</p>`;

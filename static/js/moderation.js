/** What moderators do: silence and ban, freeze a chat, slow it down; and what others see of it. */
import { api, me, nameOf, patchChat, setRole, state, trying } from "./store.js";
import { say } from "./notice.js";
import { t } from "./texts.js";
import { Avatar, Dialog, html, iconButton, moment, number, useEffect, useState } from "./view.js";

const RANKS = { viewer: 0, readonly: 1, member: 2, moderator: 3, admin: 4, owner: 5 };
// Seconds; an empty one has no end.
const DURATIONS = { hour: 3600, day: 86_400, week: 604_800, forever: null };
const SLOW = [0, 10, 30, 60, 300, 900, 3600];

export const roleIn = (chat, userId = me()) => chat.members.find((each) => each.userId === userId)?.role ?? chat.role ?? "viewer";
export const manages = (chat) => chat.type !== "direct" && ["owner", "admin"].includes(roleIn(chat));
export const moderates = (chat) => chat.type !== "direct" && ["owner", "admin", "moderator"].includes(roleIn(chat));

/** Whether one may silence or ban a user: somebody of a lower role, or anybody as an owner. */
export const mayAct = (chat, userId) =>
  moderates(chat) && userId !== me() && (roleIn(chat) === "owner" || RANKS[roleIn(chat)] > RANKS[roleIn(chat, userId)]);

/** Silence or ban somebody. */
export function SanctionDialog({ chat, userId, kind, onClose }) {
  const submit = (event) => {
    event.preventDefault();
    const { duration, reason, erase } = Object.fromEntries(new FormData(event.target));
    const seconds = DURATIONS[String(duration)];
    const body = {
      ...(seconds && { until: new Date(Date.now() + seconds * 1000).toISOString() }),
      ...(String(reason).trim() && { reason: String(reason).trim() }),
      ...(erase && { delete: erase }),
    };
    trying(async () => {
      await api.post(`/api/v2/chats/${chat._id}/members/${userId}/${kind}`, body);
      say(t(kind === "ban" ? "wasBanned" : "wasSilenced", { name: nameOf(userId) }));
      onClose();
    });
  };
  return html`
    <${Dialog} title=${t(kind === "ban" ? "banName" : "silenceName", { name: nameOf(userId) })} onClose=${onClose}>
      <form onSubmit=${submit}>
        <label>${t("duration")}<select name="duration">${Object.keys(DURATIONS).map((each) => html`<option value=${each} selected=${each === (kind === "ban" ? "forever" : "day")}>${t(each)}</option>`)}</select></label>
        ${kind === "ban" && html`
          <label>${t("deleteMessages")}<select name="erase">
            <option value="none">${t("deleteNone")}</option><option value="hour">${t("deleteHour")}</option>
            <option value="day">${t("deleteDay")}</option><option value="all">${t("deleteAll")}</option></select></label>`}
        <label>${t("reasonOptional")}<input name="reason" maxlength="1000" /></label>
        <p class="inline"><button class="danger">${t(kind)}</button>
          <button type="button" class="plain" onClick=${onClose}>${t("cancel")}</button></p>
      </form>
    <//>`;
}

/** What may be done with one member. */
export function MemberActions({ chat, member, onSanction }) {
  const endSilence = () => trying(async () => {
    await api.delete(`/api/v2/chats/${chat._id}/members/${member.userId}/silence`);
    say(t("silenceEnded", { name: member.name }));
  });
  if (!mayAct(chat, member.userId)) return null;
  const roles = roleIn(chat) === "owner" ? ["owner", "admin", "moderator", "member", "readonly"] : ["moderator", "member", "readonly"];
  return html`
    <details class="actions">
      <summary aria-label=${t("actionsFor", { name: member.name })} title=${t("more")}>⋯</summary>
      ${manages(chat) && html`
        <label>${t("role")}<select value=${member.role} onChange=${(event) => trying(() => setRole(chat, member.userId, event.target.value))}>
          ${roles.map((role) => html`<option value=${role}>${t(role)}</option>`)}</select></label>`}
      <p class="inline"><button type="button" onClick=${() => onSanction(member.userId, "silence")}>${t("silence")}</button>
        <button type="button" class="plain" onClick=${endSilence}>${t("endSilence")}</button>
        <button type="button" class="danger" onClick=${() => onSanction(member.userId, "ban")}>${t("ban")}</button></p>
    </details>`;
}

/** What a chat allows, for those who manage it. */
export function ChatRules({ chat }) {
  const set = (changes) => trying(() => patchChat(chat._id, changes));
  return html`
    <h3>${t("rules")}</h3>
    <label class="row"><input type="checkbox" checked=${Boolean(chat.frozen)} onChange=${(event) => set({ frozen: event.target.checked })} />${t("freezeChat")}</label>
    <label class="row"><input type="checkbox" checked=${chat.links === "moderators"} onChange=${(event) => set({ links: event.target.checked ? "moderators" : "all" })} />${t("noLinks")}</label>
    <label>${t("slowMode")}<select value=${String(chat.slowMode ?? 0)} onChange=${(event) => set({ slowMode: Number(event.target.value) })}>
      ${[...new Set([...SLOW, chat.slowMode ?? 0])].map((each) => html`<option value=${String(each)}>${each ? t("everySeconds", { count: each }) : t("off")}</option>`)}</select></label>`;
}

/** Who is banned, and a button to end it. */
export function Bans({ chat }) {
  const [items, setItems] = useState(null);
  const load = () => trying(async () => setItems((await api.get(`/api/v2/chats/${chat._id}/bans`)).items));
  useEffect(() => { load(); }, [chat.memberCount]);
  if (!items?.length) return null;
  const lift = (userId) => trying(async () => {
    await api.delete(`/api/v2/chats/${chat._id}/members/${userId}/ban`);
    await load();
  });
  return html`
    <h3>${t("bans")}</h3>
    <ul class="found">${items.map((each) => html`
      <li class="row" key=${each.userId}><${Avatar} name=${each.name} />
        <span class="about"><bdi class="title">${each.name}</bdi>
          <span class="hint">${each.until ? t("untilTime", { time: moment(each.until) }) : t("forever")}${each.reason && html` · <bdi>${each.reason}</bdi>`}</span></span>
        ${iconButton("close", t("liftBan", { name: each.name }), () => lift(each.userId))}</li>`)}</ul>`;
}

/** Seconds until one may post again in a chat in slow mode; 0 where one may. */
function secondsLeft(chat) {
  const posted = state.posted.get(chat._id);
  if (!chat.slowMode || !posted || moderates(chat)) return 0;
  return Math.max(0, Math.ceil((posted + chat.slowMode * 1000 - Date.now()) / 1000));
}

/** The seconds until one may post again, counted down. */
export function useSlowMode(chat) {
  const [left, setLeft] = useState(secondsLeft(chat));
  useEffect(() => {
    setLeft(secondsLeft(chat));
    const timer = setInterval(() => setLeft(secondsLeft(chat)), 500);
    return () => clearInterval(timer);
  }, [chat._id, chat.slowMode, state.posted.get(chat._id)]);
  return left;
}

export const SlowMode = ({ chat, left }) =>
  chat.slowMode > 0 && !moderates(chat) && html`
    <p class="rule" role=${left ? "timer" : null}>${left ? t("slowModeWait", { time: number(left) }) : t("slowModeOn", { count: chat.slowMode })}</p>`;

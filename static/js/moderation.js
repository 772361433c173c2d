/** What moderators do: silence and ban, freeze a chat, slow it down; and what others see of it. */
import { api, me, nameOf, patchChat, setRole, state, trying } from "./store.js";
import { say } from "./notice.js";
import { t } from "./texts.js";
import { Durations, endAfter } from "./durations.js";
import { Avatar, Dialog, html, iconButton, lasting, moment, seconds, useEffect, useState } from "./view.js";

const RANKS = { viewer: 0, readonly: 1, member: 2, moderator: 3, admin: 4, owner: 5 };
const SLOW = [0, 10, 30, 60, 300, 900, 3600];

export const roleIn = (chat, userId = me()) =>
  chat.members.find((each) => each.userId === userId)?.role ?? (userId === me() ? chat.role : undefined) ?? "viewer";
export const manages = (chat) => chat.type !== "direct" && ["owner", "admin"].includes(roleIn(chat));
export const moderates = (chat) => chat.type !== "direct" && ["owner", "admin", "moderator"].includes(roleIn(chat));

/** Whether the current user may silence or ban another: a moderator users of a lower role, an owner all. */
export const mayAct = (chat, userId) =>
  moderates(chat) && userId !== me() && (roleIn(chat) === "owner" || RANKS[roleIn(chat)] > RANKS[roleIn(chat, userId)]);

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
    trying(async () => {
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
        <p class="inline"><button class="danger">${t(kind)}</button>
          <button type="button" class="plain" onClick=${(event) => event.target.closest("dialog").close()}>${t("cancel")}</button></p>
      </form>
    <//>`;
}

/** What may be done with one member. */
export function MemberActions({ chat, member, onSanction }) {
  const endSilence = () => trying(async () => {
    await api.delete(`/api/v2/chats/${chat._id}/members/${member.userId}/silence`);
    say(t("silenceEnded", { name: member.name }));
  });
  const give = (event) => {
    event.preventDefault();
    const role = String(new FormData(event.target).get("role"));
    if (role === "owner" && !confirm(t("ownerSure", { name: member.name }))) return;
    trying(() => setRole(chat, member.userId, role));
  };
  if (!mayAct(chat, member.userId)) return null;
  const roles = roleIn(chat) === "owner" ? ["owner", "admin", "moderator", "member", "readonly"] : ["moderator", "member", "readonly"];
  return html`
    <details class="actions">
      <summary aria-label=${t("actionsFor", { name: member.name })} title=${t("more")}>⋯</summary>
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
  const set = async (changes, undo) => { if (!(await trying(() => patchChat(chat._id, changes)))) undo(); };
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
  const load = () => trying(async () => setItems((await api.get(`/api/v2/chats/${chat._id}/bans`)).items));
  useEffect(() => { load(); }, [chat.memberCount, state.banned]);
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
    if (!secondsLeft(chat)) return undefined;
    const timer = setInterval(() => {
      setLeft(secondsLeft(chat));
      if (!secondsLeft(chat)) clearInterval(timer);
    }, 500);
    return () => clearInterval(timer);
  }, [chat._id, chat.slowMode, state.posted.get(chat._id)]);
  return left;
}

export const SlowMode = ({ chat, left }) =>
  chat.slowMode > 0 && !moderates(chat) && html`
    <p class="rule" role=${left ? "timer" : null}>${left ? t("slowModeWait", { time: seconds(left) }) : t("slowModeOn", { time: lasting(chat.slowMode) })}</p>`;

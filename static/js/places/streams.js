/** Streams: what comes and what is live, and the way into their chats. */
import { isMine } from "../model/rooms.js";
import { may, me } from "../model/session.js";
import { attempt, once, state } from "../model/state.js";
import { followStream, loadStreams, moveStream, scheduleStream, watchStream } from "../model/streams.js";
import { Dialog } from "../ui/dialog.js";
import { moment } from "../ui/formats.js";
import { html, useEffect, useState } from "../ui/html.js";
import { iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";

const MOVES = { scheduled: ["ready", "cancel"], ready: ["start", "cancel"], started: ["end"] };
const MOVE_TEXTS = { ready: "makeReady", start: "makeStart", end: "makeEnd", cancel: "makeCancel" };

export function Streams() {
  const { items, cursor } = state.streams;
  const [adding, setAdding] = useState(false);
  useEffect(() => { attempt(loadStreams); }, []);
  return html`
    <header><h2>${t("streams")}</h2>
      ${may("streams.manage") && iconButton("streams", t("newStream"), () => setAdding(true))}</header>
    ${items?.length === 0 && html`<p class="hint">${t("noStreams")}</p>`}
    <ul class="streams">
      ${(items ?? []).map((stream) => html`<${Entry} key=${stream.id} stream=${stream} />`)}
      ${cursor && html`<li><button type="button" class="plain" onClick=${() => once("streams", () => loadStreams(cursor))}>${t("loadMore")}</button></li>`}
    </ul>
    ${adding && html`<${Add} onClose=${() => setAdding(false)} />`}`;
}

function Entry({ stream }) {
  const chat = state.chats.get(stream.chatId);
  const following = chat && isMine(chat);
  const moves = stream.ownerId === me() ? MOVES[stream.status] ?? [] : [];
  const over = !(stream.status in MOVES);
  const open = () => attempt(async () => {
    await watchStream(stream.id);
    location.hash = `#/chat/${stream.chatId}`;
  });
  return html`
    <li class="stream">
      <span class="about">
        <b class="title"><bdi>${stream.title}</bdi></b>
        <span><mark class=${stream.status}>${t(stream.status)}</mark> ${t("startsAt", { time: moment(stream.startsAt) })}</span>
        ${stream.audience === "open" && html`<span class="hint">${t("viewers", { count: stream.viewers ?? 0 })}</span>`}
      </span>
      <span class="inline">
        ${(chat || !over) && html`<button type="button" onClick=${open}>${t("openChat")}</button>`}
        ${!over && html`<button type="button" class="plain" onClick=${() => attempt(() => followStream(stream.id, !following))}>${t(following ? "unfollow" : "follow")}</button>`}
        ${moves.map((verb) => html`<button type="button" class="plain" onClick=${() => attempt(() => moveStream(stream.id, verb))}>${t(MOVE_TEXTS[verb])}</button>`)}
      </span>
    </li>`;
}

function Add({ onClose }) {
  const submit = (event) => {
    event.preventDefault();
    const { title, at, open } = Object.fromEntries(new FormData(event.target));
    attempt(async () => { await scheduleStream(title, new Date(String(at)).toISOString(), open ? "open" : "members"); onClose(); });
  };
  return html`
    <${Dialog} title=${t("newStream")} onClose=${onClose}>
      <form onSubmit=${submit}>
        <label>${t("streamTitle")}<input name="title" maxlength="255" required /></label>
        <label>${t("streamTime")}<input name="at" type="datetime-local" required /></label>
        <label class="inline"><input name="open" type="checkbox" /> ${t("streamOpen")}</label>
        <button>${t("create")}</button>
      </form>
    <//>`;
}

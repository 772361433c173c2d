/** An open chat: who is there, what was said, and what one writes. */
import { newer, older, showNewest } from "../model/history.js";
import { nameOf, otherOf, titleOf } from "../model/people.js";
import { readNewest } from "../model/receipts.js";
import { whySilent } from "../model/roles.js";
import { live } from "../model/session.js";
import { state } from "../model/state.js";
import { Avatar } from "../ui/avatar.js";
import { moment } from "../ui/formats.js";
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { icon, iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { Composer } from "./composer.js";
import { Hearts, Viewers } from "./hearts.js";
import { Members } from "./members.js";
import { Menu } from "./menu.js";
import { Messages } from "./messages.js";
import { SanctionDialog } from "./moderation.js";
import { Thread } from "./thread.js";

const NEAR = 200;
// So many pixels before the oldest that is here, older ones are asked for.
const AHEAD = 1000;
// How long a message that was jumped to is marked, in milliseconds.
const SHOWN_MS = 3_000;

export function Conversation({ chat }) {
  const [showing, setShowing] = useState(false);
  const [editing, setEditing] = useState(null);
  const [replying, setReplying] = useState(null);
  const [menu, setMenu] = useState(null);
  const [thread, setThread] = useState(null);
  const [sanction, setSanction] = useState(null);
  const timeline = state.timelines.get(chat._id);
  const scroller = useRef();
  const [away, setAway] = useState(false);

  const fill = () => {
    const { scrollHeight, clientHeight, scrollTop } = scroller.current;
    if (scrollHeight - clientHeight + scrollTop < AHEAD) older(chat._id);
    if (scrollTop > -AHEAD && timeline?.after) more();
  };
  const toNewest = async () => {
    await showNewest(chat._id);
    if (scroller.current) scroller.current.scrollTop = 0;
  };
  /** Load newer ones below, without moving what is on the screen. */
  const more = async () => {
    const lowest = [...scroller.current.querySelectorAll(".message")].at(-1);
    const place = () => lowest.getBoundingClientRect().top;
    const drawn = () => new Promise((resolve) => { requestAnimationFrame(resolve); });
    if (!lowest || !(await newer(chat._id))) return;
    const was = place();
    await drawn();
    await drawn();
    if (scroller.current) scroller.current.scrollTop += place() - was;
  };
  const scrolled = () => {
    setAway(scroller.current.scrollTop < -NEAR);
    fill();
  };

  const silent = whySilent(chat);
  useEffect(fill, [timeline?.before]);
  useEffect(() => {
    const { jump } = state;
    if (jump?.chatId !== chat._id) return;
    state.jump = null;
    const found = document.getElementById(`m-${jump.shown}`);
    found?.scrollIntoView({ block: "center" });
    // Once more when what is around it has its height.
    requestAnimationFrame(() => found?.scrollIntoView({ block: "center" }));
    found?.classList.add("shown");
    setTimeout(() => found?.classList.remove("shown"), SHOWN_MS);
    if (jump.root) setThread({ ...jump.root, shown: jump.messageId });
  }, [state.jump]);
  useEffect(() => live.on("queued", ({ chatId, threadId }) => { if (chatId === chat._id && !threadId) toNewest(); }), []);
  useEffect(() => { readNewest(); }, [away]);

  return html`
    <header>
      <a class="plain back" href="#/chats" aria-label=${t("back")}>${icon("back")}</a>
      <${Title} chat=${chat} />
      ${iconButton("more", t("more"), () => setShowing(true))}
    </header>
    <div class=${away ? "scroller away" : "scroller"} ref=${scroller} tabindex="0" onScroll=${scrolled}>
      <${Messages} chat=${chat} onMenu=${setMenu} onThread=${setThread} />
    </div>
    ${(away || timeline?.after) && html`<button type="button" class="newest" aria-label=${t("newest")} title=${t("newest")}
      onClick=${toNewest}>${icon("down")}</button>`}
    <${Typing} chatId=${chat._id} />
    ${chat.type === "room" && html`<${Hearts} chat=${chat} />`}
    ${silent
      ? html`<p class="composer hint">${silent}</p>`
      : html`<${Composer} key=${editing?._id ?? "new"} chat=${chat} editing=${editing} replying=${replying}
          onDone=${() => { setEditing(null); setReplying(null); }} />`}
    ${menu && html`
      <${Menu} key=${menu.opened} ...${menu} chat=${chat} onEdit=${setEditing} onReply=${setReplying}
        onThread=${setThread} onSanction=${setSanction} onClose=${() => setMenu((now) => (now === menu ? null : now))} />`}
    ${thread && html`<${Thread} key=${thread._id} chat=${chat} begun=${thread} shown=${thread.shown} onClose=${() => setThread(null)} />`}
    ${sanction && html`<${SanctionDialog} chat=${chat} ...${sanction} onClose=${() => setSanction(null)} />`}
    ${showing && html`<${Members} chat=${chat} onClose=${() => setShowing(false)} />`}`;
}

function Title({ chat }) {
  const other = otherOf(chat);
  const facts = other && state.people.get(other.userId);
  const seen = facts?.lastSeenAt && t("lastSeen", { time: moment(facts.lastSeenAt) });
  return html`
    <${Avatar} name=${titleOf(chat)} online=${facts?.online} />
    <div class="about">
      <h1><bdi>${titleOf(chat)}</bdi></h1>
      <p class="hint">${chat.type === "room" ? html`<${Viewers} chat=${chat} />` : other ? (facts?.online ? t("online") : seen) : t("memberCount", { count: chat.memberCount })}</p>
    </div>`;
}

function Typing({ chatId }) {
  const who = [...(state.typing.get(chatId)?.keys() ?? [])];
  const text = who.length > 1 ? t("areTyping", { count: who.length }) : who.length ? t("isTyping", { name: nameOf(who[0]) }) : "";
  return html`<p class="typing" aria-live="polite">${text}</p>`;
}

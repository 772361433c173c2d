/** An open chat: its messages, what is written, and the panel beside it. */
import { newer, older, showNewest } from "../model/history.js";
import { nameOf, otherOf, titleOf } from "../model/people.js";
import { markRead } from "../model/receipts.js";
import { whySilent } from "../model/roles.js";
import { live } from "../model/session.js";
import { state } from "../model/state.js";
import { ago, number } from "../ui/formats.js";
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { icon, iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";
import { Avatar } from "./avatar.js";
import { Composer } from "./composer.js";
import { Forward } from "./forward.js";
import { Hearts, Viewers } from "./hearts.js";
import { Members } from "./members.js";
import { Menu } from "./menu.js";
import { Messages } from "./messages.js";
import { SanctionDialog } from "./moderation.js";
import { Pinned } from "./pinned.js";
import { Thread } from "./thread.js";

// Pixels from the newest message within which the view follows new ones.
const FOLLOW_PIXELS = 200;
// So many pixels before the end of what is loaded, more is asked for.
const AHEAD_PIXELS = 1000;
// How long a message that was jumped to is marked.
const SHOWN_MS = 3_000;

export function Conversation({ chat }) {
  const [showing, setShowing] = useState(false);
  const [editing, setEditing] = useState(null);
  const [replying, setReplying] = useState(null);
  const [menu, setMenu] = useState(null);
  const [thread, setThread] = useState(null);
  const [forwarding, setForwarding] = useState(null);
  const [sanction, setSanction] = useState(null);
  const [away, setAway] = useState(false);
  const timeline = state.timelines.get(chat._id);
  // As it was when this was drawn: the message to jump to is drawn, too.
  const { jump } = state;
  const scroller = useRef();

  const toNewest = async () => {
    await showNewest(chat._id);
    if (scroller.current) scroller.current.scrollTop = 0;
  };
  const scrolled = () => {
    setAway(scroller.current.scrollTop < -FOLLOW_PIXELS);
    fill(scroller.current, chat._id);
    readSeen(scroller.current, chat);
  };
  const done = () => { setEditing(null); setReplying(null); };

  const silent = whySilent(chat);
  useEffect(() => fill(scroller.current, chat._id), [timeline?.before]);
  useEffect(() => {
    if (jump?.chatId !== chat._id || state.jump !== jump) return;
    state.jump = null;
    showMessage(jump);
    if (jump.root) setThread({ ...jump.root, shown: jump.messageId });
  }, [jump]);
  useEffect(() => live.on("queued", ({ chatId, threadId }) => { if (chatId === chat._id && !threadId) toNewest(); }), []);
  // After each time that the page was drawn: what is new may be on the screen.
  useEffect(() => {
    const frame = requestAnimationFrame(() => { if (scroller.current) readSeen(scroller.current, state.chats.get(chat._id)); });
    return () => cancelAnimationFrame(frame);
  });

  return html`
    <main class=${thread ? "with-panel" : ""}>
      <section class="conversation" aria-label=${titleOf(chat)}>
        <header>
          <a class="plain back" href="#/chats" aria-label=${t("back")}>${icon("arrow-left")}</a>
          <${Title} chat=${chat} />
          ${iconButton("more", t("more"), () => setShowing(true))}
        </header>
        <${Pinned} chat=${chat} />
        <div id="messages" class=${away ? "scroller away" : "scroller"} ref=${scroller} tabindex="0" onScroll=${scrolled}>
          <${Messages} chat=${chat} onMenu=${setMenu} onThread=${setThread} />
        </div>
        ${(away || timeline?.after) && html`
          <button type="button" class="newest" aria-label=${[t("newest"), chat.unreadCount && number(chat.unreadCount)].filter(Boolean).join(" ")} title=${t("newest")} onClick=${toNewest}>
            ${icon("down")}${chat.unreadCount > 0 && html`<b class="badge">${number(chat.unreadCount)}</b>`}
          </button>`}
        ${chat.type === "room" && html`<${Hearts} chat=${chat} />`}
        <div class="writing">
          <${Typing} chatId=${chat._id} />
          ${silent
            ? html`<p class="composer hint">${silent}</p>`
            : html`<${Composer} key=${editing?._id ?? "new"} chat=${chat} editing=${editing} replying=${replying} onDone=${done} onEdit=${setEditing} />`}
        </div>
      </section>
      ${thread && html`<${Thread} key=${thread._id} chat=${chat} begun=${thread} shown=${thread.shown} onClose=${() => setThread(null)} />`}
      ${menu && html`
        <${Menu} key=${menu.opened} ...${menu} chat=${chat} onEdit=${setEditing} onReply=${setReplying}
          onThread=${setThread} onForward=${setForwarding} onSanction=${setSanction} onClose=${() => setMenu((now) => (now === menu ? null : now))} />`}
      ${forwarding && html`<${Forward} message=${forwarding} onClose=${() => setForwarding(null)} />`}
      ${sanction && html`<${SanctionDialog} chat=${chat} ...${sanction} onClose=${() => setSanction(null)} />`}
      ${showing && html`<${Members} chat=${chat} onClose=${() => setShowing(false)} />`}
    </main>`;
}

/** Load more where an end of what is loaded is close. */
function fill(scroller, chatId) {
  const { scrollHeight, clientHeight, scrollTop } = scroller;
  if (scrollHeight - clientHeight + scrollTop < AHEAD_PIXELS) older(chatId);
  if (scrollTop > -AHEAD_PIXELS && state.timelines.get(chatId)?.after) below(scroller, chatId);
}

/** Load newer messages without moving what is on the screen. */
async function below(scroller, chatId) {
  const lowest = [...scroller.querySelectorAll(".message")].at(-1);
  const place = () => lowest.getBoundingClientRect().top;
  const drawn = () => new Promise((resolve) => { requestAnimationFrame(resolve); });
  if (!lowest || !(await newer(chatId))) return;
  const was = place();
  await drawn();
  await drawn();
  scroller.scrollTop += place() - was;
}

/** @param {{shown: string, block?: ScrollLogicalPosition}} jump */
function showMessage({ shown, block = "center" }) {
  const found = document.getElementById(`m-${shown}`);
  const target = block === "start" ? document.querySelector(".divider") ?? found : found;
  target?.scrollIntoView({ block });
  // Once more when what is around it has its height.
  requestAnimationFrame(() => target?.scrollIntoView({ block }));
  if (block !== "center") return;
  found?.classList.add("shown");
  setTimeout(() => found?.classList.remove("shown"), SHOWN_MS);
}

// Where messages begin and end in a line, and how finely it is looked for them, in pixels.
const EDGE_PIXELS = 60;
const STEP_PIXELS = 16;

/** Mark as read up to the lowest message that is on the screen. */
function readSeen(scroller, chat) {
  const { left, right, top, bottom } = scroller.getBoundingClientRect();
  if (document.hidden || !chat?.unreadCount || !scroller.offsetParent) return;
  for (let y = bottom - STEP_PIXELS; y > top; y -= STEP_PIXELS) {
    const places = [left + EDGE_PIXELS, right - EDGE_PIXELS].map((x) => document.elementFromPoint(x, y)?.closest(".message[data-seq]"));
    const seqs = places.filter((each) => scroller.contains(each)).map((each) => Number(each.getAttribute("data-seq")));
    if (!seqs.length) continue;
    const message = state.timelines.get(chat._id)?.find(Math.max(...seqs));
    if (message) markRead(chat, message);
    return;
  }
}

function Title({ chat }) {
  const other = otherOf(chat);
  const facts = other && state.people.get(other.userId);
  const seen = facts?.lastSeenAt && t("lastSeen", { time: ago(facts.lastSeenAt) });
  return html`
    <${Avatar} id=${other?.userId ?? chat._id} name=${titleOf(chat)} url=${facts?.avatarUrl} online=${facts?.online} />
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

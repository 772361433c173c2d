/** The monitor's moderation: reports with what is around them and what to do about them, and word lists. */
import { Durations, endAfter } from "../ui/durations.js";
import { moment } from "../ui/formats.js";
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { unmarked } from "../ui/markdown.js";
import { t } from "../ui/texts.js";

const STATES = { open: "openReports", actioned: "actionedReports", dismissed: "dismissedReports" };
const LOOK_MS = 10_000;
const PAGE = 50;

export function Moderation({ api, trying, looking }) {
  return html`
    <section class="cards wide" aria-label=${t("moderation")}>
      <${Reports} api=${api} trying=${trying} looking=${looking} />
      <${WordLists} api=${api} trying=${trying} />
    </section>`;
}

function Reports({ api, trying, looking }) {
  const [shown, setShown] = useState("open");
  const [page, setPage] = useState({ items: [], nextCursor: null });
  const [said, setSaid] = useState("");
  const [names, setNames] = useState({});
  const asked = useRef(shown);
  asked.current = shown;
  const get = (cursor) => api.get(`/api/v1/admin/reports?state=${shown}&limit=${PAGE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  const load = async () => {
    const found = await get();
    const ids = [...new Set(found.items.map((each) => each.message?.senderId).filter(Boolean))].join(",");
    const users = ids ? (await api.get(`/api/v1/users?ids=${ids}&limit=50`)).items : [];
    setNames((known) => ({ ...known, ...Object.fromEntries(users.map((each) => [each.id, each.name])) }));
    // What was asked for before another state was chosen, or before more were loaded, is not shown any more.
    setPage((now) => (asked.current !== shown || (now.state === shown && now.items.length > PAGE) ? now : { ...found, state: shown }));
  };
  const more = () => trying(async () => {
    const { items, nextCursor } = await get(page.nextCursor);
    setPage((now) => ({ ...now, items: [...now.items, ...items], nextCursor }));
  });
  useEffect(() => looking(load, LOOK_MS), [shown]);
  const resolve = (report, body) => trying(async () => {
    await api.patch(`/api/v1/admin/reports/${report.id}`, body);
    setSaid(t("reportClosed"));
    setPage((now) => ({ ...now, items: now.items.filter((each) => each.messageId !== report.messageId) }));
    await load();
  });
  return html`
    <div class="card">
      <header class="inline"><h2>${t("reports")}</h2>
        <select aria-label=${t("status")} value=${shown} onChange=${(event) => setShown(event.target.value)}>
          ${Object.entries(STATES).map(([each, text]) => html`<option value=${each}>${t(text)}</option>`)}</select></header>
      <p role="status">${said}</p>
      ${!page.items.length && html`<p class="hint">${t("noReports")}</p>`}
      <ul class="reports">${page.items.map((each) => html`
        <${Report} key=${each.id} report=${each} name=${names[each.message?.senderId] ?? ""} api=${api} trying=${trying} onResolve=${(body) => resolve(each, body)} />`)}</ul>
      ${page.nextCursor && html`<button type="button" class="plain" onClick=${more}>${t("loadMore")}</button>`}
    </div>`;
}

function Report({ report, name, api, trying, onResolve }) {
  const [context, setContext] = useState(null);
  const [names, setNames] = useState({});
  const [duration, setDuration] = useState("day");
  const look = () => trying(async () => {
    if (context) return setContext(null);
    const { context: around } = await api.get(`/api/v1/admin/reports/${report.id}`);
    const ids = [...new Set(around.map((each) => each.senderId))].join(",");
    if (ids) setNames(Object.fromEntries((await api.get(`/api/v1/users?ids=${ids}`)).items.map((each) => [each.id, each.name])));
    return setContext(around);
  });
  const act = (action) => {
    const until = ["silence", "ban"].includes(action) && endAfter(duration);
    if (action === "ban" && !confirm(t("banSure", { name }))) return;
    onResolve({ state: "actioned", action, ...(until && { until }) });
  };
  const { message } = report;
  return html`
    <li class="report">
      <p class="hint">${report.reporter ? t("reportedBy", { name: report.reporter.name }) : t("reportedByList")} · ${moment(report.createdAt)}
        ${report.reportCount > 1 && html` · <b>${t("reportCount", { count: report.reportCount })}</b>`}</p>
      <p dir="auto"><bdi>${report.reason}</bdi></p>
      <blockquote dir="auto">${name && html`<b><bdi>${name}</bdi></b>: `}${message ? unmarked(message.content ?? "") || t(message.deletedAt ? "deleted" : "file") : t("messageGone")}</blockquote>
      ${context && html`
        <ol class="context">${context.map((each) => html`
          <li key=${each._id} class=${each._id === report.messageId ? "reported" : ""}>
            <b><bdi>${names[each.senderId] ?? each.senderId}</bdi></b> <time class="hint">${moment(each.createdAt)}</time>${" "}
            <span dir="auto">${each.content ?? t(each.deletedAt ? "deleted" : "file")}</span></li>`)}</ol>`}
      <p class="inline">
        ${message && html`<button type="button" class="plain" aria-expanded=${String(Boolean(context))} onClick=${look}>${t("context")}</button>`}
        ${report.state === "open" ? html`
          <button type="button" class="plain" onClick=${() => onResolve({ state: "dismissed" })}>${t("dismiss")}</button>
          ${message && html`
            <button type="button" class="danger" onClick=${() => act("delete")}>${t("deleteMessage")}</button>
            <${Durations} aria-label=${t("duration")} chosen=${duration} onChange=${(event) => setDuration(event.target.value)} />
            <button type="button" aria-label=${t("silenceName", { name })} onClick=${() => act("silence")}>${t("silence")}</button>
            <button type="button" class="danger" aria-label=${t("banName", { name })} onClick=${() => act("ban")}>${t("ban")}</button>`}`
        : html`<span class="hint">${t(STATES[report.state])}${report.action && report.action !== "none" && `: ${t(ACTIONS[report.action])}`}</span>`}
      </p>
    </li>`;
}

const ACTIONS = { delete: "deleteMessage", silence: "silence", ban: "ban" };

function WordLists({ api, trying }) {
  const [items, setItems] = useState([]);
  const [edited, setEdited] = useState(null);
  const load = () => trying(async () => setItems((await api.get("/api/v1/admin/word-lists")).items));
  useEffect(() => { load(); }, []);
  const save = (event) => {
    event.preventDefault();
    const { name, action, words } = Object.fromEntries(new FormData(event.target));
    if (!edited.name && items.some((each) => each.name === name) && !confirm(t("replaceSure", { name }))) return;
    const body = { action, words: String(words).split("\n").map((each) => each.trim()).filter(Boolean) };
    trying(async () => {
      await api.put(`/api/v1/admin/word-lists/${encodeURIComponent(String(name))}`, body);
      setEdited(null);
      await load();
    });
  };
  const erase = (name) => confirm(t("deleteListSure", { name })) && trying(async () => {
    await api.delete(`/api/v1/admin/word-lists/${encodeURIComponent(name)}`);
    setEdited(null);
    await load();
  });
  return html`
    <div class="card">
      <h2>${t("wordLists")}</h2>
      <p class="hint">${t("wordListsHint")}</p>
      <ul>${items.map((each) => html`
        <li class="row" key=${each.name}><span class="about"><bdi class="title">${each.name}</bdi>
          <span class="hint">${t(each.action === "flag" ? "flagWords" : "rejectWords")} · ${t("wordCount", { count: each.words.length })}</span></span>
          <button type="button" class="plain" aria-label=${t("editName", { name: each.name })} onClick=${() => setEdited(each)}>${t("edit")}</button></li>`)}</ul>
      ${edited
        ? html`
          <form onSubmit=${save} key=${edited.name}>
            <label>${t("listName")}<input name="name" defaultValue=${edited.name} required maxlength="64" pattern="[A-Za-z0-9._\\-]+" readonly=${Boolean(edited.name)} /></label>
            <label>${t("listAction")}<select name="action" value=${edited.action}>
              <option value="reject">${t("rejectWords")}</option><option value="flag">${t("flagWords")}</option></select></label>
            <label>${t("listWords")}<textarea name="words" rows="8" dir="auto" required defaultValue=${edited.words.join("\n")}></textarea></label>
            <p class="inline"><button>${t("save")}</button>
              <button type="button" class="plain" onClick=${() => setEdited(null)}>${t("cancel")}</button>
              ${edited.name && html`<button type="button" class="danger" onClick=${() => erase(edited.name)}>${t("delete")}</button>`}</p>
          </form>`
        : html`<p><button type="button" onClick=${() => setEdited({ name: "", action: "reject", words: [] })}>${t("newList")}</button></p>`}
    </div>`;
}

/** The monitor, for administrators: what all nodes do, who is who, pushes that were given up, and broadcasts. */
import { Api, newKey } from "@bellwire/client";

import { Plot } from "./monitor/plot.js";
import { Moderation } from "./monitor/reports.js";
import { moment, number } from "./ui/formats.js";
import { html, render, useEffect, useState } from "./ui/html.js";
import { choose, t } from "./ui/texts.js";

const EVERY = 2_000;
const KEPT = 90;

const api = new Api(localStorage);

/** From two looks at a node's counters, what it did in a second, and how long one took. */
const rate = (name) => (now, before, seconds) => (now[name] - before[name]) / seconds;
const each = (sum, count, scale = 1) => (now, before) => (now[count] > before[count] ? (scale * (now[sum] - before[sum])) / (now[count] - before[count]) : 0);
const value = (name, scale = 1) => (now) => now[name] * scale;

const PLOTS = {
  sockets: { of: value("sockets"), all: "sum" },
  commands: { of: rate("commands"), all: "sum" },
  deliveries: { of: rate("deliveries"), all: "sum" },
  batch: { of: each("commands", "commits"), all: "max" },
  commitTime: { of: each("commitSeconds", "commits", 1e3), all: "max" },
  answers: { of: rate("answers"), all: "sum" },
  answerTime: { of: each("answerSeconds", "answers", 1e3), all: "max" },
  pushed: { of: rate("pushes"), all: "sum" },
  outbox: { of: value("outbox"), all: "max" },
  outboxAge: { of: value("outboxAge"), all: "max" },
  memory: { of: value("memory", 1 / 2 ** 20), all: "sum" },
};

/** Looks at the nodes, kept by their ids: `{at, figures}`, the newest last. */
const looks = new Map();
const history = Object.fromEntries(Object.keys(PLOTS).map((name) => [name, []]));

function keep(nodes) {
  const gone = new Set(looks.keys());
  const found = Object.fromEntries(Object.keys(PLOTS).map((name) => [name, []]));
  for (const node of nodes) {
    gone.delete(node.id);
    const before = looks.get(node.id);
    const at = Date.parse(node.seenAt);
    if (before && at > before.at) {
      const values = Object.entries(PLOTS).map(([name, { of }]) => [name, of(node.figures, before.figures, (at - before.at) / 1000)]);
      looks.set(node.id, { at, figures: node.figures, values: Object.fromEntries(values) });
    } else if (!before) {
      looks.set(node.id, { at, figures: node.figures, values: null });
    }
    const values = looks.get(node.id).values;
    if (values) for (const name of Object.keys(PLOTS)) found[name].push(values[name]);
  }
  for (const id of gone) looks.delete(id);
  for (const [name, { all }] of Object.entries(PLOTS)) {
    const values = found[name];
    const together = all === "sum" ? values.reduce((sum, one) => sum + one, 0) : Math.max(...values);
    history[name] = [...history[name], values.length ? together : null].slice(-KEPT);
  }
}

const TABS = ["overview", "moderation"];
const tabOf = () => TABS.find((each) => location.hash === `#${each}`) ?? "overview";

function Monitor() {
  const [nodes, setNodes] = useState([]);
  const [problem, setProblem] = useState("");
  const [lost, setLost] = useState("");
  const [tab, setTab] = useState(tabOf());
  useEffect(() => {
    const moved = () => setTab(tabOf());
    window.addEventListener("hashchange", moved);
    return () => window.removeEventListener("hashchange", moved);
  }, []);
  const trying = async (work) => {
    try { setProblem(""); return await work(); } catch (error) { setProblem(error.message); return undefined; }
  };
  /** Look now and again; what fails is said until a look succeeds. */
  const looking = (work, every = EVERY) => {
    const look = () => work().then(() => setLost(""), (error) => setLost(error.message));
    look();
    const timer = setInterval(look, every);
    return () => clearInterval(timer);
  };

  useEffect(() => looking(async () => {
    const { items } = await api.get("/api/v1/admin/nodes");
    keep(items);
    setNodes(items);
  }), []);

  return html`
    <main class="monitor">
      <header><h1>Bellwire · ${t("monitor")}</h1><a href="/">${t("toChat")}</a></header>
      <nav class="tabs" aria-label=${t("monitor")}>
        ${TABS.map((each) => html`<a href=${`#${each}`} aria-current=${tab === each ? "page" : null}>${t(each)}</a>`)}
      </nav>
      <p role="alert">${problem || lost}</p>
      ${tab === "moderation" ? html`<${Moderation} api=${api} trying=${trying} looking=${looking} />` : html`
        <section class="plots" aria-label=${t("overview")}>
          ${Object.entries(history).map(([name, values]) => html`<${Plot} key=${name} label=${t(name)} values=${values} most=${KEPT} />`)}
        </section>
        <section class="cards">
          <${Nodes} nodes=${nodes} />
          <${Search} trying=${trying} />
          <${DeadLetters} trying=${trying} looking=${looking} />
          <${Broadcast} trying=${trying} looking=${looking} />
        </section>`}
    </main>`;
}

function Nodes({ nodes }) {
  return html`
    <div class="card">
      <h2>${t("nodes")}</h2>
      <div class="scrolling"><table>
        <thead><tr><th>${t("place")}</th><th>${t("since")}</th><th class="figure">${t("sockets")}</th><th class="figure">${t("commands")}</th><th class="figure">${t("memory")}</th></tr></thead>
        <tbody>${nodes.map((node) => {
          const values = looks.get(node.id)?.values;
          return html`
            <tr key=${node.id}><td>${node.place}</td><td>${moment(node.startedAt)}</td>
              <td class="figure">${number(node.figures.sockets)}</td>
              <td class="figure">${values ? number(Math.round(values.commands)) : "–"}</td>
              <td class="figure">${number(Math.round(node.figures.memory / 2 ** 20))}</td></tr>`;
        })}</tbody>
      </table></div>
    </div>`;
}

function Search({ trying }) {
  const [found, setFound] = useState(null);
  const search = (event) => {
    event.preventDefault();
    const query = String(new FormData(event.target).get("query")).trim();
    if (query) trying(async () => setFound(await look(query)));
  };
  const pushes = (user) => trying(async () => {
    setFound({ ...found, of: user, pushes: (await api.get(`/api/v1/admin/push/deliveries?limit=20&userId=${user.id}`)).items });
  });
  return html`
    <div class="card">
      <h2>${t("search")}</h2>
      <form role="search" onSubmit=${search}><input type="search" name="query" placeholder=${t("searchFor")} aria-label=${t("searchFor")} /></form>
      ${found && !found.users.length && !found.chats.length && !found.pushes && html`<p class="hint">${t("nothingFound")}</p>`}
      ${found?.users.length > 0 && html`
        <h3>${t("users")}</h3>
        <ul>${found.users.map((user) => html`
          <li class="row" key=${user.id}><span class="about"><bdi class="title">${user.name}</bdi>
            <span class="hint">${user.email ?? ""} ${user.id} ${user.status ?? ""}</span></span>
            <button type="button" class="plain" onClick=${() => pushes(user)}>${t("pushes")}</button></li>`)}</ul>`}
      ${found?.chats.length > 0 && html`
        <h3>${t("chats")}</h3>
        <ul>${found.chats.map((chat) => html`
          <li class="row" key=${chat._id}><span class="about"><bdi class="title">${chat.name ?? chat.type}</bdi>
            <span class="hint">${chat._id} · ${t("memberCount", { count: chat.memberCount })} · ${moment(chat.createdAt)}</span></span></li>`)}</ul>`}
      ${found?.pushes && html`<h3>${t("pushes")} <bdi>${found.of?.name}</bdi></h3><${Pushes} items=${found.pushes} />`}
    </div>`;
}

const ID = /^[0-9a-f]{24}$/;
const PUSH_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

async function look(query) {
  const text = encodeURIComponent(query);
  const [users, chats, pushes] = await Promise.all([
    api.get(ID.test(query) ? `/api/v1/users?ids=${text}` : `/api/v1/users?limit=20&query=${text}`),
    api.get(`/api/v1/admin/chats?limit=20&query=${text}`),
    PUSH_ID.test(query) ? api.get(`/api/v1/admin/push/deliveries?pushId=${text}`) : null,
  ]);
  return { users: users.items, chats: chats.items, pushes: pushes?.items };
}

function Pushes({ items, onRetry }) {
  if (!items.length) return html`<p class="hint">${t("nothingFound")}</p>`;
  return html`
    <div class="scrolling"><table>
      <thead><tr><th>${t("kind")}</th><th>${t("status")}</th><th class="figure">${t("tries")}</th><th></th></tr></thead>
      <tbody>${items.map((item) => html`
        <tr key=${item.id}><td>${item.kind}, ${item.provider}<br /><span class="hint">${moment(item.createdAt)}</span></td>
          <td>${item.state} ${item.status ?? ""} ${item.reason ?? ""}</td><td class="figure">${item.attempts}</td>
          <td>${onRetry && html`<button type="button" class="plain" onClick=${() => onRetry(item)}>${t("retry")}</button>`}</td></tr>`)}
      </tbody>
    </table></div>`;
}

function DeadLetters({ trying, looking }) {
  const [items, setItems] = useState([]);
  const [said, setSaid] = useState("");
  const load = async () => setItems((await api.get("/api/v1/admin/push/dead-letters?limit=50")).items);
  const retry = (item) => trying(async () => {
    await api.post(`/api/v1/admin/push/dead-letters/${item.id}/retry`);
    setSaid(t("retried"));
    await load();
  });
  useEffect(() => looking(load, 5 * EVERY), []);
  return html`
    <div class="card">
      <h2>${t("deadLetters")}</h2>
      ${items.length ? html`<${Pushes} items=${items} onRetry=${retry} />` : html`<p class="hint">${t("noDeadLetters")}</p>`}
      <p role="status">${said}</p>
    </div>`;
}

function Broadcast({ trying, looking }) {
  const [draft, setDraft] = useState({});
  const [items, setItems] = useState([]);
  const load = async () => setItems((await api.get("/api/v1/admin/broadcasts?limit=10")).items);
  useEffect(() => looking(load), []);

  const preview = (event) => {
    event.preventDefault();
    const { title, message } = Object.fromEntries(new FormData(event.target));
    trying(async () => {
      const { recipients } = await api.post("/api/v1/admin/broadcasts", { title, message, preview: true });
      setDraft({ title, message, recipients, key: newKey() });
    });
  };
  const send = () => trying(async () => {
    const { title, message, key } = draft;
    await api.post("/api/v1/admin/broadcasts", { title, message }, key);
    setDraft({});
    await load();
  });

  return html`
    <div class="card">
      <h2>${t("broadcast")}</h2>
      ${draft.key
        ? html`
          <p>${t("broadcastTo", { count: draft.recipients })}</p>
          <blockquote dir="auto"><b>${draft.title}</b><br />${draft.message}</blockquote>
          <p class="inline"><button type="button" onClick=${send}>${t("sendBroadcast")}</button>
            <button type="button" class="plain" onClick=${() => setDraft({ ...draft, key: null })}>${t("cancel")}</button></p>`
        : html`
          <form onSubmit=${preview}>
            <label>${t("broadcastTitle")}<input name="title" value=${draft.title} required maxlength="255" /></label>
            <label>${t("broadcastMessage")}<textarea name="message" rows="3" value=${draft.message} required maxlength="4000"></textarea></label>
            <button>${t("preview")}</button>
          </form>`}
      <ul>${items.map((item) => html`
        <li class="row" key=${item.id}><span class="about"><bdi class="title">${item.title}</bdi>
          <span class="hint">${moment(item.createdAt)} · ${t(item.doneAt ? "broadcastDone" : "broadcastState", { sent: number(item.sent), recipients: number(item.recipients) })}</span></span></li>`)}</ul>
    </div>`;
}

choose();
// Another tab logged in or out.
window.addEventListener("storage", (event) => { if (event.key === "bellwire.login" && !event.newValue) location.reload(); });
const admin = api.user?.permissions?.includes("admin");
render(admin ? html`<${Monitor} />` : html`<main class="monitor"><p>${t("notAdmin")}</p><p><a href="/">${t("toChat")}</a></p></main>`, document.getElementById("app"));

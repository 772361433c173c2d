/** The monitor, for administrators: what all nodes do, and the tools of those who run them. */
import { api } from "./monitor/access.js";
import { Audit } from "./monitor/audit.js";
import { Broadcasts } from "./monitor/broadcasts.js";
import { Nodes } from "./monitor/nodes.js";
import { Overview } from "./monitor/overview.js";
import { Pushes } from "./monitor/pushes.js";
import { Moderation } from "./monitor/reports.js";
import { Tenant } from "./monitor/tenant.js";
import { Users } from "./monitor/users.js";
import { Webhooks } from "./monitor/webhooks.js";
import { onQuestion, Question } from "./ui/ask.js";
import { html, render, useEffect, useState } from "./ui/html.js";
import { choose, t } from "./ui/texts.js";
import { chooseTheme } from "./ui/theme.js";

const LOOK_MS = 2_000;
const TABS = {
  overview: Overview, nodes: Nodes, pushes: Pushes, moderation: Moderation, broadcasts: Broadcasts, webhooks: Webhooks, audit: Audit, users: Users, tenant: Tenant,
};

const tabOf = () => (Object.hasOwn(TABS, location.hash.slice(1)) ? location.hash.slice(1) : "overview");

function Monitor() {
  const [problem, setProblem] = useState("");
  const [lost, setLost] = useState("");
  const [tab, setTab] = useState(tabOf());
  const [, setQuestions] = useState(0);
  useEffect(() => {
    onQuestion(() => setQuestions((count) => count + 1));
    const moved = () => { setProblem(""); setTab(tabOf()); };
    window.addEventListener("hashchange", moved);
    return () => window.removeEventListener("hashchange", moved);
  }, []);
  const trying = async (work) => {
    try { setProblem(""); return await work(); } catch (error) { setProblem(error.message); return undefined; }
  };
  /** Look now and again. What fails is shown until a look succeeds. */
  const looking = (work, every = LOOK_MS) => {
    const look = () => work().then(() => setLost(""), (error) => setLost(error.message));
    look();
    const timer = setInterval(look, every);
    return () => clearInterval(timer);
  };
  // On a narrow screen the tabs scroll.
  useEffect(() => document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }), [tab]);
  const Tab = TABS[tab];
  return html`
    <main class="monitor">
      <header><img src="/static/images/logo.svg" alt="" /><h1>Bellwire · ${t("monitor")}</h1><a class="button quiet" href="/">${t("toChat")}</a></header>
      <nav class="tabs" aria-label=${t("monitor")}>
        ${Object.keys(TABS).map((each) => html`<a href=${`#${each}`} aria-current=${tab === each ? "page" : null}>${t(each)}</a>`)}
      </nav>
      ${(problem || lost) && html`<p role="alert">${problem || lost}</p>`}
      <${Tab} key=${tab} api=${api} trying=${trying} looking=${looking} />
    </main>
    <${Question} />`;
}

function Refused() {
  return html`
    <main class="monitor"><div class="empty"><img src="/static/images/logo.svg" alt="" /><p>${t("notAdmin")}</p><a class="button" href="/">${t("toChat")}</a></div></main>`;
}

choose();
chooseTheme();
// Another tab logged in or out.
window.addEventListener("storage", (event) => { if (event.key === "bellwire.login" && !event.newValue) location.reload(); });
render(api.user?.permissions?.includes("admin") ? html`<${Monitor} />` : html`<${Refused} />`, document.getElementById("app"));

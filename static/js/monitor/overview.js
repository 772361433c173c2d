/** What all nodes do, over time. */
import { html, useEffect, useState } from "../ui/html.js";
import { t } from "../ui/texts.js";
import { api } from "./access.js";
import { Chart } from "./chart.js";
import { aligned, each, quantile, rate, value } from "./figures.js";

const RANGES = { quarterHour: 900, hour: 3600, day: 86_400 };
const LOOK_MS = 10_000;

const PLOTS = [
  { title: "sockets", lines: { "": value("sockets") } },
  { title: "commands", unit: "/s", lines: { "": rate("commands") } },
  { title: "deliveries", unit: "/s", lines: { "": rate("deliveries") } },
  { title: "commitTime", unit: "ms", lines: { p50: quantile("commitMs", 0.5), p99: quantile("commitMs", 0.99) } },
  { title: "batch", lines: { "": each("commands", "commits") } },
  { title: "answers", unit: "/s", lines: { "": rate("answers") } },
  { title: "answerTime", unit: "ms", lines: { p50: quantile("answerMs", 0.5), p99: quantile("answerMs", 0.99) } },
  { title: "connects", unit: "/s", lines: { "": rate("connects") } },
  { title: "waitingWrites", lines: { "": value("waiting") } },
  { title: "processor", unit: "%", lines: { "": (series) => rate("cpuSeconds")(series).map((share) => (share === null ? null : 100 * share)) } },
  { title: "memory", unit: "MiB", lines: { "": value("memory", 1 / 2 ** 20) } },
];
export const PUSH_PLOTS = [
  { title: "pushed", unit: "/s", lines: { "": rate("pushes") } },
  { title: "outbox", lines: { "": value("outbox") } },
  { title: "outboxAge", unit: "s", lines: { "": value("outboxAge") } },
];

export const Overview = ({ looking }) => html`<${Plots} plots=${PLOTS} looking=${looking} label=${t("overview")} />`;

/** Plots of all nodes, over a range that one chooses. */
export function Plots({ plots, looking, label }) {
  const [range, setRange] = useState("quarterHour");
  const [nodes, setNodes] = useState(null);
  const load = async () => setNodes((await api.get(`/api/v1/admin/nodes/history?seconds=${RANGES[range]}`)).items.filter((node) => node.times.length > 1));
  useEffect(() => looking(load, LOOK_MS), [range]);
  const name = (node, line) => [nodes.length > 1 && node.place, line].filter(Boolean).join(" ") || node.place;
  return html`
    <div class="filters" role="group" aria-label=${t("range")}>
      ${Object.keys(RANGES).map((each) => html`<button type="button" aria-pressed=${String(each === range)} onClick=${() => setRange(each)}>${t(each)}</button>`)}
    </div>
    ${nodes?.length === 0 && html`<p class="hint">${t("noFigures")}</p>`}
    <section class="plots" aria-label=${label}>
      ${nodes?.length > 0 && plots.map(({ title, unit, lines }) => html`
        <${Chart} key=${title} title=${t(title)} unit=${unit} data=${aligned(nodes, Object.values(lines))}
          labels=${nodes.flatMap((node) => Object.keys(lines).map((line) => name(node, line)))} />`)}
    </section>`;
}

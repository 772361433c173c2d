/** A plot over time with axes, a unit, and the values under the pointer. */
import uPlot from "uplot";

import { Component, html } from "../ui/html.js";
import { language, t } from "../ui/texts.js";

const HEIGHT = 190;
const COLOURS = ["--name-5", "--name-0", "--name-1", "--name-2", "--name-6", "--name-3", "--name-4", "--name-7"];

/** A token's colour as a canvas takes it: light-dark() is for CSS alone. */
function colour(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

const short = (value) =>
  value === null || value === undefined ? "–"
    : new Intl.NumberFormat(language(), { maximumFractionDigits: Math.abs(value) < 10 ? 2 : 0, notation: Math.abs(value) >= 10_000 ? "compact" : "standard" }).format(value);

/** `labels` are those of the lines; `data` is that of uPlot: times in seconds, then each line. */
export class Chart extends Component {
  componentDidMount() {
    this.observer = new ResizeObserver(() => this.plot?.setSize({ width: this.holder.clientWidth, height: HEIGHT }));
    this.observer.observe(this.holder);
    this.build();
  }

  componentDidUpdate(before) {
    if (before.labels.join() === this.props.labels.join()) this.plot.setData(this.props.data);
    else this.build();
  }

  componentWillUnmount() {
    this.observer.disconnect();
    this.plot.destroy();
  }

  get holder() { return this.base.querySelector(".holder"); }

  build() {
    const { labels, data, unit } = this.props;
    const [ink, line] = [colour("--muted"), colour("--line")];
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line }, font: "11px system-ui" };
    this.plot?.destroy();
    this.plot = new uPlot({
      width: this.holder.clientWidth || 300, height: HEIGHT,
      scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (high ?? 1) > 0 ? high * 1.1 : 1] } },
      axes: [axis, { ...axis, size: 70, values: (_, values) => values.map(short) }],
      series: [{ label: t("time") }, ...labels.map((label, index) => ({
        label, stroke: colour(COLOURS[index % COLOURS.length]), width: 1.6, spanGaps: true, points: { show: false },
        value: (_, each) => `${short(each)}${unit && each !== null ? ` ${unit}` : ""}`,
      }))],
      legend: { live: true },
      cursor: { sync: { key: "monitor" } },
    }, data, this.holder);
  }

  render({ title, data, labels }) {
    const newest = labels.map((label, index) => `${label}: ${short(data[index + 1]?.findLast((each) => each !== null))}`).join(", ");
    return html`
      <figure class="plot" aria-label=${title}>
        <figcaption><h2>${title}</h2></figcaption>
        <div class="holder" role="img" aria-label=${`${title}: ${newest}`} />
      </figure>`;
  }
}

/** A line of the last values, with the newest as a number. */
import { number } from "../ui/formats.js";
import { html } from "../ui/html.js";

const WIDTH = 120;
const HEIGHT = 40;

const short = (value) => number(value >= 100 ? Math.round(value) : Math.round(value * 10) / 10);

/** `values`: the newest last, null where there is none; `most` values are as wide as the plot. */
export function Plot({ label, values, most }) {
  const known = values.filter((value) => value !== null);
  const top = Math.max(...known, 1e-9);
  const place = (value, index) => `${(WIDTH * (most - values.length + index)) / (most - 1)},${HEIGHT - (HEIGHT - 2) * (value / top)}`;
  const points = values.map((value, index) => (value === null ? null : place(value, index))).filter(Boolean).join(" ");
  const newest = known.at(-1);
  return html`
    <div class="plot">
      <h3>${label} <b>${newest === undefined ? "–" : short(newest)}</b></h3>
      <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${`${label}: ${newest === undefined ? "–" : short(newest)}`}>
        <polyline points=${points} />
      </svg>
    </div>`;
}

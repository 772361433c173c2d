/** From the counters of nodes over time to what a plot shows. */

// Upper bounds of the counted lengths, in milliseconds, as the server counts them.
const BOUNDS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

/**
 * @typedef {object} Series the figures of one node
 * @property {string} id
 * @property {string} place
 * @property {number[]} times milliseconds since 1970
 * @property {Record<string, number[]>} figures counters only grow while the node runs
 */

/** Nothing, of a node that does not have these figures, as one of another version. */
const known = (names, line) => (series) =>
  (names.every((name) => series.figures[name]) ? line(series) : series.times.map(() => null));

/** How much a counter grew in a second, from each sample to the next; null for the first. */
export const rate = (name) => known([name], ({ times, figures }) =>
  times.map((at, index) => (index ? (1000 * (figures[name][index] - figures[name][index - 1])) / (at - times[index - 1]) : null)));

export const value = (name, scale = 1) => known([name], ({ figures }) => figures[name].map((each) => each * scale));

/** A part of one counter for each of another: commands for each commit. */
export const each = (sum, count) => known([sum, count], ({ times, figures }) =>
  times.map((_, index) => {
    const counted = index && figures[count][index] - figures[count][index - 1];
    return counted ? (figures[sum][index] - figures[sum][index - 1]) / counted : null;
  }));

/** The length in milliseconds that a part of all did not exceed, by counts of lengths. */
export const quantile = (name, part) => ({ times, figures }) => {
  const columns = [...BOUNDS_MS, "More"].map((bound) => figures[`${name}${bound}`]);
  if (columns.includes(undefined)) return times.map(() => null);
  return times.map((_, index) => (index ? within(columns.map((column) => column[index] - column[index - 1]), part) : null));
};

function within(counts, part) {
  const all = counts.reduce((sum, each) => sum + each, 0);
  if (!all) return null;
  let left = part * all;
  for (const [index, count] of counts.entries()) {
    const [from, to] = [BOUNDS_MS[index - 1] ?? 0, BOUNDS_MS[index] ?? BOUNDS_MS.at(-1)];
    if (left <= count) return from + (to - from) * (count ? left / count : 0);
    left -= count;
  }
  return BOUNDS_MS.at(-1);
}

/**
 * Lines of all nodes over one axis of time: what uPlot draws.
 * @param {Series[]} nodes @param {((series: Series) => (number|null)[])[]} lines
 * @returns {(number|null)[][]} seconds since 1970, then each line of each node
 */
export function aligned(nodes, lines) {
  const times = [...new Set(nodes.flatMap((node) => node.times))].sort((one, other) => one - other);
  const place = new Map(times.map((at, index) => [at, index]));
  const drawn = nodes.flatMap((node) => lines.map((line) => {
    const column = Array(times.length).fill(null);
    line(node).forEach((value, index) => { column[place.get(node.times[index])] = value; });
    return column;
  }));
  return [times.map((at) => at / 1000), ...drawn];
}

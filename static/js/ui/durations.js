/** How long a sanction lasts. */
import { html } from "./html.js";
import { t } from "./texts.js";

// Seconds; null has no end.
const DURATIONS = { hour: 3600, day: 86_400, week: 604_800, forever: null };

/** When a duration that begins now ends, as the server reads it; null for no end. */
export const endAfter = (duration) => (DURATIONS[duration] ? new Date(Date.now() + DURATIONS[duration] * 1000).toISOString() : null);

export const Durations = ({ chosen, onChange = undefined, ...more }) => html`
  <select onChange=${onChange} ...${more}>
    ${Object.keys(DURATIONS).map((each) => html`<option key=${each} value=${each} selected=${each === chosen}>${t(each)}</option>`)}
  </select>`;

/** Icons, and buttons that show one. */
import { ICONS } from "icons";

import { html } from "./html.js";

/** @param {string} name one of `static/icons.json` */
export const icon = (name) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" dangerouslySetInnerHTML=${{ __html: ICONS[name] }} />`;

/** A button with an icon, and its name for screen readers. */
export const iconButton = (name, label, onClick, more = /** @type {any} */ ({})) => html`
  <button type="button" class="plain icon-only" aria-label=${label} title=${label} onClick=${onClick} ...${more}>${icon(name)}</button>`;

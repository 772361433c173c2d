/** What all views share: how they are drawn, and how times, sizes and people are written. */
import { Component, html } from "/vendor/htm.js";

import { notice } from "./notice.js";
import { language, t } from "./texts.js";

export { Component, html, render, useEffect, useLayoutEffect, useRef, useState } from "/vendor/htm.js";

// 24 by 24, drawn for this page.
const SHAPES = {
  chats: "M4 5h16v11H9l-5 4z",
  bell: "M6 17v-6a6 6 0 0 1 12 0v6l2 2H4zM10 21h4",
  streams: "M8 5l11 7-11 7z",
  credits: "M12 3a9 9 0 1 0 .01 0M12 7v10M9 9.5h4.5a2 2 0 0 1 0 5H9",
  settings: "M4 7h10M18 7h2M4 17h2M10 17h10M16 5v4M8 15v4",
  back: "M15 5l-7 7 7 7",
  send: "M4 12l16-8-6 16-3-6z",
  attach: "M8 12l6-6a3 3 0 0 1 4 4l-8 8a5 5 0 0 1-7-7l7-7",
  microphone: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3M6 11a6 6 0 0 0 12 0M12 17v4",
  stop: "M7 7h10v10H7z",
  group: "M9 11a3 3 0 1 0-.01 0M3 20a6 6 0 0 1 12 0M16 5a3 3 0 0 1 0 6M17 14a6 6 0 0 1 4 6",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  down: "M6 9l6 6 6-6",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  close: "M6 6l12 12M18 6L6 18",
  monitor: "M3 17l5-6 4 4 8-9",
};

export const icon = (name) => html`
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${SHAPES[name]} /></svg>`;

/** A button with a sign and, for who does not see it, a name. */
export const iconButton = (name, label, onClick, more = {}) => html`
  <button type="button" class="plain" aria-label=${label} title=${label} onClick=${onClick} ...${more}>${icon(name)}</button>`;

/** The initials of a user without a picture. */
export function Avatar({ name, online }) {
  const letters = [...(name || "?").trim()].filter((_, index, all) => index === 0 || all[index - 1] === " ").slice(0, 2);
  return html`
    <span class=${online ? "avatar online" : "avatar"} aria-hidden="true">${letters.join("").toUpperCase()}</span>
    ${online && html`<span class="unseen">${t("online")}</span>`}`;
}

/** A window over the page, closed by Escape and by a press beside it; the focus comes back to where it was. */
export class Dialog extends Component {
  componentDidMount() {
    this.base.showModal();
  }

  pressed({ clientX: x, clientY: y, target }) {
    const { top, bottom, left, right } = this.base.getBoundingClientRect();
    if (target === this.base && (x < left || x > right || y < top || y > bottom)) this.base.close();
  }

  render({ title, onClose, children }) {
    return html`
      <dialog aria-label=${title} onClose=${onClose} onClick=${(event) => this.pressed(event)}>
        <header><h2>${title}</h2>${iconButton("close", t("close"), () => this.base.close())}</header>
        ${children}
        <p role="status">${notice.text}</p>
      </dialog>`;
  }
}

const formats = new Map();

function format(kind, Format, options) {
  const key = `${language()} ${kind}`;
  if (!formats.has(key)) formats.set(key, new Format(language(), options));
  return formats.get(key);
}

export const clock = (at) => format("clock", Intl.DateTimeFormat, { timeStyle: "short" }).format(new Date(at));

export const moment = (at) =>
  format("moment", Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "short" }).format(new Date(at));

export const number = (value) => format("number", Intl.NumberFormat, {}).format(value);

export function day(at) {
  const date = new Date(at);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(date).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days === 0) return t("today");
  return days === 1 ? t("yesterday") : format("day", Intl.DateTimeFormat, { dateStyle: "full" }).format(date);
}

/** A number of seconds in the largest unit that says it without a fraction. */
export function lasting(value) {
  const [unit, size] = value % 3600 === 0 ? ["hour", 3600] : value % 60 === 0 ? ["minute", 60] : ["second", 1];
  return format(`lasting ${unit}`, Intl.NumberFormat, { style: "unit", unit, unitDisplay: "long" }).format(value / size);
}

export const seconds = (value) => `${Math.floor(value / 60)}:${String(Math.floor(value % 60)).padStart(2, "0")}`;

export function bytes(value) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const power = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), 3);
  const options = { style: "unit", unit: units[power], unitDisplay: "short", maximumFractionDigits: power ? 1 : 0 };
  return format(`bytes ${power}`, Intl.NumberFormat, options).format(value / 1000 ** power);
}

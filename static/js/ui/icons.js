/** Icons, and buttons that show one. */
import { html } from "./html.js";

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

/** A button with an icon, and its name for screen readers. */
export const iconButton = (name, label, onClick, more = {}) => html`
  <button type="button" class="plain" aria-label=${label} title=${label} onClick=${onClick} ...${more}>${icon(name)}</button>`;

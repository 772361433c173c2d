/** Times, numbers and sizes, in the reader's language. */
import { language, t } from "./texts.js";

const formats = new Map();

function format(kind, Format, options) {
  const key = `${language()} ${kind}`;
  if (!formats.has(key)) formats.set(key, new Format(language(), options));
  return formats.get(key);
}

export const clock = (at) => format("clock", Intl.DateTimeFormat, { timeStyle: "short" }).format(new Date(at));

export const moment = (at) =>
  format("moment", Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "short" }).format(new Date(at));

/** Names and the like as one text: "Ann, Bob and Cat". */
export const list = (items) => format("list", Intl.ListFormat, {}).format(items);

export const number = (value) => format("number", Intl.NumberFormat, {}).format(value);

const daysAgo = (at) => Math.round((new Date().setHours(0, 0, 0, 0) - new Date(at).setHours(0, 0, 0, 0)) / 86_400_000);

export function day(at) {
  const days = daysAgo(at);
  if (days === 0) return t("today");
  return days === 1 ? t("yesterday") : format("day", Intl.DateTimeFormat, { dateStyle: "full" }).format(new Date(at));
}

/** A number of seconds in the largest unit that says it without a fraction. */
export function lasting(value) {
  const [unit, size] = value % 3600 === 0 ? ["hour", 3600] : value % 60 === 0 ? ["minute", 60] : ["second", 1];
  return format(`lasting ${unit}`, Intl.NumberFormat, { style: "unit", unit, unitDisplay: "long" }).format(value / size);
}

/** A moment of the past in a list: the time of today, then yesterday, the weekday, the date. */
export function when(at) {
  const days = daysAgo(at);
  if (days <= 0) return clock(at);
  if (days === 1) return t("yesterday");
  if (days < 7) return format("weekday", Intl.DateTimeFormat, { weekday: "short" }).format(new Date(at));
  return format("date", Intl.DateTimeFormat, { dateStyle: "short" }).format(new Date(at));
}

/** How long ago, in words. */
export function ago(at) {
  const minutes = Math.round((Date.now() - Date.parse(at)) / 60_000);
  const relative = format("ago", Intl.RelativeTimeFormat, { numeric: "auto" });
  if (minutes < 60) return relative.format(-minutes, "minute");
  if (minutes < 24 * 60) return relative.format(-Math.round(minutes / 60), "hour");
  return minutes < 7 * 24 * 60 ? relative.format(-Math.round(minutes / 60 / 24), "day") : moment(at);
}

export const seconds = (value) => `${Math.floor(value / 60)}:${String(Math.floor(value % 60)).padStart(2, "0")}`;

export function bytes(value) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const power = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), 3);
  if (!power) return `${number(value)} B`;
  const options = { style: "unit", unit: units[power], unitDisplay: "short", maximumFractionDigits: 1 };
  return format(`bytes ${power}`, Intl.NumberFormat, options).format(value / 1000 ** power);
}

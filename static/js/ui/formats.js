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

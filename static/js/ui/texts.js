/** The page's words, in the reader's language. */
import en from "../texts/en.js";
import tr from "../texts/tr.js";

export const LANGUAGES = { en, tr };
const KEPT = "bellwire.language";

let chosen = "en";

export const language = () => chosen;

/** @param {string} [wanted] one of `LANGUAGES`; without it, what was chosen last, or what the browser prefers */
export function choose(wanted) {
  if (wanted) localStorage.setItem(KEPT, wanted);
  const wishes = [wanted, localStorage.getItem(KEPT), ...navigator.languages.map((each) => each.split("-")[0])];
  chosen = wishes.find((each) => each in LANGUAGES) ?? "en";
  document.documentElement.lang = chosen;
  document.documentElement.dir = LANGUAGES[chosen].direction;
}

// Unicode's isolates: a name that is written from the right, or says so, turns nothing around it.
const isolated = (value) => (typeof value === "string" && /\D/.test(value) ? `\u2068${value}\u2069` : value);

/**
 * A text, its `{names}` filled. A text with forms is chosen by `count`.
 * @param {string} key @param {Record<string, unknown>} [values]
 */
export function t(key, values = {}) {
  const text = LANGUAGES[chosen][key];
  const form = typeof text === "string" ? text : text[new Intl.PluralRules(chosen).select(Number(values.count))] ?? text.other;
  return form.replace(/\{(\w+)\}/g, (_, name) => isolated(values[name]));
}

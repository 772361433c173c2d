/** What the page says to its reader for a moment; shown wherever they are looking. */

const LASTS = 8_000;

export const notice = { text: "", shown: () => {} };

let timer;

export function say(text) {
  notice.text = text;
  notice.shown();
  clearTimeout(timer);
  timer = setTimeout(() => { notice.text = ""; notice.shown(); }, LASTS);
}

/** The colours: the system's, or light or dark by choice. */

const KEPT = "bellwire.theme";

export const THEMES = ["system", "light", "dark"];

export const theme = () => THEMES.find((each) => each === localStorage.getItem(KEPT)) ?? "system";

/** @param {string} [wanted] one of `THEMES`; without it, what was chosen last */
export function chooseTheme(wanted) {
  if (wanted) localStorage.setItem(KEPT, wanted);
  document.documentElement.dataset.theme = theme();
}

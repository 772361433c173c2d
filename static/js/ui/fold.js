/** Text for comparing: case, accents and dots as the server folds them, near enough for names and titles. */

export const fold = (text) => text.replace(/[ıİI]/g, "i").normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

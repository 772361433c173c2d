/** Pictures and files that only the members of their chat may see. */
import { api } from "./session.js";

const PICTURES_KEPT = 300;

/** By URL, the object URLs of pictures that were shown. @type {Map<string, Promise<string|null>>} */
const pictures = new Map();

/** An object URL of a picture; null where it can't be loaded. */
export function picture(url) {
  if (pictures.size >= PICTURES_KEPT) {
    const [oldest, source] = pictures.entries().next().value;
    pictures.delete(oldest);
    source.then((made) => made && URL.revokeObjectURL(made));
  }
  if (!pictures.has(url)) {
    pictures.set(url, api.blob(url).then((blob) => URL.createObjectURL(blob), () => { pictures.delete(url); return null; }));
  }
  return pictures.get(url);
}

/** A URL of a file that needs no token, for ten minutes; on this page's own host, whatever the server's public URL is. */
export async function linkTo(id) {
  const { pathname, search } = new URL((await api.post(`/api/v2/media/${id}/link`)).url);
  return pathname + search;
}

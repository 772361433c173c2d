/** Pictures, films, voices and files in messages. Each is only for members: fetched with the token, or by a link of ten minutes. */
import { linkTo, picture } from "../model/pictures.js";
import { attempt } from "../model/state.js";
import { bytes, seconds } from "../ui/formats.js";
import { html, useEffect, useState } from "../ui/html.js";
import { icon } from "../ui/icons.js";
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";

const WIDTH = 320;
const HEIGHT = 320;

export function Attachment({ media }) {
  if (media.type === "image") return html`<${Thumbnail} media=${media} onOpen=${() => openFile(media)} />`;
  if (media.type === "video" || media.type === "audio") return html`<${Player} media=${media} />`;
  return html`<${Download} media=${media} />`;
}

/** As large as it is going to be, before it is there: nothing moves when it comes. */
function size({ width, height }) {
  if (!width || !height) return { width: WIDTH, height: HEIGHT * 0.6 };
  const scale = Math.min(WIDTH / width, HEIGHT / height, 1);
  return { width: Math.round(width * scale), height: Math.round(height * scale) };
}

function Thumbnail({ media, onOpen, label = t("open", { name: media.name }), children }) {
  const [source, setSource] = useState(null);
  const url = media.thumbnail_url ?? (media.type === "image" ? media.url : null);
  useEffect(() => {
    let here = true;
    if (url) picture(url).then((found) => here && setSource(found));
    return () => { here = false; };
  }, [url]);
  return html`
    <button type="button" class="thumbnail" aria-label=${label} title=${media.name} onClick=${onOpen}>
      <img src=${source ?? EMPTY} alt=${t(media.type)} ...${size(media)} />${children}
    </button>`;
}

const EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";

function Player({ media }) {
  const [source, setSource] = useState(null);
  const play = () => attempt(async () => setSource(await linkTo(media.id)));
  // A link that has run out is asked for again when it is wanted.
  const again = () => { setSource(null); say(t("cannotPlay")); };
  if (source) {
    return media.type === "video"
      ? html`<video controls autoplay playsinline src=${source} onError=${again} ...${size(media)}></video>`
      : html`<audio controls autoplay src=${source} onError=${again}></audio>`;
  }
  const length = media.duration ? seconds(media.duration) : "";
  return media.thumbnail_url
    ? html`<${Thumbnail} media=${media} label=${`${t("play")} ${length}`} onOpen=${play}><span class="play">▶ ${length}</span><//>`
    : html`<button type="button" class="row voice" aria-label=${`${t("play")} ${length}`} onClick=${play}>▶ ${t(media.type)} ${length}</button>`;
}

function Download({ media }) {
  return html`
    <button type="button" class="row" aria-label=${t("open", { name: media.name })} onClick=${() => openFile(media)}>
      ${icon("file")}<bdi class="title">${media.name}</bdi><span class="hint">${bytes(media.size)}</span>
    </button>`;
}

function openFile(media) {
  // Opened at once, for a window that opens later is taken for an advertisement.
  const opened = window.open("", "_blank");
  return attempt(async () => {
    const url = await linkTo(media.id);
    if (opened) { opened.opener = null; opened.location = url; } else location.href = url;
  });
}

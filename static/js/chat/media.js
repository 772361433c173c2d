/** Pictures, videos, voice messages and files in messages. Each is for members alone: fetched with the token, or by a link of ten minutes. */
import { linkTo, picture } from "../model/pictures.js";
import { attempt } from "../model/state.js";
import { bytes, seconds } from "../ui/formats.js";
import { html, useEffect, useState } from "../ui/html.js";
import { icon } from "../ui/icons.js";
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";
import { Audio } from "./audio.js";
import { Lightbox } from "./lightbox.js";

const WIDTH = 320;
const HEIGHT = 320;
// A picture that is much taller than wide is cut, not shown as a strip.
const NARROWEST = 120;

export function Attachment({ media, metadata }) {
  if (media.type === "image") return html`<${Picture} media=${media} />`;
  if (media.type === "video") return html`<${Video} media=${media} />`;
  if (media.type === "audio") return html`<${Audio} media=${media} waveform=${metadata?.waveform} />`;
  return html`<${Download} media=${media} />`;
}

/** As large as it is going to be, before it is there: nothing moves when it comes. */
function size({ width, height }) {
  if (!width || !height) return { width: WIDTH, height: HEIGHT * 0.6 };
  const scale = Math.min(WIDTH / width, HEIGHT / height, 1);
  return { width: Math.max(NARROWEST, Math.round(width * scale)), height: Math.round(height * scale) };
}

function Picture({ media }) {
  const [open, setOpen] = useState(false);
  return html`
    <${Thumbnail} media=${media} onOpen=${() => setOpen(true)} />
    ${open && html`<${Lightbox} media=${media} onClose=${() => setOpen(false)} />`}`;
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
    <button type="button" class="thumbnail" aria-label=${label} title=${media.name} data-media=${media.type === "image" ? media.id : undefined} onClick=${onOpen}>
      <img src=${source ?? EMPTY} alt=${t(media.type)} ...${size(media)} />${children}
    </button>`;
}

const EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";

function Video({ media }) {
  const [source, setSource] = useState(null);
  const play = () => attempt(async () => setSource(await linkTo(media.id)));
  // A link that has expired is asked for again.
  const again = () => { setSource(null); say(t("cannotPlay")); };
  if (source) return html`<video controls autoplay playsinline src=${source} onError=${again} ...${size(media)}></video>`;
  const length = media.duration ? seconds(media.duration) : "";
  return html`
    <${Thumbnail} media=${media} label=${`${t("play")} ${length}`} onOpen=${play}><span class="duration">${icon("play")} ${length}</span><//>`;
}

function Download({ media }) {
  return html`
    <button type="button" class="row" title=${t("open", { name: media.name })} onClick=${() => openFile(media)}>
      ${icon("file")}<span class="about"><bdi class="title">${media.name}</bdi><span class="hint">${bytes(media.size)}</span></span>${icon("download")}
    </button>`;
}

export function openFile(media) {
  // Opened at once, because a window that opens later is blocked as an advertisement.
  const opened = window.open("", "_blank");
  return attempt(async () => {
    const url = await linkTo(media.id);
    if (opened) { opened.opener = null; opened.location = url; } else location.href = url;
  });
}

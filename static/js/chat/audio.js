/** A voice message: its waveform, where it is, and how fast it plays. */
import { linkTo } from "../model/pictures.js";
import { attempt } from "../model/state.js";
import { seconds } from "../ui/formats.js";
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { icon } from "../ui/icons.js";
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";

const SPEEDS = [1, 1.5, 2];
const BARS = 48;
// One plays at a time.
let playing = null;

/** @param {{media: import("@bellwire/client").Media, waveform?: number[]}} props `waveform`: at most 64 numbers from 0 to 100 */
export function Audio({ media, waveform }) {
  const player = useRef();
  const [source, setSource] = useState(null);
  const [on, setOn] = useState(false);
  const [part, setPart] = useState(0);
  const [speed, setSpeed] = useState(SPEEDS[0]);
  const length = media.duration ?? (Number.isFinite(player.current?.duration) ? player.current.duration : 0);
  const levels = Array.isArray(waveform) ? waveform.slice(0, 64).filter(Number.isFinite) : [];
  const bars = levels.length ? levels : Array(BARS).fill(12);

  const play = () => attempt(async () => {
    if (!source) return setSource(await linkTo(media.id));
    return on ? player.current.pause() : player.current.play();
  });
  useEffect(() => { if (source) player.current.play().catch(() => say(t("cannotPlay"))); }, [source]);
  useEffect(() => { if (player.current) player.current.playbackRate = speed; }, [speed, source]);
  const started = () => {
    if (playing !== player.current) playing?.pause();
    playing = player.current;
    setOn(true);
  };
  const moved = () => setPart(length ? player.current.currentTime / length : 0);
  // A link that has expired is asked for again.
  const failed = () => { setSource(null); setOn(false); say(t("cannotPlay")); };
  const seek = (to) => { if (player.current && length) player.current.currentTime = Math.min(Math.max(to, 0), 1) * length; };
  const pressed = (event) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    seek((event.clientX - left) / width);
  };
  const keyed = ({ key }) => {
    const step = { ArrowRight: 0.1, ArrowLeft: -0.1 }[key];
    if (step) seek(part + step);
  };
  return html`
    <div class="audio" role="group" aria-label=${t("audio")}>
      <button type="button" class="round voice" aria-label=${t(on ? "pause" : "play")} onClick=${play}>${icon(on ? "pause" : "play")}</button>
      <div class="wave" role="slider" tabindex="0" aria-label=${t("position")} aria-valuemin="0" aria-valuemax=${Math.round(length)}
        aria-valuenow=${Math.round(part * length)} aria-valuetext=${seconds(part * length)} onClick=${pressed} onKeyDown=${keyed}>
        ${bars.map((height, index) => html`<i class=${index / bars.length < part ? "played" : ""} style=${{ height: `${Math.max(6, Math.min(100, height))}%` }} />`)}
      </div>
      <time>${seconds(on || part ? part * length : length)}</time>
      <button type="button" class="quiet speed" aria-label=${t("speed")} onClick=${() => setSpeed(SPEEDS[(SPEEDS.indexOf(speed) + 1) % SPEEDS.length])}>${speed}×</button>
      ${source && html`<audio ref=${player} src=${source} onPlay=${started} onPause=${() => setOn(false)} onTimeUpdate=${moved} onError=${failed}
        onEnded=${() => { setOn(false); setPart(0); }}></audio>`}
    </div>`;
}

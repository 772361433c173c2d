/** A short sound for what arrives while the user looks elsewhere. */

const KEPT = "bellwire.quiet";
const TONES_HZ = [880, 1174.7];
const TONE_SECONDS = 0.12;

export const isQuiet = () => localStorage.getItem(KEPT) !== null;

export function setQuiet(quiet) {
  if (quiet) localStorage.setItem(KEPT, "1"); else localStorage.removeItem(KEPT);
}

// What arrives together is one sound.
const PAUSE_MS = 1_000;

let context;
let sounded = 0;

/** Two tones. Browsers allow it after the first click on the page. */
export function chime() {
  if (isQuiet() || !navigator.userActivation?.hasBeenActive) return;
  if (Date.now() - sounded < PAUSE_MS) return;
  sounded = Date.now();
  context ??= new AudioContext();
  TONES_HZ.forEach((frequency, index) => {
    const [tone, volume] = [context.createOscillator(), context.createGain()];
    const at = context.currentTime + index * TONE_SECONDS;
    tone.frequency.value = frequency;
    volume.gain.setValueAtTime(0.08, at);
    volume.gain.exponentialRampToValueAtTime(0.001, at + 2 * TONE_SECONDS);
    tone.connect(volume).connect(context.destination);
    tone.start(at);
    tone.stop(at + 2 * TONE_SECONDS);
  });
}

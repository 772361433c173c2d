/** Recording a voice message, and how loud it is over its length. */

const BARS = 48;
const SAMPLE_MS = 50;

/**
 * Begin to record. Rejects where the microphone can't be used.
 * @returns {Promise<{stop: () => Promise<{file: File, waveform: number[]}>, cancel: () => void}>} `waveform`: numbers from 0 to 100
 */
export async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const levels = meter(stream);
  const parts = [];
  const ended = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.start();

  function cancel() {
    levels.stop();
    if (recorder.state !== "inactive") recorder.stop();
    for (const track of stream.getTracks()) track.stop();
  }

  async function stop() {
    cancel();
    await ended;
    const kind = recorder.mimeType.split(";")[0];
    return { file: new File(parts, `voice.${kind.split("/")[1]}`, { type: kind.replace("video/", "audio/") }), waveform: waveformOf(levels.values) };
  }

  return { stop, cancel };
}

/** Measure the loudness of a stream, from 0 to 1, until it is stopped. */
function meter(stream) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const values = [];
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    values.push(Math.sqrt(samples.reduce((sum, each) => sum + each * each, 0) / samples.length));
  }, SAMPLE_MS);
  return { values, stop: () => { clearInterval(timer); context.close().catch(() => {}); } };
}

/** The loudest value of each part, scaled to the loudest of all. */
function waveformOf(values) {
  if (!values.length) return [];
  const most = Math.max(...values, 0.01);
  const count = Math.min(BARS, values.length);
  return Array.from({ length: count }, (_, bar) => {
    const part = values.slice(Math.floor((bar * values.length) / count), Math.floor(((bar + 1) * values.length) / count));
    return Math.round((100 * Math.max(...part)) / most);
  });
}

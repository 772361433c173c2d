/** Recording a voice. */

/**
 * Begin to record. Rejects where the microphone can't be used.
 * @returns {Promise<{stop: () => Promise<File>, cancel: () => void}>}
 */
export async function record() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const recorder = new MediaRecorder(stream);
  const parts = [];
  const ended = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.start();

  function cancel() {
    if (recorder.state !== "inactive") recorder.stop();
    for (const track of stream.getTracks()) track.stop();
  }

  async function stop() {
    cancel();
    await ended;
    const kind = recorder.mimeType.split(";")[0];
    return new File(parts, `voice.${kind.split("/")[1]}`, { type: kind });
  }

  return { stop, cancel };
}

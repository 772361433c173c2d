/** Recording a voice message. */
import { record } from "../model/recorder.js";
import { sendFile } from "../model/uploads.js";
import { seconds } from "../ui/formats.js";
import { html, useEffect, useState } from "../ui/html.js";
import { iconButton } from "../ui/icons.js";
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";

export function Voice({ chatId }) {
  const [recording, setRecording] = useState(null);
  const [length, setLength] = useState(0);

  useEffect(() => {
    if (!recording) return undefined;
    const began = Date.now();
    const timer = setInterval(() => setLength((Date.now() - began) / 1000), 500);
    return () => { clearInterval(timer); recording.cancel(); setLength(0); };
  }, [recording]);

  if (!navigator.mediaDevices || !window.MediaRecorder) return null;
  if (!recording) {
    return iconButton("microphone", t("record"), () => record().then(setRecording, () => say(t("noMicrophone"))));
  }
  const stop = async () => {
    const { file, waveform } = await recording.stop();
    setRecording(null);
    sendFile(chatId, file, waveform.length ? { metadata: { waveform } } : {});
  };
  return html`
    <span role="status">${t("recording", { time: seconds(length) })}</span>
    ${iconButton("close", t("cancel"), () => setRecording(null))}
    ${iconButton("stop", t("stopRecording"), stop)}`;
}

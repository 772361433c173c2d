/** Recording a voice message. */
import { record } from "../model/recorder.js";
import { sendFile } from "../model/uploads.js";
import { seconds } from "../ui/formats.js";
import { html, useEffect, useRef, useState } from "../ui/html.js";
import { iconButton } from "../ui/icons.js";
import { say } from "../ui/notice.js";
import { t } from "../ui/texts.js";

/** `onRecording`: whether it records. */
export function Voice({ chatId, onRecording }) {
  const [recording, setRecording] = useState(null);
  const [length, setLength] = useState(0);
  // Whether the field is still there when the microphone was allowed.
  const here = useRef(true);

  useEffect(() => () => { here.current = false; }, []);
  useEffect(() => {
    onRecording(Boolean(recording));
    if (!recording) return undefined;
    const began = Date.now();
    const timer = setInterval(() => setLength((Date.now() - began) / 1000), 500);
    return () => { clearInterval(timer); recording.cancel(); setLength(0); };
  }, [recording]);

  if (!navigator.mediaDevices || !window.MediaRecorder) return null;
  if (!recording) {
    return iconButton("microphone", t("record"), () => record().then(
      (made) => { if (here.current) setRecording(made); else made.cancel(); },
      () => say(t("noMicrophone")),
    ));
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

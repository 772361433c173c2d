/** Errors of the server. */

/** The server has refused a request. Anything else that is thrown is the network's, and may be tried again. */
export class Refused extends Error {
  /** @param {object} answer an error in the envelope @param {number} status @param {string} [code] that of X-Error-Code */
  constructor(answer, status, code) {
    const details = (answer?.details ?? []).map(({ field, message }) => (field ? `${field}: ${message}` : message));
    super(details.join("; ") || answer?.errors?.[0] || `HTTP ${status}`);
    this.status = status;
    /** Names the reason, where the answer has one: `silenced`, `frozen`, `links`, `slow_mode` … */
    this.code = code || answer?.code || answer?.details?.[0]?.code;
    /** In how many seconds a message may be sent in a chat in slow mode. */
    this.retryAfter = answer?.details?.[0]?.retryAfter;
  }

  /** Whether the same may work in a moment. */
  get passing() {
    return this.status === 503 || (this.status === 429 && this.code !== "slow_mode");
  }
}

/** Windows over the page. */
import { Component, html } from "./html.js";
import { iconButton } from "./icons.js";
import { notice } from "./notice.js";
import { t } from "./texts.js";

/** A window over the page, closed by Escape and by a press beside it; the focus comes back to where it was. */
export class Dialog extends Component {
  componentDidMount() {
    this.base.showModal();
  }

  pressed({ clientX: x, clientY: y, target }) {
    const { top, bottom, left, right } = this.base.getBoundingClientRect();
    if (target === this.base && (x < left || x > right || y < top || y > bottom)) this.base.close();
  }

  render({ title, onClose, children }) {
    return html`
      <dialog aria-label=${title} onClose=${onClose} onClick=${(event) => this.pressed(event)}>
        <header><h2>${title}</h2>${iconButton("close", t("close"), () => this.base.close())}</header>
        ${children}
        <p role="status">${notice.text}</p>
      </dialog>`;
  }
}

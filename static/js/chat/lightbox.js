/** A picture as large as the window, and the others of its chat beside it. */
import { linkTo } from "../model/pictures.js";
import { attempt, state } from "../model/state.js";
import { Component, html } from "../ui/html.js";
import { iconButton } from "../ui/icons.js";
import { t } from "../ui/texts.js";

export class Lightbox extends Component {
  state = { media: this.props.media, source: null };

  componentDidMount() {
    this.base.showModal();
    this.load(this.props.media);
  }

  /** The pictures of the messages that are loaded, oldest first. */
  get all() {
    return (state.timelines.get(state.open)?.pages ?? []).flat().map((each) => each.media).filter((each) => each?.type === "image");
  }

  load(media) {
    this.setState({ media, source: null });
    attempt(async () => {
      const source = await linkTo(media.id);
      if (this.state.media === media) this.setState({ source });
    });
  }

  move(step) {
    const { all } = this;
    const next = all[all.findIndex((each) => each.id === this.state.media.id) + step];
    if (next) this.load(next);
  }

  keyed({ key }) {
    if (key === "ArrowRight") this.move(1);
    if (key === "ArrowLeft") this.move(-1);
  }

  render({ onClose }) {
    const { media, source } = this.state;
    const at = this.all.findIndex((each) => each.id === media.id);
    const download = () => { if (source) window.open(source, "_blank", "noopener"); };
    return html`
      <dialog class="lightbox" aria-label=${media.name} onClose=${onClose} onKeyDown=${(event) => this.keyed(event)}>
        <header><h2><bdi>${media.name}</bdi></h2>
          <span class="inline">${iconButton("download", t("download"), download)}${iconButton("close", t("close"), () => this.base.close())}</span></header>
        <figure onClick=${(event) => event.target === event.currentTarget && this.base.close()}>
          ${at > 0 && iconButton("arrow-left", t("previous"), () => this.move(-1), { class: "plain icon-only previous" })}
          ${source && html`<img src=${source} alt=${t("image")} />`}
          ${at < this.all.length - 1 && at >= 0 && iconButton("arrow-right", t("following"), () => this.move(1), { class: "plain icon-only following" })}
        </figure>
      </dialog>`;
  }
}

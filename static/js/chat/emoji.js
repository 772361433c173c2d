/** Choosing an emoji: by group, by name, and those that were used last. */
import { attempt } from "../model/state.js";
import { Component, html } from "../ui/html.js";
import { t } from "../ui/texts.js";

const KEPT = "bellwire.emoji";
const RECENT_MOST = 24;
const FOUND_MOST = 120;

let loading;
/** The groups of Unicode: `[{slug, emojis: [{emoji, name}]}]`. */
const load = () => { loading ??= fetch("/vendor/emoji.json").then((answer) => answer.json()); return loading; };

const recent = () => /** @type {string[]} */ (JSON.parse(localStorage.getItem(KEPT) ?? "[]"));

export class EmojiPicker extends Component {
  state = { groups: [], query: "", slug: "" };

  componentDidMount() {
    this.base.showPopover();
    const { top, bottom, right } = this.props.anchor.getBoundingClientRect();
    const { offsetHeight: height, offsetWidth: width } = this.base;
    this.base.style.top = `${Math.max(4, top > height ? top - height : Math.min(bottom, innerHeight - height))}px`;
    this.base.style.left = `${Math.max(4, right - width)}px`;
    this.base.querySelector("input").focus();
    attempt(async () => this.setState({ groups: await load(), slug: recent().length ? "" : "smileys_emotion" }));
  }

  choose(emoji) {
    localStorage.setItem(KEPT, JSON.stringify([emoji, ...recent().filter((each) => each !== emoji)].slice(0, RECENT_MOST)));
    this.base.hidePopover();
    this.props.onChoose(emoji);
  }

  shown() {
    const { groups, query, slug } = this.state;
    const wanted = query.trim().toLowerCase();
    if (wanted) return groups.flatMap(({ emojis }) => emojis).filter(({ name }) => name.includes(wanted)).slice(0, FOUND_MOST);
    if (!slug) return recent().map((emoji) => ({ emoji, name: emoji }));
    return groups.find((each) => each.slug === slug)?.emojis ?? [];
  }

  render({ onClose }) {
    const { groups, query, slug } = this.state;
    const shown = this.shown();
    const first = (event) => { event.preventDefault(); if (shown.length) this.choose(shown[0].emoji); };
    return html`
      <div class="menu emoji" popover="auto" role="dialog" aria-label=${t("emoji")} onToggle=${(event) => event.newState === "closed" && onClose()}>
        <form role="search" aria-label=${t("emoji")} onSubmit=${first}>
          <input type="search" autocomplete="off" placeholder=${t("searchEmoji")} aria-label=${t("searchEmoji")} value=${query}
            onInput=${(event) => this.setState({ query: event.target.value })} /></form>
        <div class="groups" role="group" aria-label=${t("emojiGroups")}>
          ${[{ slug: "", emojis: [{ emoji: "🕘" }] }, ...groups].map((group) => html`
            <button type="button" key=${group.slug} aria-pressed=${String(!query && slug === group.slug)} title=${t(`emoji_${group.slug || "recent"}`)}
              aria-label=${t(`emoji_${group.slug || "recent"}`)} onClick=${() => this.setState({ slug: group.slug, query: "" })}>${group.emojis[0].emoji}</button>`)}
        </div>
        <div class="grid">
          ${shown.map(({ emoji, name }) => html`<button type="button" key=${emoji} title=${name} aria-label=${name} onClick=${() => this.choose(emoji)}>${emoji}</button>`)}
          ${query && !shown.length && html`<p class="hint">${t("nothingFound")}</p>`}
        </div>
      </div>`;
  }
}

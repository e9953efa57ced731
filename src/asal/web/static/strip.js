// The last answers in small, newest at the right, as buttons: one press goes back to one of them.

import { $, el } from "./dom.js";
import { small } from "./pictures.js";

const SHOWN = 14;

export class Strip {
  constructor(app) {
    this.app = app;
    this.nodes = new Map(); // image -> its button, so that images are not loaded twice
  }

  draw() {
    const { past, single } = this.app;
    const at = single.back?.entry.image;
    const index = past.entries.findIndex(({ image }) => image === at);
    const last = index < 0 ? past.entries.length : Math.min(past.entries.length, Math.max(index + 4, SHOWN));
    const shown = past.entries.slice(Math.max(0, last - SHOWN), last);
    const nodes = shown.map((entry) => this.node(entry, entry.image === at));
    for (const image of this.nodes.keys()) {
      if (!shown.some((entry) => entry.image === image)) this.nodes.delete(image);
    }
    $("strip").replaceChildren(...nodes.reverse()); // laid out from the right: what does not fit is the oldest
    $("strip").classList.toggle("photos", shown.some(({ thumb }) => thumb));
    $("strip-empty").hidden = shown.length > 0;
  }

  node(entry, current) {
    let item = this.nodes.get(entry.image);
    if (!item) {
      const button = el("button", { type: "button" }, small(entry), el("span", { class: "tag" }));
      button.addEventListener("mousedown", (event) => event.preventDefault());
      button.addEventListener("click", () => this.app.goTo(entry));
      item = el("li", {}, button);
      this.nodes.set(entry.image, item);
    }
    const name = this.app.name(entry.label);
    const button = item.firstChild;
    button.setAttribute("aria-label", `Image ${entry.image}, labelled ${name}: correct it`);
    button.title = name;
    button.lastChild.textContent = this.app.tag(entry.label);
    if (current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    return item;
  }
}

// A larger look at one image of the grid, over it.

import { $, announce, write } from "./dom.js";
import { described, release, want } from "./pictures.js";
import { Stage } from "./stage.js";

const AGAIN = 1_500; // ms until a picture that did not come is asked for again

export class Look {
  constructor(app) {
    this.app = app;
    this.item = null;
    this.dialog = $("look");
    this.stage = new Stage($("look-stage"), $("look-frame"), $("look-caption"), app.project.sees);
    this.dialog.addEventListener("close", () => this.closed());
    $("look-mark").addEventListener("click", () => this.mark());
    $("look-back").addEventListener("click", () => this.walk(-1));
    $("look-on").addEventListener("click", () => this.walk(1));
    $("closer").addEventListener("click", () => this.open(app.grid.focused ?? app.grid.items[0]));
  }

  open(item) {
    if (!item) return;
    if (!this.dialog.open) {
      this.dialog.showModal();
      this.dialog.querySelector("h2").focus();
    }
    this.put(item);
  }

  /** Show an image. */
  put(item) {
    if (this.item && this.item !== item) release(this.item, "stage");
    this.item = item;
    const picture = want(item, "stage", true);
    const show = () => this.stage.show(picture.img ? picture : null);
    picture.then = () => {
      if (this.item !== item) return;
      show();
      if (picture.failed) setTimeout(() => this.item === item && this.put(item), AGAIN);
    };
    show();
    this.label();
    announce(`${described(item.task)}, ${this.app.name(this.app.grid.label(item.task.image))}.`);
  }

  label() {
    const { grid } = this.app;
    const { image } = this.item.task;
    const at = grid.items.indexOf(this.item);
    write($("t-look"), described(this.item.task));
    write($("look-label"), this.app.name(grid.label(image)));
    $("look-label").classList.toggle("odd", grid.marks.has(image));
    $("look-mark").setAttribute("aria-pressed", String(grid.marks.has(image)));
    $("look-back").disabled = at <= 0;
    $("look-on").disabled = at >= grid.items.length - 1;
  }

  mark() {
    this.app.grid.toggle(this.item.task.image);
    this.label();
  }

  walk(step) {
    const { items } = this.app.grid;
    const next = items[items.indexOf(this.item) + step];
    if (next) this.put(next);
  }

  /** Handle a key; return whether it was one of these. `letters`: single characters work. */
  key({ key, target }, character, letters) {
    if (this.stage.zoom.key(key)) return true;
    if (key === "ArrowLeft" || key === "ArrowRight") this.walk(key === "ArrowLeft" ? -1 : 1);
    else if (key === " " && !target.closest("button")) this.mark();
    else if (!letters) return false;
    else if (character.toLowerCase() === "z") this.stage.zoom.toggle();
    else if (character === "+" || character === "=") this.stage.larger();
    else if (character === "-") this.stage.smaller();
    else if (character === "0") this.stage.asItFits();
    else return false;
    return true;
  }

  closed() {
    const { item } = this;
    if (!item) return;
    this.item = null;
    this.stage.show(null);
    release(item, "stage");
    document.querySelector(`.tile[data-image="${item.task.image}"]`)?.focus({ preventScroll: true });
  }
}

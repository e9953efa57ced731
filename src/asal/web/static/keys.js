// One place that hears the keys. A class's key comes first, commands after it; a browser's own shortcuts are left alone.

import { $, toast } from "./dom.js";
import { Held, classKeys, graph, printed, typed } from "./keyboard.js";
import { recall, keep } from "./store.js";

const INTERACTIVE = "button, a, input, select, textarea, summary, [contenteditable]";
const TEXT = "input:not([type=checkbox]), textarea";
const PANELS = { h: "history", p: "stopping", t: "team", "?": "help" };

export class Keys {
  constructor(app) {
    this.app = app;
    this.held = new Held();
    this.commands = {
      Backspace: () => app.undo(), u: () => app.undo(), " ": (when) => app.single.answer(null, when),
      g: () => app.binary && app.view("grid"), s: () => app.view("single"),
      m: () => app.viewing === "single" && app.single.guess(), w: why, "/": () => app.viewing === "single" && app.list.search(),
      z: () => app.closer(), "+": () => this.stage?.larger(), "=": () => this.stage?.larger(),
      "-": () => this.stage?.smaller(), "0": () => this.stage?.asItFits(),
    };
    const box = $("single-keys");
    box.checked = recall("asal.keys", true);
    box.addEventListener("change", () => keep("asal.keys", box.checked));
    this.learn();
    document.addEventListener("keydown", (event) => {
      const again = this.held.again(event);
      if (this.handled(event, again)) event.preventDefault();
    });
  }

  /** Learn the classes' keys. A command whose letter is a class's key gives it up, and is shown without it. */
  learn() {
    this.classes = classKeys(this.app.project.classes);
    for (const node of document.querySelectorAll("[data-keys]")) {
      const left = node.dataset.keys.split(" ").filter((key) => !this.classes.has(key));
      if (left.length) node.setAttribute("aria-keyshortcuts", left.join(" "));
      else node.removeAttribute("aria-keyshortcuts");
      const cap = node.querySelector("kbd");
      if (cap) cap.hidden = this.classes.has(cap.textContent);
    }
  }

  handled(event, again) {
    const { target, key } = event;
    const character = typed(event);
    if (event.defaultPrevented || !character || target.closest(TEXT)) return false;
    if (this.app.panels.open) return this.panel(event, character, again);
    if (key === "Enter" && this.app.notice.stops && !target.closest(INTERACTIVE)) {
      this.app.notice.close();
      return true;
    }
    if (!graph(event)) {
      if (this.app.viewing === "grid" && !again && this.app.grid.key(event, this.classes)) return true;
      if ((key === " " || key === "Enter") && target.closest(INTERACTIVE)) return false; // a focused button's own keys
      if (target.closest("select")) return false;
      if (this.app.viewing === "single" && this.arrows(key)) return true;
    }
    if (!$("single-keys").checked) return false; // a voice or a screen reader may press single keys unasked
    return !again && this.pressed(event, character); // a key that is held down labels one image, not all
  }

  /** The stage that a key means; none in the grid. */
  get stage() {
    return this.app.viewing === "single" ? this.app.single.stage : null;
  }

  panel(event, character, again) {
    const letters = $("single-keys").checked;
    if (this.app.look.item) return !(again && !event.key.startsWith("Arrow")) && this.app.look.key(event, character, letters);
    const name = PANELS[character];
    if (!name || !letters) return false;
    this.app.panels.toggle(name);
    return true;
  }

  arrows(key) {
    const { single } = this.app;
    const { zoom } = single.stage;
    if (zoom.key(key)) return true;
    if (key === "Escape" && zoom.closer) zoom.reset(true);
    else if (key === "ArrowLeft") single.walk(-1);
    else if (key === "ArrowRight") single.walk(1);
    else if (key === "Escape") single.present();
    else return false;
    return true;
  }

  pressed(event, character) {
    const number = this.classes.find(event);
    if (number !== undefined) return this.label(number, event.timeStamp);
    const torn = this.classes.torn(character);
    if (torn.length) {
      toast(torn.map(({ name, key }) => `${name} has the key ${key || "of no letter"}`).join(", ") + ": they differ by case alone.");
      return true;
    }
    return !graph(event) && this.command(event, character);
  }

  label(number, when) {
    if (this.app.viewing === "grid") this.app.grid.take(number);
    else this.app.single.answer(number, when);
    return true;
  }

  command(event, character) {
    const low = character.length === 1 ? character.toLowerCase() : character;
    if (/^Digit/.test(event.code) && "+-=".includes(low)) return false; // 6 of a French keyboard, 1 of a Czech one
    const name = [low, printed(event)].find((one) => one && (PANELS[one] || this.commands[one]));
    if (!name || (name === " " && this.app.viewing === "grid")) return false;
    if (PANELS[name]) this.app.panels.toggle(PANELS[name]);
    else this.commands[name](event.timeStamp);
    return true;
  }
}

function why() {
  const node = $("why");
  node.open = !node.open;
  if (node.open) node.scrollIntoView({ block: "nearest" });
}

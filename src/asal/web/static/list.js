// The classes as buttons. Where there are many: a search box, and the classes used last in front, each in a place that
// stays the same as long as it is there.

import { $, afterPaint, announce, el, plural, write } from "./dom.js";
import { fits, plainText, shortNames } from "./names.js";
import { keep, recall } from "./store.js";

const MANY = 20; // classes, beyond which nobody finds one at a look
const LAST = 6; // places for the classes used last
const LONGEST = 90; // characters of a name on its button
const HUGE = 400; // classes, beyond which only those on the screen are laid out
const MOST = 60; // hits on the screen
const BRIEF = 44; // and in the places for the classes used last

export class ClassList {
  constructor(app) {
    this.app = app;
    this.can = null; // whether the buttons can be pressed
    this.chosen = null; // the label of an image that is being corrected
    this.chances = false; // whether the model's guess is shown
    this.found = []; // the classes on the screen
    this.at = -1; // the one of them that Enter takes
    new ResizeObserver(() => this.rows()).observe($("classes"));
    $("find").addEventListener("input", () => this.filter());
    $("find").addEventListener("keydown", (event) => this.key(event));
  }

  /** Draw the classes, at the beginning and whenever they have changed. */
  draw() {
    const { project, scope } = this.app;
    const texts = shortNames(project.classes.map(({ name }) => name), LONGEST);
    this.all = project.classes.map((one, i) => ({ ...one, plain: plainText(one.name), node: this.button(one, texts[i]) }));
    this.byNumber = new Map(this.all.map((one) => [one.number, one]));
    this.many = this.all.length > MANY || this.all.some(({ key }) => !key);
    this.short = this.all.every(({ name }) => [...name].length <= 2);
    this.long = this.all.some(({ name }) => [...name].length > 24);
    $("classes").classList.toggle("short", this.short);
    $("classes").classList.toggle("huge", this.all.length > HUGE);
    $("finder").hidden = !this.many;
    this.place = `asal.last|${scope}`;
    this.last = recall(this.place, { places: [], order: [] });
    const brief = shortNames(this.all.map(({ name }) => name), BRIEF);
    this.brief = new Map(this.all.map(({ number }, i) => [number, brief[i]]));
    Object.assign(this, { can: null, chances: false, chosen: null });
    delete $("recent").dataset.shown;
    this.filter();
    this.recent();
    this.rows();
  }

  button({ number, name, key }, text) {
    const same = key && key.toLowerCase() === name.toLowerCase();
    const attributes = { type: "button", "data-class": number, "aria-keyshortcuts": key || null, title: name };
    const node = el("button", { ...attributes, class: same ? "class same" : "class", "aria-label": text === name ? null : name },
      key ? el("kbd", { "aria-hidden": "true" }, key) : null, el("span", { class: "name" }, text),
      el("span", { class: "chance", hidden: true }));
    this.pressable(node, number);
    return node;
  }

  pressable(node, number) {
    node.addEventListener("mousedown", (event) => event.preventDefault()); // the focus stays: space is still "can't tell"
    node.addEventListener("click", (event) => this.app.single.answer(number, event.timeStamp));
  }

  /** Lay the classes out in as few rows as fit, all about as long. */
  rows() {
    const fit = Math.max(1, Math.floor($("classes").clientWidth / (this.short ? 58 : this.long ? 220 : 152)));
    const rows = Math.ceil(this.all.length / fit);
    $("classes").style.setProperty("--columns", Math.ceil(this.all.length / rows));
  }

  enable(can) {
    if (this.can === can) return;
    this.can = can;
    for (const { node } of this.all) node.disabled = !can;
    for (const node of $("recent").querySelectorAll("button")) node.disabled = !can;
  }

  /** Show which class an image has that is being corrected; undefined: none is. */
  choose(label) {
    if (label === this.chosen) return;
    this.chosen = label;
    for (const { node, number } of this.all) {
      if (label === undefined) node.removeAttribute("aria-pressed");
      else node.setAttribute("aria-pressed", String(number === label));
    }
  }

  /** Show the model's probabilities, or none. */
  guess(probabilities) {
    if (!probabilities && !this.chances) return;
    this.chances = Boolean(probabilities);
    for (const { node, number } of this.all) {
      const one = probabilities?.[number];
      node.lastChild.hidden = one === undefined;
      if (one !== undefined) node.lastChild.textContent = one < 0.005 ? "<1 %" : `${Math.round(100 * one)} %`;
    }
  }

  flash(label) {
    const node = this.byNumber.get(label)?.node ?? $("skip");
    node.classList.remove("flash");
    requestAnimationFrame(() => node.classList.add("flash"));
  }

  /** Note that a class was used: it gets the place of the one that was not used for longest. */
  used(label) {
    if (!this.many || !this.byNumber.has(label)) return;
    const { places, order } = this.last;
    if (!places.includes(label)) {
      const oldest = order.findLast((number) => places.includes(number));
      if (places.length < LAST) places.push(label);
      else places[Math.max(0, places.indexOf(oldest))] = label;
    }
    this.last.order = [label, ...order.filter((number) => number !== label)].slice(0, 200);
    keep(this.place, this.last);
    this.recent();
  }

  recent() {
    const known = this.last.places.map((number) => this.byNumber.get(number)).filter(Boolean);
    const shown = JSON.stringify(known.map(({ number }) => number));
    if ($("recent").dataset.shown === shown) return;
    $("recent").dataset.shown = shown;
    if (!known.length) return void $("recent").replaceChildren(el("p", { class: "note" }, "The classes that you used last appear here."));
    $("recent").replaceChildren(...known.map(({ number, name }) => {
      const node = el("button", { type: "button", title: name, "aria-label": `${name}, used lately`, "data-last": number,
        disabled: this.can === false }, this.brief.get(number));
      this.pressable(node, number);
      return node;
    }));
  }

  /** Go to the search box. */
  search() {
    if (this.many) $("find").focus();
  }

  /** Show the classes that fit what was typed: the best first, among equals those used last. */
  filter() {
    const words = plainText($("find").value).split(" ").filter(Boolean);
    const rank = new Map(this.last.order.map((number, i) => [number, i]));
    const late = ({ number }) => rank.get(number) ?? Infinity;
    const hits = this.all.map((one) => ({ one, fit: words.length ? fits(one.plain, words) : 0 })).filter(({ fit }) => fit !== null);
    if (words.length) hits.sort((a, b) => a.fit - b.fit || (late(a.one) === late(b.one) ? 0 : late(a.one) - late(b.one)));
    this.found = hits.map(({ one }) => one);
    if (words.length) this.found.length = Math.min(this.found.length, MOST);
    $("classes").replaceChildren(...this.found.map(({ node }) => node));
    $("classes").scrollTop = 0;
    this.mark(words.length && this.found.length ? 0 : -1);
    const none = `No class is called so.`;
    write($("found"), !words.length ? "" : hits.length ? plural(hits.length, "class", "classes") : none);
  }

  /** Mark the class that Enter takes. */
  mark(at) {
    this.found[this.at]?.node.classList.remove("next");
    for (const node of $("classes").querySelectorAll(".next")) node.classList.remove("next");
    this.at = at;
    const one = this.found[at];
    if (!one) return;
    one.node.classList.add("next");
    one.node.scrollIntoView({ block: "nearest" });
    announce(`${one.name}, ${at + 1} of ${this.found.length}. Enter takes it.`);
  }

  key(event) {
    const { key, isComposing, keyCode, repeat, timeStamp } = event;
    if (isComposing || keyCode === 229) return; // Enter ends what an input method composes
    if (key === "ArrowDown" || key === "ArrowUp") {
      this.mark(Math.min(this.found.length - 1, Math.max(0, this.at + (key === "ArrowDown" ? 1 : -1))));
    } else if (key === "Enter") {
      if (!repeat && !this.app.notice.holds() && this.found[this.at]) this.take(this.found[this.at].number, timeStamp);
    } else if (key === "Escape") {
      this.clear();
      $("desk").focus({ preventScroll: true });
    } else if (key !== "/" || $("find").value) return; // the key that leads here, once more
    event.preventDefault();
    event.stopPropagation();
  }

  take(number, when) {
    if (!this.can) return;
    this.app.single.answer(number, when);
    $("find").value = "";
    afterPaint(() => this.filter()); // a long list takes longer than the next image may
  }

  clear() {
    const typed = $("find").value !== "";
    $("find").value = "";
    if (typed) this.filter();
    else this.mark(-1);
  }
}

// For questions with two answers: a page of images that are assumed to be of one class. Exceptions are marked, and
// Enter confirms the page in one request.

import { $, el, afterPaint, plural, announce, toast } from "./dom.js";
import { showReason } from "./empty.js";
import { crispIfTiny, described, itemOf, kept, want } from "./pictures.js";

const LEAST = 80; // CSS pixels of a tile: a finger hits it
const LARGEST = 176;
const ENOUGH = 0.8; // of the images that a page shall have: larger tiles are worth a few less
const GAP = 8;

export class Grid {
  constructor(app) {
    this.app = app;
    this.taken = app.project.classes[0].number; // the class that all are taken for
    this.items = [];
    this.marks = new Map(); // image -> label that differs from the page's
    this.columns = 4;
    this.size = app.project.grid;
    this.focused = null; // the item that "why" explains
    this.before = null; // the page confirmed last: { entries }
    this.correcting = false; // whether that page is shown again
    this.learn();
    $("confirm").addEventListener("click", (event) => this.confirm(event.timeStamp));
    $("again").addEventListener("click", () => this.correctLast());
    $("tiles").addEventListener("keydown", (event) => this.move(event));
    new ResizeObserver(() => this.refit()).observe($("tiles").parentElement);
  }

  /** Draw what depends on the classes. A page whose class is gone is laid out again. */
  learn() {
    if (!this.app.binary) return;
    const { classes } = this.app.project;
    const pick = el("select", { id: "taken" }, ...classes.map(({ number, name }) => el("option", { value: number }, name)));
    pick.addEventListener("change", () => this.take(Number(pick.value)));
    $("taken-for").replaceChildren(el("label", { for: "taken" }, "All of these are"), pick, el("span", { id: "odd-rule" }));
    if (!classes.some(({ number }) => number === this.taken)) this.taken = classes[0].number;
    pick.value = String(this.taken);
    for (const label of this.marks.values()) if (label !== null && label !== this.other) return void this.clear();
    this.repaint();
  }

  get other() {
    return this.app.project.classes.find(({ number }) => number !== this.taken).number;
  }

  /** Find the largest tiles of which enough fit, in whole rows. */
  refit() {
    const { clientWidth, clientHeight } = $("tiles").parentElement;
    if ($("grid").hidden || !clientWidth) return;
    let tile = LARGEST;
    const most = this.app.project.grid;
    const along = (length) => Math.max(2, Math.floor((length - 6 + GAP) / (tile + GAP)));
    while (tile > LEAST && along(clientWidth) * along(clientHeight) < ENOUGH * most) tile -= 2;
    this.columns = Math.min(along(clientWidth), 8);
    this.size = this.columns * Math.min(along(clientHeight), Math.max(1, Math.floor(most / this.columns)));
    $("tiles").style.setProperty("--columns", this.columns);
    $("tiles").style.setProperty("--tile", `${tile}px`);
    this.app.feed.want = 2 * this.size;
    if (this.items.length > this.size && !this.correcting) this.trim();
  }

  /** The room has shrunk: what is no longer on the screen cannot be confirmed. */
  trim() {
    this.items = this.items.slice(0, this.size);
    const shown = new Set(this.items.map(({ task }) => task.image));
    for (const image of this.marks.keys()) if (!shown.has(image)) this.marks.delete(image);
    this.draw();
    this.repaint();
  }

  /** Show a page if there is none, or if some of its images went elsewhere. */
  show(pressed) {
    this.refit();
    if (!this.correcting && this.items.some(({ task }) => !this.app.feed.has(task.image))) this.clear();
    if (!this.correcting && this.items.length === 0) this.deal(pressed);
    const none = this.items.length === 0;
    $("grid-empty").hidden = !none;
    $("confirm").disabled = none;
    $("again").disabled = !this.before || this.correcting;
    $("confirm").firstChild.data = this.correcting ? "Correct this page " : "Confirm the page ";
    if (none) showReason(this.app, this.app.feed.head, $("grid-empty"));
  }

  /** Lay out the next images. All must be loaded: nobody confirms what was not shown. */
  deal(pressed) {
    const { items, short } = this.app.feed;
    if (items.length < this.size && !short) return void this.app.feed.soon(0); // a full page, if there is one
    const page = items.slice(0, this.size);
    const late = page.find((item) => !(item.tile ?? want(item, "tile")).img);
    if (late) late.tile.then = () => this.show(pressed);
    if (late || page.length === 0) return;
    this.items = page;
    this.marks = new Map();
    this.draw(pressed);
    this.repaint();
  }

  draw(pressed) {
    $("tiles").replaceChildren(...this.items.map((item, i) => this.tile(item, i)));
    const { items } = this;
    afterPaint((now) => {
      if (this.items !== items || !items.length) return;
      this.app.clock.start(items[0], now);
      if (pressed !== undefined) performance.measure("asal: key to page", { start: pressed, end: now });
    });
    if (items.length && $("tiles").contains(document.activeElement) === false) $("tiles").firstChild.focus({ preventScroll: true });
    announce(`${plural(items.length, "image", "images")}, all taken for ${this.app.name(this.taken)}.`);
  }

  tile(item, i) {
    const flag = el("span", { class: "flag" });
    const node = el("button", { type: "button", class: "tile", tabindex: i ? -1 : 0, "data-image": item.task.image }, picture(item), flag);
    item.tile.then = () => item.tile.img && node.firstChild.replaceWith(picture(item)); // the pool's stood in for it
    node.addEventListener("click", () => this.toggle(item.task.image));
    node.addEventListener("dblclick", () => this.app.look.open(item)); // its two clicks mark nothing
    node.addEventListener("focus", () => {
      this.focused = item;
      this.app.shown(item);
    });
    this.paint(node, item);
    return node;
  }

  label(image) {
    return this.marks.has(image) ? this.marks.get(image) : this.taken;
  }

  paint(node, item) {
    const { image } = item.task;
    const odd = this.marks.has(image);
    node.classList.toggle("odd", odd);
    node.classList.toggle("unsure", odd && this.marks.get(image) === null);
    node.setAttribute("aria-pressed", String(odd));
    node.setAttribute("aria-label", `${described(item.task)}: ${this.app.name(this.label(image))}`);
    node.lastChild.textContent = odd ? this.app.tag(this.label(image)) : "";
  }

  repaint() {
    [...$("tiles").children].forEach((node, i) => this.paint(node, this.items[i]));
    const odd = this.marks.size;
    $("odd-rule").textContent = `Mark what is ${this.app.name(this.other)}.`;
    $("odd").textContent = odd ? `${plural(odd, "is", "are")} marked` : "none marked";
  }

  /** Mark an image as odd, or no longer. */
  toggle(image, label = this.other) {
    if (this.marks.get(image) === label && this.marks.has(image)) this.marks.delete(image);
    else this.marks.set(image, label);
    this.repaint();
    announce(`Image ${image}: ${this.app.name(this.label(image))}.`);
  }

  /** Take the whole page for another class; marks stay where they still differ. */
  take(number) {
    this.taken = number;
    $("taken").value = String(number);
    for (const [image, label] of this.marks) if (label === number) this.marks.delete(image);
    this.repaint();
    announce(`All are taken for ${this.app.name(number)}.`);
  }

  /** Handle keys that belong to the page; return whether this was one. A class that is called x has the x. */
  key({ key, target, timeStamp }, classes) {
    if (key === "Enter" && !target.closest("select, #again, header, aside")) {
      this.confirm(timeStamp);
      return true;
    }
    if (key.startsWith("Arrow") && !$("tiles").contains(target)) {
      $("tiles").querySelector('[tabindex="0"]')?.focus();
      return true;
    }
    const tile = target.closest(".tile");
    if (tile && (key === "Delete" || (key.toLowerCase() === "x" && !classes.has("x")))) {
      this.toggle(Number(tile.dataset.image), null);
      return true;
    }
    return false;
  }

  move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns }[event.key];
    const tiles = [...$("tiles").children];
    const at = tiles.indexOf(document.activeElement);
    if (step === undefined || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const to = tiles[at + step];
    if (!to) return;
    tiles[at].tabIndex = -1;
    to.tabIndex = 0;
    to.focus();
  }

  /** Send the page: all of it, or none. */
  confirm(pressed) {
    const { app, items } = this;
    if (!items.length || app.notice.holds()) return;
    const each = Math.round((1000 * app.clock.read(items[0])) / items.length) / 1000;
    const entries = items.map(({ task }) => ({ ...kept(task), label: this.label(task.image) }));
    if (this.correcting) this.correct(entries, each);
    else this.send(entries, each);
    this.before = { entries };
    this.correcting = false;
    this.clear();
    this.show(pressed);
    if (!this.items.length) $("grid-empty").focus();
  }

  clear() {
    this.items = [];
    this.marks = new Map();
    $("tiles").replaceChildren();
    this.repaint();
  }

  send(entries, seconds) {
    const { app } = this;
    const answers = entries.map(({ image, label }) => ({ image, label, seconds, guess: false }));
    for (const { image } of entries) app.feed.drop(image);
    app.feed.soon(0);
    for (const entry of entries) app.past.put(entry);
    app.past.actions = [];
    app.outbox.add("/api/answers", { tab: app.tab, answers }, entries);
    for (const { label } of entries) app.pressed(label, 1);
    toast(`${plural(entries.length, "image", "images")} confirmed.`);
  }

  correct(entries, seconds) {
    const { app } = this;
    const changed = entries.filter(({ image, label }) => app.past.find(image)?.label !== label);
    if (!changed.length) return toast("Nothing was changed.");
    const answers = changed.map(({ image, label }) => ({ image, label, seconds, guess: false }));
    for (const entry of changed) app.past.put(entry);
    app.outbox.add("/api/corrections", { tab: app.tab, answers }, changed);
    return toast(`${plural(changed.length, "image", "images")} corrected.`);
  }

  /** Show the page confirmed last again, with its marks, to be corrected. */
  async correctLast() {
    if (!this.before || this.correcting) return announce("There is no page to go back to.");
    const items = this.before.entries.map((entry) => itemOf(entry));
    await Promise.all(items.map((item) => want(item, "tile", true).loaded));
    this.correcting = true;
    this.items = items;
    const labels = this.before.entries.map(({ image, label }) => [image, label]);
    this.marks = new Map(labels.filter(([, label]) => label !== this.taken));
    this.draw();
    this.repaint();
    this.show();
    return toast("This is the last page: change what is wrong and press Enter.");
  }
}

/** Return the picture of a tile. */
const picture = ({ tile }) => crispIfTiny(tile.img);

// The images to come: asked for ahead, loaded and decoded before their turn, so that a key press only has to swap them.

import { Refusal, call } from "./api.js";
import { drop, itemOf, release, want } from "./pictures.js";

export const AHEAD = 6; // images held ready in the single view: enough for the fastest hand, and little that others wait for
const PHOTOGRAPHS = 10; // images asked for: the server decodes those that it has handed out
const QUICK = 250; // ms between two requests while there is nothing
const SLOW = 1_500;
const MOST = 200; // images that a tab can hold
const RENEW = 8_000; // ms between two renewals of the reservations
const IDLE = 180_000; // ms without input, after which others may have the images

export class Feed {
  /** `outbox` knows what the server has not received yet; `callbacks` = { changed(), signedOut() }. */
  constructor(tab, outbox, callbacks) {
    Object.assign(this, { tab, outbox, callbacks });
    this.items = [];
    this.want = AHEAD;
    this.kind = "stage"; // which picture of each image is shown: that of the stage, or that of a tile
    this.doing = { stage: "starting", done: 0, total: 0, note: "", since: 0, error: null };
    this.waiting = { open: 0, mine: 0, others: 0 };
    this.asked = false; // whether the server has ever replied
    this.asking = null;
    this.short = false; // whether the server has no more than we hold
    this.pause = QUICK;
    this.timer = 0;
    this.seen = performance.now(); // the person
    for (const kind of ["keydown", "pointermove", "pointerdown"]) addEventListener(kind, () => this.wake(), true);
    document.addEventListener("visibilitychange", () => document.hidden || this.wake());
  }

  /** The person is back: images that others were given meanwhile leave the page. */
  wake() {
    const away = this.idle;
    this.seen = performance.now();
    if (away) this.fill();
  }

  get idle() {
    return performance.now() - this.seen > IDLE;
  }

  get head() {
    return this.items[0] ?? null;
  }

  has(image) {
    return this.items.some((item) => item.task.image === image);
  }

  /** Take the first `n` out. */
  take(n = 1) {
    const taken = this.items.splice(0, n);
    this.prepare();
    this.pause = QUICK;
    this.soon(0);
    return taken;
  }

  /** Put an item in front: what was taken back comes next. */
  putBack(item) {
    this.drop(item.task.image);
    this.items.unshift(item);
    want(item, this.kind, true);
  }

  /** Load the pictures of the images that come next. */
  prepare() {
    const near = this.kind === "tile" ? this.items : this.items.slice(0, AHEAD);
    for (const item of near) want(item, this.kind);
  }

  /** Show pictures of this kind from now on. */
  show(kind) {
    if (kind === this.kind) return;
    this.kind = kind;
    if (kind === "tile") for (const item of this.items.slice(1)) release(item, "stage");
    this.prepare();
  }

  /** Return whether an image came back so late that the server, when it was asked, still took it for answered. */
  fresh(image, asked) {
    const item = this.items.find(({ task }) => task.image === image);
    return item !== undefined && (item.from >= asked || this.outbox.withdraws(image));
  }

  drop(image) {
    for (const item of this.items) if (item.task.image === image) drop(item, this.kind);
    this.items = this.items.filter((item) => item.task.image !== image);
  }

  /** Ask again in `ms`. */
  soon(ms) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fill(), ms);
  }

  fill() {
    this.asking ??= this.ask().finally(() => { this.asking = null; });
    return this.asking;
  }

  async ask() {
    if (document.hidden || (this.idle && this.items.length)) { // then nothing is held that others could label
      this.seen = -IDLE;
      return;
    }
    const have = [...new Set([...this.items.map(({ task }) => task.image), ...this.outbox.images()])].slice(-MOST);
    const want = this.items.some(({ task }) => task.photo) ? Math.max(this.want, PHOTOGRAPHS) : this.want;
    const room = Math.min(Math.max(0, want - this.items.length), MOST - have.length);
    const asked = performance.now();
    try {
      const reply = await call("/api/next", { tab: this.tab, n: room, have });
      this.short = reply.tasks.length < room;
      this.accept(reply, asked);
      this.soon(this.items.length >= this.want ? RENEW : this.pause);
      this.pause = reply.tasks.length ? QUICK : Math.min(1.3 * this.pause, SLOW);
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) this.callbacks.signedOut();
      else this.soon(this.pause = Math.min(1.5 * this.pause, 5_000));
    }
    this.callbacks.changed();
  }

  accept(reply, asked) {
    this.asked = true;
    this.doing = reply.doing;
    this.waiting = reply.waiting;
    for (const image of reply.gone ?? []) if (!this.fresh(image, asked)) this.drop(image);
    const pressed = new Set(this.outbox.images()); // pressed while the question was on its way
    for (const task of reply.tasks) {
      if (!this.has(task.image) && !pressed.has(task.image)) this.items.push(itemOf(task));
    }
    this.prepare();
  }
}

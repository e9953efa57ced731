// Answers on their way. Each is written to localStorage before anything else happens and stays there until the server
// has acknowledged it. Its idempotency key is made once, so that sending it again is never a second answer.

import { Away, Refusal, call } from "./api.js";
import { closed, forget, keep, keysFrom, recall, uuid } from "./store.js";

const FIRST_PAUSE = 300; // ms
const LONGEST_PAUSE = 8_000;

export class Outbox {
  /** `scope` names project and person: what one person pressed is never sent in another's name, or to another project. */
  constructor(scope, tab, told) {
    this.prefix = `asal.outbox|${scope}|`;
    this.tab = tab;
    this.told = told; // { saved(letter, reply), refused(letter, error), stranger(), changed() }
    this.letters = [];
    this.sending = null;
    this.pause = FIRST_PAUSE;
    this.bell = 0;
    this.safe = true; // whether the browser keeps what waits
    this.stopped = false;
  }

  /** Take up what this tab left behind at a reload, and what closed tabs left behind for good. */
  async open() {
    this.letters = recall(this.prefix + this.tab, []);
    for (const key of keysFrom(this.prefix)) {
      const tab = key.slice(this.prefix.length);
      if (tab === this.tab || !(await closed(tab))) continue;
      this.letters.unshift(...recall(key, []));
      this.save();
      forget(key); // after ours is saved: a crash between the two sends twice, and twice is once
    }
    window.addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    this.run();
  }

  /** Put a letter in. `tasks` says what its images were, for the history of a page that is loaded again. */
  add(path, body, tasks) {
    this.letters.push({ path, body: { key: uuid(), ...body }, tasks });
    this.save();
    if (!this.bell) this.run();
  }

  /** Take an answer back that was never sent; return whether that went. */
  cancel(image) {
    const at = this.letters.findLastIndex(({ body }) => concerns(body, image));
    const letter = this.letters[at];
    if (!letter || letter === this.sending || letter.tried || letter.path !== "/api/answers") return false;
    if (letter.body.answers.length > 1) return false;
    this.letters.splice(at, 1);
    this.save();
    return true;
  }

  /** Return the images that the server may still think open. */
  images() {
    return this.answers().map(({ image }) => image);
  }

  answers() {
    return this.letters.flatMap(({ path, body }) => (path === "/api/answers" ? body.answers : []));
  }

  /** Return whether taking this image's answer back is still on its way. */
  withdraws(image) {
    return this.letters.some(({ path, body }) => path === "/api/withdrawals" && body.image === image);
  }

  get waiting() {
    return this.letters.reduce((sum, { body }) => sum + (body.answers?.length ?? 1), 0);
  }

  save() {
    if (this.letters.length) this.safe = keep(this.prefix + this.tab, this.letters);
    else forget(this.prefix + this.tab);
    this.told.changed();
  }

  hurry() {
    this.pause = FIRST_PAUSE;
    this.run();
  }

  /** Send in the order of pressing, one at a time: an undo never overtakes its answer. */
  async run() {
    if (this.sending || this.stopped || !this.letters.length) return;
    clearTimeout(this.bell);
    const letter = this.letters[0];
    this.sending = letter;
    try {
      const reply = await call(letter.path, letter.body);
      this.done(letter);
      this.told.saved(letter, reply);
    } catch (error) {
      this.failed(letter, error);
    }
    this.sending = null;
    if (this.bell === 0) this.run();
  }

  done(letter) {
    this.letters = this.letters.filter((other) => other !== letter);
    this.pause = FIRST_PAUSE;
    this.bell = 0;
    this.save();
  }

  failed(letter, error) {
    if (error instanceof Refusal && error.status === 401) {
      this.stopped = true; // it waits for the person to sign in again
      this.told.stranger();
    } else if (error instanceof Refusal) {
      this.done(letter);
      this.told.refused(letter, error);
    } else {
      if (!(error instanceof Away)) console.error(error);
      letter.tried = true; // it may have arrived although no reply came
      this.bell = setTimeout(() => { this.bell = 0; this.run(); }, this.pause * (0.75 + Math.random() / 2));
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
      this.told.changed();
    }
  }
}

function concerns(body, image) {
  return body.image === image || (body.answers ?? []).some((answer) => answer.image === image);
}

// Answers on their way. Each is written to localStorage before anything else happens and stays there until the server
// has acknowledged it. Its idempotency key is made once, so that sending it again is never a second answer.

import { Away, Refusal, call } from "./api.js";
import { closed, forget, keep, keysFrom, recall, uuid } from "./store.js";

const FIRST_PAUSE = 300; // ms
const LONGEST_PAUSE = 8_000;

export class Outbox {
  /** `scope` names project and person: what one person pressed is never sent in another's name, or to another project. */
  constructor(scope, tab, callbacks) {
    this.prefix = `asal.outbox|${scope}|`;
    this.tab = tab;
    this.callbacks = callbacks; // { saved(message, reply), refused(message, error), signedOut(), changed() }
    this.messages = [];
    this.sending = null;
    this.pause = FIRST_PAUSE;
    this.timer = 0;
    this.safe = true; // whether the browser keeps what waits
    this.stopped = false;
  }

  /** Take up what this tab left behind at a reload, and what closed tabs left behind for good. */
  async open() {
    this.messages = recall(this.prefix + this.tab, []);
    for (const key of keysFrom(this.prefix)) {
      const tab = key.slice(this.prefix.length);
      if (tab === this.tab || !(await closed(tab))) continue;
      this.messages.unshift(...recall(key, []));
      this.save();
      forget(key); // after ours is saved: a crash between the two sends twice, and twice is once
    }
    window.addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    this.run();
  }

  /** Put a message in. `tasks` says what its images were, for the history of a page that is loaded again. */
  add(path, body, tasks) {
    this.messages.push({ path, body: { key: uuid(), ...body }, tasks });
    this.save();
    if (!this.timer) this.run();
  }

  /** Remove an answer that was never sent; return whether that was possible. */
  cancel(image) {
    const at = this.messages.findLastIndex(({ body }) => concerns(body, image));
    const message = this.messages[at];
    if (!message || message === this.sending || message.tried || message.path !== "/api/answers") return false;
    if (message.body.answers.length > 1) return false;
    this.messages.splice(at, 1);
    this.save();
    return true;
  }

  /** Return the images that the server may still think open. */
  images() {
    return this.answers().map(({ image }) => image);
  }

  answers() {
    return this.messages.flatMap(({ path, body }) => (path === "/api/answers" ? body.answers : []));
  }

  /** Return whether the withdrawal of this image's answer is still to be sent. */
  withdraws(image) {
    return this.messages.some(({ path, body }) => path === "/api/withdrawals" && body.image === image);
  }

  get waiting() {
    return this.messages.reduce((sum, { body }) => sum + (body.answers?.length ?? 1), 0);
  }

  save() {
    if (this.messages.length) this.safe = keep(this.prefix + this.tab, this.messages);
    else forget(this.prefix + this.tab);
    this.callbacks.changed();
  }

  hurry() {
    this.pause = FIRST_PAUSE;
    this.run();
  }

  /** Send in the order of pressing, one at a time: an undo never overtakes its answer. */
  async run() {
    if (this.sending || this.stopped || !this.messages.length) return;
    clearTimeout(this.timer);
    const message = this.messages[0];
    this.sending = message;
    try {
      const reply = await call(message.path, message.body);
      this.done(message);
      this.callbacks.saved(message, reply);
    } catch (error) {
      this.failed(message, error);
    }
    this.sending = null;
    if (this.timer === 0) this.run();
  }

  done(message) {
    this.messages = this.messages.filter((other) => other !== message);
    this.pause = FIRST_PAUSE;
    this.timer = 0;
    this.save();
  }

  failed(message, error) {
    if (error instanceof Refusal && error.status === 401) {
      this.stopped = true; // it waits for the person to sign in again
      this.callbacks.signedOut();
    } else if (error instanceof Refusal) {
      this.done(message);
      this.callbacks.refused(message, error);
    } else {
      if (!(error instanceof Away)) console.error(error);
      message.tried = true; // it may have arrived although no reply came
      this.timer = setTimeout(() => { this.timer = 0; this.run(); }, this.pause * (0.75 + Math.random() / 2));
      this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
      this.callbacks.changed();
    }
  }
}

function concerns(body, image) {
  return body.image === image || (body.answers ?? []).some((answer) => answer.image === image);
}

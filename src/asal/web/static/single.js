// One image, one key: shows the image, takes the answer, and has the next one up before the key is released.

import { Refusal, call } from "./api.js";
import { $, el, afterPaint, percent, plural, announce, toast, write } from "./dom.js";
import { showReason } from "./empty.js";
import { described, itemOf, kept, want } from "./pictures.js";
import { Stage } from "./stage.js";

export class Single {
  constructor(app) {
    this.app = app;
    this.shown = null; // the item that is on the stage
    this.back = null; // the entry of the past that is being corrected
    this.due = null; // when the key was pressed whose next photograph is not on the screen yet
    this.stage = new Stage($("stage"), $("frame"), $("caption"), app.project.sees);
    for (const [id, act] of [["undo", () => this.undo()], ["skip", () => this.answer(null)],
      ["guess", () => this.guess()], ["present", () => this.present()]]) $(id).addEventListener("click", act);
    for (const id of ["undo", "skip", "guess"]) $(id).addEventListener("mousedown", stay);
  }

  /** Show the current image. Cheap if nothing has changed. */
  show(pressed) {
    const item = this.back ? this.back.item : this.app.feed.head;
    const picture = item && (item.stage ?? want(item, "stage", true));
    if (picture && !picture.ready) picture.then = () => this.show();
    const fresh = picture?.img ? item : null;
    $("empty").hidden = fresh !== null;
    $("frame").hidden = fresh === null;
    if (pressed !== undefined) this.due = item ? pressed : null;
    else if (fresh !== this.shown && this.shown) this.due = null; // they went elsewhere
    if (fresh !== this.shown) this.swap(fresh, picture);
    else if (fresh && picture.img !== $("frame").firstChild) { // the photograph is there, in place of the pool's picture
      this.stage.show(picture);
      afterPaint((now) => this.measure(picture, now, true));
    }
    if (!fresh) showReason(this.app, item);
    this.open(fresh !== null && !this.app.notice.stops);
    this.label();
  }

  swap(item, picture) {
    this.shown = item;
    this.app.list.guess(null);
    $("bias").hidden = true;
    this.stage.show(item && picture);
    if (!item) return undefined;
    afterPaint((now) => {
      if (this.shown !== item) return;
      this.app.clock.start(item, now);
      this.measure(picture, now);
      this.app.shown(item);
    });
    return undefined;
  }

  /** Note how long after the key its next picture was painted, and the photograph itself. */
  measure({ original }, now, later = false) {
    if (this.due === null) return;
    if (!later) performance.measure("asal: key to picture", { start: this.due, end: now });
    if (original === "coming") return;
    performance.measure("asal: key to photograph", { start: this.due, end: now });
    this.due = null;
  }

  /** Ask again for the picture of an answered image, where the server was away. */
  retry() {
    if (this.back?.item.stage?.failed) want(this.back.item, "stage", true);
  }

  /** Show the question. */
  label() {
    const { task } = this.shown ?? {};
    const entry = this.back?.entry;
    $("correcting").hidden = !entry;
    $("desk").classList.toggle("back", Boolean(entry));
    this.app.list.choose(entry?.label);
    if (entry) write($("was"), `Image ${entry.image} is labelled ${this.app.name(entry.label)}.`);
    $("note").textContent = task && !entry ? noteOf(task, this.app) : "";
  }

  open(can) {
    this.app.list.enable(can);
    $("skip").disabled = !can;
    $("guess").disabled = !can || this.back !== null;
    $("undo").disabled = this.app.past.last() === null;
  }

  /** Answer with a class's number, or null for "can't tell". Only the image on the screen can be answered. */
  answer(label, pressed = performance.now()) {
    const item = this.shown;
    if (!item || this.app.notice.holds()) return;
    if (this.back) return void this.correct(label);
    const { app } = this;
    const answer = { image: item.task.image, label, seconds: app.clock.read(item), guess: item.guess };
    app.feed.take();
    this.show(pressed);
    app.list.flash(label);
    app.past.answered({ ...kept(item.task), label });
    app.outbox.add("/api/answers", { tab: app.tab, answers: [answer] }, [{ ...kept(item.task), label }]);
    announce(`${app.name(label)}. ${this.shown ? described(this.shown.task) : $("empty").textContent}`);
    app.pressed(label, 1);
  }

  correct(label) {
    const { entry, item } = this.back;
    if (entry.label !== label) {
      this.app.past.corrected(entry, label);
      this.resend(entry, label, this.app.clock.read(item));
      this.app.list.used(label);
      toast(`Image ${entry.image} is ${this.app.name(label)} now.`);
    }
    this.present();
  }

  resend(entry, label, seconds) {
    const answer = { image: entry.image, label, seconds, guess: false };
    this.app.outbox.add("/api/corrections", { tab: this.app.tab, answers: [answer] }, [{ ...entry, label }]);
    this.app.changed();
  }

  /** Undo the last action: withdraw an answer, or restore the label before a correction. */
  undo() {
    const { app } = this;
    const last = app.past.last();
    if (!last) return announce("There is nothing to undo.");
    const { entry, was } = last;
    if (was !== undefined) {
      app.past.actions.pop();
      app.past.put({ ...entry, label: was });
      this.resend(entry, was, null); // nobody looked again
      return toast(`Image ${entry.image} is ${app.name(was)} again.`);
    }
    app.past.remove(entry.image);
    if (!app.outbox.cancel(entry.image)) {
      app.outbox.add("/api/withdrawals", { tab: app.tab, image: entry.image }, [entry]);
    }
    app.feed.putBack(itemOf(taskOf(entry)));
    this.back = null;
    this.show();
    app.pressed(entry.label, -1);
    return announce(`Withdrawn: ${app.name(entry.label)}. Image ${entry.image} again.`);
  }

  /** Go back or forth in what was answered; beyond the newest lies the present. */
  walk(step) {
    const { entries } = this.app.past;
    const at = this.back ? entries.findIndex(({ image }) => image === this.back.entry.image) : entries.length;
    const next = Math.max(0, at + step);
    if (next >= entries.length) return this.present();
    return this.goTo(entries[next]);
  }

  /** Show an answered image, to be corrected. */
  goTo(entry) {
    this.back = { entry, item: itemOf(taskOf(entry)) };
    this.show();
    this.app.changed();
    announce(`Image ${entry.image}, labelled ${this.app.name(entry.label)}. A class's key changes it, Escape goes back.`);
  }

  present() {
    if (!this.back) return;
    this.back = null;
    this.show();
    this.app.changed();
    announce(this.shown ? `${described(this.shown.task)}, to be labelled.` : $("empty").textContent);
  }

  /** Show the model's guess on request; the record notes that it was seen. */
  async guess() {
    const item = this.shown;
    if (!item || this.back) return;
    item.guess = true;
    try {
      const { probs } = await call(`/api/guess/${item.task.image}`);
      if (this.shown !== item) return;
      $("bias").hidden = false;
      if (!probs) return void write($("bias"), "There is no model yet: the first one is trained on the first labels.");
      this.app.list.guess(probs);
      const best = probs.indexOf(Math.max(...probs));
      write($("bias"), `The model says ${this.app.name(best)}, ${percent(probs[best])}. People tend to follow it, and `
        + "errors that it makes come back as labels; the record notes that you looked.");
      announce($("bias").textContent);
    } catch (error) {
      toast(error instanceof Refusal ? error.text : "The server is away: no guess at present.");
    }
  }
}

const stay = (event) => event.preventDefault();

const taskOf = (entry) => ({ ...kept(entry), disputed: false, votes: [] });

function noteOf(task, app) {
  if (task.disputed) {
    const said = (task.votes ?? []).map(({ by, label }) => `${by}: ${app.name(label)}`).join(", ");
    return `People disagree here${said ? `: ${said}` : ""}. Your answer decides.`;
  }
  const together = task.group > 1 ? ` Together with others, ${task.group} in all, it counts as one label.` : "";
  if (task.synthetic) return "The generator made this image. If it shows nothing clear, answer “can't tell”." + together;
  if (task.votes?.length) return plural(task.votes.length, "vote so far", "votes so far");
  return "";
}

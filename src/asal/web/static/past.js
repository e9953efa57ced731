// The answers of this person, oldest first: for the strip, for undo, and for corrections.

import { call } from "./api.js";
import { kept } from "./pictures.js";

const KEPT = 200;

export class Past {
  constructor() {
    this.entries = []; // { image, label, src, photo, thumb, key, synthetic }
    this.actions = []; // what undo undoes, newest last: { image, was } with `was` undefined for a first answer
  }

  /** Read the newest answers, and put those on top that are still on their way. */
  async load(messages) {
    const { answers } = await call("/api/history?n=50");
    this.entries = answers.reverse().map((answer) => ({ ...kept(answer), label: answer.label }));
    for (const { path, body, tasks } of messages) {
      if (path === "/api/withdrawals") this.remove(body.image);
      else for (const { image, label } of body.answers) this.put({ ...tasks.find((task) => task.image === image), label });
    }
  }

  /** Count answers of classes that were merged as those of the others. */
  merge(into) {
    for (const one of this.entries) one.label = into.get(one.label) ?? one.label;
    for (const one of this.actions) if (one.was !== undefined) one.was = into.get(one.was) ?? one.was;
  }

  find(image) {
    return this.entries.find((entry) => entry.image === image) ?? null;
  }

  /** Put an entry in, or change its label where it is there. */
  put(entry) {
    const old = this.find(entry.image);
    if (old) old.label = entry.label;
    else this.entries.push(entry);
    if (this.entries.length > KEPT) this.entries.shift();
  }

  answered(entry) {
    this.put(entry);
    this.actions.push({ image: entry.image });
  }

  corrected(entry, label) {
    this.actions.push({ image: entry.image, was: entry.label });
    this.put({ ...entry, label });
  }

  remove(image) {
    this.entries = this.entries.filter((entry) => entry.image !== image);
    this.actions = this.actions.filter((action) => action.image !== image);
  }

  /** Return what undo would undo: the last action of this page, else the last answer of the history. */
  last() {
    const action = this.actions.at(-1);
    const entry = action ? this.find(action.image) : this.entries.at(-1);
    return entry ? { entry, was: action?.was } : null;
  }
}

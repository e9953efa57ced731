// What this person answered, oldest first: for the strip, for undo, and for going back to correct.

import { call } from "./api.js";

const KEPT = 200;

export class Past {
  constructor() {
    this.entries = []; // { image, label, src, made }
    this.deeds = []; // what undo undoes, newest last: { image, was } with `was` undefined for a first answer
  }

  /** Read the newest answers, and put those on top that are still on their way. */
  async load(letters) {
    const { answers } = await call("/api/history?n=50");
    this.entries = answers.reverse().map(({ image, label, src, made }) => ({ image, label, src, made }));
    for (const { path, body, tasks } of letters) {
      if (path === "/api/withdrawals") this.remove(body.image);
      else for (const { image, label } of body.answers) this.put({ ...tasks.find((task) => task.image === image), label });
    }
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
    this.deeds.push({ image: entry.image });
  }

  corrected(entry, label) {
    this.deeds.push({ image: entry.image, was: entry.label });
    this.put({ ...entry, label });
  }

  remove(image) {
    this.entries = this.entries.filter((entry) => entry.image !== image);
    this.deeds = this.deeds.filter((deed) => deed.image !== image);
  }

  /** Return what undo would undo: the last deed of this page, else the last answer of the history. */
  last() {
    const deed = this.deeds.at(-1);
    const entry = deed ? this.find(deed.image) : this.entries.at(-1);
    return entry ? { entry, was: deed?.was } : null;
  }
}

/** Keep what the page needs to know of a task once it is answered. */
export function entryOf({ image, src, made }, label) {
  return { image, src, made, label };
}

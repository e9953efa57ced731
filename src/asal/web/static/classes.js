// The classes change while people label: what everybody's page does then, and the panel in which adjudicators change them.

import { Refusal, call } from "./api.js";
import { $, announce, el, plural } from "./dom.js";
import { fits, plainText } from "./names.js";
import { uuid } from "./store.js";

const MANY = 20; // classes, beyond which the panel has a filter

/** Return what differs between two lists of classes, as sentences, and whether a key of a class that stays has moved. */
export function differences(before, after, hidden) {
  const [old, now] = [before, after].map((classes) => new Map(classes.map((one) => [one.number, one])));
  const gone = new Map(hidden.map((one) => [one.number, one]));
  const lines = [], moves = [];
  for (const one of after) {
    const was = old.get(one.number);
    if (!was) lines.push(`“${one.name}” is new${one.key ? `: key ${one.key}` : ""}.`);
    else if (was.name !== one.name) lines.push(`“${was.name}” is called “${one.name}” now.`);
    if (was && was.key !== one.key) moves.push(`“${one.name}” has ${one.key ? `the key ${one.key}` : "no key"} now${was.key ? `, not ${was.key}` : ""}.`);
  }
  for (const one of before.filter(({ number }) => !now.has(number))) {
    const into = now.get(gone.get(one.number)?.into);
    lines.push(into ? `“${one.name}” counts as “${into.name}” now.` : `“${one.name}” is gone.`);
  }
  return { lines, moves };
}

const sending = new WeakSet(); // forms under way: a second press is no second change

/** Fill the panel. */
export async function classPanel(app, panels, reply = null) {
  const { classes, hidden, may_change: may } = reply ?? await call("/api/classes");
  const fill = (next) => $("kinds-body").replaceChildren(...next);
  const change = async (form, body, key) => {
    if (sending.has(form)) return;
    sending.add(form);
    try {
      const done = await call("/api/classes", { key, ...body });
      fill(await classPanel(app, panels, done));
      $("kinds").querySelector("h2").focus();
      await app.relearn();
    } catch (error) {
      const text = error instanceof Refusal ? error.text : "The server is away: press again when it is back.";
      form.querySelector(".error").textContent = text;
    }
    sending.delete(form);
  };
  const list = el("ul", { class: "kinds" }, ...classes.map((one) => row(one, classes, may && change)));
  const said = reply && (reply.done || "Nothing was changed.");
  return [said && el("p", { class: "advice", role: "status" }, said), el("p", { class: "note" }, may
    ? "A change counts for everybody at once. Numbers and answers stay: what was said is kept in the record."
    : "An adjudicator adds, renames, merges and drops classes."),
  may && adding(change), classes.length > MANY && filter(list, classes), list, ...gone(hidden, classes, may && change)].filter(Boolean);
}

/** Make a form that sends a change; its key is made once, so that sending it again changes nothing twice. */
function form(change, body, ...children) {
  const key = uuid();
  const node = el("form", { class: "change", autocomplete: "off" }, ...children, el("p", { class: "error", role: "alert" }));
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    change(node, body(node), key);
  });
  return node;
}

const button = (text) => el("button", { type: "submit" }, text);

function adding(change) {
  return form(change, (node) => ({ change: "add", names: [node.elements.names.value.trim()] }),
    el("label", { for: "new-class" }, "New class"),
    el("input", { id: "new-class", name: "names", required: true, maxlength: 200, spellcheck: "true" }), button("Add"));
}

function filter(list, classes) {
  const find = el("input", { type: "search", id: "kinds-find", autocomplete: "off", spellcheck: "false" });
  const plain = classes.map(({ name }) => plainText(name));
  find.addEventListener("input", () => {
    const words = plainText(find.value).split(" ").filter(Boolean);
    [...list.children].forEach((node, i) => { node.hidden = words.length > 0 && fits(plain[i], words) === null; });
  });
  return el("p", { class: "change" }, el("label", { for: "kinds-find" }, "Find"), find);
}

function row(one, classes, change) {
  const { number, name, key, labels } = one;
  const place = el("div", {});
  const open = (make) => () => {
    place.replaceChildren(make(one, classes, change));
    place.querySelector("input, select, button")?.focus();
  };
  const ways = change ? [["Rename", renaming], ["Merge", merging], ["Drop", dropping]] : [];
  return el("li", { "data-number": number }, el("div", { class: "kind" }, key ? el("kbd", {}, key) : el("span", {}),
    el("span", { class: "name" }, name), el("span", { class: "note" }, plural(labels, "label", "labels")),
    ...ways.map(([text, make]) => el("button", { type: "button", "aria-label": `${text} ${name}`, onclick: open(make) }, text))), place);
}

function renaming({ number, name }, _, change) {
  return form(change, (node) => ({ change: "rename", number, name: node.elements.name.value.trim() }),
    el("label", { for: "new-name" }, "Its new name"), el("input", { id: "new-name", name: "name", value: name, required: true,
      maxlength: 200 }), button("Rename"));
}

function merging({ number, name, labels }, classes, change) {
  const others = classes.filter((one) => one.number !== number);
  return form(change, (node) => ({ change: "merge", number, into: Number(node.elements.into.value) }),
    el("label", { for: "merge-into" }, `Count “${name}” (${plural(labels, "label", "labels")}) as`),
    el("select", { id: "merge-into", name: "into" }, ...others.map((one) => el("option", { value: one.number }, one.name))), button("Merge"));
}

function dropping({ number, name, labels }, _, change) {
  const choice = el("select", { id: "drop-how", name: "how" }, el("option", { value: "again" }, "ask about its images again"),
    el("option", { value: "skip" }, "count its answers as “can't tell”"));
  return form(change, (node) => ({ change: "drop", number, skipped: node.elements.how.value === "skip" }),
    el("label", { for: "drop-how" }, `Drop “${name}” (${plural(labels, "label", "labels")}) and`), choice, button("Drop"));
}

function gone(hidden, classes, change) {
  if (!hidden.length) return [];
  const names = new Map(classes.map(({ number, name }) => [number, name]));
  const rows = hidden.map(({ number, name, into }) => el("li", {}, change
    ? form(change, () => ({ change: "restore", number }), el("span", {}, ended(name, names.get(into))), button("Restore"))
    : ended(name, names.get(into))));
  return [el("h3", {}, "No longer chosen"), el("ul", { class: "kinds" }, ...rows)];
}

const ended = (name, into) => (into ? `${name}: counts as ${into}` : `${name}: dropped`);

/** Everybody's page: say what has changed. Where keys have moved, nothing is labelled until this was read. */
export class Notice {
  constructor(app) {
    this.app = app;
    this.stops = false;
    this.lines = [];
    $("changed-close").addEventListener("click", () => this.close());
  }

  show({ lines, moves }) {
    this.stops ||= moves.length > 0;
    this.lines.push(...lines, ...moves);
    $("changed-text").textContent = `The classes have changed. ${this.lines.join(" ")}`;
    $("changed-close").firstChild.data = this.stops ? "Go on with these keys " : "Close ";
    $("changed-close").lastChild.hidden = !this.stops;
    $("changed").classList.toggle("stops", this.stops);
    $("changed").hidden = false;
    this.app.changed();
  }

  close() {
    this.stops = false;
    this.lines = [];
    $("changed").hidden = true;
    this.app.changed();
    $("desk").focus({ preventScroll: true });
  }

  /** Return whether a press must wait, and say why. */
  holds() {
    if (!this.stops) return false;
    announce($("changed-text").textContent);
    $("changed").classList.remove("flash");
    requestAnimationFrame(() => $("changed").classList.add("flash"));
    return true;
  }
}

// Dialogs: history, progress and stopping, the team, the keys. Each is a dialog: Escape closes it.

import { Refusal, call } from "./api.js";
import { curve } from "./chart.js";
import { classPanel } from "./classes.js";
import { $, el, percent, plural, write } from "./dom.js";
import { itemOf, small } from "./pictures.js";

const FILL = { history, stopping, team, kinds: classPanel, help: () => [] };

export class Panels {
  constructor(app) {
    this.app = app;
    for (const button of document.querySelectorAll("[data-panel]")) {
      button.addEventListener("click", () => this.toggle(button.dataset.panel));
    }
    for (const dialog of document.querySelectorAll("dialog")) {
      dialog.querySelector(".close").addEventListener("click", () => dialog.close());
      dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
    }
  }

  get open() {
    return document.querySelector("dialog[open]");
  }

  close() {
    this.open?.close();
  }

  /** Open a panel, or close it where it is open. */
  toggle(name) {
    const dialog = $(name);
    const closing = dialog.open;
    this.close();
    if (closing) return;
    dialog.showModal();
    dialog.querySelector("h2").focus();
    this.fill(name);
  }

  async fill(name) {
    const body = $(`${name}-body`);
    if (!body) return;
    body.setAttribute("aria-busy", "true");
    try {
      body.replaceChildren(...await FILL[name](this.app, this));
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) this.app.signedOut();
      const text = error instanceof Refusal ? error.text : "The server is away.";
      body.replaceChildren(note(text));
    }
    body.removeAttribute("aria-busy");
  }
}

const note = (text) => el("p", { class: "note" }, text);

async function history(app, panels, before) {
  const { answers, more } = await call(`/api/history?n=60${before === undefined ? "" : `&before=${before}`}`);
  if (!answers.length && before === undefined) return [note("You have answered nothing yet. What you answer appears here, newest first.")];
  const list = el("ol", { class: "past" }, ...answers.map((answer) => el("li", {}, tile(app, panels, answer))));
  const further = more && el("button", { type: "button", class: "plain" }, "Older answers");
  if (further) {
    further.addEventListener("click", async () => {
      const last = answers.at(-1);
      further.replaceWith(...await history(app, panels, last.seq));
    });
  }
  return [list, further].filter(Boolean);
}

function tile(app, panels, answer) {
  const name = app.name(answer.label);
  const text = `Image ${answer.image}: ${name}, round ${answer.round}${answer.synthetic ? ", synthetic" : ""}. Correct it.`;
  const go = () => {
    panels.close();
    app.goTo(answer);
  };
  return el("button", { type: "button", class: "was", "aria-label": text, title: text, onclick: go },
    small(answer), el("span", {}, name));
}

async function stopping(app) {
  const { criteria, curve: points, advice } = await call("/api/stopping");
  const met = criteria.filter((one) => one.met).length;
  const head = el("p", { class: "advice" }, advice ?? "");
  const count = criteria.length ? note(`${met} of ${criteria.length} criteria say that more labels no longer pay.`) : null;
  return [head, count, accuracy(app, points), ...criteria.map(criterion)].filter(Boolean);
}

function accuracy(app, points) {
  const testSet = app.project.test_set;
  if (!testSet) return note("There is no validation or test set with labels, so there is no accuracy to show.");
  const title = `Accuracy on ${plural(testSet.images, "image", "images")} (${testSet.name})`;
  if (!points?.length) return note(`${title}: comes after the first round.`);
  const rows = points.map(({ labels, accuracy: value, round }) => el("tr", {},
    el("td", {}, String(round)), el("td", {}, String(labels)), el("td", {}, percent(value))));
  const table = el("details", {}, el("summary", {}, "The numbers"), el("table", {}, el("thead", {}, el("tr", {},
    ...["round", "labels", "accuracy"].map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, ...rows)));
  const pairs = points.map(({ labels, accuracy: value }) => [labels, value]);
  return el("section", { class: "criterion" }, el("h3", {}, title),
    curve(pairs, { title, y: (value) => `${Number((100 * value).toFixed(1))}%` }), table);
}

function criterion({ title, source, explain, value, threshold, met, history: past }) {
  const known = value !== null && value !== undefined;
  const state = known ? `${met ? "met" : "not met"}: ${short(value)}, wanted ${short(threshold)}` : "not known yet";
  const points = past ?? []; // [labels, value]
  return el("section", { class: "criterion" },
    el("h3", {}, title, el("span", { class: met ? "state met" : "state" }, `${met ? "✓" : "·"} ${state}`)),
    el("p", {}, explain),
    points.length ? curve(points, { title, y: short, line: threshold ?? undefined }) : note("Its curve comes with the next rounds."),
    source && note(source));
}

const short = (value) => (value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toString());

async function team(app, panels) {
  const { people, alpha, kappa, disputed, disputes: open, several } = await call("/api/team");
  const heads = ["name", "role", "answers", "skipped", "votes", "seconds", "agreement"];
  const rows = people.map((one) => el("tr", {}, el("th", { scope: "row" }, one.name),
    ...[one.role, one.answers, one.skipped, one.votes, one.median_seconds?.toFixed(1) ?? "–",
      known(one.agreement)].map((cell) => el("td", {}, String(cell)))));
  const table = el("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": "People" }, el("table", {},
    el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, ...rows)));
  return [table, note("seconds: the median for an image. agreement: how often others said the same of the same images."),
    ...agreement(alpha, kappa, several), ...disputes(app, panels, disputed, open ?? disputed.length)];
}

const known = (part) => (part === null || part === undefined ? "–" : percent(part));

function agreement(alpha, kappa, several) {
  if (!several) return [note("No image has two votes yet, so there is no agreement to measure. Set “overlap” in asal.toml to ask for them.")];
  const pairs = kappa.map(({ a, b, kappa: value, images }) => el("li", {},
    `${a} and ${b}: ${value === null ? "–" : value.toFixed(2)} on ${plural(images, "image", "images")}`));
  const whole = `Krippendorff's α ${alpha === null ? "–" : alpha.toFixed(2)}, on ${plural(several, "image", "images")} with two votes or more.`;
  return [el("h3", {}, "Agreement"), el("p", {}, whole), pairs.length ? el("p", {}, "Cohen's κ of each two:") : null,
    pairs.length ? el("ul", {}, ...pairs) : null].filter(Boolean);
}

function disputes(app, panels, disputed, open) {
  const head = el("h3", {}, `Disputed images (${open})`);
  if (!open) return [head, note("Nobody disagrees, or no image has two votes yet.")];
  if (!disputed.length) return [head, note("An adjudicator decides them.")];
  const list = disputed.map((task) => el("li", {}, dispute(app, panels, task)));
  return [head, note("Choose an image to decide it."), el("ol", { class: "past wide" }, ...list)];
}

function dispute(app, panels, task) {
  const words = (task.votes ?? []).map(({ by, label }) => `${by}: ${app.name(label)}`).join(", ");
  const settle = () => {
    panels.close();
    app.view("single");
    app.feed.putBack(itemOf(task));
    app.refresh();
  };
  const attributes = { type: "button", class: "was", title: words, "aria-label": `Decide image ${task.image}. ${words}` };
  return el("button", { ...attributes, onclick: settle },
    small(task), el("span", {}, words || "decide"));
}

/** Write the table of keys. */
export function keysTable(app) {
  const chips = app.project.classes.filter(({ key }) => key).map(({ key, name }) => el("span", { class: "chip" },
    el("kbd", {}, key), key.toLowerCase() === name.toLowerCase() ? null : ` ${name}`));
  const grid = [["← ↑ → ↓", "in the grid: move"], ["space", "in the grid: mark an exception"],
    ["x or Delete", "in the grid: can't tell this one"], ["Enter", "in the grid: confirm the page"]];
  const rows = [["space", "can't tell"], ["⌫ or u", "undo"], ["← →", "go back and forth in what was answered, to correct it"],
    ["Esc", "back to the next image"], ["w", "why this image?"], ["m", "the model's guess"],
    ["z", `zoom: its pixels, or as it fits${app.binary ? "; in the grid: a larger look" : ""}`], ["+ − 0", "larger, smaller, as it fits"],
    ["← ↑ → ↓", "while zoomed: move the picture"],
    ...(app.binary ? [["s", "single view"], ["g", "grid view"], ...grid] : []),
    ...(app.list.many ? [["/", "find a class by its name; Enter labels the image"]] : []), ["h", "history"], ["p", "progress and stopping"], ["t", "team"], ["?", "this help"]];
  $("keys").replaceChildren(keyRow([el("span", {}, "classes")], chips),
    ...rows.map(([keys, what]) => keyRow(caps(app, keys), [what])));
  write($("help-people"), `You are ${app.project.me.name} (${app.project.me.role}).`);
}

/** Draw the keys of a command, without those that are classes' keys. */
function caps(app, keys) {
  const left = keys.split(/ (?:or )?/).filter((key) => !app.keys.classes.has(key === "−" ? "-" : key));
  const nodes = left.flatMap((key, i) => [i && keys.includes(" or ") ? " or " : "", el("kbd", {}, key)]);
  return left.length ? nodes : ["its button"];
}

function keyRow(keys, what) {
  return el("tr", {}, el("th", { scope: "row" }, ...keys), el("td", {}, ...what));
}

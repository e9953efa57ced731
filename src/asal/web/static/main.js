// Assembles the page. What a key press needs is done before the next paint, everything else after it.

import { Refusal, call, onAway } from "./api.js";
import { Notice, differences } from "./classes.js";
import { Clock } from "./clock.js";
import { $, afterPaint, plural, toast, write } from "./dom.js";
import { enter, leave, signIn, tokenFromAddress } from "./enter.js";
import { AHEAD, Feed } from "./feed.js";
import { Grid } from "./grid.js";
import { Keys } from "./keys.js";
import { ClassList } from "./list.js";
import { Look } from "./look.js";
import { shortNames } from "./names.js";
import { Outbox } from "./outbox.js";
import { Panels, keysTable } from "./panels.js";
import { Past } from "./past.js";
import { Side } from "./side.js";
import { Single } from "./single.js";
import { frameSwitch } from "./stage.js";
import { showStarting } from "./starting.js";
import { claimTab, keep, recall } from "./store.js";
import { Strip } from "./strip.js";

const TAG = 10; // characters of a name on a small image

class App {
  constructor(project, tab) {
    Object.assign(this, { project, tab, away: false, viewing: "single" });
    this.learn();
    this.scope = `${project.id ?? project.name}|${project.me.name}`;
    this.outbox = new Outbox(this.scope, tab, {
      saved: (message, reply) => this.saved(message, reply), refused: (message, error) => this.refused(message, error),
      signedOut: () => this.signedOut(), changed: () => this.unsaved(),
    });
    this.feed = new Feed(tab, this.outbox, { changed: () => this.refresh(), signedOut: () => this.signedOut() });
    this.clock = new Clock();
    this.past = new Past();
    this.list = new ClassList(this);
    this.list.draw();
    this.single = new Single(this);
    this.grid = new Grid(this);
    this.look = new Look(this);
    this.notice = new Notice(this);
    this.side = new Side(this);
    this.strip = new Strip(this);
    this.panels = new Panels(this);
  }

  async start() {
    onAway((away) => this.reach(away));
    this.keys = new Keys(this);
    keysTable(this);
    await this.outbox.open();
    await this.past.load(this.outbox.messages).catch(() => null); // without it the strip begins empty
    this.strip.draw();
    this.side.refresh();
    this.view(this.binary && recall("asal.view", "single") === "grid" ? "grid" : "single");
    await this.feed.fill();
  }

  /** Return whether there are two classes, which is what a grid is for. */
  get binary() {
    return Boolean(this.project.grid) && this.project.classes.length === 2;
  }

  /** Learn the classes' names, in full and for places of little room. */
  learn() {
    const { classes, hidden = [] } = this.project;
    const [names, tags] = [undefined, TAG].map((most) => shortNames(classes.map(({ name }) => name), most ?? Infinity));
    this.names = new Map(classes.map(({ number }, i) => [number, names[i]]));
    this.tags = new Map(classes.map(({ number }, i) => [number, tags[i]]));
    for (const { number, name } of hidden) this.names.set(number, `${name} (no longer a class)`);
  }

  /** The classes have changed: learn them, and say so. */
  async relearn() {
    const { classes, hidden, classes_seq: seq } = await call("/api/project");
    if (seq === this.project.classes_seq) return;
    const found = differences(this.project.classes, classes, hidden);
    Object.assign(this.project, { classes, hidden, classes_seq: seq });
    this.past.merge(new Map(hidden.map(({ number, into }) => [number, into])));
    this.learn();
    this.list.draw();
    this.grid.learn();
    this.side.learn();
    this.keys.learn();
    keysTable(this);
    for (const id of ["to-grid", "to-single"]) $(id).hidden = !this.binary;
    if (this.viewing === "grid" && !this.binary) this.view("single");
    this.refresh();
    this.strip.draw();
    if (found.lines.length + found.moves.length) this.notice.show(found);
  }

  name(label) {
    return label === null ? "can't tell" : this.names.get(label) ?? `class ${label}`;
  }

  /** Return a name of few characters, unlike those of all other classes. */
  tag(label) {
    return label === null ? "?" : this.tags.get(label) ?? `class ${label}`;
  }

  current() {
    return this.viewing === "single" ? this.single.shown : this.grid.focused;
  }

  view(name) {
    this.viewing = name;
    keep("asal.view", name);
    for (const view of ["single", "grid"]) {
      $(view).hidden = view !== name;
      $(`to-${view}`).setAttribute("aria-pressed", String(view === name));
    }
    this.feed.want = AHEAD;
    this.feed.show(name === "grid" ? "tile" : "stage");
    if (this.binary) this.grid.refit();
    this.feed.soon(0);
    this.refresh();
  }

  refresh() {
    this.single.retry();
    if (this.feed.asked) this.side.doing(this.feed.doing); // it is newer than the status
    if (this.viewing === "grid") this.grid.show();
    else this.single.show();
  }

  goTo(entry) {
    if (this.viewing !== "single") this.view("single");
    this.single.goTo(this.past.find(entry.image) ?? entry);
  }

  /** Look closer: at the picture on the stage, or at one of the grid. */
  closer() {
    if (this.viewing === "grid") this.look.open(this.grid.focused ?? this.grid.items[0]);
    else this.single.stage.zoom.toggle();
  }

  undo() {
    if (this.viewing === "grid") this.grid.correctLast();
    else this.single.undo();
  }

  /** After an image was painted: what may take its time. */
  shown(item) {
    this.side.why(item);
  }

  /** After a press: bring the rest of the page up to date once the next image is on the screen. */
  pressed(label, by) {
    afterPaint(() => {
      this.side.pressed(label, by);
      if (by > 0) this.list.used(label);
      this.changed();
    });
  }

  changed() {
    this.strip.draw();
    this.single.open(this.single.shown !== null && !this.notice.stops);
  }

  saved(message, reply) {
    if (reply.progress) this.side.progress(reply.progress);
    if (reply.task) this.returned(reply.task);
    const late = this.project.overlap > 1 ? 0 : (reply.accepted ?? []).filter(({ outcome }) => outcome === "voted").length;
    if (late) toast(`${plural(late, "image was", "images were")} answered by somebody else first; yours is kept as a vote.`);
    this.side.soon();
    if (this.feed.items.length < this.feed.want) this.feed.soon(0);
  }

  /** An image that was taken back: now all is known of it again. */
  returned(task) {
    const item = this.feed.items.find((one) => one.task.image === task.image);
    if (!item) return;
    Object.assign(item, { task, from: performance.now() });
    if (item === this.single.shown) this.shown(item);
  }

  /** An answer that the server refuses is shown with its reason and a hint; the image leaves the page. */
  refused({ path, body }, error) {
    const images = (body.answers ?? [body]).map(({ image }) => image);
    for (const image of images) {
      if (path === "/api/withdrawals") this.feed.drop(image);
      else if (path === "/api/answers") this.past.remove(image);
    }
    const what = plural(images.length, "image was", "images were");
    write($("refused-text"), `${what} not taken (${images.join(", ")}): ${error.text}`);
    $("refused").hidden = false;
    this.side.refresh();
    this.feed.soon(0);
    this.changed();
    this.refresh();
  }

  /** Say whether all is saved. */
  unsaved() {
    const { waiting, safe, messages } = this.outbox;
    const stuck = this.away || messages[0]?.tried;
    const node = $("saved");
    node.dataset.state = stuck && waiting ? "waiting" : this.away ? "away" : "saved";
    const many = plural(waiting, "answer waits", "answers wait");
    const text = waiting && stuck ? `${many} to be saved` : this.away ? "Server away" : "Saved";
    write($("saved-text"), safe ? text : `${text}; this browser keeps nothing: leave the page open`);
    document.title = `${stuck && waiting ? `(${waiting}) ` : ""}${this.project.name} · asal`;
  }

  reach(away) {
    this.away = away;
    if (!away) {
      this.outbox.hurry();
      this.feed.soon(0);
    }
    this.unsaved();
    this.refresh();
  }

  signedOut() {
    signIn("You are signed out. What you answered is kept here and goes on when you are back.");
  }
}

function theme() {
  const root = document.documentElement;
  const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const show = () => $("theme").setAttribute("aria-label", dark() ? "Light colours" : "Dark colours");
  $("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("asal.theme", root.dataset.theme); } catch { /* for this visit, then */ }
    show();
  });
  show();
}

function frame(project) {
  write($("project"), project.name);
  write($("me"), project.me.name);
  frameSwitch(project.sees);
  document.title = `${project.name} · asal`;
  for (const id of ["to-grid", "to-single"]) $(id).hidden = !app.binary;
  $("to-kinds").hidden = project.me.role !== "adjudicator";
  $("leave").addEventListener("click", leave);
  $("refused-close").addEventListener("click", () => { $("refused").hidden = true; });
  const menu = $("menu");
  menu.addEventListener("click", () => {
    const open = menu.getAttribute("aria-expanded") !== "true";
    menu.setAttribute("aria-expanded", String(open));
  });
  for (const button of document.querySelectorAll("#pages button")) {
    button.addEventListener("click", () => menu.setAttribute("aria-expanded", "false"));
  }
  $("to-single").addEventListener("click", () => app.view("single"));
  $("to-grid").addEventListener("click", () => app.view("grid"));
}

let app = null;

/** Load the project, waiting for a server that is not there yet; null: nobody is signed in. */
async function project() {
  for (let pause = 300; ; pause = Math.min(1.5 * pause, 4_000)) {
    try {
      return await call("/api/project");
    } catch (error) {
      if (error instanceof Refusal) return error.status === 401 ? null : Promise.reject(error);
      const wait = showStarting(pause);
      await new Promise((resolve) => { setTimeout(resolve, wait); });
    }
  }
}

async function main() {
  theme();
  const token = tokenFromAddress();
  const failed = token === null ? null : await enter(token);
  const known = await project();
  if (known === null) return signIn(failed);
  app = new App(known, await claimTab());
  frame(known);
  document.body.dataset.state = "work";
  $("desk").focus({ preventScroll: true });
  return app.start();
}

main().catch((error) => {
  document.body.dataset.state = "starting";
  write($("starting-text"), error instanceof Refusal ? error.text : String(error));
});

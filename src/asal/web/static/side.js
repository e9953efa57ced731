// Beside the image: progress, labels per class, accuracy, what asal is doing, and why this image.

import { Refusal, call, here } from "./api.js";
import { curve } from "./chart.js";
import { $, el, percent, plural, write } from "./dom.js";
import { STAGES, errorDetails, progressText } from "./empty.js";
import { shortNames } from "./names.js";
import { keep, recall } from "./store.js";

const MANY = 40; // classes, beyond which those without labels are left out
const LONGEST = 36; // characters of a name
const EVERY = 4_000; // ms between two looks at the status
const SETTLE = 120; // ms an image stays before its "why" is fetched: who labels fast does not ask

export class Side {
  constructor(app) {
    this.app = app;
    this.status = null;
    this.ahead = 0; // answers pressed since the server last counted
    this.timer = 0;
    this.later = 0;
    this.learn();
    $("why").open = recall("asal.why", false);
    $("why").addEventListener("toggle", () => {
      keep("asal.why", $("why").open);
      this.why(app.current());
    });
    $("graph").hidden = !app.project.test_set;
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
  }

  /** Draw a bar for each class. */
  learn() {
    const { classes } = this.app.project;
    const texts = shortNames(classes.map(({ name }) => name), LONGEST);
    this.bars = classes.map((one, i) => ({ number: one.number, row: bar(one, texts[i]), drawn: "" }));
    $("counts").replaceChildren(...this.bars.map(({ row }) => row));
    const short = this.bars.length > 4 && classes.every(({ name }) => [...name].length <= 3);
    $("counts").classList.toggle("short", short);
    $("counts").style.setProperty("--rows", Math.ceil(this.bars.length / 2));
    if (this.status) this.numbers();
  }

  async refresh() {
    clearTimeout(this.timer);
    try {
      this.status = await call("/api/status");
      this.draw();
      if (this.status.classes !== this.app.project.classes_seq) await this.app.relearn();
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) return this.app.signedOut();
    }
    this.timer = setTimeout(() => document.hidden || this.refresh(), EVERY);
    return undefined;
  }

  /** Refresh soon, once for any number of answers. */
  soon() {
    this.later ||= setTimeout(() => { this.later = 0; this.refresh(); }, 700);
  }

  /** Count a press at once; the server's numbers follow. */
  pressed(label, by) {
    if (!this.status) return;
    const { counts, progress } = this.status;
    if (label !== null) counts[label] = Math.max(0, (counts[label] ?? 0) + by);
    progress.spent += label === null ? 0 : by; // "can't tell" costs nothing
    progress.answers += label === null ? 0 : by;
    progress.skipped += label === null ? by : 0;
    this.numbers();
  }

  progress(progress) {
    if (!this.status) return;
    this.status.progress = progress;
    this.numbers();
  }

  draw() {
    this.numbers();
    this.doing(this.status.doing);
    this.graph(this.status.curve);
    const { met, of, advice } = this.status.stopping ?? {};
    $("advice").textContent = of ? `${met} of ${of} stopping criteria are met. ${advice ?? ""}` : advice ?? "";
  }

  numbers() {
    const { progress: { answers, skipped, spent, budget, round }, counts, mine } = this.status;
    const part = budget ? Math.min(1, spent / budget) : 0;
    for (const id of ["meter", "thin"]) $(id).style.setProperty("--part", part);
    $("meter").setAttribute("aria-valuenow", Math.round(100 * part));
    $("meter").setAttribute("aria-valuetext", `${spent} of ${budget}`);
    write($("spent"), budget ? `${spent.toLocaleString("en")} of ${budget.toLocaleString("en")}` : String(spent));
    write($("detail"), `round ${round}, ${plural(answers, "label", "labels")}${skipped ? `, ${skipped} skipped` : ""}`);
    write($("pace"), mine?.answers ? `You: ${plural(mine.answers, "answer", "answers")}${pace(mine)}` : "");
    this.classes(counts);
  }

  /** Show the labels per class; of many classes, those that have labels. */
  classes(counts) {
    const most = Math.max(1, ...counts);
    const many = this.bars.length > MANY;
    let without = 0;
    for (const one of this.bars) {
      const n = counts[one.number] ?? 0;
      if (n === 0) without += 1;
      if (one.drawn === `${n}/${most}`) continue;
      one.drawn = `${n}/${most}`;
      one.row.hidden = many && n === 0;
      one.row.querySelector(".fill").style.setProperty("--part", n / most);
      write(one.row.querySelector(".n"), String(n));
    }
    write($("no-labels"), many && without ? `${plural(without, "class has", "classes have")} no label yet.` : "");
  }

  doing(doing) {
    const node = $("doing");
    const busy = !["waiting", "finished", "failed"].includes(doing.stage);
    node.classList.toggle("busy", busy);
    write($("stage-name"), STAGES[doing.stage] ?? doing.stage);
    write($("stage-note"), [doing.note, busy ? progressText(doing) : ""].filter(Boolean).join("; "));
    $("stage-bar").hidden = !busy || !doing.total;
    $("stage-bar").max = doing.total || 1;
    $("stage-bar").value = doing.done;
    $("stage-error").replaceChildren(...(doing.error ? [errorDetails(doing.error)] : []));
  }

  graph(points) {
    const testSet = this.app.project.test_set;
    if (!testSet) return;
    const text = `Accuracy on ${plural(testSet.images, "image", "images")} (${testSet.name})`;
    if (!points.length) return void $("graph-body").replaceChildren(el("p", { class: "note" }, "Comes after the first round."));
    const drawn = curve(points.map(({ labels, accuracy }) => [labels, accuracy]), { title: text, y: (v) => `${Number((100 * v).toFixed(1))}%` });
    const last = points.at(-1);
    $("graph-body").replaceChildren(drawn, el("p", { class: "note" },
      `${percent(last.accuracy)} with ${plural(last.labels, "label", "labels")}, on ${testSet.images.toLocaleString("en")} ${testSet.name} images`));
  }

  /** Show why an image was asked, if the panel is open. */
  why(item) {
    clearTimeout(this.asking);
    if (!$("why").open) return;
    const image = item?.task.image ?? null;
    if (image === null) return void $("why-body").replaceChildren(el("p", { class: "note" }, "There is no image."));
    this.asking = setTimeout(() => this.reason(item), SETTLE);
  }

  async reason(item) {
    const { image } = item.task;
    let nodes;
    try {
      nodes = explained(await call(`/api/why/${image}`), item);
    } catch (error) {
      nodes = [el("p", { class: "note" }, error instanceof Refusal ? error.text : "The server is away.")];
    }
    if (this.app.current() === item) $("why-body").replaceChildren(...nodes);
  }
}

function bar({ name }, text) {
  return el("li", {}, el("span", { class: "what", title: name }, text), el("span", { class: "track" }, el("span", { class: "fill" })),
    el("span", { class: "n" }, "0"));
}

function pace({ median_seconds: seconds, skipped }) {
  return `${skipped ? `, ${skipped} skipped` : ""}${seconds >= 0.05 ? `, half of them within ${seconds.toFixed(1)} s` : ""}`;
}

function explained(why, { task }) {
  const facts = [["strategy", why.strategy], ...why.facts,
    ["model trained on", why.trained_on === null ? null : `${plural(why.trained_on, "label", "labels")}${why.topped ? ", one round behind" : ""}`], ["round", why.round]];
  const known = facts.filter(([, value]) => value !== null && value !== undefined);
  const pair = why.synthetic && el("div", { class: "pair" },
    el("figure", {}, el("img", { src: here(why.synthetic), alt: "The synthetic image", class: "crisp" }), el("figcaption", {}, "synthetic: the model is unsure")),
    el("figure", {}, el("img", { src: here(task.src), alt: "The real image nearest to it", class: "crisp" }), el("figcaption", {}, "real: the nearest")));
  return [pair, el("p", {}, why.chosen_from ?? ""), el("dl", { class: "facts" },
    ...known.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, String(value))]))].filter(Boolean);
}

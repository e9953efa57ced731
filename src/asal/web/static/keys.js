// One place that hears the keys. A class's key comes first, commands after it; a browser's own shortcuts are left alone.

import { zoomBy } from "./fit.js";
import { $ } from "./dom.js";
import { recall, keep } from "./store.js";

const INTERACTIVE = "button, a, input, select, textarea, summary, [contenteditable]";
const PANELS = { h: "history", p: "stopping", t: "team", "?": "help" };

export function listen(app) {
  const commands = {
    Backspace: () => app.undo(), u: () => app.undo(), " ": (when) => app.single.answer(null, when),
    g: () => app.binary && app.view("grid"), s: () => app.view("single"),
    m: () => app.viewing === "single" && app.single.guess(), w: why,
    "+": () => zoomBy(1.15), "=": () => zoomBy(1.15), "-": () => zoomBy(1 / 1.15),
  };
  const classes = classKeys(app.project.classes);
  const box = $("single-keys");
  box.checked = recall("asal.keys", true);
  box.addEventListener("change", () => keep("asal.keys", box.checked));
  document.addEventListener("keydown", (event) => {
    if (handled(event, { app, commands, classes, single: box.checked })) event.preventDefault();
  });
}

function why() {
  const node = $("why");
  node.open = !node.open;
  if (node.open) node.scrollIntoView({ block: "nearest" });
}

/** Map keys to classes. Where no two differ by case alone, case does not matter. */
function classKeys(classes) {
  const exact = new Map(classes.filter(({ key }) => key).map(({ key, number }) => [key, number]));
  return (key) => exact.get(key) ?? exact.get(key.toLowerCase()) ?? exact.get(key.toUpperCase());
}

function handled(event, ways) {
  const { key, target } = event;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return false;
  if (target.closest("input:not([type=checkbox]), textarea")) return false;
  if (ways.app.panels.open) return panel(key, ways);
  if (ways.app.viewing === "grid" && !event.repeat && ways.app.grid.key(event)) return true;
  if ((key === " " || key === "Enter") && target.closest(INTERACTIVE)) return false; // a focused button's own keys
  if (target.closest("select")) return false;
  if (ways.app.viewing === "single" && arrows(key, ways.app.single)) return true;
  if (!ways.single) return false; // single keys are off: a voice or a screen reader may press them unasked
  return !event.repeat && pressed(event, ways); // a key that is held down labels one image, not all
}

function panel(key, { app, single }) {
  const name = PANELS[key];
  if (!name || !single) return false;
  app.panels.toggle(name);
  return true;
}

function arrows(key, single) {
  if (key === "ArrowLeft") single.walk(-1);
  else if (key === "ArrowRight") single.walk(1);
  else if (key === "Escape") single.present();
  else return false;
  return true;
}

function pressed(event, { app, commands, classes }) {
  const { key, timeStamp } = event;
  const number = classes(key);
  if (number !== undefined) {
    if (app.viewing === "grid") app.grid.take(number);
    else app.single.answer(number, timeStamp);
    return true;
  }
  const low = key.length === 1 ? key.toLowerCase() : key;
  if (PANELS[low]) app.panels.toggle(PANELS[low]);
  else if (commands[low] && !(low === " " && app.viewing === "grid")) commands[low](timeStamp);
  else return false;
  return true;
}

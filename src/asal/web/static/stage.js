// A picture at its best: fitted to its room, with a closer look, the frame of what the classifier sees, and under it the
// name of its file, and what became of that.

import { $, announce, el, toast, write } from "./dom.js";
import { fitter, resizeBy } from "./fit.js";
import { TINY } from "./pictures.js";
import { keep, recall } from "./store.js";
import { Zoom } from "./zoom.js";

const END = 14; // characters of a name that stay when it is shortened
const SIZE = 1.15; // a step by which a picture gets smaller than its room
const QUIET = 400; // ms of rest before a scale is announced: a wheel makes many
const stages = new Set();

export class Stage {
  /** `room` holds `frame`; `caption` is filled here. */
  constructor(room, frame, caption, sees) {
    Object.assign(this, { room, frame, sees: sees ?? null, picture: null, speaking: 0 });
    this.zoom = new Zoom(room, frame, (loud) => this.zoomed(loud));
    this.fit = fitter(frame, () => this.zoom.settle());
    this.outline = el("div", { class: "sees", hidden: true });
    this.level = el("p", { class: "level", hidden: true });
    room.append(this.level);
    this.caption = new Caption(caption, () => this.zoom.toggle(null));
    stages.add(this);
  }

  /** Show a picture, or none. */
  show(picture) {
    const same = this.picture !== null && picture !== null && this.picture.task.image === picture.task.image;
    this.picture = picture;
    if (!picture) this.frame.replaceChildren();
    else {
      this.fit(picture.img);
      this.frame.replaceChildren(picture.img, this.outline);
    }
    if (!same) this.zoom.reset();
    this.caption.show(picture, this.sees);
    this.frames();
  }

  /** Outline what the classifier sees, where that is less than the photograph and the person wants to know. */
  frames() {
    const { picture, outline } = this;
    const { naturalWidth: wide = 0, naturalHeight: high = 0 } = picture?.img ?? {};
    outline.hidden = !(cuts(this.sees) && picture?.original === "here" && framing() && Math.abs(wide - high) > 1);
    outline.classList.toggle("wide", wide > high);
  }

  larger() {
    if (!resizeBy(SIZE)) this.zoom.larger();
  }

  smaller() {
    if (this.zoom.closer) this.zoom.smaller();
    else resizeBy(1 / SIZE);
  }

  asItFits() {
    this.zoom.reset(true);
    resizeBy(Infinity);
  }

  zoomed(loud) {
    const { zoom, level } = this;
    const text = zoom.closer ? scaleText(zoom) : "as it fits";
    level.hidden = !zoom.closer;
    write(level, text);
    this.caption.zoomed(zoom.closer);
    clearTimeout(this.speaking);
    const help = zoom.closer ? " Arrow keys move it, Escape ends it." : "";
    if (loud) this.speaking = setTimeout(() => announce(`Zoom: ${text}.${help}`), QUIET);
  }
}

function scaleText(zoom) {
  const { naturalWidth, naturalHeight } = zoom.img;
  const part = zoom.scale / zoom.oneToOne;
  if (Math.max(naturalWidth, naturalHeight) < TINY) return `× ${zoom.scale.toFixed(1)}`;
  return Math.abs(part - 1) < 0.01 ? "1 : 1" : `${Math.round(100 * part)} %`;
}

const cuts = (sees) => sees?.fit === "crop"; // also where a network reads the originals: it crops them likewise
const framing = () => recall("asal.sees", true);

/** Set up the switch of the frame, in the side panel. */
export function frameSwitch(sees) {
  $("sees").hidden = !cuts(sees);
  if (!cuts(sees)) return;
  const size = sees.reads === "pictures" ? `, at ${sees.size} × ${sees.size} pixels` : "";
  write($("sees-what"), `It reads the square in the middle of each photograph${size}.`);
  $("sees-frame").checked = framing();
  $("sees-frame").addEventListener("change", () => {
    keep("asal.sees", $("sees-frame").checked);
    for (const stage of stages) stage.frames();
  });
}

/** Under a picture: its file, with a button that copies the name, the zoom, and a line where the file is not what it was. */
class Caption {
  constructor(node, toggle) {
    this.key = null;
    this.folder = el("span", { class: "folder" });
    this.start = el("span", { class: "start" });
    this.end = el("span", { class: "end" });
    this.file = el("span", { class: "file" }, this.folder, this.start, this.end);
    this.copy = el("button", { type: "button", class: "quiet copy", "aria-label": "Copy the name of the file" }, "Copy");
    this.button = el("button", { type: "button", class: "quiet zoom", "aria-pressed": "false", "data-keys": "z", title: "Zoom: wheel, pinch, double click" },
      "Zoom ", el("kbd", { "aria-hidden": "true" }, "z"));
    this.named = el("p", { class: "named" }, this.file, this.copy);
    this.lost = el("p", { class: "lost", hidden: true });
    this.row = el("div", { class: "row" }, this.named, this.button);
    node.replaceChildren(this.lost, this.row);
    for (const button of [this.copy, this.button]) button.addEventListener("mousedown", (event) => event.preventDefault());
    this.copy.addEventListener("click", () => copyText(this.key, "The name is copied."));
    this.button.addEventListener("click", toggle);
  }

  show(picture, sees) {
    const { key = null, photo = null } = picture?.task ?? {};
    this.row.hidden = !picture;
    this.named.hidden = key === null || photo === null;
    if (!this.named.hidden) this.name(key);
    const line = picture ? lostText(picture, sees) : "";
    this.lost.hidden = !line;
    this.lost.classList.toggle("coming", picture?.original === "coming");
    write(this.lost, line);
  }

  /** Show a name; what does not fit is left out of its folder first, then of its middle. */
  name(key) {
    if (key === this.key) return;
    this.key = key;
    const at = key.lastIndexOf("/") + 1;
    const name = [...key.slice(at)];
    const cut = Math.max(0, name.length - END);
    write(this.folder, key.slice(0, at));
    write(this.start, name.slice(0, cut).join(""));
    write(this.end, name.slice(cut).join(""));
    this.file.title = key;
  }

  zoomed(closer) {
    this.button.setAttribute("aria-pressed", String(closer));
  }
}

/** Say what became of a file where the photograph is not what is shown. */
function lostText({ original, img }, sees) {
  const size = Math.max(img.naturalWidth, img.naturalHeight) || sees?.size;
  const instead = `this is the pool's ${size}-pixel picture.`;
  if (original === "gone") return `The file is gone: ${instead}`;
  if (original === "changed") return `The file has changed since it was read: ${instead}`;
  if (original === "unreadable") return `The file cannot be read: ${instead}`;
  if (original === "away") return `The photograph cannot be shown at present: ${instead}`;
  return original === "coming" ? `The photograph is on its way: ${instead}` : "";
}

/** Put a text on the clipboard, and say so. Pages on a plain http network address have no clipboard of their own. */
export async function copyText(text, done) {
  let copied = false;
  try {
    await navigator.clipboard.writeText(text);
    copied = true;
  } catch {
    copied = copyOld(text);
  }
  toast(copied ? done : `The browser forbids copying: ${text}`);
}

function copyOld(text) {
  const before = document.activeElement;
  const field = el("textarea", { class: "unseen", readonly: true, "aria-hidden": "true" });
  field.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  before?.focus?.({ preventScroll: true });
  return copied;
}

// The size of a picture in its room. A photograph fills it smoothly; a pixel of a tiny picture becomes a whole number
// of the screen's pixels.

import { TINY } from "./pictures.js";
import { keep, recall } from "./store.js";

const LARGEST = 640; // CSS pixels of what is enlarged: what is larger than a look takes in is slower to tell
const COARSEST = 40; // CSS pixels of one pixel: beyond it, a tiny image is squares and no picture
const SMALL = 0.35; // of the room: how small a person can make it

let part = recall("asal.zoom", 1); // of the room
const fits = new Set();

/** Return a function that gives an image its size, and keeps the frame's image right when the room changes. */
export function fitter(frame, changed) {
  const room = frame.parentElement;
  const fit = (img) => {
    const size = sized(img.naturalWidth || 1, img.naturalHeight || 1, room);
    img.style.width = `${size.width}px`;
    img.style.height = `${size.height}px`;
    img.classList.toggle("crisp", size.crisp);
  };
  const again = () => {
    const img = frame.querySelector("img");
    if (!img) return;
    fit(img);
    changed();
  };
  new ResizeObserver(again).observe(room);
  fits.add(again);
  return fit;
}

function sized(wide, high, room) {
  const dots = window.devicePixelRatio || 1;
  const longest = Math.max(wide, high);
  const fill = Math.min(room.clientWidth / wide, room.clientHeight / high);
  if (longest >= TINY) {
    const scale = Math.min(fill, Math.max(1, LARGEST / longest)) * part;
    return { width: wide * scale, height: high * scale, crisp: false };
  }
  const space = Math.min(fill, LARGEST / longest, COARSEST) * part * dots;
  const scale = space >= 1 ? Math.floor(space) : space; // in dots of the screen; what is too large shrinks smoothly
  return { width: (wide * scale) / dots, height: (high * scale) / dots, crisp: space >= 2 };
}

/** Make pictures larger or smaller, up to the room; return whether that changed anything. */
export function resizeBy(factor) {
  const before = part;
  part = Math.min(1, Math.max(SMALL, part * factor));
  if (part === before) return false;
  keep("asal.zoom", part);
  for (const again of fits) again();
  return true;
}

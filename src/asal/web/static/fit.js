// Crisp images: a pixel of the image becomes a whole number of the screen's pixels.

import { keep, recall } from "./store.js";

const LARGEST = 640; // CSS pixels: what is larger than a look takes in is slower to tell
const COARSEST = 40; // CSS pixels of one pixel: beyond it, a tiny image is squares and no picture
const SMALL = 0.35; // of the room: how small a person can make it

let zoom = recall("asal.zoom", 1);
const fits = new Set();

/** Return a function that gives an image its size, and keeps the frame's image right when the room changes. */
export function fitter(frame, shapeOf) {
  const room = frame.parentElement;
  const fit = (img) => {
    const [high, wide] = shapeOf();
    const size = sized(img.naturalWidth || wide, img.naturalHeight || high, room);
    img.style.width = `${size.width}px`;
    img.style.height = `${size.height}px`;
    img.classList.toggle("crisp", size.crisp);
  };
  const again = () => frame.firstChild && fit(frame.firstChild);
  new ResizeObserver(again).observe(room);
  fits.add(again);
  return fit;
}

function sized(wide, high, room) {
  const dots = window.devicePixelRatio || 1;
  const { clientWidth, clientHeight } = room;
  const space = Math.min(clientWidth / wide, clientHeight / high, LARGEST / Math.max(wide, high), COARSEST) * zoom * dots;
  const scale = space >= 1 ? Math.floor(space) : space; // in dots of the screen; what is too large shrinks smoothly
  return { width: (wide * scale) / dots, height: (high * scale) / dots, crisp: space >= 2 };
}

/** Make images larger or smaller. */
export function zoomBy(factor) {
  zoom = Math.min(1, Math.max(SMALL, zoom * factor));
  keep("asal.zoom", zoom);
  for (const again of fits) again();
}

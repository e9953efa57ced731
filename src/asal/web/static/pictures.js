// The pictures of an image: the photograph for the stage, a small one for a tile; the pool's where there is no other.
// A photograph is fetched, so that the server can say what became of its file, and decoded before its turn.

import { here } from "./api.js";

export const TINY = 100; // pixels, below which a picture is enlarged as crisp squares
const LANES = 3; // fetched at once: a browser has six connections to a server, and answers need one
const SLOW = 1_500; // ms, after which the pool's picture stands in for a photograph that is on its way
const PATIENCE = 60_000; // ms
const TRIES = 20; // requests for a photograph that is still being read
const queue = []; // pictures that somebody is to see next, the first in front
const later = []; // small ones of what was answered
let busy = 0;

/** Make an item of a task. Nothing is loaded before it is wanted. */
export function itemOf(task) {
  return { task, stage: null, tile: null, looked: 0, guess: false, from: performance.now() };
}

/**
 * Return the picture of an item, "stage" or "tile", and start to load it: in turn, or before all others.
 *
 * `img` is what can be shown now or null, `ready` whether it stays; `original` is here, gone, changed, unreadable,
 * away (the server gave none), coming (the pool's picture stands in), or null: the source keeps no originals.
 */
export function want(item, kind, first = false) {
  const known = item[kind];
  if (known && !known.failed && !known.dropped) {
    const at = first ? queue.findIndex(({ owner }) => owner === known) : -1;
    if (at > 0) queue.unshift(...queue.splice(at, 1));
    return known;
  }
  const { task } = item;
  const address = (kind === "tile" ? task.thumb : task.photo) ?? null;
  const picture = { task, address, img: null, ready: false, failed: false, dropped: false, original: null,
    then: known?.then ?? null };
  item[kind] = picture;
  picture.loaded = new Promise((resolve) => {
    const job = { owner: picture, run: () => load(picture), resolve };
    if (first) queue.unshift(job);
    else queue.push(job);
  });
  if (address !== null) setTimeout(() => standIn(picture), SLOW);
  pump();
  return picture;
}

/** Give up a picture that is not there yet: what waits for its turn is not fetched. */
export function drop(item, kind) {
  if (item[kind] && !item[kind].ready) item[kind].dropped = true;
}

/** Forget a picture that is not on the screen: a photograph takes 12 MB once it is decoded. */
export function release(item, kind) {
  drop(item, kind);
  item[kind] = null;
}

function pump() {
  while (busy < LANES && queue.length + later.length) {
    const { owner, run, resolve } = queue.shift() ?? later.shift();
    if (owner.dropped) {
      resolve();
      continue;
    }
    busy += 1;
    run().finally(() => {
      busy -= 1;
      resolve();
      pump();
    });
  }
}

async function load(picture) {
  try {
    await (picture.address === null ? fromPool(picture) : photograph(picture));
    picture.ready = true;
  } catch {
    picture.failed = true; // the server is away: the next reply from it starts another try
  }
  picture.then?.();
}

async function fromPool(picture, original = null) {
  picture.img = await decoded(picture.task, here(picture.task.src));
  picture.original = original;
}

/** Fetch a photograph; while the server is still reading its file, show what it sends meanwhile. */
async function photograph(picture) {
  for (let tries = 0; tries < TRIES && !picture.dropped; tries += 1) {
    const later = await once(picture);
    if (later === null) return;
    picture.then?.();
    await new Promise((resolve) => { setTimeout(resolve, 1000 * later); });
  }
}

/** Fetch a photograph once; return the seconds after which to ask again, or null. */
async function once(picture) {
  const reply = await fetch(here(picture.address), { credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE) });
  const blob = reply.ok ? await reply.blob() : null;
  if (blob === null) return await fromPool(picture, "away") ?? null;
  const later = Number(reply.headers.get("Retry-After"));
  const url = URL.createObjectURL(blob);
  try {
    picture.img = await decoded(picture.task, url);
    picture.original = later ? "coming" : reply.headers.get("X-Original") ?? "here";
  } catch {
    await fromPool(picture, "unreadable");
  } finally {
    URL.revokeObjectURL(url); // the image has its bytes
  }
  return later || null;
}

/** Show the pool's picture where a photograph takes long: nobody waits for a slow disk. */
async function standIn(picture) {
  if (picture.img || picture.dropped || picture.failed) return;
  const img = await decoded(picture.task, here(picture.task.src)).catch(() => null);
  if (!img || picture.img) return;
  Object.assign(picture, { img, original: "coming" });
  picture.then?.();
}

async function decoded(task, src) {
  const img = new Image();
  Object.assign(img, { decoding: "sync", draggable: false, alt: described(task), src });
  img.dataset.image = task.image;
  await img.decode();
  return img;
}

/** Name an image for screen readers. */
export function described({ image, synthetic }) {
  return synthetic ? `Synthetic image ${image}` : `Image ${image}`;
}

/** Keep what the page needs to know of a task once it is answered. */
export function kept({ image, src, photo, thumb, key, synthetic }) {
  return { image, src, photo, thumb, key, synthetic };
}

/** Return the small picture of an answer. A photograph's is loaded when no other is waited for. */
export function small({ thumb, src }) {
  const img = new Image();
  Object.assign(img, { alt: "", draggable: false });
  if (!thumb) {
    img.addEventListener("load", () => crispIfTiny(img), { once: true });
    img.src = here(src);
    return img;
  }
  const run = () => new Promise((resolve) => {
    img.addEventListener("load", () => resolve(crispIfTiny(img)), { once: true });
    img.addEventListener("error", resolve, { once: true });
    img.src = here(thumb);
  });
  later.push({ owner: {}, run, resolve: () => {} });
  pump();
  return img;
}

/** Draw the pixels of a tiny picture as squares, and any other smoothly. */
export function crispIfTiny(img) {
  img.classList.toggle("crisp", Math.max(img.naturalWidth, img.naturalHeight) < TINY);
  return img;
}

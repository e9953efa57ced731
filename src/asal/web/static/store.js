// What the browser keeps. Nothing here throws where storage is forbidden or full.

export function recall(key, otherwise) {
  try {
    const text = localStorage.getItem(key);
    return text === null ? otherwise : JSON.parse(text);
  } catch {
    return otherwise;
  }
}

/** Keep a value and return whether the browser did. */
export function keep(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export function forget(key) {
  try { localStorage.removeItem(key); } catch { /* then there is nothing to forget */ }
}

export function keysFrom(prefix) {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(prefix));
  } catch {
    return [];
  }
}

/** Make a random id. randomUUID is there on secure origins alone, and a page on a local network has none. */
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

const TAB = "asal.tab";
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** Return the id of this tab. A duplicated tab gets one of its own: the browser copies sessionStorage into it. */
export async function claimTab() {
  let tab = null;
  try { tab = sessionStorage.getItem(TAB); } catch { /* a new id at each load, then */ }
  for (let tries = 0; tab && tries < 3; tries += 1) {
    if (await held(tab)) return tab;
    await pause(60); // a page that is being reloaded may let go of its lock a moment late
  }
  tab = uuid();
  await held(tab);
  try { sessionStorage.setItem(TAB, tab); } catch { /* as above */ }
  return tab;
}

/** Return whether a tab's lock is ours now; it is then ours for as long as the page lives, however the page ends. */
function held(tab) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    navigator.locks.request(lock(tab), { ifAvailable: true }, (mine) => {
      resolve(mine !== null);
      return mine && new Promise(() => {});
    });
  });
}

/** Return whether another tab is certainly closed. */
export async function closed(tab) {
  if (!navigator.locks) return false;
  const { held: locks } = await navigator.locks.query();
  return !locks.some(({ name }) => name === lock(tab));
}

const lock = (tab) => `asal.tab.${tab}`;

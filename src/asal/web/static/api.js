// All requests to the server. A refusal has a hint; a server that cannot be reached is tried again later.

import { sentence } from "./dom.js";

const PATIENCE = 20_000; // ms

/** The server refused: what happened, the rule, and a hint. */
export class Refusal extends Error {
  constructor(status, { got, rule, hint }) {
    super(got);
    Object.assign(this, { status, got, rule, hint });
  }

  /** What happened and what to do about it, as two sentences. */
  get text() {
    return [this.got, this.hint].filter(Boolean).map(sentence).join(" ");
  }
}

/** No answer, or one that says "later". */
export class Away extends Error {}

const NOBODY = { got: "The server refused the request without a reason", rule: "", hint: "look at the server's output" };

const listeners = new Set();
let away = false;
let lastError = null;

/** Call back whenever the server goes away or comes back. */
export function onAway(listener) {
  listeners.add(listener);
}

/** Return the error of a server that is there but cannot go on, or null. */
export function serverError() {
  return lastError;
}

function note(now, error = null) {
  lastError = error;
  if (now === away) return;
  away = now;
  for (const listener of listeners) listener(away);
}

/** Return an address of the server relative to the page: the page may be behind a proxy, under a path of its own. */
export const here = (path) => path.replace(/^\/+/, "");

/** GET without a body, POST with one; return what the reply holds, or throw a Refusal or Away. */
export async function call(path, body) {
  const response = await reached(path, body);
  const reply = await response.json().catch(() => null);
  if (response.status >= 500 || response.status === 408 || response.status === 429) {
    note(true, reply?.error);
    throw new Away(`status ${response.status}`);
  }
  note(false);
  if (!response.ok) throw new Refusal(response.status, reply?.error ?? NOBODY);
  if (reply === null) throw new Away("a reply that is cut short");
  return reply;
}

async function reached(path, body) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE);
  const options = { credentials: "same-origin", signal: patience.signal, headers: { Accept: "application/json" } };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
    options.keepalive = options.body.length < 32_000; // a reload in the middle lets it arrive; browsers cap its size
  }
  try {
    return await fetch(here(path), options);
  } catch (error) {
    note(true);
    throw new Away(String(error));
  } finally {
    clearTimeout(timer);
  }
}

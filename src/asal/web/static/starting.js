// What is shown before there is anything to label: that the server is away, or how far it is with taking images in.

import { serverError } from "./api.js";
import { $, write } from "./dom.js";

const AWAY = "The server is away. The page tries again by itself.";
const SOON = 500; // ms until the next look at a server that is there

/** Show why the project cannot be opened yet; return after how many ms to try again, at most `pause`. */
export function showStarting(pause) {
  const error = serverError();
  const { done = 0, total = 0 } = error?.doing ?? {};
  const bar = $("starting-bar");
  write($("starting-text"), error ? error.got : AWAY);
  write($("starting-hint"), error ? `${error.hint.charAt(0).toUpperCase()}${error.hint.slice(1)}.` : "");
  bar.hidden = !total || error.doing.error !== null;
  bar.max = total || 1;
  bar.value = done;
  return error?.doing ? Math.min(pause, SOON) : pause;
}

// Why there is no image, and what happens next. The page goes on by itself as soon as there is one.

import { serverError } from "./api.js";
import { $, duration, el, plural } from "./dom.js";
import { copyText } from "./stage.js";

const WORKING = new Set(["taking in images", "computing features", "training", "generating and matching", "evaluating",
  "starting"]);
export const STAGES = {
  "taking in images": "Reading the images",
  "computing features": "Computing what the classifier learns from",
  training: "Training on the labels so far",
  "generating and matching": "Generating images and finding the nearest real ones",
  evaluating: "Measuring the accuracy",
  waiting: "Waiting for labels",
  finished: "Finished",
  starting: "Starting",
  failed: "Stopped by an error",
};

/** Show why there is no image. */
export function showReason(app, loading, node = $("empty")) {
  const { title, text, error, busy, command } = reason(app, loading);
  const lines = [el("h2", {}, title), ...text.map((line) => el("p", {}, line)), error && errorDetails(error),
    command && commandLine(command)];
  const said = JSON.stringify([title, text, command]);
  if (node.dataset.said === said) return;
  node.dataset.said = said;
  node.classList.toggle("busy", Boolean(busy));
  node.replaceChildren(...lines.filter(Boolean));
}

function commandLine(command) {
  const copy = el("button", { type: "button", class: "quiet copy", "aria-label": "Copy the command" }, "Copy");
  copy.addEventListener("click", () => copyText(command, "The command is copied."));
  return el("p", { class: "command" }, el("code", {}, command), copy);
}

export function errorDetails({ got, rule, hint }) {
  const rows = [["error", got], ["rule", rule], ["hint", hint]].filter(([, text]) => text);
  return el("dl", { class: "error-details" }, ...rows.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
}

function reason({ feed, outbox, away }, loading) {
  const { doing, waiting } = feed;
  if (away) return gone(outbox.waiting);
  if (loading) return { title: "The image is on its way", text: [], busy: true };
  if (!feed.asked) return { title: "Asking for images", text: [], busy: true };
  if (doing.stage === "failed") {
    return { title: "No new images: asal stopped because of an error", text: ["All answers are kept."], error: doing.error };
  }
  if (doing.stage === "finished") return finished(doing);
  if (WORKING.has(doing.stage)) return working(doing);
  if (waiting.others > 0) return others(waiting);
  if (waiting.open > 0) return elsewhere(waiting);
  return { title: "Nothing to label at present", text: ["The page goes on by itself as soon as there is."], busy: true };
}

function gone(messages) {
  const safe = messages ? [`${plural(messages, "answer waits", "answers wait")} here and will be saved when it is back.`] : [];
  const error = serverError();
  if (error) return { title: "The server cannot go on at present", text: [...safe, "The page tries again by itself."], error };
  return { title: "The server is away", text: [...safe, "The page tries again by itself. Was “asal label” stopped?"],
    busy: true };
}

function finished({ note, next }) {
  return { title: note ? `Done: ${note}` : "Done", command: next || "asal export",
    text: ["Thank you. There is nothing more to label; History still lets you correct your answers. The next command:"] };
}

function working(doing) {
  return { title: STAGES[doing.stage], busy: true, text: [progressText(doing),
    "The next images appear by themselves."] };
}

function others({ others: n }) {
  return { title: "Other people have the rest", busy: true, text: [
    `${plural(n, "image waits", "images wait")} for another person's answer.`,
    "An image that they do not answer comes to you when its reservation ends."] };
}

function elsewhere({ open: n }) {
  return { title: "Another tab of yours has the rest", busy: true, text: [
    `${plural(n, "image waits", "images wait")} there, in this browser or in another one where you are signed in.`,
    "They come here soon after that tab is closed."] };
}

/** Return the progress and the time left, once that can be estimated: by the server for all steps, else for this one. */
export function progressText({ done, total, since, left }) {
  if (left !== null && left !== undefined) {
    return `${total ? `${Math.round((100 * done) / total)} % of this step, ` : ""}about ${duration(left)} to go in all.`;
  }
  const spent = since >= 1 ? `${duration(since)} so far` : "just begun";
  if (!total || done / total < 0.1 || done >= total) return `${spent}.`;
  return `${Math.round((100 * done) / total)} %, about ${duration((since / done) * (total - done))} to go.`;
}

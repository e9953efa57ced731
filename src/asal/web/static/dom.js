// Elements are made here and nowhere else, from nodes and text alone: nothing that a server sends is read as HTML.

export const $ = (id) => document.getElementById(id);

/** Make an element: `el("p", { class: "note", "data-x": 1, onclick: f }, "text", child)`. */
export function el(tag, attributes = {}, ...children) {
  return fitted(document.createElement(tag), attributes, children);
}

/** Make an element of SVG. */
export function shape(tag, attributes = {}, ...children) {
  return fitted(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fitted(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Put text in only where it differs, so that screen readers hear nothing twice. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const speaker = () => $("said");

/** Announce a text to screen readers. The same text twice is two announcements. */
export function announce(text) {
  const node = speaker();
  node.textContent = node.textContent === text ? `${text}\u00a0` : text;
}

let fading = 0;

/** Show a message for some seconds at the foot of the page. */
export function toast(text) {
  const node = $("toast");
  node.textContent = text;
  node.hidden = false;
  clearTimeout(fading);
  fading = setTimeout(() => { node.hidden = true; }, 6000);
}

/** Run once the browser has painted what stands in the document now. */
export function afterPaint(then) {
  requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => { port1.close(); then(performance.now()); };
    port2.postMessage(0);
  });
}

export const plural = (n, one, many) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** Write a phrase of the server as a sentence: with a capital, and a full stop where it has no end of its own. */
export const sentence = (text) => text[0].toUpperCase() + text.slice(1) + (/[.?!…]$/.test(text) ? "" : ".");

export const percent = (part) => `${(100 * part).toFixed(1)} %`;

/** Say how long something takes, as roughly as it is known. */
export function duration(seconds) {
  if (seconds < 1) return "less than a second";
  if (seconds < 90) return plural(Math.round(seconds), "second", "seconds");
  if (seconds < 5400) return plural(Math.round(seconds / 60), "minute", "minutes");
  return `${(seconds / 3600).toFixed(1)} hours`;
}

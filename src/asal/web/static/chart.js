// Curves, drawn as SVG from nodes. Each has its numbers in words for those who do not see it.

import { shape } from "./dom.js";

const WIDE = 288, HIGH = 132;
const EDGE = { left: 34, right: 10, top: 8, bottom: 22 };

/** Draw `points` = [[x, y], …]. `look` = { title, y: format, low, high, line, unit }. */
export function curve(points, look) {
  const box = bounds(points, look);
  const x = (v) => EDGE.left + ((v - box.left) / (box.right - box.left)) * (WIDE - EDGE.left - EDGE.right);
  const y = (v) => HIGH - EDGE.bottom - ((v - box.low) / (box.high - box.low)) * (HIGH - EDGE.top - EDGE.bottom);
  const path = points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  const marks = points.length <= 60 ? points : points.slice(-1);
  return shape("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "curve", role: "img", "aria-label": words(points, look) },
    ...axes(box, x, y, look),
    look.line !== undefined && shape("line", { class: "threshold", x1: EDGE.left, x2: WIDE - EDGE.right, y1: y(look.line),
      y2: y(look.line) }),
    shape("path", { class: "line", d: path }),
    ...marks.map(([a, b]) => shape("circle", { class: "mark", cx: x(a).toFixed(1), cy: y(b).toFixed(1),
      r: points.length > 25 ? 1.6 : 2.6 })),
  );
}

function bounds(points, { low, high, line }) {
  const xs = points.map(([a]) => a);
  const ys = [...points.map(([, b]) => b), ...(line === undefined ? [] : [line])];
  const left = Math.min(...xs), right = Math.max(...xs);
  const bottom = low ?? Math.min(...ys), top = high ?? Math.max(...ys);
  const pad = top > bottom ? 0.08 * (top - bottom) : Math.max(0.05, Math.abs(top) * 0.1);
  return { left: right > left ? left : left - 1, right: right > left ? right : right + 1,
    low: low ?? bottom - pad, high: high ?? top + pad };
}

function axes(box, x, y, { y: format }) {
  const lines = [];
  for (const value of ticks(box.low, box.high, 3)) {
    lines.push(shape("line", { class: "grid", x1: EDGE.left, x2: WIDE - EDGE.right, y1: y(value), y2: y(value) }));
    lines.push(shape("text", { x: EDGE.left - 5, y: y(value) + 3.5, "text-anchor": "end" }, format(value)));
  }
  for (const value of ticks(box.left, box.right, 4).filter(Number.isInteger)) {
    lines.push(shape("text", { x: x(value), y: HIGH - 7, "text-anchor": "middle" }, String(value)));
  }
  return lines;
}

/** Return round numbers between two, about `n` of them. */
export function ticks(low, high, n) {
  const rough = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((m) => m >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

function words(points, { title, y }) {
  const [first, last] = [points[0], points.at(-1)];
  const at = ([a, b]) => `${y(b)} at ${a} labels`;
  return points.length === 1 ? `${title}: ${at(first)}.` : `${title}: from ${at(first)} to ${at(last)}.`;
}

// A closer look at the picture on a stage: wheel, pinch, double click, keys; dragging moves it. All in CSS pixels of the
// stage, from its centre; a scale of 1 is the picture as it fits.

const STEP = 1.3;
const MOST = 8; // times as large as it fits, or as its pixels, whichever is more
const TAP = 350; // ms between the two taps of a double tap
const NEAR = 24; // CSS pixels: what moves less is a tap
const BY_KEY = 0.15; // of the stage

export class Zoom {
  /** `changed(loud)` is called after each change; loud: it is to be announced. */
  constructor(stage, frame, changed) {
    Object.assign(this, { stage, frame, changed, scale: 1, x: 0, y: 0 });
    this.pointers = new Map(); // those that are down: id → { x, y }
    this.moved = 0; // how far since the first of them went down
    this.tapped = null; // the last tap
    this.over = null; // where the mouse is
    stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    stage.addEventListener("pointerup", (event) => this.up(event));
    stage.addEventListener("pointercancel", (event) => this.pointers.delete(event.pointerId));
    stage.addEventListener("pointerleave", () => { this.over = null; });
  }

  get img() {
    return this.frame.hidden ? null : this.frame.querySelector("img");
  }

  get closer() {
    return this.scale > 1;
  }

  /** The scale at which a pixel of the picture is a pixel of the screen. */
  get oneToOne() {
    const { img } = this;
    return img ? img.naturalWidth / (window.devicePixelRatio || 1) / (img.offsetWidth || 1) : 1;
  }

  /** Show the picture as it fits. */
  reset(loud = false) {
    this.to(1, 0, 0, loud);
  }

  /** Switch between the picture as it fits and its pixels as they are; of one that is not larger than that, twice. */
  toggle(point = this.over) {
    if (this.closer) return this.reset(true);
    const one = this.oneToOne;
    return this.at(point, one > 1.1 ? one : 2, true);
  }

  by(factor, point = this.over, loud = true) {
    this.at(point, this.scale * factor, loud);
  }

  larger() {
    this.by(STEP);
  }

  smaller() {
    this.by(1 / STEP);
  }

  /** Take another scale; what is at a point of the window stays there. */
  at(point, scale, loud = false) {
    if (!this.img) return;
    const next = Math.min(Math.max(MOST, 4 * this.oneToOne), Math.max(1, scale));
    const { x, y } = this.inside(point);
    const ratio = next / this.scale;
    this.to(next, x - (x - this.x) * ratio, y - (y - this.y) * ratio, loud);
  }

  inside(point) {
    if (!point) return { x: 0, y: 0 };
    const { left, top, width, height } = this.stage.getBoundingClientRect();
    return { x: point.x - left - width / 2, y: point.y - top - height / 2 };
  }

  /** Move by keys; return whether it is one that does. */
  key(key) {
    const [x, y] = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[key] ?? [0, 0];
    if (!this.closer || (!x && !y)) return false;
    const { clientWidth, clientHeight } = this.stage;
    this.to(this.scale, this.x + x * BY_KEY * clientWidth, this.y + y * BY_KEY * clientHeight, false);
    return true;
  }

  to(scale, x, y, loud) {
    const { img, stage, frame } = this;
    const close = scale < 1.02 ? 1 : scale;
    const room = (length, view) => Math.max(0, (length * close - view) / 2);
    const within = (value, most) => Math.min(most, Math.max(-most, value));
    this.x = img ? within(x, room(img.offsetWidth, stage.clientWidth)) : 0;
    this.y = img ? within(y, room(img.offsetHeight, stage.clientHeight)) : 0;
    const same = this.scale === close;
    this.scale = close;
    frame.style.transform = close === 1 ? "" : `translate(${this.x}px, ${this.y}px) scale(${close})`;
    frame.style.setProperty("--zoom", close);
    stage.classList.toggle("zoomed", this.closer);
    if (!same) this.changed(loud);
  }

  /** The stage has another size now. */
  settle() {
    if (this.closer) this.to(this.scale, this.x, this.y, false);
  }

  wheel(event) {
    const { deltaY, deltaMode, ctrlKey } = event; // a pinch of a touch pad comes as a wheel with Ctrl
    if (!this.img || (!this.closer && deltaY > 0 && !ctrlKey)) return; // then the page scrolls
    event.preventDefault();
    const pixels = deltaY * [1, 33, 400][deltaMode];
    this.by(Math.exp(-Math.min(120, Math.max(-120, pixels)) * (ctrlKey ? 0.01 : 0.0022)), point(event));
  }

  down(event) {
    if (!this.img || event.button > 0) return;
    if (!this.pointers.size) this.moved = 0;
    this.pointers.set(event.pointerId, point(event));
    if (this.pointers.size > 1) this.moved = Infinity; // two fingers are no tap
    if (this.closer || this.pointers.size > 1) this.stage.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (event.pointerType === "mouse") this.over = point(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, other]) => other);
    const now = point(event);
    this.pointers.set(event.pointerId, now);
    this.moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (others.length) this.pinch(before, now, others[0]);
    else if (this.closer) this.to(this.scale, this.x + now.x - before.x, this.y + now.y - before.y, false);
  }

  pinch(before, now, other) {
    const centre = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    const wide = (one) => Math.max(8, Math.hypot(one.x - other.x, one.y - other.y));
    this.x += (now.x - before.x) / 2;
    this.y += (now.y - before.y) / 2;
    this.by(wide(now) / wide(before), centre);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId) || this.moved > NEAR / 2) return;
    const tap = { ...point(event), when: event.timeStamp };
    const last = this.tapped;
    const twice = last && tap.when - last.when < TAP && Math.hypot(tap.x - last.x, tap.y - last.y) < NEAR;
    this.tapped = twice ? null : tap;
    if (twice) this.toggle(tap);
  }
}

const point = ({ clientX, clientY }) => ({ x: clientX, y: clientY });

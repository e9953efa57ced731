// How long a person looked at an image: from when it was shown, without the time in which the page was hidden.

export class Clock {
  constructor() {
    this.item = null;
    this.from = null; // null while nothing runs
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.stop();
      else if (this.item) this.from = performance.now();
    });
  }

  /** Begin with an item; one that was looked at before goes on from there. */
  start(item, now = performance.now()) {
    this.stop();
    this.item = item;
    this.from = document.hidden ? null : now;
  }

  stop() {
    if (this.item && this.from !== null) this.item.looked += Math.max(0, performance.now() - this.from);
    this.from = null;
  }

  /** Return the seconds so far. */
  read(item) {
    const running = item === this.item && this.from !== null ? Math.max(0, performance.now() - this.from) : 0;
    return Math.round(item.looked + running) / 1000;
  }
}

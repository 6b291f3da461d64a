// What has been in view for a while is read.

const MILLISECONDS = 1500;

export class Reading {
  #observer;
  #onread;
  #visible = new Map(); // entry: timer
  #done = new Set();
  #active = false;

  /** `onread(entries)`: of these half was to be seen in `scroller` for 1.5 s; all of a moment at once. */
  constructor(scroller, onread) {
    this.#onread = onread;
    this.#observer = new IntersectionObserver((seen) => seen.forEach((one) => this.#moved(one)),
      { root: scroller, threshold: 0.5 });
  }

  watch(entry) {
    this.#observer.observe(entry.view.node);
  }

  unwatch(entry) {
    if (entry.view) this.#observer.unobserve(entry.view.node);
    this.#leave(entry);
  }

  /** Entries in view: what changes with time is changed in these. */
  get visible() {
    return this.#visible.keys();
  }

  /** Time counts only while this is true. */
  set active(active) {
    this.#active = active;
    for (const entry of this.#visible.keys()) this.#restart(entry);
  }

  #moved({ target, isIntersecting }) {
    if (isIntersecting) this.#restart(target.entry);
    else this.#leave(target.entry);
  }

  #restart(entry) {
    clearTimeout(this.#visible.get(entry));
    this.#visible.set(entry, this.#active && setTimeout(() => this.#read(entry), MILLISECONDS));
  }

  #leave(entry) {
    clearTimeout(this.#visible.get(entry));
    this.#visible.delete(entry);
  }

  #read(entry) {
    if (!this.#done.size) setTimeout(() => this.#flush());
    this.#done.add(entry);
  }

  #flush() {
    const entries = [...this.#done];
    this.#done.clear();
    this.#onread(entries);
  }
}

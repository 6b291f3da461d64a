// Toasts: at most three, each for some seconds, longer while it is pointed at or has the focus.

import { avatar, el, iconButton, safe } from "./carillon-inbox.dom.js";

const MOST = 3;
const MILLISECONDS = 6000;

export class Toasts {
  #ui;

  /** `ui.follow(event, item)` is called when one is clicked. */
  constructor(ui) {
    this.#ui = ui;
    this.node = el("div", "toasts", {
      role: "region", "aria-live": "polite", "aria-label": ui.t("title"), popover: "manual",
    });
  }

  add(item) {
    const toast = this.#toast(item);
    this.node.append(toast);
    while (this.node.childElementCount > MOST) this.node.firstChild.remove();
    this.#expire(toast);
  }

  remove(id) {
    this.node.querySelector(`[data-id="${CSS.escape(id)}"]`)?.remove();
  }

  clear() {
    this.node.replaceChildren();
  }

  #toast(item) {
    const href = safe(item.link);
    const attributes = href ? { href } : { type: "button" };
    const follow = (event) => (this.#ui.follow(event, item), this.remove(item.id));
    return el("div", "toast", { "data-id": item.id }, avatar(item),
      el("div", "toast-content", {},
        el(href ? "a" : "button", "toast-title", { ...attributes, click: follow, dir: "auto" }, item.title),
        el("div", "toast-body", { dir: "auto" }, item.body)),
      iconButton("close", this.#ui.t("close"), { click: () => this.remove(item.id) }));
  }

  #expire(toast) {
    let timer;
    const start = () => (timer = setTimeout(() => toast.remove(), MILLISECONDS));
    const stop = () => clearTimeout(timer);
    for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, stop);
    for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, () => (stop(), start()));
    start();
  }
}

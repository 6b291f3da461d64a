// The menu of times to snooze until.

import { button, el, format, place } from "./carillon-inbox.dom.js";

function at(days, hour, now) {
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() + days, hour);
}

/** [name, Date] of what is offered at `now`; this evening only before half past five. */
export function times(now = new Date()) {
  const choices = [
    ["hour", new Date(now.getTime() + 3600_000)], ["evening", at(0, 18, now)], ["tomorrow", at(1, 9, now)],
    ["week", at(((8 - now.getDay()) % 7) || 7, 9, now)],
  ];
  return choices.filter(([, time]) => time - now > 1800_000);
}

export class SnoozeMenu {
  #ui;
  #anchor;

  constructor(ui) {
    this.#ui = ui;
    this.node = el("div", "menu", {
      role: "menu", "aria-label": ui.t("snooze"), popover: "auto", keydown: (event) => this.#key(event),
    });
  }

  /** Offer the times beside `anchor`; `onchoice(date)`. */
  open(anchor, onchoice) {
    this.#anchor = anchor;
    this.node.replaceChildren(...times().map(([name, time]) => this.#choice(name, time, onchoice)));
    this.node.showPopover();
    place(this.node, anchor, { gap: 4 });
    this.node.firstChild.focus();
  }

  #choice(name, time, onchoice) {
    const sameDay = time.getTime() - Date.now() < 86400_000;
    const options = { weekday: sameDay ? undefined : "short", hour: "numeric", minute: "2-digit" };
    const choose = () => {
      this.#close();
      onchoice(time);
    };
    const node = button("menu-item", this.#ui.t(name), { role: "menuitem", tabindex: -1, click: choose });
    node.append(el("span", "menu-time", {}, format(time, this.#ui.lang, options)));
    return node;
  }

  #close() {
    this.node.hidePopover();
    this.#anchor.focus();
  }

  #key(event) {
    const nodes = [...this.node.children];
    const index = nodes.indexOf(event.target);
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: -1 }[event.key];
    if (["Escape", "Tab"].includes(event.key)) this.#close();
    else if (to === undefined) return;
    else nodes.at(to % nodes.length).focus();
    event.preventDefault();
    event.stopPropagation();
  }
}

// One item of the list: its nodes, made once and changed in place.

import {
  avatar, button, el, format, icon, iconButton, relabel, relative, safe, set,
} from "./carillon-inbox.dom.js";

/** `update(item)` shows an item; `tick()` its age. What is pressed has `data-do`, and the list listens. */
export class Item {
  #ui;
  #shown = {};

  constructor(ui, id) {
    this.#ui = ui;
    this.avatar = el("span", "");
    this.title = el("h3", "item-title");
    this.body = el("p", "item-body", { id: `body-${id}`, dir: "auto" });
    this.time = el("time", "item-time");
    this.actions = el("div", "item-actions");
    this.tools = el("div", "item-tools", {}, this.#tool("read"), this.#tool("archive"), this.#tool("snooze"));
    this.node = el("article", "item", { tabindex: -1, "aria-describedby": this.body.id }, this.avatar,
      el("div", "item-content", {}, this.title, this.body, this.actions, this.time), this.tools);
  }

  #tool(name) {
    return iconButton(name, this.#ui.t(name), { "data-do": name, tabindex: -1 });
  }

  update(item) {
    const before = this.#shown;
    this.#shown = item;
    if (item.title !== before.title || item.link !== before.link) this.#head(item);
    if (item.body !== before.body) this.body.textContent = item.body;
    if (item.action !== before.action || item.actions !== before.actions) this.#buttons(item);
    this.#state(item);
    this.tick();
  }

  #head(item) {
    const href = safe(item.link);
    const picture = avatar(item);
    this.avatar.replaceWith(picture);
    this.avatar = picture;
    const attributes = href ? { href, tabindex: -1, dir: "auto" } : { dir: "auto" };
    this.title.replaceChildren(el(href ? "a" : "span", "item-link", attributes, item.title));
  }

  #state({ read_at, archived_at, title }) {
    set(this.node, "data-unread", !read_at);
    set(this.node, "aria-label", read_at ? title : this.#ui.t("unreadItem", { title }));
    const [read, archive] = this.tools.children;
    this.#redo(read, read_at ? "unread" : "read");
    this.#redo(archive, archived_at ? "unarchive" : "archive");
    set(this.tools.children[2], "hidden", !!archived_at);
  }

  #redo(tool, name) {
    if (tool.dataset.do === name && tool.title) return;
    tool.dataset.do = name;
    tool.replaceChildren(icon(name));
    relabel(tool, this.#ui.t(name));
  }

  #buttons({ actions = [], action }) {
    const pressed = actions.find((one) => one.id === action);
    const result = () => el("span", "item-result", {}, icon("read"), pressed.label);
    const shown = pressed ? [result()] : actions.map(this.#button);
    this.actions.replaceChildren(...shown);
    set(this.actions, "hidden", !shown.length);
  }

  #button({ id, label }, index) {
    const data = { "data-do": "act", "data-action": id, "data-first": !index };
    return button("item-action", label, { ...data, tabindex: -1 });
  }

  /** Buttons are tab stops only in the item that has the focus. */
  set current(current) {
    for (const node of [this.node, ...this.node.querySelectorAll("button")]) node.tabIndex = current ? 0 : -1;
  }

  tick() {
    const { lang } = this.#ui;
    const time = new Date(this.#shown.created_at);
    const text = relative(time, lang);
    if (this.time.textContent === text) return;
    this.time.textContent = text;
    set(this.time, "datetime", this.#shown.created_at);
    set(this.time, "title", format(time, lang, { dateStyle: "full", timeStyle: "short" }));
  }
}

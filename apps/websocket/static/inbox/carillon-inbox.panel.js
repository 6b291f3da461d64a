// The panel: header, tabs, list, preferences, and what is done with items.

import { button, el, format, icon, iconButton, place, safe, set } from "./carillon-inbox.dom.js";
import { List } from "./carillon-inbox.list.js";
import { Reading } from "./carillon-inbox.reading.js";
import { SnoozeMenu } from "./carillon-inbox.snooze.js";

const NAMES = { unread: "unreadOnes", all: "all", archived: "archivedOnes" };
const EMPTY = { unread: "emptyUnread", all: "emptyAll", archived: "emptyArchived" };
const KEYS = { Enter: "open", r: "read", e: "archive", s: "snooze" };
const STEPS = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, Home: "first", End: "last" };
const FOLLOW_WITHIN = 10_000; // ms: who has pressed a button longer ago is not led away by it
const NOTICE = 8000; // ms

const now = () => new Date().toISOString();

export class Panel {
  #ui;
  #tabs = {};
  #timer;
  #kept = new Set(); // what was marked unread here is not read by being in view
  #clock;
  #reading;

  /** `ui`: what the element gives its parts. */
  constructor(ui) {
    this.#ui = ui;
    Object.assign(ui, {
      trouble: (retry) => this.#trouble(retry), failed: () => this.#failed(),
      shown: (entry) => this.#reading.watch(entry), hidden: (entry) => this.#reading.unwatch(entry),
    });
    this.#build();
    this.#reading = new Reading(this.scroller, (entries) => this.#viewed(entries));
    this.list = new List(ui, {
      scroller: this.scroller, feed: this.feed, end: this.end, onstate: (state) => this.#state(state),
    });
  }

  // --- Nodes ---------------------------------------------------------------------------------------------

  #build() {
    const { t } = this.#ui;
    this.preferences = el("div", "preferences", { hidden: true });
    this.menu = new SnoozeMenu(this.#ui);
    const click = (event) => this.#click(event);
    this.feed = el("div", "feed", { role: "feed", "aria-label": t("title"), click });
    this.end = el("div", "end");
    this.place = el("div", "");
    this.scroller = el("div", "scroller", { role: "tabpanel", id: "list", tabindex: -1 },
      this.feed, this.place, this.end);
    this.newer = button("newer", "", { hidden: true, click: () => this.list.release() });
    this.notice = el("div", "notice", { hidden: true });
    this.banner = el("div", "banner", { role: "status", hidden: true });
    this.body = el("div", "body", {}, this.scroller, this.newer);
    this.node = el("div", "panel", {
      id: "panel", role: "dialog", "aria-labelledby": "heading", tabindex: -1, popover: "auto",
      keydown: (event) => this.#key(event),
    },
    this.#header(), this.banner, this.#tabList(), this.body, this.preferences, this.notice, this.menu.node);
  }

  #header() {
    const { t, host } = this.#ui;
    this.heading = el("h2", "heading", { id: "heading" }, t("title"));
    this.back = iconButton("back", t("back"), { hidden: true, click: () => this.settings(false) });
    this.back.classList.add("back");
    this.readAll = iconButton("readAll", t("readAll"), { click: () => this.#readAll() });
    this.gear = iconButton("settings", t("settings"), {
      click: () => this.settings(true), hidden: host.getAttribute("preferences") === "off",
    });
    const close = iconButton("close", t("close"), { click: () => host.close() });
    close.classList.add("close");
    return el("div", "header", {}, this.back, this.heading, this.readAll, this.gear, close);
  }

  #tabList() {
    this.count = el("span", "tab-count", { hidden: true });
    for (const name of Object.keys(NAMES)) {
      this.#tabs[name] = button("tab", this.#ui.t(NAMES[name]), {
        role: "tab", id: `tab-${name}`, "aria-controls": "list", click: () => this.#choose(name),
      });
    }
    this.#tabs.unread.append(this.count);
    this.tabs = el("div", "tabs", { role: "tablist", "aria-label": this.#ui.t("title") });
    this.tabs.append(...Object.values(this.#tabs));
    this.#select("all");
    return this.tabs;
  }

  #select(chosen) {
    for (const [name, node] of Object.entries(this.#tabs)) {
      set(node, "aria-selected", `${name === chosen}`);
      set(node, "tabindex", name === chosen ? 0 : -1);
    }
    set(this.scroller, "aria-labelledby", `tab-${chosen}`);
  }

  #choose(name) {
    this.#select(name);
    this.#kept.clear();
    this.list.open(name);
  }

  // --- Open and closed -----------------------------------------------------------------------------------

  opened() {
    this.settings(false);
    this.replace();
    this.node.focus();
    this.list.prune();
    if (["", "error"].includes(this.list.state)) this.list.reload();
    this.attend();
    this.#clock = setInterval(() => this.#tick(), 30_000);
    this.#tick();
  }

  closed() {
    clearInterval(this.#clock);
    this.#kept.clear();
    this.#notify();
    this.attend();
  }

  replace() {
    const [side, edge] = (this.#ui.host.getAttribute("placement") ?? "bottom-end").split("-");
    place(this.node, this.#ui.bell, { top: side === "top", end: edge !== "start" });
  }

  /** Whether somebody is looking has changed, or what there is to see. */
  attend() {
    const { host, inbox } = this.#ui;
    const looking = host.opened && !document.hidden;
    this.#reading.active = looking && host.getAttribute("read-on-view") !== "off";
    const { unseen, head } = inbox?.counts ?? {};
    if (looking && unseen) inbox.seen({ upTo: head }).catch(() => {});
  }

  /** Show the preferences, or the list again. */
  settings(on) {
    const { t } = this.#ui;
    const was = !this.preferences.hidden;
    for (const node of [this.tabs, this.body, this.readAll]) set(node, "hidden", on);
    for (const node of [this.back, this.preferences]) set(node, "hidden", !on);
    set(this.gear, "hidden", on || this.#ui.host.getAttribute("preferences") === "off");
    this.heading.textContent = t(on ? "settings" : "title");
    if (on) this.#showPreferences();
    if (on) this.back.focus();
    else if (was) this.gear.focus();
  }

  async #showPreferences() {
    const { showPreferences } = await import("./carillon-inbox.preferences.js");
    showPreferences(this.#ui, this.preferences);
  }

  #tick() {
    for (const entry of this.#reading.visible) entry.view.tick();
  }

  // --- States --------------------------------------------------------------------------------------------

  #state(state) {
    const busy = state === "loading" || state === "more";
    set(this.feed, "aria-busy", `${busy}`);
    set(this.feed, "hidden", !this.list.size);
    this.place.replaceChildren(...this.#placeholder(state));
    set(this.newer, "hidden", !this.list.held);
    this.newer.replaceChildren(icon("up"), this.#ui.t("more", { n: this.list.held }));
    this.status();
  }

  #placeholder(state) {
    const { t } = this.#ui;
    if (state === "loading") return [el("div", "skeleton", { role: "img", "aria-label": t("loading") })];
    if (state === "more") return [el("div", "spinner", { role: "img", "aria-label": t("loading") })];
    if (state === "error") return [this.#trouble(() => this.list.more())];
    return state === "empty" ? [this.#empty()] : [];
  }

  #empty() {
    const { t } = this.#ui;
    const { tab } = this.list;
    const hint = tab === "all" ? [el("div", "empty-hint", {}, t("emptyHint"))] : [];
    const picture = icon(tab === "archived" ? "archive" : "bell");
    const standard = el("div", "empty", {}, el("div", "empty-icon", {}, picture),
      el("div", "empty-title", {}, t(EMPTY[tab])), ...hint);
    return tab === "all" ? el("slot", "", { name: "empty" }, standard) : standard;
  }

  #trouble(retry) {
    const { t, inbox } = this.#ui;
    const text = t(inbox?.status === "unauthorized" ? "unauthorized" : "loadFailed");
    const again = () => {
      if (inbox.status === "unauthorized") inbox.connect();
      retry();
    };
    return el("div", "trouble", { role: "alert" }, el("p", "", {}, text),
      button("retry", t("retry"), { click: again }));
  }

  /** The connection or the counts have changed. */
  status(waiting = this.waiting) {
    const { t, inbox } = this.#ui;
    this.waiting = waiting;
    const status = inbox?.status;
    const text = status === "offline" ? [t("offline"), waiting ? t("waiting", { n: waiting }) : ""].join(" ")
      : status === "unauthorized" && this.list?.state !== "error" ? t("unauthorized") : "";
    if (this.banner.textContent !== text) this.banner.textContent = text;
    set(this.banner, "hidden", !text);
    const unread = inbox?.counts?.unread ?? 0;
    this.count.textContent = unread > 99 ? "99+" : unread;
    set(this.count, "hidden", !unread);
    this.readAll.disabled = !unread;
  }

  /** Say what was done, with a way back. */
  #notify(text, undo) {
    clearTimeout(this.#timer);
    set(this.notice, "hidden", !text);
    if (!text) return;
    const back = () => {
      this.#notify();
      undo();
    };
    const last = undo ? button("notice-undo", this.#ui.t("undo"), { click: back })
      : iconButton("close", this.#ui.t("close"), { click: () => this.#notify() });
    this.notice.replaceChildren(el("span", "notice-text", {}, text), last);
    this.#ui.announce(text);
    this.#timer = setTimeout(() => this.#notify(), NOTICE);
  }

  #failed() {
    this.#notify(this.#ui.t("failed"));
    return false;
  }

  // --- What is done with items ---------------------------------------------------------------------------

  #click(event) {
    const entry = this.list.entryOf(event.target);
    if (!entry) return;
    const pressed = event.target.closest("[data-do]");
    if (pressed) this.#do(pressed.dataset.do, entry, pressed);
    else this.#follow(event, entry);
  }

  #do(name, entry, node) {
    const { inbox } = this.#ui;
    const one = (patch, call, ...rest) =>
      this.list.change([entry], patch, () => inbox[call](entry.id, ...rest));
    const todo = {
      open: () => this.#open(entry),
      read: () => one({ read_at: now() }, "read"),
      unread: () => (this.#kept.add(entry.id), one({ read_at: null }, "unread")),
      archive: () => this.#leave(one, "archived", { archived_at: now() }, "archive", "unarchive"),
      unarchive: () => one({ archived_at: null }, "unarchive"),
      snooze: () => this.menu.open(node, (until) => this.#snooze(one, until)),
      act: () => this.#act(one, entry, node.dataset.action),
    };
    todo[name]();
  }

  async #leave(one, word, patch, call, back) {
    if (await one(patch, call)) this.#notify(this.#ui.t(word), () => one({ archived_at: null }, back));
  }

  async #snooze(one, until) {
    const time = format(until, this.#ui.lang, { dateStyle: "medium", timeStyle: "short" });
    const done = await one({ snoozed_until: until.toISOString() }, "snooze", until);
    if (done) this.#notify(this.#ui.t("snoozed", { time }), () => one({ snoozed_until: null }, "unsnooze"));
  }

  async #act(one, entry, id) {
    const item = this.list.item(entry);
    const action = item.actions.find((each) => each.id === id);
    const wanted = this.#ui.emit("carillon-action", { item, action });
    const pressed = Date.now();
    const doing = one({ action: id, acted_at: now(), read_at: item.read_at ?? now() }, "act", id);
    entry.view.node.focus();
    const href = safe(action.link);
    if ((await doing) && wanted && href && Date.now() - pressed < FOLLOW_WITHIN) location.assign(href);
  }

  #open(entry) {
    const link = entry.view.title.querySelector("a");
    if (link) link.click();
    else this.#follow(new Event("click"), entry);
  }

  #follow(event, entry) {
    this.#ui.follow(event, this.list.item(entry), () => this.#do("read", entry));
  }

  #viewed(entries) {
    const unread = entries
      .filter((one) => one.shown && !this.#kept.has(one.id) && !this.list.item(one).read_at);
    if (unread.length) this.#read(unread, unread.map((one) => one.id));
  }

  #read(entries, which) {
    return this.list.change(entries, { read_at: now() }, () => this.#ui.inbox.read(which));
  }

  #readAll() {
    const upTo = this.list.known || this.#ui.inbox.counts.head;
    this.#kept.clear();
    this.#read(this.list.unreadUpTo(upTo), { upTo });
  }

  // --- Keyboard ------------------------------------------------------------------------------------------

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.role === "tab") this.#tabKey(event);
    else if (this.preferences.hidden) this.#listKey(event);
  }

  #tabKey(event) {
    const names = Object.keys(NAMES);
    const forward = getComputedStyle(this.node).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    const index = names.indexOf(this.list.tab);
    const steps = { ArrowRight: index - 1, ArrowLeft: index - 1, [forward]: index + 1, Home: 0, End: -1 };
    if (event.key === "ArrowDown") this.list.roam("first");
    else if (event.key in steps) this.#press(names.at(steps[event.key] % names.length));
    else return;
    event.preventDefault();
  }

  #press(name) {
    this.#choose(name);
    this.#tabs[name].focus();
  }

  #listKey(event) {
    const entry = this.list.entryOf(event.target);
    if (event.key in STEPS) this.list.roam(STEPS[event.key]);
    else if (event.target === entry?.view.node && event.key in KEYS) this.#keyed(KEYS[event.key], entry);
    else return;
    event.preventDefault();
  }

  #keyed(name, entry) {
    const tool = [...entry.view.tools.children].find((one) => one.dataset.do.endsWith(name));
    if (!tool?.hidden) this.#do(tool?.dataset.do ?? name, entry, tool);
  }
}

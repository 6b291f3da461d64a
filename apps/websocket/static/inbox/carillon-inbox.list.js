// The list: a Map of items by id, shown in the order of their sequence, newest first.

import { set } from "./carillon-inbox.dom.js";
import { Item } from "./carillon-inbox.item.js";

const inInbox = (item) => !item.archived_at && !item.snoozed_until;

/** Of each tab: what is asked for, what comes into it, and what stays in it. */
export const TABS = {
  all: { query: {}, takes: inInbox, keeps: inInbox },
  unread: { query: { unread: true }, takes: (item) => inInbox(item) && !item.read_at, keeps: inInbox },
  archived: { query: { archived: true }, takes: (item) => item.archived_at, keeps: (item) => item.archived_at },
};

/**
 * `ui`: the component's words, inbox and reports. `scroller` scrolls, and has in it the `feed` and, after it, the
 * `end`, at whose sight the next page is loaded. `onstate` is told "loading", "error", "empty" or "shown".
 */
export class List {
  #ui; #scroller; #feed; #end; #onstate; #observer;
  #entries = new Map(); // by id: {id, item, patches, view, shown, stamp}
  #order = []; // those that are shown or held back, newest first
  #held = new Set(); // came while scrolled down: shown when asked for
  #during = null; // events that came while a page was loading
  #run = 0; // what was asked before the last reload is not taken any more
  #cursor; // undefined: nothing loaded yet; null: all is loaded
  #current = null; // the one that is a tab stop
  #loadedHead = 0;
  #layout = 0;
  tab = "all";
  state = "";
  known = 0; // the greatest sequence we know of

  constructor(ui, { scroller, feed, end, onstate }) {
    this.#ui = ui;
    this.#scroller = scroller;
    this.#feed = feed;
    this.#end = end;
    this.#onstate = onstate;
    this.#observer = new IntersectionObserver(([one]) => one.isIntersecting && this.more(),
      { root: scroller, rootMargin: "600px" });
    scroller.addEventListener("scroll", () => this.atTop && this.release(), { passive: true });
    feed.addEventListener("focusin", (event) => this.#focused(event));
  }

  get atTop() {
    return this.#scroller.scrollTop < 8;
  }

  get held() {
    return this.#held.size;
  }

  /** Of a node within an item: its entry. */
  entryOf(node) {
    return node.closest?.("article")?.entry;
  }

  item(entry) {
    return Object.assign({}, entry.item, ...entry.patches);
  }

  // --- Loading -------------------------------------------------------------------------------------------

  open(tab) {
    this.tab = tab;
    this.#clear();
    return this.reload();
  }

  #clear() {
    for (const entry of this.#order) this.#ui.hidden(entry);
    this.#order = [];
    this.#held.clear();
    this.#entries.clear();
    this.#current = null;
    this.#feed.replaceChildren();
    this.#scroller.scrollTop = 0;
  }

  /** The first page anew; what is shown stays until it comes. */
  reload() {
    this.#run += 1;
    this.#cursor = undefined;
    this.#during = null;
    return this.more();
  }

  async more() {
    if (this.#during || this.#cursor === null) return;
    const [run, first] = [this.#run, this.#cursor === undefined];
    this.#during = [];
    this.#observer.disconnect();
    this.#tell(first && !this.#order.length ? "loading" : "more");
    try {
      const query = { ...TABS[this.tab].query, after: this.#cursor, pageSize: this.#ui.pageSize };
      const page = await this.#ui.inbox.list(query);
      if (run === this.#run) this.#take(page, first);
    } catch {
      if (run === this.#run) this.#tell("error");
    } finally {
      if (run === this.#run) this.#during = null;
    }
  }

  #take(page, first) {
    const during = this.#during;
    if (first) {
      if (this.#order.length) this.#clear();
      this.#loadedHead = page.counts.head;
      this.known = Math.max(this.known, page.counts.head);
    }
    this.#cursor = page.pageInfo.after ?? null;
    for (const item of page.items) this.#merge(item);
    this.#during = null;
    for (const [name, detail] of during) this.apply(name, detail);
    this.#tell();
    if (this.#cursor !== null) this.#observer.observe(this.#end);
  }

  #tell(state = this.#order.length ? "shown" : "empty") {
    this.state = state;
    this.#onstate(state);
  }

  #retell() {
    if (["shown", "empty"].includes(this.state)) this.#tell();
  }

  // --- Events --------------------------------------------------------------------------------------------

  /** Apply "notification", "changed" or "recalled". Applying one twice changes nothing. */
  apply(name, { item, id }) {
    if (name === "notification") this.known = Math.max(this.known, item.sequence);
    this.#during?.push([name, { item, id }]);
    const entry = this.#entries.get(id ?? item.id);
    if (name === "recalled") this.#forget(entry);
    else if (this.#cursor === undefined) return;
    else if (entry) this.#merge(item, { fresh: name === "notification" });
    else if (this.#inRange(item)) this.#added(name, item);
    this.#retell();
  }

  #added(name, item) {
    if (name === "notification") this.#merge(item, { fresh: true });
    else if (TABS[this.tab].takes(item)) this.#fetch();
  }

  /** Pages to come bring the rest. */
  #inRange({ sequence }) {
    return this.#cursor === null || sequence > (this.#order.at(-1)?.item.sequence ?? 0);
  }

  /** Something we never had came into this tab by a change: of what has changed since, take what is missing. */
  async #fetch() {
    const run = this.#run;
    const query = { ...TABS[this.tab].query, since: this.#loadedHead, pageSize: 100 };
    const page = await this.#ui.inbox.list(query).catch(() => null);
    if (!page || run !== this.#run) return;
    for (const item of page.items) if (!this.#entries.has(item.id) && this.#inRange(item)) this.#merge(item);
    this.#tell();
  }

  #forget(entry) {
    if (!entry) return;
    this.#hide(entry);
    this.#entries.delete(entry.id);
  }

  #merge(item, { fresh = false } = {}) {
    const entry = this.#entries.get(item.id) ?? { id: item.id, item: {}, patches: [], shown: false, stamp: 0 };
    const moved = item.sequence !== entry.item.sequence;
    this.#entries.set(item.id, entry);
    if (moved) this.#hide(entry);
    entry.item = { ...entry.item, ...item };
    entry.stamp += 1;
    this.#settle(entry, fresh && moved);
  }

  /** Show, change or hide an entry as its item and the tab have it. */
  #settle(entry, fresh = false) {
    const item = this.item(entry);
    if (!TABS[this.tab][entry.shown ? "keeps" : "takes"](item)) this.#hide(entry);
    else if (!entry.shown) this.#show(entry, fresh);
    entry.view?.update(item);
  }

  /** Change entries at once; for good if `call` succeeds, and unless the server has told of them since. */
  async change(entries, patch, call) {
    const stamps = entries.map((entry) => entry.stamp);
    this.#repatch(entries, (entry) => entry.patches.push(patch));
    const done = await call().then(() => true, (error) => this.#ui.failed(error));
    this.#repatch(entries, (entry, index) => {
      entry.patches.splice(entry.patches.indexOf(patch), 1);
      if (done && entry.stamp === stamps[index]) Object.assign(entry.item, patch);
    });
    return done;
  }

  #repatch(entries, patch) {
    entries.forEach((entry, index) => {
      patch(entry, index);
      if (this.#entries.get(entry.id) === entry) this.#settle(entry);
    });
    this.#retell();
  }

  /** Everything that is shown, has come with a number up to this, and is unread. */
  unreadUpTo(sequence) {
    return this.#order.filter((entry) => entry.item.sequence <= sequence && !this.item(entry).read_at);
  }

  // --- Nodes ---------------------------------------------------------------------------------------------

  #show(entry, fresh) {
    const { sequence } = entry.item;
    const index = this.#indexOf(sequence);
    this.#order.splice(index, 0, entry);
    entry.shown = true;
    if (fresh && !index && !this.atTop) this.#held.add(entry);
    else this.#insert(entry, index);
  }

  /** The place of a sequence in the order, by bisection. */
  #indexOf(sequence) {
    let [low, high] = [0, this.#order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#order[middle].item.sequence > sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #insert(entry, index) {
    entry.view ??= new Item(this.#ui, entry.id);
    entry.view.node.entry = entry;
    entry.view.update(this.item(entry));
    let next = index + 1;
    while (this.#held.has(this.#order[next])) next += 1;
    this.#feed.insertBefore(entry.view.node, this.#order[next]?.view.node ?? null);
    this.#ui.shown(entry);
    if (!this.#current) this.#become(entry);
    this.#relayout();
  }

  #hide(entry) {
    if (!entry.shown) return;
    const index = this.#indexOf(entry.item.sequence);
    const had = entry.view?.node.contains(entry.view.node.getRootNode().activeElement);
    this.#order.splice(index, 1);
    entry.shown = false;
    this.#held.delete(entry);
    if (this.#current === entry) this.#become(this.#order[index] ?? this.#order[index - 1] ?? null);
    if (had) (this.#current?.view?.node ?? this.#scroller).focus();
    entry.view?.node.remove();
    this.#ui.hidden(entry);
    this.#relayout();
  }

  /** Show those that were held back, and go to the top. */
  release() {
    const held = [...this.#held];
    this.#held.clear();
    for (const entry of held) this.#insert(entry, this.#indexOf(entry.item.sequence));
    this.#tell();
  }

  /** Places and size for screen readers, once for all that changed in a frame. */
  #relayout() {
    this.#layout ||= requestAnimationFrame(() => {
      this.#layout = 0;
      const size = this.#cursor === null ? this.#feed.childElementCount : -1;
      [...this.#feed.children].forEach((node, index) => {
        set(node, "aria-posinset", index + 1);
        set(node, "aria-setsize", size);
      });
    });
  }

  // --- Focus ---------------------------------------------------------------------------------------------

  #become(entry) {
    if (this.#current?.view) this.#current.view.current = false;
    this.#current = entry;
    if (entry?.view) entry.view.current = true;
  }

  #focused(event) {
    const entry = this.entryOf(event.target);
    if (entry && entry !== this.#current) this.#become(entry);
  }

  /** Move the focus by `step` items; "first" and "last" of those that are loaded. */
  roam(step) {
    const nodes = this.#feed.children;
    if (!nodes.length) return;
    const inside = this.entryOf(this.#feed.getRootNode().activeElement ?? this.#feed);
    const at = inside ? [...nodes].indexOf(inside.view.node) : step > 0 ? -1 : nodes.length;
    const to = { first: 0, last: nodes.length - 1 }[step] ?? Math.max(0, Math.min(at + step, nodes.length - 1));
    nodes[to].focus();
  }

  /** Read ones leave the tab Unread. */
  prune() {
    for (const entry of [...this.#order]) if (!TABS[this.tab].takes(this.item(entry))) this.#hide(entry);
    this.#retell();
  }
}

// The list: a Map of items by id, in the order of their sequence, newest first. Only those near the view have
// nodes: with 10,000 of them in the document each page took a second to come in.

import { set } from "./carillon-inbox.dom.js";
import { Item } from "./carillon-inbox.item.js";

const isArchived = (item) => item.archived_at;
const inInbox = (item) => !item.archived_at && !item.snoozed_until;

/** Of each tab: what is asked for, what comes into it, and what stays in it. */
const TABS = {
  all: { query: {}, takes: inInbox, keeps: inInbox },
  unread: { query: { unread: true }, takes: (item) => inInbox(item) && !item.read_at, keeps: inInbox },
  archived: { query: { archived: true }, takes: isArchived, keeps: isArchived },
};
const HEIGHT = 96; // px, of an item that was never drawn
const MARGIN = 1200; // px above and below what is to be seen, where items have nodes

/**
 * `ui`: what the parts share. `scroller` scrolls, and has in it the `feed` and, after it, the `end`, at whose
 * sight the next page is loaded. `onstate` is told "loading", "more", "error", "empty" or "shown".
 */
export class List {
  #ui; #scroller; #feed; #end; #onstate; #observer;
  #entries = new Map(); // by id: {id, item, patches, stamp, shown, height, view}
  #order = []; // those that are shown, newest first
  #held = new Set(); // came while scrolled down: shown when asked for
  #during = null; // events that came while a page was loading
  #run = 0; // what was asked before the last reload is not taken any more
  #cursor; // undefined: nothing loaded yet; null: all is loaded
  #current = null; // the one that is a tab stop
  #loadedHead = 0;
  #frame = 0;
  #drawn = [0, 0]; // px: where a scroll needs no nodes
  tab = "all";
  state = "";
  known = 0; // the greatest sequence we know of

  constructor(ui, { scroller, feed, end, onstate }) {
    this.#ui = ui;
    this.#scroller = scroller;
    this.#feed = feed;
    this.#end = end;
    this.#onstate = onstate;
    this.#observer = new IntersectionObserver((seen) => seen.at(-1).isIntersecting && this.more(),
      { root: scroller, rootMargin: "600px" });
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    feed.addEventListener("focusin", (event) => this.#become(this.entryOf(event.target)));
  }

  get held() {
    return this.#held.size;
  }

  get size() {
    return this.#order.length;
  }

  get #atTop() {
    return this.#scroller.scrollTop < 8;
  }

  /** Of a node within an item: its entry. */
  entryOf(node) {
    return node?.closest?.("article")?.entry;
  }

  /** The item with the changes that are not confirmed yet. */
  item(entry) {
    return Object.assign({}, entry.item, ...entry.patches);
  }

  // --- Loading -------------------------------------------------------------------------------------------

  open(tab) {
    this.tab = tab;
    this.known = 0;
    this.#clear();
    return this.reload();
  }

  #clear() {
    for (const entry of this.#order) this.#undraw(entry);
    this.#order = [];
    this.#held.clear();
    this.#entries.clear();
    this.#current = null;
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
    this.#redraw();
  }

  // --- Events --------------------------------------------------------------------------------------------

  /** Apply "notification", "changed" or "recalled". Applying one twice changes nothing. */
  apply(name, { item, id }) {
    const fresh = name === "notification";
    if (fresh) this.known = Math.max(this.known, item.sequence);
    this.#during?.push([name, { item, id }]);
    const entry = this.#entries.get(id ?? item.id);
    if (name === "recalled") this.#forget(entry);
    else if (this.#cursor === undefined) return;
    else if (entry || (fresh && this.#inRange(item))) this.#merge(item, fresh);
    else if (this.#inRange(item) && TABS[this.tab].takes(item)) this.#fetch();
  }

  /** Pages to come bring the rest. */
  #inRange({ sequence }) {
    return this.#cursor === null || sequence > (this.#order.at(-1)?.item.sequence ?? 0);
  }

  /** What we never had came into this tab by a change: of what has changed since, take what is missing. */
  async #fetch() {
    const run = this.#run;
    const query = { ...TABS[this.tab].query, since: this.#loadedHead, pageSize: 100 };
    const page = await this.#ui.inbox.list(query).catch(() => null);
    if (!page || run !== this.#run) return;
    for (const item of page.items) if (!this.#entries.has(item.id) && this.#inRange(item)) this.#merge(item);
  }

  #forget(entry) {
    if (!entry) return;
    this.#hide(entry);
    this.#entries.delete(entry.id);
  }

  #merge(item, fresh = false) {
    const { id } = item;
    const entry = this.#entries.get(id) ?? { id, item: {}, patches: [], stamp: 0, shown: false };
    const moved = item.sequence !== entry.item.sequence;
    this.#entries.set(id, entry);
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
    this.#redraw();
  }

  /** Change entries at once; for good if `call` succeeds, and unless the server has told of them since. */
  async change(entries, patch, call) {
    const stamps = entries.map((entry) => entry.stamp);
    this.#repatch(entries, (entry) => entry.patches.push(patch));
    const done = await call().then(() => true, () => this.#ui.failed());
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
  }

  /** Everything that is shown, has come with a number up to this, and is unread. */
  unreadUpTo(sequence) {
    return this.#order.filter((entry) => entry.item.sequence <= sequence && !this.item(entry).read_at);
  }

  // --- Order ---------------------------------------------------------------------------------------------

  #show(entry, fresh) {
    const index = this.#indexOf(entry);
    entry.shown = true;
    if (fresh && !index && !this.#atTop) this.#held.add(entry);
    else this.#order.splice(index, 0, entry);
  }

  /** The place of an entry in the order, by bisection. */
  #indexOf({ item: { sequence } }) {
    let [low, high] = [0, this.#order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#order[middle].item.sequence > sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #hide(entry) {
    if (!entry.shown) return;
    entry.shown = false;
    if (this.#held.delete(entry)) return this.#redraw();
    const index = this.#indexOf(entry);
    this.#order.splice(index, 1);
    const focused = this.#undraw(entry);
    if (this.#current === entry) this.#become(this.#order[index] ?? this.#order[index - 1]);
    if (focused) (this.#current?.view?.node ?? this.#scroller).focus({ preventScroll: true });
    this.#redraw();
  }

  /** Show those that were held back, from the top. */
  release() {
    for (const entry of this.#held) this.#order.splice(this.#indexOf(entry), 0, entry);
    this.#held.clear();
    this.#scroller.scrollTop = 0;
    this.#redraw();
  }

  /** Read ones leave the tab Unread. */
  prune() {
    for (const entry of [...this.#order]) if (!TABS[this.tab].takes(this.item(entry))) this.#hide(entry);
  }

  // --- Nodes ---------------------------------------------------------------------------------------------

  #scrolled() {
    const { scrollTop, clientHeight } = this.#scroller;
    if (this.#atTop && this.held) this.release();
    if (scrollTop < this.#drawn[0] || scrollTop + clientHeight > this.#drawn[1]) this.#redraw();
  }

  /** Once for all that changes before the next frame. */
  #redraw() {
    this.#frame ||= requestAnimationFrame(() => {
      if (["shown", "empty"].includes(this.state)) this.#tell();
      this.#draw();
    });
  }

  /** Give nodes to the items near the view, and only to them; what is to be seen stays where it is. */
  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    const { scrollTop, clientHeight } = this.#scroller;
    const nodes = [...this.#feed.children];
    for (const { entry, offsetHeight } of nodes) entry.height = offsetHeight || entry.height;
    const anchor = this.#atTop ? null : nodes.find((node) => node.offsetTop + node.offsetHeight > scrollTop);
    const before = anchor?.offsetTop;
    const [from, to] = [this.#at(scrollTop - MARGIN), this.#at(scrollTop + clientHeight + MARGIN) + 1];
    const wanted = this.#order.slice(from, to);
    for (const { entry } of nodes) if (!wanted.includes(entry)) this.#undraw(entry);
    wanted.forEach((entry, index) => this.#place(entry, index, from));
    this.#feed.style.paddingBlock = `${this.#top(from)}px ${this.#top(Infinity) - this.#top(to)}px`;
    this.#drawn = [from && scrollTop - MARGIN / 2, scrollTop + clientHeight + MARGIN / 2];
    if (anchor?.isConnected) this.#scroller.scrollTop += anchor.offsetTop - before;
    if (!this.#current?.view) this.#become(this.#order[this.#at(scrollTop)]);
  }

  /** The height of all items before this index. */
  #top(index) {
    let sum = 0;
    const end = Math.min(index, this.#order.length);
    for (let at = 0; at < end; at += 1) sum += this.#order[at].height ?? HEIGHT;
    return sum;
  }

  /** The index of the item that is at this height. */
  #at(height) {
    let index = 0;
    for (let sum = this.#order[0]?.height ?? HEIGHT; sum <= height && index < this.#order.length - 1;) {
      sum += this.#order[(index += 1)].height ?? HEIGHT;
    }
    return index;
  }

  #place(entry, index, from) {
    const there = this.#feed.children[index] ?? null;
    if (!entry.view) {
      entry.view = new Item(this.#ui, entry.id);
      entry.view.node.entry = entry;
      entry.view.update(this.item(entry));
      entry.view.current = entry === this.#current;
      this.#feed.insertBefore(entry.view.node, there);
      this.#ui.shown(entry);
    }
    set(entry.view.node, "aria-posinset", from + index + 1);
    set(entry.view.node, "aria-setsize", this.#cursor === null ? this.#order.length : -1);
  }

  /** Whether it had the focus, which is on the list then. */
  #undraw(entry) {
    if (!entry.view) return false;
    const { node } = entry.view;
    const focused = node.contains(node.getRootNode().activeElement);
    this.#ui.hidden(entry);
    if (focused) this.#scroller.focus({ preventScroll: true });
    node.remove();
    entry.view = null;
    return focused;
  }

  // --- Focus ---------------------------------------------------------------------------------------------

  #become(entry) {
    if (entry === this.#current) return;
    if (this.#current?.view) this.#current.view.current = false;
    this.#current = entry;
    if (entry?.view) entry.view.current = true;
  }

  /** Move the focus by `step` items; "first" and "last" of those that are loaded. */
  roam(step) {
    const last = this.#order.length - 1;
    if (last < 0) return;
    const inside = this.#scroller.contains(this.#feed.getRootNode().activeElement) && this.#current;
    const at = inside ? this.#indexOf(this.#current) : -1;
    const entry = this.#order[{ first: 0, last }[step] ?? Math.max(0, Math.min(at + step, last))];
    if (!entry.view) this.#reveal(entry);
    entry.view.node.focus();
  }

  #reveal(entry) {
    this.#scroller.scrollTop = this.#top(this.#indexOf(entry)) - this.#scroller.clientHeight / 2;
    this.#draw();
  }
}

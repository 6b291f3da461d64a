// <carillon-inbox>: a bell with a person's inbox behind it. docs/inbox-component.md

import { el, icon, set } from "./carillon-inbox.dom.js";
import { styles } from "./carillon-inbox.styles.js";
import { Toasts } from "./carillon-inbox.toasts.js";
import { wordsOf } from "./carillon-inbox.words.js";
import { Inbox } from "./inbox.js";

const RIGHT_TO_LEFT = /^(ar|fa|he|ur)\b/i;
const BUILT_ANEW = ["lang", "preferences"];
const EVENT = { bubbles: true, composed: true, cancelable: true };
const CONNECTED_ANEW = ["url", "socket-url"];

export class CarillonInbox extends HTMLElement {
  static observedAttributes = [...BUILT_ANEW, ...CONNECTED_ANEW];

  #inbox = null;
  #own = false; // whether we made #inbox
  #token = null;
  #words = {};
  #ui = null;
  #panel = null; // its code is loaded when it is first wanted
  #toasts = null;
  #inside = false; // whether the focus was in the panel as it closed
  #unread = null;
  #heard = null;
  #listening = new AbortController();

  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [styles];
  }

  connectedCallback() {
    for (const name of ["words", "inbox", "token"]) this.#upgrade(name);
    this.#build();
    this.#connect();
    const options = { signal: this.#listening.signal };
    document.addEventListener("visibilitychange", () => this.#panel?.attend(), options);
    window.addEventListener("resize", () => this.#replace(), options);
    window.addEventListener("scroll", () => this.#replace(), { ...options, passive: true, capture: true });
  }

  disconnectedCallback() {
    this.#disconnect();
    this.#panel?.closed();
    this.#listening.abort();
    this.#listening = new AbortController();
  }

  attributeChangedCallback(name, before, after) {
    if (!this.#ui || !this.isConnected || before === after) return;
    if (BUILT_ANEW.includes(name)) this.#build();
    else this.#reconnect();
  }

  /** What was set before the element was defined goes through the setter now. */
  #upgrade(name) {
    if (!Object.hasOwn(this, name)) return;
    const value = this[name];
    delete this[name];
    this[name] = value;
  }

  // --- Properties and methods ----------------------------------------------------------------------------

  get token() {
    return this.#token;
  }

  set token(token) {
    this.#token = token;
    this.#reconnect();
  }

  get inbox() {
    return this.#inbox;
  }

  set inbox(inbox) {
    this.#disconnect();
    this.#inbox = inbox;
    this.#own = false;
    if (this.#ui) this.#connect();
  }

  get words() {
    return this.#words;
  }

  set words(words) {
    this.#words = words;
    if (this.#ui) this.#build();
  }

  get opened() {
    return Boolean(this.#panel?.node.matches(":popover-open"));
  }

  async open() {
    await this.#load();
    if (this.opened || !this.isConnected) return;
    this.#panel.node.showPopover({ source: this.#ui.bell });
    this.#panel.opened();
    set(this.#ui.bell, "aria-expanded", "true");
    this.#toasts.clear();
    this.#ui.emit("carillon-open");
  }

  close() {
    if (this.opened) this.#panel.node.hidePopover();
  }

  // --- Nodes ---------------------------------------------------------------------------------------------

  #build() {
    const lang = this.#language();
    const words = wordsOf(lang, this.#words);
    const t = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
    this.#ui = this.#parts({ lang, words, t });
    const inherited = !this.hasAttribute("lang") || this.hasAttribute("dir");
    const dir = RIGHT_TO_LEFT.test(lang) ? "rtl" : "ltr";
    const root = el("div", "root", { lang, dir: inherited ? null : dir });
    this.#bell();
    this.close();
    this.#panel = null;
    this.#toasts = new Toasts({ t, follow: (event, item) => this.#follow(event, item) });
    root.append(this.#ui.bell, this.#toasts.node, this.#ui.status);
    this.shadowRoot.replaceChildren(root);
    this.#toasts.node.showPopover();
    this.#counted();
  }

  async #load() {
    const { Panel } = await import("./carillon-inbox.panel.js");
    if (this.#panel) return;
    const { bell } = this.#ui;
    const panel = (this.#panel = new Panel(this.#ui));
    const { node } = panel;
    node.addEventListener("beforetoggle", (event) => event.newState === "closed" && this.#closing(node));
    node.addEventListener("toggle", (event) => event.newState === "closed" && this.#closed(panel));
    node.addEventListener("focusout", (event) => this.#left(node, event));
    bell.after(node);
    bell.popoverTargetElement = node; // so that a press on it does not dismiss the panel first
    set(bell, "aria-controls", "panel");
    this.#panel.status();
  }

  #language() {
    const lang = this.getAttribute("lang") || this.closest("[lang]")?.lang || document.documentElement.lang;
    try {
      return Intl.getCanonicalLocales(lang || navigator.language)[0] ?? "en";
    } catch {
      return "en";
    }
  }

  /** What the parts share. */
  #parts({ lang, words, t }) {
    const host = this;
    return {
      host, lang, words, t,
      status: el("div", "status", { role: "status" }),
      get inbox() { return host.#inbox; },
      get pageSize() { return Number(host.getAttribute("page-size")) || 30; },
      announce: (text) => (this.#ui.status.textContent = text),
      follow: (...rest) => this.#follow(...rest),
      emit: (name, detail) => this.dispatchEvent(new CustomEvent(name, { ...EVENT, detail })),
    };
  }

  #bell() {
    this.#ui.badge = el("span", "badge", { "aria-hidden": "true", hidden: true });
    this.#ui.bell = el("button", "bell", {
      type: "button", "aria-haspopup": "dialog", "aria-expanded": "false",
      click: (event) => this.#toggle(event), pointerenter: () => this.#load(), focus: () => this.#load(),
    }, el("slot", "", { name: "bell" }, icon("bell")), this.#ui.badge);
  }

  #toggle(event) {
    event.preventDefault();
    this.#ui.bell.focus({ preventScroll: true }); // Safari does not; the focus comes back to it
    if (this.opened) this.close();
    else this.open().catch(() => this.#ui.announce(this.#ui.t("loadFailed")));
  }

  #closing(node) {
    this.#inside = node.contains(this.shadowRoot.activeElement);
    set(this.#ui.bell, "aria-expanded", "false");
  }

  #closed(panel) {
    const focused = this.shadowRoot.activeElement; // until the next frame still the one that is hidden
    if (this.#inside && (!focused || panel.node.contains(focused))) this.#ui.bell.focus();
    panel.closed();
    this.#ui.emit("carillon-close");
  }

  #replace() {
    if (this.opened) this.#panel.replace();
  }

  /** A sheet covers the page: the focus cannot go on behind it. */
  #left(node, { relatedTarget }) {
    const sheet = matchMedia("(max-width: 480px)").matches;
    if (sheet && relatedTarget && !node.contains(relatedTarget)) this.close();
  }

  /** An item or a toast was clicked: it is read, and its link followed if the page does not prevent it. */
  #follow(event, item, read = () => this.#inbox.read(item.id).catch(() => {})) {
    if (!this.#ui.emit("carillon-item", { item })) event.preventDefault();
    if (!item.read_at) read();
    const elsewhere = event.metaKey || event.ctrlKey || event.shiftKey;
    if (item.link && !elsewhere) this.close();
  }

  // --- The inbox -----------------------------------------------------------------------------------------

  #reconnect() {
    if (this.#inbox && !this.#own) return;
    this.#disconnect();
    this.#inbox = null;
    if (this.#ui && this.isConnected) this.#connect();
  }

  #connect() {
    if (!this.#inbox && this.#token) {
      const [url, socketUrl] = CONNECTED_ANEW.map((name) => this.getAttribute(name) ?? undefined);
      this.#inbox = new Inbox({ url, socketUrl, token: this.#token });
      this.#own = true;
    }
    this.#unread = null;
    if (this.#inbox) this.#listen();
    else this.close();
    this.#counted();
    this.#toasts.clear();
    this.#panel?.list.open(this.#panel.list.tab);
  }

  #disconnect() {
    this.#heard?.abort();
    if (this.#own) this.#inbox?.close();
  }

  #listen() {
    this.#heard = new AbortController();
    const heard = {
      status: () => this.#status(),
      counts: () => this.#counted(),
      notification: (detail) => this.#came(detail),
      changed: (detail) => this.#panel?.list.apply("changed", detail),
      recalled: (detail) => this.#gone(detail),
      resync: () => this.#panel?.list.reload(),
      queued: ({ waiting }) => this.#panel?.status(waiting),
    };
    for (const [name, listener] of Object.entries(heard)) {
      this.#inbox.addEventListener(name, (event) => listener(event.detail), { signal: this.#heard.signal });
    }
    if (this.#inbox.status === "closed") this.#inbox.connect();
  }

  #status() {
    this.#panel?.status();
    if (this.#inbox.status === "live" && this.#panel?.list.state === "error") this.#panel.list.more();
  }

  #came({ item, live }) {
    this.#panel?.list.apply("notification", { item });
    if (live && !item.read_at && !this.opened && this.#toasting) this.#toasts.add(item);
  }

  get #toasting() {
    return this.getAttribute("toasts") !== "off";
  }

  #gone(detail) {
    this.#panel?.list.apply("recalled", detail);
    this.#toasts.remove(detail.id);
  }

  /** The badge is what the server counts, never what we have. */
  #counted() {
    const { unread, unseen } = this.#inbox?.counts ?? {};
    const { badge, bell, t, announce } = this.#ui;
    badge.textContent = unread > 99 ? "99+" : unread;
    set(badge, "hidden", !unread);
    set(badge, "data-unseen", Boolean(unseen));
    set(bell, "aria-label", unread ? t("bell", { n: unread }) : t("title"));
    const more = this.#unread !== null && unread > this.#unread;
    const toasted = this.#toasting && !this.opened; // toasts are spoken themselves
    if (more && !toasted) announce(t("bell", { n: unread }));
    this.#unread = unread ?? null;
    this.#panel?.status();
    this.#panel?.attend();
  }
}

customElements.define("carillon-inbox", CarillonInbox);

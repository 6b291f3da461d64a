// The preferences: by type and channel a switch.

import { button, el, set } from "./carillon-inbox.dom.js";

const isOff = (how) => how === "off" || how === false;

/** What to send so that a type goes by a channel, or does not. "off" for the whole type is spread first. */
export function choice(preferences, { type, channels }, channel, on) {
  const said = preferences.types[type];
  const whole = typeof said === "object" ? said?.all : said;
  const how = { [channel]: on ? "on" : "off" };
  if (!on || !isOff(whole)) return { types: { [type]: how } };
  const others = Object.keys(channels).map((name) => [name, "off"]);
  return { types: { [type]: { ...Object.fromEntries(others), ...how, all: null } } };
}

/** Show a person's preferences in `node`. */
export function showPreferences(ui, node) {
  return new Preferences(ui, node).load();
}

class Preferences {
  #ui;
  #shown;

  constructor(ui, node) {
    this.#ui = ui;
    this.node = node;
  }

  /** Read them, and show them. */
  async load() {
    this.node.replaceChildren(el("div", "skeleton", { "aria-hidden": "true" }));
    set(this.node, "aria-busy", "true");
    try {
      this.#show(await this.#ui.inbox.preferences());
    } catch {
      this.node.replaceChildren(this.#ui.trouble(() => this.load()));
    }
    set(this.node, "aria-busy", null);
  }

  #show(preferences) {
    this.#shown = preferences;
    const focused = this.node.getRootNode().activeElement?.dataset.key;
    const types = preferences.effective.types.map((type) => this.#type(type));
    this.node.replaceChildren(this.#everything(), ...types);
    if (focused) this.node.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  get #paused() {
    return Boolean(this.#shown.paused_until) || isOff(this.#shown.channels.all);
  }

  #everything() {
    const { t } = this.#ui;
    const channels = Object.keys(this.#shown.effective.types[0]?.channels ?? {});
    const all = this.#switch(t("allChannels"), "all", !this.#paused, false, (on) =>
      ({ channels: { all: on ? null : "off" }, paused_until: null }));
    const single = channels.map((channel) => this.#switch(this.#channel(channel), channel,
      !this.#paused && !isOff(this.#shown.channels[channel]), this.#paused,
      (on) => ({ channels: { [channel]: on ? "on" : "off" } })));
    return this.#group({ name: t("everything") }, [all, ...single]);
  }

  #type(type) {
    const { channels: said } = this.#shown;
    const switches = Object.entries(type.channels).map(([channel, { how }]) =>
      this.#switch(this.#channel(channel), `${type.type} ${channel}`, !isOff(how),
        type.critical || this.#paused || isOff(said[channel]),
        (on) => choice(this.#shown, type, channel, on)));
    return this.#group(type, switches);
  }

  #group({ name, description, critical }, switches) {
    const note = critical ? this.#ui.t("required") : description;
    return el("div", "preferences-type", { role: "group", "aria-label": name },
      el("div", "preferences-name", {}, name), ...(note ? [el("div", "preferences-note", {}, note)] : []),
      el("div", "switches", {}, ...switches));
  }

  #channel(name) {
    return this.#ui.words[name] ?? name;
  }

  #switch(label, key, on, disabled, body) {
    return button("switch", label, {
      role: "switch", "aria-checked": `${on}`, "data-key": key, disabled,
      click: (event) => this.#save(event.currentTarget, body(!on)),
    });
  }

  async #save(node, body) {
    set(node, "aria-checked", `${node.getAttribute("aria-checked") !== "true"}`);
    try {
      this.#show(await this.#ui.inbox.setPreferences(body));
    } catch {
      this.#show(this.#shown);
      this.#ui.failed();
    }
  }
}

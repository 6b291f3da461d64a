// Small helpers: elements without innerHTML, icons, safe addresses, times.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  bell: "M6 9a6 6 0 0 1 12 0c0 6 2.5 7 2.5 7h-17S6 15 6 9m4 11a2.2 2.2 0 0 0 4 0",
  readAll: "m2 13 4 4L15 8m-3 8 1 1 9-9",
  settings: "M4 7h9m6 0h1M4 17h1m6 0h9M16 4.5v5M8 14.5v5",
  close: "M6 6l12 12M18 6 6 18",
  back: "m15 5-7 7 7 7",
  read: "m4 12.5 5 5L20 6.5",
  unread: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8",
  archive: "M4 8v11h16V8M3 4h18v4H3zm7 8h4",
  unarchive: "M4 8v11h16V8M3 4h18v4H3zm9 12v-5m-2.5 2 2.5-2.5 2.5 2.5",
  snooze: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18m0 4v5l3 2",
  up: "M12 19V5m-6 6 6-6 6 6",
};

/** An element that is named `name` as class and as part. Functions among the attributes are listeners. */
export function el(tag, name, attributes = {}, ...children) {
  const node = document.createElement(tag);
  if (name) {
    node.className = name;
    node.setAttribute("part", name);
  }
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else set(node, key, value);
  }
  node.append(...children);
  return node;
}

/** Set an attribute; false, null and undefined take it away. */
export function set(node, key, value) {
  if (value === false || value == null) node.removeAttribute(key);
  else if (node.getAttribute(key) !== `${value}`) node.setAttribute(key, value === true ? "" : value);
}

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

export function button(name, text, attributes = {}) {
  return el("button", name, { type: "button", ...attributes }, text);
}

export function iconButton(name, label, attributes = {}) {
  const node = el("button", "icon-button", { type: "button", ...attributes }, icon(name));
  return relabel(node, label);
}

export function relabel(node, label) {
  set(node, "aria-label", label);
  set(node, "title", label);
  return node;
}

/** The address, if it is one of http(s) or a path; else null. */
export function safe(link) {
  if (!link) return null;
  try {
    const url = new URL(link, document.baseURI);
    return /^https?:$/.test(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

const PICTURE = { alt: "", loading: "lazy", referrerpolicy: "no-referrer" };

/** A picture, or the initial of the title if there is none or it cannot be had. */
export function avatar(item) {
  const node = el("span", "avatar", { "aria-hidden": "true" });
  const initial = () => {
    node.replaceChildren([...item.title.trim()][0]?.toUpperCase() ?? "");
    node.style.setProperty("--hue", [...item.title].reduce((sum, one) => sum + one.codePointAt(0), 0) % 360);
  };
  const src = safe(item.avatar);
  if (!src) initial();
  else node.append(el("img", "", { ...PICTURE, src, error: initial }));
  return node;
}

/** Put `popover` beside `anchor`: above if `top`, aligned with its end or its start, within the window. */
export function place(popover, anchor, { top = false, end = true, gap = 8 } = {}) {
  const at = anchor.getBoundingClientRect();
  const [width, height] = [document.documentElement.clientWidth, window.innerHeight];
  const rightToLeft = getComputedStyle(popover).direction === "rtl";
  const style = popover.style;
  const wanted = end === rightToLeft ? at.left : at.right - popover.offsetWidth;
  style.left = `${Math.max(gap, Math.min(wanted, width - popover.offsetWidth - gap))}px`;
  style.maxHeight = `${Math.max(240, (top ? at.top : height - at.bottom) - 2 * gap)}px`;
  const below = Math.min(at.bottom + gap, height - popover.offsetHeight - gap);
  style.top = top ? "auto" : `${Math.max(gap, below)}px`;
  style.bottom = top ? `${height - at.top + gap}px` : "auto";
}

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

/** "5 min ago" in the last six days, the date before. */
export function relative(time, lang) {
  const seconds = (time - Date.now()) / 1000;
  if (seconds < -6 * 86400) {
    const year = time.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
    return format(time, lang, { day: "numeric", month: "short", year });
  }
  const [unit, size] = UNITS.find(([, size]) => -seconds >= size) ?? ["second", Infinity];
  return new Intl.RelativeTimeFormat(lang, { numeric: "auto", style: "short" }).format(
    Math.ceil(seconds / size) || 0, unit);
}

export function format(time, lang, options) {
  return new Intl.DateTimeFormat(lang, options).format(time);
}

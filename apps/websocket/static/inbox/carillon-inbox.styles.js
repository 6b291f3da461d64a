// Logical properties only (the panel's place is computed), colours for light and dark by light-dark().

const css = `
:host {
  --c-accent: var(--carillon-accent, light-dark(#4643d3, #a9abff));
  --c-on-accent: var(--carillon-on-accent, light-dark(#fff, #15161b));
  --c-surface: var(--carillon-surface, light-dark(#fff, #1b1c21));
  --c-text: var(--carillon-text, light-dark(#1b1d24, #f1f2f5));
  --c-muted: var(--carillon-muted, light-dark(#5a5f6e, #a9aebb));
  --c-line: var(--carillon-line, light-dark(#e5e7eb, #34363e));
  --c-badge: var(--carillon-badge, #cf222e);
  --c-radius: var(--carillon-radius, 14px);
  --c-soft: color-mix(in srgb, var(--c-text) 6%, var(--c-surface));
  --c-tint: color-mix(in srgb, var(--c-accent) 6%, var(--c-surface));
  display: inline-block;
  color-scheme: light dark;
  font: 14px/1.45 var(--carillon-font, system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans",
    sans-serif);
}
:host([theme="light"]) { color-scheme: light; }
:host([theme="dark"]) { color-scheme: dark; }
:host([hidden]), [hidden] { display: none !important; }
*, ::before, ::after { box-sizing: border-box; }
h2, h3, p { margin: 0; font: inherit; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
  text-align: start; }
button:disabled { cursor: default; }
svg { display: block; inline-size: 1.25em; block-size: 1.25em; fill: none; stroke: currentColor;
  stroke-width: 1.8;
  stroke-linecap: round; stroke-linejoin: round; }
:focus-visible { outline: 2px solid var(--c-accent); outline-offset: 2px; }
.status { position: absolute; inline-size: 1px; block-size: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }

.bell { position: relative; display: grid; place-items: center; inline-size: 40px; block-size: 40px;
  border-radius: 50%;
  color: var(--carillon-bell, light-dark(#1b1d24, #f1f2f5)); font-size: 18px; transition: background .15s; }
.bell:hover, .bell[aria-expanded="true"] { background: color-mix(in srgb, currentColor 9%, transparent); }
.badge { position: absolute; inset-block-start: 1px; inset-inline-start: 21px; min-inline-size: 18px;
  block-size: 18px;
  padding-inline: 5px; border-radius: 9px; font: 600 11px/18px var(--carillon-font, system-ui, sans-serif);
  text-align: center; color: #fff; background: light-dark(#5a5f6e, #5f6472);
    box-shadow: 0 0 0 2px var(--c-surface); }
.badge[data-unseen] { background: var(--c-badge); }

.panel, .menu, .toasts { position: fixed; inset: auto; margin: 0; padding: 0; border: 0;
  color: var(--c-text); }
.panel, .menu, .toast { background: var(--c-surface); border: 1px solid var(--c-line);
  box-shadow: 0 16px 48px light-dark(rgb(0 0 0 / .16), rgb(0 0 0 / .5)), 0 2px 8px rgb(0 0 0 / .08); }
.panel { inline-size: min(var(--carillon-width, 420px), 100vw - 16px);
  block-size: var(--carillon-height, 640px);
  border-radius: var(--c-radius); overflow: hidden; outline: 0; }
.panel:popover-open { display: flex; flex-direction: column; animation: appear .16s ease-out; }
@keyframes appear { from { opacity: 0; transform: translateY(-6px); } }

.header { display: flex; align-items: center; gap: 2px; padding-block: 14px 8px; padding-inline: 20px 14px; }
.heading { flex: 1; font-size: 18px; font-weight: 650; letter-spacing: -.01em; }
.icon-button { display: grid; place-items: center; inline-size: 32px; block-size: 32px; flex: none;
  border-radius: 8px;
  color: var(--c-muted); transition: background .12s, color .12s; }
.icon-button:hover { background: var(--c-soft); color: var(--c-text); }
.back { margin-inline-start: -8px; }
.back:dir(rtl) svg { transform: scaleX(-1); }
.tabs { display: flex; gap: 20px; padding-inline: 20px; border-block-end: 1px solid var(--c-line); }
.tab { position: relative; padding-block: 8px 10px; color: var(--c-muted); font-weight: 500;
  border-radius: 4px; }
.tab:hover { color: var(--c-text); }
.tab[aria-selected="true"] { color: var(--c-text); }
.tab[aria-selected="true"]::after { content: ""; position: absolute; inset-inline: 0; inset-block-end: -1px;
  block-size: 2px; border-radius: 2px; background: var(--c-accent); }
.tab-count { margin-inline-start: 6px; padding: 1px 7px; border-radius: 9px; background: var(--c-soft);
  color: var(--c-text); font-size: 12px; font-weight: 600; }
.banner { padding-block: 9px; padding-inline: 20px; font-size: 13px; background: light-dark(#fff6dd, #3a3018);
  color: light-dark(#664700, #ffe1a0); }

.body { position: relative; flex: 1; min-block-size: 0; display: flex; }
.scroller { position: relative; flex: 1; overflow-anchor: none; overflow-y: auto;
  overscroll-behavior: contain; scrollbar-width: thin; outline-offset: -2px; }
.item { position: relative; display: grid; grid-template-columns: 36px 1fr; gap: 0 12px; padding-block: 14px;
  padding-inline: 20px 16px; border-block-end: 1px solid var(--c-line);
  outline-offset: -2px; scroll-margin-block: 40px; }
.item:hover { background: var(--c-soft); }
.item[data-unread] { background: var(--c-tint); }
.item[data-unread]:hover { background: color-mix(in srgb, var(--c-accent) 11%, var(--c-surface)); }
.item[data-unread]::before { content: ""; position: absolute; inset-block-start: 28px;
  inset-inline-start: 6px;
  inline-size: 8px; block-size: 8px; border-radius: 50%; background: var(--c-accent); }
.avatar { display: grid; place-items: center; flex: none; inline-size: 36px; block-size: 36px;
  border-radius: 50%;
  overflow: hidden; font-weight: 600; color: light-dark(hsl(var(--hue) 60% 27%), hsl(var(--hue) 70% 88%));
  background: light-dark(hsl(var(--hue) 60% 91%), hsl(var(--hue) 28% 29%)); }
.avatar img { inline-size: 100%; block-size: 100%; object-fit: cover; }
.item-content { min-inline-size: 0; }
.item-title { line-height: 1.35; font-weight: 500; overflow-wrap: anywhere; }
.item[data-unread] .item-title { font-weight: 650; }
.item-link { color: inherit; text-decoration: none; }
a.item-link::after { content: ""; position: absolute; inset: 0; }
.item:hover a.item-link { text-decoration: underline; text-underline-offset: 2px;
  text-decoration-thickness: 1px; }
.item-body { margin-block-start: 2px; color: var(--c-muted); overflow-wrap: anywhere; white-space: pre-line;
  text-align: match-parent; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
.item-body:empty { display: none; }
.item-time { display: block; margin-block-start: 5px; font-size: 12.5px; color: var(--c-muted);
  inline-size: fit-content; }
.item-time, .item-actions, .item-tools { position: relative; }
.item-actions { display: flex; flex-wrap: wrap; gap: 8px; margin-block: 10px 4px; inline-size: fit-content; }
.item-action, .retry { padding: 5px 14px; border-radius: 8px; border: 1px solid var(--c-line);
  font-weight: 550;
  background: var(--c-surface); transition: filter .12s; }
.item-action[data-first], .retry { background: var(--c-accent); border-color: transparent;
  color: var(--c-on-accent); }
.item-action:hover, .retry:hover { filter: brightness(.94); }
.item-action:disabled { opacity: .6; }
.item-result { display: inline-flex; align-items: center; gap: 6px; font-weight: 550;
  color: light-dark(#126b37, #7fdba0); }
.item-tools { position: absolute; inset-block-start: 8px; inset-inline-end: 12px; display: flex; padding: 1px;
  border: 1px solid var(--c-line); border-radius: 10px; background: var(--c-surface); opacity: 0;
  box-shadow: 0 2px 6px rgb(0 0 0 / .08); }
.item:hover .item-tools, .item:focus .item-tools, .item:focus-within .item-tools { opacity: 1; }
.item-tools .icon-button { inline-size: 30px; block-size: 28px; font-size: 13px; }
@media (hover: none) {
  .item-tools { position: static; grid-column: 2; margin: -27px -8px -9px; justify-self: end; opacity: 1;
    border: 0;
    box-shadow: none; background: none; z-index: 1; }
  .item-tools .icon-button { inline-size: 40px; block-size: 36px; font-size: 14px; }
}

.newer { position: absolute; inset-block-start: 10px; inset-inline: 0; margin-inline: auto;
  inline-size: fit-content;
  display: flex; align-items: center; gap: 6px; padding: 6px 14px; border-radius: 99px; font-weight: 600;
    z-index: 2;
  background: var(--c-accent); color: var(--c-on-accent); box-shadow: 0 4px 14px rgb(0 0 0 / .25); }
.notice { position: absolute; inset-block-end: 14px; inset-inline: 16px; display: flex;
  align-items: center; gap: 12px;
  padding-block: 8px; padding-inline: 16px 8px; border-radius: 10px; z-index: 2; color: var(--c-surface);
  background: var(--c-text); box-shadow: 0 6px 20px rgb(0 0 0 / .25); }
.notice-text { flex: 1; padding-block: 4px; }
.notice-undo { padding: 4px 10px; border-radius: 6px; font-weight: 650; text-decoration: underline;
  text-underline-offset: 3px; }
.notice-undo:focus-visible { outline-color: currentColor; outline-offset: -2px; }

.empty { display: grid; justify-items: center; gap: 4px; padding: 72px 40px; text-align: center;
  color: var(--c-muted); }
.empty-icon { display: grid; place-items: center; inline-size: 64px; block-size: 64px; margin-block-end: 12px;
  border-radius: 50%; background: var(--c-tint); color: var(--c-accent); font-size: 22px; }
.empty-title { color: var(--c-text); font-size: 16px; font-weight: 600; }
.trouble { display: grid; justify-items: center; gap: 14px; padding: 56px 40px; text-align: center;
  color: var(--c-muted); }
.skeleton { block-size: 474px; padding: 18px 20px; }
.skeleton::before { content: ""; display: block; block-size: 100%; background-size: 100% 92px;
  background-image: radial-gradient(circle at 18px 18px, var(--c-soft) 17.5px, transparent 18px),
    linear-gradient(90deg, var(--c-surface) 48px, transparent 48px), linear-gradient(90deg,
      transparent 80%, var(--c-surface) 80%),
    linear-gradient(var(--c-soft) 14px, transparent 14px 24px, var(--c-soft) 24px 36px, transparent 36px);
  animation: pulse 1.2s ease-in-out infinite alternate; }
.skeleton:dir(rtl)::before { transform: scaleX(-1); }
@keyframes pulse { to { opacity: .35; } }
.end { min-block-size: 1px; }
.spinner { display: block; margin: 16px auto; inline-size: 22px; block-size: 22px; border-radius: 50%;
  border: 2.5px solid var(--c-line); border-block-start-color: var(--c-accent);
    animation: turn .8s linear infinite; }
@keyframes turn { to { transform: rotate(1turn); } }

.menu { min-inline-size: 240px; padding: 6px; border-radius: 12px; }
.menu-item { display: flex; justify-content: space-between; gap: 24px; inline-size: 100%;
  padding: 8px 10px; border-radius: 7px; }
.menu-item:hover, .menu-item:focus { background: var(--c-soft); }
.menu-time { color: var(--c-muted); }

.preferences { flex: 1; overflow-y: auto; overscroll-behavior: contain; scrollbar-width: thin;
  border-block-start: 1px solid var(--c-line); }
.preferences-type { padding-block: 14px 16px; padding-inline: 20px;
  border-block-end: 1px solid var(--c-line); }
.preferences-name { font-weight: 600; }
.preferences-note { color: var(--c-muted); font-size: 13px; }
.switches { display: grid; grid-template-columns: repeat(3, 1fr); gap: 8px 12px; margin-block-start: 10px; }
.switch { display: flex; align-items: center; gap: 8px; padding-block: 3px; font-size: 13px;
  border-radius: 6px; }
.switch::before { content: ""; flex: none; inline-size: 32px; block-size: 18px; border-radius: 9px;
  transition: background .15s;
  background: radial-gradient(circle at 9px 50%, #fff 6.5px, transparent 7px) light-dark(#858b99, #60646f); }
.switch:dir(rtl)::before, .switch[aria-checked="true"]::before {
  background: radial-gradient(circle at 23px 50%, #fff 6.5px, transparent 7px) light-dark(#858b99, #60646f); }
.switch[aria-checked="true"]::before { background-color: var(--carillon-accent, light-dark(#4643d3,
  #6d6af0)); }
.switch[aria-checked="true"]:dir(rtl)::before {
  background-image: radial-gradient(circle at 9px 50%, #fff 6.5px, transparent 7px); }
.switch:disabled::before { opacity: .45; }
.switch:disabled { color: var(--c-muted); }

.toasts { inset-block-end: 0; inset-inline-end: 0; inline-size: min(392px, 100vw); padding: 16px;
  background: none;
  overflow: visible; pointer-events: none; }
.toasts:empty { padding: 0; }
.toasts:popover-open { display: grid; gap: 10px; }
.toast { position: relative; display: flex; gap: 12px; padding: 14px; border-radius: var(--c-radius);
  pointer-events: auto;
  animation: rise .2s ease-out; }
@keyframes rise { from { opacity: 0; transform: translateY(12px); } }
.toast:hover { background: var(--c-soft); }
.toast-content { flex: 1; min-inline-size: 0; }
.toast-title { display: block; font-weight: 600; color: inherit; text-decoration: none; line-height: 1.35;
  overflow-wrap: anywhere; }
.toast-title::after { content: ""; position: absolute; inset: 0; border-radius: inherit; }
.toast-body { color: var(--c-muted); display: -webkit-box; -webkit-box-orient: vertical;
  -webkit-line-clamp: 2; overflow: hidden; }
.toast .icon-button { position: relative; margin: -6px; }

@media (max-width: 480px) {
  .panel { inset: 0 !important; inline-size: 100%; block-size: 100dvh; max-block-size: none !important;
    border: 0; border-radius: 0; }
}
@media (min-width: 481px) { .close { display: none; } }
@media (prefers-reduced-motion: reduce) { *, ::before, ::after { animation: none !important;
  transition: none !important; } }
@media (forced-colors: active) {
  .badge, .newer, .notice, .item-action, .retry, .menu-item:focus { border: 1px solid; }
  .item[data-unread]::before, .tab[aria-selected="true"]::after { forced-color-adjust: none;
    background: Highlight; }
  .switch::before { forced-color-adjust: none; border: 1px solid ButtonText; background-color: Canvas;
    background-image: radial-gradient(circle at 8px 50%, ButtonText 6px, transparent 6.5px); }
  .switch[aria-checked="true"]::before { background-color: Highlight;
    background-image: radial-gradient(circle at 22px 50%, HighlightText 6px, transparent 6.5px); }
}
`;

export const styles = new CSSStyleSheet();
styles.replaceSync(css);

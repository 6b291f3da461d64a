/** `denied`: only the person can change it, in the browser's settings. */
export type PushState = "unsupported" | "denied" | "off" | "on";

export interface PushOptions {
  /** Where Carillon is: `https://carillon.example.com`. */
  url: string | URL;
  /** A person's token, or what returns one: it is asked before each call, so that none is too old. */
  token: string | (() => string | Promise<string>);
  /** Your service worker's address, of the page's own origin. `/carillon-sw.js` if left out. */
  serviceWorker?: string;
}

/** Web Push for the person on this page. */
export class Push {
  constructor(options: PushOptions);
  /** Whether this browser can, on this page: with HTTPS, and on iOS only when added to the home screen. */
  readonly supported: boolean;
  /** As of the last `refresh()`, `enable()` or `disable()`; before the first one it is never `on`. */
  readonly state: PushState;
  /**
   * Ask the person, subscribe, and register this browser as their device. Call it from a click, before
   * anything is awaited. Rejects with PushError if Carillon refuses, and with the browser's own errors.
   */
  enable(): Promise<PushState>;
  /** End the subscription and remove the device: also when the person logs out, while the token is good. */
  disable(): Promise<PushState>;
  /** If it is on, register again: the subscription or Carillon's key may have changed. On each start. */
  refresh(): Promise<PushState>;
}

/** Carillon refused a call. */
export class PushError extends Error {
  /** Of docs/api.md: `no_web_push`, `invalid_credentials`, `too_many_devices`; empty if it is none of ours. */
  readonly code: string;
  /** Of HTTP. */
  readonly status: number;
}

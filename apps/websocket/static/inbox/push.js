/**
 * Switches Web Push on and off for the person on this page: docs/inbox-push.md.
 * https://www.w3.org/TR/push-api/
 */

const WORKER = "/carillon-sw.js";
const RENEWED = "carillon-push-renewed"; // as in service-worker.js

/** Carillon refused: `code` is one of docs/api.md, `status` that of HTTP. */
export class PushError extends Error {
  constructor(status, { code = "", detail = "" } = {}) {
    super(detail || `HTTP ${status}`);
    this.name = "PushError";
    this.status = status;
    this.code = code;
  }
}

export class Push {
  #url;
  #token;
  #worker;
  #device = ""; // id of this browser at Carillon, once it is known
  #on = false;

  constructor({ url, token, serviceWorker = WORKER }) {
    this.#url = new URL(url, location.href).href.replace(/\/$/, "");
    this.#token = token;
    this.#worker = serviceWorker;
    if (this.supported) navigator.serviceWorker.addEventListener("message", (event) => this.#heard(event));
  }

  get supported() {
    return (
      window.isSecureContext &&
      "serviceWorker" in navigator &&
      "PushManager" in window &&
      "Notification" in window
    );
  }

  get state() {
    if (!this.supported) return "unsupported";
    if (Notification.permission === "denied") return "denied";
    return this.#on ? "on" : "off";
  }

  async enable() {
    // Asked first: browsers take the question only as the answer to a click.
    if (!this.supported || (await Notification.requestPermission()) !== "granted") return this.state;
    const registration = await active(await navigator.serviceWorker.register(this.#worker));
    await this.#register(await this.#subscription(registration));
    return this.state;
  }

  async disable() {
    const subscription = await (await this.#registration())?.pushManager.getSubscription();
    try {
      if (subscription) await this.#forget(subscription);
    } finally {
      // Also when Carillon cannot be reached: what it sends then is refused, and the device ends with that.
      await subscription?.unsubscribe();
      this.#on = false;
    }
    return this.state;
  }

  async refresh() {
    const registration = await this.#registration();
    this.#on = Boolean(await registration?.pushManager.getSubscription());
    if (this.state === "on") await this.#register(await this.#subscription(registration));
    return this.state;
  }

  /** The registration that `enable()` made, here or in an earlier visit. */
  async #registration() {
    return this.supported ? navigator.serviceWorker.getRegistration(this.#worker) : undefined;
  }

  /** The subscription there is, if it was made with Carillon's key of today; else a new one. */
  async #subscription(registration) {
    const { public_key: key } = await this.#call("GET", "web-push-key/");
    const old = await registration.pushManager.getSubscription();
    if (old && keyOf(old) === key) return old;
    if (old) {
      await this.#forget(old);
      await old.unsubscribe();
      this.#on = false;
    }
    return registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
  }

  async #register(subscription) {
    const device = { kind: "webpush", token: JSON.stringify(subscription) };
    this.#device = (await this.#call("POST", "", device)).id;
    this.#on = true;
  }

  async #forget(subscription) {
    if (!this.#device) await this.#register(subscription); // the answer has its id
    const id = this.#device;
    this.#device = "";
    await this.#call("DELETE", `${id}/`);
  }

  /** What Carillon answers at /api/devices/. Raises PushError; TypeError if it cannot be reached. */
  async #call(method, path, body) {
    const token = typeof this.#token === "function" ? await this.#token() : this.#token;
    const headers = { Authorization: `Bearer ${token}` };
    if (body) headers["Content-Type"] = "application/json";
    const options = { method, headers, body: body && JSON.stringify(body), credentials: "omit" };
    const response = await fetch(`${this.#url}/api/devices/${path}`, options);
    const gone = method === "DELETE" && response.status === 404; // it was removed before
    if (!response.ok && !gone) throw new PushError(response.status, await response.json().catch(() => ({})));
    return response.status === 204 || gone ? {} : response.json();
  }

  /** The worker has a new subscription, and no token to register it with. */
  #heard({ data }) {
    if (data?.type === RENEWED) this.refresh().catch((error) => console.warn("Push is not renewed", error));
  }
}

/** Resolves when the registration's worker can take a subscription: none can before it is active. */
async function active(registration) {
  const worker = registration.active ?? registration.waiting ?? registration.installing;
  if (worker.state === "activated") return registration;
  return new Promise((resolve, reject) => {
    worker.addEventListener("statechange", () => {
      if (worker.state === "activated") resolve(registration);
      if (worker.state === "redundant") reject(new Error("The service worker was not installed"));
    });
  });
}

/** The key a subscription was made with, as Carillon says it: base64url without padding. */
function keyOf(subscription) {
  const bytes = new Uint8Array(subscription.options.applicationServerKey ?? []);
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

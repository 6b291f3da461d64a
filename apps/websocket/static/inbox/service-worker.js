/**
 * Shows what Carillon pushes, and opens it: docs/inbox-push.md.
 * A classic script, for `importScripts()` in a worker of the site's own origin.
 */
(() => {
  const SOURCE = "carillon"; // tells our notifications from the site's own
  const RENEWED = "carillon-push-renewed"; // as in push.js
  const UNREADABLE = "New notification";

  self.addEventListener("push", (event) => {
    const [title, options] = notification(read(event.data));
    event.waitUntil(self.registration.showNotification(title, options));
  });

  self.addEventListener("notificationclick", (event) => {
    const { data } = event.notification;
    if (data?.source !== SOURCE) return;
    event.notification.close();
    event.waitUntil(show(data.links[event.action] ?? data.link));
  });

  self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(renew(event)));

  /** The message, or an empty one: after a push that shows nothing some browsers take the permission. */
  function read(data) {
    try {
      return object(data.json());
    } catch {
      return {};
    }
  }

  /** What showNotification() takes. Nothing in a message is taken for granted. */
  function notification(message) {
    const title = text(message.title);
    const body = text(message.body);
    const data = object(message.data);
    const actions = (Array.isArray(data.actions) ? data.actions : [])
      .map(object)
      .map(({ id, label, link }) => ({ id: text(id), label: text(label), link: address(link) }))
      .filter(({ id, label }) => id && label);
    const options = {
      body: title ? body : "",
      tag: text(message.target) || SOURCE, // a message that comes twice is shown once
      icon: address(data.avatar) || undefined,
      actions: actions.map(({ id, label }) => ({ action: id, title: label })),
      data: {
        source: SOURCE,
        target: text(message.target),
        notification_id: text(data.notification_id),
        link: address(data.link),
        links: Object.fromEntries(actions.map(({ id, link }) => [id, link])),
      },
    };
    return [title || body || UNREADABLE, options];
  }

  /** Bring the page with this address to the front, or open one; without an address any page of the site. */
  async function show(link) {
    const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    const page = link ? pages.find(({ url }) => url === link) : pages[0];
    return page ? page.focus() : self.clients.openWindow(link || self.registration.scope);
  }

  /** Subscribe as before. Only pages have a token to register it with: those open now, or the next one. */
  async function renew({ oldSubscription, newSubscription }) {
    const key = oldSubscription?.options.applicationServerKey;
    if (!newSubscription && key) {
      const { pushManager } = self.registration;
      await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    }
    const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
    for (const page of pages) page.postMessage({ type: RENEWED });
  }

  /** An http(s) address, whole; a path is one of the site's. Anything else is empty. */
  function address(value) {
    try {
      const url = new URL(text(value) || "none:", self.location.origin);
      return ["https:", "http:"].includes(url.protocol) ? url.href : "";
    } catch {
      return "";
    }
  }

  function text(value) {
    return typeof value === "string" ? value : "";
  }

  function object(value) {
    return typeof value === "object" && value !== null ? value : {};
  }
})();

/** A person's inbox, without a face. How to use it: docs/inbox-client.md; what it speaks: docs/inbox-protocol.md. */

const BUNDLE = 250; // ms in which reads and seens are gathered into one message
const MOST_IDS = 400; // in one message: more do not fit into 16 KiB
const MOST_WAITING = 1000; // changes that are kept
const HELLO = 15_000; // ms for a connection to be there
const SILENCE = 45_000; // ms without a frame until we ask, as long as we do not know the heartbeat
const PONG = 10_000; // ms to answer
const ACK = 30_000; // ms to commit a change
const LATER = 5_000; // ms until a change is sent again that could not be committed
const STEADY = 5_000; // ms that a connection lasts if it counts as a success
const LOST = 1006; // close codes: the browser's
const BAD_MESSAGES = 4400; // the server's
const UNAUTHORIZED = 4401;
const FORBIDDEN = 4403;
const NO_TOKEN = 4000; // our own
const AGAIN = 4001;

/** What a call, a change or the connection failed with: `code` for programs, the message for people. */
export class InboxError extends Error {
  constructor(code, detail, status = null, errors = []) {
    super(detail || code);
    Object.assign(this, { name: "InboxError", code, status, errors });
  }
}

const isTemporary = ({ code, status }) =>
  ["network", "token", "unavailable"].includes(code) || [401, 408, 429].includes(status) || status >= 500;
const jittered = (seconds) => seconds * (0.5 + Math.random() / 2);

/** Whose token it is, or null if it does not say. */
function subjectOf(token) {
  try {
    return JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub ?? null;
  } catch {
    return null;
  }
}

function defaultStorage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null; // the browser forbids it
  }
}

function messagesOf(which) {
  if (which?.upTo !== undefined) return [{ up_to: which.upTo }];
  const ids = [...new Set([].concat(which))];
  const messages = [];
  for (let at = 0; at < ids.length; at += MOST_IDS) messages.push({ ids: ids.slice(at, at + MOST_IDS) });
  return messages;
}

/** Both in one message, or null. */
function merged(a, b) {
  if (a.type !== b.type || a.until !== b.until) return null;
  if (a.up_to && b.up_to) return { ...a, up_to: Math.max(a.up_to, b.up_to) };
  const ids = a.ids && b.ids && [...new Set([...a.ids, ...b.ids])];
  return ids && ids.length <= MOST_IDS ? { ...a, ids } : null;
}

/** Changes that are not acknowledged: a key each in the storage, so that tabs do not overwrite each other's. */
class Outbox {
  #storage;
  #prefix = null;
  #own = new Map(); // this page's, by key: { change, stored, resolve, reject }
  #tab = Math.random().toString(36).slice(2);
  #last = 0;

  constructor(storage) {
    this.#storage = storage;
  }

  /** Whose they are. Until that is known they stay in memory. */
  belongTo(prefix) {
    this.#prefix = prefix;
    for (const [key, entry] of this.#own) this.#store(key, entry);
  }

  add(change) {
    if (this.size >= MOST_WAITING) return Promise.reject(new InboxError("queue_full", "Too many changes wait."));
    return new Promise((resolve, reject) => {
      this.#last = Math.max(Date.now(), this.#last + 1);
      const key = `${this.#last}-${this.#tab}`;
      const entry = { change, stored: false, resolve, reject };
      this.#own.set(key, entry);
      this.#store(key, entry);
    });
  }

  get size() {
    return this.#keys().length;
  }

  /** The oldest ones that fit into one message, or null. */
  next(alone) {
    let message = null;
    const keys = [];
    for (const key of this.#keys()) {
      const change = this.#read(key);
      const both = change && (message ? merged(message, change) : change);
      if (change && !both) break;
      if (both) message = both;
      keys.push(key);
      if (message && alone) break;
    }
    return message && { keys, message };
  }

  /** They are done with: `how` is "resolve" or "reject". */
  settle(keys, how, outcome) {
    for (const key of keys) {
      if (this.#prefix !== null) this.#storage.removeItem(this.#prefix + key);
      this.#own.get(key)?.[how](outcome);
      this.#own.delete(key);
    }
  }

  /** Those of ours that another tab has sent. */
  get gone() {
    const kept = new Set(this.#keys());
    return [...this.#own.keys()].filter((key) => !kept.has(key));
  }

  /** One tab at a time sends. */
  async alone(work) {
    const locks = this.#prefix !== null && globalThis.navigator?.locks; // only in secure contexts
    return locks ? locks.request(this.#prefix, work) : work();
  }

  #store(key, entry) {
    if (this.#prefix === null || entry.stored) return;
    try {
      this.#storage.setItem(this.#prefix + key, JSON.stringify(entry.change));
      entry.stored = true;
    } catch {
      // It is full: the change stays in memory.
    }
  }

  #read(key) {
    const entry = this.#own.get(key);
    if (entry) return entry.change;
    try {
      return JSON.parse(this.#storage.getItem(this.#prefix + key));
    } catch {
      return null;
    }
  }

  #keys() {
    const keys = [...this.#own].filter(([, { stored }]) => !stored).map(([key]) => key);
    for (let at = 0; this.#prefix !== null && at < this.#storage.length; at += 1) {
      const key = this.#storage.key(at);
      if (key.startsWith(this.#prefix)) keys.push(key.slice(this.#prefix.length));
    }
    return keys.sort();
  }
}

/** A connection: `ended` becomes its close code. */
function openSocket(WebSocket, url, hello, take) {
  const link = { drop() {} };
  link.ended = new Promise((resolve) => {
    const socket = new WebSocket(url);
    link.send = (message) => socket.send(JSON.stringify(message));
    link.drop = (code = LOST) => {
      resolve(code);
      socket.close();
    };
    socket.onopen = () => link.send(hello);
    socket.onmessage = ({ data }) => take(JSON.parse(data));
    socket.onclose = ({ code }) => resolve(code);
  }).catch(() => LOST);
  return link;
}

/** The same by server-sent events, which cannot `send`. EventSource has no Authorization header. */
function openStream(fetch, url, headers, take) {
  const abort = new AbortController();
  const link = {};
  link.ended = new Promise((resolve) => {
    link.drop = (code = LOST) => {
      resolve(code);
      abort.abort();
    };
    readStream(fetch, url, { headers, signal: abort.signal, cache: "no-store", credentials: "omit" }, take).then(
      resolve,
      () => resolve(LOST),
    );
  });
  return link;
}

async function readStream(fetch, url, options, take) {
  const response = await fetch(url, options);
  if (!response.ok) return [400, 401, 403].includes(response.status) ? 4000 + response.status : LOST;
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return LOST;
    const events = (text + decoder.decode(value, { stream: true })).split(/\r\n\r\n|\n\n|\r\r/);
    text = events.pop();
    for (const data of events.map(dataOf)) if (data) take(JSON.parse(data));
  }
}

const dataOf = (event) =>
  event
    .split(/\r\n|\n|\r/)
    .filter((line) => line.startsWith("data:"))
    .map((line) => line.slice(5))
    .join("\n");

export class Inbox extends EventTarget {
  #base;
  #socketUrl;
  #streamUrl;
  #source;
  #fetch;
  #WebSocket;
  #outbox;
  #persistent;

  #status = "closed";
  #counts = null;
  #life = null; // an AbortController, from connect() to close()
  #link = null; // the present connection
  #wake = () => {};

  #token = null;
  #asking = null;
  #user;

  #last = null; // the number up to which we have everything
  #first = null; // the one that we went on from
  #within = 0; // seconds
  #silence = SILENCE;

  #refs = 0;
  #timer = null;
  #sending = false;
  #again = false;
  #waiting = 0; // what "queued" has said
  #budget = { left: 40, at: 0 }; // messages

  constructor({
    url = globalThis.location?.origin,
    socketUrl,
    streamUrl,
    token,
    storage = defaultStorage(),
    fetch = (...call) => globalThis.fetch(...call),
    WebSocket = globalThis.WebSocket ?? null,
  }) {
    super();
    this.#base = new URL(url, globalThis.location?.href).href.replace(/\/$/, "");
    this.#socketUrl = socketUrl ?? `${this.#base.replace(/^http/, "ws")}/ws/notifications/`;
    this.#streamUrl = streamUrl ?? new URL("/api/inbox/stream/", this.#socketUrl.replace(/^ws/, "http")).href;
    this.#source = token;
    this.#fetch = fetch;
    this.#WebSocket = WebSocket;
    this.#persistent = storage !== null;
    this.#outbox = new Outbox(storage);
  }

  get status() {
    return this.#status;
  }

  get counts() {
    return this.#counts;
  }

  connect() {
    if (this.#life) return;
    this.#life = new AbortController();
    const { signal } = this.#life;
    globalThis.addEventListener?.("online", () => this.#hurry(), { signal });
    globalThis.addEventListener?.("offline", () => this.#link?.drop(), { signal });
    const visible = () => document.visibilityState === "visible" && this.#hurry();
    globalThis.document?.addEventListener("visibilitychange", visible, { signal });
    this.#become("connecting");
    this.#run(signal);
  }

  close(code) {
    this.#life?.abort();
    this.#life = null;
    this.#link?.drop();
    this.#wake();
    this.#become("closed", code);
  }

  // Calls

  async list({ pageSize, ...filters } = {}) {
    const asked = Object.entries({ ...filters, page_size: pageSize }).filter(([, value]) => value != null);
    const answer = await this.#http("GET", `/api/inbox/?${new URLSearchParams(asked)}`);
    this.#goOnFrom(answer.counts.head);
    this.#count(answer.counts);
    return { items: answer.items, pageInfo: answer.page_info, counts: answer.counts };
  }

  item(id) {
    return this.#http("GET", `/api/inbox/${encodeURIComponent(id)}/`);
  }

  preferences() {
    return this.#http("GET", "/api/preferences/");
  }

  setPreferences(body) {
    return this.#http("PATCH", "/api/preferences/", body);
  }

  // Changes

  read(which) {
    return this.#change("read", messagesOf(which), BUNDLE);
  }

  unread(which) {
    return this.#change("unread", messagesOf(which));
  }

  seen(which) {
    return this.#change("seen", messagesOf(which), BUNDLE);
  }

  archive(which) {
    return this.#change("archive", messagesOf(which));
  }

  unarchive(which) {
    return this.#change("unarchive", messagesOf(which));
  }

  snooze(which, until) {
    const at = until.toISOString();
    return this.#change("snooze", messagesOf(which).map((message) => ({ ...message, until: at })));
  }

  unsnooze(which) {
    return this.#change("unsnooze", messagesOf(which));
  }

  act(id, action) {
    return this.#change("act", [{ id, action }]);
  }

  #change(type, messages, within = 0) {
    const added = messages.map((message) => this.#outbox.add({ type, ...message }));
    const all = Promise.all(added).then((done) => ({
      changed: done.reduce((sum, { changed }) => sum + changed, 0),
      counts: this.#counts,
    }));
    all.catch((error) => error.code === "queue_full" && this.#raise(error)); // the event tells it, if nobody waits
    this.#announce();
    this.#soon(within);
    return all;
  }

  #soon(ms) {
    if (ms && this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#flush();
    }, ms);
  }

  async #flush() {
    this.#again = true;
    if (this.#sending) return;
    this.#sending = true;
    while (this.#again) {
      this.#again = false;
      await this.#outbox.alone(() => this.#drain()).catch((error) => this.#raise(error));
    }
    this.#sending = false;
  }

  async #drain() {
    this.#outbox.settle(this.#outbox.gone, "resolve", { changed: 0 });
    let alone = 0; // so many have to go one by one, since one of them is refused
    for (;;) {
      const bundle = this.#status === "live" && this.#outbox.next(alone > 0);
      if (!bundle) break;
      try {
        const done = await this.#commit(bundle.message);
        this.#count(done.counts);
        this.#outbox.settle(bundle.keys, "resolve", done);
        alone -= 1;
      } catch (error) {
        if (isTemporary(error)) {
          this.#soon(LATER);
          break;
        }
        if (bundle.keys.length > 1) {
          alone = bundle.keys.length;
          continue;
        }
        alone -= 1;
        this.#outbox.settle(bundle.keys, "reject", error);
        this.#raise(error);
      }
      this.#announce();
    }
    this.#announce();
  }

  async #commit({ type, ...rest }) {
    await this.#pace();
    const link = this.#link;
    if (link?.ready && link.send) return this.#ask(link, { type, ...rest });
    const path = type === "act" ? `${rest.id}/actions/${encodeURIComponent(rest.action)}` : type;
    return this.#http("POST", `/api/inbox/${path}/`, rest);
  }

  /** The server allows 60 messages at once and 5 a second; some are for pings and the like. */
  async #pace() {
    const budget = this.#budget;
    budget.left = Math.min(40, budget.left + ((Date.now() - budget.at) / 1000) * 4) - 1;
    budget.at = Date.now();
    if (budget.left < 0) await new Promise((resolve) => setTimeout(resolve, -250 * budget.left));
  }

  async #ask(link, message) {
    const ref = String((this.#refs += 1));
    const slow = setTimeout(() => link.drop(), ACK);
    try {
      return await new Promise((resolve, reject) => {
        link.unanswered.set(ref, { resolve, reject });
        link.send({ ...message, ref });
      });
    } finally {
      clearTimeout(slow);
    }
  }

  // The connection

  async #run(signal) {
    let tries = 0;
    let denied = 0;
    let refused = this.#WebSocket ? 0 : 2; // how often the socket could not be opened, in a row
    while (!signal.aborted) {
      const streaming = refused > 1;
      const began = Date.now();
      const { code, ready } = await this.#session(streaming, signal);
      if (signal.aborted) return;
      const steady = ready && Date.now() - began > STEADY;
      if (steady) tries = denied = 0;
      if (this.#WebSocket) refused = streaming ? 1 : ready || code >= 4000 ? 0 : refused + 1;
      if (code === BAD_MESSAGES || code === FORBIDDEN) return this.#stop(code);
      if (code === UNAUTHORIZED) denied += 1;
      if (code === AGAIN || (code === UNAUTHORIZED && denied === 1) || (!streaming && refused === 2)) continue;
      this.#become(denied > 1 ? "unauthorized" : "offline", code);
      const first = ready ? Math.random() * this.#within : 0;
      const slower = () => (steady ? 0 : jittered(Math.min(30, 2 ** tries++)));
      await this.#pause(denied > 1 ? jittered(Math.min(300, 15 * 2 ** denied)) : first + slower());
    }
  }

  #stop(code) {
    const forbidden = code === FORBIDDEN;
    this.close(code);
    const detail = forbidden ? "This page's origin is not allowed, or its URL has a token." : "Bad messages.";
    this.#raise(new InboxError(forbidden ? "forbidden" : "bad_messages", detail, code));
  }

  #pause(seconds) {
    return new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, seconds * 1000);
    });
  }

  #hurry() {
    this.#wake();
    if (this.#link?.ready) this.#probe(this.#link);
  }

  /** One connection, from its opening to its end. */
  async #session(streaming, signal) {
    let token;
    try {
      token = await this.#newToken();
    } catch (error) {
      if (!signal.aborted) this.#raise(error);
      return { code: NO_TOKEN };
    }
    if (signal.aborted) return { code: AGAIN };
    const take = (frame) => link === this.#link && this.#take(link, frame);
    const link = streaming ? this.#openStream(token, take) : this.#openSocket(token, take);
    Object.assign(link, { ready: false, asked: null, unanswered: new Map() });
    this.#link = link;
    link.silence = setTimeout(() => link.drop(), HELLO);
    const code = await link.ended;
    if (this.#link === link) this.#link = null;
    clearTimeout(link.silence);
    clearTimeout(link.renewal);
    const lost = new InboxError("unavailable", "The connection was lost.");
    for (const { reject } of link.unanswered.values()) reject(lost);
    return { code, ready: link.ready };
  }

  #openSocket(token, take) {
    return openSocket(this.#WebSocket, this.#socketUrl, { type: "authenticate", token, since: this.#last }, take);
  }

  #openStream(token, take) {
    const headers = { Accept: "text/event-stream", Authorization: `Bearer ${token}` };
    if (this.#last !== null) headers["Last-Event-ID"] = String(this.#last);
    return openStream(this.#fetch, this.#streamUrl, headers, take);
  }

  #take(link, frame) {
    this.#hear(link);
    this.#within = frame.reconnect_within ?? this.#within;
    if (frame.counts) this.#count(frame.counts);
    switch (frame.type) {
      case "hello":
        return this.#greet(link, frame);
      case "subscribed":
        if (frame.since === link.asked) link.asked = null;
        return;
      case "notification":
      case "changed":
      case "recalled":
        return this.#move(link, frame);
      case "heartbeat":
        return this.#beat(link, frame.head);
      case "resync":
        return this.#restart(link, frame.counts);
      case "authenticated":
        return this.#renewBefore(link, frame.expires_at);
      case "ack":
        return link.unanswered.get(frame.ref)?.resolve(frame);
      case "error":
        return this.#fault(link, frame);
      case "close":
        return link.drop(frame.code);
    }
  }

  #greet(link, { head, expires_at: expiresAt }) {
    link.ready = true;
    link.head = head;
    this.#last ??= this.#first = head;
    this.#renewBefore(link, expiresAt);
    this.#become("live");
    this.#flush();
  }

  #move(link, { type, sequence, item }) {
    if (link.asked !== null || sequence <= this.#last) return; // it comes again, or has come
    this.#last = sequence;
    if (type === "notification") this.#emit(type, { item, live: sequence > link.head });
    else this.#emit(type, type === "changed" ? { item } : { id: item.id });
  }

  /** All up to `head` was sent: who has less has lost a frame. */
  #beat(link, head) {
    const now = Date.now();
    if (link.beat) this.#silence = Math.max(5_000, 2 * (now - link.beat));
    link.beat = now;
    if (link.asked !== null || head <= this.#last) return;
    if (link.missed === this.#last) this.#last = head; // asked already: there is nothing between
    else this.#subscribe(link, (link.missed = this.#last));
  }

  #subscribe(link, since) {
    link.asked = since;
    if (link.send) link.send({ type: "subscribe", since });
    else link.drop(AGAIN);
  }

  #restart(link, counts) {
    link.asked = null;
    this.#last = this.#first = counts.head;
    this.#counts = null;
    this.#count(counts);
    this.#emit("resync", counts);
  }

  /** A list is older than what we went on from: what lies between has to come. */
  #goOnFrom(head) {
    if (this.#first !== null && head >= this.#first) return;
    this.#last = this.#first = head;
    if (this.#link?.ready) this.#subscribe(this.#link, head);
  }

  #fault(link, { code, detail, ref, counts }) {
    if (code === "since_ahead") return this.#restart(link, counts);
    const error = new InboxError(code, detail);
    const waiting = link.unanswered.get(ref);
    if (waiting) waiting.reject(error);
    else this.#raise(error);
  }

  #hear(link) {
    clearTimeout(link.silence);
    link.silence = setTimeout(() => this.#probe(link), this.#silence);
  }

  /** Who does not answer now is gone. */
  #probe(link) {
    clearTimeout(link.silence);
    link.send?.({ type: "ping" });
    link.silence = setTimeout(() => link.drop(), PONG);
  }

  // The token

  #renewBefore(link, expiresAt) {
    clearTimeout(link.renewal);
    const life = new Date(expiresAt) - Date.now();
    if (typeof this.#source !== "function" || !(life > 0)) return; // if our clock is wrong, 4401 tells
    const wait = life > 60_000 ? life - 30_000 : Math.max(1_000, life / 2);
    link.renewal = setTimeout(() => this.#renew(link), Math.min(wait, 2 ** 31 - 1));
  }

  async #renew(link) {
    if (!link.send) return link.drop(AGAIN);
    try {
      link.send({ type: "authenticate", token: await this.#newToken() });
    } catch (error) {
      this.#raise(error);
    }
  }

  #newToken() {
    this.#asking ??= this.#askToken().finally(() => (this.#asking = null));
    return this.#asking;
  }

  async #askToken() {
    const source = this.#source;
    const token = await new Promise((resolve) => resolve(typeof source === "function" ? source() : source)).catch(
      (error) => Promise.reject(new InboxError("token", String(error))),
    );
    const user = subjectOf(token);
    if (this.#user !== undefined && this.#user !== user)
      throw new InboxError("other_person", "The token is another person's, who needs an Inbox of their own.");
    if (this.#user === undefined && this.#persistent && user !== null)
      this.#outbox.belongTo(`carillon ${this.#base} ${user} `);
    this.#user = user;
    this.#announce();
    return (this.#token = token);
  }

  // HTTP

  async #http(method, path, body) {
    let response = await this.#call(method, path, body, this.#token ?? (await this.#newToken()));
    if (response.status === 401) response = await this.#call(method, path, body, await this.#newToken());
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const code = answer.code ?? `http_${response.status}`;
    throw new InboxError(code, answer.detail ?? response.statusText, response.status, answer.errors);
  }

  #call(method, path, body, token) {
    const headers = { Accept: "application/json", Authorization: `Bearer ${token}` };
    if (body) headers["Content-Type"] = "application/json";
    const options = { method, headers, body: body && JSON.stringify(body), credentials: "omit" };
    return this.#fetch(this.#base + path, options).catch((error) => {
      throw new InboxError("network", error.message);
    });
  }

  // Events

  #become(status, code) {
    if (status === this.#status) return;
    this.#status = status;
    this.#announce();
    this.#emit("status", code === undefined ? { status } : { status, code });
  }

  #count(counts) {
    if (this.#counts && counts.head <= this.#counts.head) return;
    this.#counts = { head: counts.head, unread: counts.unread, unseen: counts.unseen };
    this.#emit("counts", this.#counts);
  }

  #announce() {
    if (this.#status === "live" && !this.#waiting) return;
    const waiting = this.#outbox.size;
    if (waiting === this.#waiting) return;
    this.#waiting = waiting;
    this.#emit("queued", { waiting });
  }

  #raise({ code = "internal", message, status = null }) {
    this.#emit("error", { code, detail: message, status });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

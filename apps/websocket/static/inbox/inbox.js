/** A person's inbox: docs/inbox-client.md. */

const MOST_IDS = 400; // that fit into 16 KiB
const MOST_WAITING = 1000;
const BUNDLE = 250; // ms, as the next four
const ANSWER = 10_000;
const COMMIT = 30_000;
const LATER = 5_000;
const STEADY = 5_000;
const LOST = 1006; // close codes
const AGAIN = 4000;
const NO_TOKEN = 4001;
const UNAUTHORIZED = 4401;
const FINAL = { 4400: "bad_messages", 4403: "forbidden" };

export class InboxError extends Error {
  constructor(code, detail, status = null, errors = []) {
    super(detail || code);
    Object.assign(this, { name: "InboxError", code, status, errors });
  }
}

const isTemporary = ({ code, status }) =>
  /^(network|token|other_person|unavailable)$/.test(code) || /^(401|429|5..)$/.test(status);

function attempt(work) {
  try {
    return work();
  } catch {
    return null;
  }
}

/** Whose token it is, or null. */
const personOf = (token) =>
  attempt(() => JSON.parse(atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"))).sub);

function changesOf(type, which, more) {
  if (which?.upTo !== undefined) return [{ type, up_to: which.upTo, ...more }];
  const ids = [].concat(which);
  const changes = [];
  while (ids.length) changes.push({ type, ids: ids.splice(0, MOST_IDS), ...more });
  return changes;
}

/** Both changes as one, or undefined. */
function merged(a, b) {
  if (!a.ids || !b.ids || a.type !== b.type || a.until !== b.until) return;
  const ids = [...new Set([...a.ids, ...b.ids])];
  if (ids.length <= MOST_IDS) return { ...a, ids };
}

/** Changes not yet answered. Each has its own key: tabs do not overwrite each other's. */
class Outbox {
  #storage;
  #prefix;
  #own = new Map(); // this page's; `change` is null once the storage has it
  #tab = Math.random().toString(36).slice(2);
  #last = 0;

  /** Until then they are in memory. */
  keepIn(storage, prefix) {
    this.#storage = storage;
    this.#prefix = prefix;
    for (const [key, entry] of this.#own) this.#store(key, entry);
  }

  add(change) {
    return new Promise((resolve, reject) => {
      if (this.keys().length >= MOST_WAITING) throw new InboxError("queue_full");
      this.#last = Math.max(Date.now(), this.#last + 1);
      const key = `${this.#last}-${this.#tab}`;
      const entry = { change, resolve, reject };
      this.#own.set(key, entry);
      this.#store(key, entry);
    });
  }

  #store(key, entry) {
    if (!this.#storage || !entry.change) return;
    attempt(() => {
      this.#storage.setItem(this.#prefix + key, JSON.stringify(entry.change)); // unless it is full
      entry.change = null;
    });
  }

  /** Of every tab, in order. */
  keys() {
    const keys = [...this.#own.keys()].filter((key) => this.#own.get(key).change);
    for (let at = 0; at < this.#storage?.length; at += 1) {
      const key = this.#storage.key(at);
      if (key.startsWith(this.#prefix)) keys.push(key.slice(this.#prefix.length));
    }
    return keys.sort();
  }

  /** The oldest that fit into one message: { keys, change }. */
  next(alone) {
    let next;
    for (const key of this.keys()) {
      const change = this.#own.get(key)?.change ?? JSON.parse(this.#storage.getItem(this.#prefix + key));
      if (!change) continue;
      const both = next ? merged(next.change, change) : change;
      if (!both || (next && alone)) break;
      next = { keys: [...(next?.keys ?? []), key], change: both };
    }
    return next;
  }

  settle(keys, how, outcome) {
    for (const key of keys) {
      this.#storage?.removeItem(this.#prefix + key);
      this.#own.get(key)?.[how](outcome);
      this.#own.delete(key);
    }
  }

  /** One tab at a time. Before its turn, those of ours are settled that another tab has sent. */
  async inTurn(work) {
    const locks = this.#storage && globalThis.navigator?.locks; // in secure contexts
    const turn = () => {
      const kept = new Set(this.keys());
      this.settle([...this.#own.keys()].filter((key) => !kept.has(key)), "resolve", { changed: 0 });
      return work();
    };
    return locks ? locks.request(this.#prefix, turn) : turn();
  }
}

export class Inbox extends EventTarget {
  #options;
  #status = "closed";
  #counts = null;
  #life = null; // from connect() to close()
  #link = null; // the connection
  #wake = () => {};
  #token = null; // a promise
  #person;
  #last = null; // we have all up to this number
  #missed;
  #within = 0; // seconds
  #silence = 45_000;

  #outbox = new Outbox();
  #timer = null;
  #sending = false;
  #more = false;
  #waiting = 0; // as told
  #refs = 0;
  #pace = 0;

  constructor(options) {
    super();
    const { location } = globalThis;
    const url = new URL(options.url ?? location.origin, location?.href).href.replace(/\/$/, "");
    const {
      socketUrl = `${url.replace(/^http/, "ws")}/ws/notifications/`,
      streamUrl = new URL("/api/inbox/stream/", socketUrl.replace(/^ws/, "http")).href,
      storage = attempt(() => globalThis.localStorage),
      fetch = (...call) => globalThis.fetch(...call),
      WebSocket = globalThis.WebSocket,
    } = options;
    this.#options = { url, socketUrl, streamUrl, token: options.token, storage, fetch, WebSocket };
  }

  get status() { return this.#status; }
  get counts() { return this.#counts; }

  connect() {
    if (this.#life) return this.#hurry();
    this.#life = new AbortController();
    const { signal } = this.#life;
    const visible = () => document.hidden || this.#hurry();
    globalThis.addEventListener?.("online", () => this.#hurry(), { signal });
    globalThis.addEventListener?.("offline", () => this.#link?.end(), { signal });
    globalThis.document?.addEventListener("visibilitychange", visible, { signal });
    this.#become("connecting");
    this.#run(signal);
  }

  close() { this.#stop(); }

  async list({ pageSize, ...filters } = {}) {
    const asked = Object.entries({ ...filters, page_size: pageSize }).filter(([, value]) => value != null);
    const path = `inbox/?${new URLSearchParams(asked)}`;
    const { items, page_info: pageInfo, counts } = await this.#http("GET", path);
    if (this.#last === null || counts.head < this.#last) this.#goOnFrom(counts.head); // it may be older
    this.#count(counts);
    return { items, pageInfo, counts };
  }

  item(id) { return this.#http("GET", `inbox/${id}/`); }
  preferences() { return this.#http("GET", "preferences/"); }
  setPreferences(body) { return this.#http("PATCH", "preferences/", body); }

  read(which) { return this.#change(changesOf("read", which), BUNDLE); }
  unread(which) { return this.#change(changesOf("unread", which)); }
  seen(which) { return this.#change(changesOf("seen", which), BUNDLE); }
  archive(which) { return this.#change(changesOf("archive", which)); }
  unarchive(which) { return this.#change(changesOf("unarchive", which)); }
  snooze(which, until) { return this.#change(changesOf("snooze", which, { until: until.toISOString() })); }
  unsnooze(which) { return this.#change(changesOf("unsnooze", which)); }
  act(id, action) { return this.#change([{ type: "act", id, action }]); }

  #change(changes, within = 0) {
    const all = Promise.all(changes.map((change) => this.#outbox.add(change))).then((done) => ({
      changed: done.reduce((sum, { changed }) => sum + changed, 0),
      counts: this.#counts,
    }));
    all.catch((error) => error.code === "queue_full" && this.#raise(error));
    this.#announce();
    this.#sendIn(within);
    return all;
  }

  #sendIn(ms) {
    if (ms && this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#send();
    }, ms);
  }

  async #send() {
    this.#more = true;
    if (this.#sending) return;
    this.#sending = true;
    while (this.#more) {
      this.#more = false;
      await this.#outbox.inTurn(() => this.#sendAll()).catch((error) => this.#raise(error));
    }
    this.#sending = false;
    this.#announce();
  }

  async #sendAll() {
    let alone = 0; // so many, since one of them is refused
    for (let next; this.#status === "live" && (next = this.#outbox.next(alone > 0)); this.#announce()) {
      alone -= 1;
      try {
        const done = await this.#commit(next.change);
        this.#count(done.counts);
        this.#outbox.settle(next.keys, "resolve", done);
      } catch (error) {
        if (isTemporary(error)) return this.#sendIn(LATER);
        if (next.keys.length > 1) alone = next.keys.length;
        else {
          this.#outbox.settle(next.keys, "reject", error);
          this.#raise(error);
        }
      }
    }
  }

  async #commit({ type, ...rest }) {
    // 40 at once and 4 a second: the server allows a little more.
    this.#pace = Math.max(this.#pace, Date.now() - 10_000) + 250;
    await new Promise((resolve) => setTimeout(resolve, this.#pace - Date.now()));
    const link = this.#link;
    if (!link?.ready || !link.send) {
      if (type !== "act") return this.#http("POST", `inbox/${type}/`, rest);
      return this.#http("POST", `inbox/${rest.id}/actions/${encodeURIComponent(rest.action)}/`);
    }
    return new Promise((resolve, reject) => {
      const ref = String((this.#refs += 1));
      link.unanswered.set(ref, { resolve, reject, late: setTimeout(() => link.end(), COMMIT) });
      link.send({ type, ...rest, ref });
    });
  }

  // The connection

  async #run(signal) {
    let tries = 0;
    let denied = 0;
    let refused = 0; // so often the socket did not open
    while (!signal.aborted) {
      const streaming = !this.#options.WebSocket || refused > 1;
      const began = Date.now();
      const { code, ready } = await this.#session(streaming, signal);
      if (signal.aborted) return;
      if (FINAL[code]) return this.#stop(code);
      const steady = ready && Date.now() - began > STEADY;
      if (steady) tries = denied = 0;
      if (code === UNAUTHORIZED) denied += 1;
      refused = streaming ? 1 : ready || code >= 4000 ? 0 : refused + 1;
      if (code === AGAIN || (code === UNAUTHORIZED && denied === 1) || refused > 1) continue;
      this.#become(denied > 1 ? "unauthorized" : "offline", code);
      const pause = denied > 1 ? Math.min(300, 15 * 2 ** denied) : steady ? 0 : Math.min(30, 2 ** tries++);
      const wait = (ready ? Math.random() * this.#within : 0) + pause * (0.5 + Math.random() / 2);
      await new Promise((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, wait * 1000);
      });
    }
  }

  #stop(code) {
    this.#life?.abort();
    this.#life = null;
    this.#link?.end();
    this.#wake();
    this.#become("closed", code);
    if (code) this.#raise(new InboxError(FINAL[code], "", code));
  }

  #hurry() {
    this.#wake();
    if (this.#link?.ready && this.#link.send) this.#probe(this.#link);
  }

  /** One connection, to its end. */
  async #session(streaming, signal) {
    const link = { ready: false, asked: null, unanswered: new Map() };
    const ended = new Promise((resolve) => {
      link.end = (code = LOST) => {
        resolve(code);
        link.cut?.();
      };
    });
    const token = await this.#newToken().catch((error) => signal.aborted || this.#raise(error));
    if (signal.aborted || !token) return { code: NO_TOKEN };
    this.#link = link;
    link.silence = setTimeout(link.end, ANSWER);
    (streaming ? this.#openStream(link, token) : this.#openSocket(link, token)).catch(() => link.end());
    const code = await ended;
    if (this.#link === link) this.#link = null;
    clearTimeout(link.silence);
    clearTimeout(link.renewal);
    const lost = new InboxError("unavailable");
    for (const ref of link.unanswered.keys()) this.#answer(link, ref, "reject", lost);
    return { code, ready: link.ready };
  }

  async #openSocket(link, token) {
    const socket = new this.#options.WebSocket(this.#options.socketUrl);
    link.cut = () => socket.close();
    link.send = (message) => socket.send(JSON.stringify(message));
    socket.onopen = () => link.send({ type: "authenticate", token, since: (link.since = this.#last) });
    socket.onmessage = ({ data }) => this.#take(link, JSON.parse(data));
    socket.onclose = ({ code }) => link.end(code);
  }

  /** EventSource sends no Authorization. `data` is one line. */
  async #openStream(link, token) {
    const abort = new AbortController();
    link.cut = () => abort.abort();
    const headers = { Authorization: `Bearer ${token}` };
    link.since = this.#last;
    if (link.since !== null) headers["Last-Event-ID"] = String(link.since);
    const { fetch, streamUrl } = this.#options;
    const options = { headers, signal: abort.signal, credentials: "omit" };
    const { ok, status, body } = await fetch(streamUrl, options);
    if (!ok) return link.end([400, 401, 403].includes(status) ? 4000 + status : LOST);
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = "", chunk; !(chunk = await reader.read()).done; ) {
      const events = (text + chunk.value).split("\n\n");
      text = events.pop();
      for (const event of events) {
        const data = /^data: (.*)/m.exec(event);
        if (data) this.#take(link, JSON.parse(data[1]));
      }
    }
    link.end();
  }

  #take(link, frame) {
    if (link !== this.#link) return;
    const { type, ref, counts } = frame;
    clearTimeout(link.silence);
    link.silence = setTimeout(() => this.#probe(link), this.#silence);
    this.#within = frame.reconnect_within ?? this.#within;
    if (counts) this.#count(counts);
    if (type === "hello") this.#greet(link, frame);
    else if (type === "authenticated") this.#renewBefore(link, frame.expires_at);
    else if (type === "subscribed" && frame.since === link.asked) link.asked = null;
    else if (type === "heartbeat") this.#beat(link, frame.head);
    else if (type === "ack") this.#answer(link, ref, "resolve", frame);
    else if (type === "resync" || frame.code === "since_ahead") this.#restart(link, counts);
    else if (type === "error") this.#answer(link, ref, "reject", new InboxError(frame.code, frame.detail));
    else if (type === "close") link.end(frame.code);
    else if (frame.item && link.asked === null && frame.sequence > this.#last) this.#move(link, frame);
  }

  #greet(link, { head, expires_at: expiresAt }) {
    link.ready = true;
    link.head = head;
    this.#last ??= link.since = head;
    if (this.#last !== link.since) this.#goOnFrom(this.#last); // of a list
    this.#renewBefore(link, expiresAt);
    this.#become("live");
    this.#send();
  }

  #move(link, { type, sequence, item }) {
    this.#last = sequence;
    const live = sequence > link.head;
    this.#emit(type, { notification: { item, live }, changed: { item }, recalled: { id: item.id } }[type]);
  }

  /** All up to `head` was sent. */
  #beat(link, head) {
    const now = Date.now();
    if (link.beat) this.#silence = Math.max(5_000, 2 * (now - link.beat));
    link.beat = now;
    if (link.asked !== null || head <= this.#last) return;
    if (this.#missed === this.#last) this.#last = head; // there is nothing
    else this.#goOnFrom((this.#missed = this.#last));
  }

  #goOnFrom(head) {
    const link = this.#link;
    const before = this.#last;
    this.#last = head;
    if (!link?.ready) return;
    link.head = Math.max(link.head, before);
    link.asked = head; // what comes before `subscribed` comes again
    if (link.send) link.send({ type: "subscribe", since: head });
    else link.end(AGAIN);
  }

  #restart(link, counts) {
    link.asked = null;
    this.#last = counts.head;
    this.#counts = null;
    this.#count(counts);
    this.#emit("resync", counts);
  }

  #answer(link, ref, how, outcome) {
    const waiting = link.unanswered.get(ref);
    link.unanswered.delete(ref);
    clearTimeout(waiting?.late);
    if (waiting) waiting[how](outcome);
    else if (how === "reject") this.#raise(outcome);
  }

  /** If it does not answer, it is gone. */
  #probe(link) {
    clearTimeout(link.silence);
    link.send?.({ type: "ping" });
    link.silence = setTimeout(link.end, ANSWER);
  }

  // The token

  #renewBefore(link, expiresAt) {
    clearTimeout(link.renewal);
    const life = new Date(expiresAt) - Date.now(); // or 4401 tells
    if (typeof this.#options.token !== "function" || !(life > 0)) return;
    const wait = life > 60_000 ? life - 30_000 : Math.max(1_000, life / 2);
    link.renewal = setTimeout(async () => {
      if (!link.send) return link.end(AGAIN);
      const token = await this.#newToken().catch((error) => this.#raise(error));
      if (token) link.send({ type: "authenticate", token });
    }, Math.min(wait, 2 ** 31 - 1));
  }

  #newToken() {
    this.#token = this.#askToken();
    this.#token.catch(() => (this.#token = null));
    return this.#token;
  }

  async #askToken() {
    let { token, storage, url } = this.#options;
    try {
      if (typeof token === "function") token = await token();
      if (!token) throw new Error("There is none.");
    } catch (error) {
      throw new InboxError("token", String(error));
    }
    const person = personOf(token);
    this.#person ??= person;
    if (this.#person !== person) throw new InboxError("other_person");
    if (person && storage) this.#outbox.keepIn(storage, `carillon ${url} ${person} `);
    this.#announce();
    return token;
  }

  // HTTP

  async #http(method, path, body) {
    let answer = await this.#call(method, path, body, this.#token ?? this.#newToken());
    if (answer.status === 401) answer = await this.#call(method, path, body, this.#newToken());
    const document = await answer.json().catch(() => null);
    if (answer.ok && document) return document;
    const { code = answer.ok ? "network" : `http_${answer.status}`, detail, errors } = document ?? {};
    throw new InboxError(code, detail, answer.status, errors);
  }

  async #call(method, path, body, token) {
    const headers = { Authorization: `Bearer ${await token}` };
    if (body) headers["Content-Type"] = "application/json";
    const signal = AbortSignal.timeout(COMMIT);
    const options = { method, headers, body: JSON.stringify(body), signal, credentials: "omit" };
    const { fetch, url } = this.#options;
    return fetch(`${url}/api/${path}`, options).catch(({ message }) => {
      throw new InboxError("network", message);
    });
  }

  #become(status, code) {
    if (status === this.#status) return;
    this.#status = status;
    this.#announce();
    this.#emit("status", { status, code });
  }

  #count(counts) {
    if (this.#counts && counts.head <= this.#counts.head) return;
    this.#counts = counts;
    this.#emit("counts", counts);
  }

  #announce() {
    if (this.#status === "live" && !this.#waiting) return;
    const waiting = this.#outbox.keys().length;
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

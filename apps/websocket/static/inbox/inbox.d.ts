/** A headless client of a person's inbox: docs/inbox-client.md. */

/** How many items are unread and unseen, neither archived nor snoozed, as of the number `head`. */
export interface Counts {
  head: number;
  unread: number;
  unseen: number;
}

/** A button of an item. `link` is an address, a path, or empty. */
export interface Action {
  id: string;
  label: string;
  link: string;
}

/** What its person has done with an item. Times are RFC 3339. */
export interface ItemState {
  id: string;
  /** The number it came with: its place in the list. */
  sequence: number;
  seen_at: string | null;
  read_at: string | null;
  archived_at: string | null;
  snoozed_until: string | null;
  /** The id of the button that was pressed. */
  action: string | null;
  acted_at: string | null;
}

/** An item of the inbox. `link` and `avatar` are an address, a path of yours, or empty. */
export interface Item extends ItemState {
  notification_id: string;
  type: string;
  title: string;
  body: string;
  link: string;
  avatar: string;
  actions: Action[];
  created_at: string;
}

/** Cursors to the neighbouring pages. null: there is none. */
export interface PageInfo {
  after: string | null;
  before: string | null;
  page_size: number;
}

export interface Page {
  /** Newest first. */
  items: Item[];
  pageInfo: PageInfo;
  counts: Counts;
}

/** Without any: what is neither archived nor snoozed. `unread: false`: only what is read. */
export interface Filters {
  unread?: boolean | null;
  archived?: boolean | null;
  snoozed?: boolean | null;
  type?: string | null;
  /** Only what has come or changed after this number. */
  since?: number | null;
  /** The page after this cursor, from `pageInfo`. */
  after?: string | null;
  pageSize?: number | null;
}

/** One item's id, several, or all in the inbox that came with a number up to this. */
export type Which = string | readonly string[] | { upTo: number };

export interface Changed {
  /** To how many items the message made a difference that this change went out with. */
  changed: number;
  counts: Counts | null;
}

/**
 * - `closed`: before `connect()`, after `close()`, or refused for good
 * - `connecting`: the first attempt
 * - `live`: what happens comes at once
 * - `offline`: it was lost or could not be made, and is tried again
 * - `unauthorized`: a new token was refused, too; it is tried again, slowly
 */
export type Status = "closed" | "connecting" | "live" | "offline" | "unauthorized";

export interface FieldError {
  field: string;
  code: string;
  detail: string;
}

/** What a call or a change failed with. */
export class InboxError extends Error {
  constructor(code: string, detail?: string, status?: number | null, errors?: FieldError[]);
  /** Of the protocol, of the API, or `network`, `token`, `other_person`, `queue_full`, `http_<status>`. */
  readonly code: string;
  /** HTTP's, or a close code. */
  readonly status: number | null;
  /** Every bad field of a 400. */
  readonly errors: FieldError[];
}

export interface InboxOptions {
  /** The API. Else: the page's origin. */
  url?: string;
  /** Else `/ws/notifications/` below `url`. */
  socketUrl?: string;
  /** Else `/api/inbox/stream/` at the origin of `socketUrl`. */
  streamUrl?: string;
  /** A person's token, or what gets one: asked anew for each connection, and before the token expires. */
  token: string | (() => string | Promise<string>);
  /** Where changes wait. Else localStorage; null: in memory. */
  storage?: Storage | null;
  fetch?: typeof globalThis.fetch;
  /** null: server-sent events. */
  WebSocket?: typeof globalThis.WebSocket | null;
}

export interface InboxEvents {
  status: { status: Status; code?: number };
  counts: Counts;
  /** An item that the page does not have. `live`: it came after the connection was made. */
  notification: { item: Item; live: boolean };
  changed: { item: ItemState };
  /** Take it away. */
  recalled: { id: string };
  /** Too much was missed: read the list anew. */
  resync: Counts;
  /** How many changes wait to be sent, of all tabs. */
  queued: { waiting: number };
  error: { code: string; detail: string; status: number | null };
}

type Listener<Detail> =
  | ((event: CustomEvent<Detail>) => void)
  | { handleEvent(event: CustomEvent<Detail>): void };

export class Inbox extends EventTarget {
  constructor(options: InboxOptions);

  readonly status: Status;
  /** null before the first. */
  readonly counts: Counts | null;

  /** Does nothing if it is connected; if it waits for the next attempt, that is now. */
  connect(): void;
  /** What waits stays for the next `connect()`. */
  close(): void;

  list(filters?: Filters): Promise<Page>;
  item(id: string): Promise<Item>;

  read(which: Which): Promise<Changed>;
  unread(which: Which): Promise<Changed>;
  seen(which: Which): Promise<Changed>;
  archive(which: Which): Promise<Changed>;
  unarchive(which: Which): Promise<Changed>;
  snooze(which: Which, until: Date): Promise<Changed>;
  unsnooze(which: Which): Promise<Changed>;
  /** Press a button of an item. The first that is pressed counts. */
  act(id: string, action: string): Promise<Changed>;

  /** As `GET /api/preferences/` answers: docs/preferences.md. */
  preferences(): Promise<Record<string, unknown>>;
  /** As `PATCH /api/preferences/` takes them. */
  setPreferences(body: Record<string, unknown>): Promise<Record<string, unknown>>;

  addEventListener<Type extends keyof InboxEvents>(
    type: Type,
    listener: Listener<InboxEvents[Type]> | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
  removeEventListener<Type extends keyof InboxEvents>(
    type: Type,
    listener: Listener<InboxEvents[Type]> | null,
    options?: boolean | EventListenerOptions,
  ): void;
}

import type { Action, Inbox, Item } from "./inbox.js";

export interface CarillonInboxEvents {
  /** The panel has opened. */
  "carillon-open": CustomEvent<undefined>;
  "carillon-close": CustomEvent<undefined>;
  /** An item or a toast was clicked. Cancelable: the link is not followed then. */
  "carillon-item": CustomEvent<{ item: Item }>;
  /** A button was pressed. Cancelable: its link is not followed once the press is recorded. */
  "carillon-action": CustomEvent<{ item: Item; action: Action }>;
}

/** `<carillon-inbox>`: docs/inbox-component.md. */
export class CarillonInbox extends HTMLElement {
  /** A person's token, or what gets one. To set it connects; null disconnects. */
  token: string | (() => Promise<string>) | null;
  /** An Inbox of your own in place of the one made of `url`, `socket-url` and `token`. */
  inbox: Inbox | null;
  /** Texts in place of those of carillon-inbox.words.js, by their keys. */
  words: Record<string, string>;
  /** Whether the panel is open. */
  readonly opened: boolean;
  /** Open the panel. Its code is loaded the first time; rejected if that fails. */
  open(): Promise<void>;
  close(): void;
  addEventListener<Name extends keyof CarillonInboxEvents>(
    type: Name,
    listener: (event: CarillonInboxEvents[Name]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "carillon-inbox": CarillonInbox;
  }
}

// An inbox with inbox.js alone. What it does to `items` an app does to its state, and draws it as it does.

import { Inbox } from "./inbox.js";

const byId = (id) => document.getElementById(id);
const items = new Map(); // by id
let inbox = null;
let after = null; // the cursor of the next page

function connect(event) {
  event.preventDefault();
  inbox?.close();
  items.clear();
  const given = [...new FormData(event.target)].filter(([, value]) => value);
  inbox = new Inbox(Object.fromEntries(given)); // in a product: token: async () => …, which asks your server
  listen();
  inbox.connect();
  load();
}

function listen() {
  const on = (type, listener) => inbox.addEventListener(type, ({ detail }) => listener(detail));
  on("status", ({ status }) => (byId("status").value = status));
  on("counts", ({ unread }) => (byId("unread").value = unread));
  on("queued", ({ waiting }) => (byId("waiting").value = waiting));
  on("error", ({ code, detail }) => (byId("error").value = `${code}: ${detail}`));
  on("notification", ({ item }) => keep([item]));
  on("changed", ({ item }) => items.has(item.id) && keep([{ ...items.get(item.id), ...item }]));
  on("recalled", ({ id }) => items.delete(id) && draw());
  on("resync", () => {
    items.clear();
    load();
  });
}

/** The first page; with a cursor the one after it. */
async function load(cursor = null) {
  try {
    const page = await inbox.list({ pageSize: 20, after: cursor });
    after = page.pageInfo.after;
    keep(page.items);
  } catch (error) {
    byId("error").value = `${error.code}: ${error.message}`;
  }
}

function keep(some) {
  for (const item of some) items.set(item.id, item);
  draw();
}

function draw() {
  const shown = [...items.values()].filter((item) => !item.archived_at && !item.snoozed_until);
  shown.sort((a, b) => b.sequence - a.sequence);
  byId("items").replaceChildren(...shown.map(row));
  byId("all").disabled = !shown.length;
  byId("more").hidden = !after;
}

function row(item) {
  const title = document.createElement(item.read_at ? "span" : "strong");
  title.textContent = item.title;
  const line = document.createElement("li");
  line.append(title, ` ${item.body} `);
  if (!item.read_at) line.append(button("Mark as read", () => inbox.read(item.id)));
  line.append(button("Archive", () => inbox.archive(item.id)));
  for (const { id, label } of item.action ? [] : item.actions) {
    line.append(button(label, () => inbox.act(item.id, id)));
  }
  return line;
}

function button(label, press) {
  const made = document.createElement("button");
  made.textContent = label;
  made.addEventListener("click", press);
  return made;
}

byId("places").addEventListener("submit", connect);
byId("all").addEventListener("click", () => inbox.read({ upTo: inbox.counts.head }));
byId("more").addEventListener("click", () => load(after));

// Everything that arrived is put in with textContent; a mail's HTML only into a frame without any right.
"use strict";

const POLL = 1500; // milliseconds
const MOST = 500;
const element = (id) => document.getElementById(id);
const list = element("messages");
const state = { after: 0, channel: "", address: "", asked: 0 };

function row(message) {
  const item = element("row").content.cloneNode(true).firstElementChild;
  const fill = (selector, text) => { item.querySelector(selector).textContent = text; };
  const at = new Date(message.at * 1000);
  fill("time", at.toLocaleTimeString());
  item.querySelector("time").dateTime = at.toISOString();
  fill(".channel", message.channel);
  item.querySelector(".channel").dataset.channel = message.channel;
  fill(".address", message.address);
  fill(".subject", message.subject || message.text);
  item.querySelector("details").addEventListener("toggle", () => open(item, message), { once: true });
  return item;
}

function open(item, message) {
  const facts = item.querySelector("dl");
  for (const name of ["provider", "address", "subject", "target", "attempt", "id", "seq"]) {
    if (message[name]) {
      facts.append(made("dt", name), made("dd", String(message[name])));
    }
  }
  const way = /^<(https?:[^>]+)>$/.exec(message.headers?.["List-Unsubscribe"] ?? "");
  if (way && message.headers["List-Unsubscribe-Post"]) item.querySelector("dl").after(unsubscribe(way[1], message.headers["List-Unsubscribe-Post"]));
  const bodies = item.querySelector(".bodies");
  if (message.html) {
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "");
    frame.title = "The mail as HTML";
    frame.srcdoc = message.html;
    bodies.append(frame);
  }
  if (message.text) {
    bodies.append(made("pre", message.text));
  }
}

// What a mail client does (RFC 8058); the answer is shown in a new tab.
function unsubscribe(url, post) {
  const form = document.createElement("form");
  Object.assign(form, { method: "post", action: url, target: "_blank", rel: "noopener noreferrer", className: "unsubscribe" });
  const [name, value] = post.split("=");
  const field = document.createElement("input");
  Object.assign(field, { type: "hidden", name, value });
  form.append(field, made("button", "Unsubscribe"));
  return form;
}

function made(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function showChannels(counts) {
  const known = new Set([...element("channels").querySelectorAll("input")].map((input) => input.value));
  for (const channel of ["", ...Object.keys(counts).sort()]) {
    if (known.has(channel)) continue;
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "channel", value: channel, checked: channel === state.channel });
    label.append(input, channel || "All");
    element("channels").append(label);
  }
}

async function refresh() {
  const asked = ++state.asked;
  const query = new URLSearchParams({ after: state.after, channel: state.channel, address: state.address });
  try {
    const found = await (await fetch(`/messages?${query}`)).json();
    if (asked !== state.asked) return; // the filter changed meanwhile
    show(found);
  } catch {
    element("summary").textContent = "The simulator does not answer";
    element("summary").classList.add("stale");
  }
}

function show(found) {
  if (found.accepted < state.after) return restart(); // another ledger
  showChannels(found.channels);
  list.prepend(...found.messages.map(row));
  while (list.childElementCount > MOST) list.lastElementChild.remove();
  state.after = found.accepted;
  element("summary").classList.remove("stale");
  element("summary").textContent = `${found.accepted.toLocaleString()} accepted`;
  element("empty").hidden = list.childElementCount > 0;
  element("empty").textContent = found.accepted
    ? "No recent message matches." : "Nothing has been accepted yet. Messages appear here as they arrive.";
}

function restart() {
  list.replaceChildren();
  state.after = 0;
  return refresh();
}

element("filters").addEventListener("submit", (event) => event.preventDefault());
element("channels").addEventListener("change", (event) => { state.channel = event.target.value; restart(); });
element("address").addEventListener("input", (event) => { state.address = event.target.value; restart(); });
setInterval(() => { if (!document.hidden) refresh(); }, POLL);
refresh();

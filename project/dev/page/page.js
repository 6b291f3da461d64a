// A product's page. What Carillon needs of it is in `showInbox`; the rest plays the product.

const byId = (id) => document.getElementById(id);
const address = new URL(location.href);
const places = await (await fetch("/places")).json();
const person = address.searchParams.get("as") ?? places.people[0];

async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, body: await answer.json() };
}

async function showInbox() {
  await import(`${places.api}/static/inbox/carillon-inbox.js`);
  const inbox = document.createElement("carillon-inbox");
  inbox.setAttribute("url", places.api);
  inbox.setAttribute("socket-url", places.socket);
  inbox.token = async () => (await post("/token", { person })).body.token;
  byId("inbox").replaceWith(inbox);
  byId("theme").addEventListener("change", ({ target }) => inbox.setAttribute("theme", target.value));
}

const CONTENTS = {
  words: (form) => ({ title: form.get("title"), body: form.get("body") }),
  approval: () => ({
    template: "approval-wanted",
    payload: { who: "Grace Hopper", what: "two new keyboards", sum: "€ 248.00" },
  }),
  order: () => ({ template: "order-shipped", payload: { order: "A-1001", day: "Tuesday" } }),
};

async function send(event) {
  event.preventDefault();
  const form = new FormData(event.target);
  const wanted = {
    ...CONTENTS[form.get("what")](form),
    targets: form.getAll("to"),
    channels: ["in_app"],
    priority: form.get("priority"),
  };
  for (let left = Number(event.submitter?.value || 1); left > 0; left -= 1) {
    show(wanted, await post("/send", wanted));
  }
}

function show(wanted, answer) {
  const told = [`POST /api/notifications/ → ${answer.status}`, "", JSON.stringify(answer.body, null, 2)];
  byId("answer").textContent = told.join("\n");
}

function choosePeople() {
  for (const name of new Set([...places.people, person])) {
    const label = name[0].toUpperCase() + name.slice(1);
    byId("person").append(new Option(label, name, name === person, name === person));
    const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "to", value: name });
    box.checked = name === person;
    const choice = document.createElement("label");
    choice.append(box, ` ${label}`);
    byId("to").append(choice);
  }
  byId("person").addEventListener("change", ({ target }) => {
    address.searchParams.set("as", target.value);
    location.assign(address);
  });
}

function chooseLanguage() {
  const choice = byId("language");
  choice.value = address.searchParams.get("lang") ?? "en";
  document.documentElement.lang = choice.value;
  document.documentElement.dir = choice.value === "ar" ? "rtl" : "ltr";
  choice.addEventListener("change", () => {
    address.searchParams.set("lang", choice.value);
    location.assign(address);
  });
}

function link(text, to) {
  return Object.assign(document.createElement("a"), { textContent: text, href: to });
}

choosePeople();
chooseLanguage();
byId("send").addEventListener("submit", send);
byId("send").addEventListener("change", ({ target }) => {
  if (target.name === "what") byId("words").hidden = target.value !== "words";
});
byId("theme").addEventListener("change", ({ target }) => (document.documentElement.dataset.theme = target.value));
byId("links").append(
  link("The API, to try", `${places.api}/api/docs/`), " · ", link("The admin", `${places.api}/admin/`),
);
await showInbox();

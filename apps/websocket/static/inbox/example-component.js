// A page with <carillon-inbox>. In a product the token is a function that asks your own server for one.

import "./carillon-inbox.js";

const inbox = document.querySelector("carillon-inbox");
const form = document.querySelector("form");
const output = document.querySelector("output");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const { token, socket } = form.elements;
  if (socket.value) inbox.setAttribute("socket-url", socket.value);
  inbox.token = token.value.trim();
});

form.theme.addEventListener("change", ({ target }) => inbox.setAttribute("theme", target.value));
form.elements.lang.addEventListener("change", ({ target }) => inbox.setAttribute("lang", target.value));

// An application that routes its pages itself takes the links over.
inbox.addEventListener("carillon-item", (event) => {
  event.preventDefault();
  output.textContent = `Item: ${event.detail.item.title}`;
});
inbox.addEventListener("carillon-action", ({ detail }) => {
  output.textContent = `Action: ${detail.action.id}`;
});

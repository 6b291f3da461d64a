// What the scenarios share. Everything comes from the environment, so that they run against any installation:
//
//   BASE_URL     where its API is; http://127.0.0.1:8000 if left out
//   API_KEY      a service's key with the scopes notifications:write and users:write
//   CONNECTIONS  how many are kept busy, each with one request at a time
//   SECONDS      for how long
//
// They make 1,000 people ("load-0", "load-1" ...) with addresses at example.com and SEND to them what the channels
// carry: point an installation at a simulator first. No part of k6 calls home with --no-usage-report.
import http from "k6/http";

const PEOPLE = 1000;
const base = __ENV.BASE_URL || "http://127.0.0.1:8000";
const headers = { Authorization: `Bearer ${__ENV.API_KEY}`, "Content-Type": "application/json" };

export function optionsFor(connections, seconds) {
  return {
    vus: Number(__ENV.CONNECTIONS || connections),
    duration: `${__ENV.SECONDS || seconds}s`,
    discardResponseBodies: true,
    systemTags: ["status"],
    summaryTrendStats: ["avg", "med", "p(95)", "p(99)", "max"],
    thresholds: { http_req_failed: ["rate==0"] },
  };
}

// Runs once: the ids of people to send to, and a name that no other run has.
export function prepare() {
  const users = Array.from({ length: PEOPLE }, (_, n) => ({
    external_id: `load-${n}`,
    name: `Person ${n}`,
    email: `load-${n}@example.com`,
  }));
  const answer = http.put(`${base}/api/users/`, JSON.stringify({ users }), { headers, responseType: "text" });
  if (answer.status !== 200) {
    throw new Error(`PUT /api/users/ answered ${answer.status}: ${answer.body}`);
  }
  return { ids: answer.json("results").map((row) => row.user.id), run: `${Date.now()}` };
}

export function notification(id) {
  return {
    title: "Your order is on its way",
    body: "It should reach you on Tuesday.",
    targets: [id],
    channels: ["in_app", "email"],
    related_object: { type: "order", id: `A-${id}` },
  };
}

// A body as text: writing 500 notifications down takes k6 longer than sending them. Raises nothing: what is not a
// 202 is counted by http_req_failed, and fails the run.
export function post(path, body, key) {
  http.post(base + path, body, { headers: { ...headers, "Idempotency-Key": key } });
}

// 500 notifications a request (ROWS changes that):
//   k6 run --no-usage-report -e BASE_URL=https://... -e API_KEY=ck_... tests/load/bulk.js
import { notification, optionsFor, post, prepare } from "./carillon.js";

const rows = Number(__ENV.ROWS || 500);

export const options = optionsFor(4, 10);
export const setup = prepare;

let body; // of this connection: the same people each time, under a new key

export default function ({ ids, run }) {
  body = body || JSON.stringify({ notifications: some(ids) });
  post("/api/notifications/bulk/", body, `${run}-${__ITER * options.vus + __VU}`);
}

function some(ids) {
  return Array.from({ length: rows }, (_, row) => notification(ids[(__VU * rows + row) % ids.length]));
}

// One notification a request, each with an idempotency key:
//   k6 run --no-usage-report -e BASE_URL=https://... -e API_KEY=ck_... tests/load/single.js
import { notification, optionsFor, post, prepare } from "./carillon.js";

export const options = optionsFor(16, 10);
export const setup = prepare;

export default function ({ ids, run }) {
  const number = __ITER * options.vus + __VU;
  post("/api/notifications/", JSON.stringify(notification(ids[number % ids.length])), `${run}-${number}`);
}

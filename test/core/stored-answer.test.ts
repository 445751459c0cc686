/**
 * Goal: what is repeated of an answer is what is as true the second time, and what storage holds is checked. Method: examples.
 */
import { expect, test } from "vitest"
import { keepHead, meaningOf, parseStoredHead } from "../../src/core/idempotency/stored-answer.ts"

test("cookies, ids and whatever is not on the list are not kept", () => {
  const head = keepHead(201, [
    ["content-type", "application/json"],
    ["Location", "/payments/7"],
    ["set-cookie", "session=1"],
    ["x-request-id", "r1"],
    ["date", "Sat, 28 Nov 2026 00:00:00 GMT"],
    ["ratelimit", '"a";r=1'],
  ])
  expect(head.fields).toEqual([
    ["content-type", "application/json"],
    ["Location", "/payments/7"],
  ])
  expect(parseStoredHead(JSON.stringify(head))).toEqual(head)
})

test.each([
  "",
  "{",
  "[]",
  '{"version":2,"status":200,"fields":[]}',
  '{"version":1,"status":101,"fields":[]}',
  '{"version":1,"status":"200","fields":[]}',
  '{"version":1,"status":200}',
  '{"version":1,"status":200,"fields":[["set-cookie","a=1"]]}',
  '{"version":1,"status":200,"fields":[["etag"]]}',
  '{"version":1,"status":200,"fields":["etag"]}',
])("%j is no head of an answer", (text) => {
  expect(parseStoredHead(text)).toBeUndefined()
})

test("IK-3 every status is final, but 429, and what balancers say", () => {
  const statuses = [200, 201, 204, 302, 400, 401, 403, 404, 409, 422, 500, 501, 505]
  expect(new Set(statuses.map(meaningOf))).toEqual(new Set(["final"]))
  expect([429, 502, 503, 504].map(meaningOf)).toEqual(["not-done", "unknown", "unknown", "unknown"])
})

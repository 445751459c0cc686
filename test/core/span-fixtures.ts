/**
 * Spans for tests: the server's of one request, and arbitrary ones with hostile texts.
 */
import * as fc from "fast-check"
import type { Span } from "../../src/core/record/span.ts"
import { hostileText } from "./event-fixtures.ts"

export const SPAN: Span = {
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
  parentSpanId: "00f067aa0ba902b7",
  tracestate: "vendor=1",
  flags: 1,
  name: "GET /accounts/**",
  kind: "server",
  startMs: 1_795_316_400_123,
  endMs: 1_795_316_400_135,
  attributes: {
    "http.request.method": "GET",
    "http.response.status_code": 502,
    "http.route": "/accounts/**",
    "url.scheme": "https",
    "url.path": "/accounts/7",
    "error.type": "origin-unreachable",
    "rate_limit.hit": false,
    "rate_limit.remaining": 19,
  },
  isError: true,
}

/** Spans whose texts are hostile. */
export const anySpan: fc.Arbitrary<Span> = fc
  .record({
    name: hostileText,
    kind: fc.constantFrom("server" as const, "client" as const, "internal" as const),
    startMs: fc.nat(),
    endMs: fc.nat(),
    isError: fc.boolean(),
    path: hostileText,
    status: fc.integer({ min: 100, max: 599 }),
  })
  .map(({ path, status, ...changes }) => ({
    ...SPAN,
    ...changes,
    attributes: { "url.path": path, "http.response.status_code": status },
  }))

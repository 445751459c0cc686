/**
 * Goal: bounds that depend on each other keep their relation when one of them is changed. Method: one test a relation.
 */
import { describe, expect, test } from "vitest"
import * as bounds from "../../src/core/bounds.ts"
import { PROBLEMS } from "../../src/core/problem.ts"

test("every bound is a positive number", () => {
  expect(Object.entries(bounds).filter(([, value]) => !(Number.isFinite(value) && value > 0))).toEqual([])
})

/** Relations that must hold, smaller side first. */
const ORDERED: readonly (readonly [why: string, lower: number, upper: number])[] = [
  [
    "the number of a report is remembered for longer than it is repeated",
    bounds.METRIC_REPEAT_MS_MAX + bounds.METRIC_TIMEOUT_MS,
    bounds.METRIC_REPORTER_MEMORY_MS,
  ],
  [
    "isolates report more often than what they say of the moment is forgotten",
    2 * bounds.METRIC_REPORT_MS_MAX,
    bounds.METRIC_GAUGE_MS,
  ],
  ["RFC 9112 asks for targets of 8,000 octets", 8_000, bounds.TARGET_BYTES_MAX],
  ["expressions are tried on paths that fit a target", bounds.REGEX_PATH_LENGTH_MAX, bounds.TARGET_BYTES_MAX],
  ["a header section holds the longest target as a value", bounds.TARGET_BYTES_MAX, bounds.HEADER_BYTES_MAX],
  ["a header section holds every field it may have", bounds.HEADER_COUNT_MAX * 64, bounds.HEADER_BYTES_MAX],
  [
    "a leaf fits the header section of the request to the origin",
    (bounds.LEAF_BYTES_MAX * 4) / 3,
    bounds.HEADER_BYTES_MAX,
  ],
  ["the platform gives leaves up to 10 KiB", bounds.LEAF_BYTES_MAX, 10_240],
  ["a certificate nests 8 levels", 8, bounds.DER_DEPTH_MAX],
  ["security asks for assertions of at most 30 s", bounds.EDGE_ASSERTION_AGE_MS_MAX, 30_000],
  [
    "the memory of assertions lasts for 1,000 requests a second",
    1_000 * (bounds.EDGE_ASSERTION_AGE_MS_MAX / 1_000),
    bounds.EDGE_ASSERTION_SEEN_MAX,
  ],
  [
    "a refusal comes before the client of a slow origin would give up",
    bounds.CLIENT_GATE_TIMEOUT_MS,
    bounds.ORIGIN_TIMEOUT_MS_DEFAULT,
  ],
  ["the default wait for an origin is allowed", bounds.ORIGIN_TIMEOUT_MS_DEFAULT, bounds.ORIGIN_TIMEOUT_MS_MAX],
  ["a message of the queue holds 128 KB, framing included", bounds.EVENT_MESSAGE_BYTES_MAX + 16_384, 128_000],
  [
    "an event of the longest texts fits a message",
    16 * bounds.EVENT_VALUE_LENGTH_MAX * 3,
    bounds.EVENT_MESSAGE_BYTES_MAX,
  ],
  ["a message of the most events fits the backlog", bounds.EVENTS_PER_MESSAGE_MAX, bounds.EVENT_BACKLOG_MAX],
  ["the default flush is allowed", bounds.EVENT_FLUSH_MS_DEFAULT, bounds.EVENT_FLUSH_MS_MAX],
  ["the platform ends what runs behind a response after 30 s", bounds.EVENT_FLUSH_MS_MAX, 30_000],
  ["a queue delays for 12 hours at most", bounds.SINK_RETRY_SECONDS_MAX, 43_200],
  [
    "a holder is remembered until its call was given up and repeated",
    bounds.CLIENT_GATE_TIMEOUT_MS + bounds.TOKEN_LEASE_TTL_MS,
    bounds.TOKEN_LEASE_RETURN_MS,
  ],
  ["100,000 entries of 49 octets fit a revocation list, as PEM too", 100_000 * 49 * 1.36, bounds.CRL_BYTES_MAX],
  ["a verdict on a serial lives no longer than leased tokens", bounds.REVOCATION_VERDICT_MS, bounds.TOKEN_LEASE_TTL_MS],
  ["a retry of a failed fetch comes before the next interval", bounds.CRL_RETRY_MS_MAX, bounds.CRL_REFRESH_MS_DEFAULT],
  ["the default interval is allowed", bounds.CRL_REFRESH_MS_DEFAULT, bounds.CRL_REFRESH_MS_MAX],
  ["a warning comes before the error", bounds.VARIABLE_WARN_RATIO, 1],
  [
    "a report of refusals is remembered for longer than it is repeated and may be on its way",
    bounds.STOPPED_REPEAT_MS_MAX + 10 * bounds.CLIENT_GATE_TIMEOUT_MS,
    bounds.STOPPED_REPORTER_MEMORY_MS,
  ],
  [
    "both calls of a settlement fit the margin of an attempt",
    2 * bounds.IDEMPOTENCY_LEDGER_TIMEOUT_MS,
    bounds.IDEMPOTENCY_ATTEMPT_MARGIN_MS,
  ],
  [
    "a key is remembered for longer than its attempt may take",
    bounds.ORIGIN_TIMEOUT_MS_MAX + bounds.IDEMPOTENCY_ANSWER_TIMEOUT_MS + bounds.IDEMPOTENCY_ATTEMPT_MARGIN_MS,
    bounds.IDEMPOTENCY_TTL_MS_MIN,
  ],
  [
    "an answer that is kept fits a stored value, encoded, with room for its head",
    (bounds.IDEMPOTENCY_ANSWER_BYTES_MAX + bounds.HEADER_BYTES_MAX) * 1.5,
    2_000_000,
  ],
  [
    "a trail remembers the ids of everything that may wait",
    bounds.AUDIT_WAITING_MAX * bounds.AUDIT_HEADROOM,
    bounds.AUDIT_IDS_MAX,
  ],
  [
    "a flush of refusals ends before the platform ends what runs behind a response",
    bounds.EVENT_FLUSH_MS_MAX +
      bounds.AUDIT_FLUSH_TRIES * bounds.AUDIT_TIMEOUT_MS +
      bounds.AUDIT_RETRY_MS_MIN * (2 ** (bounds.AUDIT_FLUSH_TRIES - 1) - 1),
    30_000,
  ],
  ["an alarm of slow batches ends within 15 minutes", bounds.AUDIT_BATCHES_PER_ALARM * bounds.SINK_TIMEOUT_MS, 900_000],
  ["a batch holds a record of the longest texts", 6 * 6 * bounds.EVENT_VALUE_LENGTH_MAX, bounds.AUDIT_BATCH_BYTES_MAX],
  ["two calls for tokens fit the wait of a request", 2 * bounds.LEASE_CALL_TIMEOUT_MS, bounds.CLIENT_GATE_TIMEOUT_MS],
]

describe("relations", () => {
  test.each(ORDERED)("%s", (_, lower, upper) => {
    expect(lower).toBeLessThanOrEqual(upper)
  })
})

test.each([
  ["uri-too-long", bounds.TARGET_BYTES_MAX],
  ["headers-too-large", bounds.HEADER_COUNT_MAX],
  ["headers-too-large", bounds.HEADER_BYTES_MAX],
] as const)("the problem %s names the bound %i", (code, bound) => {
  expect(PROBLEMS[code].detail).toContain(bound.toLocaleString("en-US"))
})

/**
 * Goal: a record says what the guard said, and nothing of what a stranger typed. Method: the guard itself makes the events
 * of a whole block; impossible instants by hand.
 */
import { describe, expect, test } from "vitest"
import { guardRecordOf } from "../../src/core/guard/guard-record.ts"
import type { GuardConfig } from "../../src/core/guard/guard-config.ts"
import type { GuardEvent } from "../../src/core/guard/guard-state.ts"
import { administer, observe } from "../../src/core/guard/guard.ts"

const NOW_MS = Date.parse("2026-11-22T03:00:00.123Z")
const CONFIG: GuardConfig = {
  maxFailures: 5,
  failureDurationMs: 60_000,
  backoff: { kind: "lineal", durationMs: 300_000 },
  guardResetTimeoutMs: null,
  inFlight: "optimistic",
  pendingTtlMs: 30_000,
  successPolicy: "reset",
}
const ABOUT = { guard: "credentials", keyKind: "client", clientId: "acme" } as const
const OPENED: GuardEvent = { kind: "opened", atMs: NOW_MS, untilMs: NOW_MS + 300_000, attempt: 2, reason: "failures" }

describe("guardRecordOf()", () => {
  test("warns of a block that begins", () => {
    expect(guardRecordOf(OPENED, ABOUT)).toEqual({
      timestamp: "2026-11-22T03:00:00.123Z",
      level: "warn",
      event: "guard.opened",
      guard: "credentials",
      key_kind: "client",
      client_id: "acme",
      reason: "failures",
      blocked_until: "2026-11-22T03:05:00.123Z",
      attempt: 2,
    })
  })

  test("tells of a block that an administrator ended when it ended and when it would have", () => {
    const blocked = administer(undefined, CONFIG, { action: "block", durationMs: 300_000 }, NOW_MS)
    const { events } = administer(blocked.state, CONFIG, { action: "unblock" }, NOW_MS + 1_000)
    expect(events.map((event) => guardRecordOf(event, ABOUT))).toMatchObject([
      {
        timestamp: "2026-11-22T03:00:01.123Z",
        level: "info",
        event: "guard.closed",
        reason: "unblock",
        blocked_until: "2026-11-22T03:05:00.123Z",
      },
    ])
  })

  test("dates the end of a block by the block, however late somebody looks", () => {
    const blocked = administer(undefined, CONFIG, { action: "block", durationMs: 300_000 }, NOW_MS)
    const { events } = observe(blocked.state, CONFIG, NOW_MS + 86_400_000)
    expect(events.map((event) => guardRecordOf(event, ABOUT))).toMatchObject([
      { timestamp: "2026-11-22T03:05:00.123Z", event: "guard.closed", reason: "elapsed" },
    ])
  })

  test("names no client where none is known", () => {
    expect(guardRecordOf(OPENED, { guard: "credentials", keyKind: "address" })).not.toHaveProperty("client_id")
  })

  test("writes an instant behind the last of RFC 3339 as that one", () => {
    const { events } = administer(undefined, CONFIG, { action: "block", durationMs: 300_000 }, Number.NaN)
    expect(events.map((event) => guardRecordOf(event, ABOUT).blocked_until)).toEqual(["9999-12-31T23:59:59.999Z"])
  })
})

/**
 * Goal: keys are fetched when they have to be and rarely otherwise, serve for a bounded time, and nobody is told "unknown" when
 * nobody knows. Method: literal instants, and a property over random histories that counts calls and checks every answer.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  TOKEN_KEYS_COOLDOWN_MS,
  TOKEN_KEYS_FRESH_MS,
  TOKEN_KEYS_PAUSE_MS_MIN,
  TOKEN_KEYS_TIMEOUT_MS,
} from "../../src/core/bounds.ts"
import {
  acceptKeys,
  askKey,
  EMPTY_KEY_SET,
  noteFailure,
  standingOfKey,
  type KeySetDecision,
  type KeySetState,
} from "../../src/core/token/key-set.ts"

const START_MS = 1_790_000_000_000
const STALE_MS = 3_600_000
const KNOWN: KeySetDecision = { kind: "answer", standing: "known", fetches: false }
const UNKNOWN: KeySetDecision = { kind: "answer", standing: "unknown", fetches: false }
const UNAVAILABLE: KeySetDecision = { kind: "answer", standing: "unavailable", fetches: false }
const FETCH: KeySetDecision = { kind: "wait", fetches: true }
const JOIN: KeySetDecision = { kind: "wait", fetches: false }

/** One isolate's key set with a clock of its own. */
class Rig {
  state: KeySetState = EMPTY_KEY_SET
  nowMs = START_MS

  ask(kid = "a"): KeySetDecision {
    const { state, decision } = askKey(this.state, kid, STALE_MS, this.nowMs)
    this.state = state
    return decision
  }
  accept(...kids: readonly string[]): this {
    this.state = acceptKeys(this.state, this.state.lastSeq, kids)
    return this
  }
  fail(): this {
    this.state = noteFailure(this.state, this.state.lastSeq, this.nowMs)
    return this
  }
  at(afterMs: number): this {
    this.nowMs = START_MS + afterMs
    return this
  }
}

/** A rig that has fetched the key "a" at the start. */
function createFilled(): Rig {
  const rig = new Rig()
  rig.ask()
  return rig.accept("a")
}

describe("askKey()", () => {
  test("fetches at first, once for all who ask", () => {
    const rig = new Rig()
    expect([rig.ask(), rig.ask(), rig.ask("b")]).toEqual([FETCH, JOIN, JOIN])
  })

  test("answers from the keys at hand until they are old, then refreshes behind the request", () => {
    const rig = createFilled()
    const before = rig.at(TOKEN_KEYS_FRESH_MS - 1).ask()
    const decisions = [before, rig.at(TOKEN_KEYS_FRESH_MS).ask(), rig.ask()]
    expect(decisions).toEqual([KNOWN, { ...KNOWN, fetches: true }, KNOWN])
  })

  test("waits for keys once those at hand are too old", () => {
    const rig = createFilled()
    const last = rig.at(TOKEN_KEYS_FRESH_MS + STALE_MS - 1).ask()
    rig.fail()
    expect([last.kind, rig.at(TOKEN_KEYS_FRESH_MS + STALE_MS).ask()]).toEqual(["answer", UNAVAILABLE])
  })

  test("counts the age of keys from when they were asked for", () => {
    const rig = new Rig()
    rig.ask()
    rig.at(4_000).accept("a")
    expect(rig.at(TOKEN_KEYS_FRESH_MS).ask()).toMatchObject({ fetches: true })
  })

  test("JWT-21: looks for an unknown key once a cooldown", () => {
    const rig = createFilled()
    const first = rig.at(1).ask("b")
    rig.accept("a")
    const decisions = [
      first,
      rig.ask("b"),
      rig.at(TOKEN_KEYS_COOLDOWN_MS).ask("c"),
      rig.at(TOKEN_KEYS_COOLDOWN_MS + 1).ask("b"),
    ]
    expect(decisions).toEqual([FETCH, UNKNOWN, UNKNOWN, FETCH])
  })

  test("says of an unknown key that nobody knows while the set cannot be fetched", () => {
    const rig = createFilled()
    rig.ask("b")
    rig.fail()
    expect([rig.ask("b"), rig.ask("a"), standingOfKey(rig.state, "b", STALE_MS, rig.nowMs)]).toEqual([
      UNAVAILABLE,
      KNOWN,
      "unavailable",
    ])
  })

  test("pauses after failures, twice as long each time, up to the cooldown", () => {
    const rig = new Rig()
    const pauses = []
    rig.ask()
    for (let i = 0; i < 8; i++) {
      const { nowMs: failedMs } = rig.fail()
      while (rig.ask().kind === "answer") rig.nowMs += TOKEN_KEYS_PAUSE_MS_MIN / 2
      pauses.push(rig.nowMs - failedMs)
    }
    expect(pauses).toEqual([1, 2, 4, 8, 16, 30, 30, 30].map((seconds) => seconds * 1_000))
  })

  test("replaces a call that has vanished", () => {
    const rig = new Rig()
    rig.ask()
    expect([rig.at(TOKEN_KEYS_TIMEOUT_MS - 1).ask(), rig.at(TOKEN_KEYS_TIMEOUT_MS).ask()]).toEqual([JOIN, FETCH])
  })

  test("lets no time pass for a clock that steps back", () => {
    const rig = createFilled()
    expect(rig.at(-60_000).ask()).toEqual(KNOWN)
  })
})

describe("acceptKeys() and noteFailure()", () => {
  test("an answer that was overtaken changes nothing", () => {
    const rig = new Rig()
    rig.ask()
    rig.at(TOKEN_KEYS_TIMEOUT_MS).ask()
    expect([acceptKeys(rig.state, 1, ["a"]), noteFailure(rig.state, 1, rig.nowMs)]).toEqual([rig.state, rig.state])
  })

  test("keys that were withdrawn are unknown", () => {
    const rig = createFilled()
    rig.at(TOKEN_KEYS_FRESH_MS).ask()
    rig.accept("b")
    expect(standingOfKey(rig.state, "a", STALE_MS, rig.nowMs)).toBe("unknown")
  })
})

test("JWT-21: in any history, unknown keys cost a call a cooldown at most, and only usable keys are known", () => {
  const step = fc.record({
    afterMs: fc.oneof(fc.integer({ min: 0, max: 3_000 }), fc.integer({ min: 0, max: STALE_MS })),
    kid: fc.constantFrom("a", "b", "c"),
    end: fc.constantFrom("accept", "fail", "none"),
    served: fc.subarray(["a", "b"]),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const rig = new Rig()
      let soughtMs = Number.NEGATIVE_INFINITY
      let gotMs = Number.NEGATIVE_INFINITY
      let callMs = 0
      let served: readonly string[] = []
      for (const { afterMs, kid, end, served: next } of steps) {
        rig.nowMs += afterMs
        const isUsable = rig.nowMs - gotMs < TOKEN_KEYS_FRESH_MS + STALE_MS
        const decision = rig.ask(kid)
        if (decision.fetches) callMs = rig.nowMs
        if (decision.fetches && isUsable && !served.includes(kid)) {
          expect(rig.nowMs - soughtMs).toBeGreaterThanOrEqual(TOKEN_KEYS_COOLDOWN_MS)
          soughtMs = rig.nowMs
        }
        if (decision.kind === "answer" && decision.standing === "known") {
          expect([isUsable, served.includes(kid)]).toEqual([true, true])
        }
        if (decision.kind === "answer" && decision.standing === "unknown") expect(served.includes(kid)).toBe(false)
        if (rig.state.call === null || end === "none") continue
        if (end === "fail") rig.fail()
        else {
          rig.accept(...next)
          gotMs = callMs
          served = next
        }
      }
    }),
    { seed: 49, numRuns: 3_000 },
  )
})

/** Goal: limits count and refuse nothing while an origin is unhealthy, and guards refuse as ever. Method: single verdicts. */
import { describe, expect, test } from "vitest"
import type { GateVerdict } from "../../src/core/gate/gate-verdict.ts"
import type { NamedLimit } from "../../src/core/limit/limit.ts"
import { softenLimits, softenVerdict } from "../../src/core/gate/soft-mode.ts"

const BUCKET: NamedLimit = { kind: "bucket", name: "burst", burst: 10, rate: { count: 10, periodMs: 1000 } }
const SHADOW: NamedLimit = { ...BUCKET, name: "trial", mode: "shadow" }
const ADMITTED: GateVerdict = {
  decidedBy: "asked",
  policies: [],
  shadowed: [],
  softened: [],
  standings: [],
  refusal: undefined,
}

test("softenLimits() puts every limit in shadow mode and changes nothing else", () => {
  expect(softenLimits([BUCKET, SHADOW])).toEqual([{ ...BUCKET, mode: "shadow" }, SHADOW])
})

describe("softenVerdict()", () => {
  test("softenVerdict() lets pass what a limit refuses, and names it", () => {
    const refusal = {
      kind: "limit",
      violated: ["burst"],
      refusedBy: "bucket",
      retryAfterMs: 100,
      isLost: false,
    } as const
    expect(softenVerdict([BUCKET], { ...ADMITTED, refusal })).toEqual({ ...ADMITTED, softened: ["burst"] })
  })

  test("softenVerdict() keeps apart what would have refused without soft mode from what never does", () => {
    const verdict = softenVerdict([BUCKET, SHADOW], { ...ADMITTED, shadowed: ["burst", "trial"] })
    expect(verdict).toEqual({ ...ADMITTED, shadowed: ["trial"], softened: ["burst"] })
  })

  test.each<NonNullable<GateVerdict["refusal"]>>([
    { kind: "blocked", guard: "login", reason: "open", retryAfterMs: 100 },
    { kind: "unavailable", reason: "object_timeout", isOverloaded: false },
    { kind: "fault", reason: "admission_invalid_request" },
  ])("softenVerdict() changes nothing about a refusal by $kind", (refusal) => {
    expect(softenVerdict([BUCKET], { ...ADMITTED, refusal })).toEqual({ ...ADMITTED, refusal })
  })
})

/**
 * Goal: a block is refused from memory for as long as the object said, and one request asks before it is over. Method: one
 * memory, looked at over its life.
 */
import { describe, expect, test } from "vitest"
import { recallBlock, rememberBlock } from "../../src/core/guard/block-memory.ts"
import type { GateVerdict } from "../../src/core/gate/gate-verdict.ts"

const T0 = 1_790_000_000_000
const VERDICT: GateVerdict = {
  decidedBy: "asked",
  policies: [],
  shadowed: [],
  softened: [],
  standings: [],
  refusal: { kind: "blocked", guard: "login", reason: "open", retryAfterMs: 8_000 },
}

function retryAfterMs(verdict: GateVerdict | undefined): number | null | undefined {
  return verdict?.refusal?.kind === "blocked" ? verdict.refusal.retryAfterMs : undefined
}

describe("recallBlock()", () => {
  test("recallBlock() refuses as the object did, with the rest of the wait", () => {
    const { verdict } = recallBlock(rememberBlock(VERDICT, 5_000, T0), T0 + 4_000)
    expect(verdict).toEqual({
      ...VERDICT,
      decidedBy: "local",
      refusal: { kind: "blocked", guard: "login", reason: "open", retryAfterMs: 4_000 },
    })
  })

  test("recallBlock() sends one request to ask in the last tenth, and refuses the others until the end", () => {
    const memory = rememberBlock(VERDICT, 5_000, T0)
    const first = recallBlock(memory, T0 + 4_500)
    const second = recallBlock(first.memory, T0 + 4_500)
    const last = recallBlock(second.memory, T0 + 4_999)
    expect([recallBlock(memory, T0 + 4_499), first, second, last].map(({ verdict }) => retryAfterMs(verdict))).toEqual([
      3_501,
      undefined,
      3_500,
      3_001,
    ])
  })

  test("recallBlock() asks once the memory is over, whoever has asked before", () => {
    const asked = recallBlock(rememberBlock(VERDICT, 5_000, T0), T0 + 4_500).memory
    expect(recallBlock(asked, T0 + 5_000).verdict).toBeUndefined()
  })

  test("recallBlock() asks when the clock was set back", () => {
    expect(recallBlock(rememberBlock(VERDICT, 5_000, T0), T0 - 1).verdict).toBeUndefined()
  })

  test("recallBlock() never tells a client to come back at once", () => {
    const refusal = { kind: "blocked", guard: "login", reason: "open", retryAfterMs: 3 } as const
    const { verdict } = recallBlock(rememberBlock({ ...VERDICT, refusal }, 5_000, T0), T0 + 4_000)
    expect(retryAfterMs(verdict)).toBe(1)
  })

  test("recallBlock() names no time where the object named none", () => {
    const refusal = { kind: "blocked", guard: "login", reason: "open", retryAfterMs: null } as const
    const { verdict } = recallBlock(rememberBlock({ ...VERDICT, refusal }, 5_000, T0), T0 + 4_000)
    expect(retryAfterMs(verdict)).toBeNull()
  })
})

/**
 * Goal: an isolate spends what it was lent, until its lease is over by its own clock, and refuses only what the object
 * refused. Method: one holder, answers written by hand, literal instants.
 */
import { describe, expect, test } from "vitest"
import { TOKEN_LEASE_WAITERS_MAX } from "../../src/core/bounds.ts"
import {
  abandonCall,
  acceptAnswer,
  createHolder,
  decide,
  dropLease,
  removeWaiter,
  startCall,
} from "../../src/core/lease/lease-holder.ts"
import type { LeaseHolder } from "../../src/core/lease/lease-holder.ts"
import type { LeaseAnswer } from "../../src/core/lease/lease-protocol.ts"

const T0 = 1_790_000_000_000
const PLENTY = {
  carry: 1000,
  ttlMs: 1000,
  left: 50,
  capacity: 100,
  denyForMs: 0,
  denyCost: 1,
  retryAfterMs: 0,
  violated: [],
  epoch: 0,
  blockedForMs: 0,
}
const EXHAUSTED = { ...PLENTY, left: 0, denyForMs: 200, retryAfterMs: 90, violated: ["client"] }

/** An isolate that reads the clock when told. */
function createIsolate() {
  let holder: LeaseHolder = createHolder("boot")
  let ids = 0
  return {
    get holder() {
      return holder
    },
    request(nowMs: number, cost = 1) {
      const step = decide(holder, { id: ++ids, cost, nowMs })
      holder = step.holder
      return step.decision
    },
    call(nowMs: number) {
      const step = startCall(holder, nowMs)
      holder = step.holder
      return step.call
    },
    answer(nowMs: number, answer: Partial<LeaseAnswer>) {
      const step = acceptAnswer(holder, { seq: holder.seq, granted: 0, ...PLENTY, ...answer }, nowMs)
      holder = step.holder
      return step
    },
    abandon(seq: number, isFinal = false) {
      const step = abandonCall(holder, seq, isFinal)
      holder = step.holder
      return step
    },
    change(to: (holder: LeaseHolder) => LeaseHolder) {
      holder = to(holder)
    },
  }
}

/** An isolate that has just got a lease of `granted` tokens, sent for at T0. */
function createLeased(granted: number, answer: Partial<LeaseAnswer> = {}) {
  const isolate = createIsolate()
  isolate.call(T0)
  isolate.answer(T0 + 30, { granted, ...answer })
  return isolate
}

describe("decide()", () => {
  test("decide() asks when it has no lease", () => {
    expect(createIsolate().request(T0)).toEqual({ kind: "ask" })
  })

  test("decide() waits while a call is running", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.call(T0)
    expect(isolate.request(T0 + 1)).toEqual({ kind: "wait" })
  })

  test("decide() admits from its lease", () => {
    expect(createLeased(5).request(T0 + 40)).toEqual({ kind: "admit", renew: false })
  })

  test("decide() admits as many requests as it has tokens", () => {
    const isolate = createLeased(2)
    expect([1, 2, 3].map(() => isolate.request(T0 + 40).kind)).toEqual(["admit", "admit", "ask"])
  })

  test("decide() takes the cost of the request from its lease", () => {
    const isolate = createLeased(5)
    isolate.request(T0 + 40, 3)
    expect(isolate.request(T0 + 40, 3).kind).toBe("ask")
  })

  test("decide() admits until 1 ms before the lease ends, counted from sending the call", () => {
    expect([999, 1000].map((ageMs) => createLeased(5).request(T0 + ageMs).kind)).toEqual(["admit", "ask"])
  })

  test("decide() wants a renewal when three tenths are left", () => {
    const isolate = createLeased(10)
    const renewals = Array.from({ length: 8 }, () => isolate.request(T0 + 40)).map(
      (step) => "renew" in step && step.renew,
    )
    expect(renewals.indexOf(true)).toBe(6)
  })

  test("decide() wants no renewal while a call is running", () => {
    const isolate = createLeased(3)
    isolate.call(T0 + 40)
    isolate.request(T0 + 40)
    isolate.request(T0 + 40)
    expect(isolate.request(T0 + 40)).toEqual({ kind: "admit", renew: false })
  })

  test("decide() refuses from memory while asking is pointless", () => {
    const denial = { kind: "deny", reason: "limit", violated: ["client"], retryAfterMs: 100 }
    expect(createLeased(0, EXHAUSTED).request(T0 + 130)).toEqual(denial)
  })

  test("decide() asks again as soon as it is not", () => {
    expect(createLeased(0, EXHAUSTED).request(T0 + 230).kind).toBe("ask")
  })

  test("decide() asks for a request smaller than the refused ones", () => {
    expect(createLeased(0, { ...EXHAUSTED, denyCost: 5 }).request(T0 + 40, 4).kind).toBe("ask")
  })

  test("decide() refuses a blocked client from memory, even what costs nothing", () => {
    const isolate = createLeased(0, { blockedForMs: 500, retryAfterMs: 60_000 })
    expect(isolate.request(T0 + 40, 0)).toEqual({ kind: "deny", reason: "blocked", retryAfterMs: 59_990 })
  })

  test("decide() forgets lease and refusal when its clock steps back", () => {
    expect([createLeased(5), createLeased(0, EXHAUSTED)].map((isolate) => isolate.request(T0 + 29).kind)).toEqual([
      "ask",
      "ask",
    ])
  })

  test.each([-1, 0.5, Number.NaN])("decide() refuses a cost that is no number of tokens: %d", (cost) => {
    expect(createLeased(5).request(T0 + 40, cost)).toMatchObject({ kind: "deny", retryAfterMs: null })
  })

  test("decide() lets a bounded number of requests wait", () => {
    const isolate = createIsolate()
    for (let index = 0; index < TOKEN_LEASE_WAITERS_MAX; index++) isolate.request(T0)
    expect(isolate.request(T0)).toMatchObject({ kind: "deny", reason: "unavailable" })
  })
})

describe("startCall()", () => {
  test("startCall() counts its calls and names what waits", () => {
    const isolate = createIsolate()
    isolate.request(T0, 3)
    isolate.request(T0, 2)
    expect(isolate.call(T0)).toMatchObject({ boot: "boot", seq: 1, lease: 0, unused: 0, waiting: [3, 2], cost: 2 })
  })

  test("startCall() names the last answer taken and what is left of it", () => {
    const isolate = createLeased(5)
    isolate.request(T0 + 40)
    expect(isolate.call(T0 + 50)).toMatchObject({ seq: 2, lease: 1, unused: 4 })
  })

  test("startCall() has nothing left of a lease that is over", () => {
    expect(createLeased(5).call(T0 + 1000).unused).toBe(0)
  })

  test("startCall() tells the demand of the last second", () => {
    const isolate = createIsolate()
    for (let index = 0; index < 5_000; index++) isolate.request(T0 + index * 10)
    expect(isolate.call(T0 + 49_990).demand).toBeCloseTo(100, -1)
  })
})

describe("acceptAnswer()", () => {
  test("acceptAnswer() admits waiting requests in order, as far as the tokens go", () => {
    const isolate = createIsolate()
    for (const cost of [1, 2, 1]) isolate.request(T0, cost)
    isolate.call(T0)
    const { settled } = isolate.answer(T0 + 30, { ...EXHAUSTED, granted: 3 })
    expect(settled.map(({ decision }) => decision.kind)).toEqual(["admit", "admit", "deny"])
  })

  test("acceptAnswer() asks again for requests that the object could still serve", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.call(T0)
    expect(isolate.answer(T0 + 30, { granted: 0, left: 5 })).toMatchObject({ settled: [], ask: true })
  })

  test("acceptAnswer() refuses a request that two answers left waiting", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.call(T0)
    isolate.answer(T0 + 30, { left: 5 })
    isolate.call(T0 + 30)
    expect(isolate.answer(T0 + 60, { left: 5 }).settled[0]?.decision.kind).toBe("deny")
  })

  test("acceptAnswer() does not refuse a request that came later and may find tokens again", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.call(T0)
    isolate.request(T0 + 10)
    const { settled, ask } = isolate.answer(T0 + 30, { granted: 1, left: 0 })
    expect([settled.length, ask]).toEqual([1, true])
  })

  test("acceptAnswer() refuses for good what exceeds the capacity", () => {
    const isolate = createIsolate()
    isolate.request(T0, 101)
    isolate.call(T0)
    expect(isolate.answer(T0 + 30, {}).settled[0]?.decision).toMatchObject({ reason: "too-large", retryAfterMs: null })
  })

  test("acceptAnswer() refuses all waiting requests of a blocked client", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.call(T0)
    isolate.request(T0 + 10, 0)
    const { settled } = isolate.answer(T0 + 30, { blockedForMs: 500, retryAfterMs: 900, granted: 0, left: 0 })
    expect(settled.map(({ decision }) => "reason" in decision && decision.reason)).toEqual(["blocked", "blocked"])
  })

  test("acceptAnswer() drops the lease of a blocked client", () => {
    const isolate = createLeased(5)
    isolate.call(T0 + 40)
    isolate.answer(T0 + 70, { blockedForMs: 500, carry: 5 })
    expect(isolate.holder.tokens).toBe(0)
  })

  test("acceptAnswer() drops what it held when the epoch changes", () => {
    const isolate = createLeased(5)
    isolate.call(T0 + 40)
    isolate.answer(T0 + 70, { granted: 2, carry: 5, epoch: 1 })
    expect(isolate.holder.tokens).toBe(2)
  })

  test("acceptAnswer() keeps of what it held no more than the object carried over", () => {
    const isolate = createLeased(5)
    isolate.call(T0 + 40)
    isolate.answer(T0 + 70, { granted: 2, carry: 1 })
    expect(isolate.holder.tokens).toBe(3)
  })

  test("acceptAnswer() does not get back what it spent meanwhile", () => {
    const isolate = createLeased(5)
    isolate.call(T0 + 40)
    isolate.request(T0 + 50)
    isolate.answer(T0 + 70, { granted: 2, carry: 5 })
    expect(isolate.holder.tokens).toBe(6)
  })

  test("acceptAnswer() ignores an answer to a call that was given up", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.call(T0)
    isolate.call(T0 + 100)
    expect(acceptAnswer(isolate.holder, { ...PLENTY, seq: 1, granted: 5 }, T0 + 110)).toEqual({
      holder: isolate.holder,
      settled: [],
      ask: false,
    })
  })

  test("acceptAnswer() takes an answer once", () => {
    const isolate = createLeased(5)
    isolate.answer(T0 + 40, { granted: 5 })
    expect(isolate.holder.tokens).toBe(5)
  })

  test("acceptAnswer() admits nobody with a lease that is over on arrival, and asks again", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.call(T0)
    expect(isolate.answer(T0 + 1000, { granted: 1 })).toMatchObject({ settled: [], ask: true })
  })

  test("acceptAnswer() cannot use tokens when the clock stepped back during the call", () => {
    const isolate = createIsolate()
    isolate.call(T0)
    isolate.request(T0 - 5_000)
    expect(isolate.answer(T0 - 4_990, { granted: 5 })).toMatchObject({ settled: [], ask: true })
  })
})

describe("acceptAnswer() of what the object decided", () => {
  /** Requests of these costs wait, and the object spent `granted` tokens on them. */
  function decideAt(costs: readonly number[], answer: Partial<LeaseAnswer>, isolate = createIsolate()) {
    for (const cost of costs) isolate.request(T0 + 40, cost)
    isolate.call(T0 + 40)
    return isolate.answer(T0 + 70, { ...EXHAUSTED, ttlMs: 0, ...answer })
  }

  test("acceptAnswer() admits the requests that were counted, in order", () => {
    const { settled } = decideAt([1, 2, 1], { granted: 3 })
    expect(settled.map(({ decision }) => decision.kind)).toEqual(["admit", "admit", "deny"])
  })

  test("acceptAnswer() admits a counted request that costs nothing", () => {
    expect(decideAt([0], { granted: 0, denyForMs: 0 }).settled[0]?.decision.kind).toBe("admit")
  })

  test("acceptAnswer() admits nobody who came later", () => {
    const isolate = createIsolate()
    isolate.request(T0 + 40)
    isolate.call(T0 + 40)
    isolate.request(T0 + 50, 0)
    const { settled } = isolate.answer(T0 + 70, { ...PLENTY, ttlMs: 0, granted: 9 })
    expect(settled.map(({ id }) => id)).toEqual([1])
  })

  test("acceptAnswer() keeps nothing of it for later requests", () => {
    expect(decideAt([1], { granted: 5 }).holder.tokens).toBe(0)
  })

  test("acceptAnswer() leaves the lease at hand its tokens and its end", () => {
    const isolate = createLeased(5)
    const { tokens, expiresMs } = decideAt([6], { granted: 1 }, isolate).holder
    expect([tokens, expiresMs]).toEqual([0, T0 + 1000])
  })

  test("acceptAnswer() spends what was decided before what is at hand", () => {
    expect(decideAt([6], { granted: 4 }, createLeased(5)).holder.tokens).toBe(3)
  })
})

describe("startCall() with tokens to hand back", () => {
  test("startCall() hands back what is left of a lease that is over", () => {
    const isolate = createLeased(5)
    isolate.request(T0 + 40)
    expect(isolate.call(T0 + 1000)).toMatchObject({ unused: 0, returned: { lease: 1, tokens: 4 } })
  })

  test("startCall() hands back what a failure made it drop", () => {
    const isolate = createLeased(5)
    isolate.change(dropLease)
    expect(isolate.call(T0 + 40).returned).toEqual({ lease: 1, tokens: 5 })
  })

  test("startCall() hands back what a clock that stepped back made it drop", () => {
    expect(createLeased(5).call(T0 - 40).returned).toEqual({ lease: 1, tokens: 5 })
  })

  test("startCall() hands back what was over on arrival", () => {
    const isolate = createIsolate()
    isolate.call(T0)
    isolate.answer(T0 + 1000, { granted: 5 })
    expect(isolate.call(T0 + 1001).returned).toEqual({ lease: 1, tokens: 5 })
  })

  test("startCall() hands back what an answer took away", () => {
    const isolate = createLeased(5)
    isolate.call(T0 + 40)
    isolate.answer(T0 + 70, { epoch: 1, carry: 5 })
    expect(isolate.call(T0 + 80).returned).toEqual({ lease: 1, tokens: 5 })
  })

  test("startCall() hands nothing back that it holds", () => {
    expect(createLeased(5).call(T0 + 40).returned).toBeNull()
  })

  test("startCall() hands it back again after a call that brought nothing", () => {
    const isolate = createLeased(5)
    const { seq } = isolate.call(T0 + 1000)
    isolate.abandon(seq)
    expect(isolate.call(T0 + 1100).returned).toEqual({ lease: 1, tokens: 5 })
  })

  test("startCall() hands it back no more once an answer says that it was heard", () => {
    const isolate = createLeased(5)
    isolate.call(T0 + 1000)
    isolate.answer(T0 + 1030, {})
    expect(isolate.call(T0 + 1040).returned).toBeNull()
  })

  test("startCall() hands back what was dropped while a call ran that could not say so", () => {
    const isolate = createLeased(5)
    isolate.call(T0 + 40)
    isolate.change(dropLease)
    isolate.answer(T0 + 70, {})
    expect(isolate.call(T0 + 80).returned).toEqual({ lease: 1, tokens: 5 })
  })

  test("startCall() hands back the larger of two", () => {
    const isolate = createLeased(5)
    isolate.call(T0 + 40)
    isolate.change(dropLease)
    isolate.answer(T0 + 70, { granted: 2 })
    isolate.change(dropLease)
    expect(isolate.call(T0 + 80).returned).toEqual({ lease: 1, tokens: 5 })
  })
})

describe("abandonCall()", () => {
  test("abandonCall() asks once more for the waiting requests", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.call(T0)
    expect(isolate.abandon(1)).toMatchObject({ settled: [], ask: true })
  })

  test("abandonCall() refuses them the second time in a row", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.call(T0)
    isolate.abandon(1)
    isolate.call(T0 + 100)
    const { settled, ask } = isolate.abandon(2)
    expect([settled[0]?.decision, ask]).toEqual([{ kind: "deny", reason: "unavailable", retryAfterMs: null }, false])
  })

  test("abandonCall() refuses them at once when calling again would not help", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.call(T0)
    const { settled, ask } = isolate.abandon(1, true)
    expect([settled[0]?.decision, ask]).toEqual([{ kind: "deny", reason: "unavailable", retryAfterMs: null }, false])
  })

  test("abandonCall() lets the next request ask, and once more, after a final failure", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.call(T0)
    isolate.abandon(1, true)
    expect(isolate.request(T0 + 10).kind).toBe("ask")
    isolate.call(T0 + 10)
    expect(isolate.abandon(2).ask).toBe(true)
  })

  test("abandonCall() leaves the lease as it is", () => {
    const isolate = createLeased(5)
    isolate.call(T0 + 40)
    isolate.abandon(2)
    expect(isolate.request(T0 + 50).kind).toBe("admit")
  })

  test("abandonCall() of a call that is not running changes nothing", () => {
    const isolate = createLeased(5)
    expect(abandonCall(isolate.holder, 1)).toEqual({ holder: isolate.holder, settled: [], ask: false })
  })
})

describe("removeWaiter()", () => {
  test("removeWaiter() gives its token to the next", () => {
    const isolate = createIsolate()
    isolate.request(T0)
    isolate.request(T0)
    isolate.call(T0)
    isolate.change((holder) => removeWaiter(holder, 1))
    expect(isolate.answer(T0 + 30, { ...EXHAUSTED, granted: 1 }).settled).toEqual([
      { id: 2, decision: { kind: "admit" } },
    ])
  })
})

describe("dropLease()", () => {
  test("dropLease() makes the next request ask", () => {
    const isolate = createLeased(5)
    isolate.change(dropLease)
    expect(isolate.request(T0 + 40).kind).toBe("ask")
  })

  test("dropLease() lets a running call serve those who wait and leaves nothing of its answer", () => {
    const isolate = createLeased(1)
    isolate.request(T0 + 31)
    isolate.request(T0 + 32)
    isolate.call(T0 + 32)
    isolate.change(dropLease)
    const { settled } = isolate.answer(T0 + 60, { granted: 5 })
    expect(settled).toEqual([{ id: 2, decision: { kind: "admit" } }])
    expect(isolate.request(T0 + 61).kind).toBe("ask")
  })

  test("dropLease() is over with the answer to the call that was running", () => {
    const isolate = createLeased(1)
    isolate.request(T0 + 31)
    isolate.request(T0 + 32)
    isolate.call(T0 + 32)
    isolate.change(dropLease)
    isolate.answer(T0 + 60, { granted: 5 })
    isolate.request(T0 + 61)
    isolate.call(T0 + 61)
    isolate.answer(T0 + 90, { granted: 5 })
    expect(isolate.request(T0 + 91).kind).toBe("admit")
  })
})

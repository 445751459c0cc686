/**
 * The sample bank's ledger: what must hold for every run of payments, then each reason for not paying; and its logins.
 * Pure; the shell around it is tested in `test/e2e/bank.test.ts`.
 */
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import {
  type Account,
  accountFor,
  decidePayment,
  type LedgerStore,
  type PaymentOrder,
} from "../../examples/bank/ledger.ts"
import { isLoginRight, parseLogin, SAMPLE_PIN } from "../../examples/bank/login.ts"
import { createMemoryStore, createSampleStore } from "../../examples/bank/memory-store.ts"
import { parsePaymentOrder } from "../../examples/bank/payment-order.ts"

const NOW_MS = Date.UTC(2026, 10, 22, 9)
const ACCOUNTS: readonly Account[] = [
  { id: "acme-1", owner: "acme", name: "Operating", currency: "JPY", balance: 1_000 },
  { id: "acme-2", owner: "acme", name: "Payroll", currency: "JPY", balance: 50 },
  { id: "globex-1", owner: "globex", name: "Operating", currency: "JPY", balance: 300 },
  { id: "globex-2", owner: "globex", name: "Travel", currency: "EUR", balance: 70 },
]
const ORDER: PaymentOrder = { id: "p-1", to: "globex-1", amount: 400, currency: "JPY", reference: "Invoice 1" }

const orders = fc.record({
  client: fc.constantFrom("acme", "globex", "initech"),
  order: fc.record({
    id: fc.constantFrom("p-1", "p-2", "p-3", "p-4", "p-5"),
    to: fc.constantFrom("acme-1", "acme-2", "globex-1", "globex-2", "nowhere"),
    amount: fc.integer({ min: 1, max: 800 }),
    currency: fc.constantFrom("JPY", "EUR"),
    reference: fc.constantFrom("a", "b"),
  }),
})

describe("decidePayment()", () => {
  test("decidePayment() conserves the money of every currency in every run of orders", () => {
    forEveryRun((store) => {
      expect(totalsOf(store)).toEqual({ JPY: 1_350, EUR: 70 })
    })
  })

  test("decidePayment() lets no balance fall below zero in any run of orders", () => {
    forEveryRun((store) => {
      expect(ACCOUNTS.filter(({ id }) => (store.findAccount(id)?.balance ?? -1) < 0)).toEqual([])
    })
  })

  test("decidePayment() pays once for one payment id of one client in every run of orders", () => {
    forEveryRun((store) => {
      const debits = ACCOUNTS.flatMap(({ id, owner }) =>
        [...store.entriesOf(id)].filter(({ amount }) => amount < 0).map(({ paymentId }) => `${owner} ${paymentId}`),
      )
      expect(debits).toEqual([...new Set(debits)])
    })
  })

  test("decidePayment() writes statements that add up to the balance in every run of orders", () => {
    forEveryRun((store) => {
      for (const { id, balance } of ACCOUNTS) {
        const booked = [...store.entriesOf(id)].reduce((sum, { amount }) => sum + amount, balance)
        expect(store.findAccount(id)?.balance).toBe(booked)
      }
    })
  })

  test("decidePayment() moves the amount from the default account", () => {
    const store = createMemoryStore(ACCOUNTS)
    pay(store, "acme", ORDER)
    expect([store.findAccount("acme-1")?.balance, store.findAccount("globex-1")?.balance]).toEqual([600, 700])
  })

  test("decidePayment() changes nothing by itself", () => {
    const store = createMemoryStore(ACCOUNTS)
    decidePayment(store, "acme", ORDER, NOW_MS)
    expect(store.findAccount("acme-1")?.balance).toBe(1_000)
  })

  test("decidePayment() recognises a payment that was made", () => {
    const store = createMemoryStore(ACCOUNTS)
    pay(store, "acme", ORDER)
    expect(decidePayment(store, "acme", ORDER, NOW_MS + 1)).toEqual({
      kind: "repeated",
      payment: { ...ORDER, payer: "acme", from: "acme-1", bookedAtMs: NOW_MS },
    })
  })

  test("decidePayment() pays everything that an account holds", () => {
    const store = createMemoryStore(ACCOUNTS)
    expect(pay(store, "acme", { ...ORDER, amount: 1_000 })).toBe("booked")
  })

  test("decidePayment() keeps the payment ids of two clients apart", () => {
    const store = createMemoryStore(ACCOUNTS)
    pay(store, "acme", ORDER)
    expect(pay(store, "globex", { ...ORDER, to: "acme-1", amount: 1 })).toBe("booked")
  })

  test.each([
    ["no-account", "initech", {}],
    ["payee-unknown", "acme", { to: "nowhere" }],
    ["same-account", "acme", { to: "acme-1" }],
    ["currency-mismatch", "acme", { currency: "EUR" }],
    ["currency-mismatch", "acme", { to: "globex-2" }],
    ["insufficient-funds", "acme", { amount: 1_001 }],
  ])("decidePayment() refuses with %s for %s and %j", (refusal, client, change) => {
    expect(pay(createMemoryStore(ACCOUNTS), client, { ...ORDER, ...change })).toBe(refusal)
  })

  test.each([{ to: "acme-2" }, { amount: 1 }, { currency: "EUR" }, { reference: "Invoice 2" }])(
    "decidePayment() refuses another payment under a used id: %j",
    (change) => {
      const store = createMemoryStore(ACCOUNTS)
      pay(store, "acme", ORDER)
      expect(pay(store, "acme", { ...ORDER, ...change })).toBe("payment-id-reused")
    },
  )
})

describe("accountFor()", () => {
  test("accountFor() returns a client's own account", () => {
    expect(accountFor(createMemoryStore(ACCOUNTS), "acme", "acme-2")?.balance).toBe(50)
  })

  test.each(["globex-1", "nowhere"])("accountFor() returns nothing for %s", (id) => {
    expect(accountFor(createMemoryStore(ACCOUNTS), "acme", id)).toBeUndefined()
  })
})

describe("createMemoryStore()", () => {
  test.each([-1, 0.5, Number.NaN, Number.MAX_SAFE_INTEGER])("createMemoryStore() refuses the balance %d", (balance) => {
    const one = { id: "a", owner: "acme", name: "One", currency: "JPY", balance: 1 }
    expect(() => createMemoryStore([one, { ...one, id: "b", balance }])).toThrow(RangeError)
  })
})

describe("createSampleStore()", () => {
  test("createSampleStore() books long statements for both sample clients", () => {
    const store = createSampleStore()
    const lengths = ["acme-operating", "globex-operating"].map((id) => [...store.entriesOf(id)].length)
    expect(lengths).toEqual([2_000, 2_000])
  })
})

describe("parsePaymentOrder()", () => {
  const BODY = { to: "globex-1", amount: 400, currency: "JPY", reference: "Invoice 1" }

  test("parsePaymentOrder() takes the minted id for a body without one", () => {
    expect(parsePaymentOrder(BODY, "minted")).toEqual({ id: "minted", ...BODY })
  })

  test("parsePaymentOrder() takes the id of the body", () => {
    expect(parsePaymentOrder({ ...BODY, id: "p-1" }, "minted")).toEqual({ ...BODY, id: "p-1" })
  })

  test.each([
    ["amount", [0, -1, 1.5, "400", null, 1e13, undefined]],
    ["currency", ["jpy", "YEN!", 392, undefined]],
    ["to", ["", "a b", "../x", {}, undefined]],
    ["reference", ["", "x".repeat(141), "a\nb", "\u001b[31m", 1, undefined]],
    ["id", ["", "a b", 7, null]],
  ])("parsePaymentOrder() names the member %s for each value it cannot have", (member, values) => {
    for (const value of values) {
      expect(parsePaymentOrder({ ...BODY, [member]: value }, "minted")).toEqual([expect.objectContaining({ member })])
    }
  })

  test("parsePaymentOrder() names a member that it does not know", () => {
    expect(parsePaymentOrder({ ...BODY, from: "acme-2" }, "minted")).toEqual([
      { member: "from", detail: "is not known here" },
    ])
  })

  test("parsePaymentOrder() names all faults at once", () => {
    expect(parsePaymentOrder({}, "minted")).toHaveLength(4)
  })

  test("parsePaymentOrder() never throws and returns an order or at least one fault", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const order = parsePaymentOrder(value, "minted")
        expect("length" in order ? order.length : 1).toBeGreaterThan(0)
      }),
      { seed: 20_261_122, numRuns: 300 },
    )
  })
})

describe("parseLogin()", () => {
  const BODY = { user: "treasury", pin: "0042" }

  test("parseLogin() takes a user and a PIN as they are", () => {
    expect(parseLogin(BODY)).toEqual(BODY)
  })

  test.each([
    ["user", ["", "a b", "x".repeat(65), 1, null, undefined]],
    ["pin", ["", "123", "1".repeat(13), "12a4", "１２３４", 1234, null, undefined]],
  ])("parseLogin() names the member %s for each value it cannot have", (member, values) => {
    for (const value of values) {
      expect(parseLogin({ ...BODY, [member]: value })).toEqual([expect.objectContaining({ member })])
    }
  })

  test("parseLogin() names all faults at once", () => {
    expect(parseLogin({ password: "x" })).toHaveLength(3)
  })

  test("parseLogin() never throws and repeats no value that was sent", () => {
    const logins = fc.oneof(fc.jsonValue(), fc.record({ user: fc.jsonValue(), pin: fc.constant("secret-9876") }))
    fc.assert(
      fc.property(logins, (value) => {
        expect(JSON.stringify(parseLogin(value))).not.toContain("secret-9876")
      }),
      { seed: 20_261_128, numRuns: 300 },
    )
  })
})

test.each([
  [SAMPLE_PIN, true],
  ["1235", false],
  ["12340", false],
  ["0000", false],
])("isLoginRight() for the PIN %s is %s", (pin, expected) => {
  expect(isLoginRight({ user: "treasury", pin })).toBe(expected)
})

/** Books an order if the ledger allows it, and returns its kind or refusal. */
function pay(store: LedgerStore, client: string, order: PaymentOrder): string {
  const decision = decidePayment(store, client, order, NOW_MS)
  if (decision.kind === "booked") store.book(decision.booking)
  return decision.kind === "refused" ? decision.refusal : decision.kind
}

function forEveryRun(check: (store: LedgerStore) => void): void {
  fc.assert(
    fc.property(fc.array(orders, { maxLength: 40 }), (run) => {
      const store = createMemoryStore(ACCOUNTS)
      for (const { client, order } of run) pay(store, client, order)
      check(store)
    }),
    { seed: 20_261_122, numRuns: 300 },
  )
}

function totalsOf(store: LedgerStore): Record<string, number> {
  const totals: Record<string, number> = {}
  for (const { id, currency } of ACCOUNTS) {
    totals[currency] = (totals[currency] ?? 0) + (store.findAccount(id)?.balance ?? 0)
  }
  return totals
}

/**
 * The ledger of the sample bank in memory, and the accounts that the sample configuration's clients find in it. Promises
 * that a booking is taken as a whole. Everything is gone when the process ends.
 */
import { type Account, type Booking, decidePayment, type Entry, type LedgerStore, type Payment } from "./ledger.ts"

/**
 * Returns a store with these accounts.
 *
 * @throws RangeError when a balance is no safe integer from 0 up, or all of them together are none: every later balance
 * is a part of that sum, so no addition in the ledger can lose a unit
 */
export function createMemoryStore(opening: readonly Account[]): LedgerStore {
  const accounts = new Map(opening.map((account) => [account.id, account]))
  const payments = new Map<string, Payment>()
  const entries = new Map<string, Entry[]>()
  let total = 0
  for (const { id, balance } of opening) {
    total += balance
    if (Number.isSafeInteger(balance) && balance >= 0 && Number.isSafeInteger(total)) continue
    throw new RangeError(`Cannot open account ${id}, its balance or the sum of all is out of range: ${balance}`)
  }

  function enter(account: Account, counterparty: string, amount: number, { id, bookedAtMs, reference }: Payment): void {
    accounts.set(account.id, account)
    const entry = { paymentId: id, bookedAtMs, counterparty, reference, amount, balance: account.balance }
    const list = entries.get(account.id)
    if (list === undefined) entries.set(account.id, [entry])
    else list.push(entry)
  }

  return {
    findAccount: (id) => accounts.get(id),
    accountsOf: (client) => [...accounts.values()].filter(({ owner }) => owner === client),
    findPayment: (payer, id) => payments.get(`${payer}\n${id}`),
    entriesOf: (accountId) => entries.get(accountId) ?? [],
    book({ payment, from, to }: Booking) {
      payments.set(`${payment.payer}\n${payment.id}`, payment)
      enter(from, to.id, -payment.amount, payment)
      enter(to, from.id, payment.amount, payment)
    },
  }
}

const SAMPLE_ACCOUNTS: readonly Account[] = [
  { id: "acme-operating", owner: "acme", name: "Acme operating account", currency: "JPY", balance: 25_000_000 },
  { id: "acme-payroll", owner: "acme", name: "Acme payroll account", currency: "JPY", balance: 8_000_000 },
  { id: "globex-operating", owner: "globex", name: "Globex operating account", currency: "JPY", balance: 12_000_000 },
]
const SAMPLE_PAYMENTS = 2_000

/** Returns a store with accounts of the clients acme and globex and some years of payments between them. */
export function createSampleStore(): LedgerStore {
  const store = createMemoryStore(SAMPLE_ACCOUNTS)
  const startMs = Date.UTC(2024, 0, 1, 9)
  for (let index = 0; index < SAMPLE_PAYMENTS; index++) {
    const isAcmePaying = index % 2 === 0
    const order = {
      id: `sample-${index}`,
      to: isAcmePaying ? "globex-operating" : "acme-operating",
      amount: 1_000 + ((index * 7_919) % 90_000),
      currency: "JPY",
      reference: `Invoice ${10_000 + index}`,
    }
    const decision = decidePayment(store, isAcmePaying ? "acme" : "globex", order, startMs + index * 11 * 3_600_000)
    if (decision.kind === "booked") store.book(decision.booking)
  }
  return store
}

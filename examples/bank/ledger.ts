/**
 * The business of the sample bank: who has which account, what is on it, and whether a payment is made. Pure: it reads a
 * {@link LedgerStore}, the clock is an argument, and a payment is decided here but booked by whoever asked. It promises
 * that money is moved and never made, that no balance falls below zero, and that one payment id pays once.
 */

/** An account. `balance` counts minor units of `currency` (yen, cents) and is a safe integer from 0 up. */
export interface Account {
  readonly id: string
  /** The client that owns the account and alone may see it. */
  readonly owner: string
  readonly name: string
  /** ISO 4217, three capital letters. */
  readonly currency: string
  readonly balance: number
}

/** What a client asks for. `amount` counts minor units. */
export interface PaymentOrder {
  readonly id: string
  /** Id of the account that is paid. The payer's default account pays. */
  readonly to: string
  readonly amount: number
  readonly currency: string
  readonly reference: string
}

/** A payment that was made. */
export interface Payment extends PaymentOrder {
  readonly payer: string
  readonly from: string
  readonly bookedAtMs: number
}

/** One line of a statement; `amount` is negative when the account paid. */
export interface Entry {
  readonly paymentId: string
  readonly bookedAtMs: number
  readonly counterparty: string
  readonly reference: string
  readonly amount: number
  readonly balance: number
}

/** A payment together with both accounts as they are after it. A store takes all of it or nothing. */
export interface Booking {
  readonly payment: Payment
  readonly from: Account
  readonly to: Account
}

/** Where accounts and payments are kept. A payment id belongs to its payer: two clients may use the same one. */
export interface LedgerStore {
  readonly findAccount: (id: string) => Account | undefined
  /** In a stable order; the first one is the client's default account. */
  readonly accountsOf: (client: string) => readonly Account[]
  readonly findPayment: (payer: string, id: string) => Payment | undefined
  /** Oldest first; read lazily, because it may be long. */
  readonly entriesOf: (accountId: string) => Iterable<Entry>
  readonly book: (booking: Booking) => void
}

/** Why a payment is not made. */
export type PaymentRefusal =
  | "no-account"
  | "payee-unknown"
  | "same-account"
  | "currency-mismatch"
  | "insufficient-funds"
  | "payment-id-reused"

/** `booked` asks the caller to book it; `repeated` means that it had been made before and nothing is to be done. */
export type PaymentDecision =
  | { readonly kind: "booked"; readonly booking: Booking }
  | { readonly kind: "repeated"; readonly payment: Payment }
  | { readonly kind: "refused"; readonly refusal: PaymentRefusal }

/** Returns the account when `client` owns it. Another client's account and no account look the same. */
export function accountFor(store: LedgerStore, client: string, id: string): Account | undefined {
  const account = store.findAccount(id)
  return account?.owner === client ? account : undefined
}

/** Returns the client's default account, or undefined when it has none. */
export function defaultAccountFor(store: LedgerStore, client: string): Account | undefined {
  return store.accountsOf(client)[0]
}

/**
 * Decides on a payment by `client`.
 *
 * @param order well formed: `amount` is a safe integer above 0
 * @param nowMs epoch ms, becomes the time of booking
 */
export function decidePayment(store: LedgerStore, client: string, order: PaymentOrder, nowMs: number): PaymentDecision {
  const made = store.findPayment(client, order.id)
  if (made !== undefined) {
    return isSameOrder(made, order) ? { kind: "repeated", payment: made } : refuse("payment-id-reused")
  }
  const from = defaultAccountFor(store, client)
  if (from === undefined) return refuse("no-account")
  const to = store.findAccount(order.to)
  if (to === undefined) return refuse("payee-unknown")
  if (to.id === from.id) return refuse("same-account")
  if (order.currency !== from.currency || order.currency !== to.currency) return refuse("currency-mismatch")
  if (order.amount > from.balance) return refuse("insufficient-funds")
  const payment = { ...order, payer: client, from: from.id, bookedAtMs: nowMs }
  return {
    kind: "booked",
    booking: {
      payment,
      from: { ...from, balance: from.balance - order.amount },
      to: { ...to, balance: to.balance + order.amount },
    },
  }
}

function isSameOrder(made: Payment, order: PaymentOrder): boolean {
  const { to, amount, currency, reference } = order
  return made.to === to && made.amount === amount && made.currency === currency && made.reference === reference
}

function refuse(refusal: PaymentRefusal): PaymentDecision {
  return { kind: "refused", refusal }
}

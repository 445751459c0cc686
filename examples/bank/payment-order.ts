/**
 * Reads a payment order out of an untrusted JSON value: either an order that the ledger may decide on, or every fault with
 * the member it belongs to. Pure and total.
 */
import type { Fault } from "./fault.ts"
import type { PaymentOrder } from "./ledger.ts"

/** Most minor units of one payment. */
const AMOUNT_MAX = 1_000_000_000_000
const IDENTIFIER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const CURRENCY = /^[A-Z]{3}$/
const REFERENCE_LENGTH_MAX = 140
const MEMBERS = new Set(["id", "to", "amount", "currency", "reference"])

/**
 * Returns the order in `value`, or its faults, all at once.
 *
 * @param mintedId the payment id when the body has no member `id`
 */
export function parsePaymentOrder(value: unknown, mintedId: string): PaymentOrder | readonly Fault[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [{ member: "", detail: "an object with amount, currency, to and reference" }]
  }
  const faults: Fault[] = []
  const members: Readonly<Record<string, unknown>> = { ...value }
  const { id = mintedId, to, amount, currency, reference } = members
  for (const member of Object.keys(members)) {
    if (!MEMBERS.has(member)) faults.push({ member, detail: "is not known here" })
  }
  const isAmount = typeof amount === "number" && Number.isSafeInteger(amount) && amount > 0 && amount <= AMOUNT_MAX
  if (!isAmount) faults.push({ member: "amount", detail: `an integer of minor units from 1 to ${AMOUNT_MAX}` })
  const isCurrency = typeof currency === "string" && CURRENCY.test(currency)
  if (!isCurrency) faults.push({ member: "currency", detail: "three capital letters (ISO 4217)" })
  const isTo = typeof to === "string" && IDENTIFIER.test(to)
  if (!isTo) faults.push({ member: "to", detail: "the id of an account" })
  const isReference = typeof reference === "string" && isPlainText(reference)
  if (!isReference) faults.push({ member: "reference", detail: `text of 1 to ${REFERENCE_LENGTH_MAX} characters` })
  const isId = typeof id === "string" && IDENTIFIER.test(id)
  if (!isId) faults.push({ member: "id", detail: "1 to 64 letters, digits, dots, underscores or hyphens" })
  if (faults.length > 0 || !isAmount || !isCurrency || !isTo || !isReference || !isId) return faults
  return { id, to, amount, currency, reference }
}

/** A reference ends up in statements and terminals, so it has no control characters. */
function isPlainText(text: string): boolean {
  return text.length > 0 && text.length <= REFERENCE_LENGTH_MAX && !/\p{C}/u.test(text)
}

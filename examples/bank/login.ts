/**
 * Logging in at the sample bank: a user and a PIN out of an untrusted JSON value, and whether they belong together. It is
 * here to be guessed at: the bank itself counts no guesses, the gateway in front of it does. Pure and total.
 */
import type { Fault } from "./fault.ts"

/** A user of the client's own, such as a department or a cash desk, and the PIN it was given. */
export interface Login {
  readonly user: string
  /** 4 to 12 digits, as text: leading zeros count. */
  readonly pin: string
}

/** The PIN of every user of the sample bank. It is no secret, because nothing is behind it. */
export const SAMPLE_PIN = "1234"

const USER = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const PIN = /^[0-9]{4,12}$/

/** Returns the login in `value`, or its faults, all at once. A fault never repeats what was sent: it may be a PIN. */
export function parseLogin(value: unknown): Login | readonly Fault[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [{ member: "", detail: "an object with user and pin" }]
  }
  const { user, pin, ...others }: Readonly<Record<string, unknown>> = { ...value }
  const isUser = typeof user === "string" && USER.test(user)
  const isPin = typeof pin === "string" && PIN.test(pin)
  const faults: readonly Fault[] = [
    ...Object.keys(others).map((member) => ({ member, detail: "is not known here" })),
    ...(isUser ? [] : [{ member: "user", detail: "1 to 64 letters, digits, dots, underscores or hyphens" }]),
    ...(isPin ? [] : [{ member: "pin", detail: "text of 4 to 12 digits" }]),
  ]
  return faults.length > 0 || !isUser || !isPin ? faults : { user, pin }
}

/** Returns true when the PIN is the user's. */
export function isLoginRight({ pin }: Login): boolean {
  return pin === SAMPLE_PIN
}

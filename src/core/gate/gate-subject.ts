/**
 * Whom one object stands for, and how that names it.
 *
 * A client's object has the client's id as its name. The object of a guard's other key has a digest in its name, so that
 * nothing that a caller typed reaches a name; a colon, which no client id holds, keeps the two apart. Pure and total.
 */
import type { GuardKey } from "./gate-plan.ts"
import { ipLimitKey } from "../limit/ip-limit.ts"

/** Whom an object stands for, as its name tells. */
export type GateSubject =
  | { readonly keyKind: "client"; readonly clientId: string }
  | { readonly keyKind: "address" | "header" }

/** What an object of another key is named by: `text` has to be digested. */
export interface KeyedSubject {
  readonly keyKind: "address" | "header"
  /** Tells guard, kind and value apart; the same for everything that has to be counted together. */
  readonly text: string
}

/**
 * Returns whom a guard of another key counts a request for: the IPv4 address or IPv6 /64 of the caller, or the value of its
 * field, whoever sends it. A request without the field counts for its client: leaving the field out gains nothing.
 *
 * @param value the caller's address or the value of the field; null when there is none
 */
export function keyedSubject(
  guard: { readonly name: string; readonly key: GuardKey },
  clientId: string,
  value: string | null,
): KeyedSubject {
  const { name, key } = guard
  if (key.kind === "address") return { keyKind: "address", text: `${name}\naddress\n${ipLimitKey(value)}` }
  return value === null
    ? { keyKind: "header", text: `${name}\nabsent\n${clientId}` }
    : { keyKind: "header", text: `${name}\nvalue\n${value}` }
}

/** Returns the name of the object of another key. @param digestHex SHA-256 of its text */
export function keyedObjectName({ keyKind }: KeyedSubject, digestHex: string): string {
  return `${keyKind}:${digestHex}`
}

/** Returns whom an object of this name stands for. */
export function parseGateSubject(name: string): GateSubject {
  const kind = /^([^:]*):/.exec(name)?.[1]
  return kind === "address" || kind === "header" ? { keyKind: kind } : { keyKind: "client", clientId: name }
}

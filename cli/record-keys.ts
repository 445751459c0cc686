/**
 * Keys of idempotency records: made for an operator to put into a secret, or kept for the development command.
 */
import { randomBytes } from "node:crypto"
import { parseRecordKey } from "../src/core/idempotency/record-key.ts"
import { ensureKeys } from "./key-files.ts"

/** Returns a new symmetric JWK as one line of JSON. Its name says nothing about it: it stands beside every record. */
export function mintRecordKey(kid = randomBytes(12).toString("base64url")): string {
  return JSON.stringify({ kid, alg: "A256GCM", use: "enc", kty: "oct", k: randomBytes(32).toString("base64url") })
}

/** Returns a key for each name of a secret: the one in `<state>/keys`, or a new one that is kept there. */
export function ensureRecordKeys(names: readonly string[], state: string): Promise<Readonly<Record<string, string>>> {
  return ensureKeys(names, state, { mint: async () => mintRecordKey(), parse: parseRecordKey })
}

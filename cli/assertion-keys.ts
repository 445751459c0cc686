/**
 * Keys of assertions: made for an operator to put into a secret, or kept for the development command.
 */
import { calculateJwkThumbprint, exportJWK, generateKeyPair } from "jose"
import { parseAssertionKey, type AssertionAlgorithm } from "../src/core/assertion/assertion-key.ts"
import { ensureKeys } from "./key-files.ts"

/**
 * Returns a new private JWK as one line of JSON. Without a name of its own it is named by its thumbprint (RFC 7638), so
 * that no two keys share a name.
 */
export async function mintAssertionKey(alg: AssertionAlgorithm, kid?: string): Promise<string> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(privateKey)
  return JSON.stringify({ kid: kid ?? (await calculateJwkThumbprint(jwk)), alg, use: "sig", ...jwk })
}

/** Returns a key for each name of a secret: the one in `<state>/keys`, or a new one that is kept there. */
export function ensureAssertionKeys(
  names: readonly string[],
  state: string,
): Promise<Readonly<Record<string, string>>> {
  return ensureKeys(names, state, { mint: () => mintAssertionKey("ES256"), parse: parseAssertionKey })
}

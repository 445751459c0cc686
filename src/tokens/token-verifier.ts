/**
 * From a token as it was sent to what it says, if its authorization server has signed it.
 *
 * The rules are `core/token/access-token.ts`; signatures are jose's. What was verified is remembered by the SHA-256 of the token,
 * together with the key that verified it: it is good for as long as that key is among the server's. Only good tokens are
 * remembered, so that nobody pushes them out by guessing. Time, certificate and client are no part of what is remembered.
 * One per isolate.
 */
import { compactVerify } from "jose/jws/compact/verify"
import { importJWK } from "jose/key/import"
import type { AuthorizationServer } from "../config/config.ts"
import type { GatewayContext } from "../context.ts"
import { decideHeader, forLog, readClaims, type TokenFacts } from "../core/token/access-token.ts"
import { TOKEN_CACHE_ENTRIES_MAX } from "../core/bounds.ts"
import type { PublicKey, TokenAlgorithm } from "../core/token/json-web-key.ts"
import { sha256Hex } from "../digest.ts"
import { remember } from "../memory.ts"
import type { KeySets } from "./key-sets.ts"

/** What a token says; or why it says nothing; or that its key cannot be had. */
export type Verification =
  | { readonly kind: "verified"; readonly facts: TokenFacts }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "unavailable" }

/** Verifies tokens. */
export interface TokenVerifier {
  /** Never rejects, whatever was sent. */
  verify(c: GatewayContext, server: AuthorizationServer, token: string): Promise<Verification>
}

interface Remembered {
  readonly kid: string
  readonly key: PublicKey
  readonly facts: TokenFacts
}

/** Returns a verifier that remembers nothing yet. */
export function createTokenVerifier(keySets: KeySets): TokenVerifier {
  const remembered = new Map<string, Remembered>()
  const imported = new WeakMap<PublicKey, Map<TokenAlgorithm, CryptoKey>>()

  async function importKey(key: PublicKey, algorithm: TokenAlgorithm): Promise<CryptoKey | undefined> {
    const keys = imported.get(key) ?? new Map<TokenAlgorithm, CryptoKey>()
    imported.set(key, keys)
    const known = keys.get(algorithm)
    if (known !== undefined) return known
    try {
      const fresh = await importJWK({ ...key.jwk }, algorithm)
      if (fresh instanceof Uint8Array) return undefined
      keys.set(algorithm, fresh)
      return fresh
    } catch {
      // A point that is not on its curve, for one.
      return undefined
    }
  }

  async function findSigner(
    token: string,
    algorithm: TokenAlgorithm,
    keys: readonly PublicKey[],
  ): Promise<{ readonly key: PublicKey; readonly payload: Uint8Array } | undefined> {
    for (const key of keys) {
      const cryptoKey = key.algorithms.includes(algorithm) ? await importKey(key, algorithm) : undefined
      if (cryptoKey === undefined) continue
      try {
        const { payload } = await compactVerify(token, cryptoKey, { algorithms: [algorithm] })
        return { key, payload }
      } catch {
        // Not by this key.
      }
    }
    return undefined
  }

  return {
    async verify(c, server, token) {
      const id = `${server.name} ${await sha256Hex(token)}`
      const known = remembered.get(id)
      if (known !== undefined) {
        const found = await keySets.find(c, server, known.kid)
        if (found.kind === "unavailable") return found
        if (found.kind === "known" && found.keys.includes(known.key)) return { kind: "verified", facts: known.facts }
        remembered.delete(id)
      }
      const header = decideHeader(token, server)
      if (!header.ok) return { kind: "refused", reason: header.reason }
      const { algorithm, kid, type } = header
      const found = await keySets.find(c, server, kid)
      if (found.kind === "unavailable") return found
      if (found.kind === "unknown") return { kind: "refused", reason: `kid_unknown ${forLog(kid)}` }
      const signer = await findSigner(token, algorithm, found.keys)
      if (signer === undefined) return { kind: "refused", reason: "signature_invalid" }
      const claims = readClaims(signer.payload, type, server)
      if (!claims.ok) return { kind: "refused", reason: claims.reason }
      remember(remembered, id, { kid, key: signer.key, facts: claims.facts }, TOKEN_CACHE_ENTRIES_MAX)
      return { kind: "verified", facts: claims.facts }
    },
  }
}

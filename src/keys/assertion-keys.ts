/**
 * The keys of assertions in one isolate: read from the Worker's secrets, imported once, used to sign and to publish.
 *
 * What a secret may hold is `core/assertion/assertion-key.ts`. A key is tried once before it is used, so one whose parts do not belong
 * together signs nothing that no published key verifies. Faults name the secret and never what it holds.
 */
import { CompactSign, compactVerify, importJWK } from "jose"
import type { AssertionIssuer } from "../config/config.ts"
import type { AssertionKeys } from "../context.ts"
import { parseAssertionKey, type AssertionKey, type PublicJwk } from "../core/assertion/assertion-key.ts"
import { GATEWAY_ASSERTION_TYPE, type AssertionClaims } from "../core/assertion/gateway-assertion.ts"

type SigningKey = AssertionKey & { readonly privateKey: CryptoKey }
type Ready = { readonly ok: true; readonly key: SigningKey } | { readonly ok: false; readonly reason: string }

/** Returns the keys of one isolate. Nothing is read or imported before the first request that needs it. */
export function createAssertionKeys(
  { keys: names }: AssertionIssuer,
  secrets: Readonly<Record<string, unknown>>,
): AssertionKeys {
  const [signing = ""] = names
  // Results, not promises: a request that ends while it imports leaves nothing behind that others would wait for.
  const ready = new Map<string, Ready>()
  const get = async (name: string): Promise<Ready> => {
    const known = ready.get(name)
    if (known !== undefined) return known
    const result = await readKey(name, secrets[name])
    ready.set(name, result)
    return result
  }
  return {
    async sign(claims) {
      const result = ready.get(signing) ?? (await get(signing))
      return result.ok ? { ok: true, text: await sign(result.key, claims) } : result
    },
    async publish() {
      const results = await Promise.all(names.map(get))
      const keys: PublicJwk[] = []
      for (const result of results) {
        // Half a set would look like a whole one to whoever checks a rotation.
        if (!result.ok) return result
        keys.push(result.key.publicJwk)
      }
      const twice = keys.find(({ kid }, index) => keys.findIndex((other) => other.kid === kid) < index)
      if (twice !== undefined) return { ok: false, reason: `assertion_key_kid_repeated:${names.join(",")}` }
      return { ok: true, text: JSON.stringify({ keys }) }
    },
  }
}

async function readKey(name: string, secret: unknown): Promise<Ready> {
  const parsed = parseAssertionKey(secret)
  if (!parsed.ok) return { ok: false, reason: `assertion_key_${parsed.reason}:${name}` }
  const { alg, privateJwk, publicJwk } = parsed.key
  try {
    const privateKey = await importJWK({ ...privateJwk, ext: false }, alg)
    // Octets are what a symmetric key becomes; the types cannot know that there is none.
    if (privateKey instanceof Uint8Array) return { ok: false, reason: `assertion_key_inconsistent:${name}` }
    const key = { ...parsed.key, privateKey }
    await compactVerify(await sign(key, {}), await importJWK({ ...publicJwk }, alg), { algorithms: [alg] })
    return { ok: true, key }
  } catch {
    return { ok: false, reason: `assertion_key_inconsistent:${name}` }
  }
}

const encoder = new TextEncoder()

/** Claims are signed as they are: what a builder of tokens would check and copy is built by the core already. */
async function sign({ alg, kid, privateKey }: SigningKey, claims: AssertionClaims | object): Promise<string> {
  return new CompactSign(encoder.encode(JSON.stringify(claims)))
    .setProtectedHeader({ alg, typ: GATEWAY_ASSERTION_TYPE, kid })
    .sign(privateKey)
}

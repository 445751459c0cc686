/**
 * The keys of idempotency records in one isolate: read from the Worker's secrets, imported once, used to digest and to encrypt.
 *
 * What a secret may hold is `core/idempotency/record-key.ts`. Each use has a key of its own, derived from the secret, so that no digest helps
 * against what is encrypted. An answer is bound to client, key and request by the protected header of its JWE, which is compared
 * after decryption: a record that was put in the place of another one opens for nobody. Faults name the secret and never what
 * it holds.
 *
 * @see RFC 7516 (JWE), RFC 5869 (HKDF)
 */
import type { IdempotencyTerms } from "../config/config.ts"
import type { RecordKeys } from "../context.ts"
import { formatHex } from "../core/hex.ts"
import { fingerprintText, keyText } from "../core/idempotency/idempotency-key.ts"
import { parseRecordKey } from "../core/idempotency/record-key.ts"
import { openJwe, sealJwe } from "./compact-jwe.ts"

interface RecordKey {
  readonly kid: string
  readonly digestKey: CryptoKey
  readonly encryptionKey: CryptoKey
}
type Ready =
  | { readonly ok: true; readonly keys: readonly RecordKey[] }
  | { readonly ok: false; readonly reason: string }

/** Returns the keys of one isolate. Nothing is read or imported before the first request that needs it. */
export function createRecordKeys(
  { keys: names }: Pick<IdempotencyTerms, "keys">,
  secrets: Readonly<Record<string, unknown>>,
): RecordKeys {
  // A result, not a promise: a request that ends while it imports leaves nothing behind that others would wait for.
  let known: Ready | undefined
  const ready = async (): Promise<Ready> => (known ??= await readKeys(names, secrets))
  return {
    async identify(request) {
      const result = await ready()
      if (!result.ok) return result
      const identities = await Promise.all(
        result.keys.map(async ({ digestKey, kid }) => ({
          kid,
          key: await digest(digestKey, keyText(request)),
          fingerprint: await digest(digestKey, fingerprintText(request)),
          client: await digest(digestKey, `client ${request.clientId}`),
        })),
      )
      return { ok: true, identities }
    },
    async seal(octets, { client, fingerprint, key }) {
      const result = await ready()
      const first = result.ok ? result.keys[0] : undefined
      if (first === undefined) throw new Error("Record keys are used before they identified anything")
      return sealJwe(octets, first.encryptionKey, { kid: first.kid, client, key, fingerprint })
    },
    async open(answer, { client, fingerprint, key }) {
      const result = await ready()
      if (!result.ok) return undefined
      // What does not open is of a foreign key, another record, or damaged.
      const opened = await openJwe(
        answer,
        ({ kid }) => result.keys.find((candidate) => candidate.kid === kid)?.encryptionKey,
      )
      if (opened === undefined) return undefined
      const { client: ofClient, fingerprint: ofRequest, key: ofKey } = opened.header
      return ofClient === client && ofRequest === fingerprint && ofKey === key ? opened.octets : undefined
    },
  }
}

async function readKeys(names: readonly string[], secrets: Readonly<Record<string, unknown>>): Promise<Ready> {
  const keys: RecordKey[] = []
  for (const name of names) {
    const parsed = parseRecordKey(secrets[name])
    // With one of them missing, a record that stands under it would not be found.
    if (!parsed.ok) return { ok: false, reason: `record_key_${parsed.reason}:${name}` }
    const { kid, octets } = parsed
    if (keys.some((key) => key.kid === kid)) return { ok: false, reason: `record_key_kid_repeated:${names.join(",")}` }
    const secret = await crypto.subtle.importKey("raw", octets, "HKDF", false, ["deriveKey"])
    keys.push({
      kid,
      digestKey: await derive(secret, "digest", { name: "HMAC", hash: "SHA-256", length: 256 }, ["sign"]),
      encryptionKey: await derive(secret, "encryption", { name: "AES-GCM", length: 256 }, ["encrypt", "decrypt"]),
    })
  }
  return { ok: true, keys }
}

const encoder = new TextEncoder()

async function derive(
  secret: CryptoKey,
  use: "digest" | "encryption",
  algorithm: { readonly name: string; readonly hash?: string; readonly length: number },
  usages: readonly string[],
): Promise<CryptoKey> {
  const info = encoder.encode(`sekisho idempotency record ${use}`)
  const hkdf = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info }
  return crypto.subtle.deriveKey(hkdf, secret, algorithm, false, [...usages])
}

async function digest(key: CryptoKey, text: string): Promise<string> {
  return formatHex(new Uint8Array(await crypto.subtle.sign("HMAC", key, encoder.encode(text))))
}

/**
 * Which keys of an authorization server's key set may verify tokens, and with which algorithms.
 *
 * A set is judged when it is read, not when a token asks for a key: what is too short, symmetric, private or meant for
 * something else is left out. Algorithms follow from the key and the configuration, never from a token alone. Pure and
 * total; called by the shell that fetches key sets.
 *
 * @see RFC 7517, RFC 7518 §6, RFC 8037, RFC 8725 §3.1
 */
import { parseBase64url } from "../base64url.ts"
import { RSA_BITS_MAX, RSA_BITS_MIN, TOKEN_KEY_ID_LENGTH_MAX, TOKEN_KEYS_MAX } from "../bounds.ts"
import { membersOf } from "../untrusted.ts"

/** Algorithms that a configuration may allow: signatures of a key pair. */
export const TOKEN_ALGORITHMS = [
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
  "RS256",
  "RS384",
  "RS512",
] as const

/** One of {@link TOKEN_ALGORITHMS}. */
export type TokenAlgorithm = (typeof TOKEN_ALGORITHMS)[number]

/** A key that may verify tokens. */
export interface PublicKey {
  readonly kid: string
  /** Its public members only, ready to be imported. */
  readonly jwk: Readonly<Record<string, string>>
  readonly algorithms: readonly TokenAlgorithm[]
  /** The same for the same key with the same meaning, and for no other. */
  readonly identity: string
}

/**
 * Returns the usable keys in an untrusted key set, in its order; undefined when it is none or has more than
 * {@link TOKEN_KEYS_MAX} keys. A set without usable keys is one: then nothing verifies any more.
 */
export function parseKeySet(value: unknown): readonly PublicKey[] | undefined {
  const { keys } = membersOf(value)
  if (!Array.isArray(keys) || keys.length > TOKEN_KEYS_MAX) return undefined
  return keys.flatMap((key) => parseKey(key) ?? [])
}

const PRIVATE_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"]

function parseKey(value: unknown): PublicKey | undefined {
  const key = membersOf(value)
  const { kid, use, key_ops: operations, alg } = key
  if (typeof kid !== "string" || kid === "" || kid.length > TOKEN_KEY_ID_LENGTH_MAX) return undefined
  // A private key in a public place is nobody's secret any more.
  if (PRIVATE_MEMBERS.some((name) => Object.hasOwn(key, name))) return undefined
  if (use !== undefined && use !== "sig") return undefined
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify"))) return undefined
  const material = parseMaterial(key)
  if (material === undefined) return undefined
  const algorithms = material.algorithms.filter((algorithm) => alg === undefined || alg === algorithm)
  if (algorithms.length === 0) return undefined
  const { jwk } = material
  return { kid, jwk, algorithms, identity: JSON.stringify([kid, jwk, algorithms]) }
}

type Material = Pick<PublicKey, "jwk" | "algorithms">

function parseMaterial(key: Readonly<Record<string, unknown>>): Material | undefined {
  switch (key["kty"]) {
    case "RSA":
      return parseRsa(key)
    case "EC":
      return parseCurve(key)
    case "OKP":
      return parseEdwards(key)
    default:
      return undefined
  }
}

function parseRsa({ n, e }: Readonly<Record<string, unknown>>): Material | undefined {
  const modulus = parseNumber(n)
  const exponent = parseNumber(e)
  if (modulus === undefined || exponent === undefined) return undefined
  const bits = bitsOf(modulus)
  const isExponentLarge = exponent.length > 2 && exponent.length <= 4 && ((exponent.at(-1) ?? 0) & 1) === 1
  if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX || !isExponentLarge) return undefined
  return {
    jwk: { kty: "RSA", n: String(n), e: String(e) },
    algorithms: ["PS256", "PS384", "PS512", "RS256", "RS384", "RS512"],
  }
}

/** Curves by name, with the octets of a coordinate. */
const CURVES: ReadonlyMap<unknown, readonly [TokenAlgorithm, number]> = new Map([
  ["P-256", ["ES256", 32]],
  ["P-384", ["ES384", 48]],
  ["P-521", ["ES512", 66]],
])

function parseCurve({ crv, x, y }: Readonly<Record<string, unknown>>): Material | undefined {
  const curve = CURVES.get(crv)
  if (curve === undefined || parseOctets(x)?.length !== curve[1] || parseOctets(y)?.length !== curve[1])
    return undefined
  return { jwk: { kty: "EC", crv: String(crv), x: String(x), y: String(y) }, algorithms: [curve[0]] }
}

function parseEdwards({ crv, x }: Readonly<Record<string, unknown>>): Material | undefined {
  if (crv !== "Ed25519" || parseOctets(x)?.length !== 32) return undefined
  return { jwk: { kty: "OKP", crv, x: String(x) }, algorithms: ["EdDSA", "Ed25519"] }
}

function parseOctets(value: unknown): Uint8Array | undefined {
  return typeof value === "string" ? parseBase64url(value) : undefined
}

/** A number without leading zero octets. @see RFC 7518 §2, Base64urlUInt */
function parseNumber(value: unknown): Uint8Array | undefined {
  const octets = parseOctets(value)
  return octets === undefined || (octets[0] ?? 0) === 0 ? undefined : octets
}

function bitsOf(octets: Uint8Array): number {
  return octets.length * 8 - Math.clz32(octets[0] ?? 0) + 24
}

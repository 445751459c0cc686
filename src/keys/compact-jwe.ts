/**
 * JWE in compact form with one key that both sides have: `dir` and `A256GCM`, and nothing else.
 *
 * jose writes the same (its tests here read ours, and the other way round), for every algorithm that there is, which is 5.5 KiB of a bundle that
 * has to be loaded wherever an isolate begins. The cryptography is the platform's.
 *
 * @see RFC 7516 §3.1 (compact serialization), RFC 7518 §4.5 (dir), §5.3 (AES GCM)
 */
import { formatBase64url, parseBase64url } from "../core/base64url.ts"
import { isJsonObject, parseJson } from "../core/untrusted.ts"

const ALG = "dir"
const ENC = "A256GCM"
const IV_BYTES = 12
const TAG_BYTES = 16

const encoder = new TextEncoder()

/** Members of a protected header beside `alg` and `enc`. */
export type JweHeader = Readonly<Record<string, unknown>>

/** Returns the octets encrypted under a 256-bit AES-GCM key, bound to the header. Each call draws an initialization vector. */
export async function sealJwe(octets: Uint8Array, key: CryptoKey, header: JweHeader): Promise<string> {
  const protectedText = formatBase64url(encoder.encode(JSON.stringify({ alg: ALG, enc: ENC, ...header })))
  const iv = crypto.getRandomValues(new Uint8Array(IV_BYTES))
  const sealed = new Uint8Array(await crypto.subtle.encrypt(termsOf(iv, protectedText), key, octets))
  const tagAt = sealed.length - TAG_BYTES
  const [content, tag] = [sealed.subarray(0, tagAt), sealed.subarray(tagAt)]
  return [protectedText, "", formatBase64url(iv), formatContent(content), formatBase64url(tag)].join(".")
}

/**
 * Returns what was encrypted, and its header; undefined for a text that is none, is damaged, or has another key or algorithm.
 *
 * @param keyOf gives the key that a header names, undefined for none; nothing in the header is vouched for before it opens
 */
export async function openJwe(
  text: string,
  keyOf: (header: JweHeader) => CryptoKey | undefined,
): Promise<{ readonly octets: Uint8Array<ArrayBuffer>; readonly header: JweHeader } | undefined> {
  const [protectedText = "", encryptedKey, ivText = "", contentText = "", tagText = "", ...rest] = text.split(".")
  const [headerOctets, iv, tag] = [protectedText, ivText, tagText].map(parseBase64url)
  const content = parseContent(contentText)
  if (encryptedKey !== "" || rest.length > 0 || headerOctets === undefined || content === undefined) return undefined
  if (iv?.length !== IV_BYTES || tag?.length !== TAG_BYTES) return undefined
  const header = parseJson(new TextDecoder().decode(headerOctets))
  if (!isJsonObject(header) || header["alg"] !== ALG || header["enc"] !== ENC) return undefined
  // Extensions that one would have to understand, and compression: there are none here.
  if ("crit" in header || "zip" in header) return undefined
  const key = keyOf(header)
  if (key === undefined) return undefined
  const sealed = new Uint8Array(content.length + TAG_BYTES)
  sealed.set(content)
  sealed.set(tag, content.length)
  try {
    const octets = await crypto.subtle.decrypt(termsOf(iv, protectedText), key, sealed)
    return { octets: new Uint8Array(octets), header }
  } catch {
    return undefined
  }
}

/** As `formatBase64url`, by the platform: an answer may have hundreds of thousands of octets. */
function formatContent(octets: Uint8Array): string {
  let binary = ""
  for (let i = 0; i < octets.length; i += CHUNK) binary += String.fromCharCode(...octets.subarray(i, i + CHUNK))
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")
}

/** The same the other way round. Stray bits at the end are no harm: what they stand in for is authenticated. */
function parseContent(text: string): Uint8Array | undefined {
  if (text.length % 4 === 1 || !/^[\w-]*$/.test(text)) return undefined
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0))
}

/** Arguments of one call. */
const CHUNK = 8_192

function termsOf(iv: Uint8Array<ArrayBuffer>, protectedText: string) {
  return { name: "AES-GCM", iv, additionalData: encoder.encode(protectedText), tagLength: TAG_BYTES * 8 }
}

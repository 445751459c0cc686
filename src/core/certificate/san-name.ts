/**
 * DNS names and mail addresses as they are compared: in one spelling, or not at all.
 *
 * A name of a certificate that has no such spelling identifies nobody. That is so for wildcards, addresses in the clothes of a
 * name, a trailing dot and everything that is not ASCII: nothing is repaired, cut or matched in part. Pure and total; called
 * with names of certificates and of the configuration, so both sides go through the same gate.
 *
 * @see RFC 5280 §4.2.1.6, RFC 5321 §4.1.2
 */

const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/
const LOCAL_PART = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/
const ASCII = /^[\x21-\x7e]+$/

/**
 * Returns a DNS name in lower case, or undefined for anything that is no host name of at most 253 characters. A last label
 * of digits alone would make it an IPv4 address.
 */
export function normalizeDnsName(text: string): string | undefined {
  if (text.length > 253 || !ASCII.test(text)) return undefined
  const name = text.toLowerCase()
  const labels = name.split(".")
  return labels.every((label) => LABEL.test(label)) && !/^[0-9]+$/.test(labels.at(-1) ?? "") ? name : undefined
}

/**
 * Returns a mail address with its domain in lower case, or undefined. The local part stays as it is: whether its case matters
 * is for its own host to say. Quoted local parts are refused.
 */
export function normalizeEmail(text: string): string | undefined {
  const at = text.lastIndexOf("@")
  const local = text.slice(0, Math.max(0, at))
  const domain = normalizeDnsName(text.slice(at + 1))
  return local.length <= 64 && LOCAL_PART.test(local) && domain !== undefined ? `${local}@${domain}` : undefined
}

/**
 * The certificate revocation list of the development CA (RFC 5280 §5): version 2, numbered, valid for 30 days and made
 * anew when half of them are over. A serial that is on it stays on it for as long as its certificate can be valid.
 */
import "./reflection.ts"
import * as x509 from "@peculiar/x509"
import { type Authority, LEAF_VALIDITY_MS, subjectKeyIdentifierOf } from "./certificate.ts"

/** Validity of a list, in ms. */
const CRL_VALIDITY_MS = 30 * 86_400_000
const CRL_NUMBER = "2.5.29.20"

/** Returns true when the list is the CA's own, names exactly the right certificates for now, and is not half over. */
export async function isCrlCurrent(
  pem: string,
  authority: Authority,
  revokedSerial: string,
  nowMs: number,
): Promise<boolean> {
  const crl = await parseOwnCrl(pem, authority)
  if (crl === undefined || crl.thisUpdate.getTime() > nowMs) return false
  if (!crl.entries.some((entry) => isSameSerial(entry.serialNumber, revokedSerial))) return false
  return nowMs - crl.thisUpdate.getTime() < CRL_VALIDITY_MS / 2
}

/**
 * Returns a new list as PEM: `revokedSerial`, and what the previous list names and may still be valid.
 *
 * @param previousPem the list to replace; ignored when the CA did not sign it
 * @param revokedSerial a certificate to revoke now; upper- or lower-case hex
 */
export async function issueCrl(
  authority: Authority,
  previousPem: string | undefined,
  revokedSerial: string,
  nowMs: number,
): Promise<string> {
  const previous = previousPem === undefined ? undefined : await parseOwnCrl(previousPem, authority)
  const kept = (previous?.entries ?? []).filter(
    (entry) =>
      !isSameSerial(entry.serialNumber, revokedSerial) && entry.revocationDate.getTime() + LEAF_VALIDITY_MS > nowMs,
  )
  const crl = await x509.X509CrlGenerator.create({
    issuer: authority.certificate.subjectName,
    thisUpdate: new Date(nowMs),
    nextUpdate: new Date(nowMs + CRL_VALIDITY_MS),
    signingKey: authority.privateKey,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
    entries: [
      ...kept.map(({ serialNumber, revocationDate, reason }) => ({
        serialNumber,
        revocationDate,
        ...(reason === undefined ? {} : { reason }),
      })),
      { serialNumber: revokedSerial, revocationDate: new Date(nowMs), reason: x509.X509CrlReason.keyCompromise },
    ],
    extensions: [
      new x509.AuthorityKeyIdentifierExtension(subjectKeyIdentifierOf(authority.certificate)),
      // The clock as the number: it only grows, and needs no state beside the list.
      new x509.Extension(CRL_NUMBER, false, encodeInteger(nowMs)),
    ],
  })
  // RFC 7468 §6 names the label; the package itself writes one that OpenSSL does not know.
  return x509.PemConverter.encode(crl.rawData, "X509 CRL") + "\n"
}

/** Returns what `crl.pem` says about itself; undefined when the CA did not sign it. */
export async function parseOwnCrl(pem: string, authority: Authority): Promise<x509.X509Crl | undefined> {
  try {
    const crl = new x509.X509Crl(pem)
    return (await crl.verify({ publicKey: authority.certificate })) ? crl : undefined
  } catch {
    return undefined
  }
}

function isSameSerial(left: string, right: string): boolean {
  return BigInt(`0x${left}`) === BigInt(`0x${right}`)
}

/** DER of a non-negative INTEGER below 2^1016: the length then fits one octet. */
function encodeInteger(value: number): Buffer<ArrayBuffer> {
  const digits = value.toString(16)
  const octets = Buffer.from(digits.length % 2 === 0 ? digits : `0${digits}`, "hex")
  const padded = octets.readUInt8(0) > 0x7f ? Buffer.concat([Buffer.of(0), octets]) : octets
  return Buffer.concat([Buffer.of(0x02, padded.length), padded])
}

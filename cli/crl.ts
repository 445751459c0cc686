/**
 * `sekisho crl`: shows what a revocation list says, read by the code that the gateway reads it with, and whether the gateway would
 * use it.
 */
import { readFile } from "node:fs/promises"
import { CRL_PROBLEMS, parseCrl, type CrlFacts } from "../src/core/certificate/crl.ts"
import { formatRfc4514, nameKey } from "../src/core/certificate/distinguished-name.ts"
import { decodePem, isPem } from "../src/core/certificate/pem.ts"
import { isNamedBy } from "../src/core/certificate/revocation.ts"
import { planVerification } from "../src/core/certificate/signature.ts"
import { parseSerial, parseX509, type X509Facts } from "../src/core/certificate/x509.ts"
import { createPaint, formatTable, printable, type Paint } from "./terminal.ts"
import { UsageError } from "./usage-error.ts"

/** What the command was asked. */
export interface CrlFlags {
  readonly file: string
  /** File of the CA's certificate: PEM or DER. */
  readonly ca: string | undefined
  /** Serial in hex, colons allowed. */
  readonly serial: string | undefined
}

/** Entries that are shown; the others are counted. */
const ENTRIES_SHOWN = 10

/** Runs the command; returns 1 when the list is over, not yet valid or not signed by the given CA. */
export async function runCrl({ file, ca: caFile, serial: serialText }: CrlFlags, nowMs: number): Promise<number> {
  const paint = createPaint(process.stdout)
  const serial = serialText === undefined ? undefined : parseSerial(serialText)
  if (serialText !== undefined && serial === undefined)
    throw new UsageError(`--serial takes a serial number in hex, such as 4A:1B:0C, not "${printable(serialText)}".`)
  const parsed = parseCrl(await readOctets(file))
  if (!parsed.ok)
    throw new UsageError(`${file} is no list that the gateway uses: ${CRL_PROBLEMS[parsed.reason]} (${parsed.reason}).`)
  const { crl } = parsed
  const ca = caFile === undefined ? undefined : await readCa(caFile)
  const signature = ca === undefined ? undefined : await judgeSignature(crl, ca)
  const isCurrent = crl.thisUpdateMs <= nowMs && nowMs < crl.nextUpdateMs
  const rows = [
    ["issuer", printable(formatRfc4514(crl.issuer))],
    ["issuer's key", crl.authorityKeyId ?? "not named"],
    ["this update", formatInstant(crl.thisUpdateMs, nowMs)],
    ["next update", formatInstant(crl.nextUpdateMs, nowMs)],
    [
      "in force",
      isCurrent ? paint("green", "yes") : paint("red", crl.thisUpdateMs > nowMs ? "not yet" : "no, it is over"),
    ],
    ["number", crl.number === undefined ? "none (version 1)" : formatNumber(crl.number)],
    ...(crl.urls.length === 0 ? [] : [["published at", printable(crl.urls.join(", "))]]),
    ["signature", describeSignature(signature, paint)],
    ["entries", String(crl.entries.size)],
    ...(serial === undefined ? [] : [[`serial ${serial}`, describeSerial(crl, serial, paint)]]),
  ]
  const width = Math.max(...rows.map(([label = ""]) => label.length)) + 2
  console.log(
    `\n${rows.map(([label = "", value = ""]) => `  ${paint("dim", label.padEnd(width))}${value}`).join("\n")}\n`,
  )
  if (crl.entries.size > 0 && serial === undefined) printEntries(crl, paint)
  return isCurrent && signature !== "invalid" ? 0 : 1
}

function printEntries({ entries }: CrlFacts, paint: Paint): void {
  const rows = [...entries]
    .slice(0, ENTRIES_SHOWN)
    .map(([serial, { reason, revokedAtMs }]) => [serial, new Date(revokedAtMs).toISOString(), reason])
  console.log(formatTable(["revoked serial", "since", "reason"], rows, paint))
  const left = entries.size - rows.length
  console.log(left > 0 ? `\n  ${paint("dim", `and ${left} more; --serial HEX asks about one`)}\n` : "")
}

function describeSignature(verdict: "valid" | "invalid" | undefined, paint: Paint): string {
  if (verdict === undefined) return "not verified: name the CA's certificate with --ca"
  return verdict === "valid" ? paint("green", "by this CA") : paint("red", "not by this CA")
}

function describeSerial({ entries }: CrlFacts, serial: string, paint: Paint): string {
  const entry = entries.get(serial)
  if (entry === undefined) return paint("green", "not revoked")
  return paint("red", `revoked since ${new Date(entry.revokedAtMs).toISOString()} (${entry.reason})`)
}

/** The same three questions that the gateway asks of a list that it has fetched. */
async function judgeSignature(crl: CrlFacts, ca: X509Facts): Promise<"valid" | "invalid"> {
  const isIssuer = isNamedBy(crl, { nameKey: nameKey(ca.subject), ski: ca.subjectKeyId }) && ca.allowsCrlSigning
  const plan = planVerification(crl.signatureAlgorithm, ca.publicKey, crl.signature)
  if (!isIssuer || plan === undefined) return "invalid"
  try {
    const spki = Uint8Array.from(ca.publicKey)
    const key = await crypto.subtle.importKey("spki", spki, plan.keyAlgorithm, false, ["verify"])
    const isValid = await crypto.subtle.verify(plan.algorithm, key, plan.signature, Uint8Array.from(crl.signed))
    return isValid ? "valid" : "invalid"
  } catch {
    // A key that the platform does not take has signed nothing.
    return "invalid"
  }
}

async function readCa(file: string): Promise<X509Facts> {
  const octets = await readOctets(file)
  const der = isPem(octets) ? decodePem(octets, ["CERTIFICATE"]) : octets
  const facts = der === undefined ? undefined : parseX509(der)
  if (facts === undefined) throw new UsageError(`${file} is no certificate: --ca takes one certificate, PEM or DER.`)
  if (!facts.isCa) throw new UsageError(`${file} is no CA's certificate: ${printable(formatRfc4514(facts.subject))}`)
  return facts
}

async function readOctets(file: string): Promise<Uint8Array> {
  try {
    return new Uint8Array(await readFile(file))
  } catch (error) {
    const reason = error instanceof Error && "code" in error ? String(error.code) : String(error)
    throw new UsageError(reason === "ENOENT" ? `There is no file ${file}.` : `${file} cannot be read: ${reason}`)
  }
}

function formatInstant(ms: number, nowMs: number): string {
  const days = Math.floor(Math.abs(ms - nowMs) / 86_400_000)
  const hours = Math.floor(Math.abs(ms - nowMs) / 3_600_000)
  const distance = days > 1 ? `${days} days` : `${hours} h`
  return `${new Date(ms).toISOString()}  ${ms > nowMs ? `in ${distance}` : `${distance} ago`}`
}

/** Short numbers also as people count; OpenSSL prints hex. */
function formatNumber(hex: string): string {
  return `0x${hex} (${BigInt(`0x${hex}`)})`
}

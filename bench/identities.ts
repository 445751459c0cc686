/**
 * Many clients: the variables that name them, and requests as the platform would deliver them.
 *
 * Their certificates are copies of one with another name in it. The signature of a copy is nobody's, and nobody asks: a chain is the platform's
 * to verify, and the platform's word is what a bench speaks itself.
 */
import { X509Certificate } from "node:crypto"
import { DEVELOPMENT_SKI } from "../cli/pki/development-ski.ts"
import { createAuthority, issueLeaf } from "../cli/pki/certificate.ts"
import { parseSubject } from "../cli/pki/name.ts"
import { fieldsOf } from "./worker.ts"

const PREFIX = "spiffe://partners.example/"

/** Returns the id of a client by its number, always of the same length. */
export function clientId(index: number): string {
  return `client-${String(index).padStart(6, "0")}`
}

/** Returns the variable `CLIENTS` with as many clients. */
export function clientVariables(count: number): readonly object[] {
  return Array.from({ length: count }, (_, index) => ({
    id: clientId(index),
    certificates: [{ issuer: "development", san_uri: `${PREFIX}${clientId(index)}` }],
  }))
}

/** Returns the fields of a request of each of the first `count` clients. */
export async function identityFields(count: number): Promise<readonly Readonly<Record<string, string>>[]> {
  const nowMs = Date.now()
  const authority = await createAuthority(parseSubject("CN=Bench CA"), nowMs, DEVELOPMENT_SKI)
  const names = [{ type: "url", value: `${PREFIX}${clientId(0)}` }] as const
  const plan = { subject: parseSubject("CN=bench"), names, usage: "client", period: "current" } as const
  const first = new X509Certificate((await issueLeaf(authority, plan, nowMs)).certificatePem).raw
  return Array.from({ length: count }, (_, index) => fieldsOf(new X509Certificate(renamed(first, index))))
}

/** Returns the certificate of the first client with the name of another one. */
export function renamed(first: Buffer, index: number): Buffer {
  const copy = Buffer.from(first)
  const at = copy.indexOf(clientId(0))
  if (at < 0) throw new Error("The certificate does not name the first client")
  copy.write(clientId(index), at)
  return copy
}

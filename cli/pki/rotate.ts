/**
 * Gives a client of the development PKI a second certificate, as a partner who renews would have one: the new one takes the
 * place of the old one, which stays beside it as `clients/<id>.old.pem`. Both are of the same CA and say the same; only their
 * keys tell them apart. Called by `sekisho pki rotate` and by the end-to-end tests; the clock is an argument.
 */
import { createHash, X509Certificate } from "node:crypto"
import { join } from "node:path"
import { ensureAuthority } from "./authority.ts"
import { issueLeaf } from "./certificate.ts"
import { ensurePki, type PkiOptions } from "./ensure.ts"
import { PkiError } from "./error.ts"
import { readTextIfPresent, SECRET_MODE, writeWhole } from "./files.ts"
import { planLeaves } from "./plan.ts"

/** One of the two certificates. */
export interface RotatedCertificate {
  readonly certificatePath: string
  /** SHA-256 of the SubjectPublicKeyInfo in base64, as a rule of `CLIENTS` takes it. */
  readonly spki: string
  readonly notAfterMs: number
}

/** A client with two certificates. */
export interface Rotation {
  readonly current: RotatedCertificate
  readonly old: RotatedCertificate
}

/** Returns the file of a client's old certificate, relative to the directory of the PKI. */
export function oldCertificateFile(id: string): string {
  return join("clients", `${id}.old.pem`)
}

/**
 * Puts the PKI in order, then rotates the certificate of one client. An older `.old.pem` is replaced.
 *
 * @throws PkiError when the PKI has no such client, or another client has the name of the old file
 */
export async function rotateClient(directory: string, options: PkiOptions, id: string): Promise<Rotation> {
  const leaf = planLeaves(options.clients, options.hosts).clients.find((client) => client.id === id)?.leaf
  const names = options.clients.map((client) => client.id)
  if (leaf === undefined)
    throw new PkiError(`There is no certificate for ${JSON.stringify(id)} here; there are: ${names.join(", ")}`)
  if (names.includes(`${id}.old`))
    throw new PkiError(`Cannot keep the old certificate of ${id}: the client ${id}.old has that file`)
  await ensurePki(directory, options)
  const path = join(directory, leaf.certificateFile)
  const oldPath = join(directory, oldCertificateFile(id))
  const oldText = (await readTextIfPresent(path)) ?? ""
  // The old one first: whatever happens in between, no key is lost.
  await writeWhole(oldPath, oldText, SECRET_MODE)
  const { authority } = await ensureAuthority(directory, options.nowMs, false)
  const { certificatePem, keyPem } = await issueLeaf(authority, leaf.plan, options.nowMs)
  await writeWhole(path, certificatePem + keyPem, SECRET_MODE)
  return { current: describe(path, certificatePem), old: describe(oldPath, oldText) }
}

function describe(certificatePath: string, pem: string): RotatedCertificate {
  const certificate = new X509Certificate(pem)
  const der = certificate.publicKey.export({ type: "spki", format: "der" })
  return {
    certificatePath,
    spki: createHash("sha256").update(der).digest("base64"),
    notAfterMs: certificate.validToDate.getTime(),
  }
}

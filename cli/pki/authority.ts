/**
 * The CA of the development PKI on disk: loads it, makes it once, and never replaces it unless told to in so many words.
 * Whoever configured a gateway or an operating system to trust this CA would lose that without noticing, so every state
 * that is not "both files, matching, in validity" ends in an error that says what to do.
 */
import "./reflection.ts"
import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate as PlatformCertificate } from "node:crypto"
import { join } from "node:path"
import * as x509 from "@peculiar/x509"
import { DEVELOPMENT_SKI } from "./development-ski.ts"
import { type Authority, createAuthority } from "./certificate.ts"
import { PkiError } from "./error.ts"
import { closeToOthers, moveAside, PUBLIC_MODE, readTextIfPresent, SECRET_MODE, writeNew, writeWhole } from "./files.ts"
import { parseSubject } from "./name.ts"

/** The name of every development CA; they differ in their keys. The foreign CA of the specimens bears it too. */
export const AUTHORITY_SUBJECT = "CN=Sekisho Development CA,O=Sekisho Development"

/** File names of the CA inside the directory of the PKI. */
export const AUTHORITY_CERTIFICATE_FILE = "ca.pem"
export const AUTHORITY_KEY_FILE = "ca.key"

/**
 * Returns the CA of a directory, making one when there is none.
 *
 * @param replaces true moves an existing CA aside first, to `ca.pem.bak-<timestamp>` and `ca.key.bak-<timestamp>`
 * @throws PkiError when a CA is there but unusable
 */
export async function ensureAuthority(
  directory: string,
  nowMs: number,
  replaces: boolean,
): Promise<{ readonly authority: Authority; readonly created: readonly string[] }> {
  const certificatePath = join(directory, AUTHORITY_CERTIFICATE_FILE)
  const keyPath = join(directory, AUTHORITY_KEY_FILE)
  if (replaces) {
    const suffix = `.bak-${new Date(nowMs).toISOString().replaceAll(/[-:]/g, "")}`
    await moveAside(certificatePath, certificatePath + suffix)
    await moveAside(keyPath, keyPath + suffix)
  }
  const certificatePem = await readTextIfPresent(certificatePath)
  const keyPem = await readTextIfPresent(keyPath)
  if (certificatePem === undefined && keyPem === undefined) {
    const made = await createAuthority(parseSubject(AUTHORITY_SUBJECT), nowMs, DEVELOPMENT_SKI)
    await reserveKey(directory, keyPath, made.keyPem)
    await writeWhole(certificatePath, made.certificatePem, PUBLIC_MODE)
    return { authority: made, created: [AUTHORITY_KEY_FILE, AUTHORITY_CERTIFICATE_FILE] }
  }
  if (keyPem === undefined) throw unusable(directory, "ca.key is missing, so ca.pem can issue nothing")
  await closeToOthers(keyPath)
  if (certificatePem === undefined) throw unusable(directory, "ca.pem is missing, ca.key alone is no CA")
  return { authority: await loadAuthority(directory, certificatePem, keyPem, nowMs), created: [] }
}

async function loadAuthority(
  directory: string,
  certificatePem: string,
  keyPem: string,
  nowMs: number,
): Promise<Authority> {
  const certificate = readOrRefuse(
    directory,
    "ca.pem is not a certificate",
    () => new x509.X509Certificate(certificatePem),
  )
  const platform = readOrRefuse(directory, "ca.pem is not a certificate", () => new PlatformCertificate(certificatePem))
  const key = readOrRefuse(directory, "ca.key is not a private key in PEM", () => createPrivateKey(keyPem))
  if (!isP256(key)) throw unusable(directory, "ca.key is not an ECDSA key on the curve P-256")
  if (!platform.checkPrivateKey(key)) throw unusable(directory, "ca.key does not belong to ca.pem")
  const isSelfSigned = platform.ca && platform.verify(createPublicKey(key))
  if (!isSelfSigned) throw unusable(directory, "ca.pem is not a self-signed CA certificate")
  if (certificate.getExtension(x509.SubjectKeyIdentifierExtension) === null) {
    throw unusable(directory, "ca.pem has no subject key identifier")
  }
  const notAfter = certificate.notAfter
  if (notAfter.getTime() <= nowMs) throw unusable(directory, `the CA expired at ${notAfter.toISOString()}`)
  const notBefore = certificate.notBefore
  if (notBefore.getTime() > nowMs) {
    throw unusable(directory, `the CA is valid from ${notBefore.toISOString()} on, which this clock has not reached`)
  }
  const der = key.export({ type: "pkcs8", format: "der" })
  const algorithm = { name: "ECDSA", namedCurve: "P-256" }
  const privateKey = await crypto.subtle.importKey("pkcs8", new Uint8Array(der), algorithm, false, ["sign"])
  return { certificate, privateKey }
}

/** The key file is also the lock: of two processes that make a CA at once, one fails here and has replaced nothing. */
async function reserveKey(directory: string, keyPath: string, keyPem: string): Promise<void> {
  try {
    await writeNew(keyPath, keyPem, SECRET_MODE)
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") {
      throw new PkiError(`Cannot make the development CA in ${directory}: another process is making it. Run this again`)
    }
    throw error
  }
}

function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1"
}

function readOrRefuse<T>(directory: string, state: string, read: () => T): T {
  try {
    return read()
  } catch {
    throw unusable(directory, state)
  }
}

function unusable(directory: string, state: string): PkiError {
  return new PkiError(
    `Cannot use the development CA in ${directory}: ${state}. Put the right files back, move the directory away ` +
      "(a new CA is then made), or replace the CA (--replace-ca, option replaceCa), which keeps the old one as ca.pem.bak-<timestamp>",
  )
}

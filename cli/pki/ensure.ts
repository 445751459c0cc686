/**
 * The development PKI: everything that real mTLS on one machine needs, made once and kept in order by {@link ensurePki}.
 * It decides which files there are and when one is issued anew; what a certificate looks like is `certificate.ts`.
 * Running it twice changes nothing. For development only: the CA's key lies in the clear beside its certificate.
 * Called by the `sekisho` command and by the end-to-end tests; the clock is an argument.
 */
import { X509Certificate } from "node:crypto"
import { join } from "node:path"
import { AUTHORITY_CERTIFICATE_FILE, AUTHORITY_KEY_FILE, AUTHORITY_SUBJECT, ensureAuthority } from "./authority.ts"
import {
  type Authority,
  createAuthority,
  isLeafAsPlanned,
  isSignedBy,
  issueLeaf,
  type PemPair,
  subjectKeyIdentifierOf,
} from "./certificate.ts"
import { isCrlCurrent, issueCrl } from "./crl.ts"
import {
  closeToOthers,
  createPrivateDirectory,
  PUBLIC_MODE,
  readTextIfPresent,
  SECRET_MODE,
  writeWhole,
} from "./files.ts"
import { parseSubject } from "./name.ts"
import { type LeafFile, type PkiClientOptions, type PkiSpecimen, planLeaves } from "./plan.ts"
import { formatReadme } from "./readme.ts"

/** What a directory is to hold. */
export interface PkiOptions {
  readonly clients: readonly PkiClientOptions[]
  /** Names of the server certificate; 127.0.0.1 and ::1 are always added. */
  readonly hosts: readonly string[]
  /** Epoch ms that validity is counted from. */
  readonly nowMs: number
  /** Issue every leaf and the revocation list anew, under the same CA. Default false. */
  readonly renew?: boolean
  /** Make a new CA and keep the old one as `ca.pem.bak-<timestamp>`; every leaf is then issued anew. Default false. */
  readonly replaceCa?: boolean
}

/** One certificate on disk. `keyPath` equals `certificatePath` where one file holds both. */
export interface PkiCertificate {
  readonly certificatePath: string
  readonly keyPath: string
  /** SHA-256 of the DER, 64 lower-case hex digits. */
  readonly fingerprint: string
  /** Upper-case hex. */
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** What {@link ensurePki} found or made. Paths are `directory` joined with the file's name. */
export interface Pki {
  readonly directory: string
  readonly ca: PkiCertificate & {
    /** Upper-case hex without separators, as `certIssuerSKI` of a client's `request.cf.tlsClientAuth` gives it. */
    readonly subjectKeyIdentifier: string
  }
  readonly server: PkiCertificate
  readonly crlPath: string
  readonly clients: readonly (PkiCertificate & { readonly id: string })[]
  /** Certificates that say what the first client's says and each have one flaw. */
  readonly specimens: Readonly<Record<PkiSpecimen, PkiCertificate>>
  /** Files that this call wrote, relative to `directory`, in order; empty when everything was as it should be. */
  readonly created: readonly string[]
}

/**
 * Returns the development PKI in `directory`, having made or renewed whatever is missing, about to expire or no longer
 * what `options` ask for. What is in order is not touched, byte for byte, and the CA is never replaced unless
 * `replaceCa` says so.
 *
 * @throws PkiError when the CA is there but unusable, or when an option cannot be met; nothing is written then
 */
export async function ensurePki(directory: string, options: PkiOptions): Promise<Pki> {
  const { nowMs } = options
  const leaves = planLeaves(options.clients, options.hosts)
  await createPrivateDirectory(join(directory, "clients"))
  const { authority, created: authorityFiles } = await ensureAuthority(directory, nowMs, options.replaceCa === true)
  const created = [...authorityFiles]
  for (const leaf of leaves.all) {
    if (await keepLeaf(directory, leaf, authority, nowMs, options.renew === true)) created.push(leaf.certificateFile)
  }
  const revoked = await describe(directory, leaves.specimens.revoked)
  if (await keepCrl(directory, authority, revoked.serial, nowMs, options.renew === true)) created.push("crl.pem")
  const readme = formatReadme(options.clients.map((client) => client.id))
  if ((await readTextIfPresent(join(directory, "README.txt"))) !== readme) {
    await writeWhole(join(directory, "README.txt"), readme, PUBLIC_MODE)
    created.push("README.txt")
  }
  const ca = await describe(directory, { certificateFile: AUTHORITY_CERTIFICATE_FILE, keyFile: AUTHORITY_KEY_FILE })
  return {
    directory,
    ca: { ...ca, subjectKeyIdentifier: subjectKeyIdentifierOf(authority.certificate) },
    server: await describe(directory, leaves.server),
    crlPath: join(directory, "crl.pem"),
    clients: await Promise.all(
      leaves.clients.map(async ({ id, leaf }) => ({ id, ...(await describe(directory, leaf)) })),
    ),
    specimens: {
      revoked,
      expired: await describe(directory, leaves.specimens.expired),
      "not-yet-valid": await describe(directory, leaves.specimens["not-yet-valid"]),
      "wrong-eku": await describe(directory, leaves.specimens["wrong-eku"]),
      foreign: await describe(directory, leaves.specimens.foreign),
    },
    created,
  }
}

/**
 * Puts a client's certificate on the revocation list, beside what is on it already, and returns its serial (upper-case hex), or
 * undefined when it is on it already. The certificate stays where it is; the next one comes with `renew`.
 */
export async function revokeClient(pki: Pki, client: PkiCertificate, nowMs: number): Promise<string | undefined> {
  const { authority } = await ensureAuthority(pki.directory, nowMs, false)
  const found = await readTextIfPresent(pki.crlPath)
  if (found !== undefined && (await isCrlCurrent(found, authority, client.serial, nowMs))) return undefined
  await writeWhole(pki.crlPath, await issueCrl(authority, found, client.serial, nowMs), PUBLIC_MODE)
  return client.serial
}

/** Issues a leaf unless it is as planned, and returns whether it did. */
async function keepLeaf(
  directory: string,
  { certificateFile, isPinned, keyFile, plan, signer }: LeafFile,
  authority: Authority,
  nowMs: number,
  renews: boolean,
): Promise<boolean> {
  const certificatePath = join(directory, certificateFile)
  const keyPath = join(directory, keyFile)
  const found = await readPair(certificatePath, keyPath)
  if (found !== undefined) {
    await closeToOthers(keyPath)
    if (isPinned === true && isSignedBy(found, authority)) return false
    if (!renews && isLeafAsPlanned(found, plan, authority, signer, nowMs)) return false
  }
  const issuer = signer === "own" ? authority : await createAuthority(parseSubject(AUTHORITY_SUBJECT), nowMs)
  const pair = await issueLeaf(issuer, plan, nowMs)
  if (certificatePath === keyPath) {
    await writeWhole(certificatePath, pair.certificatePem + pair.keyPem, SECRET_MODE)
  } else {
    await writeWhole(keyPath, pair.keyPem, SECRET_MODE)
    await writeWhole(certificatePath, pair.certificatePem, PUBLIC_MODE)
  }
  return true
}

async function readPair(certificatePath: string, keyPath: string): Promise<PemPair | undefined> {
  const certificateText = await readTextIfPresent(certificatePath)
  const keyText = await readTextIfPresent(keyPath)
  if (certificateText === undefined || keyText === undefined) return undefined
  const keyStart = keyText.indexOf("-----BEGIN PRIVATE KEY-----")
  const certificateEnd = certificatePath === keyPath ? keyStart : certificateText.length
  return { certificatePem: certificateText.slice(0, certificateEnd), keyPem: keyText.slice(keyStart) }
}

/** Issues the revocation list unless it is current, and returns whether it did. */
async function keepCrl(
  directory: string,
  authority: Authority,
  revokedSerial: string,
  nowMs: number,
  renews: boolean,
): Promise<boolean> {
  const path = join(directory, "crl.pem")
  const found = await readTextIfPresent(path)
  if (!renews && found !== undefined && (await isCrlCurrent(found, authority, revokedSerial, nowMs))) return false
  await writeWhole(path, await issueCrl(authority, found, revokedSerial, nowMs), PUBLIC_MODE)
  return true
}

async function describe(
  directory: string,
  { certificateFile, keyFile }: Pick<LeafFile, "certificateFile" | "keyFile">,
): Promise<PkiCertificate> {
  const certificatePath = join(directory, certificateFile)
  const certificate = new X509Certificate((await readTextIfPresent(certificatePath)) ?? "")
  return {
    certificatePath,
    keyPath: join(directory, keyFile),
    fingerprint: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
    serial: certificate.serialNumber,
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
  }
}

/**
 * Which CAs may vouch for a client, and how a certificate leads to one of them.
 *
 * Parsing runs when the edge starts or reloads and throws with an instruction: an edge without a usable CA never
 * listens, and the system's roots are never asked. Building a chain runs per connection and is total. OpenSSL has
 * verified the path already; the walk here names the certificates of it, for revocation and for the issuer's facts, and
 * can only refuse more.
 */
import { X509Certificate } from "node:crypto"
import { parseRevocationLists, type RevocationList } from "./revocation.ts"

/** The trust of one configuration. A new object per reload: its identity says which one a cached fact belongs to. */
export interface Trust {
  readonly cas: readonly X509Certificate[]
  /** Undefined when no revocation lists are configured, which is not the same as none being usable. */
  readonly lists: readonly RevocationList[] | undefined
}

/** Longest path that is followed, certificates including leaf and root. */
const CHAIN_LENGTH_MAX = 8

/** PEM labels by content. RFC 7468 §6 names `X509 CRL`; some tools write `CRL`. */
const LABELS = { certificate: "CERTIFICATE", list: "(?:X509 )?CRL" } as const

/** Returns the PEM blocks of one kind, or throws when the text has none, a damaged one or one of another kind. */
function splitPem(text: string, kind: keyof typeof LABELS, what: string): readonly string[] {
  const label = LABELS[kind]
  const blocks = text.match(new RegExp(`-----BEGIN ${label}-----[A-Za-z0-9+/=\\s]+-----END ${label}-----`, "g")) ?? []
  const begun = text.split("-----BEGIN ").length - 1
  if (blocks.length === 0) throw new Error(`Cannot use ${what}, it holds no complete ${kind}: give it as PEM text`)
  if (begun !== blocks.length) {
    throw new Error(`Cannot use ${what}, ${begun - blocks.length} of its ${begun} PEM blocks are damaged or no ${kind}`)
  }
  return blocks
}

/** Returns the trust of a CA bundle and revocation lists, or throws an error that names the unusable part. */
export function parseTrust(clientCas: string, crls: readonly string[]): Trust {
  const cas = splitPem(clientCas, "certificate", "the client CA bundle").map((pem, index) => {
    const ca = parseCertificate(pem, index)
    if (!ca.ca) {
      throw new Error(
        `Cannot use certificate ${index + 1} of the client CA bundle, it is no CA: ${oneLine(ca.subject)}`,
      )
    }
    return ca
  })
  if (crls.length === 0) return { cas, lists: undefined }
  const pems = crls.flatMap((text, index) => splitPem(text, "list", `revocation list text ${index + 1}`))
  return { cas, lists: parseRevocationLists(pems) }
}

function parseCertificate(pem: string, index: number): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch (error) {
    throw new Error(`Cannot read certificate ${index + 1} of the client CA bundle`, { cause: error })
  }
}

/**
 * Returns the path from `leaf` to a self-signed configured CA, leaf first, or undefined when there is none. Every link is
 * checked by name, key identifier and signature. Certificates that a client sent along are not known here: on a server
 * Node does not give them out (24.21.0), so only configured CAs are links.
 */
export function buildChain(
  leaf: X509Certificate,
  cas: readonly X509Certificate[],
): readonly X509Certificate[] | undefined {
  const chain = [leaf]
  while (chain.length <= CHAIN_LENGTH_MAX) {
    const current = chain.at(-1) ?? leaf
    if (isIssuedBy(current, current)) {
      return cas.some((ca) => ca.fingerprint256 === current.fingerprint256) ? chain : undefined
    }
    const issuer = cas.find((candidate) => isIssuedBy(current, candidate))
    if (issuer === undefined) return undefined
    chain.push(issuer)
  }
  return undefined
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
  } catch {
    // A key of a type this build does not know signs nothing.
    return false
  }
}

/** Node prints a name one attribute a line. */
function oneLine(name: string): string {
  return name.replaceAll("\n", ", ")
}

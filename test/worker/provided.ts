/**
 * What the Node side of these tests hands to the workerd side: ports of real servers and freshly minted certificates.
 *
 * Types and names only, so that both compiler projects can read it.
 */

/** Every certificate that is minted, by what is odd about it. */
export const CERTIFICATE_NAMES = [
  "acme-a",
  "acme-b",
  "acme-dn",
  "acme-a from ca-b",
  "acme-a from rogue",
  "expired",
  "not yet valid",
  "email only",
  "server only",
  "no purpose",
  "certificate authority",
  "key agreement only",
  "padded",
  "common name of acme-b",
  "uri of acme-b",
  "two common names",
  "quoted comma",
  "escaped comma",
  "joined names",
  "leading hash",
  "leading space",
  "trailing backslash",
  "nul in uri",
  "nul in dns name",
  "nul in common name",
  "two uris in one",
  "two uris",
  "host",
  "host in capitals",
  "wildcard host",
  "mailbox",
  "host and mailbox",
  "uri as mail address",
  "uri as dns name",
  "uri as other name",
  "line feed in common name",
] as const

/** Name of a minted certificate. */
export type CertificateName = (typeof CERTIFICATE_NAMES)[number]

/** A client certificate, as much of it as a platform reports. Hex is lower case. */
export interface CertificateFixture {
  /** DER in base64. */
  readonly der: string
  /** SHA-256 of the DER. */
  readonly fingerprint: string
  /** SHA-256 of the SubjectPublicKeyInfo. */
  readonly spki: string
  readonly serial: string
  readonly notAfterMs: number
  readonly issuerSki: string
  readonly subject: string
}

/** Names of the key pairs of the authorization server under test. "other" is in no key set. */
export const TOKEN_KEY_NAMES = ["es256", "ps256", "eddsa", "rs256", "es256 two", "other"] as const

/** Name of a key pair. */
export type TokenKeyName = (typeof TOKEN_KEY_NAMES)[number]

/** A key pair as JWKs; the public one has `kid`, which is the name, and no `alg`. */
export interface TokenKeyFixture {
  readonly privateJwk: Readonly<Record<string, string>>
  readonly publicJwk: Readonly<Record<string, string>>
}

/** What a key server answers with. Without any of it: the JSON of `body`, at once. */
export interface KeyServerScript {
  readonly body?: unknown
  /** Spaces behind the body. */
  readonly padBytes?: number
  /** Sent as it is, instead of `body`. */
  readonly text?: string
  readonly status?: number
  readonly contentType?: string
  readonly location?: string
  /** Octets of a body that is sent until somebody closes the connection, at most. */
  readonly floodBytes?: number
  /** Never answers. */
  readonly hangs?: boolean
}

/** What a CA is to publish. Serials are hex as in `CertificateFixture`, instants epoch ms. */
export interface CrlPlan {
  /** Name of the CA whose key signs. */
  readonly signer: string
  /** Name of the CA that the list names as its issuer; by default the one that signs. */
  readonly named?: string
  readonly serials: readonly string[]
  readonly thisUpdateMs: number
  readonly nextUpdateMs: number
  readonly number?: number
  readonly isPem?: boolean
  /** The signature has no meaning. */
  readonly isUnsigned?: boolean
  /** Further entries. */
  readonly filler?: number
  /** Given out in the place of a list. */
  readonly text?: string
  readonly behaviour?: "redirect" | "error" | "hang" | "hang in the middle" | "cut" | "huge" | "endless"
}

/** A CA whose lists can be verified, in the terms of a `RevocationSource`. */
export interface CrlCa {
  readonly nameKey: string
  readonly ski: string
  readonly publicKey: string
}

/** Everything that is handed over. Ports are on 127.0.0.1. */
export interface Fixtures {
  readonly certificates: Readonly<Record<CertificateName, CertificateFixture>>
  readonly skis: Readonly<Record<"ca-a" | "ca-b", string>>
  readonly tokenKeys: Readonly<Record<TokenKeyName, TokenKeyFixture>>
  readonly keyServerPort: number
  /** Certificate of CA-A, PEM. */
  readonly caPem: string
  /** CAs that sign revocation lists, CA-A among them. */
  readonly crlCas: Readonly<Record<string, CrlCa>>
  readonly crlPort: number
  readonly originPort: number
  readonly sinkPort: number
  readonly controlPort: number
  /** Nothing listens here. */
  readonly closedPort: number
  /** A listener that nobody may ever connect to; the control server tells how often it happened. */
  readonly trapPort: number
}

/** One request as an origin received it. */
export interface OriginRecord {
  readonly method: string
  /** Request target behind the gateway's own prefix, byte for byte. */
  readonly target: string
  /** In the order and spelling of the wire. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly body: string
  /** True once the request body has been received to its end. */
  readonly isComplete: boolean
  /** True once the connection has ended before the response had. */
  readonly isAborted: boolean
  /** How the gateway closed a WebSocket; undefined while it is open, and for every other request. */
  readonly close?: { readonly code: number; readonly reason: string }
}

/** One post as a sink received it. */
export interface SinkRecord {
  readonly contentType: string
  readonly coding: string | undefined
  readonly authorization: string | undefined
  readonly apiKey: string | undefined
  /** Decompressed. */
  readonly body: string
  /** What the path asked for. */
  readonly behaviour: string
}

declare module "vitest" {
  interface ProvidedContext {
    readonly fixtures: Fixtures
  }
}

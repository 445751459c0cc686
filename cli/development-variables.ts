/**
 * What the configuration of an operator becomes on one machine: origins, token issuer and sinks are the samples that run there, and the
 * development CA's list is where the command serves it. Pure.
 */
import { normalizeKeyId } from "../src/core/certificate/certificate.ts"
import { DEVELOPMENT_SKI } from "./pki/development-ski.ts"

/** The origin and the authorization server of a configuration that the sample issuer stands in for. */
export const ISSUER_ORIGIN = "issuer"
export const ISSUER_TOKENS = "sample"
/** The origin that the sample bank stands in for. */
export const BANK_ORIGIN = "bank"
/** How often the Worker fetches the development CA's list at most: a revocation is something to watch here. */
const CRL_REFRESH = "1s"

/** Where the samples are; undefined for one that does not run. */
export interface SampleUrls {
  readonly bankUrl: string | undefined
  readonly issuerUrl: string | undefined
  readonly sink:
    | { readonly eventsUrl: string; readonly trailUrl: string; readonly spansUrl: string | undefined }
    | undefined
}

/** Returns the variables that replace those of the configuration. @param ca the development CA: its certificate, PEM, and where its list is */
export function developmentVariables(
  vars: Readonly<Record<string, unknown>>,
  { bankUrl, issuerUrl, sink }: SampleUrls,
  ca: { readonly certificate: string; readonly crlUrl: string },
): Readonly<Record<string, unknown>> {
  return {
    ISSUERS: withList(vars["ISSUERS"], ca.certificate, ca.crlUrl),
    ORIGINS: withOrigin(withOrigin(vars["ORIGINS"], BANK_ORIGIN, bankUrl), ISSUER_ORIGIN, issuerUrl),
    TOKENS: withMember(vars["TOKENS"], ISSUER_TOKENS, { jwks_url: issuerUrl && `${issuerUrl}/jwks` }),
    ...(sink === undefined ? {} : { ...withoutSinks(vars), SINKS: sampleSinks(sink) }),
  }
}

/** Takes every variable of sinks away: events of an experiment are nothing for a real collector. */
function withoutSinks(vars: Readonly<Record<string, unknown>>): Readonly<Record<string, undefined>> {
  return Object.fromEntries(
    Object.keys(vars)
      .filter((name) => name.startsWith("SINKS"))
      .map((name) => [name, undefined]),
  )
}

/** Events and trails go to the sample sink, also where the configuration has no sink for one of them. */
function sampleSinks({ eventsUrl, spansUrl, trailUrl }: NonNullable<SampleUrls["sink"]>): readonly object[] {
  return [
    { kind: "otlp", url: eventsUrl },
    { kind: "ndjson", url: trailUrl, takes: ["audit"] },
    ...(spansUrl === undefined ? [] : [{ kind: "otlp", url: spansUrl, takes: ["traces"] }]),
  ]
}

/** Names the development CA's certificate and where its list is, unless the configuration has a list of its own for it. */
function withList(issuers: unknown, certificate: string, url: string): unknown {
  const table = (issuers ?? {}) as Readonly<Record<string, { readonly ski: string; readonly crl?: unknown }>>
  return Object.fromEntries(
    Object.entries(table).map(([name, issuer]) => {
      const isOurs = normalizeKeyId(issuer.ski) === DEVELOPMENT_SKI && issuer.crl === undefined
      return [name, isOurs ? { ...issuer, certificate, crl: { url, refresh: CRL_REFRESH } } : issuer]
    }),
  )
}

/** Returns a table of tables with one member of one of them replaced; as it was when there is nothing to replace. */
function withMember(variable: unknown, name: string, member: Readonly<Record<string, string | undefined>>): unknown {
  const table = variable as Readonly<Record<string, object>> | undefined
  if (table === undefined || Object.values(member).includes(undefined)) return variable
  return { ...table, [name]: { ...table[name], ...member } }
}

/** Returns the origins with one of them at another URL, the only one it then has; no binding leads there. */
function withOrigin(variable: unknown, name: string, url: string | undefined): unknown {
  const origins = variable as Readonly<Record<string, object>> | undefined
  if (origins === undefined || url === undefined) return variable
  const elsewhere = new Set(["urls", "binding", "preserve_host"])
  const kept = Object.entries(origins[name] ?? {}).filter(([key]) => !elsewhere.has(key))
  return { ...origins, [name]: { ...Object.fromEntries(kept), url } }
}

/**
 * Origins with their defaults, and what is asserted to them. An origin that asks for assertions and a gateway that has no
 * keys contradict each other: the origin would refuse everything, or worse, would not ask. Pure; called by `config/load.ts`.
 */
import { ASSERTION_KEYS_MAX, ORIGIN_RETRIES_DEFAULT, ORIGIN_TIMEOUT_MS_DEFAULT } from "../core/bounds.ts"
import { createOriginBreaker } from "../core/origin/origin-breaker.ts"
import { BREAKER_TERMS_DEFAULT } from "../core/origin/origin-health.ts"
import type { AssertionIssuer, Origin, OriginUrl } from "./config.ts"
import type { Report } from "./report.ts"
import type { Parsed } from "./schema.ts"
import type { BaseUrl } from "./schema-names.ts"

/** What `GATEWAY.assertion` has to say before anything can be asserted or published, in words. */
export const ASSERTION_NEEDED = 'GATEWAY.assertion = { issuer = "https://...", keys = ["ASSERTION_KEY"] }'

/** Returns the origin. `issuer` is who asserts, undefined when the configuration says nothing about it. */
export function resolveOrigin(
  name: string,
  origin: Parsed<"ORIGIN">,
  issuer: string | undefined,
  report: Report,
): Origin {
  const { assertion = false } = origin
  if (assertion !== false && issuer === undefined)
    report(`ORIGINS.${name}.assertion`, assertion, `no assertion without ${ASSERTION_NEEDED}, which names the keys`)
  const timeoutMs = origin.timeout ?? ORIGIN_TIMEOUT_MS_DEFAULT
  const urls = resolveUrls(name, origin, report)
  reportDelivery(name, origin, timeoutMs, report)
  const { breaker } = origin
  return {
    name,
    urls,
    binding: origin.binding,
    preservesHost: origin.preserve_host ?? false,
    timeoutMs,
    totalTimeoutMs: origin.total_timeout,
    retry: {
      retriesMax: origin.retries ?? ORIGIN_RETRIES_DEFAULT,
      hasIdempotent: origin.retry_idempotent ?? false,
      statuses: new Set(origin.retry_statuses),
    },
    breaker: createOriginBreaker(
      breaker === undefined || breaker === false
        ? BREAKER_TERMS_DEFAULT
        : {
            failures: breaker.failures ?? BREAKER_TERMS_DEFAULT.failures,
            windowMs: breaker.window ?? BREAKER_TERMS_DEFAULT.windowMs,
            openMs: breaker.open ?? BREAKER_TERMS_DEFAULT.openMs,
          },
      // To skip one of several URLs costs nobody anything. Of the only one it would shut out everybody, and whoever can make
      // an origin fail could do that to all: the operator has to want it.
      breaker === undefined ? urls.length > 1 : breaker !== false,
      timeoutMs,
    ),
    assertion:
      assertion === false || issuer === undefined
        ? undefined
        : { issuer, audience: assertion === true ? name : assertion.audience },
    clientCert: origin.client_cert ?? "rfc9440",
  }
}

function resolveUrls(name: string, { url, urls }: Parsed<"ORIGIN">, report: Report): readonly OriginUrl[] {
  if ((url === undefined) === (urls === undefined))
    report(
      `ORIGINS.${name}`,
      { url: url && formatBase(url), urls: urls?.map((item) => formatBase(item.url)) },
      'exactly one of url = "https://..." and urls = [{ url = "https://..." }]',
    )
  const resolved = (urls ?? (url === undefined ? [] : [{ url }])).map(
    ({ url: base, weight = 1, backup = false }: NonNullable<typeof urls>[number]): OriginUrl => ({
      base,
      weight,
      isBackup: backup,
    }),
  )
  if (urls !== undefined && resolved.every(({ isBackup }) => isBackup))
    report(
      `ORIGINS.${name}.urls`,
      urls.map((item) => formatBase(item.url)),
      "at least one URL without backup = true",
    )
  for (const [index, { base }] of resolved.entries()) {
    const place = `ORIGINS.${name}.urls[${index}].url`
    if (resolved.findIndex((other) => formatBase(other.base) === formatBase(base)) < index)
      report(place, formatBase(base), "a URL that is not in the list already; its share is its weight")
  }
  return resolved
}

/** Reports what cannot be delivered as it is written. */
function reportDelivery(name: string, origin: Parsed<"ORIGIN">, timeoutMs: number, report: Report): void {
  const { binding, preserve_host: preservesHost, retries, total_timeout: totalTimeoutMs } = origin
  const place = `ORIGINS.${name}`
  // The platform writes Host from the URL, and the URL decides where a fetch goes: to the gateway itself, in the worst case.
  if (preservesHost === true && binding === undefined)
    report(
      `${place}.preserve_host`,
      preservesHost,
      "preserve_host only with binding, a service or VPC service: on the network Host always follows the URL (the caller's host is in X-Forwarded-Host)",
    )
  if (totalTimeoutMs !== undefined && totalTimeoutMs < timeoutMs)
    report(
      `${place}.total_timeout`,
      totalTimeoutMs,
      `at least the timeout of ${timeoutMs} ms: what ends the answer also ends the wait for it`,
    )
  for (const key of ["retry_idempotent", "retry_statuses"] as const) {
    if (retries === 0 && origin[key] !== undefined) report(`${place}.${key}`, origin[key], `no ${key} with retries = 0`)
  }
}

/** Returns a base URL as it was written. */
export function formatBase({ authority, path, scheme }: BaseUrl): string {
  return `${scheme}://${authority}${path}`
}

/** Reports names of keys that stand there twice, and more of them than a rotation needs. */
export function reportAssertion(assertion: AssertionIssuer | undefined, report: Report): void {
  const { keys = [] } = assertion ?? {}
  if (keys.length > ASSERTION_KEYS_MAX)
    report(
      "GATEWAY.assertion.keys",
      keys,
      `at most ${ASSERTION_KEYS_MAX} names: the key that signs, and those beside it`,
    )
  for (const [index, key] of keys.entries()) {
    if (keys.indexOf(key) < index)
      report(`GATEWAY.assertion.keys[${index}]`, key, "a name that is not in the list already")
  }
}

/**
 * The shape of every configuration variable: which keys it has, what each accepts, what it becomes.
 *
 * Made of the parts of `schema-parts.ts` and of the values in the other `schema-*.ts`, each of which says what would be
 * accepted. Unknown keys are errors. References between variables and everything that needs more than one value are checked
 * in `config/load.ts`. Built on valibot: it reports all issues of a value at once, and is 1.3 KB.
 */
import * as v from "valibot"
import {
  BREAKER_MS_MAX,
  ASSERTION_KEYS_MAX,
  CERTIFICATE_WARNING_MS_MAX,
  CONCURRENCY_LEASE_MS_MAX,
  CONCURRENCY_MAX,
  CRL_REFRESH_MS_MAX,
  CRL_REFRESH_MS_MIN,
  EVENT_FLUSH_MS_MAX,
  GUARD_FAILURES_MAX,
  LIMIT_SETS_MAX,
  ORIGIN_RETRIES_MAX,
  ORIGIN_TIMEOUT_MS_MAX,
  ORIGIN_TOTAL_TIMEOUT_MS_MAX,
  ROUTE_GUARDS_MAX,
  TOKEN_CLOCK_TOLERANCE_MS_MAX,
  TOKEN_KEYS_STALE_MS_MAX,
  TOKEN_LIFETIME_MS_MAX,
  WEBSOCKET_IDLE_MS_MAX,
  WEBSOCKET_MESSAGE_BYTES_MAX,
  WEBSOCKET_RECHECK_MS_MAX,
} from "../core/bounds.ts"
import { CALENDAR_UNITS, isKnownTimezone } from "../core/limit/calendar.ts"
import { METHODS } from "../core/route/route.ts"
import { parseInstantMs, parseRate } from "../core/time.ts"
import { admin } from "./schema-admin.ts"
import {
  caCertificate,
  crlUrl,
  fingerprint,
  keyId,
  sanDns,
  sanEmail,
  sanUri,
  serial,
  spiffeId,
  spki,
  subject,
} from "./schema-certificates.ts"
import { backoff, failureStatuses, guardKey, verdictHeader } from "./schema-guards.ts"
import { gatewayIdempotency, routeIdempotency } from "./schema-idempotency.ts"
import { messages } from "./schema-messages.ts"
import {
  canonicalPath,
  duration,
  headerName,
  host,
  id,
  jwksUrl,
  method,
  originUrl,
  parseBaseUrl,
  reference,
  routeRegex,
  secretName,
  sinkUrl,
} from "./schema-names.ts"
import { originBinding, originBreaker, originUrls, retryStatuses } from "./schema-origins.ts"
import { headerSecrets, routeLog, sinkTakes, traces } from "./schema-records.ts"
import { acceptedBy, flag, integer, list, oneOf, type Schema, table, text, textEntries, value } from "./schema-parts.ts"
import {
  clientClaim,
  oauthClients,
  routeScopes,
  tokenAlgorithms,
  tokenAudience,
  tokenGuard,
  tokenIssuer,
  tokenTypes,
} from "./schema-tokens.ts"

/** TOML has dates of its own; what reads the file for the command line hands them over as objects that print as RFC 3339. */
const instant = value(
  'an RFC 3339 date (its first moment in UTC) or date-time with offset, such as 2027-01-31 or "2027-01-31T18:00:00+09:00"',
  (input) => {
    const written = input instanceof Date && Number.isFinite(input.getTime()) ? input.toJSON() : input
    return typeof written === "string" ? parseInstantMs(written) : undefined
  },
)

/** One name, or several. */
const references = (variable: string, max: number): Schema<string | readonly string[]> =>
  value(
    `a name defined in ${variable}, or a list of 1 to ${max} such names`,
    (input): string | readonly string[] | undefined => {
      if (typeof input === "string") return input
      return isTexts(input) && input.length > 0 && input.length <= max ? input : undefined
    },
  )

function isTexts(input: unknown): input is readonly string[] {
  return Array.isArray(input) && input.every((item) => typeof item === "string")
}

const limitReplacements = value(
  'a table of names defined in LIMITS, such as { standard = "standard-gold" }: instead of which set this client has which',
  (input): ReadonlyMap<string, string> | undefined => {
    const entries = textEntries(input)
    return entries === undefined ? undefined : new Map(entries)
  },
)

const quota = text('a quota such as "1000/hour", "100000/day", "2000000/month"', (input) => {
  const match = /^([0-9]{1,15})\/([a-z]+)$/.exec(input)
  const unit = CALENDAR_UNITS.find((known) => known === match?.[2])
  const limit = Number(match?.[1])
  return unit === undefined || limit < 1 ? undefined : { limit, unit }
})

const timezone = text('a time zone of the IANA database, such as "Asia/Tokyo"', (input) =>
  isKnownTimezone(input) ? input : undefined,
)

const limitMode = oneOf("enforce", "shadow")

const rate = text('a rate such as "50/s", "0.5/s", "100/minute", "1000/h"', parseRate)

const burst = integer(1, 1_000_000)

const respond = table("respond", {
  status: integer(200, 599),
  body: v.exactOptional(
    text("a text of at most 1,024 characters", (input) => (input.length <= 1_024 ? input : undefined)),
  ),
  content_type: v.exactOptional(
    text('a media type, such as "text/plain; charset=utf-8"', (input) =>
      /^[\w.+-]+\/[\w.+-]+(?:; ?[\w-]+=[\w.-]+)*$/.test(input) ? input : undefined,
    ),
  ),
})

const DAY_MS = 86_400_000
/** One host, or several. */
const routeHosts = v.union(
  [host, list("at least one host of GATEWAY.hosts", host)],
  'a host of GATEWAY.hosts, or a list of such hosts, such as "api.bank.example" (lower case, no port)',
)

const rewrite = table("rewrite", {
  strip_prefix: v.exactOptional(canonicalPath),
  replace_prefix: v.exactOptional(canonicalPath),
  path: v.exactOptional(text('a path with captures, such as "/items/$1"', (input) => input)),
})

const issuerUrl = text(
  'an https URL without query, at most 256 characters, such as "https://api.bank.example"',
  (input) => (input.length <= 256 && parseBaseUrl(input)?.scheme === "https" ? input : undefined),
)

const audience = text("a text of 1 to 256 visible ASCII characters", (input) =>
  /^[\x21-\x7e]{1,256}$/.test(input) ? input : undefined,
)

/** True means the default audience. */
const originAssertion = v.union(
  [flag(), table("assertion", { audience })],
  'true, false, or a table such as { audience = "core-bank" } (1 to 256 visible ASCII characters)',
)

/** True means the defaults. */
const webSocket = v.union(
  [
    flag(),
    table("websocket", {
      idle_timeout: v.exactOptional(duration(1_000, WEBSOCKET_IDLE_MS_MAX, "60s")),
      max_message_bytes: v.exactOptional(integer(1, WEBSOCKET_MESSAGE_BYTES_MAX)),
      recheck: v.exactOptional(duration(1_000, WEBSOCKET_RECHECK_MS_MAX, "30s")),
    }),
  ],
  `true, false, or a table such as { idle_timeout = "60s", max_message_bytes = 65536, recheck = "30s" } (idle_timeout from 1s to 1h, max_message_bytes from 1 to ${WEBSOCKET_MESSAGE_BYTES_MAX}, recheck from 1s to 60s)`,
)

/** The shapes by what they describe: one variable, one table of a variable of named tables, one item of an array. */
export const SCHEMAS = {
  GATEWAY: table("GATEWAY", {
    hosts: list("at least one host name", host),
    via: v.exactOptional(
      text("the pseudonym of this gateway in Via: letters, digits, dots, hyphens", (input) =>
        /^[A-Za-z0-9.-]{1,64}$/.test(input) ? input : undefined,
      ),
    ),
    console: v.exactOptional(flag()),
    log_flush: v.exactOptional(duration(10, EVENT_FLUSH_MS_MAX, "1s")),
    traces: v.exactOptional(traces),
    legacy_ratelimit: v.exactOptional(flag()),
    certificate_warning: v.exactOptional(duration(DAY_MS, CERTIFICATE_WARNING_MS_MAX, "30d")),
    assertion: v.exactOptional(
      table("assertion", {
        issuer: issuerUrl,
        keys: list(
          `a list of 1 to ${ASSERTION_KEYS_MAX} names of Worker secrets that hold private JWKs, such as ["ASSERTION_KEY"]`,
          secretName('"ASSERTION_KEY", that holds a private JWK'),
        ),
      }),
    ),
    idempotency: v.exactOptional(gatewayIdempotency(secretName('"IDEMPOTENCY_KEY", that holds a symmetric JWK'))),
  }),
  ADMIN: admin,
  ISSUER: table("an issuer", {
    ski: keyId,
    certificate: v.exactOptional(caCertificate),
    revoked_serials: v.exactOptional(list("a list of serial numbers in hex", serial, 0)),
    crl: v.exactOptional(
      table("crl", {
        url: crlUrl,
        refresh: v.exactOptional(duration(CRL_REFRESH_MS_MIN, CRL_REFRESH_MS_MAX, "1h")),
        stale: v.exactOptional(oneOf("refuse", "allow")),
      }),
    ),
  }),
  CLIENT: table("a client", {
    id,
    certificates: list(
      "at least one certificate to recognise the client by",
      table("a certificate", {
        fingerprint: v.exactOptional(fingerprint),
        spki: v.exactOptional(spki),
        issuer: v.exactOptional(reference("ISSUERS")),
        san_uri: v.exactOptional(sanUri),
        san_dns: v.exactOptional(sanDns),
        san_email: v.exactOptional(sanEmail),
        spiffe_id: v.exactOptional(spiffeId),
        subject: v.exactOptional(subject),
        retire_at: v.exactOptional(instant),
      }),
    ),
    disabled: v.exactOptional(flag()),
    limits: v.exactOptional(limitReplacements),
    mode: v.exactOptional(limitMode),
    oauth_clients: v.exactOptional(oauthClients),
  }),
  LIMIT: table("a limit", {
    rate: v.exactOptional(rate),
    burst: v.exactOptional(burst),
    quota: v.exactOptional(quota),
    timezone: v.exactOptional(timezone),
    concurrent: v.exactOptional(integer(1, CONCURRENCY_MAX)),
    lease: v.exactOptional(duration(1_000, CONCURRENCY_LEASE_MS_MAX, "60s")),
    mode: v.exactOptional(limitMode),
  }),
  GUARD: table("a guard", {
    max_failures: integer(1, GUARD_FAILURES_MAX),
    failure_duration: duration(1, 30 * DAY_MS, "10m"),
    backoff,
    guard_reset_timeout: v.exactOptional(duration(1, 365 * DAY_MS, "1h")),
    in_flight: v.exactOptional(oneOf("optimistic", "reserve")),
    pending_ttl: v.exactOptional(duration(1, DAY_MS, "30s")),
    success_policy: v.exactOptional(oneOf("reset", "ignore")),
    key: v.exactOptional(guardKey),
    failure_statuses: v.exactOptional(failureStatuses),
    verdict_header: v.exactOptional(verdictHeader),
  }),
  TOKEN: table("an authorization server", {
    issuer: tokenIssuer,
    jwks_url: jwksUrl,
    audience: tokenAudience,
    algorithms: v.exactOptional(tokenAlgorithms),
    typ: v.exactOptional(tokenTypes),
    clock_tolerance: v.exactOptional(duration(0, TOKEN_CLOCK_TOLERANCE_MS_MAX, "5s")),
    max_lifetime: v.exactOptional(duration(1_000, TOKEN_LIFETIME_MS_MAX, "1h")),
    certificate_bound: v.exactOptional(flag()),
    client_claim: v.exactOptional(clientClaim),
    max_stale: v.exactOptional(duration(0, TOKEN_KEYS_STALE_MS_MAX, "1h")),
    guard: v.exactOptional(tokenGuard),
  }),
  ORIGIN: table("an origin", {
    url: v.exactOptional(originUrl),
    urls: v.exactOptional(originUrls(originUrl)),
    binding: v.exactOptional(originBinding),
    preserve_host: v.exactOptional(flag()),
    timeout: v.exactOptional(duration(10, ORIGIN_TIMEOUT_MS_MAX, "10s")),
    total_timeout: v.exactOptional(duration(10, ORIGIN_TOTAL_TIMEOUT_MS_MAX, "60s")),
    retries: v.exactOptional(integer(0, ORIGIN_RETRIES_MAX)),
    retry_idempotent: v.exactOptional(flag()),
    retry_statuses: v.exactOptional(retryStatuses),
    breaker: v.exactOptional(originBreaker(duration(1, BREAKER_MS_MAX, "10s"))),
    assertion: v.exactOptional(originAssertion),
    client_cert: v.exactOptional(oneOf("rfc9440", "xfcc", "both", "none")),
  }),
  ROUTE: table("a route", {
    path: v.exactOptional(canonicalPath),
    prefix: v.exactOptional(canonicalPath),
    regex: v.exactOptional(routeRegex),
    host: v.exactOptional(routeHosts),
    methods: v.exactOptional(list(`at least one of ${METHODS.join(", ")}`, method)),
    client_certificate: v.exactOptional(oneOf("required", "none")),
    origin: v.exactOptional(reference("ORIGINS")),
    rewrite: v.exactOptional(rewrite),
    respond: v.exactOptional(respond),
    jwks: v.exactOptional(flag()),
    limits: v.exactOptional(references("LIMITS", LIMIT_SETS_MAX)),
    cost: v.exactOptional(integer(1, 1_000_000)),
    guard: v.exactOptional(references("GUARDS", ROUTE_GUARDS_MAX)),
    blocked_status: v.exactOptional(integer(400, 499)),
    soft: v.exactOptional(flag()),
    token: v.exactOptional(reference("TOKENS")),
    scopes: v.exactOptional(routeScopes),
    forward_token: v.exactOptional(flag()),
    expiry_header: v.exactOptional(flag()),
    audit: v.exactOptional(oneOf("required", "off")),
    forward_headers: v.exactOptional(list("header field names", headerName, 0)),
    websocket: v.exactOptional(webSocket),
    idempotency: v.exactOptional(routeIdempotency),
    log: v.exactOptional(routeLog),
    ...messages,
  }),
  SINK: table("a sink", {
    kind: oneOf("otlp", "ndjson", "loki"),
    url: sinkUrl,
    takes: v.exactOptional(sinkTakes),
    authorization_secret: v.exactOptional(secretName('"SINK_AUTHORIZATION", that holds the Authorization value')),
    header_secrets: v.exactOptional(headerSecrets),
    gzip: v.exactOptional(flag()),
  }),
} as const

/** Returns what a key accepts that can do without another one only together with it, in words. */
export const REQUIRED = {
  rate: `required: ${acceptedBy(rate)}`,
  burst: `required: ${acceptedBy(burst)}`,
} as const

/** A configuration value after its shape was checked, before references are resolved. */
export type Parsed<K extends keyof typeof SCHEMAS> = v.InferOutput<(typeof SCHEMAS)[K]>

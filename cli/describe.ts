/**
 * The parts of a configuration in words, as `sekisho check` lists them and `sekisho explain` gives its reasons. Pure.
 */
import type { AuthorizationServer, Guard, Origin, Route } from "../src/config/config.ts"
import { formatBase } from "../src/config/resolve-origins.ts"
import type { FieldRules } from "../src/core/message/field-rules.ts"
import type { NamedLimit } from "../src/core/limit/limit.ts"
import type { Rewrite } from "../src/core/route/rewrite.ts"
import { METHODS } from "../src/core/route/route.ts"
import { formatSize } from "../src/core/size.ts"
import { formatDuration } from "../src/core/time.ts"
import { count } from "./configuration.ts"
import { describeLog } from "./describe-records.ts"

/** The fields that an origin gets the client's certificate in. */
const CERTIFICATE_FIELDS: Readonly<Record<Origin["clientCert"], string>> = {
  rfc9440: "Client-Cert",
  xfcc: "X-Forwarded-Client-Cert",
  both: "Client-Cert, X-Forwarded-Client-Cert",
  none: "-",
}

/** Returns the cells of a route: itself, methods, certificate, limits, cost, guards, token, where it goes to. */
export function describeRoute(route: Route): readonly string[] {
  const {
    action,
    blockedStatus,
    cost,
    guards,
    isAudited,
    isSoft,
    label,
    limitSets,
    methods,
    needsClientCertificate,
    log,
    tellsExpiry,
    token,
  } = route
  return [
    label,
    methods.length === METHODS.length ? "all" : methods.join(" "),
    needsClientCertificate ? "required" : "none",
    (limitSets.map(({ name }) => name).join(", ") || "-") + (isSoft ? " (soft)" : ""),
    limitSets.length === 0 ? "-" : String(cost),
    (guards.map(({ name }) => name).join(", ") || "-") + (blockedStatus === 429 ? "" : ` (${blockedStatus})`),
    token === undefined ? "-" : describeToken(token),
    describeAction(action) +
      describeKeys(action) +
      (tellsExpiry ? ", tells when the certificate ends" : "") +
      (isAudited ? ", audit required" : "") +
      describeLog(log),
  ]
}

/** Returns what a route does with a request, in words. */
export function describeAction(action: Route["action"]): string {
  switch (action.kind) {
    case "forward":
      return `origin ${action.origin.name}${describeRewrite(action.rewrite)}`
    case "respond":
      return `answered here with ${action.status}`
    case "jwks":
      return "answered here with the public keys"
  }
}

/**
 * Returns a row of what a route does with messages: sizes, fields, web origins, redirects, sockets. None for a route that
 * forwards nothing.
 */
export function describeMessages({ action, label }: Route): readonly (readonly string[])[] {
  if (action.kind !== "forward") return []
  const { messages, webSocket } = action
  const { cors, hasSecurityFields, locationAllowed, requestBytesMax, requestFields, responseBytesMax, responseFields } =
    messages
  const changes = [
    ...describeFields("to the origin", requestFields),
    ...describeFields("to the caller", responseFields),
    ...(hasSecurityFields ? ["security fields to the caller"] : []),
  ]
  return [
    [
      label,
      formatSize(requestBytesMax),
      responseBytesMax === undefined ? "any" : formatSize(responseBytesMax),
      changes.join("; ") || "-",
      cors === undefined ? "-" : [...cors.origins].join(" "),
      locationAllowed === undefined ? "as they are" : ["to the gateway", ...locationAllowed].join(" "),
      webSocket === undefined
        ? "-"
        : `idle ${formatDuration(webSocket.idleTimeoutMs)}, messages up to ${formatSize(webSocket.messageBytesMax)}, asked again every ${formatDuration(webSocket.recheckMs)}`,
    ],
  ]
}

function describeFields(where: string, { remove, set }: FieldRules): readonly string[] {
  return [
    ...(set.length === 0 ? [] : [`${set.map(([name]) => name).join(" ")} set ${where}`]),
    ...(remove.length === 0 ? [] : [`${remove.join(" ")} not ${where}`]),
  ]
}

/** Returns what a route says about idempotency keys, in words; "" for nothing. */
function describeKeys(action: Route["action"]): string {
  const terms = action.kind === "forward" ? action.idempotency : undefined
  if (terms === undefined) return ""
  return `, once for each ${terms.field}${terms.isRequired ? "" : " (optional)"}, kept ${formatDuration(terms.ttlMs)}${terms.isOriginIdempotent ? ", again when in doubt" : ""}`
}

/** The server, then the scopes: once when all methods need the same. */
function describeToken({ server, scopes }: NonNullable<Route["token"]>): string {
  const lists = [...scopes].map(([method, needed]) => [method, needed.join(" ")] as const)
  const isAlike = new Set(lists.map(([, needed]) => needed)).size <= 1
  const needed = isAlike ? (lists[0]?.[1] ?? "") : lists.map(([method, list]) => `${method} ${list || "-"}`).join(", ")
  return needed === "" ? server.name : `${server.name}: ${needed}`
}

/** Returns the cells of an authorization server: name, issuer, audience, algorithms, type, certificate, client, guard. */
export function describeServer(server: AuthorizationServer): readonly string[] {
  const { algorithms, audience, clientClaim, guard, isCertificateBound, issuer, name, types } = server
  return [
    name,
    issuer,
    audience.kind === "sole" ? `${audience.value} alone` : audience.values.join(" or "),
    algorithms.join(" "),
    types.join(" "),
    isCertificateBound ? "bound" : "if bound",
    clientClaim ?? "any",
    guard?.name ?? "none",
  ]
}

function describeRewrite(rewrite: Rewrite | undefined): string {
  switch (rewrite?.kind) {
    case undefined:
      return ""
    case "strip-prefix":
      return `, without ${rewrite.prefix}`
    case "replace-prefix":
      return `, below ${rewrite.prefix}`
    case "path":
      return `, as ${rewrite.template}`
  }
}

/**
 * Returns rows of cells, one for each URL of an origin: name, URL, timeouts, retries, breaker, certificate fields, audience.
 * What holds for all URLs stands in the first row.
 */
export function describeOrigin(origin: Origin): readonly (readonly string[])[] {
  const { assertion, binding, breaker, clientCert, name, preservesHost, retry, timeoutMs, totalTimeoutMs, urls } =
    origin
  const { closed, isEnforced } = breaker
  return urls.map(({ base, isBackup, weight }, index) => [
    index === 0 ? name : "",
    formatBase(base) +
      (urls.length === 1 ? "" : isBackup ? ` (backup, weight ${weight})` : ` (weight ${weight})`) +
      (binding === undefined ? "" : ` by ${binding}${preservesHost ? ", for the caller's host" : ""}`),
    ...(index > 0
      ? ["", "", "", "", ""]
      : [
          formatDuration(timeoutMs) +
            (totalTimeoutMs === undefined ? "" : `, in all ${formatDuration(totalTimeoutMs)}`),
          String(retry.retriesMax) +
            (retry.statuses.size === 0 ? "" : `, also after ${[...retry.statuses].join(" ")}`) +
            (retry.hasIdempotent ? ", also PUT and DELETE" : ""),
          isEnforced
            ? `${count(closed.maxFailures, "failure")} in ${formatDuration(closed.failureDurationMs)}, open ${formatDuration(closed.backoff.durationMs)}`
            : "only tells",
          CERTIFICATE_FIELDS[clientCert],
          assertion?.audience ?? "-",
        ]),
  ])
}

/** Returns what a limit allows, in words. */
export function describeLimit(limit: NamedLimit): string {
  switch (limit.kind) {
    case "bucket":
      return `${limit.rate.count} per ${formatDuration(limit.rate.periodMs)}, burst ${limit.burst}`
    case "quota":
      return `${limit.limit} a ${limit.unit} in ${limit.timezone}`
    case "concurrency":
      return `${limit.maxConcurrent} at once, each at most ${formatDuration(limit.leaseTtlMs)}`
  }
}

/** Returns the cells of a guard: name, key, failures, within, how long it blocks, requests in flight, what counts as failure. */
export function describeGuard(guard: Guard): readonly string[] {
  const { backoff, failureDurationMs, inFlight, key, maxFailures, name, outcomes } = guard
  const { failureStatuses, verdictHeader } = outcomes
  return [
    name,
    key.kind === "header" ? `field ${key.name}` : key.kind,
    count(maxFailures, "failure"),
    formatDuration(failureDurationMs),
    backoff.kind === "lineal"
      ? formatDuration(backoff.durationMs)
      : `${formatDuration(backoff.minBackoffMs)} to ${formatDuration(backoff.maxBackoffMs)}, random ${backoff.randomFactor}`,
    inFlight,
    [...failureStatuses, ...(verdictHeader === null ? [] : [verdictHeader])].join(", "),
  ]
}

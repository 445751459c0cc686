/**
 * What would become of a request, stage by stage, and why: the core functions of the stages over a loaded configuration, without
 * a certificate, a counter or an origin.
 *
 * What only a running gateway knows (what is left of limits, open guards, revocation, tokens of callers) is taken as favourable and named. Pure and total;
 * printed by `sekisho explain`.
 */
import type { Config, ConfiguredClient, Route } from "../src/config/config.ts"
import { formatBase } from "../src/config/resolve-origins.ts"
import { gatewayFields } from "../src/core/message/forwarding.ts"
import { planGate } from "../src/core/gate/gate-plan.ts"
import { isSafeMethod } from "../src/core/idempotency/idempotency-key.ts"
import { PROBLEMS, type ProblemCode } from "../src/core/problem.ts"
import { rewritePath } from "../src/core/route/rewrite.ts"
import { scopesFor } from "../src/core/token/scope.ts"
import { decideTarget } from "../src/core/route/target.ts"
import { formatDuration } from "../src/core/time.ts"
import { matchHostRoute } from "../src/core/route/virtual-host.ts"
import type { StageName } from "../src/pipeline.ts"
import { describeAction, describeLimit } from "./describe.ts"

/** What one stage would say. `notes` are the reasons, one a line. */
export interface Step {
  readonly stage: StageName
  readonly isPassed: boolean
  readonly text: string
  readonly notes: readonly string[]
}

/** All stages that the request would reach and that say something about it, and how it would end. */
export interface Explanation {
  readonly steps: readonly Step[]
  readonly end:
    | { readonly kind: "forwarded"; readonly origin: string; readonly url: string }
    | { readonly kind: "answered"; readonly status: number }
    | { readonly kind: "refused"; readonly stage: StageName; readonly code: ProblemCode; readonly status: number }
}

/** A request to ask about. `client` is undefined for a caller that shows no certificate. */
export interface ExplainedRequest {
  readonly method: string
  /** With scheme and host, or from the path on: then at the first of the gateway's hosts. Not normalised. */
  readonly url: string
  readonly client: ConfiguredClient | undefined
}

/** Returns what would become of a request at `nowMs`, epoch ms. */
export function explainRequest(config: Config, request: ExplainedRequest, nowMs: number): Explanation {
  const steps: Step[] = []
  const pass = (stage: StageName, text: string, notes: readonly string[] = []): void =>
    void steps.push({ stage, isPassed: true, text, notes })
  const refuse = (stage: StageName, code: ProblemCode, text: string, notes: readonly string[] = []): Explanation => {
    steps.push({ stage, isPassed: false, text, notes })
    return { steps, end: { kind: "refused", stage, code, status: PROBLEMS[code].status } }
  }

  const { client, method } = request
  const url = request.url.startsWith("/") ? `https://${[...config.hosts][0]}${request.url}` : request.url
  const hostField = /^https?:\/\/([^/?#\\]*)/.exec(url)?.[1] ?? null
  const target = decideTarget({ hostField, url }, config.hosts)
  if (!target.ok)
    return refuse("target", target.code, target.reason, [`hosts of the gateway: ${[...config.hosts].join(", ")}`])
  const { host, path, query } = target
  const isRespelled = !url.slice(url.indexOf("://") + 3).includes(path)
  pass("target", `${host} ${path}${query}`, isRespelled ? ["this is the canonical spelling of the path"] : [])

  const decision = matchHostRoute(config.routeTable, host, method, path)
  if (decision.kind === "not-found") {
    const why = decision.isTooLong ? "the path is longer than expressions are tried on" : "no route matches the path"
    return refuse("route", "route-not-found", why, [describeTables(config, host)])
  }
  if (decision.kind === "method-not-allowed")
    return refuse("route", "method-not-allowed", `the path has routes for ${decision.allow.join(", ")}`, [
      "the path alone chooses the place; no weaker match is tried for the sake of the method",
    ])
  const { route } = decision
  const { action } = route
  const notes = [`${WHY[route.match.kind]}, ${describeHosts(route, config, host)}`, describeAction(action)]
  const rewritten = rewritePath(action.kind === "forward" ? action.rewrite : undefined, route.match, path)
  const named = `${route.place} ${route.label}`
  if (!rewritten.ok) return refuse("route", "path-rejected", `${named}: ${rewritten.reason}`, notes)
  pass("route", named, rewritten.path === path ? notes : [...notes, `${path} becomes ${rewritten.path}`])

  if (!route.needsClientCertificate) pass("certificate", "none needed on this route")
  else if (client === undefined)
    return refuse("certificate", "client-cert-required", "the route needs a client certificate", [
      "ask for one of the clients with --client",
    ])
  else {
    pass("certificate", "needed, and taken as valid and not revoked")
    if (client.isDisabled) return refuse("identity", "client-disabled", `${client.id} is disabled`, [client.place])
    if (client.certificates.every(({ retireAtMs = Infinity }) => retireAtMs <= nowMs))
      return refuse("identity", "client-cert-retired", `every certificate of ${client.id} is retired`, [client.place])
    pass("identity", client.id, [client.place])
    pass("client-gate", ...describeGate(route, client))
    const scopes = (route.token && scopesFor(route.token.scopes, method)) ?? []
    if (route.token !== undefined) {
      const { isCertificateBound, issuer, name } = route.token.server
      const bound = isCertificateBound ? "bound to the certificate" : "bound to the certificate if it says so"
      pass("token", `needs an access token of ${name}`, [`issued by ${issuer}, ${bound}; taken as valid`])
      if (scopes.length > 0) pass("access-policy", `needs the scopes ${scopes.join(", ")}`, ["taken as granted"])
    }
  }

  if (action.kind !== "forward") {
    pass("respond", describeAction(action))
    return { steps, end: { kind: "answered", status: action.kind === "respond" ? action.status : 200 } }
  }
  if (action.idempotency !== undefined && !isSafeMethod(method)) {
    const { field, isRequired, ttlMs } = action.idempotency
    pass("idempotency", `${isRequired ? "needs a key" : "counts a key, where there is one,"} in ${field}`, [
      `taken as new; repeats get the same answer for ${formatDuration(ttlMs)}`,
    ])
  }
  if (route.isAudited)
    pass("audit", "intent and outcome go on the client's audit trail", ["the trail is taken as reachable"])
  const { name, timeoutMs, urls } = action.origin
  const [sent = "", ...others] = urls.map(({ base }) => `${formatBase(base)}${rewritten.path}${query}`)
  pass("origin", `${method} ${sent}`, [
    `origin ${name}, at most ${timeoutMs} ms to the response header`,
    ...others.map((url) => `or ${url}`),
    `fields set: ${fieldNames(config, route, host).join(", ")}`,
    ...(action.forwardHeaders === undefined
      ? []
      : [`of the caller's fields: ${[...action.forwardHeaders].join(", ") || "none"}, and those of the content`]),
  ])
  return { steps, end: { kind: "forwarded", origin: name, url: sent } }
}

const WHY: Readonly<Record<Route["match"]["kind"], string>> = {
  exact: "the exact path comes before everything else",
  regex: "no exact path matches, and this is the first expression that does",
  prefix: "no exact path and no expression matches, and this is the longest prefix",
}

function describeHosts({ hosts }: Route, { routeTable }: Config, host: string): string {
  if (hosts !== undefined) return `among the routes of ${host}, which come first`
  return routeTable.byHost.has(host) ? `among the routes of any host: none of ${host}'s own matches` : "on any host"
}

function describeTables({ routeTable }: Config, host: string): string {
  return routeTable.byHost.has(host)
    ? `looked at: the routes of ${host}, then those of any host`
    : `looked at: the routes of any host; ${host} has none of its own`
}

/** Which limits and guards a client meets, and who decides. */
function describeGate(route: Route, client: ConfiguredClient): [text: string, notes: readonly string[]] {
  const { isLent, keyed, limits, own } = planGate(route.limitSets, route.guards, client)
  const isReplaced = route.limitSets.some(({ name }) => client.limitSets.has(name))
  return [
    isLent
      ? "decided here by tokens that the client's object lends: most requests need no call"
      : "the client's object is asked for every request",
    [
      ...limits.map(
        (limit) =>
          `limit ${limit.name}: ${describeLimit(limit)}${limit.mode === "shadow" ? " (shadow: refuses nothing)" : ""}`,
      ),
      ...(isReplaced ? [`${client.place}.limits puts limits of the client's own in place of the route's`] : []),
      ...(route.cost === 1 ? [] : [`one request costs ${route.cost}`]),
      ...own.map(({ name }) => `guard ${name}, for the client`),
      ...keyed.map(
        ({ key, name }) => `guard ${name}, for each ${key.kind === "header" ? `value of ${key.name}` : key.kind}`,
      ),
      ...(route.isSoft ? ["soft: limits refuse nothing while the origin is unhealthy"] : []),
    ],
  ]
}

/** The names of the fields that only the gateway sets; what they hold is known with the request. */
function fieldNames(config: Config, { action }: Route, host: string): readonly string[] {
  if (action.kind !== "forward") return []
  const { assertion, clientCert } = action.origin
  return gatewayFields({
    requestId: "",
    clientId: "",
    clientCertificate: clientCert === "rfc9440" || clientCert === "both" ? "" : undefined,
    xfcc: clientCert === "xfcc" || clientCert === "both" ? "" : undefined,
    assertion: assertion && "",
    clientAddress: "",
    forwardedNode: "",
    host,
    traceparent: "",
    tracestate: undefined,
    via: null,
    pseudonym: config.via,
  }).map(([name]) => name)
}

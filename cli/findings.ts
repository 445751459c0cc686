/**
 * What a valid configuration still gets wrong: things that start, and then surprise. Pure; printed by `sekisho check`.
 */
import type { Config } from "../src/config/config.ts"
import { configurationVariables } from "../src/config/load.ts"
import { IP_LIMIT_PERIOD_SECONDS, VARIABLE_BYTES_MAX, VARIABLE_WARN_RATIO } from "../src/core/bounds.ts"
import { formatDuration } from "../src/core/time.ts"
import { isWorkloadId } from "../src/core/certificate/spiffe-id.ts"
import { findShadowed } from "../src/core/route/virtual-host.ts"
import { checkRules } from "./client-rules.ts"
import { error, warning, type Finding } from "./finding.ts"
import { checkIdempotency } from "./idempotency-findings.ts"
import { checkOrigins } from "./origin-findings.ts"
import type { WranglerEnvironment } from "./wrangler-file.ts"

/** Returns every finding about an environment, in the order in which an operator would read the file. */
export function findFindings(
  environment: WranglerEnvironment,
  config: Config,
  developmentSki: string,
  nowMs: number,
): readonly Finding[] {
  return [
    ...checkBindings(environment, config),
    ...checkRevocation(environment, config),
    ...checkAdmin(environment, config),
    ...checkAudit(environment, config),
    ...checkExposure(environment),
    ...checkVariableSizes(environment),
    ...checkClients(environment, config, developmentSki),
    ...config.clients.flatMap((client) => checkRules(client, config.certificateWarningMs, nowMs)),
    ...checkRoutes(config),
    ...checkOrigins(environment, config),
    ...checkLimits(config),
    ...checkGuards(config),
    ...checkTokens(environment, config),
    ...checkAssertions(config),
    ...checkIdempotency(environment, config),
    ...checkSinks(config),
  ]
}

function checkBindings(
  { objectBindings, sqliteClasses, rateLimits, queueProducers, queueConsumers }: WranglerEnvironment,
  config: Config,
): readonly Finding[] {
  const findings: Finding[] = []
  if (!objectBindings.some(({ name, class_name: className }) => name === "CLIENT_GATE" && className === "ClientGate")) {
    findings.push(
      error(
        "durable_objects.bindings",
        'lacks { name = "CLIENT_GATE", class_name = "ClientGate" }: every limited request would be refused with 503',
      ),
    )
  }
  if (!sqliteClasses.includes("ClientGate"))
    findings.push(error("migrations", 'lacks new_sqlite_classes = ["ClientGate"]'))
  const ipLimit = rateLimits.find(({ name }) => name === "IP_LIMIT")
  if (ipLimit === undefined)
    findings.push(warning("ratelimits", 'lacks name = "IP_LIMIT": nothing limits callers before they are known'))
  else if (ipLimit.simple.period !== IP_LIMIT_PERIOD_SECONDS) {
    findings.push(
      error(
        "ratelimits",
        `IP_LIMIT must have period = ${IP_LIMIT_PERIOD_SECONDS}: that is what Retry-After tells callers`,
      ),
    )
  }
  const events = queueProducers.find(({ binding }) => binding === "EVENTS")
  const hasSink = config.sinks.some(({ takes }) => takes.has("events"))
  if (hasSink && events === undefined) {
    findings.push(
      error("queues.producers", 'lacks binding = "EVENTS": SINKS are configured, but no event would reach them'),
    )
  }
  if (hasSink && events !== undefined && !queueConsumers.some(({ queue }) => queue === events.queue)) {
    findings.push(
      error("queues.consumers", `lacks queue = "${events.queue}": this Worker delivers what it puts into that queue`),
    )
  }
  for (const { queue, dead_letter_queue: deadLetterQueue } of queueConsumers) {
    if (deadLetterQueue === undefined)
      findings.push(
        warning("queues.consumers", `${queue} has no dead_letter_queue: events that no sink takes would be deleted`),
      )
  }
  return findings
}

function checkRevocation(
  { crons, objectBindings, sqliteClasses }: WranglerEnvironment,
  config: Config,
): readonly Finding[] {
  if ([...config.issuers.values()].every(({ crl }) => crl === undefined)) return []
  const findings: Finding[] = []
  if (!objectBindings.some(({ name, class_name: c }) => name === "REVOCATION_LIST" && c === "RevocationList")) {
    const text =
      'lacks { name = "REVOCATION_LIST", class_name = "RevocationList" }: clients of CAs with crl would be refused'
    findings.push(error("durable_objects.bindings", `${text} with 503`))
  }
  if (!sqliteClasses.includes("RevocationList"))
    findings.push(error("migrations", 'lacks new_sqlite_classes = ["RevocationList"], in a tag of its own'))
  if (crons.length === 0) {
    const text = 'is empty: revocation lists would be fetched only behind requests; add "*/5 * * * *"'
    findings.push(warning("triggers.crons", text))
  }
  return findings
}

function checkAdmin({ objectBindings, sqliteClasses }: WranglerEnvironment, { admin }: Config): readonly Finding[] {
  const findings: Finding[] = []
  const isBound = objectBindings.some(({ name, class_name: c }) => name === "METRICS" && c === "Metrics")
  if (admin !== undefined && !isBound)
    findings.push(
      error(
        "durable_objects.bindings",
        'lacks { name = "METRICS", class_name = "Metrics" }: /metrics would answer 503',
      ),
    )
  if (isBound && !sqliteClasses.includes("Metrics"))
    findings.push(error("migrations", 'lacks new_sqlite_classes = ["Metrics"], in a tag of its own'))
  return findings
}

function checkAudit(
  { objectBindings, sqliteClasses }: WranglerEnvironment,
  { routes, sinks }: Config,
): readonly Finding[] {
  if (!sinks.some(({ takes }) => takes.has("audit"))) return []
  const findings: Finding[] = []
  if (!objectBindings.some(({ name, class_name: c }) => name === "AUDIT_TRAIL" && c === "AuditTrail")) {
    const isRequired = routes.some(({ isAudited }) => isAudited)
    const effect = isRequired ? "requests of audited routes would be refused with 503" : "no trail would be kept"
    findings.push(
      error("durable_objects.bindings", `lacks { name = "AUDIT_TRAIL", class_name = "AuditTrail" }: ${effect}`),
    )
  }
  if (!sqliteClasses.includes("AuditTrail"))
    findings.push(error("migrations", 'lacks new_sqlite_classes = ["AuditTrail"], in a tag of its own'))
  return findings
}

function checkExposure({ name, vars, workersDev, previewUrls }: WranglerEnvironment): readonly Finding[] {
  const findings: Finding[] = []
  if (workersDev !== false)
    findings.push(
      warning(
        "workers_dev",
        "is not false: the gateway would also answer on workers.dev, where no client certificate is asked for",
      ),
    )
  if (previewUrls !== false)
    findings.push(
      warning(
        "preview_urls",
        "is not false: every version would also answer on a preview address, where no client certificate is asked for",
      ),
    )
  if (name !== undefined && vars["PLATFORM"] !== "cloudflare") {
    findings.push(
      warning(
        "PLATFORM",
        'is not "cloudflare": request.cf is then believed only with an assertion of the local edge, so every certificate is refused',
      ),
    )
  }
  if (name === undefined && vars["PLATFORM"] !== undefined) {
    findings.push(
      warning(
        "PLATFORM",
        "is set at the top level, which `wrangler dev` runs: whoever reaches its port could then write request.cf",
      ),
    )
  }
  return findings
}

function checkVariableSizes({ vars }: WranglerEnvironment): readonly Finding[] {
  return [...configurationVariables(vars)].flatMap(([name, value]) => {
    const bytes = Buffer.byteLength(JSON.stringify(value))
    const text = `takes ${bytes} of the ${VARIABLE_BYTES_MAX} octets that one variable may have`
    if (bytes > VARIABLE_BYTES_MAX) return [error(name, `${text}; move entries to ${name}_2`)]
    return bytes > VARIABLE_BYTES_MAX * VARIABLE_WARN_RATIO
      ? [warning(name, `${text}; the next entries belong into ${name}_2`)]
      : []
  })
}

function checkClients({ vars }: WranglerEnvironment, config: Config, developmentSki: string): readonly Finding[] {
  return config.clients.flatMap(({ id, certificates }) => {
    const unmatchable = certificates.flatMap((match) => {
      if (match.kind === "san-uri" && match.sanUri.startsWith("spiffe:") && !isWorkloadId(match.sanUri))
        // No CA that knows SPIFFE issues a certificate with what SPIFFE does not allow.
        return [`${match.sanUri} is no SPIFFE id`]
      if ("issuerSki" in match && match.issuerSki === developmentSki && vars["PLATFORM"] === "cloudflare") {
        return ["its issuer is the development CA, which Cloudflare does not trust"]
      }
      return []
    })
    if (unmatchable.length === 0) return []
    const text =
      unmatchable.length === certificates.length
        ? "no certificate can match this client"
        : "one of its certificates can never match"
    return [warning(`client "${id}"`, `${text}: ${unmatchable.join("; ")}`)]
  })
}

function checkRoutes({ hosts, routes, routeTable }: Config): readonly Finding[] {
  const shadowed = findShadowed(routes, [...hosts]).map(({ hosts: lost, index, shadowedBy }) => {
    const { hosts: own = [...hosts], place = "ROUTES" } = routes[index] ?? {}
    const where = lost.length === own.length ? "no request" : `no request to ${lost.join(", ")}`
    const by = routes[shadowedBy]?.place ?? "another route"
    return warning(place, `${where} can reach this route: ${by} takes them all`)
  })
  const hasGeneral = routes.some(({ hosts: own }) => own === undefined)
  const empty = [...hosts].filter((host) => !hasGeneral && !routeTable.byHost.has(host))
  return [...shadowed, ...empty.map((host) => warning("GATEWAY.hosts", `no route is on ${host}: it answers 404 only`))]
}

function checkLimits({ clients, routes }: Config): readonly Finding[] {
  const asked = new Set(routes.flatMap(({ limitSets }) => limitSets.map(({ name }) => name)))
  const unused = clients.flatMap(({ limitSets, place }) =>
    [...limitSets.keys()]
      .filter((name) => !asked.has(name))
      .map((name) => warning(`${place}.limits.${name}`, "has no effect: no route names that set of limits")),
  )
  const short = new Map<string, Finding>()
  for (const { action, limitSets } of routes) {
    for (const limit of limitSets.flatMap(({ limits }) => limits)) {
      if (action.kind !== "forward" || limit.kind !== "concurrency") continue
      const { name, timeoutMs } = action.origin
      if (limit.leaseTtlMs > timeoutMs) continue
      const text = `holds a place for ${formatDuration(limit.leaseTtlMs)}, but the origin "${name}" may take ${formatDuration(timeoutMs)} to begin its answer: more requests than allowed could run at once`
      short.set(limit.name, warning(`limit "${limit.name}"`, text))
    }
  }
  return [...unused, ...short.values()]
}

function checkGuards({ guards, routes }: Config): readonly Finding[] {
  return guards.flatMap(({ name, pendingTtlMs }) => {
    const asking = routes.filter((route) => route.guards.some((guard) => guard.name === name))
    if (asking.length === 0) return [warning(`GUARDS.${name}`, "has no effect: no route names that guard")]
    const [slowest] = asking
      .flatMap(({ action }) => (action.kind === "forward" ? [action.origin] : []))
      .toSorted((a, b) => b.timeoutMs - a.timeoutMs)
    if (slowest === undefined || pendingTtlMs > slowest.timeoutMs) return []
    const text = `waits ${formatDuration(pendingTtlMs)} for an answer (pending_ttl), but the origin "${slowest.name}" may take ${formatDuration(slowest.timeoutMs)} to begin it: what comes later counts for nothing`
    return [warning(`GUARDS.${name}`, text)]
  })
}

function checkTokens(
  { vars }: WranglerEnvironment,
  { authorizationServers, clients, routes }: Config,
): readonly Finding[] {
  const findings = authorizationServers.flatMap(({ clientClaim, isCertificateBound, jwksUrl, name }) => {
    const path = `TOKENS.${name}`
    if (!routes.some(({ token }) => token?.server.name === name))
      return [warning(path, "has no effect: no route asks for its tokens")]
    return [
      ...(clientClaim === null && !isCertificateBound
        ? [warning(path, "ties tokens neither to a certificate nor to a client: any client may present any of them")]
        : []),
      ...(vars["PLATFORM"] === "cloudflare" && jwksUrl.startsWith("http:")
        ? [
            warning(
              `${path}.jwks_url`,
              "is on the machine of the Worker, where Cloudflare runs no authorization server",
            ),
          ]
        : []),
    ]
  })
  if (authorizationServers.length > 0) return findings
  return clients
    .filter(({ id, oauthClients }) => !(oauthClients.size === 1 && oauthClients.has(id)))
    .map(({ place }) => warning(`${place}.oauth_clients`, "has no effect: TOKENS names no authorization server"))
}

function checkAssertions({ assertion, origins, routes }: Config): readonly Finding[] {
  if (assertion === undefined) return []
  const asserted = origins.filter((origin) => origin.assertion !== undefined)
  if (asserted.length === 0)
    return [warning("GATEWAY.assertion", "has no effect: no origin has assertion = true, so nothing is signed")]
  const placeOf = new Map<string, string>()
  const shared = asserted.flatMap(({ assertion, name, urls }) => {
    const audience = assertion?.audience ?? ""
    const other = placeOf.get(audience)
    // URLs of one origin are one service, wherever they are.
    const authority = urls[0]?.base.authority ?? ""
    placeOf.set(audience, authority)
    if (other === undefined || other === authority) return []
    const text = `has the audience "${audience}" of an origin on another host: what is asserted to one of them is believed by the other`
    return [warning(`ORIGINS.${name}.assertion`, text)]
  })
  if (routes.some(({ action }) => action.kind === "jwks")) return shared
  return [
    ...shared,
    warning("ROUTES", "has no route with jwks = true: origins cannot fetch the keys that assertions are verified with"),
  ]
}

function checkSinks(config: Config): readonly Finding[] {
  const what = config.sinks.length === 0 ? "is empty" : "has none that takes events"
  const misled = config.sinks.filter(
    ({ kind, takes, url }) => kind === "otlp" && takes.has("traces") !== url.endsWith("traces"),
  )
  return [
    ...(config.sinks.some(({ takes }) => takes.has("events"))
      ? []
      : [warning("SINKS", `${what}: events go to the Worker's console only`)]),
    ...(config.traceRatio !== 1 && !config.hasTraces
      ? [warning("GATEWAY.traces", 'has no effect: no sink has takes = ["traces"]')]
      : []),
    ...misled
      .filter(({ url }) => /\/v1\/(?:logs|traces)$/.test(url))
      .map(({ takes, url }) => {
        const text = takes.has("traces")
          ? "takes traces at a URL for logs"
          : 'takes events at a URL for traces; takes = ["traces"]'
        return warning("SINKS", `${url} ${text}`)
      }),
  ]
}

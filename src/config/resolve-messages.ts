/**
 * What routes do to the messages that they forward: limits of bodies, fields that are set and removed, web origins, redirects.
 * A field that the gateway or a guard of the route depends on is out of a route's reach. Pure; called by
 * `config/resolve-routes.ts`.
 */
import {
  CORS_MAX_AGE_SECONDS_DEFAULT,
  FIELD_RULES_MAX,
  FIELD_VALUE_LENGTH_MAX,
  REQUEST_BYTES_DEFAULT,
} from "../core/bounds.ts"
import type { CorsPolicy } from "../core/message/cors.ts"
import {
  isFieldAdjustable,
  isRuleCountAllowed,
  isStaticFieldValue,
  NO_FIELD_RULES,
  type Direction,
  type FieldRules,
} from "../core/message/field-rules.ts"
import { METHODS } from "../core/route/route.ts"
import type { Guard, MessageRules } from "./config.ts"
import type { Report } from "./report.ts"
import { messages } from "./schema-messages.ts"
import { HEADER_NAME, headerName } from "./schema-names.ts"
import { acceptedBy } from "./schema-parts.ts"
import type { Parsed } from "./schema.ts"

type ParsedRoute = Parsed<"ROUTE">

const KEYS = Object.keys(messages) as (keyof typeof messages)[]

/** Reports keys about forwarded messages on a route that forwards none. */
export function reportMessagesWithoutOrigin(place: string, route: ParsedRoute, report: Report): void {
  for (const key of KEYS)
    if (route[key] !== undefined) report(`${place}.${key}`, route[key], `no ${key} on a route that forwards nothing`)
}

/** Returns the rules of a route with an origin, with their defaults. */
export function resolveMessages(
  place: string,
  route: ParsedRoute,
  guards: ReadonlyMap<string, Guard>,
  report: Report,
): MessageRules {
  const ofRoute = [route.guard ?? []].flat().flatMap((name) => guards.get(name) ?? [])
  if (route.location_allow !== undefined && route.location !== "rewrite") {
    report(
      `${place}.location_allow`,
      route.location_allow,
      'no location_allow without location = "rewrite": every redirect is handed on',
    )
  }
  return {
    requestBytesMax: route.max_request_bytes ?? REQUEST_BYTES_DEFAULT,
    responseBytesMax: route.max_response_bytes,
    requestFields: resolveFields(`${place}.request_headers`, route.request_headers, "request", ofRoute, report),
    responseFields: resolveFields(`${place}.response_headers`, route.response_headers, "response", ofRoute, report),
    hasSecurityFields: route.security_headers ?? false,
    cors: resolveCors(place, route, report),
    locationAllowed: route.location === "rewrite" ? new Set(route.location_allow) : undefined,
  }
}

function resolveFields(
  place: string,
  rules: ParsedRoute["request_headers"],
  direction: Direction,
  guards: readonly Guard[],
  report: Report,
): FieldRules {
  if (rules === undefined) return NO_FIELD_RULES
  const { remove = [], set = [] } = rules
  const named = [
    ...set.map(([name]) => [`${place}.set.${name}`, name] as const),
    ...remove.map((name, index) => [`${place}.remove[${index}]`, name] as const),
  ]
  for (const [at, name] of named) {
    const guard = guards.find((candidate) => fieldOf(candidate, direction) === name)
    if (!HEADER_NAME.test(name)) {
      report(at, name, acceptedBy(headerName))
    } else if (!isFieldAdjustable(name, direction)) {
      report(at, name, "a field that is neither the gateway's own nor part of the framing of the message")
    } else if (guard !== undefined) {
      report(at, name, `a field that no guard reads: the guard "${guard.name}" of this route depends on this one`)
    }
  }
  for (const [name, value] of set) {
    if (!isStaticFieldValue(value)) {
      const accepted = `1 to ${FIELD_VALUE_LENGTH_MAX} visible ASCII characters, with spaces only between them`
      report(`${place}.set.${name}`, value, accepted)
    }
    if (remove.includes(name)) report(`${place}.set.${name}`, name, "a field that is not removed as well")
  }
  if (!isRuleCountAllowed({ remove, set })) report(place, named.length, `at most ${FIELD_RULES_MAX} fields`)
  return { remove, set }
}

/** The field that a guard reads in one direction. */
function fieldOf({ key, outcomes }: Guard, direction: Direction): string | null {
  if (direction === "response") return outcomes.verdictHeader
  return key.kind === "header" ? key.name : null
}

function resolveCors(place: string, { cors, methods = METHODS }: ParsedRoute, report: Report): CorsPolicy | undefined {
  if (cors === undefined) return undefined
  if (!methods.includes("OPTIONS"))
    report(`${place}.methods`, methods, 'methods with "OPTIONS": with cors, browsers ask by it first')
  return {
    origins: new Set(cors.origins),
    methods: cors.methods ?? methods.filter((method) => method !== "OPTIONS"),
    headers: cors.headers ?? [],
    expose: cors.expose ?? [],
    maxAgeSeconds: cors.max_age === undefined ? CORS_MAX_AGE_SECONDS_DEFAULT : Math.floor(cors.max_age / 1_000),
    hasCredentials: cors.credentials ?? false,
  }
}

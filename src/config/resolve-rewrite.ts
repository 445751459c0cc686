/**
 * On which hosts a route is, and how it rewrites paths. A host that the gateway does not answer for and a rewrite that could
 * never work are errors: nobody would notice them before a request does. Pure; called by `config/resolve-routes.ts`.
 */
import { checkRewrite, type Rewrite } from "../core/route/rewrite.ts"
import type { Route } from "./config.ts"
import type { Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

/** Returns the hosts of a route, undefined for all. `known` are those of GATEWAY, undefined when they have errors of their own. */
export function resolveHosts(
  place: string,
  { host }: Parsed<"ROUTE">,
  known: readonly string[] | undefined,
  report: Report,
): readonly string[] | undefined {
  if (host === undefined) return undefined
  const hosts = typeof host === "string" ? [host] : host
  for (const [index, name] of hosts.entries()) {
    const at = typeof host === "string" ? `${place}.host` : `${place}.host[${index}]`
    if (known?.includes(name) === false)
      report(at, name, `one of ${known.map((other) => `"${other}"`).join(", ")} (GATEWAY.hosts)`)
    if (hosts.indexOf(name) < index) report(at, name, "a host that is not in the list already")
  }
  return hosts
}

/** Returns the rewrite of a route that forwards. `match` is undefined when it has errors of its own. */
export function resolveRewrite(
  place: string,
  { rewrite }: Parsed<"ROUTE">,
  match: Route["match"] | undefined,
  report: Report,
): Rewrite | undefined {
  if (rewrite === undefined) return undefined
  const { path, replace_prefix: replacement, strip_prefix: stripped } = rewrite
  const [chosen, ...others] = [
    ...(stripped === undefined ? [] : [["strip_prefix", { kind: "strip-prefix", prefix: stripped }] as const]),
    ...(replacement === undefined
      ? []
      : [["replace_prefix", { kind: "replace-prefix", prefix: replacement }] as const]),
    ...(path === undefined ? [] : [["path", { kind: "path", template: path }] as const]),
  ]
  if (chosen === undefined || others.length > 0) {
    report(`${place}.rewrite`, rewrite, "exactly one of strip_prefix, replace_prefix and path")
    return undefined
  }
  const [key, value] = chosen
  const accepted = match && checkRewrite(value, match)
  if (accepted !== undefined) report(`${place}.rewrite.${key}`, rewrite[key], accepted)
  return value
}

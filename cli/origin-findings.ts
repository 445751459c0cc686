/**
 * What `sekisho check` finds about origins: bindings that are not there, or cannot do what is asked of them. Pure.
 */
import type { Config } from "../src/config/config.ts"
import { error, warning, type Finding } from "./finding.ts"
import type { WranglerEnvironment } from "./wrangler-file.ts"

/** Returns every finding about the origins of an environment. */
export function checkOrigins({ fetchers }: WranglerEnvironment, { origins }: Config): readonly Finding[] {
  return origins.flatMap(({ binding, name, preservesHost, urls }): readonly Finding[] => {
    if (binding === undefined) return []
    const kind = fetchers.get(binding)
    if (kind === undefined) {
      const text = `names "${binding}", but the file has no [[services]], [[mtls_certificates]] or [[vpc_services]] with that binding: every request to it would be refused with 503`
      return [error(`ORIGINS.${name}.binding`, text)]
    }
    if (kind === "mtls_certificate" && preservesHost) {
      const text = `cannot keep the host with "${binding}": a certificate goes where the URL leads, and that would be the caller's host, the gateway itself`
      return [error(`ORIGINS.${name}.preserve_host`, text)]
    }
    if (kind === "mtls_certificate" && urls.some(({ base }) => base.scheme === "http")) {
      const text = `shows no certificate of "${binding}" to a URL with http: there is no TLS to show it in`
      return [warning(`ORIGINS.${name}`, text)]
    }
    return []
  })
}

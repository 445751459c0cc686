/**
 * Origins with their defaults, and what is asserted to them. An origin that asks for assertions and a gateway that has no
 * keys contradict each other: the origin would refuse everything, or worse, would not ask. Pure; called by `config/load.ts`.
 */
import { ASSERTION_KEYS_MAX, ORIGIN_TIMEOUT_MS_DEFAULT } from "../core/bounds.ts"
import type { AssertionIssuer, Origin } from "./config.ts"
import type { Report } from "./report.ts"
import type { Parsed } from "./schema.ts"

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
  return {
    name,
    url: origin.url,
    timeoutMs: origin.timeout ?? ORIGIN_TIMEOUT_MS_DEFAULT,
    assertion:
      assertion === false || issuer === undefined
        ? undefined
        : { issuer, audience: assertion === true ? name : assertion.audience },
    clientCert: origin.client_cert ?? "rfc9440",
  }
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

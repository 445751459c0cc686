/**
 * How the command line shows the rules that recognise a client, and what it finds wrong with rules that are valid. Pure.
 */
import type { ConfiguredClient } from "../src/config/config.ts"
import { daysLeft } from "../src/core/certificate/certificate.ts"
import { overlapKey, overlaps, type CertificateRule } from "../src/core/certificate/identity.ts"
import { formatSpkiPin } from "../src/core/certificate/spki-pin.ts"
import { warning, type Finding } from "./finding.ts"

/** Returns what a rule looks for, and the CA it belongs to where it names one. */
export function describeRule(rule: CertificateRule): string {
  const issuer = "issuerSki" in rule && rule.issuerSki !== undefined ? `  (issuer ${rule.issuerSki.slice(0, 12)}…)` : ""
  switch (rule.kind) {
    case "fingerprint":
      return rule.fingerprint
    case "spki":
      return formatSpkiPin(rule.spki) + issuer
    case "san-uri":
      return rule.sanUri + issuer
    case "san-dns":
      return rule.sanDns + issuer
    case "san-email":
      return rule.sanEmail + issuer
    case "spiffe-id":
      return rule.spiffeId + issuer
    case "subject":
      return subjectText(rule.subjectKey) + issuer
  }
}

/** Returns until when a rule counts, in words; "" for always. */
export function describeEnd({ retireAtMs }: CertificateRule, nowMs: number): string {
  if (retireAtMs === undefined) return ""
  const at = formatSeconds(retireAtMs)
  const days = daysLeft(retireAtMs, nowMs)
  return retireAtMs <= nowMs
    ? `retired since ${at}`
    : `until ${at}, ${days < 1 ? "less than a day" : `${days} day${days === 1 ? "" : "s"}`} left`
}

/** Returns an instant to the second, as it is written in the configuration. */
export function formatSeconds(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z")
}

/** Returns the findings about the rules of one client. `warningMs` is how far ahead ends are reported. */
export function checkRules(client: ConfiguredClient, warningMs: number, nowMs: number): readonly Finding[] {
  const { certificates, id, isDisabled, place } = client
  const at = (index: number): string => `${place}.certificates[${index}]`
  const findings: Finding[] = []
  if (isDisabled) findings.push(warning(`client "${id}"`, "is disabled: every request of it is refused with 403"))
  for (const [index, rule] of certificates.entries()) {
    const { retireAtMs } = rule
    if (retireAtMs !== undefined && retireAtMs <= nowMs) {
      findings.push(warning(at(index), "retire_at has passed: it only refuses; take it out once nobody uses it"))
    } else if (retireAtMs !== undefined && retireAtMs - nowMs <= warningMs)
      findings.push(warning(at(index), `its overlap window ends soon: ${describeEnd(rule, nowMs)}`))
    const twin = certificates.findIndex(
      (other, before) => before < index && overlapKey(other) === overlapKey(rule) && overlaps(other, rule),
    )
    if (twin >= 0)
      findings.push(warning(at(index), `matches the same certificates as ${at(twin)}: one of them is enough`))
    // Whoever renews with the same name is still matched by it, and so is the certificate that was to retire.
    const names = certificates.flatMap((other, position) =>
      isName(other) && (other.retireAtMs ?? Infinity) > (retireAtMs ?? Infinity) ? [at(position)] : [],
    )
    if (retireAtMs !== undefined && !isName(rule) && names.length > 0) {
      const text = `retire_at has no effect on a certificate that ${names.join(" and ")} matches as well: a name outlives its certificates`
      findings.push(warning(at(index), text))
    }
  }
  if (certificates.every(({ retireAtMs = Infinity }) => retireAtMs <= nowMs))
    findings.push(warning(`client "${id}"`, "every rule is retired: all of its requests are refused with 401"))
  return findings
}

/** Whether a rule goes by a name, which a renewed certificate has too, and not by a digest. */
function isName({ kind }: CertificateRule): boolean {
  return kind !== "fingerprint" && kind !== "spki"
}

/** The configured name as its attributes, most specific first. */
function subjectText(subjectKey: string): string {
  const rdns = JSON.parse(subjectKey) as readonly (readonly string[])[]
  return rdns
    .toReversed()
    .map((rdn) => rdn.map((attribute) => (JSON.parse(attribute) as readonly string[]).at(-1)).join("+"))
    .join(", ")
}

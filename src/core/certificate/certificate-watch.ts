/**
 * Which certificates of one client are about to end, and whether somebody has been told today.
 *
 * The client's object remembers the certificates it has seen lately, and warns once a day (UTC) for each that ends soon or has
 * ended: when it is used, and when the daily review asks. A certificate ends with its validity or with the overlap window of
 * the rule that it is recognised by, whichever comes first. Pure and total; the object stores the state.
 */
import {
  CERTIFICATE_MEMORY_MS,
  CERTIFICATE_SUPERSEDED_MS,
  CERTIFICATE_URGENT_MS,
  CERTIFICATES_REMEMBERED_MAX,
  RULE_ENDS_REMEMBERED_MAX,
} from "../bounds.ts"
import { daysLeft } from "./certificate.ts"
import { effectiveTimeMs } from "../clock.ts"
import { formatInstant, type CertificateRecord } from "../record/event.ts"
import { isCount, isInstant, membersOf, parseJson } from "../untrusted.ts"

const DAY_MS = 86_400_000

/** A certificate in use, as an isolate reports it. Instants are epoch ms. */
export interface CertificateNote {
  readonly fingerprint: string
  readonly notAfterMs: number
  /** End of its overlap window; null without one. */
  readonly retiresAtMs: number | null
}

/** The end of the overlap window of a rule: where it stands in the configuration, and when, epoch ms. */
export interface RuleEnd {
  readonly rule: string
  readonly retireAtMs: number
}

/** A certificate as it is remembered. Days count from the epoch, UTC. */
interface SeenCertificate extends CertificateNote {
  readonly lastUsedDay: number
  /** When it was last warned of; null for never. */
  readonly warnedDay: number | null
}

/** What is stored. */
export interface CertificateWatch {
  readonly version: 1
  /** At most one for a fingerprint, the last one used first. */
  readonly seen: readonly SeenCertificate[]
  /** Ends of rules that were warned of, and when. */
  readonly rules: readonly { readonly retireAtMs: number; readonly warnedDay: number }[]
}

/** A state, and what has to be told. The state is the very one passed in when nothing has to be stored. */
export interface WatchStep {
  readonly watch: CertificateWatch
  readonly records: readonly CertificateRecord[]
}

/** Nothing was ever seen. */
export const EMPTY_WATCH: CertificateWatch = { version: 1, seen: [], rules: [] }

/**
 * Returns the state in a stored text. One that cannot be read is as good as none: at worst, somebody is told twice.
 *
 * @param stored undefined when nothing is stored
 */
export function restoreWatch(stored: unknown): CertificateWatch {
  const { version, seen, rules } = membersOf(parseJson(stored))
  if (version !== 1 || !Array.isArray(seen) || !Array.isArray(rules)) return EMPTY_WATCH
  return seen.every(isSeen) && rules.every(isRule)
    ? {
        version,
        seen: seen.slice(0, CERTIFICATES_REMEMBERED_MAX),
        rules: rules.slice(0, RULE_ENDS_REMEMBERED_MAX),
      }
    : EMPTY_WATCH
}

/** Takes a certificate in use, and warns of it when it ends within `warningMs` and nobody was told today. */
export function noteCertificate(
  watch: CertificateWatch,
  clientId: string,
  note: CertificateNote,
  warningMs: number,
  nowMs: number,
): WatchStep {
  const today = dayOf(nowMs)
  const before = watch.seen.find(({ fingerprint }) => fingerprint === note.fingerprint)
  const isDue = endOf(note) - nowMs <= warningMs && (before?.warnedDay ?? -1) < today
  const isKnown =
    before !== undefined &&
    before.lastUsedDay >= today &&
    before.notAfterMs === note.notAfterMs &&
    before.retiresAtMs === note.retiresAtMs
  if (isKnown && !isDue) return { watch, records: [] }
  const { fingerprint, notAfterMs, retiresAtMs } = note
  const noted: SeenCertificate = {
    fingerprint,
    notAfterMs,
    retiresAtMs,
    lastUsedDay: Math.max(today, before?.lastUsedDay ?? 0),
    warnedDay: isDue ? today : (before?.warnedDay ?? null),
  }
  const others = watch.seen.filter((seen) => seen !== before)
  return {
    watch: { ...watch, seen: [noted, ...others].slice(0, CERTIFICATES_REMEMBERED_MAX) },
    records: isDue ? [recordOf(clientId, noted, "use", nowMs)] : [],
  }
}

/**
 * Looks through everything remembered, without any certificate in use: warns as {@link noteCertificate} does, of certificates
 * that nothing newer has taken the place of, and of windows that end without any remembered certificate in them.
 *
 * @param rules ends of windows in the configuration
 */
export function reviewCertificates(
  watch: CertificateWatch,
  clientId: string,
  rules: readonly RuleEnd[],
  warningMs: number,
  nowMs: number,
): WatchStep {
  const today = dayOf(nowMs)
  const records: CertificateRecord[] = []
  const kept = watch.seen.filter((seen) => nowMs - endOf(seen) <= CERTIFICATE_MEMORY_MS)
  const seen = kept.map((one) => {
    const isDue = endOf(one) - nowMs <= warningMs && (one.warnedDay ?? -1) < today && !isSuperseded(one, kept)
    if (!isDue) return one
    records.push(recordOf(clientId, one, "review", nowMs))
    return { ...one, warnedDay: today }
  })
  const warned = new Map(
    watch.rules.filter(({ warnedDay }) => warnedDay >= today).map((rule) => [rule.retireAtMs, rule]),
  )
  for (const { rule, retireAtMs } of rules) {
    const isSoon = retireAtMs > nowMs && retireAtMs - nowMs <= warningMs
    const isSeen = kept.some(({ retiresAtMs }) => retiresAtMs === retireAtMs)
    if (!isSoon || isSeen || warned.has(retireAtMs) || warned.size >= RULE_ENDS_REMEMBERED_MAX) continue
    warned.set(retireAtMs, { retireAtMs, warnedDay: today })
    records.push({ ...baseOf(clientId, retireAtMs, "overlap", "review", nowMs), rule })
  }
  const isChanged = records.length > 0 || kept.length < watch.seen.length
  return { watch: isChanged ? { version: 1, seen, rules: [...warned.values()] } : watch, records }
}

/**
 * Returns the run, from 0 to `slots - 1`, in which a client's turn comes: always the same for one id, and about as many clients
 * in each. FNV-1a, 32 bits.
 */
export function reviewSlotOf(clientId: string, slots: number): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < clientId.length; i++) hash = Math.imul(hash ^ clientId.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % slots
}

function endOf({ notAfterMs, retiresAtMs }: CertificateNote): number {
  return Math.min(notAfterMs, retiresAtMs ?? Infinity)
}

/** Whether the client has moved on: it uses one that ends later, and has not used this one for a week beside it. */
function isSuperseded(one: SeenCertificate, all: readonly SeenCertificate[]): boolean {
  return all.some(
    (other) => endOf(other) > endOf(one) && (other.lastUsedDay - one.lastUsedDay) * DAY_MS >= CERTIFICATE_SUPERSEDED_MS,
  )
}

function recordOf(
  clientId: string,
  seen: SeenCertificate,
  foundBy: CertificateRecord["found_by"],
  nowMs: number,
): CertificateRecord {
  const endMs = endOf(seen)
  return {
    ...baseOf(clientId, endMs, endMs < seen.notAfterMs ? "overlap" : "validity", foundBy, nowMs),
    certificate_fingerprint: seen.fingerprint,
    last_used: formatInstant(seen.lastUsedDay * DAY_MS).slice(0, 10),
  }
}

function baseOf(
  clientId: string,
  endMs: number,
  ends: CertificateRecord["ends"],
  foundBy: CertificateRecord["found_by"],
  nowMs: number,
): CertificateRecord {
  return {
    timestamp: formatInstant(nowMs),
    level: endMs - nowMs <= CERTIFICATE_URGENT_MS ? "error" : "warn",
    event: "certificate.expiring",
    client_id: clientId,
    ends,
    ends_at: formatInstant(endMs),
    days_left: daysLeft(endMs, nowMs),
    found_by: foundBy,
  }
}

function dayOf(nowMs: number): number {
  return Math.floor(effectiveTimeMs(0, nowMs) / DAY_MS)
}

function isSeen(value: unknown): value is SeenCertificate {
  const { fingerprint, notAfterMs, retiresAtMs, lastUsedDay, warnedDay } = membersOf(value)
  return (
    typeof fingerprint === "string" &&
    isInstant(notAfterMs) &&
    (retiresAtMs === null || isInstant(retiresAtMs)) &&
    isCount(lastUsedDay) &&
    (warnedDay === null || isCount(warnedDay))
  )
}

function isRule(value: unknown): value is CertificateWatch["rules"][number] {
  const { retireAtMs, warnedDay } = membersOf(value)
  return isInstant(retireAtMs) && isCount(warnedDay)
}

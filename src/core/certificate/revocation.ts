/**
 * What a gateway does with the revocation list of a CA: which one it believes, when it asks for the next, and what a serial
 * means under it.
 *
 * Closed where nothing is known: a list that is missing or over is no list, an older one never replaces a newer one, and a
 * stored state that cannot be read is as if there were none. A serial that is on the list is revoked, however old the list
 * is. Pure and total; the object `RevocationList` stores and fetches, the `certificate` stage asks.
 *
 * @see RFC 5280 §5, §6.3
 */
import { CRL_CLOCK_TOLERANCE_MS, CRL_RETRY_MS_MAX, CRL_RETRY_MS_MIN } from "../bounds.ts"
import { isEffectiveTime } from "../clock.ts"
import type { CrlFacts } from "./crl.ts"
import { nameKey } from "./distinguished-name.ts"
import { isCount, membersOf } from "../untrusted.ts"
import type { X509Facts } from "./x509.ts"

/** Where the list of a CA comes from, and who has to have signed it. Plain data: it travels to the object. */
export interface RevocationSource {
  /** Configured name of the CA, for the record. */
  readonly issuer: string
  readonly url: string
  /** How often the list is fetched, in ms. */
  readonly refreshMs: number
  /** Key of the CA's name (`nameKey`), its subject key identifier and its SubjectPublicKeyInfo (DER), both in lower-case hex. */
  readonly ca: { readonly nameKey: string; readonly ski: string; readonly publicKey: string }
}

/** What a certificate is under the stored list. `stale`: not on a list that is over. `missing`: there is none. */
export type RevocationStatus = "good" | "revoked" | "stale" | "missing"

/** What is stored of an accepted list beside its serials. */
export interface StoredList {
  readonly number: string | null
  readonly thisUpdateMs: number
  readonly nextUpdateMs: number
  readonly entries: number
}

/** What one object knows. Stored as JSON. */
export interface ListState {
  readonly version: 1
  /** URL and public key that the list was accepted under; another one makes it another CA's list. */
  readonly url: string
  readonly publicKey: string
  readonly list: StoredList | null
  /** End of the last attempt and of the last one that succeeded; 0 for never. */
  readonly attemptedAtMs: number
  readonly succeededAtMs: number
  /** Failures since then. */
  readonly failures: number
  /** The end of the list in force has been put on the record. */
  readonly isStaleReported: boolean
}

/** Why a list that could be read does not come into force. */
export type ListRefusal =
  | "crl_issuer_mismatch"
  | "crl_scope"
  | "crl_not_yet_valid"
  | "crl_expired"
  | "crl_older_than_stored"

/** Returns what is known of a source before anything was fetched. */
export function emptyListState({ url, ca }: RevocationSource): ListState {
  return {
    version: 1,
    url,
    publicKey: ca.publicKey,
    list: null,
    attemptedAtMs: 0,
    succeededAtMs: 0,
    failures: 0,
    isStaleReported: false,
  }
}

/**
 * Returns the stored state as far as it counts for this source. An unreadable one counts for nothing. A list of another key
 * is another CA's; one of another URL stays in force until its successor is there, which is fetched at once.
 *
 * @param value parsed JSON of the row, or undefined
 */
export function restoreListState(value: unknown, source: RevocationSource): ListState {
  const state = membersOf(value) as Partial<Record<keyof ListState, unknown>>
  const list = readStoredList(state.list)
  const { attemptedAtMs, succeededAtMs, failures } = state
  const isReadable =
    state.version === 1 && list !== undefined && isCount(attemptedAtMs) && isCount(succeededAtMs) && isCount(failures)
  if (!isReadable || state.publicKey !== source.ca.publicKey) return emptyListState(source)
  if (state.url !== source.url) return { ...emptyListState(source), list }
  const isStaleReported = state.isStaleReported === true
  return { ...emptyListState(source), list, attemptedAtMs, succeededAtMs, failures, isStaleReported }
}

function readStoredList(value: unknown): StoredList | null | undefined {
  if (value === null) return null
  const { number, thisUpdateMs, nextUpdateMs, entries } = membersOf(value)
  if (number !== null && typeof number !== "string") return undefined
  if (!isEffectiveTime(thisUpdateMs) || !isEffectiveTime(nextUpdateMs) || !isCount(entries)) return undefined
  return { number, thisUpdateMs, nextUpdateMs, entries }
}

/**
 * Returns why a list does not come into force in the place of the stored one, or undefined when it does. Its signature has
 * been verified with the key of the source.
 *
 * Both the number and the start of a list may only grow: whoever can answer in the place of the CA's server could otherwise
 * bring back a list from before a revocation, and its signature would be genuine.
 */
export function refuseList(
  stored: StoredList | null,
  crl: CrlFacts,
  { ca, url }: RevocationSource,
  nowMs: number,
): ListRefusal | undefined {
  if (!isNamedBy(crl, ca)) return "crl_issuer_mismatch"
  // A list that says where it belongs is the one of that place; another one of the CA may cover other certificates.
  if (crl.urls.length > 0 && !crl.urls.includes(url)) return "crl_scope"
  if (crl.thisUpdateMs < 0 || crl.thisUpdateMs > nowMs + CRL_CLOCK_TOLERANCE_MS) return "crl_not_yet_valid"
  if (crl.nextUpdateMs <= nowMs) return "crl_expired"
  if (stored === null) return undefined
  const isNumberSmaller = stored.number !== null && compareNumbers(crl.number, stored.number) < 0
  return isNumberSmaller || crl.thisUpdateMs < stored.thisUpdateMs ? "crl_older_than_stored" : undefined
}

/**
 * Returns true for a list that names this CA as its issuer: by name, and by key identifier where it has one.
 *
 * @param ca name as {@link nameKey} writes it, and key identifier in hex
 */
export function isNamedBy(crl: CrlFacts, ca: { readonly nameKey: string; readonly ski: string | undefined }): boolean {
  return nameKey(crl.issuer) === ca.nameKey && (crl.authorityKeyId === undefined || crl.authorityKeyId === ca.ski)
}

/** Compares numbers in hex without leading zeros; none is below every one. */
function compareNumbers(left: string | undefined, right: string): number {
  if (left === undefined) return -1
  if (left.length !== right.length) return left.length - right.length
  return left < right ? -1 : left === right ? 0 : 1
}

/** Returns what is known after a list was accepted. */
export function afterSuccess(state: ListState, crl: CrlFacts, nowMs: number): ListState {
  const { thisUpdateMs, nextUpdateMs, number = null } = crl
  return {
    ...state,
    list: { number, thisUpdateMs, nextUpdateMs, entries: crl.entries.size },
    attemptedAtMs: nowMs,
    succeededAtMs: nowMs,
    failures: 0,
    isStaleReported: false,
  }
}

/** Returns what is known after an attempt that brought no list. The stored one stays in force. */
export function afterFailure(state: ListState, nowMs: number): ListState {
  return { ...state, attemptedAtMs: nowMs, failures: state.failures + 1 }
}

/**
 * Returns from when on the list should be fetched, epoch ms.
 *
 * After failures: from the last one on, twice as long each time, never longer than the interval. Otherwise after the interval,
 * and in any case once three quarters of the list's life are over: its last quarter is for a server that is down.
 */
export function nextRefreshMs(state: ListState, { refreshMs }: RevocationSource): number {
  const { attemptedAtMs, failures, list, succeededAtMs } = state
  if (attemptedAtMs === 0) return 0
  const retryMs = Math.min(CRL_RETRY_MS_MIN * 2 ** Math.min(Math.max(failures - 1, 0), 10), CRL_RETRY_MS_MAX, refreshMs)
  if (failures > 0 || list === null) return attemptedAtMs + retryMs
  const lateMs = list.thisUpdateMs + (list.nextUpdateMs - list.thisUpdateMs) * 0.75
  return Math.min(succeededAtMs + refreshMs, Math.max(lateMs, succeededAtMs + retryMs))
}

/** Returns true when the list should be fetched now. A clock that was set back by more than the interval does not stop it. */
export function isRefreshDue(state: ListState, source: RevocationSource, nowMs: number): boolean {
  return nowMs >= nextRefreshMs(state, source) || nowMs < state.attemptedAtMs - CRL_CLOCK_TOLERANCE_MS
}

/** Returns what a serial is. `isListed` says whether it is on the stored list. */
export function statusOf(state: ListState, isListed: boolean, nowMs: number): RevocationStatus {
  if (state.list === null) return "missing"
  if (isListed) return "revoked"
  return nowMs < state.list.nextUpdateMs ? "good" : "stale"
}

/** Returns true when the end of the list in force has to be put on the record: once for each list. */
export function isStaleNews({ isStaleReported, list }: ListState, nowMs: number): boolean {
  return list !== null && nowMs >= list.nextUpdateMs && !isStaleReported
}

/** What an isolate was told about a certificate, or that it could not be told. */
export type RevocationAnswer = RevocationStatus | "unavailable"

/** Why a certificate is refused: it is revoked, or nobody knows whether it is. */
export type RevocationRefusal =
  | { readonly ok: false; readonly isRevoked: true; readonly reason: "cert_revoked_by_crl" }
  | { readonly ok: false; readonly isRevoked: false; readonly reason: "crl_stale" | "crl_missing" | "crl_unavailable" }

/** Refused, or let pass; `unknown` says that it passed although nobody knows. */
export type RevocationDecision =
  | { readonly ok: true; readonly unknown?: Exclude<RevocationAnswer, "good" | "revoked"> }
  | RevocationRefusal

/** Decides on a certificate: unknown means no, unless the operator prefers that clients pass while nobody knows. */
export function decideRevocation(answer: RevocationAnswer, whenUnknown: "refuse" | "allow"): RevocationDecision {
  if (answer === "good") return { ok: true }
  if (answer === "revoked") return { ok: false, isRevoked: true, reason: "cert_revoked_by_crl" }
  if (whenUnknown === "allow") return { ok: true, unknown: answer }
  return { ok: false, isRevoked: false, reason: `crl_${answer}` }
}

/**
 * Returns the configured CA of a verified leaf: by the key that the platform verified with, else by the key that the leaf
 * names, else by the name of the issuer. A platform that says less than another must not switch revocation off.
 */
export function findIssuer<I extends { readonly crl: { readonly source: RevocationSource } | undefined }>(
  issuers: ReadonlyMap<string, I>,
  issuerSki: string | undefined,
  facts: LeafIssuer,
): I | undefined {
  const ski = issuerSki ?? facts.authorityKeyId
  if (ski !== undefined) return issuers.get(ski)
  const key = nameKey(facts.issuer)
  return [...issuers.values()].find(({ crl }) => crl?.source.ca.nameKey === key)
}

/** What a leaf says about its issuer. */
type LeafIssuer = Pick<X509Facts, "issuer" | "authorityKeyId">

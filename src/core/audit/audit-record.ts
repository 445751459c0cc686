/**
 * The audit record: what one line of a trail says, how exactly it is written, and which lines are none.
 *
 * A line is one JSON object, its members in the order of {@link AuditRecord}, absent ones left away, without white space,
 * with the escapes of `formatEventJson`. `hash` is the last member: the SHA-256, in hex, of the UTF-8 of the same object without
 * it. Since there is one way to write a record, a line that reads the same and is written otherwise is not the line that was
 * delivered. Texts are cut before they come here or here; a record holds no query, header value or body. Pure and total.
 */
import { AUDIT_ID_LENGTH_MAX, EVENT_VALUE_LENGTH_MAX } from "../bounds.ts"
import { formatEventJson, formatInstant } from "../record/event.ts"
import { isCount, isJsonObject, isPositiveInteger, membersOf, parseJson } from "../untrusted.ts"

/** What a record is about. */
export const AUDIT_KINDS = ["intent", "outcome", "refusal", "block", "unblock", "configuration", "loss"] as const
/** @see AUDIT_KINDS */
export type AuditKind = (typeof AUDIT_KINDS)[number]

/** Who did it, as far as it was proven. */
export interface AuditActor {
  readonly client_id?: string
  /** SHA-256 of the leaf, lower-case hex. */
  readonly certificate_fingerprint?: string
  /** The client that a verified token names. */
  readonly token_client?: string
}

/** What was to be done. */
export interface AuditAction {
  readonly method: string
  /** Pattern of the route; absent where none was found. */
  readonly route?: string
  /** Canonical path without query, or the path as sent where it has no canonical form. */
  readonly path: string
}

/** What came of it. */
export interface AuditOutcome {
  /** `forwarded`, `answered`, `refused`, `aborted` or `failed`. */
  readonly result?: string
  readonly status?: number
  /** Stable code of the refusal. */
  readonly problem?: string
  readonly reason?: string
  /** RFC 3339: end of a block as it was set. */
  readonly blocked_until?: string
}

/** What is to be put on a trail. */
export interface AuditDraft {
  /** The same for the same fact however often it is told; 1 to {@link AUDIT_ID_LENGTH_MAX} characters. */
  readonly id: string
  readonly kind: AuditKind
  /** RFC 3339 with milliseconds, UTC: when it happened. */
  readonly time: string
  readonly request_id?: string
  readonly trace_id?: string
  readonly actor?: AuditActor
  readonly action?: AuditAction
  /** Name of the origin. */
  readonly target?: string
  readonly outcome?: AuditOutcome
  /** The guard or the limit that decided. */
  readonly rule?: string
  /** Of a loss: how many records are not here. Exact. */
  readonly lost?: number
  /** Version of the configuration that decided; absent where an object decided, which knows none. */
  readonly config_version?: string
}

/** A record in its place on the trail, still without its hash. */
export interface AuditEntry extends AuditDraft {
  readonly version: 1
  /** Client id, or {@link GATEWAY_TRAIL}. */
  readonly trail: string
  /** From 1 on, without a gap. */
  readonly seq: number
  /** Hash of the record before; of the first one {@link AUDIT_GENESIS}. */
  readonly prev: string
}

/** One line of a trail. */
export interface AuditRecord extends AuditEntry {
  readonly hash: string
}

/** The trail of what concerns no client; no client id has a colon. */
export const GATEWAY_TRAIL = ":gateway"
/** What the first record of every trail follows on. */
export const AUDIT_GENESIS = "0".repeat(64)

/** Returns the JSON that the hash is taken of. */
export function formatAuditEntry(entry: AuditEntry): string {
  return formatEventJson(orderedEntry(entry))
}

/** Returns the line of an entry whose JSON has this hash, without a line feed. */
export function sealAuditEntry(entryJson: string, hash: string): string {
  return `${entryJson.slice(0, -1)},"hash":"${hash}"}`
}

/** A record and the JSON that its hash has to be of, or why a line is none; as far as it can be read, whose place it takes. */
export type AuditLine =
  | { readonly ok: true; readonly record: AuditRecord; readonly entryJson: string }
  | {
      readonly ok: false
      /** No record at all; one of another version of the format; one that is written otherwise than it was delivered. */
      readonly fault: "unreadable" | "foreign-version" | "rewritten"
      readonly trail: string | undefined
      readonly seq: number | undefined
    }

/** Returns what one line without its line feed holds. Whether the hash is right is not looked at here. */
export function parseAuditLine(text: string): AuditLine {
  const value = parseJson(text)
  const { hash, seq, trail, version } = membersOf(value)
  const place = { trail: isText(trail) ? trail : undefined, seq: isPositiveInteger(seq) ? seq : undefined }
  if (isJsonObject(value) && isCount(version) && version !== 1) return { ok: false, fault: "foreign-version", ...place }
  const entry = readEntry(value)
  if (entry === undefined || !isHash(hash)) return { ok: false, fault: "unreadable", ...place }
  const entryJson = formatAuditEntry(entry)
  if (sealAuditEntry(entryJson, hash) !== text) return { ok: false, fault: "rewritten", ...place }
  return { ok: true, record: { ...entry, hash }, entryJson }
}

/**
 * Returns the draft in an untrusted value, its texts cut, or undefined: what comes over a wire may be of another version of
 * the Worker, and nothing may get onto a trail that could not be read back.
 */
export function parseAuditDraft(value: unknown): AuditDraft | undefined {
  if (!isJsonObject(value)) return undefined
  const draft = cutTexts(value)
  return isDraft(draft) ? orderedDraft(draft) : undefined
}

function readEntry(value: unknown): AuditEntry | undefined {
  const { prev, seq, trail, version } = membersOf(value)
  if (version !== 1 || !isText(trail) || !isPositiveInteger(seq) || !isHash(prev)) return undefined
  return isDraft(value) ? orderedEntry({ ...value, version, trail, seq, prev }) : undefined
}

function isDraft(value: unknown): value is AuditDraft {
  const draft = membersOf(value)
  const { action, actor, id, kind, lost, outcome, time } = draft
  if (typeof id !== "string" || id.length < 1 || id.length > AUDIT_ID_LENGTH_MAX) return false
  if (!AUDIT_KINDS.some((known) => known === kind) || !isTime(time)) return false
  if (
    ![draft["request_id"], draft["trace_id"], draft["target"], draft["rule"], draft["config_version"]].every(isNoText)
  )
    return false
  if (kind === "loss" ? !isPositiveInteger(lost) : lost !== undefined) return false
  const { client_id: clientId, certificate_fingerprint: fingerprint, token_client: tokenClient } = membersOf(actor)
  if (actor !== undefined && !(isJsonObject(actor) && [clientId, fingerprint, tokenClient].every(isNoText)))
    return false
  const { method, path, route } = membersOf(action)
  if (action !== undefined && !(isJsonObject(action) && isText(method) && isText(path) && isNoText(route))) return false
  const { blocked_until: blockedUntil, problem, reason, result, status } = membersOf(outcome)
  if (outcome === undefined) return true
  if (!isJsonObject(outcome) || ![blockedUntil, problem, reason, result].every(isNoText)) return false
  return status === undefined || isCount(status)
}

/** Members in the one order there is. What is not named here is not written. */
function orderedEntry(entry: AuditEntry): AuditEntry {
  const { prev, seq, trail, version } = entry
  return { version, trail, seq, ...orderedDraft(entry), prev }
}

function orderedDraft(draft: AuditDraft): AuditDraft {
  const { action, actor, config_version, id, kind, lost, outcome, request_id, rule, target, time, trace_id } = draft
  return {
    id,
    kind,
    time,
    ...(request_id === undefined ? {} : { request_id }),
    ...(trace_id === undefined ? {} : { trace_id }),
    ...(actor === undefined ? {} : { actor: pick(actor, ["client_id", "certificate_fingerprint", "token_client"]) }),
    ...(action === undefined ? {} : { action: pick(action, ["method", "route", "path"]) as AuditAction }),
    ...(target === undefined ? {} : { target }),
    ...(outcome === undefined
      ? {}
      : { outcome: pick(outcome, ["result", "status", "problem", "reason", "blocked_until"]) }),
    ...(rule === undefined ? {} : { rule }),
    ...(lost === undefined ? {} : { lost }),
    ...(config_version === undefined ? {} : { config_version }),
  }
}

function pick<T extends object>(members: T, names: readonly (keyof T)[]): Partial<T> {
  return Object.fromEntries(
    names.flatMap((name) => (members[name] === undefined ? [] : [[name, members[name]]])),
  ) as Partial<T>
}

/** One level of tables deep, as a draft is. */
function cutTexts(members: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(members).map(([name, member]) => [
      name,
      typeof member === "string" ? cutText(member) : isJsonObject(member) ? cutTexts(member) : member,
    ]),
  )
}

/** Who drafts has masked what strangers wrote; here it is only bounded, and half a surrogate pair becomes U+FFFD. */
function cutText(text: string): string {
  const cut = text.length <= EVENT_VALUE_LENGTH_MAX ? text : `${text.slice(0, EVENT_VALUE_LENGTH_MAX - 1)}…`
  return cut.toWellFormed()
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= EVENT_VALUE_LENGTH_MAX
}

function isNoText(value: unknown): boolean {
  return value === undefined || isText(value)
}

function isHash(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value)
}

function isTime(value: unknown): value is string {
  return typeof value === "string" && /^\d{4}-/.test(value) && formatInstant(Date.parse(value)) === value
}

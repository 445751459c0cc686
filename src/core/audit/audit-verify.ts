/**
 * Whether delivered trails are complete and unedited, from their lines alone.
 *
 * Lines may come in any order, from several files, and more than once, because delivery is at least once: an identical line again
 * means nothing. What is found per trail is the first place at which the chain does not hold. What a chain alone cannot show is
 * that its end was cut off, or that all of it from some record on was made anew: compare `lastSeq` and `lastHash` with another
 * sink's copy. Pure and total; called by `sekisho audit verify`.
 */
import { AUDIT_GENESIS, parseAuditLine, type AuditRecord } from "./audit-record.ts"

/** A line, and where it stands. */
export interface PlacedLine {
  readonly file: string
  /** From 1 on. */
  readonly line: number
  readonly text: string
}

/** Why a trail does not hold. */
export type AuditFaultKind =
  /** The line is no audit record. */
  | "unreadable"
  /** The record is of a version of the format that is not known here. */
  | "foreign-version"
  /** The record says something else than it did when it was hashed, or is written otherwise. */
  | "edited"
  /** Two records claim one place. */
  | "fork"
  /** The trail does not begin with its first record. */
  | "headless"
  /** Records are missing in between. */
  | "gap"
  /** The record does not follow on the one before it: one of the two was replaced. */
  | "unlinked"

/** The first thing that is wrong with a trail. */
export interface AuditFault {
  readonly kind: AuditFaultKind
  readonly file: string
  readonly line: number
  /** Place of the record, or of the first that is missing; undefined when the line does not tell. */
  readonly seq: number | undefined
}

/** What is known of one trail. */
export interface TrailVerdict {
  /** Undefined for lines that name no trail. */
  readonly trail: string | undefined
  /** Different records, and further copies of them. */
  readonly records: number
  readonly copies: number
  readonly firstSeq: number | undefined
  readonly lastSeq: number | undefined
  readonly lastHash: string | undefined
  /** Intents whose outcome is not here: the isolate ended in between, or the rest is yet to come. No fault of the chain. */
  readonly unfinished: number
  /** Facts that the trail itself says it lacks. */
  readonly lost: number
  readonly fault: AuditFault | undefined
}

interface Found {
  readonly record: AuditRecord
  readonly place: PlacedLine
}
interface Trail {
  readonly bySeq: Map<number, Found>
  copies: number
  fault: AuditFault | undefined
}

/**
 * Returns a verdict for each trail, by name; last, where there are any, one for lines that name no trail.
 *
 * @param digest SHA-256 of the UTF-8 of a text, lower-case hex
 * @param isPart the lines are a part of the trails: a beginning that is elsewhere is no fault, and what is here is judged by itself
 */
export function verifyTrails(
  lines: Iterable<PlacedLine>,
  digest: (text: string) => string,
  isPart = false,
): readonly TrailVerdict[] {
  const trails = new Map<string | undefined, Trail>()
  for (const place of lines) {
    const parsed = parseAuditLine(place.text)
    const trail = trailOf(trails, parsed.ok ? parsed.record.trail : parsed.trail)
    if (!parsed.ok) {
      const kind = parsed.fault === "rewritten" ? "edited" : parsed.fault
      note(trail, faultAt(kind, place, parsed.seq))
      continue
    }
    const { entryJson, record } = parsed
    if (digest(entryJson) !== record.hash) note(trail, faultAt("edited", place, record.seq))
    const other = trail.bySeq.get(record.seq)
    if (other === undefined) trail.bySeq.set(record.seq, { record, place })
    else if (other.record.hash === record.hash) trail.copies += 1
    else note(trail, faultAt("fork", place, record.seq))
  }
  return [...trails]
    .toSorted(([a], [b]) => (a === undefined ? 1 : b === undefined ? -1 : a < b ? -1 : 1))
    .map(([name, trail]) => judge(name, trail, isPart))
}

function judge(name: string | undefined, { bySeq, copies, fault }: Trail, isPart: boolean): TrailVerdict {
  const found = [...bySeq.values()].toSorted((a, b) => a.record.seq - b.record.seq)
  const faults = fault === undefined ? [] : [fault]
  let before: AuditRecord | undefined
  for (const { place, record } of found) {
    const expected = before === undefined ? 1 : before.seq + 1
    const isContinued = isPart && before === undefined && record.seq > 1
    if (isContinued) {
      before = record
      continue
    }
    if (record.seq !== expected) faults.push(faultAt(before === undefined ? "headless" : "gap", place, expected))
    else if (record.prev !== (before?.hash ?? AUDIT_GENESIS)) faults.push(faultAt("unlinked", place, record.seq))
    before = record
  }
  return {
    trail: name,
    records: found.length,
    copies,
    firstSeq: found[0]?.record.seq,
    lastSeq: before?.seq,
    lastHash: before?.hash,
    unfinished: countUnfinished(found),
    lost: found.reduce((sum, { record }) => sum + (record.lost ?? 0), 0),
    fault: faults.toSorted((a, b) => (a.seq ?? Infinity) - (b.seq ?? Infinity))[0],
  }
}

/** Records of one request share the part of their id before the slash. */
function countUnfinished(found: readonly Found[]): number {
  const open = new Set<string>()
  const ended = new Set<string>()
  for (const { record } of found) {
    const request = record.id.slice(0, record.id.lastIndexOf("/"))
    if (record.kind === "intent") open.add(request)
    if (record.kind === "outcome" || record.kind === "refusal") ended.add(request)
  }
  return [...open].filter((request) => !ended.has(request)).length
}

function trailOf(trails: Map<string | undefined, Trail>, name: string | undefined): Trail {
  const known = trails.get(name)
  if (known !== undefined) return known
  const trail: Trail = { bySeq: new Map(), copies: 0, fault: undefined }
  trails.set(name, trail)
  return trail
}

/** Keeps the fault at the lowest place; of one place the one found first. */
function note(trail: Trail, fault: AuditFault): void {
  if (trail.fault === undefined || (fault.seq ?? Infinity) < (trail.fault.seq ?? Infinity)) trail.fault = fault
}

function faultAt(kind: AuditFaultKind, { file, line }: PlacedLine, seq: number | undefined): AuditFault {
  return { kind, file, line, seq }
}

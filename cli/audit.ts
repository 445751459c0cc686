/**
 * `sekisho audit verify`: proves delivered audit trails complete and unedited, or names the first place where they are not. The
 * rules are those that the trails were made by (`core/audit/audit-record.ts`, `core/audit/audit-verify.ts`); nothing but the files is asked.
 */
import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import {
  verifyTrails,
  type AuditFaultKind,
  type PlacedLine,
  type TrailVerdict,
} from "../src/core/audit/audit-verify.ts"
import { count } from "./configuration.ts"
import { createPaint, formatTable, printable, type Paint } from "./terminal.ts"
import { UsageError } from "./usage-error.ts"

/** What is wrong, for people. */
const FAULTS: Readonly<Record<AuditFaultKind, string>> = {
  unreadable: "the line is no audit record",
  "foreign-version": "the record is of a version that this command does not know",
  edited: "the record is not as it was written: its hash is of something else",
  fork: "two different records claim this place",
  headless: "the trail does not begin here: the records before are not in these files",
  gap: "records are missing from this place on",
  unlinked: "the record does not follow on the one before: one of the two was replaced",
}
/** Digits of a hash that tell heads apart at a glance. */
const HASH_DIGITS_SHOWN = 16

/** What the command was asked. `isPart`: the files hold a part of the trails, such as a month. */
export interface AuditVerifyFlags {
  readonly files: readonly string[]
  readonly isJson: boolean
  readonly isPart: boolean
}

/** Runs the command; returns 1 when a trail does not hold, and when there is none. */
export async function runAuditVerify({ files, isJson, isPart }: AuditVerifyFlags): Promise<number> {
  const lines = (await Promise.all(files.map(readLines))).flat()
  const verdicts = verifyTrails(lines, (text) => createHash("sha256").update(text, "utf8").digest("hex"), isPart)
  const isWhole = verdicts.length > 0 && verdicts.every(({ fault }) => fault === undefined)
  if (isJson) console.log(JSON.stringify({ whole: isWhole, trails: verdicts.map(jsonOf) }))
  else console.log(formatVerdicts(verdicts, createPaint(process.stdout)))
  return isWhole ? 0 : 1
}

function formatVerdicts(verdicts: readonly TrailVerdict[], paint: Paint): string {
  if (verdicts.length === 0) return `\n  ${paint("red", "✗")} there is no record in these files\n`
  const table = formatTable(
    ["trail", "records", "places", "copies", "unfinished", "lost", "head", "verdict"],
    verdicts.map(({ copies, fault, firstSeq, lastHash, lastSeq, lost, records, trail, unfinished }) => [
      trail === undefined ? "(of no trail)" : printable(trail),
      String(records),
      firstSeq === undefined ? "-" : `${firstSeq} to ${lastSeq}`,
      String(copies),
      String(unfinished),
      String(lost),
      lastHash?.slice(0, HASH_DIGITS_SHOWN) ?? "-",
      fault === undefined ? "✓ whole" : `✗ ${fault.kind}${fault.seq === undefined ? "" : ` at ${fault.seq}`}`,
    ]),
    paint,
    (text, column) =>
      column === 7 ? paint(text.startsWith("✓") ? "green" : "red", text) : column === 6 ? paint("dim", text) : text,
  )
  const faults = verdicts.flatMap(({ fault, trail }) => {
    if (fault === undefined) return []
    const where = [trail === undefined ? "" : printable(trail), fault.seq ?? ""].join(" ").trim()
    return [
      `  ${paint("red", "✗")} ${paint("bold", where || "a line")}: ${FAULTS[fault.kind]}`,
      `    ${paint("dim", `${printable(fault.file)}:${fault.line}`)}`,
    ]
  })
  const notes = [
    ...noteOn(
      verdicts,
      "unfinished",
      "intent",
      "has no outcome here: it is yet to come, or its isolate ended before it",
    ),
    ...noteOn(verdicts, "lost", "fact", "is not on its trail, and the trail says so"),
  ].map((note) => `  ${paint("yellow", "!")} ${note}`)
  const broken = verdicts.filter(({ fault }) => fault !== undefined).length
  const whole = verdicts.length - broken
  const verdict =
    broken === 0
      ? paint("green", `✓ ${count(whole, "trail")}: complete and unedited up to the head`)
      : paint("red", `✗ ${broken} of ${count(verdicts.length, "trail")}: not whole`)
  return [
    "",
    table,
    ...(faults.length + notes.length > 0 ? [""] : []),
    ...faults,
    ...notes,
    "",
    `  ${verdict}`,
    "",
  ].join("\n")
}

function noteOn(
  verdicts: readonly TrailVerdict[],
  member: "unfinished" | "lost",
  noun: string,
  text: string,
): readonly string[] {
  const total = verdicts.reduce((sum, verdict) => sum + verdict[member], 0)
  return total === 0 ? [] : [`${count(total, noun)}: each ${text}`]
}

function jsonOf({ fault, firstSeq, lastHash, lastSeq, ...verdict }: TrailVerdict): object {
  return {
    ...verdict,
    ...(firstSeq === undefined ? {} : { first_seq: firstSeq, last_seq: lastSeq, last_hash: lastHash }),
    ...(fault === undefined ? {} : { fault }),
  }
}

/** Empty lines are no part of a trail. What is no UTF-8 is no record, whatever it would look like after a repair. */
async function readLines(file: string): Promise<readonly PlacedLine[]> {
  const octets = await readFile(file).catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(
      error.code === "ENOENT" ? `There is no file ${file}.` : `${file} cannot be read: ${error.code ?? error.message}`,
    )
  })
  const lines: PlacedLine[] = []
  for (let start = 0, line = 1; start < octets.length; line++) {
    const feed = octets.indexOf(0x0a, start)
    const end = feed === -1 ? octets.length : feed
    const text = decodeLine(octets.subarray(start, end))
    if (text !== "") lines.push({ file, line, text })
    start = end + 1
  }
  return lines
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

function decodeLine(octets: Uint8Array): string {
  try {
    return decoder.decode(octets)
  } catch {
    return "\ufffd"
  }
}

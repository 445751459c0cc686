/**
 * Goal: the torture finds what it looks for. Method: accounts that agree, and the same ones with one thing wrong.
 */
import { createHash } from "node:crypto"
import { expect, test } from "vitest"
import { formatAuditEntry, sealAuditEntry, AUDIT_GENESIS, type AuditDraft } from "../../src/core/audit/audit-record.ts"
import type { Execution } from "../../torture/bank.ts"
import { reconcile, type Told } from "../../torture/reconcile.ts"

const digest = (text: string): string => createHash("sha256").update(text).digest("hex")

/** Returns the lines of a trail with an intent and an outcome for each request. */
function trailOf(trail: string, requestIds: readonly string[]): readonly string[] {
  let prev: string = AUDIT_GENESIS
  return requestIds.flatMap((requestId, index) =>
    (["intent", "outcome"] as const).map((kind, step) => {
      const draft: AuditDraft = {
        id: `${requestId}/${kind}`,
        kind,
        time: "2026-11-28T12:00:00.000Z",
        request_id: requestId,
        ...(kind === "outcome" ? { outcome: { status: 201 } } : {}),
        config_version: "v1",
      }
      const json = formatAuditEntry({ ...draft, version: 1, trail, seq: index * 2 + step + 1, prev })
      prev = digest(json)
      return sealAuditEntry(json, prev)
    }),
  )
}

const FIRST: Execution = { payment: "one", receipt: "r-1", requestId: "id-1", clientId: "acme" }
const SECOND: Execution = { payment: "two", receipt: "r-2", requestId: "id-2", clientId: "acme" }
const EXECUTIONS: readonly Execution[] = [FIRST, SECOND]
const ACKNOWLEDGED: Told = { payment: "one", verdict: "acknowledged", receipts: ["r-1", "r-1"], firstId: "id-1" }
const TOLD: readonly Told[] = [ACKNOWLEDGED, { payment: "two", verdict: "unknown", receipts: [], firstId: undefined }]
const LINES = trailOf("acme", ["id-1", "id-2"])
const brokenIn = (executions = EXECUTIONS, told = TOLD, lines = LINES): readonly number[] =>
  reconcile(executions, told, lines, digest).claims.flatMap(({ broken }, index) => (broken.length > 0 ? [index] : []))

test("accounts that agree break no claim", () => {
  expect(brokenIn()).toEqual([])
})

test.each<readonly [string, readonly number[], readonly number[]]>([
  ["a payment that was made twice", [0], brokenIn([...EXECUTIONS, { ...SECOND, receipt: "r-3" }])],
  ["an acknowledged payment that was not made", [1], brokenIn([SECOND])],
  ["a receipt that is not the bank's", [1], brokenIn(undefined, [{ ...ACKNOWLEDGED, receipts: ["r-9"] }])],
  [
    "a repeat that was told something else",
    [1, 2],
    brokenIn(undefined, [{ ...ACKNOWLEDGED, receipts: ["r-1", "r-2"] }]),
  ],
  ["a trail with a gap", [3, 4], brokenIn(undefined, undefined, LINES.toSpliced(2, 1))],
  [
    "a line that was edited",
    [3],
    brokenIn(
      undefined,
      undefined,
      LINES.map((line) => line.replace("201", "202")),
    ),
  ],
  ["a payment without an intent", [4, 5], brokenIn(undefined, undefined, trailOf("acme", ["id-2"]))],
  [
    "an intent on the trail of another client",
    [4],
    brokenIn(undefined, undefined, trailOf("globex", ["id-1", "id-2"])),
  ],
  [
    "an acknowledgement without an outcome",
    [5],
    brokenIn(undefined, undefined, trailOf("acme", ["id-2", "id-1"]).slice(0, 3)),
  ],
])("%s breaks what it has to", (_, claims, broken) => {
  expect(broken).toEqual(claims)
})

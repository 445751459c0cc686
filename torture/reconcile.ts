/**
 * Whether three accounts of the same payments agree: what the bank carried out, what callers were told, and what the audit
 * trails say. Pure.
 */
import { parseAuditLine, type AuditRecord } from "../src/core/audit/audit-record.ts"
import { verifyTrails } from "../src/core/audit/audit-verify.ts"
import type { Execution } from "./bank.ts"

/** What a caller was told about a payment in the end. */
export interface Told {
  readonly payment: string
  /** `acknowledged`: 201. `unknown`: 409, nobody knows. `open`: the caller has stopped asking. */
  readonly verdict: "acknowledged" | "unknown" | "open"
  /** Receipts of all acknowledgements, the first one and those of repeats. */
  readonly receipts: readonly string[]
  /** Request id of an acknowledgement that was no replay. */
  readonly firstId: string | undefined
}

/** One thing that has to hold, and what breaks it. */
export interface Claim {
  readonly text: string
  /** How many things were looked at: a claim about nothing proves nothing. */
  readonly looked: number
  readonly broken: readonly string[]
}

/** What the accounts say together. */
export interface Reconciliation {
  readonly claims: readonly Claim[]
  /** Intents without an outcome: requests that a crash has ended. */
  readonly unfinished: number
  readonly copies: number
}

/** Returns the claims. @param digest SHA-256 of the UTF-8 of a text, lower-case hex */
export function reconcile(
  executions: readonly Execution[],
  told: readonly Told[],
  lines: readonly string[],
  digest: (text: string) => string,
): Reconciliation {
  const verdicts = verifyTrails(
    lines.map((text, index) => ({ file: "sink", line: index + 1, text })),
    digest,
  )
  const records = lines.flatMap((text): readonly AuditRecord[] => {
    const parsed = parseAuditLine(text)
    return parsed.ok ? [parsed.record] : []
  })
  const idsOf = (wanted: AuditRecord["kind"]): ReadonlySet<string> =>
    new Set(records.flatMap(({ kind, request_id: id, trail }) => (kind === wanted ? [`${trail} ${id}`] : [])))
  const intents = idsOf("intent")
  const outcomes = new Set(records.flatMap(({ kind, request_id: id }) => (kind === "outcome" ? [id] : [])))
  const byPayment = Map.groupBy(executions, ({ payment }) => payment)
  const acknowledged = told.filter(({ verdict }) => verdict === "acknowledged")
  const firsts = acknowledged.flatMap(({ firstId }) => firstId ?? [])
  return {
    claims: [
      {
        text: "no payment was made twice",
        looked: byPayment.size,
        broken: [...byPayment].flatMap(([payment, made]) =>
          made.length > 1 ? [`${payment}: ${made.length} times`] : [],
        ),
      },
      {
        text: "every payment that was acknowledged was made, and its receipt is the bank's",
        looked: acknowledged.length,
        broken: acknowledged.flatMap(({ payment, receipts }) => {
          const made = byPayment.get(payment)?.map(({ receipt }) => receipt) ?? []
          const strange = receipts.filter((receipt) => !made.includes(receipt))
          return made.length === 0 || strange.length > 0
            ? [`${payment}: ${receipts.join(" ")} of ${made.join(" ")}`]
            : []
        }),
      },
      {
        text: "repeats were told what the first one was told",
        looked: acknowledged.filter(({ receipts }) => receipts.length > 1).length,
        broken: acknowledged.flatMap(({ payment, receipts }) =>
          new Set(receipts).size > 1 ? [`${payment}: ${receipts.join(" ")}`] : [],
        ),
      },
      {
        text: "every trail is whole and unedited",
        looked: verdicts.length,
        broken: verdicts.flatMap(({ fault, trail }) =>
          fault === undefined ? [] : [`${trail}: ${fault.kind} at ${fault.seq}`],
        ),
      },
      {
        text: "nothing reached the bank that was not on its client's trail",
        looked: executions.length,
        broken: executions.flatMap(({ clientId, payment, requestId }) =>
          intents.has(`${clientId} ${requestId}`) ? [] : [`${payment}: request ${requestId}`],
        ),
      },
      {
        text: "the outcome of every payment that was acknowledged is on the trail",
        looked: firsts.length,
        broken: firsts.flatMap((id) => (outcomes.has(id) ? [] : [`request ${id}`])),
      },
    ],
    unfinished: verdicts.reduce((sum, { unfinished }) => sum + unfinished, 0),
    copies: verdicts.reduce((sum, { copies }) => sum + copies, 0),
  }
}

/**
 * How the stage reaches the ledgers of a client's keys. Each has a part of them, chosen by the key, so that a client with many
 * payments does not wait at one place. The name of a ledger is a digest: no id and no key is written down with it.
 */
import type { Gateway, GatewayContext, RecordIdentity } from "../context.ts"
import { IDEMPOTENCY_LEDGER_TIMEOUT_MS } from "../core/bounds.ts"
import { keyText, ledgerText, type KeyedRequest } from "../core/idempotency/idempotency-key.ts"
import type { ReserveDecision, ReserveDemand, Settlement } from "../core/idempotency/idempotency-ledger.ts"
import { sha256Hex } from "../digest.ts"
import { createObjectCalls, type Asked } from "../gate/object-calls.ts"

/** Where the record of one key is, and the attempt that asks. */
export interface LedgerPlace {
  readonly objectName: string
  readonly tag: string
  readonly attemptId: string
}

/** The ledgers as one isolate reaches them. Calls that are repeated or come late do no harm: each names its attempt. */
export interface Ledger {
  reserve(
    c: GatewayContext,
    place: LedgerPlace,
    identities: readonly RecordIdentity[],
    terms: Pick<ReserveDemand, "attemptMs" | "ttlMs" | "isOriginIdempotent">,
  ): Promise<Asked<ReserveDecision>>
  /** The answer is whether it is on record now. */
  settle(c: GatewayContext, place: LedgerPlace, key: string, settlement: Settlement): Promise<Asked<boolean>>
}

/** Hex digits of the unkeyed digest of a key that stand beside its record: enough to miss nothing, too few to be worth reading. */
const TAG_DIGITS = 8

/** Returns where the record of a key is. */
export async function placeOf(request: KeyedRequest, attemptId: string): Promise<LedgerPlace> {
  const digest = await sha256Hex(keyText(request))
  const objectName = await sha256Hex(ledgerText(request.clientId, digest.slice(0, 1)))
  return { objectName, tag: digest.slice(1, 1 + TAG_DIGITS), attemptId }
}

/** Returns the ledgers of one isolate. */
export function createLedger(gateway: Pick<Gateway, "nowMs">): Ledger {
  const objects = createObjectCalls(
    gateway,
    (env, name) => env.IDEMPOTENCY_LEDGER.getByName(name),
    IDEMPOTENCY_LEDGER_TIMEOUT_MS,
  )
  return {
    reserve: (c, { attemptId, objectName, tag }, identities, terms) => {
      // The ledger is told no more than it stores.
      const named = identities.map(({ fingerprint, key, kid }) => ({ fingerprint, key, kid }))
      const demand = { ...terms, tag, attemptId, identities: named }
      return objects.call(c, objectName, async (object): Promise<ReserveDecision> => object.reserve(demand))
    },
    settle: (c, { attemptId, objectName, tag }, key, settlement) =>
      objects.call(c, objectName, async (object) => object.settle({ attemptId, key, tag }, settlement)),
  }
}

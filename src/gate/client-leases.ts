/**
 * What one isolate does with the tokens that clients' objects lend it: admits while it has some, and asks once for all who
 * wait. Rules are `core/lease/lease-holder.ts`; here are the promises of the waiting requests and the calls.
 *
 * A call belongs to the request that started it and is kept alive by it; every other request that waits has a deadline of
 * its own, and whoever notices that a call has vanished with its request starts another.
 */
import type { ClientObjects } from "./client-object.ts"
import type { Gateway, GatewayContext } from "../context.ts"
import { CLIENT_GATE_TIMEOUT_MS, LEASE_CALL_TIMEOUT_MS, LEASE_HOLDERS_PER_ISOLATE_MAX } from "../core/bounds.ts"
import type { LeaseGrant } from "../core/gate/client-gate.ts"
import type { GuardDemand } from "../core/gate/gate-guards.ts"
import { verdictOfLease, type GateVerdict } from "../core/gate/gate-verdict.ts"
import { formatHex } from "../core/hex.ts"
import {
  abandonCall,
  acceptAnswer,
  createHolder,
  decide,
  dropLease,
  removeWaiter,
  startCall,
  type HolderStep,
  type LeaseDenial,
  type LeaseHolder,
} from "../core/lease/lease-holder.ts"
import type { NamedLimit } from "../core/limit/limit.ts"
import { LATE, withDeadline } from "../deadline.ts"

/** What a lease is of: some limits and guards of one object. Requests with the same key share one lease. */
export interface LeaseSubject {
  readonly key: string
  readonly objectName: string
  readonly limits: readonly NamedLimit[]
  readonly guards: readonly GuardDemand[]
}

/** The leases of one isolate. */
export interface ClientLeases {
  /** Decides one request; answers at once when nobody has to be asked. Never rejects. */
  decide(c: GatewayContext, subject: LeaseSubject, cost: number): GateVerdict | Promise<GateVerdict>
  /**
   * Forgets all tokens of this object: the next request asks it, which may know better by then. All, because other routes
   * with the same guard may hold some under other limits.
   */
  drop(objectName: string): void
}

type Failure = { readonly reason: string; readonly isOverloaded: boolean }

/** One lease with what its holder does not know: who waits, and what the object said beside tokens. */
interface Desk {
  readonly objectName: string
  holder: LeaseHolder
  readonly waiting: Map<number, (denial: LeaseDenial | undefined) => void>
  grant: LeaseGrant | undefined
  grantedMs: number
  calledMs: number
  failure: Failure | undefined
}

const UNAVAILABLE: LeaseDenial = { kind: "deny", reason: "unavailable", retryAfterMs: null }

/** Returns the leases of an isolate that has none yet. */
export function createClientLeases(
  { nowMs, fillRandom }: Pick<Gateway, "nowMs" | "fillRandom">,
  objects: ClientObjects,
): ClientLeases {
  const desks = new Map<string, Desk>()
  let lastId = 0

  function deskOf({ key, objectName }: LeaseSubject): Desk {
    const known = desks.get(key)
    if (known !== undefined) return known
    dropOldest(desks)
    const boot = formatHex(fillRandom(new Uint8Array(16)))
    const desk: Desk = {
      objectName,
      holder: createHolder(boot),
      waiting: new Map(),
      grant: undefined,
      grantedMs: 0,
      calledMs: 0,
      failure: undefined,
    }
    desks.set(key, desk)
    return desk
  }

  function verdict(
    { limits }: LeaseSubject,
    desk: Desk,
    cost: number,
    denial: LeaseDenial | undefined,
    decidedBy: GateVerdict["decidedBy"],
    now = nowMs(),
  ): GateVerdict {
    const { grant, failure } = desk
    const { tokens } = desk.holder
    return verdictOfLease({
      decidedBy,
      limits,
      grant,
      elapsedMs: now - desk.grantedMs,
      nowMs: now,
      tokens,
      cost,
      denial,
      failure,
    })
  }

  /** Calls until nobody waits for an answer any more. */
  async function call(c: GatewayContext, subject: LeaseSubject, desk: Desk): Promise<void> {
    for (let isAsking = true; isAsking;) {
      desk.calledMs = nowMs()
      const { holder, call: question } = startCall(desk.holder, desk.calledMs)
      desk.holder = holder
      const { limits, guards } = subject
      const asked = await objects.callOnce(
        c,
        subject.objectName,
        async (object): Promise<LeaseGrant | null> => object.lend(question, { limits, guards }),
        LEASE_CALL_TIMEOUT_MS,
      )
      isAsking = settle(desk, takeAnswer(desk, question.seq, asked))
    }
  }

  function takeAnswer(
    desk: Desk,
    seq: number,
    asked: Awaited<ReturnType<typeof objects.callOnce<LeaseGrant | null>>>,
  ): HolderStep {
    if ("failure" in asked) {
      const { reason, isOverloaded, mayRepeat } = asked.failure
      desk.failure = { reason, isOverloaded }
      return abandonCall(desk.holder, seq, !mayRepeat && reason !== "object_timeout")
    }
    if (asked.answer === null) return abandonCall(desk.holder, seq)
    if (desk.holder.call?.seq === seq) {
      desk.grant = asked.answer
      desk.grantedMs = nowMs()
      desk.failure = undefined
    }
    return acceptAnswer(desk.holder, asked.answer.lease, nowMs())
  }

  function settle(desk: Desk, step: HolderStep): boolean {
    desk.holder = step.holder
    for (const { id, decision } of step.settled) {
      const resolve = desk.waiting.get(id)
      desk.waiting.delete(id)
      resolve?.(decision.kind === "deny" ? decision : undefined)
    }
    return step.ask
  }

  async function wait(
    c: GatewayContext,
    subject: LeaseSubject,
    desk: Desk,
    id: number,
    cost: number,
  ): Promise<GateVerdict> {
    const settled = new Promise<LeaseDenial | undefined>((resolve) => {
      desk.waiting.set(id, resolve)
    })
    const caller = c.req.raw.signal
    const leave = (): void => {
      desk.holder = removeWaiter(desk.holder, id)
      desk.waiting.delete(id)
    }
    caller.addEventListener("abort", leave, { once: true })
    const denial = await withDeadline(settled, CLIENT_GATE_TIMEOUT_MS)
    caller.removeEventListener("abort", leave)
    if (denial !== LATE) return verdict(subject, desk, cost, denial, "asked")
    leave()
    return verdict(subject, desk, cost, UNAVAILABLE, "asked")
  }

  return {
    decide(c, subject, cost) {
      const desk = deskOf(subject)
      const now = nowMs()
      const id = ++lastId
      const { holder, decision } = decide(desk.holder, { id, cost, nowMs: now })
      const isResting = desk.failure?.isOverloaded === true && objects.isOverloaded(subject.objectName)
      if (decision.kind === "admit") {
        desk.holder = holder
        if (decision.renew && !isResting) c.executionCtx.waitUntil(call(c, subject, desk))
        return verdict(subject, desk, cost, undefined, "local", now)
      }
      if (decision.kind === "deny") {
        desk.holder = holder
        return verdict(subject, desk, cost, decision, "local", now)
      }
      // An overloaded object is left alone, and nobody waits for it.
      if (isResting) return verdict(subject, desk, cost, UNAVAILABLE, "local")
      desk.holder = holder
      const hasVanished = decision.kind === "wait" && now - desk.calledMs >= CLIENT_GATE_TIMEOUT_MS
      if (hasVanished) desk.holder = abandonCall(holder, holder.call?.seq ?? 0).holder
      const verdictLater = wait(c, subject, desk, id, cost)
      if (decision.kind === "ask" || hasVanished) c.executionCtx.waitUntil(call(c, subject, desk))
      return verdictLater
    },
    drop(objectName) {
      for (const desk of desks.values()) if (desk.objectName === objectName) desk.holder = dropLease(desk.holder)
    },
  }
}

/** Makes room for one more. What is dropped burns its tokens; one that somebody waits for is kept. */
function dropOldest(desks: Map<string, Desk>): void {
  if (desks.size < LEASE_HOLDERS_PER_ISOLATE_MAX) return
  for (const [key, { holder }] of desks) {
    if (holder.waiters.length > 0 || holder.call !== null) continue
    desks.delete(key)
    return
  }
}

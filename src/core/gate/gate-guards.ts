/**
 * The guards of one client, asked together: a request passes when all of them are closed, and takes a place of those that
 * reserve places only when it passes.
 *
 * What one guard says is `core/guard/guard.ts`. Only what a guard has to remember is kept: a client that never failed has no
 * guard stored. Pure and total; `core/gate/client-gate.ts` calls it.
 */
import { baseBackoffMs } from "../guard/backoff.ts"
import { TOKEN_LEASE_BLOCK_CACHE_MS_MAX } from "../bounds.ts"
import type { StoredGuard } from "./gate-state.ts"
import { parseGuardConfig } from "../guard/guard-config.ts"
import type { GuardConfig } from "../guard/guard-config.ts"
import { createGuardState, isForgettableGuard } from "../guard/guard-state.ts"
import type { GuardEvent, GuardState } from "../guard/guard-state.ts"
import { administer, observe, recordOutcome, requestAdmission } from "../guard/guard.ts"
import type { AdminAction, Admission, GuardDecision, GuardStep } from "../guard/guard.ts"
import type { OutcomeResult } from "../guard/outcome.ts"

/** A guard that a request has to pass. */
export interface GuardDemand {
  readonly name: string
  readonly config: GuardConfig
}

/** How a closed guard stands: what an outcome of a request admitted now has to name, and how many failures count. */
export interface GuardStanding extends Admission {
  readonly name: string
  readonly failures: number
}

/** Why a guard refuses. */
export interface GuardBlock {
  readonly guard: string
  /** `open`: blocked. `inflight`: as many requests as failures are left await their outcome. */
  readonly reason: "open" | "inflight"
  /** Rest of the block; null when nobody knows. */
  readonly retryAfterMs: number | null
  /** Ms for which an isolate may refuse by itself: short, so that an administrator's unblock is soon heard of. */
  readonly cacheForMs: number
}

/** An event, and whose it is. */
export interface NamedGuardEvent {
  readonly guard: string
  readonly event: GuardEvent
}

type StoredGuards = Readonly<Record<string, StoredGuard>>

/** What asking all guards says. */
export interface GuardsAsked {
  /** The stored guards when the request passes; the very same object when there is nothing new to remember. */
  readonly passed: StoredGuards
  /** The same when it is refused by something else: no place is taken. */
  readonly refused: StoredGuards
  readonly standings: readonly GuardStanding[]
  readonly events: readonly NamedGuardEvent[]
  /** Why the request may not pass: an open guard before one whose places are taken, the longest block first. */
  readonly block: GuardBlock | undefined
  /** The id is no id, or its outcome is recorded already: the gateway's own fault. */
  readonly isInvalid: boolean
}

/**
 * Asks every guard about one request.
 *
 * @param id unique to the request, made by the gateway
 * @param lostAtMs set when stored state was lost at that instant: a guard that is not stored may have been open then, so it
 *   counts as opened once at that instant
 */
export function askGuards(
  stored: StoredGuards,
  demands: readonly GuardDemand[],
  id: string,
  nowMs: number,
  lostAtMs: number | undefined,
): GuardsAsked {
  let passed = stored
  let refused = stored
  const standings: GuardStanding[] = []
  const events: NamedGuardEvent[] = []
  const blocks: GuardBlock[] = []
  let isInvalid = false
  for (const { name, config } of demands) {
    const before = stateOf(stored, { name, config }, nowMs, lostAtMs)
    const { state, decision, events: own } = requestAdmission(before, config, { id }, nowMs)
    events.push(...own.map((event) => ({ guard: name, event })))
    passed = keep(passed, name, { config, state })
    refused = keep(refused, name, { config, state: withoutPlace(state, id) })
    if (decision.admitted) standings.push({ name, failures: decision.failures, ...decision.admission })
    else if (decision.reason === "invalid-request") isInvalid = true
    else blocks.push(blockOf(name, decision, decision.reason))
  }
  const [block] = blocks.toSorted((a, b) => (b.retryAfterMs ?? 0) - (a.retryAfterMs ?? 0))
  return { passed, refused, standings, events, block, isInvalid }
}

/** How one request ended, for one guard. */
export interface GuardOutcome extends GuardDemand {
  /** As the guard's standing named it; a guard that reserves places has its own. */
  readonly admission: Admission
}

/**
 * Records how an admitted request ended, for every guard that it passed.
 *
 * @param random uniform in [0, 1): the jitter of a block that this outcome starts
 * @param lostAtMs as in {@link askGuards}
 */
export function recordOutcomes(
  stored: StoredGuards,
  outcomes: readonly GuardOutcome[],
  { id, result }: { readonly id: string; readonly result: OutcomeResult },
  nowMs: number,
  random: number,
  lostAtMs: number | undefined,
): { readonly guards: StoredGuards; readonly events: readonly NamedGuardEvent[]; readonly isOpen: boolean } {
  let guards = stored
  const events: NamedGuardEvent[] = []
  let isOpen = false
  for (const { name, config, admission } of outcomes) {
    const before = stateOf(stored, { name, config }, nowMs, lostAtMs)
    const step = recordOutcome(before, config, { id, result, admission }, nowMs, random)
    guards = keep(guards, name, { config, state: step.state })
    events.push(...step.events.map((event) => ({ guard: name, event })))
    isOpen ||= step.decision.isOpen
  }
  return { guards, events, isOpen }
}

/**
 * Does to one guard what an administrator asks; `isApplied` is false for an action that is out of range.
 *
 * @param lostAtMs as in {@link askGuards}
 */
export function administerGuard(
  stored: StoredGuards,
  { name, config }: GuardDemand,
  action: AdminAction,
  nowMs: number,
  lostAtMs: number | undefined,
): { readonly guards: StoredGuards; readonly events: readonly NamedGuardEvent[]; readonly isApplied: boolean } {
  const { state, decision, events } = administer(
    stateOf(stored, { name, config }, nowMs, lostAtMs),
    config,
    action,
    nowMs,
  )
  return {
    guards: keep(stored, name, { config, state }),
    events: events.map((event) => ({ guard: name, event })),
    isApplied: decision.error === undefined,
  }
}

/** Ends the blocks that are over, so that they are reported also when nobody asks. */
export function settleGuards(
  stored: StoredGuards,
  nowMs: number,
): { readonly guards: StoredGuards; readonly events: readonly NamedGuardEvent[] } {
  let guards = stored
  const events: NamedGuardEvent[] = []
  for (const [name, { config, state }] of Object.entries(stored)) {
    const step: GuardStep<unknown> = observe(state, config, nowMs)
    guards = keep(guards, name, { config, state: step.state })
    events.push(...step.events.map((event) => ({ guard: name, event })))
  }
  return { guards, events }
}

/** Returns the name of a guard that is open at `nowMs`, undefined when all of them are closed. Remembers nothing. */
export function findOpenGuard(
  stored: StoredGuards,
  demands: readonly GuardDemand[],
  nowMs: number,
  lostAtMs?: number,
): string | undefined {
  return demands.find((demand) => {
    const state = stateOf(stored, demand, nowMs, lostAtMs)
    return state !== undefined && observe(state, demand.config, nowMs).decision.isOpen
  })?.name
}

/** A guard as it is stored, or as a loss left it. It may be called `constructor`: own members only. */
function stateOf(
  stored: StoredGuards,
  { name, config }: GuardDemand,
  nowMs: number,
  lostAtMs: number | undefined,
): GuardState | undefined {
  const known = Object.hasOwn(stored, name) ? stored[name]?.state : undefined
  return known ?? lostGuard(config, nowMs, lostAtMs)
}

/** Returns the guard without the place of a request that is refused: nobody will give it back. */
function withoutPlace(state: GuardState, id: string): GuardState {
  return { ...state, pending: state.pending.filter((request) => request.id !== id) }
}

function keep(stored: StoredGuards, name: string, { config, state }: StoredGuard): StoredGuards {
  const before = Object.hasOwn(stored, name) ? stored[name] : undefined
  // As it will be read back, whatever order the members of the demand are in: else each call would store it anew.
  const parsed = parseGuardConfig(config)
  const after = { config: parsed.ok ? parsed.config : config, state }
  if (before === undefined ? isForgettableGuard(after.state) && after.state.epoch === 0 : isSameRecord(before, after))
    return stored
  return { ...stored, [name]: after }
}

/** Whether two states of a guard differ in nothing but what the clock alone changes and what decides nothing. */
function isSameRecord(before: StoredGuard, after: StoredGuard): boolean {
  const { config, state: current } = after
  // While it is open, requests need not be remembered: idle time counts from the end of the block, which is later.
  const isIdleCounted =
    config.guardResetTimeoutMs !== null && current.openUntilMs === null && !isForgettableGuard(current)
  const text = ({ config: own, state }: StoredGuard) =>
    JSON.stringify([own, { ...state, lastSeenMs: 0, lastRequestMs: isIdleCounted ? state.lastRequestMs : null }])
  return text(before) === text(after)
}

/** A guard whose state is lost: opened once, at that instant. When that block would be over, nobody needs to know. */
function lostGuard(config: GuardConfig, nowMs: number, lostAtMs: number | undefined): GuardState | undefined {
  if (lostAtMs === undefined) return undefined
  const openUntilMs = lostAtMs + baseBackoffMs(config.backoff, 1)
  if (openUntilMs <= nowMs) return undefined
  return { ...createGuardState(lostAtMs), attempt: 1, openUntilMs, epoch: 1 }
}

function blockOf(guard: string, { retryAfterMs }: GuardDecision, reason: GuardBlock["reason"]): GuardBlock {
  // A place may be given back at any moment: that is not remembered.
  const cacheForMs = reason === "open" ? Math.min(retryAfterMs ?? 0, TOKEN_LEASE_BLOCK_CACHE_MS_MAX) : 0
  return { guard, reason, retryAfterMs: reason === "open" ? retryAfterMs : null, cacheForMs }
}

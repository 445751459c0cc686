/**
 * Everything that is remembered about one client, or about one other key of a guard: its limits, what is lent of them, and
 * its guards. One JSON text, one row.
 *
 * It carries a version and is validated when it is read. What cannot be read admits nothing until it has refilled, ended or
 * expired, so a damaged row neither mints tokens nor unblocks anybody. Pure and total; `core/gate/client-gate.ts` changes it, the
 * object stores it.
 */
import type { AdmissionState } from "../limit/admission.ts"
import { GUARD_KEY_IDLE_MS } from "../bounds.ts"
import { parseConcurrencyState } from "../limit/concurrency.ts"
import { parseBucketState } from "../limit/gcra.ts"
import { parseGuardConfig } from "../guard/guard-config.ts"
import type { GuardConfig } from "../guard/guard-config.ts"
import { isForgettableGuard, parseGuardState } from "../guard/guard-state.ts"
import type { GuardState } from "../guard/guard-state.ts"
import { createLostLedger, EMPTY_LEDGER, parseLedger } from "../lease/lease-ledger.ts"
import type { LeaseLedger } from "../lease/lease-ledger.ts"
import { parseQuotaState } from "../limit/quota.ts"
import { isInstant, membersOf, parseJson } from "../untrusted.ts"

/** One guard as it is stored: with the configuration it was last asked under, which an alarm has to make do with. */
export interface StoredGuard {
  readonly config: GuardConfig
  readonly state: GuardState
}

/**
 * What is stored. A limit or guard stays when a request does not name it: two versions of the Worker may take turns with
 * different ones, and forgetting would give the client a full limit and a clean record each time.
 */
export interface GateState extends AdmissionState {
  /** 1 had neither ledger nor guards. */
  readonly version: 2
  readonly ledger: LeaseLedger
  /** By the name of the guard. */
  readonly guards: Readonly<Record<string, StoredGuard>>
}

/** The state of a client that the gate has never seen: every limit starts as its configuration says, guards are closed. */
export const EMPTY_GATE_STATE: GateState = {
  version: 2,
  buckets: {},
  quotas: {},
  concurrency: {},
  ledger: EMPTY_LEDGER,
  guards: {},
}

/** Returns the state in an untrusted value, or undefined unless all of it is in range and of a version that is known. */
export function parseGateState(value: unknown): GateState | undefined {
  const { version, lostAtMs, ledger: lent, guards: guarded, ...states } = membersOf(value)
  if (version !== 1 && version !== 2) return undefined
  const isFirst = version === 1
  const buckets = parseRecord(states["buckets"], parseBucketState)
  const quotas = parseRecord(states["quotas"], parseQuotaState)
  const concurrency = parseRecord(states["concurrency"], parseConcurrencyState)
  const ledger = isFirst ? EMPTY_LEDGER : parseLedger(lent)
  const guards = isFirst ? {} : parseRecord(guarded, parseStoredGuard)
  if (buckets === undefined || quotas === undefined || concurrency === undefined) return undefined
  if (ledger === undefined || guards === undefined) return undefined
  const state: GateState = { version: 2, buckets, quotas, concurrency, ledger, guards }
  if (lostAtMs === undefined) return state
  return isInstant(lostAtMs) ? { ...state, lostAtMs } : undefined
}

/**
 * Returns the state to decide on from what storage holds. Nothing stored is a new client. A text that is no state is a
 * loss: at `nowMs` every bucket then counts as empty, every quota as used up, every slot as taken, every token as lent and
 * every guard as just opened, because all of that may have been so.
 *
 * @param stored the stored text, undefined when there is none
 */
export function restoreGateState(stored: unknown, nowMs: number): GateState {
  if (stored === undefined) return EMPTY_GATE_STATE
  return parseGateState(parseJson(stored)) ?? { ...EMPTY_GATE_STATE, ledger: createLostLedger(nowMs), lostAtMs: nowMs }
}

/**
 * Returns the instant, epoch ms, at which somebody should look at the state although nobody asks: the end of a block has to
 * be reported, and the object of a guard's other key is forgotten some time after its last request. Null for never.
 *
 * What cannot be forgotten when that time has come, because an escalation is remembered for longer, is looked at again as
 * much later: an instant that has passed would come at once, again and again.
 *
 * @param isKeyed the object stands for another key than a client
 */
export function nextWakeMs(state: GateState, isKeyed: boolean, nowMs: number): number | null {
  const ends = Object.values(state.guards).flatMap(({ state: { openUntilMs } }) => openUntilMs ?? [])
  const idleMs = isKeyed ? [laterThan(nowMs, lastUseMs(state) + GUARD_KEY_IDLE_MS)] : []
  return ends.length + idleMs.length === 0 ? null : Math.min(...ends, ...idleMs)
}

/** Returns true when nothing would be decided otherwise at `nowMs` if the whole state were forgotten. */
export function isForgettable(state: GateState, nowMs: number): boolean {
  const hasLimits = [state.buckets, state.quotas, state.concurrency].some((limits) => Object.keys(limits).length > 0)
  const isIdle = nowMs - lastUseMs(state) >= GUARD_KEY_IDLE_MS
  return !hasLimits && isIdle && Object.values(state.guards).every(({ state: guard }) => isForgettableGuard(guard))
}

/** Of requests, not of an alarm that looked. */
function lastUseMs({ ledger, guards }: GateState): number {
  return Math.max(ledger.lastMs, ...Object.values(guards).map(({ state: { lastRequestMs } }) => lastRequestMs ?? 0))
}

function laterThan(nowMs: number, instantMs: number): number {
  return instantMs > nowMs ? instantMs : nowMs + GUARD_KEY_IDLE_MS
}

function parseStoredGuard(value: unknown): StoredGuard | undefined {
  const { config, state } = membersOf(value)
  const parsedConfig = parseGuardConfig(config)
  const parsedState = parseGuardState(state)
  return parsedConfig.ok && parsedState !== undefined ? { config: parsedConfig.config, state: parsedState } : undefined
}

function parseRecord<State>(
  value: unknown,
  parse: (member: unknown) => State | undefined,
): Readonly<Record<string, State>> | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined
  const parsed: [string, State][] = []
  for (const [name, member] of Object.entries(value)) {
    const state = parse(member)
    if (state === undefined) return undefined
    parsed.push([name, state])
  }
  return Object.fromEntries(parsed)
}

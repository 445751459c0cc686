/**
 * When the keys of an authorization server are fetched, and how long fetched ones serve.
 *
 * Keys serve for a while without a question, then are refreshed behind the requests; while that fails they go on serving up
 * to a bound, and then nothing verifies. A token that names an unknown key makes the set be looked up again, once in a
 * while: what callers invent costs the authorization server nothing more. Failures are followed by growing pauses. Pure and
 * total: `(state, input, nowMs) -> { state, decision }`; one state an isolate and server, driven by the shell that fetches.
 */
import {
  TOKEN_KEYS_COOLDOWN_MS,
  TOKEN_KEYS_FRESH_MS,
  TOKEN_KEYS_PAUSE_MS_MIN,
  TOKEN_KEYS_TIMEOUT_MS,
} from "../bounds.ts"

/** What is known about one key set. Instants are epoch ms. */
export interface KeySetState {
  readonly kids: ReadonlySet<string>
  /** When the keys at hand were asked for; null while there are none. */
  readonly askedMs: number | null
  /** The call that is under way. One that has vanished with its request is replaced. */
  readonly call: { readonly seq: number; readonly startedMs: number } | null
  readonly lastSeq: number
  /** Failures in a row, and when the last one was. */
  readonly failures: number
  readonly failedMs: number
  /** When an unknown key was last looked for. */
  readonly soughtMs: number | null
}

/** The state before anything was fetched. */
export const EMPTY_KEY_SET: KeySetState = {
  kids: new Set(),
  askedMs: null,
  call: null,
  lastSeq: 0,
  failures: 0,
  failedMs: 0,
  soughtMs: null,
}

/** What is known about one key: it may verify, the server has no such key, or nobody can tell. */
export type KeyStanding = "known" | "unknown" | "unavailable"

/** What to do for one request. With `fetches` the caller starts the call that the returned state holds. */
export type KeySetDecision =
  | { readonly kind: "answer"; readonly standing: KeyStanding; readonly fetches: boolean }
  /** Wait until a call has ended, then ask {@link standingOfKey}. */
  | { readonly kind: "wait"; readonly fetches: boolean }

/** A state and what to do. */
export interface KeySetStep {
  readonly state: KeySetState
  readonly decision: KeySetDecision
}

/**
 * Decides what to do about a key.
 *
 * @param staleMsMax how long keys serve beyond their usual time while the set cannot be fetched
 */
export function askKey(state: KeySetState, kid: string, staleMsMax: number, nowMs: number): KeySetStep {
  const isCalling = state.call !== null && nowMs - state.call.startedMs < TOKEN_KEYS_TIMEOUT_MS
  const mayCall = !isCalling && nowMs >= pausedUntilMs(state)
  const answer = (standing: KeyStanding): KeySetStep => ({
    state,
    decision: { kind: "answer", standing, fetches: false },
  })
  if (!isUsable(state, staleMsMax, nowMs)) {
    if (isCalling) return { state, decision: { kind: "wait", fetches: false } }
    if (!mayCall) return answer("unavailable")
    return { state: start(state, nowMs), decision: { kind: "wait", fetches: true } }
  }
  if (state.kids.has(kid)) {
    if (ageMs(state, nowMs) < TOKEN_KEYS_FRESH_MS || !mayCall) return answer("known")
    return { state: start(state, nowMs), decision: { kind: "answer", standing: "known", fetches: true } }
  }
  if (isCalling) return { state, decision: { kind: "wait", fetches: false } }
  const isCool = state.soughtMs === null || nowMs - state.soughtMs >= TOKEN_KEYS_COOLDOWN_MS
  if (!isCool || !mayCall) return answer(standingOfKey(state, kid, staleMsMax, nowMs))
  return { state: { ...start(state, nowMs), soughtMs: nowMs }, decision: { kind: "wait", fetches: true } }
}

/**
 * Returns how a key stands now. One that is not at hand is unknown only when the last fetch succeeded; after a failure it
 * may be a new one.
 */
export function standingOfKey(state: KeySetState, kid: string, staleMsMax: number, nowMs: number): KeyStanding {
  if (!isUsable(state, staleMsMax, nowMs)) return "unavailable"
  if (state.kids.has(kid)) return "known"
  return state.failures > 0 ? "unavailable" : "unknown"
}

/** Takes what a call has brought. An answer that was overtaken changes nothing. */
export function acceptKeys(state: KeySetState, seq: number, kids: Iterable<string>): KeySetState {
  if (state.call?.seq !== seq) return state
  return { ...state, kids: new Set(kids), askedMs: state.call.startedMs, call: null, failures: 0 }
}

/** Notes that a call has failed. The keys at hand stay. */
export function noteFailure(state: KeySetState, seq: number, nowMs: number): KeySetState {
  if (state.call?.seq !== seq) return state
  return { ...state, call: null, failures: state.failures + 1, failedMs: nowMs }
}

function start(state: KeySetState, nowMs: number): KeySetState {
  const seq = state.lastSeq + 1
  return { ...state, lastSeq: seq, call: { seq, startedMs: nowMs } }
}

function isUsable(state: KeySetState, staleMsMax: number, nowMs: number): boolean {
  return state.askedMs !== null && ageMs(state, nowMs) < TOKEN_KEYS_FRESH_MS + staleMsMax
}

function ageMs({ askedMs }: KeySetState, nowMs: number): number {
  return Math.max(0, nowMs - (askedMs ?? 0))
}

/** Doubles with every failure in a row, up to the time that also passes between two looks for unknown keys. */
function pausedUntilMs({ failures, failedMs }: KeySetState): number {
  if (failures === 0) return 0
  return failedMs + Math.min(TOKEN_KEYS_COOLDOWN_MS, TOKEN_KEYS_PAUSE_MS_MIN * 2 ** Math.min(failures - 1, 30))
}

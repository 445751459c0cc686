/**
 * Plays one scenario of the format `limiter-vectors/1` against the limiter of the core.
 *
 * Each scenario takes two roads where both exist: the functions of its kind of limit, which know every operation, and
 * `core/limit/admission.ts`, which is what the client's object calls. After every step the state goes through JSON, as it does
 * in the object's row. For the tests and for the command that reports on all vectors. Touches no file.
 */
import { isDeepStrictEqual } from "node:util"
import { decideAdmission, releaseLeases, renewLeases } from "../src/core/limit/admission.ts"
import * as concurrency from "../src/core/limit/concurrency.ts"
import { EMPTY_GATE_STATE, parseGateState } from "../src/core/gate/gate-state.ts"
import type { GateState } from "../src/core/gate/gate-state.ts"
import * as bucket from "../src/core/limit/gcra.ts"
import { isNamedLimit } from "../src/core/limit/limit.ts"
import type { NamedLimit } from "../src/core/limit/limit.ts"
import * as quota from "../src/core/limit/quota.ts"
import { formatRateLimit, formatRateLimitPolicy, formatRetryAfter } from "../src/core/limit/ratelimit-fields.ts"
import { isInstant, membersOf } from "../src/core/untrusted.ts"

/** Whether a scenario holds; if not, the first step that differs and how. */
export interface LimiterScenarioResult {
  readonly passed: boolean
  readonly message?: string
}

type Members = Readonly<Record<string, unknown>>

interface Step {
  readonly at: number
  readonly do: string
  readonly n: number
  readonly id: string
  readonly isPartial: boolean
  readonly config: unknown
  readonly expect: Members
}

/** Plays one step. Returns the answer by the keys of the format, or undefined for a step that this road cannot show. */
type Player = (step: Step) => Members | undefined

/** One kind of limit: how its configuration and state are read, and what a step does to it. */
interface Kind<Config, State> {
  readonly parseConfig: (value: unknown) => Parsed<Config>
  readonly parseState: (value: unknown) => State | undefined
  readonly play: (state: State | undefined, config: Config, step: Step) => Played<State> | undefined
}

interface Played<State> {
  readonly state: State
  readonly decision: object
}

type Parsed<Config> =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly string[] }

/** What in a scenario cannot be played. */
class ScenarioError extends Error {}

/** Plays one scenario. Never throws on what a scenario says: whatever is not of the format fails it. */
export function runLimiterScenario(scenario: unknown): LimiterScenarioResult {
  try {
    const message = findDifference(membersOf(scenario))
    return message === undefined ? { passed: true } : { passed: false, message }
  } catch (error) {
    if (error instanceof ScenarioError) return { passed: false, message: error.message }
    throw error
  }
}

function findDifference(scenario: Members): string | undefined {
  const { type, config, invalidConfig, steps, input, expect } = scenario
  if (type === "headers") return differenceOf(membersOf(expect), formatFields(membersOf(input)), "all")
  if (type !== "multi" && !isKind(type)) return `unknown type: ${JSON.stringify(type) ?? "none"}`
  const candidates = type === "multi" ? membersOfMulti(config) : [{ ...membersOf(config), kind: type, name: "limit" }]
  const limits = candidates.filter(isNamedLimit)
  const isAccepted = limits.length === candidates.length && limits.length > 0
  if (invalidConfig === true) return isAccepted ? "the configuration was accepted" : undefined
  if (!isAccepted) return "the configuration was rejected"

  const parsed = parseSteps(steps)
  const difference = type === "multi" ? undefined : playAll(parsed, createPlayer(type, config))
  if (difference !== undefined || !parsed.every(isAdmissible)) return difference
  const other = playAll(parsed, createAdmissionPlayer(limits))
  return other === undefined ? undefined : `as an admission, ${other}`
}

function isKind(type: unknown): type is NamedLimit["kind"] {
  return type === "bucket" || type === "quota" || type === "concurrency"
}

function membersOfMulti(config: unknown): readonly object[] {
  const limits = Object.entries(membersOf(membersOf(config)["limits"]))
  return limits.map(([name, limit]) => ({ ...membersOf(limit), kind: membersOf(limit)["type"], name }))
}

function parseSteps(steps: unknown): readonly Step[] {
  if (!Array.isArray(steps) || steps.length === 0) throw new ScenarioError("the scenario has no steps")
  return steps.map((step: unknown, index) => {
    const { at, do: operation, n, id, partial, config, expect } = membersOf(step)
    if (!isInstant(at) || typeof operation !== "string" || typeof expect !== "object" || expect === null) {
      throw new ScenarioError(`step ${index} lacks at, do or expect`)
    }
    return {
      at,
      do: operation,
      n: typeof n === "number" ? n : Number.NaN,
      id: typeof id === "string" ? id : "",
      isPartial: partial === true,
      config,
      expect: membersOf(expect),
    }
  })
}

function playAll(steps: readonly Step[], play: Player): string | undefined {
  for (const [index, step] of steps.entries()) {
    const answer = play(step)
    const difference = answer === undefined ? undefined : differenceOf(step.expect, answer, "expected")
    if (difference !== undefined) return `step ${index} (${step.do} at ${step.at}): ${difference}`
  }
  return undefined
}

/** Returns what was expected and what came, by the keys that differ; undefined when there are none. */
function differenceOf(expected: Members, actual: Members, compared: "expected" | "all"): string | undefined {
  const keys = new Set([...Object.keys(expected), ...(compared === "all" ? Object.keys(actual) : [])])
  const wrong = [...keys].filter((key) => !isDeepStrictEqual(expected[key], actual[key]))
  if (wrong.length === 0) return undefined
  const show = (members: Members) => wrong.map((key) => `${key} ${JSON.stringify(members[key]) ?? "absent"}`).join(", ")
  return `expected ${show(expected)}; came ${show(actual)}`
}

const BUCKET: Kind<bucket.BucketConfig, bucket.BucketState> = {
  parseConfig: bucket.parseBucketConfig,
  parseState: bucket.parseBucketState,
  play(state, config, { do: operation, n, isPartial, at }) {
    if (operation === "acquire" && isPartial) return bucket.acquirePartial(state, config, n, at)
    if (operation === "acquire") return bucket.acquire(state, config, n, at)
    if (operation === "refund") return bucket.refund(state, config, n, at)
    if (operation === "reset") return bucket.reset(state, config, at)
    return isReading(operation) ? bucket.peek(state, config, at) : undefined
  },
}

const QUOTA: Kind<quota.QuotaConfig, quota.QuotaState> = {
  parseConfig: quota.parseQuotaConfig,
  parseState: quota.parseQuotaState,
  play(state, config, { do: operation, n, isPartial, at }) {
    if (operation === "acquire" && !isPartial) return quota.acquireQuota(state, config, n, at)
    if (operation === "refund") return quota.refundQuota(state, config, n, at)
    if (operation === "reset") return quota.resetQuota(state, config, at)
    return isReading(operation) ? quota.peekQuota(state, config, at) : undefined
  },
}

const CONCURRENCY: Kind<concurrency.ConcurrencyConfig, concurrency.ConcurrencyState> = {
  parseConfig: concurrency.parseConcurrencyConfig,
  parseState: concurrency.parseConcurrencyState,
  play(state, config, { do: operation, id, at }) {
    if (operation === "acquire") return concurrency.acquireLease(state, config, id, at)
    if (operation === "renew") {
      const { state: after, decision, renewed } = concurrency.renewLease(state, config, id, at)
      return { state: after, decision: { ...decision, renewed } }
    }
    if (operation === "release") {
      const { state: after, released } = concurrency.releaseLease(state, id, at)
      return { state: after, decision: { ...concurrency.peekLeases(after, config, at).decision, released } }
    }
    return isReading(operation) ? concurrency.peekLeases(state, config, at) : undefined
  },
}

function isReading(operation: string): boolean {
  return operation === "peek" || operation === "config"
}

function createPlayer(type: NamedLimit["kind"], config: unknown): Player {
  switch (type) {
    case "bucket":
      return createKindPlayer(BUCKET, config)
    case "quota":
      return createKindPlayer(QUOTA, config)
    case "concurrency":
      return createKindPlayer(CONCURRENCY, config)
  }
}

function createKindPlayer<Config, State>(kind: Kind<Config, State>, initial: unknown): Player {
  let config = accept(kind.parseConfig(initial))
  let state: State | undefined
  return (step) => {
    if (step.do === "config") config = accept(kind.parseConfig(step.config))
    const played = kind.play(state, config, step)
    if (played === undefined) throw new ScenarioError(`unknown step: ${step.do}`)
    state = store(played.state, kind.parseState)
    return { ...played.decision }
  }
}

/** Whether a request, a release or a renewal can say what the step says. */
function isAdmissible({ do: operation, isPartial, expect }: Step): boolean {
  return ["acquire", "peek", "config", "release", "renew"].includes(operation) && !isPartial && !("error" in expect)
}

/** Plays steps as requests; one that only reads is a request that costs nothing. */
function createAdmissionPlayer(initial: readonly NamedLimit[]): Player {
  let limits = initial
  let state: GateState = EMPTY_GATE_STATE
  return (step) => {
    if (step.do === "config") limits = limits.map((limit) => reconfigure(limit, step.config))
    const played = playAdmission(state, limits, step)
    state = store(played.state, parseGateState)
    if (played.answer === undefined) return undefined
    // An admission takes all or nothing and does not say when the whole limit is back: both count as answered.
    const { granted, resetAfterMs } = step.expect
    return { granted, resetAfterMs, ...played.answer }
  }
}

function playAdmission(
  state: GateState,
  limits: readonly NamedLimit[],
  { do: operation, n, id, at }: Step,
): { readonly state: GateState; readonly answer: Members | undefined } {
  if (operation === "release") {
    const { state: after, released } = releaseLeases(state, id, at)
    return { state: after, answer: { released: released.length > 0, ...slotsOf(after, limits) } }
  }
  if (operation === "renew") {
    const { state: after, renewed } = renewLeases(state, limits, id, at)
    return { state: after, answer: { renewed: renewed.length > 0, ...slotsOf(after, limits) } }
  }
  const isLease = limits.some(({ kind }) => kind === "concurrency")
  // A request takes a slot whatever it costs, so none of them only reads.
  if (isLease && operation !== "acquire") return { state, answer: undefined }
  const cost = isLease ? 1 : operation === "acquire" ? n : 0
  const { state: after, decision } = decideAdmission(state, { limits, cost, ...(isLease ? { leaseId: id } : {}) }, at)
  const refusal = { permanent: false, retryAfterMs: null, violated: [] }
  const slots = isLease ? slotsOf(after, limits) : {}
  return { state: after, answer: { ...refusal, ...decision, ...slots, allowed: decision.admitted } }
}

/** Returns the slots of the only concurrency limit of a scenario. */
function slotsOf({ concurrency: states }: GateState, limits: readonly NamedLimit[]): Members {
  const limit = limits.find(({ kind }) => kind === "concurrency")
  if (limit?.kind !== "concurrency") return {}
  const inUse = states[limit.name]?.leases.length ?? 0
  return { inUse, remaining: Math.max(0, limit.maxConcurrent - inUse) }
}

function reconfigure({ kind, name }: NamedLimit, config: unknown): NamedLimit {
  const limit = { ...membersOf(config), kind, name }
  if (!isNamedLimit(limit)) throw new ScenarioError("the configuration was rejected")
  return limit
}

function formatFields({ policies, retryAfterMs }: Members): Members {
  if (!Array.isArray(policies)) throw new ScenarioError("the scenario has no policies")
  const fields = {
    "RateLimit-Policy": formatRateLimitPolicy(policies),
    RateLimit: formatRateLimit(policies),
    "Retry-After": typeof retryAfterMs === "number" ? formatRetryAfter(retryAfterMs) : undefined,
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

/** Returns the state as it comes back from storage. */
function store<State>(state: State, parse: (value: unknown) => State | undefined): State {
  const parsed = parse(JSON.parse(JSON.stringify(state)))
  if (parsed === undefined || !isDeepStrictEqual(parsed, state)) {
    throw new ScenarioError(`the state does not survive storage: ${JSON.stringify(state)}`)
  }
  return parsed
}

function accept<Config>(parsed: Parsed<Config>): Config {
  if (!parsed.ok) throw new ScenarioError(`the configuration was rejected: ${parsed.problems.join("; ")}`)
  return parsed.config
}

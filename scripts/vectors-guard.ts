/**
 * Plays the scenarios of `test/vectors/guard.json` against the guard of the core, step by step, and compares of each
 * answer what the scenario names. For the test and for the command that reports on all vectors. Touches no file.
 */
import { parseGuardConfig } from "../src/core/guard/guard-config.ts"
import type { GuardConfig } from "../src/core/guard/guard-config.ts"
import { parseGuardState } from "../src/core/guard/guard-state.ts"
import type { GuardState, GuardStatus } from "../src/core/guard/guard-state.ts"
import { administer, observe, recordOutcome, requestAdmission } from "../src/core/guard/guard.ts"
import type { Admission, AdminAction, GuardDecision } from "../src/core/guard/guard.ts"
import type { OutcomeResult } from "../src/core/guard/outcome.ts"

/** One step: what happens to which client's guard at which time, and what must hold right after it. */
export type GuardStepVector = {
  readonly at: number
  readonly key?: string
  readonly expect: Readonly<Record<string, unknown>>
} & (
  | { readonly do: "request"; readonly id: string }
  | { readonly do: "outcome"; readonly id: string; readonly result: OutcomeResult }
  | { readonly do: "admin"; readonly action: AdminAction["action"]; readonly durationMs?: number }
  | { readonly do: "observe" | "restart" }
)

/** One scenario of the file: steps against a fresh guard, or a configuration that must be rejected. */
export interface GuardScenario {
  readonly id: string
  readonly title: string
  readonly config: unknown
  readonly invalidConfig?: boolean
  readonly steps?: readonly GuardStepVector[]
}

/** How a scenario is played. */
export interface GuardScenarioOptions {
  /** Jitter, uniform in [0, 1); the scenarios hold for any. Default: a fixed sequence. */
  readonly random?: () => number
  /** Rebuild the state from its stored form after every step, not only where the scenario says so. */
  readonly isRestartedAlways?: boolean
}

/** Whether a scenario holds; if not, the first step that differs and how. */
export interface GuardScenarioResult {
  readonly passed: boolean
  readonly message?: string
}

/** Plays one scenario. Never throws on what a scenario says: a step or an expectation that it does not know fails it. */
export function runGuardScenario(scenario: GuardScenario, options: GuardScenarioOptions = {}): GuardScenarioResult {
  const parsed = parseGuardConfig(scenario.config)
  if (scenario.invalidConfig === true) {
    return parsed.ok ? { passed: false, message: "the configuration was accepted" } : { passed: true }
  }
  if (!parsed.ok) return { passed: false, message: `the configuration was rejected: ${parsed.problems.join("; ")}` }
  const { random = createSequence(), isRestartedAlways = false } = options
  const clients = new Map<string, Client>()
  for (const [index, step] of (scenario.steps ?? []).entries()) {
    const key = step.key ?? ""
    const client = clients.get(key) ?? { state: undefined, admissions: new Map() }
    clients.set(key, client)
    const answer = play(client, parsed.config, step, random)
    if (answer === undefined) return { passed: false, message: `step ${index}: unknown step or unreadable state` }
    if (isRestartedAlways && !restart(client)) return { passed: false, message: `step ${index}: unreadable state` }
    const difference = compare(step.expect, answer)
    if (difference !== undefined) {
      return { passed: false, message: `step ${index} (${step.do} at ${step.at}): ${difference}` }
    }
  }
  return { passed: true }
}

interface Client {
  state: GuardState | undefined
  /** What a Worker remembers of the requests it has in flight. */
  readonly admissions: Map<string, Admission>
}

function play(
  client: Client,
  config: GuardConfig,
  step: GuardStepVector,
  random: () => number,
): GuardStatus | GuardDecision | undefined {
  switch (step.do) {
    case "request": {
      const { state, decision } = requestAdmission(client.state, config, { id: step.id }, step.at)
      client.state = state
      if (decision.admitted) client.admissions.set(step.id, decision.admission)
      return decision
    }
    case "outcome": {
      const admission = client.admissions.get(step.id)
      // In reserve mode the guard knows its admissions itself, and is not told.
      const outcome = { id: step.id, result: step.result, ...(isTold(config, admission) ? { admission } : {}) }
      const { state, decision } = recordOutcome(client.state, config, outcome, step.at, random())
      client.state = state
      return decision
    }
    case "admin": {
      const { state, decision } = administer(client.state, config, actionOf(step), step.at)
      client.state = state
      return decision
    }
    case "restart":
      if (!restart(client)) return undefined
      return observe(client.state, config, step.at).decision
    case "observe":
      return observe(client.state, config, step.at).decision
    default:
      return undefined
  }
}

function isTold(config: GuardConfig, admission: Admission | undefined): admission is Admission {
  return config.inFlight === "optimistic" && admission !== undefined
}

function actionOf(step: GuardStepVector & { readonly do: "admin" }): AdminAction {
  if (step.action !== "block") return { action: step.action }
  return { action: step.action, durationMs: step.durationMs ?? Number.NaN }
}

/** Replaces the state by what storage gives back; false if that cannot be read or is not the same. */
function restart(client: Client): boolean {
  if (client.state === undefined) return true
  const stored = JSON.stringify(client.state)
  client.state = parseGuardState(JSON.parse(stored))
  return client.state !== undefined && JSON.stringify(client.state) === stored
}

function compare(expected: GuardStepVector["expect"], answer: GuardStatus | GuardDecision): string | undefined {
  for (const [name, value] of Object.entries(expected)) {
    const actual = valueOf(name, answer)
    if (!matches(value, actual)) return `${name} is ${JSON.stringify(actual)}, expected ${JSON.stringify(value)}`
  }
  return undefined
}

/** Returns what the answer says under a name of the vectors; undefined, which matches nothing, for an unknown name. */
function valueOf(name: string, answer: GuardStatus | GuardDecision): unknown {
  const decision = "admitted" in answer ? answer : undefined
  switch (name) {
    case "decision":
      if (decision === undefined) return undefined
      return decision.admitted ? "admitted" : "blocked"
    case "reason":
      return decision?.admitted === false ? decision.reason : undefined
    case "state":
      return answer.isOpen ? "open" : "closed"
    case "failures":
    case "attempt":
    case "openedTotal":
    case "retryAfterMs":
      return answer[name]
    default:
      return undefined
  }
}

/** A pair is an inclusive range. */
function matches(expected: unknown, actual: unknown): boolean {
  if (!Array.isArray(expected)) return expected !== undefined && expected === actual
  const [min, max]: readonly unknown[] = expected
  return (
    typeof actual === "number" && typeof min === "number" && typeof max === "number" && min <= actual && actual <= max
  )
}

/** A fixed sequence over [0, 1): a failing run fails again. */
function createSequence(): () => number {
  let seed = 1
  return () => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed / 2_147_483_647
  }
}

/**
 * What the answer to an admitted request says about the client: a failure, a success, or nothing.
 *
 * Only what the client did counts. An origin that is down, a deadline and a refusal by a limit say nothing about it, or
 * an outage would block every client. Pure and total. Called where the final answer is known; the guard takes the result.
 */
import { FAILURE_STATUSES_MAX } from "../bounds.ts"
import type { ProblemCode } from "../problem.ts"
import { membersOf } from "../untrusted.ts"

/** How a request ended, for the guard. `error` is an exception in what the guard protects; no answer is one. */
export type OutcomeResult = "success" | "failure" | "error" | "neutral"

/** Which answers are failures. */
export interface OutcomeRules {
  /** Status codes from 200 to 499. A server's own fault can never be the client's. */
  readonly failureStatuses: readonly number[]
  /** Lower-case name of the response field by which an origin says it itself; null: none is read. */
  readonly verdictHeader: string | null
  /**
   * When given, these refusals of the gateway are failures and everything else says nothing: what the origin answers is
   * for other guards.
   */
  readonly failureProblems?: readonly ProblemCode[]
}

/** 401 and 403, and `Guard-Outcome` for an origin that knows better. */
export const OUTCOME_RULES_DEFAULT: OutcomeRules = { failureStatuses: [401, 403], verdictHeader: "guard-outcome" }

/** Outcome rules, or everything that is wrong with them: one text per member, naming it first. */
export type OutcomeRulesResult =
  | { readonly ok: true; readonly rules: OutcomeRules }
  | { readonly ok: false; readonly problems: readonly string[] }

/** The end of an admitted request, as the gateway saw it. */
export interface FinalAnswer {
  /** Status of the answer; null when there was none. */
  readonly status: number | null
  /** Who made the answer. */
  readonly source: "origin" | "gateway"
  /** Code of the gateway's refusal. */
  readonly problem?: ProblemCode | undefined
  /** The client went away before it had the whole answer. */
  readonly isAborted: boolean
  /** A deadline passed before the whole answer was there. */
  readonly isTimeout: boolean
  /** Value of {@link OutcomeRules.verdictHeader} in the origin's answer, null or undefined when it has none. */
  readonly originVerdict?: string | null | undefined
}

/**
 * Returns the rules of a route in an untrusted value, or all their problems. Unknown members are ignored. A login route
 * (`isLoginRoute`) adds 429: there it is the origin that has seen too many guesses.
 */
export function parseOutcomeRules(value: unknown): OutcomeRulesResult {
  const members = membersOf(value)
  const { failureStatuses = OUTCOME_RULES_DEFAULT.failureStatuses, isLoginRoute = false } = members
  const { verdictHeader = OUTCOME_RULES_DEFAULT.verdictHeader } = members
  const problems: string[] = []
  if (!isStatusList(failureStatuses)) {
    problems.push(`failureStatuses must list at most ${FAILURE_STATUSES_MAX} integers from 200 to 499`)
  }
  if (typeof isLoginRoute !== "boolean") problems.push("isLoginRoute must be true or false")
  if (verdictHeader !== null && !isFieldName(verdictHeader)) {
    problems.push("verdictHeader must be null or a field name of at most 64 letters, digits and hyphens")
  }
  if (problems.length > 0 || !isStatusList(failureStatuses)) return { ok: false, problems }
  return {
    ok: true,
    rules: {
      failureStatuses: isLoginRoute === true ? [...failureStatuses, 429] : [...failureStatuses],
      verdictHeader: isFieldName(verdictHeader) ? verdictHeader.toLowerCase() : null,
    },
  }
}

/**
 * Returns what an answer says about the client. The origin's own verdict wins over its status; a word that is none of
 * `success`, `failure`, `neutral` is no verdict.
 *
 * A failure that the origin has answered with stays one when the client then goes away or the rest comes too late:
 * otherwise a guesser would read the status and hang up. Without an answer there is no failure.
 *
 * Of the gateway's own answers only 401 and 403 are failures, if the rules list them: its 429 is a limit or the guard
 * itself, its 5xx is its own fault.
 */
export function classifyOutcome(answer: FinalAnswer, rules: OutcomeRules): Exclude<OutcomeResult, "error"> {
  const { status, source, problem, isAborted, isTimeout, originVerdict } = answer
  if (rules.failureProblems !== undefined) {
    const isFailure = source === "gateway" && problem !== undefined && rules.failureProblems.includes(problem)
    return isFailure ? "failure" : "neutral"
  }
  if (status === null) return "neutral"
  const isOrigin = source === "origin"
  const verdict = isOrigin && rules.verdictHeader !== null ? parseVerdict(originVerdict) : undefined
  if (verdict !== undefined) return verdict
  const canFail = isOrigin ? status < 500 : GATEWAY_FAILURES.has(status)
  if (canFail && rules.failureStatuses.includes(status)) return "failure"
  if (isAborted || isTimeout) return "neutral"
  return status >= 200 && status < 400 ? "success" : "neutral"
}

const GATEWAY_FAILURES: ReadonlySet<number> = new Set([401, 403])

function parseVerdict(value: string | null | undefined): "success" | "failure" | "neutral" | undefined {
  if (typeof value !== "string") return undefined
  const word = value.trim().toLowerCase()
  return word === "success" || word === "failure" || word === "neutral" ? word : undefined
}

function isStatusList(value: unknown): value is readonly number[] {
  return (
    Array.isArray(value) &&
    value.length <= FAILURE_STATUSES_MAX &&
    [...value].every((status) => Number.isInteger(status) && status >= 200 && status <= 499)
  )
}

function isFieldName(value: unknown): value is string {
  return typeof value === "string" && /^[A-Za-z0-9-]{1,64}$/.test(value)
}

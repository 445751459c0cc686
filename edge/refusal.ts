/**
 * The bytes of a refusal by the edge: the same problem documents as the Worker's, for the faults that never reach it.
 * Pure; written to a response by `edge/server.ts`, or to the bare socket where Node has no response object.
 */
import { STATUS_CODES } from "node:http"
import { createProblem, PROBLEM_FIELDS, PROBLEMS, type ProblemCode } from "../src/core/problem.ts"
import { METHODS } from "../src/core/route/route.ts"

/** A complete refusal. `fields` holds names and values in turn and says `Connection: close` when the connection ends. */
export interface Refusal {
  readonly code: ProblemCode
  readonly requestId: string
  readonly status: number
  readonly fields: readonly string[]
  readonly body: string
}

/** What a refusal may add to its row of the problem table. */
export interface RefusalOptions {
  readonly status?: number
  readonly retryAfterSeconds?: number
  readonly isLast: boolean
}

/** Returns the refusal for a code. A 405 names the methods any route may have; which of them one has is the Worker's word. */
export function createRefusal(code: ProblemCode, requestId: string, options: RefusalOptions): Refusal {
  const status = options.status ?? PROBLEMS[code].status
  const body = JSON.stringify({ ...createProblem(code, requestId), status })
  const fields = [
    ...PROBLEM_FIELDS.flat(),
    "Content-Length",
    String(Buffer.byteLength(body)),
    "X-Request-Id",
    requestId,
    ...(status === 405 ? ["Allow", METHODS.join(", ")] : []),
    ...(options.retryAfterSeconds === undefined ? [] : ["Retry-After", String(options.retryAfterSeconds)]),
    ...(options.isLast ? ["Connection", "close"] : []),
  ]
  return { code, requestId, status, fields, body }
}

/** Returns the refusal as an HTTP/1.1 message. `nowMs` becomes the Date field. */
export function formatRefusal(refusal: Refusal, nowMs: number): string {
  let head = `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status] ?? ""}\r\nDate: ${new Date(nowMs).toUTCString()}\r\n`
  for (let i = 0; i < refusal.fields.length; i += 2) head += `${refusal.fields[i]}: ${refusal.fields[i + 1]}\r\n`
  return `${head}\r\n${refusal.body}`
}

/**
 * The refusals of the sample bank: RFC 9457 problems under the bank's own name, so that a reader of an answer sees at once
 * whether the bank or the gateway in front of it refused.
 */
import type { ServerResponse } from "node:http"
import type { PaymentRefusal } from "./ledger.ts"

interface ProblemRow {
  readonly status: number
  readonly title: string
}

const PROBLEMS = {
  "malformed-json": { status: 400, title: "The body is not JSON" },
  "parameter-invalid": { status: 400, title: "A query parameter has no acceptable value" },
  "assertion-missing": { status: 401, title: "The request brings no proof that it came through the gateway" },
  "assertion-invalid": { status: 401, title: "The proof that the request came through the gateway does not hold" },
  "client-missing": { status: 401, title: "The request names no client" },
  "login-failed": { status: 401, title: "User and PIN do not belong together" },
  "not-found": { status: 404, title: "There is nothing here" },
  "no-account": { status: 404, title: "The client has no account" },
  "method-not-allowed": { status: 405, title: "This resource does not take this method" },
  "insufficient-funds": { status: 409, title: "The account does not hold enough" },
  "payment-id-reused": { status: 409, title: "Another payment was made under this id" },
  "body-too-large": { status: 413, title: "The body is too large" },
  "media-type-unsupported": { status: 415, title: "The body has to be application/json" },
  "login-invalid": { status: 422, title: "The login is not acceptable" },
  "payment-invalid": { status: 422, title: "The payment is not acceptable" },
  "payee-unknown": { status: 422, title: "The account to pay to does not exist" },
  "same-account": { status: 422, title: "An account cannot pay itself" },
  "currency-mismatch": { status: 422, title: "Both accounts and the payment need the same currency" },
  "internal-error": { status: 500, title: "The bank failed to handle the request" },
  "assertion-unverifiable": { status: 503, title: "The proof of the gateway cannot be verified at the moment" },
} as const satisfies Readonly<Record<PaymentRefusal, ProblemRow>> & Readonly<Record<string, ProblemRow>>

/** A stable code, also the end of the problem's type. */
export type ProblemCode = keyof typeof PROBLEMS

/** Sends a problem and closes the matter. `members` become extension members of the body. @see RFC 9457 §3.2 */
export function sendProblem(
  response: ServerResponse,
  code: ProblemCode,
  members: Readonly<Record<string, unknown>> = {},
  fields: Readonly<Record<string, string>> = {},
): void {
  const { status, title } = PROBLEMS[code]
  const body = JSON.stringify({ type: `urn:sample-bank:problem:${code}`, title, status, code, ...members })
  response.writeHead(status, { ...fields, "Content-Type": "application/problem+json", "Cache-Control": "no-store" })
  response.end(body)
}

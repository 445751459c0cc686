/**
 * The resources of the sample bank: one table of method, path and handler. Each handler turns a request into a question to
 * the ledger and the answer into bytes; the rules are in `ledger.ts`. Besides the bank's business there are four
 * resources for looking at a gateway: `/echo`, `/slow`, `/failing` and `/error`.
 */
import { createHash, randomBytes, randomUUID } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import { pipeline } from "node:stream/promises"
import { type Account, accountFor, decidePayment, defaultAccountFor, type LedgerStore, type Payment } from "./ledger.ts"
import { isLoginRight, parseLogin } from "./login.ts"
import { parsePaymentOrder } from "./payment-order.ts"
import { sendProblem } from "./problem.ts"
import { readBody } from "../read-body.ts"

/** What a handler works with. */
export interface Visit {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** The calling client, as the gateway says. */
  readonly client: string
  /** What stands in the place of `{id}` in the path; empty where the path has none. */
  readonly id: string
  readonly query: URLSearchParams
  readonly store: LedgerStore
  readonly now: () => number
}

/** A resource. `method` "*" is any; a GET handler also answers HEAD, whose body Node leaves out. */
export interface Route {
  readonly method: "GET" | "POST" | "*"
  readonly path: RegExp
  readonly handle: (visit: Visit) => void | Promise<void>
}

/** Largest body of a payment or a login in octets. */
const BODY_BYTES_MAX = 16_384
/** Octets of randomness in the id of a session. */
const SESSION_ID_BYTES = 24
/** Default and longest delay of `/slow`, in ms. */
const SLOW_MS_DEFAULT = 1_000
const SLOW_MS_MAX = 60_000

/** Every resource of the bank. No two paths overlap, so the order means nothing. */
export const ROUTES: readonly Route[] = [
  { method: "GET", path: /^\/accounts$/, handle: listAccounts },
  { method: "GET", path: /^\/accounts\/(?<id>[A-Za-z0-9-]+)\/balance$/, handle: showBalance },
  { method: "GET", path: /^\/accounts\/(?<id>[A-Za-z0-9-]+)\/statements$/, handle: streamStatements },
  { method: "GET", path: /^\/balance$/, handle: showDefaultBalance },
  { method: "POST", path: /^\/login$/, handle: logIn },
  { method: "POST", path: /^\/payments$/, handle: makePayment },
  { method: "GET", path: /^\/transfers$/, handle: listTransfers },
  { method: "GET", path: /^\/slow$/, handle: answerSlowly },
  { method: "GET", path: /^\/failing$/, handle: breakConnection },
  { method: "GET", path: /^\/error$/, handle: ({ response }) => sendProblem(response, "internal-error") },
  { method: "*", path: /^\/echo$/, handle: echo },
]

function listAccounts({ response, store, client }: Visit): void {
  sendJson(response, 200, { accounts: store.accountsOf(client).map(describeAccount) })
}

function showBalance({ response, store, client, id }: Visit): void {
  const account = accountFor(store, client, id)
  if (account === undefined) return sendProblem(response, "not-found")
  sendJson(response, 200, describeBalance(account))
}

function showDefaultBalance({ response, store, client }: Visit): void {
  const account = defaultAccountFor(store, client)
  if (account === undefined) return sendProblem(response, "no-account")
  sendJson(response, 200, describeBalance(account))
}

/** Streams one JSON object a line, no faster than the reader takes them: a long statement never lies in memory. */
async function streamStatements({ request, response, store, client, id }: Visit): Promise<void> {
  const account = accountFor(store, client, id)
  if (account === undefined) return sendProblem(response, "not-found")
  response.writeHead(200, { "Content-Type": "application/x-ndjson", "Cache-Control": "no-store" })
  await pipeline(request.method === "HEAD" ? [] : statementLines(store, account), response)
}

function* statementLines(store: LedgerStore, account: Account): Generator<string> {
  for (const { bookedAtMs, paymentId, ...entry } of store.entriesOf(account.id)) {
    const line = { booked_at: new Date(bookedAtMs).toISOString(), payment_id: paymentId, ...entry }
    yield JSON.stringify(line) + "\n"
  }
}

/** Makes a payment: 201, or 200 when this payment id had been used for the same payment before. */
async function makePayment(visit: Visit): Promise<void> {
  const { response, store, client, now } = visit
  const value = await readJson(visit)
  if (value === undefined) return
  const order = parsePaymentOrder(value.json, randomUUID())
  if ("length" in order) return sendProblem(response, "payment-invalid", { errors: order })
  const decision = decidePayment(store, client, order, now())
  if (decision.kind === "refused") return sendProblem(response, decision.refusal)
  if (decision.kind === "repeated") return sendJson(response, 200, describePayment(decision.payment))
  store.book(decision.booking)
  sendJson(response, 201, describePayment(decision.booking.payment))
}

/** Lists what was booked on the client's accounts. */
function listTransfers({ response, store, client }: Visit): void {
  const transfers = store.accountsOf(client).flatMap((account) =>
    Array.from(store.entriesOf(account.id), ({ bookedAtMs, paymentId, ...entry }) => ({
      account: account.id,
      booked_at: new Date(bookedAtMs).toISOString(),
      payment_id: paymentId,
      ...entry,
    })),
  )
  sendJson(response, 200, { transfers })
}

/** Opens a session for a user and its PIN: 200, else 401 and nothing about which of the two was wrong. */
async function logIn(visit: Visit): Promise<void> {
  const { response } = visit
  const value = await readJson(visit)
  if (value === undefined) return
  const login = parseLogin(value.json)
  if ("length" in login) return sendProblem(response, "login-invalid", { errors: login })
  if (!isLoginRight(login)) return sendProblem(response, "login-failed")
  sendJson(response, 200, { user: login.user, session: randomBytes(SESSION_ID_BYTES).toString("base64url") })
}

/** Answers after `?ms=`; a caller that leaves before takes the timer along. */
function answerSlowly({ response, query }: Visit): void {
  const text = query.get("ms") ?? String(SLOW_MS_DEFAULT)
  const delayMs = /^[0-9]{1,5}$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY
  if (delayMs > SLOW_MS_MAX) {
    return sendProblem(response, "parameter-invalid", { detail: `ms is an integer from 0 to ${SLOW_MS_MAX}` })
  }
  const timer = setTimeout(() => sendJson(response, 200, { slept_ms: delayMs }), delayMs)
  response.on("close", () => clearTimeout(timer))
}

/** Resets the connection: before anything is answered, or with `?after=headers` in the middle of the body. */
function breakConnection({ request, response, query }: Visit): void {
  if (query.get("after") !== "headers") {
    request.socket.resetAndDestroy()
    return
  }
  response.writeHead(200, { "Content-Type": "application/json", "Content-Length": "100" })
  response.write('{"unfinished":', () => request.socket.resetAndDestroy())
}

/** Shows the request as it arrived here, every header field in its place: what did the gateway make of it? */
async function echo({ request, response }: Visit): Promise<void> {
  const digest = createHash("sha256")
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    digest.update(chunk)
    bytes += chunk.length
  }
  const { rawHeaders } = request
  const headers = rawHeaders.flatMap((name, index) => (index % 2 === 0 ? [[name, rawHeaders[index + 1]]] : []))
  const body = { bytes, sha256: digest.digest("hex") }
  sendJson(response, 200, { method: request.method, target: request.url, headers, body })
}

function describeAccount({ id, name, currency }: Account) {
  return { id, name, currency }
}

function describeBalance({ id, currency, balance }: Account) {
  return { account: id, balance, currency }
}

function describePayment({ id, bookedAtMs, from, to, amount, currency, reference }: Payment) {
  return { id, status: "booked", booked_at: new Date(bookedAtMs).toISOString(), from, to, amount, currency, reference }
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = JSON.stringify(value) + "\n"
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": String(Buffer.byteLength(body)),
    "Cache-Control": "no-store",
  })
  response.end(body)
}

/** Returns the JSON value of the body in an object; undefined once a request without one is refused. */
async function readJson({ request, response }: Visit): Promise<{ readonly json: unknown } | undefined> {
  const mediaType = request.headers["content-type"]?.split(";", 1)[0]?.trim().toLowerCase()
  if (mediaType !== "application/json") {
    sendProblem(response, "media-type-unsupported")
    return undefined
  }
  const body = await readBody(request, BODY_BYTES_MAX)
  if (body === undefined) {
    sendProblem(response, "body-too-large", { limit: BODY_BYTES_MAX }, { Connection: "close" })
    return undefined
  }
  const value = parseJson(body)
  if (value === undefined) sendProblem(response, "malformed-json")
  return value
}

/** The value stands in an object, so that JSON `null` and no JSON differ. */
function parseJson(octets: Buffer): { readonly json: unknown } | undefined {
  try {
    return { json: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(octets)) }
  } catch {
    return undefined
  }
}

/**
 * Stage `idempotency`: on routes with keys, a request under a key reaches the origin once, and its repeats get the first answer.
 *
 * The key is reserved, durably, before anything is sent, and settled before the answer leaves; what becomes of it is decided by
 * `core/idempotency/idempotency-ledger.ts` at the ledger of the client. When it is not known what the ledger says, the origin is not called,
 * and an answer that could not be recorded is not given: nobody is told what he would not be told again. A caller that leaves
 * changes nothing: the exchange goes on to its end.
 */
import type { MessageRules, RouteAction, RouteIdempotency } from "../config/config.ts"
import { required, type Gateway, type GatewayContext, type RecordIdentity, type StageHandler } from "../context.ts"
import {
  IDEMPOTENCY_ANSWER_TIMEOUT_MS,
  IDEMPOTENCY_ATTEMPT_MARGIN_MS,
  IDEMPOTENCY_REQUEST_BYTES_MAX,
} from "../core/bounds.ts"
import { formatHex } from "../core/hex.ts"
import { isSafeMethod, readIdempotencyKey, type KeyedRequest } from "../core/idempotency/idempotency-key.ts"
import type { IdempotencyOutcome, ReserveDecision, Settlement } from "../core/idempotency/idempotency-ledger.ts"
import { formatRetryAfter } from "../core/limit/ratelimit-fields.ts"
import { meaningOf } from "../core/idempotency/stored-answer.ts"
import { sha256Hex } from "../digest.ts"
import { holdAnswer, unpackAnswer } from "../idempotency/answer.ts"
import { createLedger, placeOf, type LedgerPlace } from "../idempotency/ledger.ts"
import { readRequestBody, type BodyResult } from "../idempotency/request-body.ts"
import { decideRequestCors, setCorsFields } from "../origin/cors.ts"
import { refuse, refuseUnavailable } from "../reply.ts"

type ForwardAction = Extract<RouteAction, { readonly kind: "forward" }>

/** A request that takes part. */
interface Keyed {
  readonly action: ForwardAction
  readonly terms: RouteIdempotency
  readonly place: LedgerPlace
  readonly identities: readonly RecordIdentity[]
}

/** Returns the stage. */
export function createIdempotencyStage(gateway: Gateway): StageHandler {
  const { fillRandom, recordKeys } = gateway
  const ledger = createLedger(gateway)

  return function idempotency(c, next) {
    const { action } = required(c.get("exchange").route, "route")
    const request = c.req.raw
    if (action.kind !== "forward" || action.idempotency === undefined || isSafeMethod(request.method)) return next()
    // A page that may not use the route gets no answer of it, also no earlier one; the origin stage says so.
    const { cors } = action.messages
    if (cors !== undefined && decideRequestCors(cors, request).kind === "refused") return next()
    const { field, isRequired, isUnquoted } = action.idempotency
    const read = readIdempotencyKey(request.headers.get(field), isUnquoted)
    switch (read.kind) {
      case "missing":
        return isRequired ? refuse(c, "idempotency-key-required", { reason: "idempotency_key_missing" }) : next()
      case "invalid":
        return refuse(c, "idempotency-key-invalid", { reason: `idempotency_key_${read.reason}` })
      case "key":
        return once(c, action, action.idempotency, read.key, next)
    }
  }

  async function once(
    c: GatewayContext,
    action: ForwardAction,
    terms: RouteIdempotency,
    key: string,
    next: () => Promise<void>,
  ): Promise<Response | void> {
    const exchange = c.get("exchange")
    const bytesMax = Math.min(action.messages.requestBytesMax, IDEMPOTENCY_REQUEST_BYTES_MAX)
    const body = await readRequestBody(c.req.raw, bytesMax)
    if (!body.ok) return refuseBody(c, body)
    if (body.octets !== undefined) exchange.body = body.octets
    const keyed = describe(c, key, await sha256Hex(body.octets ?? new Uint8Array()))
    const identified = await required(recordKeys, "recordKeys").identify(keyed)
    if (!identified.ok) return refuseUnavailable(c, identified.reason)
    const { identities } = identified
    const place = await placeOf(keyed, formatHex(fillRandom(new Uint8Array(16))))
    const asked = await ledger.reserve(c, place, identities, {
      attemptMs: action.origin.timeoutMs + IDEMPOTENCY_ANSWER_TIMEOUT_MS + IDEMPOTENCY_ATTEMPT_MARGIN_MS,
      ttlMs: terms.ttlMs,
      isOriginIdempotent: terms.isOriginIdempotent,
    })
    if ("failure" in asked) {
      const { isOverloaded, reason } = asked.failure
      // It may have been reserved all the same; nothing was sent, so the key need not be lost for that.
      const [first] = identities
      if (first !== undefined && !isOverloaded)
        c.executionCtx.waitUntil(ledger.settle(c, place, first.key, { kind: "released" }))
      return refuseUnavailable(c, `idempotency_${reason}`, { isOverloaded })
    }
    return follow(c, { action, terms, place, identities }, asked.answer, next)
  }

  /** Does what the ledger has decided. */
  async function follow(
    c: GatewayContext,
    keyed: Keyed,
    decision: ReserveDecision,
    next: () => Promise<void>,
  ): Promise<Response | void> {
    switch (decision.kind) {
      case "proceed":
        return attempt(c, keyed, identityOf(keyed, decision.key), next)
      case "replay":
        return replay(c, keyed, identityOf(keyed, decision.key), decision.answer)
      case "not-replayable":
        note(c, "not-replayable")
        return refuse(c, "idempotency-response-not-replayable", { reason: "idempotency_answer_not_kept" })
      case "in-progress":
        note(c, "in-progress")
        return refuse(c, "idempotency-in-progress", {
          reason: "idempotency_in_progress",
          fields: [["Retry-After", formatRetryAfter(decision.retryAfterMs)]],
        })
      case "mismatch":
        note(c, "mismatch")
        return refuse(c, "idempotency-key-reused", { reason: "idempotency_other_request" })
      case "indeterminate":
        return refuseIndeterminate(c, decision.reason)
      case "full":
        return refuseUnavailable(c, "idempotency_ledger_full")
    }
  }

  /** Lets the request through and records its end before anybody hears of it. */
  async function attempt(
    c: GatewayContext,
    { place }: Keyed,
    identity: RecordIdentity,
    next: () => Promise<void>,
  ): Promise<Response | void> {
    const exchange = c.get("exchange")
    note(c, "reserved")
    const settle = async (settlement: Settlement, outcome: IdempotencyOutcome): Promise<string | undefined> => {
      const asked = await ledger.settle(c, place, identity.key, settlement)
      if ("failure" in asked) return asked.failure.reason
      if (!asked.answer) return "attempt_overtaken"
      note(c, outcome)
      return undefined
    }
    await next()
    const isSent = (exchange.originAttempts ?? 0) > 0
    const meaning =
      isSent && exchange.outcome === "forwarded" ? meaningOf(c.res.status) : isSent ? "unknown" : "not-done"
    if (meaning !== "final") {
      // Should this not be heard, the deadline of the attempt says the same: nobody knows. The answer promises nothing.
      if (meaning === "unknown") await settle({ kind: "indeterminate" }, "indeterminate")
      else await settle({ kind: "released" }, "released")
      return undefined
    }
    const held = await holdAnswer(c.res)
    if (held.kind === "broken") {
      await settle({ kind: "indeterminate" }, "indeterminate")
      return replaceBy(c, refuse(c, "origin-invalid-response", { reason: `broken_off ${held.reason}` }))
    }
    if (held.kind === "streaming") c.executionCtx.waitUntil(held.delivered)
    const failure =
      held.kind === "streaming"
        ? await settle({ kind: "completed", answer: null }, "not-replayable")
        : await settle(
            { kind: "completed", answer: await required(recordKeys, "recordKeys").seal(held.octets, identity) },
            "completed",
          )
    if (failure === undefined) return replaceBy(c, held.response)
    void held.response.body?.cancel().catch(() => {})
    return replaceBy(c, refuseUnavailable(c, `idempotency_unrecorded ${failure}`))
  }

  /** Gives a repeat the answer of the first request. */
  async function replay(
    c: GatewayContext,
    { action }: Keyed,
    identity: RecordIdentity,
    answer: string,
  ): Promise<Response> {
    const packed = await required(recordKeys, "recordKeys").open(answer, identity)
    const response = packed && unpackAnswer(packed, action.messages)
    if (response === undefined) return refuseIndeterminate(c, "record_not_opened")
    note(c, "replayed")
    c.get("exchange").outcome = "answered"
    setCors(c, action.messages, response)
    return response
  }
}

function note(c: GatewayContext, outcome: IdempotencyOutcome): void {
  c.get("exchange").idempotency = outcome
}

/** Puts an answer in the place of the one that the next stage has given; the fields of that one go with it. */
function replaceBy(c: GatewayContext, response: Response): void {
  c.res = undefined
  c.res = response
}

function identityOf({ identities }: Keyed, key: string): RecordIdentity {
  return required(
    identities.find((identity) => identity.key === key),
    "identity of the key",
  )
}

function describe(c: GatewayContext, key: string, bodyDigest: string): KeyedRequest {
  const { client, host, path, query, route } = c.get("exchange")
  return {
    clientId: required(client, "client").id,
    route: required(route, "route").label,
    key,
    method: c.req.raw.method,
    host: required(host, "host"),
    path: required(path, "path"),
    query: query ?? "",
    contentType: c.req.raw.headers.get("content-type"),
    bodyDigest,
  }
}

function setCors(c: GatewayContext, { cors }: MessageRules, response: Response): void {
  if (cors !== undefined) setCorsFields(response.headers, decideRequestCors(cors, c.req.raw))
}

function refuseBody(c: GatewayContext, { reason }: Extract<BodyResult, { readonly ok: false }>): Response {
  if (reason === "late" || reason === "broken_off") return refuse(c, "request-timeout", { reason: `body_${reason}` })
  return refuse(c, "body-too-large", { reason })
}

function refuseIndeterminate(c: GatewayContext, reason: string): Response {
  note(c, "indeterminate")
  return refuse(c, "idempotency-indeterminate", { reason: `idempotency_${reason}` })
}

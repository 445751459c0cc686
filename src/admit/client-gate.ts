/**
 * Stage `client-gate`: whether a client's limits and guards let a request pass, and what its outcome tells the guards.
 *
 * Decided by tokens that the client's object has lent this isolate (`client-leases.ts`), or else by the object itself, by
 * the rules of `core/client-gate.ts`; when it is not known what the object says, the request is refused. A place among the
 * requests in progress is given back when the answer has reached the caller; should that fail, it ends by itself.
 */
import { createClientLeases, type LeaseSubject } from "../gate/client-leases.ts"
import type { ClientObjects, ObjectFailure } from "../gate/client-object.ts"
import type { ConfiguredClient, Guard, Route } from "../config/config.ts"
import { required, type Gateway, type GatewayContext, type StageHandler } from "../context.ts"
import { LEASE_HOLDERS_PER_ISOLATE_MAX } from "../core/bounds.ts"
import type { GateDecision } from "../core/client-gate.ts"
import { parseConnection } from "../core/forwarding.ts"
import type { GuardStanding } from "../core/gate-guards.ts"
import { demandOf, isLendableGuard, planGate, type GatePlan } from "../core/gate-plan.ts"
import { keyedObjectName, keyedSubject } from "../core/gate-subject.ts"
import { verdictOfDecision, type GateRefusal, type GateVerdict } from "../core/gate-verdict.ts"
import { formatHex } from "../core/hex.ts"
import type { NamedLimit } from "../core/limit.ts"
import type { ProblemCode } from "../core/problem.ts"
import {
  formatLegacyFields,
  formatRateLimit,
  formatRateLimitPolicy,
  formatRateLimitShadow,
  formatRetryAfter,
} from "../core/ratelimit-fields.ts"
import { HOLDS, type Standing } from "../core/websocket.ts"
import { sha256Hex } from "../digest.ts"
import { tellGuards, type PassedGuard } from "../gate/guard-outcomes.ts"
import { refuse, refuseUnavailable } from "../reply.ts"
import { createStoppedCounter } from "../gate/stopped-counts.ts"

/** What is refused, by the kind of the limit that decides how long. */
const CODES: Readonly<Record<NamedLimit["kind"], ProblemCode>> = {
  bucket: "rate-limited",
  quota: "quota-exceeded",
  concurrency: "concurrency-exceeded",
}

/** A block that is refused from memory until it has to be asked for again. */
interface Blocked {
  readonly verdict: GateVerdict
  readonly atMs: number
  /** From then on one request asks, so that not all of them have to when the time is over. */
  readonly askMs: number
  readonly untilMs: number
  isAsked: boolean
}

const BLOCK_ASK_RATIO = 0.9

/** What one client meets on one route, worked out once. */
interface Gate extends GatePlan {
  readonly subject: LeaseSubject
}

/** Returns the stage. */
export function createClientGateStage(gateway: Gateway, objects: ClientObjects): StageHandler {
  const { config, fillRandom, nowMs, originHealth } = gateway
  const leases = createClientLeases(gateway, objects)
  const stopped = createStoppedCounter(gateway, objects)
  const blocked = new Map<string, Blocked>()
  const gateOf = createGateCache()
  const mintId = (): string => formatHex(fillRandom(new Uint8Array(16)))

  return async function clientGate(c, next) {
    const { exchange } = c.var
    if (exchange.client === undefined) return next()
    const route = required(exchange.route, "route")
    const { client } = exchange
    await pass(c, route, client, next)
    if (exchange.outcome === "refused" && exchange.problem !== undefined) stopped.add(c, client.id, exchange.problem)
    return undefined
  }

  async function pass(
    c: GatewayContext,
    route: Route,
    client: ConfiguredClient,
    next: () => Promise<void>,
  ): Promise<void> {
    const { exchange } = c.var
    const gate = gateOf(route, client)
    // Minted here: under ids that callers may choose, all their requests would share one place and one outcome.
    const id = gate.isLent && gate.own.length + gate.keyed.length === 0 ? "" : mintId()
    const isSoft = noteHealth(c, route) && route.isSoft
    // Past its limits a client is told so from memory, without a word to its guards: a request that passes all the same asks.
    const isLent = gate.isLent && (!isSoft || gate.own.length === 0)
    const asked = isLent
      ? await leases.decide(c, gate.subject, route.cost)
      : await askObject(c, isSoft ? softened(gate) : gate, { id, cost: route.cost })
    const verdict = isSoft ? soften(gate, asked) : asked
    exchange.gate = verdict
    const passed = verdict.standings.flatMap((standing) => {
      const guard = gate.own.find(({ name }) => name === standing.name)
      return guard === undefined ? [] : [passedGuard(guard, gate.subject, standing)]
    })
    const refusal = verdict.refusal ?? (await askKeyed(c, gate, { id, clientId: client.id }, passed))
    const holdsPlace = gate.takesPlace && asked.refusal === undefined
    const giveBack = (): void =>
      c.executionCtx.waitUntil(objects.call(c, client.id, async (object) => object.release(id)))
    if (refusal !== undefined) {
      c.res = refuseBy(c, route, refusal)
      exchange.gate = { ...verdict, refusal }
      if (holdsPlace || mayHoldPlace(gate, refusal)) giveBack()
    } else {
      const everyMs = holdsPlace ? renewalMs(gate) : undefined
      const held = isSoft ? [] : gate.limits.filter(isHeldPlace).map(({ name }) => name)
      const ask = (): Promise<Standing> => recheck(c, gate, holdsPlace ? id : null, held, passed)
      exchange.rechecks?.push(everyMs === undefined ? { ask } : { ask, everyMs })
      if (holdsPlace) await hold(c, next, giveBack)
      else await next()
    }
    if (passed.length > 0) await tellGuards(c, objects, id, passed, refusal !== undefined)
    // An origin's word to a guard is not for the caller.
    for (const { outcomes } of route.guards) {
      if (outcomes.verdictHeader !== null) c.res.headers.delete(outcomes.verdictHeader)
    }
    setFields(c, verdict, config.hasLegacyFields)
  }

  async function askObject(
    c: GatewayContext,
    gate: Gate,
    { id, cost }: { readonly id: string; readonly cost: number },
  ): Promise<GateVerdict> {
    const { objectName, key, limits, guards } = gate.subject
    const now = nowMs()
    const known = blocked.get(key)
    if (known !== undefined && now < known.untilMs) {
      if (known.isAsked || now < known.askMs) return later(known.verdict, now - known.atMs)
      known.isAsked = true
    }
    const place = gate.takesPlace ? { leaseId: id } : {}
    const asked = await objects.call(c, objectName, async (object): Promise<GateDecision> =>
      object.admit({ limits, guards, cost, admissionId: id, ...place }),
    )
    if ("failure" in asked) return unavailable(asked.failure)
    const verdict = verdictOfDecision(asked.answer)
    const cacheForMs = asked.answer.block?.cacheForMs ?? 0
    if (cacheForMs > 0) {
      if (blocked.size >= LEASE_HOLDERS_PER_ISOLATE_MAX) blocked.clear()
      const atMs = nowMs()
      const askMs = atMs + BLOCK_ASK_RATIO * cacheForMs
      blocked.set(key, {
        verdict: { ...verdict, decidedBy: "local" },
        atMs,
        askMs,
        untilMs: atMs + cacheForMs,
        isAsked: false,
      })
    } else blocked.delete(key)
    return verdict
  }

  function passedGuard(guard: Guard, subject: LeaseSubject, standing: GuardStanding): PassedGuard {
    const { objectName } = subject
    return { guard, objectName, standing, dropLease: () => leases.drop(objectName) }
  }

  /** Asks guards of other keys, each at an object of its own; the first that refuses decides. */
  async function askKeyed(
    c: GatewayContext,
    gate: Gate,
    { id, clientId }: { readonly id: string; readonly clientId: string },
    passed: PassedGuard[],
  ): Promise<GateRefusal | undefined> {
    for (const guard of gate.keyed) {
      const subject = await keyedSubjectOf(c, guard, clientId)
      const verdict = isLendableGuard(guard)
        ? await leases.decide(c, subject, 1)
        : await askObject(c, { ...gate, subject, takesPlace: false }, { id, cost: 1 })
      if (verdict.refusal !== undefined) return verdict.refusal
      const [standing] = verdict.standings
      if (standing !== undefined) passed.push(passedGuard(guard, subject, standing))
    }
    return undefined
  }

  /**
   * Asks the objects again for a request that became a WebSocket: whether a guard that let it pass is open by now, and whether
   * its places, which are extended by asking, are still its own.
   */
  async function recheck(
    c: GatewayContext,
    gate: Gate,
    leaseId: string | null,
    held: readonly string[],
    passed: readonly PassedGuard[],
  ): Promise<Standing> {
    const { objectName, limits, guards } = gate.subject
    const own = await objects.call(c, objectName, async (object) => object.renew(leaseId, { limits, guards }))
    if ("failure" in own) return { kind: "unknown", reason: own.failure.reason }
    if (own.answer.openGuard !== null) return { kind: "ended", reason: `guard_open ${own.answer.openGuard}` }
    const lost = leaseId === null ? undefined : held.find((name) => !own.answer.renewed.includes(name))
    if (lost !== undefined) return { kind: "place_lost", reason: `place_lost ${lost}` }
    for (const { guard, objectName: name } of passed.filter(({ guard: { key } }) => key.kind !== "client")) {
      const terms = { limits: [], guards: [demandOf(guard)] }
      const keyed = await objects.call(c, name, async (object) => object.renew(null, terms))
      if ("failure" in keyed) return { kind: "unknown", reason: keyed.failure.reason }
      if (keyed.answer.openGuard !== null) return { kind: "ended", reason: `guard_open ${keyed.answer.openGuard}` }
    }
    return HOLDS
  }

  /** Returns whether the origin of the route answers badly too often, and puts that on the record. */
  function noteHealth(c: GatewayContext, { action }: Route): boolean {
    if (action.kind !== "forward" || !originHealth.isUnhealthy(action.origin.name, nowMs())) return false
    c.var.exchange.originUnhealthy = true
    return true
  }

  /** What an isolate holds, or asks for, of one guard of another key. */
  async function keyedSubjectOf(c: GatewayContext, guard: Guard, clientId: string): Promise<LeaseSubject> {
    const subject = keyedSubject(guard, clientId, keyValue(c, guard))
    const objectName = keyedObjectName(subject, await sha256Hex(subject.text))
    return { key: `${objectName}\n${guard.name}`, objectName, limits: [], guards: [demandOf(guard)] }
  }
}

/** Returns a function that works out what a client meets on a route once: there are as many answers as pairs of them. */
function createGateCache(): (route: Route, client: ConfiguredClient) => Gate {
  const cache = new WeakMap<Route, WeakMap<ConfiguredClient, Gate>>()
  return (route, client) => {
    const known = cache.get(route)?.get(client)
    if (known !== undefined) return known
    const plan = planGate(route.limitSets, route.guards, client)
    const names = [...plan.limits.map(({ name }) => `limit ${name}`), ...plan.own.map(({ name }) => `guard ${name}`)]
    const gate: Gate = {
      ...plan,
      // Routes with the same limits and guards share a lease; a guard may be called like a limit.
      subject: {
        key: [client.id, ...names].join("\n"),
        objectName: client.id,
        limits: plan.limits,
        guards: plan.demands,
      },
    }
    cache.set(route, (cache.get(route) ?? new WeakMap()).set(client, gate))
    return gate
  }
}

/**
 * The same, asked for a request that limits may not refuse: they count, and guards take it for one that passes. An unhealthy
 * origin's clients repeat what it failed at, and 429s help nobody then.
 */
function softened(gate: Gate): Gate {
  const limits = gate.limits.map((limit): NamedLimit => ({ ...limit, mode: "shadow" }))
  return { ...gate, limits, subject: { ...gate.subject, limits } }
}

/** The verdict on such a request: what limits would have refused is named apart from what those in shadow mode would have. */
function soften({ limits }: Gate, verdict: GateVerdict): GateVerdict {
  const { refusal, shadowed } = verdict
  if (refusal?.kind === "limit") return { ...verdict, refusal: undefined, softened: refusal.violated }
  const isShadow = (name: string): boolean => limits.some((limit) => limit.name === name && limit.mode === "shadow")
  return { ...verdict, shadowed: shadowed.filter(isShadow), softened: shadowed.filter((name) => !isShadow(name)) }
}

/** The value that a guard of another key counts for. A field that ends at the gateway is none: the origin never sees it. */
function keyValue(c: GatewayContext, { key }: Guard): string | null {
  const { headers } = c.req.raw
  if (key.kind !== "header") return headers.get("cf-connecting-ip")
  return parseConnection(headers.get("connection")).has(key.name) ? null : headers.get(key.name)
}

/** A refusal that is remembered, some time later. */
function later(verdict: GateVerdict, elapsedMs: number): GateVerdict {
  const { refusal } = verdict
  if (refusal?.kind !== "blocked" || refusal.retryAfterMs === null) return verdict
  return { ...verdict, refusal: { ...refusal, retryAfterMs: Math.max(1, refusal.retryAfterMs - elapsedMs) } }
}

function unavailable({ reason, isOverloaded }: ObjectFailure): GateVerdict {
  return {
    decidedBy: "asked",
    policies: [],
    shadowed: [],
    softened: [],
    standings: [],
    refusal: { kind: "unavailable", reason, isOverloaded },
  }
}

/** Whether the object may have admitted before its answer was lost. One that is overloaded has not, and is left alone. */
function mayHoldPlace(gate: Gate, refusal: GateRefusal): boolean {
  return gate.takesPlace && refusal.kind === "unavailable" && !refusal.isOverloaded
}

/** A place that the request was refused without. One of a limit in shadow mode it may have passed without. */
function isHeldPlace({ kind, mode }: NamedLimit): boolean {
  return kind === "concurrency" && mode !== "shadow"
}

/** How often the places of a request that goes on are extended, in ms: two calls may fail before one ends. */
function renewalMs({ limits }: Gate): number {
  const times = limits.flatMap((limit) => (limit.kind === "concurrency" ? [limit.leaseTtlMs] : []))
  return Math.max(1, Math.floor(Math.min(...times) / 3))
}

/**
 * Lets the request go on, and calls `release` exactly once: when its answer has been delivered or never will be, or when the
 * WebSocket that it became is closed.
 */
async function hold(c: GatewayContext, next: () => Promise<void>, release: () => void): Promise<void> {
  let isHeld = true
  const releaseOnce = (): void => {
    if (isHeld) release()
    isHeld = false
  }
  const caller = c.req.raw.signal
  caller.addEventListener(
    "abort",
    () => {
      // A socket may still be closing; it tells by itself when it has.
      if (c.var.exchange.socket === undefined) releaseOnce()
    },
    { once: true },
  )
  let isStreaming = false
  try {
    await next()
    const { socket } = c.var.exchange
    if (socket !== undefined) {
      isStreaming = true
      c.executionCtx.waitUntil(socket.closed.then(releaseOnce))
      return
    }
    // What the gateway answers by itself is written at once. Of HEAD there is nothing to deliver.
    const { body, headers, status, statusText } = c.res
    if (c.var.exchange.outcome !== "forwarded" || body === null || c.req.raw.method === "HEAD") return
    const { readable, writable } = createPassage(headers)
    // The octets are the origin's own: what it encoded is not encoded again.
    const answer = new Response(readable, { headers, status, statusText, encodeBody: "manual" })
    // Hono merges a second answer into the first one; this one is the first with another body.
    c.res = undefined
    c.res = answer
    isStreaming = true
    const delivered = body.pipeTo(writable).then(releaseOnce, releaseOnce)
    // Without this the platform would drop the pipe with the caller, and nobody would be told.
    c.executionCtx.waitUntil(delivered)
  } finally {
    if (!isStreaming || (caller.aborted && c.var.exchange.socket === undefined)) releaseOnce()
  }
}

/** Returns a stream that hands octets on as they are. A length that the origin announced stays announced. */
function createPassage(headers: Headers): TransformStream<Uint8Array, Uint8Array> {
  const length = headers.get("content-length") ?? ""
  return /^[0-9]{1,15}$/.test(length) ? new FixedLengthStream(Number(length)) : new IdentityTransformStream()
}

function refuseBy(c: GatewayContext, route: Route, refusal: GateRefusal): Response {
  const retryAfter = (ms: number | null): readonly (readonly [string, string])[] =>
    ms === null ? [] : [["Retry-After", formatRetryAfter(ms)]]
  switch (refusal.kind) {
    case "limit":
      return refuse(c, CODES[refusal.refusedBy], {
        reason: refusal.isLost ? "limit_state_lost" : "limit",
        violatedPolicies: refusal.violated,
        fields: retryAfter(refusal.retryAfterMs),
      })
    case "blocked":
      return refuse(c, "client-blocked", {
        reason: `guard_${refusal.reason}`,
        status: route.blockedStatus,
        fields: retryAfter(refusal.retryAfterMs),
      })
    case "unavailable":
      return refuseUnavailable(c, refusal.reason, refusal.isOverloaded)
    case "fault":
      // What the object finds out of range is the gateway's own fault, not the client's.
      return refuse(c, "internal-error", { reason: refusal.reason })
  }
}

function setFields(c: GatewayContext, { policies, shadowed, softened }: GateVerdict, hasLegacyFields: boolean): void {
  const fields = {
    "RateLimit-Policy": formatRateLimitPolicy(policies),
    RateLimit: formatRateLimit(policies),
    "RateLimit-Shadow": formatRateLimitShadow([...shadowed, ...softened].toSorted()),
  }
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) c.res.headers.set(name, value)
  if (hasLegacyFields) for (const [name, value] of formatLegacyFields(policies)) c.res.headers.set(name, value)
}

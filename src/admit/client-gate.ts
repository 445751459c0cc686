/**
 * Stage `client-gate`: whether a client's limits and guards let a request pass, and what its outcome tells the guards.
 *
 * Decided by tokens that the client's object has lent this isolate (`client-leases.ts`), or else by the object itself, by
 * the rules of `core/gate/client-gate.ts`; when it is not known what the object says, the request is refused. A place among the
 * requests in progress is given back when the answer has reached the caller; should that fail, it ends by itself.
 */
import { createClientLeases, type LeaseSubject } from "../gate/client-leases.ts"
import type { ClientObjects } from "../gate/client-object.ts"
import type { ConfiguredClient, Guard, Route } from "../config/config.ts"
import { required, type Gateway, type GatewayContext, type StageHandler } from "../context.ts"
import { recallBlock, rememberBlock, type BlockMemory } from "../core/guard/block-memory.ts"
import { LEASE_HOLDERS_PER_ISOLATE_MAX } from "../core/bounds.ts"
import type { GateDecision } from "../core/gate/client-gate.ts"
import { parseConnection } from "../core/message/forwarding.ts"
import type { GuardStanding } from "../core/gate/gate-guards.ts"
import { demandOf, isLendableGuard, planGate, type GatePlan } from "../core/gate/gate-plan.ts"
import { keyedObjectName, keyedSubject } from "../core/gate/gate-subject.ts"
import { unavailableVerdict, verdictOfDecision, type GateRefusal, type GateVerdict } from "../core/gate/gate-verdict.ts"
import { formatHex } from "../core/hex.ts"
import type { NamedLimit } from "../core/limit/limit.ts"
import type { ProblemCode } from "../core/problem.ts"
import {
  formatLegacyFields,
  formatRateLimit,
  formatRateLimitPolicy,
  formatRateLimitShadow,
  formatRetryAfter,
} from "../core/limit/ratelimit-fields.ts"
import { softenLimits, softenVerdict } from "../core/gate/soft-mode.ts"
import { HOLDS, type Standing } from "../core/message/websocket.ts"
import { sha256Hex } from "../digest.ts"
import { noteGateSpan } from "../gate/gate-span.ts"
import { tellGuards, type PassedGuard } from "../gate/guard-outcomes.ts"
import { holdPlace } from "../gate/place.ts"
import { remember } from "../memory.ts"
import { refuse, refuseUnavailable } from "../reply.ts"
import { createStoppedCounter } from "../gate/stopped-counts.ts"

/** What is refused, by the kind of the limit that decides how long. */
const CODES: Readonly<Record<NamedLimit["kind"], ProblemCode>> = {
  bucket: "rate-limited",
  quota: "quota-exceeded",
  concurrency: "concurrency-exceeded",
}

/** What one client meets on one route, worked out once. */
interface Gate extends GatePlan {
  readonly subject: LeaseSubject
}

/** Returns the stage. */
export function createClientGateStage(gateway: Gateway, objects: ClientObjects): StageHandler {
  const { config, fillRandom, nowMs, originHealth } = gateway
  const leases = createClientLeases(gateway, objects)
  const stopped = createStoppedCounter(gateway, objects)
  const blocked = new Map<string, BlockMemory>()
  const gateOf = createGateCache()
  const mintId = (): string => formatHex(fillRandom(new Uint8Array(16)))

  return function clientGate(c, next) {
    const { client, route } = c.get("exchange")
    return client === undefined ? next() : pass(c, required(route, "route"), client, next)
  }

  async function pass(
    c: GatewayContext,
    route: Route,
    client: ConfiguredClient,
    next: () => Promise<void>,
  ): Promise<void> {
    const exchange = c.get("exchange")
    const gate = gateOf(route, client)
    // Minted here: under ids that callers may choose, all their requests would share one place and one outcome.
    const id = gate.isLent && gate.own.length + gate.keyed.length === 0 ? "" : mintId()
    const askedMs = nowMs()
    const isSoft = noteHealth(c, route, askedMs) && route.isSoft
    // Past its limits a client is told so from memory, without a word to its guards: a request that passes all the same asks.
    const isLent = gate.isLent && (!isSoft || gate.own.length === 0)
    const asking = isLent
      ? leases.decide(c, gate.subject, route.cost)
      : askObject(c, isSoft ? softened(gate) : gate, { id, cost: route.cost })
    // What the isolate knows by itself costs no wait.
    const asked = "then" in asking ? await asking : asking
    if (exchange.spans !== undefined) noteGateSpan(exchange.spans, asked, askedMs, nowMs())
    const verdict = isSoft ? softenVerdict(gate.limits, asked) : asked
    exchange.gate = verdict
    const passed = verdict.standings.flatMap((standing) => {
      const guard = gate.own.find(({ name }) => name === standing.name)
      return guard === undefined ? [] : [passedGuard(guard, gate.subject, standing)]
    })
    const refusal =
      verdict.refusal ??
      (gate.keyed.length === 0 ? undefined : await askKeyed(c, gate, { id, clientId: client.id }, passed))
    const holdsPlace = gate.takesPlace && asked.refusal === undefined
    const giveBack = (): void =>
      c.executionCtx.waitUntil(objects.call(c, client.id, async (object) => object.release(id)))
    if (refusal !== undefined) {
      c.res = refuseBy(c, route, refusal)
      exchange.gate = { ...verdict, refusal }
      if (holdsPlace || mayHoldPlace(gate, refusal)) giveBack()
    } else {
      const everyMs = holdsPlace ? gate.renewalMs : undefined
      const held = isSoft ? [] : gate.places
      const ask = (): Promise<Standing> => recheck(c, gate, holdsPlace ? id : null, held, passed)
      exchange.rechecks?.push(everyMs === undefined ? { ask } : { ask, everyMs })
      if (holdsPlace) await holdPlace(c, next, giveBack)
      else await next()
    }
    if (passed.length > 0) await tellGuards(c, objects, id, passed, refusal !== undefined)
    // An origin's word to a guard is not for the caller.
    for (const { outcomes } of route.guards) {
      if (outcomes.verdictHeader !== null) c.res.headers.delete(outcomes.verdictHeader)
    }
    setFields(c, verdict, config.hasLegacyFields)
    if (exchange.outcome === "refused" && exchange.problem !== undefined) stopped.add(c, client.id, exchange.problem)
  }

  async function askObject(
    c: GatewayContext,
    gate: Gate,
    { id, cost }: { readonly id: string; readonly cost: number },
  ): Promise<GateVerdict> {
    const { objectName, key, limits, guards } = gate.subject
    const known = blocked.get(key)
    if (known !== undefined) {
      const recalled = recallBlock(known, nowMs())
      if (recalled.verdict !== undefined) return recalled.verdict
      blocked.set(key, recalled.memory)
    }
    const place = gate.takesPlace ? { leaseId: id } : {}
    const asked = await objects.call(c, objectName, async (object): Promise<GateDecision> =>
      object.admit({ limits, guards, cost, admissionId: id, ...place }),
    )
    if ("failure" in asked) return unavailableVerdict(asked.failure)
    const verdict = verdictOfDecision(asked.answer)
    const cacheForMs = asked.answer.block?.cacheForMs ?? 0
    if (cacheForMs > 0)
      remember(blocked, key, rememberBlock(verdict, cacheForMs, nowMs()), LEASE_HOLDERS_PER_ISOLATE_MAX)
    else blocked.delete(key)
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
      const askedMs = nowMs()
      const verdict = isLendableGuard(guard)
        ? await leases.decide(c, subject, 1)
        : await askObject(c, { ...gate, subject, takesPlace: false }, { id, cost: 1 })
      const { spans } = c.get("exchange")
      if (spans !== undefined) noteGateSpan(spans, verdict, askedMs, nowMs())
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
  function noteHealth(c: GatewayContext, { action }: Route, atMs: number): boolean {
    if (action.kind !== "forward" || !originHealth.isUnhealthy(action.origin.name, atMs)) return false
    c.get("exchange").originUnhealthy = true
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

/** The same, asked for a request that limits may not refuse. */
function softened(gate: Gate): Gate {
  return { ...gate, subject: { ...gate.subject, limits: softenLimits(gate.limits) } }
}

/** The value that a guard of another key counts for. A field that ends at the gateway is none: the origin never sees it. */
function keyValue(c: GatewayContext, { key }: Guard): string | null {
  const { headers } = c.req.raw
  if (key.kind !== "header") return headers.get("cf-connecting-ip")
  return parseConnection(headers.get("connection")).has(key.name) ? null : headers.get(key.name)
}

/** Whether the object may have admitted before its answer was lost. One that is overloaded has not, and is left alone. */
function mayHoldPlace(gate: Gate, refusal: GateRefusal): boolean {
  return gate.takesPlace && refusal.kind === "unavailable" && !refusal.isOverloaded
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
      return refuseUnavailable(c, refusal.reason, { isOverloaded: refusal.isOverloaded })
    case "fault":
      // What the object finds out of range is the gateway's own fault, not the client's.
      return refuse(c, "internal-error", { reason: refusal.reason })
  }
}

function setFields(c: GatewayContext, { policies, shadowed, softened }: GateVerdict, hasLegacyFields: boolean): void {
  const { headers } = c.res
  const set = (name: string, value: string | undefined): void => {
    if (value !== undefined) headers.set(name, value)
  }
  set("RateLimit-Policy", formatRateLimitPolicy(policies))
  set("RateLimit", formatRateLimit(policies))
  if (shadowed.length + softened.length > 0)
    set("RateLimit-Shadow", formatRateLimitShadow([...shadowed, ...softened].toSorted()))
  if (hasLegacyFields) for (const [name, value] of formatLegacyFields(policies)) set(name, value)
}

/**
 * What an isolate does with audit trails: intents and outcomes are told at once, refusals in batches behind responses.
 *
 * A refusal must not cost a call of an object, or leases would save nothing: it waits up to `log_flush` in memory, within the
 * bounds of `core/audit/audit-backlog.ts`. What an isolate has not told when it ends is lost to the trail and on the record in events;
 * an intent without an outcome then shows it. Only refusals of clients that are known are told, because a trail belongs to a
 * client. Drafts have ids, so telling one twice is harmless, and whatever is not known to be told is told again.
 */
import { required, type Exchange, type Gateway, type GatewayContext } from "../context.ts"
import {
  addDraft,
  dropDrafts,
  EMPTY_AUDIT_BACKLOG,
  takeDrafts,
  type AuditBacklog,
} from "../core/audit/audit-backlog.ts"
import { GATEWAY_TRAIL, type AuditDraft } from "../core/audit/audit-record.ts"
import { AUDIT_BACKLOG_MAX, AUDIT_FLUSH_TRIES, AUDIT_RETRY_MS_MIN, AUDIT_TIMEOUT_MS } from "../core/bounds.ts"
import { formatInstant } from "../core/record/event.ts"
import { redactText } from "../core/record/redaction.ts"
import { decisivePolicy } from "../core/gate/gate-verdict.ts"
import { formatHex } from "../core/hex.ts"
import { rawPathOf } from "../core/route/target.ts"
import { createObjectCalls } from "../gate/object-calls.ts"

/** How long the platform lets work go on behind a response, ms. */
const BEHIND_RESPONSE_MS = 30_000

/** Why nothing is known to be on the trail. */
export interface AuditFailure {
  /** For the event. */
  readonly failure: string
  readonly isOverloaded: boolean
}

/** The audit trails as one isolate sees them. */
export interface AuditTrails {
  /** Puts the intent of the request on its client's trail. Resolves once it is durable, or why that is not known. */
  begin(c: GatewayContext): Promise<AuditFailure | { readonly kind: "begun" }>
  /** Puts the outcome there. Resolves when the answer may leave; notes on the exchange when the outcome is still on its way. */
  end(c: GatewayContext): Promise<void>
  /**
   * Takes note of a request that is over, whatever became of it: of a refusal of a known client, and, once, of the configuration.
   * Returns at once and never throws.
   */
  note(c: GatewayContext): void
}

/** Returns the trails of one isolate. Where no sink takes any, nothing is told. */
export function createAuditTrails({
  config,
  fillRandom,
  nowMs,
}: Pick<Gateway, "config" | "fillRandom" | "nowMs">): AuditTrails {
  const isOn = config.sinks.some(({ takes }) => takes.has("audit"))
  const backlogs = new Map<string, AuditBacklog>()
  const objects = createObjectCalls(
    { nowMs },
    (env, trail) => required(env.AUDIT_TRAIL, "AUDIT_TRAIL").getByName(trail),
    AUDIT_TIMEOUT_MS,
  )
  let waiting = 0
  /** Until when a flush is on its way, epoch ms: one may end with the request that carries it. */
  let busyUntilMs = 0
  let isConfigurationTold = false

  const mintId = (): string => formatHex(fillRandom(new Uint8Array(16)))
  const idOf = (exchange: Exchange): string => (exchange.auditId ??= mintId())

  function draftOf(c: GatewayContext, kind: AuditDraft["kind"]): AuditDraft {
    const exchange = c.get("exchange")
    const facts = factsOf(exchange, c.req.raw)
    const outcome = kind === "intent" ? {} : { outcome: outcomeOf(exchange, c.res.status) }
    const rule = kind === "refusal" ? ruleOf(exchange) : {}
    const id = `${idOf(exchange)}/${kind}`
    return { id, kind, time: formatInstant(nowMs()), ...facts, ...outcome, ...rule, config_version: config.version }
  }

  /** Tells a trail, twice at most, and never rejects. */
  async function tell(env: Env, trail: string, drafts: readonly AuditDraft[]): Promise<AuditFailure | null> {
    if (env.AUDIT_TRAIL === undefined) return { failure: "audit_binding_missing", isOverloaded: false }
    const asked = await objects.call({ env }, trail, async (object) => (await object.append(drafts)).kind)
    if ("failure" in asked) {
      const { isOverloaded, reason } = asked.failure
      return { failure: `audit_${reason}`, isOverloaded }
    }
    return asked.answer === "appended" ? null : { failure: `audit_${asked.answer}`, isOverloaded: false }
  }

  function store(trail: string, backlog: AuditBacklog): void {
    waiting += backlog.drafts.length - (backlogs.get(trail)?.drafts.length ?? 0)
    if (backlog.drafts.length + backlog.lost === 0) backlogs.delete(trail)
    else backlogs.set(trail, backlog)
  }

  function keep(trail: string, draft: AuditDraft): void {
    store(trail, addDraft(backlogs.get(trail) ?? EMPTY_AUDIT_BACKLOG, draft, waiting < AUDIT_BACKLOG_MAX))
  }

  /** Tells one trail everything that waits for it. Returns whether it took it. */
  async function tellAll(env: Env, trail: string): Promise<boolean> {
    for (let waits = backlogs.get(trail); waits !== undefined; waits = backlogs.get(trail)) {
      const { backlog, taken } = takeDrafts(waits, {
        id: `${mintId()}/loss`,
        kind: "loss",
        time: formatInstant(nowMs()),
        outcome: { reason: "isolate_backlog_full" },
        config_version: config.version,
      })
      store(trail, backlog)
      if ((await tell(env, trail, taken)) !== null) return false
      store(trail, dropDrafts(backlogs.get(trail) ?? EMPTY_AUDIT_BACKLOG, taken))
    }
    return true
  }

  async function flush(env: Env): Promise<void> {
    await scheduler.wait(config.flushMs)
    for (let attempt = 1; ; attempt++) {
      const told = await Promise.all([...backlogs.keys()].map((trail) => tellAll(env, trail)))
      if (!told.includes(false)) break
      if (attempt >= AUDIT_FLUSH_TRIES) {
        // They stay, and the next request of this isolate goes on.
        console.error(JSON.stringify({ level: "error", event: "audit_trail_unavailable", waiting }))
        break
      }
      await scheduler.wait(AUDIT_RETRY_MS_MIN * 2 ** (attempt - 1))
    }
    busyUntilMs = 0
  }

  function start(c: GatewayContext): void {
    if (backlogs.size === 0 || nowMs() < busyUntilMs) return
    busyUntilMs = nowMs() + BEHIND_RESPONSE_MS
    c.executionCtx.waitUntil(flush(c.env))
  }

  /** The trail keeps it only when it differs from what was told last, so every isolate may tell it. */
  async function tellConfiguration(env: Env): Promise<void> {
    const time = formatInstant(nowMs())
    const draft = {
      id: `${mintId()}/configuration`,
      kind: "configuration",
      time,
      config_version: config.version,
    } as const
    if ((await tell(env, GATEWAY_TRAIL, [draft])) !== null) isConfigurationTold = false
  }

  return {
    async begin(c) {
      const { id } = required(c.get("exchange").client, "client")
      return (await tell(c.env, id, [draftOf(c, "intent")])) ?? { kind: "begun" }
    },
    async end(c) {
      const exchange = c.get("exchange")
      const { id } = required(exchange.client, "client")
      const draft = draftOf(c, "outcome")
      if (exchange.problem !== undefined) exchange.auditedProblem = exchange.problem
      if ((await tell(c.env, id, [draft])) === null) return
      exchange.audit = "delayed"
      keep(id, draft)
    },
    note(c) {
      if (!isOn || c.env.AUDIT_TRAIL === undefined) return
      const { audit, auditedProblem, client, problem } = c.get("exchange")
      const isRecorded = audit !== undefined && problem === auditedProblem
      if (client !== undefined && problem !== undefined && !isRecorded) keep(client.id, draftOf(c, "refusal"))
      if (!isConfigurationTold) {
        isConfigurationTold = true
        c.executionCtx.waitUntil(tellConfiguration(c.env))
      }
      start(c)
    },
  }
}

/** Who wants what, as far as it is known. */
function factsOf(
  { certificate, client, path, requestId, route, token, trace }: Exchange,
  request: Request,
): Pick<AuditDraft, "request_id" | "trace_id" | "actor" | "action" | "target"> {
  return {
    request_id: requestId,
    trace_id: trace.traceId,
    actor: {
      ...(client === undefined ? {} : { client_id: client.id }),
      ...(certificate === undefined ? {} : { certificate_fingerprint: certificate.fingerprint }),
      ...(token === undefined || token.clientId === null ? {} : { token_client: redactText(token.clientId) }),
    },
    action: {
      method: redactText(request.method),
      ...(route === undefined ? {} : { route: redactText(route.label) }),
      path: redactText(path ?? rawPathOf(request.url)),
    },
    ...(route?.action.kind === "forward" ? { target: route.action.origin.name } : {}),
  }
}

function outcomeOf({ outcome, problem, reason }: Exchange, status: number): NonNullable<AuditDraft["outcome"]> {
  return {
    result: outcome,
    status,
    ...(problem === undefined ? {} : { problem }),
    ...(reason === undefined ? {} : { reason: redactText(reason) }),
  }
}

/** The guard or limit that refused. */
function ruleOf({ gate }: Exchange): Pick<AuditDraft, "rule"> {
  if (gate?.refusal === undefined) return {}
  if (gate.refusal.kind === "blocked") return { rule: gate.refusal.guard }
  const policy = gate.refusal.kind === "limit" ? decisivePolicy(gate) : undefined
  return policy === undefined ? {} : { rule: policy.name }
}

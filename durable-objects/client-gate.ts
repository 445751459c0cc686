/**
 * The object of one client, or of one other key of a guard: loads what it knows, lets `core/gate/client-gate.ts` decide, stores,
 * returns.
 *
 * One instance per canonical client id, so one client's limits and guards are decided in one place. Every call reads storage
 * and every change writes it in the same synchronous turn; the output gate holds the answer until the write is durable.
 * Nothing that decides is kept in memory: an instance that was replaced without noticing has no state of its own to admit
 * from. Called by the `client-gate` stage over RPC; no rule is decided here.
 *
 * Stored: `gate`, one row of JSON with a version (`GateState`); `stopped`, one row of JSON (`StoppedState`); `certificates`, one
 * row of JSON (`CertificateWatch`); `outbox`, a row of JSON for each record (`ObjectRecord`) that the queue has not taken yet;
 * `audit_outbox`, the same of blocks (`AuditDraft`) for the audit trail.
 */
import { DurableObject } from "cloudflare:workers"
import { guardDraftOf, trailOf } from "../src/core/audit/audit-guard.ts"
import { releaseLeases, renewLeases } from "../src/core/limit/admission.ts"
import { RECORD_RETRY_MS } from "../src/core/bounds.ts"
import {
  EMPTY_WATCH,
  noteCertificate,
  restoreWatch,
  reviewCertificates,
} from "../src/core/certificate/certificate-watch.ts"
import type { CertificateNote, RuleEnd, WatchStep } from "../src/core/certificate/certificate-watch.ts"
import { admitRequest, lendTokens, withGuards } from "../src/core/gate/client-gate.ts"
import type { GateDecision, GateRequest, LeaseGrant } from "../src/core/gate/client-gate.ts"
import type { ObjectRecord } from "../src/core/record/event.ts"
import { administerGuard, findOpenGuard, recordOutcomes, settleGuards } from "../src/core/gate/gate-guards.ts"
import type { GuardDemand, GuardOutcome, NamedGuardEvent } from "../src/core/gate/gate-guards.ts"
import { inspectGate } from "../src/core/gate/gate-report.ts"
import type { GateReport } from "../src/core/gate/gate-report.ts"
import { EMPTY_GATE_STATE, isForgettable, nextWakeMs, restoreGateState } from "../src/core/gate/gate-state.ts"
import type { GateState } from "../src/core/gate/gate-state.ts"
import { parseGateSubject } from "../src/core/gate/gate-subject.ts"
import type { GateSubject } from "../src/core/gate/gate-subject.ts"
import { guardRecordOf } from "../src/core/guard/guard-record.ts"
import type { AdminAction } from "../src/core/guard/guard.ts"
import type { LeaseCall } from "../src/core/lease/lease-protocol.ts"
import type { NamedLimit } from "../src/core/limit/limit.ts"
import type { OutcomeResult } from "../src/core/guard/outcome.ts"
import { recordStopped, restoreStopped } from "../src/core/gate/stopped.ts"
import type { StoppedReport } from "../src/core/gate/stopped.ts"
import { AUDIT_OUTBOX_SCHEMA, AuditOutbox } from "./audit-outbox.ts"
import { countOpenings } from "./guard-openings.ts"
import { logFailure, Outbox, OUTBOX_SCHEMA } from "./outbox.ts"

/**
 * One row for everything that decides: one row is read and at most one written per call however many limits and guards
 * apply, and no crash can keep one limit's tokens and lose another's.
 */
const SCHEMA = `
CREATE TABLE IF NOT EXISTS gate (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS stopped (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS certificates (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL) STRICT;
${OUTBOX_SCHEMA}
${AUDIT_OUTBOX_SCHEMA}`
const READ = {
  gate: "SELECT state FROM gate",
  stopped: "SELECT state FROM stopped",
  certificates: "SELECT state FROM certificates",
} as const
const WRITE = {
  gate: "INSERT INTO gate (id, state) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
  stopped: "INSERT INTO stopped (id, state) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
  certificates:
    "INSERT INTO certificates (id, state) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state",
} as const

/** The Durable Object class behind the binding `CLIENT_GATE`. */
export class ClientGate extends DurableObject<Env> {
  readonly #sql: SqlStorage
  readonly #outbox: Outbox
  readonly #auditOutbox: AuditOutbox
  #hasTables = true

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = ctx.storage.sql
    this.#outbox = new Outbox(this.#sql, env.EVENTS, "guard")
    this.#auditOutbox = new AuditOutbox(this.#sql, env.AUDIT_TRAIL)
    // Synchronous, so no call can come in between and nothing has to block.
    this.#sql.exec(SCHEMA)
  }

  /**
   * Decides on one request of this client. Rejects when storage fails; the caller then refuses.
   *
   * Synchronous throughout, like every method here: an `await` between reading and writing would let two calls admit on the
   * same tokens.
   */
  admit(request: GateRequest): GateDecision {
    const nowMs = Date.now()
    const before = this.#load(nowMs)
    const { state, answer, events } = admitRequest(before, request, nowMs)
    this.#keep(before, state, events)
    return answer
  }

  /** Lends an isolate tokens of this client's limits. Null for a call that was overtaken: nobody waits for its answer. */
  lend(
    call: LeaseCall,
    terms: { readonly limits: readonly NamedLimit[]; readonly guards: readonly GuardDemand[] },
  ): LeaseGrant | null {
    const nowMs = Date.now()
    const before = this.#load(nowMs)
    const { state, answer, events } = lendTokens(before, call, terms, nowMs, Math.random())
    this.#keep(before, state, events)
    return answer
  }

  /** Records how an admitted request ended, for each guard that it passed. Returns whether one of them is open now. */
  record(outcome: { readonly id: string; readonly result: OutcomeResult }, guards: readonly GuardOutcome[]): boolean {
    const nowMs = Date.now()
    const before = this.#load(nowMs)
    const step = recordOutcomes(before.guards, guards, outcome, nowMs, Math.random(), before.lostAtMs)
    this.#keep(before, withGuards(before, step.guards), step.events)
    return step.isOpen
  }

  /**
   * Gives back what a request of this client holds while it runs. Returns the names of the limits that had it: none when it
   * is too late, or repeated, and nothing changes then.
   */
  release(leaseId: string): readonly string[] {
    const nowMs = Date.now()
    const before = this.#load(nowMs)
    const { state, released } = releaseLeases(before, leaseId, nowMs)
    this.#keep(before, state, [])
    return released
  }

  /**
   * Asks again for a request that has been running for a while, such as one that became a WebSocket: extends what it holds of
   * the limits it was admitted with, and tells which guard is open by now. `renewed` lacks a limit whose place has expired.
   *
   * @param leaseId id of its places; null for a request that holds none here
   */
  renew(
    leaseId: string | null,
    { limits, guards }: { readonly limits: readonly NamedLimit[]; readonly guards: readonly GuardDemand[] },
  ): { readonly renewed: readonly string[]; readonly openGuard: string | null } {
    const nowMs = Date.now()
    const before = this.#load(nowMs)
    const openGuard = findOpenGuard(before.guards, guards, nowMs, before.lostAtMs) ?? null
    if (leaseId === null || openGuard !== null) return { renewed: [], openGuard }
    const { state, renewed } = renewLeases(before, limits, leaseId, nowMs)
    this.#keep(before, state, [])
    return { renewed, openGuard }
  }

  /** Adds what an isolate has refused of this client. A report that comes twice counts once. */
  reportStopped(report: StoppedReport): void {
    const before = restoreStopped(this.#read("stopped"))
    const after = recordStopped(before, report, Date.now())
    if (after !== before) this.#sql.exec(WRITE.stopped, JSON.stringify(after))
  }

  /** Takes a certificate that this client uses, and puts on record that it ends within `warningMs`. Once a day for each. */
  noteCertificate(note: CertificateNote, warningMs: number): void {
    this.#watch((watch, clientId) => noteCertificate(watch, clientId, note, warningMs, Date.now()))
  }

  /**
   * Puts on record which of the certificates that this client has used lately, and which of the given windows, end within
   * `warningMs`. What was told today is not told again.
   */
  reviewCertificates(rules: readonly RuleEnd[], warningMs: number): void {
    this.#watch((watch, clientId) => reviewCertificates(watch, clientId, rules, warningMs, Date.now()))
  }

  /** Returns how limits, leases and guards stand now, and what was stopped. Changes nothing. */
  inspect(): GateReport {
    const nowMs = Date.now()
    return inspectGate(this.#load(nowMs), restoreStopped(this.#read("stopped")), nowMs)
  }

  /**
   * Does to one guard of this client what an administrator asks: closes it (`unblock`), closes it and forgets its escalation
   * (`reset`), or opens it (`block`). Isolates learn of it within one lease life, of an unblock within five seconds. Returns
   * false for an action that is out of range.
   *
   * @param guard name and configuration of the guard; it need not have been asked before
   */
  administer(guard: GuardDemand, action: AdminAction): boolean {
    const nowMs = Date.now()
    const before = this.#load(nowMs)
    const step = administerGuard(before.guards, guard, action, nowMs, before.lostAtMs)
    this.#keep(before, withGuards(before, step.guards), step.events)
    return step.isApplied
  }

  /**
   * Reports blocks that have ended, offers records to the queue again, and forgets a key that nothing is left to remember
   * of. Decides nothing, so it may come late, twice or never.
   */
  override async alarm(): Promise<void> {
    const { storage } = this.ctx
    // A failing alarm is repeated a few times and then dropped for good: the next one is set before anything can fail.
    await storage.setAlarm(Date.now() + RECORD_RETRY_MS)
    try {
      const nowMs = Date.now()
      const before = this.#load(nowMs)
      const { guards, events } = settleGuards(before.guards, nowMs)
      this.#store(before, withGuards(before, guards), events)
      if (!(await this.#deliver())) return
      const isOver = this.#isKeyed && !this.#hasWaiting && isForgettable(this.#load(Date.now()), Date.now())
      if (isOver) await this.#forget()
      else await this.#schedule()
    } catch (error) {
      logFailure("gate_alarm_failed", error)
    }
  }

  #watch(step: (watch: WatchStep["watch"], clientId: string) => WatchStep): void {
    const subject = this.#subject
    if (subject.keyKind !== "client") return
    const stored = this.#read("certificates")
    const before = stored === undefined ? EMPTY_WATCH : restoreWatch(stored)
    const { watch, records } = step(before, subject.clientId)
    if (watch !== before) this.#sql.exec(WRITE.certificates, JSON.stringify(watch))
    if (this.#enqueue(records)) this.ctx.waitUntil(this.#report())
  }

  get #isKeyed(): boolean {
    return this.#subject.keyKind !== "client"
  }

  /** Offers everything that waits. Neither the queue nor the trail waits for the other. Returns whether both took it. */
  async #deliver(): Promise<boolean> {
    const taken = await Promise.all([this.#outbox.deliver(), this.#auditOutbox.deliver(trailOf(this.#subject))])
    return !taken.includes(false)
  }

  /** Whether the queue or the trail has not taken everything yet. */
  get #hasWaiting(): boolean {
    return this.#auditOutbox.hasWaiting || this.#outbox.hasWaiting
  }

  get #subject(): GateSubject {
    return parseGateSubject(this.ctx.id.name ?? "")
  }

  #load(nowMs: number): GateState {
    return restoreGateState(this.#read("gate"), nowMs)
  }

  #read(table: keyof typeof READ): unknown {
    if (!this.#hasTables) this.#sql.exec(SCHEMA)
    this.#hasTables = true
    return this.#sql.exec(READ[table]).toArray()[0]?.["state"]
  }

  /** Stores a state and what has to be reported, and sees to it that it is. */
  #keep(before: GateState, after: GateState, events: readonly NamedGuardEvent[]): void {
    this.#store(before, after, events)
    const isNewKey = this.#isKeyed && before === EMPTY_GATE_STATE && after !== before
    if (events.length > 0) this.ctx.waitUntil(this.#report())
    else if (isNewKey) this.ctx.waitUntil(this.#schedule())
  }

  /** Stores both in the same turn, so that neither can be there without the other. */
  #store(before: GateState, after: GateState, events: readonly NamedGuardEvent[]): void {
    if (after !== before) this.#sql.exec(WRITE.gate, JSON.stringify(after))
    this.#enqueue(events.map(({ guard, event }) => guardRecordOf(event, { guard, ...this.#subject })))
    const opened = events.filter(({ event }) => event.kind === "opened").map(({ guard }) => guard)
    if (opened.length > 0) this.ctx.waitUntil(countOpenings(this.env.METRICS, opened))
    for (const { guard, event } of events)
      this.#auditOutbox.add(guardDraftOf(event, { guard, ...this.#subject }, this.ctx.id.toString()))
  }

  /** Keeps records until the queue has taken them. Returns whether there are any. */
  #enqueue(records: readonly ObjectRecord[]): boolean {
    for (const record of records) {
      this.#outbox.add(record)
    }
    return records.length > 0
  }

  async #report(): Promise<void> {
    try {
      // The alarm first: should the queue not take the records, or this instance end, they are offered again.
      await this.ctx.storage.setAlarm(Date.now() + RECORD_RETRY_MS)
      if (await this.#deliver()) await this.#schedule()
    } catch (error) {
      logFailure("guard_record_delayed", error)
    }
  }

  /** Sets the alarm for what is stored now: other calls may have come in while the queue was asked. */
  async #schedule(): Promise<void> {
    // Whoever put a record there meanwhile has set the alarm that offers it again.
    if (this.#hasWaiting) return
    const nowMs = Date.now()
    const wakeMs = nextWakeMs(this.#load(nowMs), this.#isKeyed, nowMs)
    if (wakeMs === null) await this.ctx.storage.deleteAlarm()
    else await this.ctx.storage.setAlarm(wakeMs)
  }

  async #forget(): Promise<void> {
    this.#hasTables = false
    await this.ctx.storage.deleteAll()
  }
}

/**
 * The ledger of one shard of a client's idempotency keys: loads the record of a key, lets `core/idempotency/idempotency-ledger.ts` decide,
 * stores, returns.
 *
 * Every call reads storage, and every change writes it in the same synchronous turn; the output gate holds the answer until the
 * write is durable. So a reservation that anybody hears of survives a crash, and nobody else gets through after it. Nothing
 * that decides is kept in memory. Called by the `idempotency` stage over RPC. Keys, fingerprints and answers arrive digested or
 * encrypted: this object never sees what they stand for.
 *
 * Stored: `records`, one row for each key, of which `record` is JSON with a version (`IdempotencyRecord`). One call changes at
 * most one row. Expired rows are deleted by an alarm.
 */
import { DurableObject } from "cloudflare:workers"
import { IDEMPOTENCY_ALARM_MS_MIN, IDEMPOTENCY_EXPIRY_BATCH } from "../src/core/bounds.ts"
import { reserveKey, settleAttempt } from "../src/core/idempotency/idempotency-ledger.ts"
import type {
  LedgerRow,
  ReserveDecision,
  ReserveDemand,
  Settlement,
} from "../src/core/idempotency/idempotency-ledger.ts"
import { logFailure } from "./outbox.ts"

/** Records of one tag lie side by side: they are looked for together. */
const SCHEMA = `
CREATE TABLE IF NOT EXISTS records (
  tag TEXT NOT NULL,
  key TEXT NOT NULL,
  kid TEXT NOT NULL,
  record TEXT NOT NULL,
  expires_at_ms INTEGER NOT NULL,
  PRIMARY KEY (tag, key)
) STRICT;
CREATE INDEX IF NOT EXISTS records_by_expiry ON records (expires_at_ms);`
const FIND = 'SELECT key, kid, record, expires_at_ms AS "expiresAtMs" FROM records WHERE tag = ?'
const WRITE = `INSERT INTO records (tag, key, kid, record, expires_at_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (tag, key) DO UPDATE SET kid = excluded.kid, record = excluded.record, expires_at_ms = excluded.expires_at_ms`
const UPDATE = "UPDATE records SET record = ? WHERE tag = ? AND key = ?"
const DELETE = "DELETE FROM records WHERE tag = ? AND key = ?"
const EXPIRE = `DELETE FROM records WHERE rowid IN
(SELECT rowid FROM records WHERE expires_at_ms <= ? ORDER BY expires_at_ms LIMIT ${IDEMPOTENCY_EXPIRY_BATCH})`
const NEXT_EXPIRY = "SELECT min(expires_at_ms) AS ms FROM records"

/** Which attempt of which key is meant. */
export interface AttemptName {
  readonly tag: string
  readonly key: string
  readonly attemptId: string
}

/** The Durable Object class behind the binding `IDEMPOTENCY_LEDGER`. */
export class IdempotencyLedger extends DurableObject<Env> {
  readonly #sql: SqlStorage
  #hasTables = true
  /** Whether the alarm is known to be set: asked once for each instance, because a chain of alarms may have broken. */
  #isArmed = false

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = ctx.storage.sql
    // Synchronous, so no call can come in between and nothing has to block.
    this.#sql.exec(SCHEMA)
  }

  /**
   * Decides whether a request may go to the origin, and reserves its key then. Rejects when storage fails; the caller then
   * refuses.
   *
   * Synchronous throughout, like every method here: an `await` between reading and writing would let two requests through.
   */
  reserve(demand: ReserveDemand): ReserveDecision {
    const { decision, write } = reserveKey(this.#find(demand.tag), demand, this.#sql.databaseSize, Date.now())
    if (write !== null) {
      const { key, kid, record } = write
      this.#sql.exec(WRITE, demand.tag, key, kid, JSON.stringify(record), record.expiresAtMs)
    }
    this.#arm()
    return decision
  }

  /**
   * Records how an attempt ended. Returns false when that is not on record now: another attempt has taken its place, or the
   * record has expired. Rejects when storage fails.
   */
  settle({ attemptId, key, tag }: AttemptName, settlement: Settlement): boolean {
    const stored = this.#find(tag).find((row) => row.key === key)?.record
    const step = settleAttempt(stored, attemptId, settlement)
    switch (step.kind) {
      case "write":
        this.#sql.exec(UPDATE, JSON.stringify(step.record), tag, key)
        return true
      case "delete":
        this.#sql.exec(DELETE, tag, key)
        return true
      case "keep":
        return step.isSettled
    }
  }

  /** Deletes what has expired, a batch at a time, and everything once nothing is left. May come late, twice or never. */
  override async alarm(): Promise<void> {
    const { storage } = this.ctx
    try {
      const nowMs = Date.now()
      // A failing alarm is repeated a few times and then dropped for good: the next one is set before anything can fail.
      await storage.setAlarm(nowMs + IDEMPOTENCY_ALARM_MS_MIN)
      if (!this.#hasTables) return
      this.#sql.exec(EXPIRE, nowMs)
      const nextMs = this.#nextExpiryMs()
      if (nextMs === null) await this.#forget()
      else await storage.setAlarm(alarmMs(nextMs, nowMs))
    } catch (error) {
      this.#isArmed = false
      logFailure("idempotency_alarm_failed", error)
    }
  }

  #find(tag: string): readonly LedgerRow[] {
    if (!this.#hasTables) this.#sql.exec(SCHEMA)
    this.#hasTables = true
    return this.#sql.exec<{ key: string; kid: string; record: string; expiresAtMs: number }>(FIND, tag).toArray()
  }

  #nextExpiryMs(): number | null {
    return this.#sql.exec<{ ms: number | null }>(NEXT_EXPIRY).one().ms
  }

  /** Sees to it that an alarm is set, behind the answer: nobody waits for expiry. */
  #arm(): void {
    if (this.#isArmed) return
    this.#isArmed = true
    this.ctx.waitUntil(
      this.#setAlarm().catch((error: unknown) => {
        this.#isArmed = false
        logFailure("idempotency_alarm_failed", error)
      }),
    )
  }

  async #setAlarm(): Promise<void> {
    const { storage } = this.ctx
    if ((await storage.getAlarm()) !== null) return
    const nextMs = this.#nextExpiryMs()
    if (nextMs !== null) await storage.setAlarm(alarmMs(nextMs, Date.now()))
  }

  async #forget(): Promise<void> {
    this.#hasTables = false
    this.#isArmed = false
    await this.ctx.storage.deleteAll()
  }
}

/** Seldom enough to delete many at a time. */
function alarmMs(expiryMs: number, nowMs: number): number {
  return Math.max(expiryMs, nowMs + IDEMPOTENCY_ALARM_MS_MIN)
}

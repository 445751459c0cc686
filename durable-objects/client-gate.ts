/**
 * The object of one client: loads what it knows, lets `core/admission.ts` decide, stores, returns.
 *
 * One instance per canonical client id, so one client's limits are decided in one place. Every call reads storage and
 * every admission writes it in the same synchronous turn; the output gate holds the answer until the write is durable.
 * Nothing is kept in memory: an instance that was replaced without noticing has no state of its own to admit from.
 * Called by the `client-gate` stage over RPC; no rule is decided here.
 */
import { DurableObject } from "cloudflare:workers"
import { decideAdmission, releaseLeases, restoreGateState } from "../src/core/admission.ts"
import type { AdmissionDecision, AdmissionRequest, GateState } from "../src/core/admission.ts"

/**
 * One row for all limits of the client: one row is read and at most one written per request however many limits apply,
 * and no crash can keep one limit's tokens and lose another's. The text is JSON with a version, see `GateState`.
 */
const SCHEMA = "CREATE TABLE IF NOT EXISTS gate (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL) STRICT"
const READ = "SELECT state FROM gate"
const WRITE = "INSERT INTO gate (id, state) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state"

/** The Durable Object class behind the binding `CLIENT_GATE`. */
export class ClientGate extends DurableObject {
  readonly #sql: SqlStorage

  constructor(ctx: DurableObjectState, env: Cloudflare.Env) {
    super(ctx, env)
    this.#sql = ctx.storage.sql
    // Synchronous, so no call can come in between and nothing has to block.
    this.#sql.exec(SCHEMA)
  }

  /**
   * Decides on one request of this client. Rejects when storage fails; the caller then refuses.
   *
   * Synchronous throughout: an `await` between reading and writing would let two calls admit on the same tokens.
   */
  admit(request: AdmissionRequest): AdmissionDecision {
    const nowMs = Date.now()
    const before = restoreGateState(this.#read(), nowMs)
    const { state, decision } = decideAdmission(before, request, nowMs)
    if (state !== before) this.#write(state)
    return decision
  }

  /**
   * Gives back what a request of this client holds while it runs. Returns the names of the limits that had it: none when it
   * is too late, or repeated, and nothing changes then.
   */
  release(leaseId: string): readonly string[] {
    const nowMs = Date.now()
    const before = restoreGateState(this.#read(), nowMs)
    const { state, released } = releaseLeases(before, leaseId, nowMs)
    if (state !== before) this.#write(state)
    return released
  }

  #read(): unknown {
    return this.#sql.exec(READ).toArray()[0]?.["state"]
  }

  #write(state: GateState): void {
    this.#sql.exec(WRITE, JSON.stringify(state))
  }
}

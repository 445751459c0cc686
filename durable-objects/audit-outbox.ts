/**
 * Facts of an object that wait in its storage for an audit trail, so that none is lost when the trail does not take them or the
 * instance ends. Each is told at least once, with an id that stays, so the trail has it once. Bounded: beyond the bound the oldest
 * give way to a record that says how many did.
 */
import type { AuditDraft } from "../src/core/audit/audit-record.ts"
import { AUDIT_APPEND_MAX, AUDIT_TIMEOUT_MS } from "../src/core/bounds.ts"
import { LATE, withDeadline } from "../src/deadline.ts"
import { logFailure } from "./outbox.ts"

/** The table that an {@link AuditOutbox} needs: a row of JSON for each draft that waits. */
export const AUDIT_OUTBOX_SCHEMA =
  "CREATE TABLE IF NOT EXISTS audit_outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, draft TEXT NOT NULL) STRICT;"

/** The waiting facts of one object, all for one trail. */
export class AuditOutbox {
  readonly #sql: SqlStorage
  readonly #trails: Env["AUDIT_TRAIL"]

  constructor(sql: SqlStorage, trails: Env["AUDIT_TRAIL"]) {
    this.#sql = sql
    this.#trails = trails
  }

  /** Keeps a draft in the turn that the caller writes in. Without the binding of trails there is nothing to keep it for. */
  add(draft: AuditDraft): void {
    if (this.#trails === undefined) return
    const waiting = this.#waiting()
    if (waiting.length >= AUDIT_APPEND_MAX) this.#giveWay(waiting.slice(0, 2), draft)
    this.#sql.exec("INSERT INTO audit_outbox (draft) VALUES (?)", JSON.stringify(draft))
  }

  /** Whether a trail has not taken everything yet. */
  get hasWaiting(): boolean {
    return this.#sql.exec("SELECT 1 FROM audit_outbox LIMIT 1").toArray().length > 0
  }

  /** Tells the trail of this name everything that waits. Returns false when it did not take it. */
  async deliver(trail: string): Promise<boolean> {
    const waiting = this.#waiting()
    const last = waiting.at(-1)
    if (last === undefined) return true
    try {
      const drafts = waiting.map(({ draft }) => JSON.parse(draft) as AuditDraft)
      const told = (async () => this.#trails?.getByName(trail).append(drafts))()
      if ((await withDeadline(told, AUDIT_TIMEOUT_MS)) === LATE) throw new Error("audit_object_timeout")
    } catch (error) {
      logFailure("audit_record_delayed", error)
      return false
    }
    this.#sql.exec("DELETE FROM audit_outbox WHERE id <= ?", last.id)
    return true
  }

  /** Puts one record of a loss in the place of the oldest two, which may have been one itself. */
  #giveWay(oldest: readonly { readonly id: number; readonly draft: string }[], { id, time }: AuditDraft): void {
    const lost = oldest.reduce((sum, { draft }) => sum + ((JSON.parse(draft) as AuditDraft).lost ?? 1), 0)
    const loss: AuditDraft = { id: `${id}/loss`, kind: "loss", time, outcome: { reason: "object_backlog_full" }, lost }
    const [first, second] = oldest
    this.#sql.exec("UPDATE audit_outbox SET draft = ? WHERE id = ?", JSON.stringify(loss), first?.id ?? 0)
    this.#sql.exec("DELETE FROM audit_outbox WHERE id = ?", second?.id ?? 0)
    logFailure("audit_records_dropped", lost)
  }

  #waiting(): readonly { readonly id: number; readonly draft: string }[] {
    return this.#sql.exec<{ id: number; draft: string }>("SELECT id, draft FROM audit_outbox ORDER BY id").toArray()
  }
}

/**
 * Records of an object that wait in its storage for the queue, so that none is lost when the queue does not take them or the
 * instance ends. Each is offered at least once. Bounded: beyond the bound the oldest are dropped, and it is said how many.
 */
import { OUTBOX_RECORDS_MAX } from "../src/core/bounds.ts"
import { withAlert } from "../src/core/record/alert.ts"
import { formatEventJson, type ObjectRecord } from "../src/core/record/event.ts"
import { redactText } from "../src/core/record/redaction.ts"

/** The table that an {@link Outbox} needs: a row of JSON for each record that waits. */
export const OUTBOX_SCHEMA =
  "CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, record TEXT NOT NULL) STRICT;"

/** What the records of an object are about. */
type OutboxKind = "guard" | "crl" | "audit"

/** The waiting records of one object. */
export class Outbox {
  readonly #sql: SqlStorage
  readonly #queue: Env["EVENTS"]
  readonly #kind: OutboxKind

  /** @param kind what the records are about, for what is said about their delivery */
  constructor(sql: SqlStorage, queue: Env["EVENTS"], kind: OutboxKind) {
    this.#sql = sql
    this.#queue = queue
    this.#kind = kind
  }

  /** Keeps a record in the turn that the caller writes in, and writes it to the console. */
  add(record: ObjectRecord): void {
    const marked = withAlert(record)
    this.#sql.exec("INSERT INTO outbox (record) VALUES (?)", JSON.stringify(marked))
    console.log(formatEventJson(marked))
  }

  /** Whether the queue has not taken everything yet. */
  get hasWaiting(): boolean {
    return this.#sql.exec("SELECT 1 FROM outbox LIMIT 1").toArray().length > 0
  }

  /** Offers all waiting records to the queue. Returns false when it did not take them. */
  async deliver(): Promise<boolean> {
    this.#dropExcess()
    const waiting = this.#sql
      .exec<{ id: number; record: string }>("SELECT id, record FROM outbox ORDER BY id")
      .toArray()
    const last = waiting.at(-1)
    if (last === undefined) return true
    if (this.#queue !== undefined) {
      const events = waiting.map(({ record }) => JSON.parse(record) as ObjectRecord)
      try {
        await this.#queue.send({ version: 1, events, dropped: 0 })
      } catch (error) {
        logFailure(`${this.#kind}_record_delayed`, error)
        return false
      }
    }
    this.#sql.exec("DELETE FROM outbox WHERE id <= ?", last.id)
    return true
  }

  #dropExcess(): void {
    const { rowsWritten } = this.#sql.exec(
      "DELETE FROM outbox WHERE id <= (SELECT MAX(id) FROM outbox) - ?",
      OUTBOX_RECORDS_MAX,
    )
    if (rowsWritten > 0) logFailure(`${this.#kind}_records_dropped`, rowsWritten)
  }
}

/** Says on the console that something beside a request went wrong. */
export function logFailure(event: string, reason: unknown): void {
  console.error(JSON.stringify({ level: "error", event, reason: redactText(String(reason)) }))
}

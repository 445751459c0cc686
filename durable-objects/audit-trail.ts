/**
 * The audit trail of one client, or of what concerns none: keeps records in a hash chain until every sink has them.
 *
 * One instance per client id, and one named `GATEWAY_TRAIL`. A record is durable before {@link AuditTrailObject.append} answers;
 * head and rows are written in one transaction. An alarm delivers straight to the sinks, not through the queue, whose retries
 * end in a dead-letter queue: a record is deleted when every sink has acknowledged it, and never otherwise. The alarm is set before
 * anything can fail, catches everything, and is set again while records wait, by itself, by every append and by the constructor.
 * A head that cannot be read closes the trail. Rules are `core/audit/`; none is decided here.
 *
 * Stored: `head`, one row of JSON with a version (`AuditHead`); `records`, a line for each that waits; `ids`, those taken lately;
 * `positions`, a row of JSON with a version (`SinkPosition`) for each sink, by its URL; `late`, a row while the trail is told of as
 * late; `outbox`, what was told and the queue has not taken yet.
 */
import { DurableObject } from "cloudflare:workers"
import { auditDelayRecordOf, decideDelay, timeOfLine, type TrailWaiting } from "../src/core/audit/audit-delay.ts"
import {
  decideAppend,
  dueLoss,
  extendChain,
  releaseWaiting,
  restoreAuditHead,
  type AuditHead,
} from "../src/core/audit/audit-chain.ts"
import {
  afterDelivery,
  nextDeliveryMs,
  restoreSinkPosition,
  takeBatch,
  type SinkPosition,
  type WaitingLine,
} from "../src/core/audit/audit-delivery.ts"
import type { AuditDraft } from "../src/core/audit/audit-record.ts"
import {
  AUDIT_BATCH_MAX,
  AUDIT_BATCHES_PER_ALARM,
  AUDIT_DELIVERY_MS,
  AUDIT_IDS_MAX,
  AUDIT_RETRY_MS_MAX,
} from "../src/core/bounds.ts"
import { sha256Hex } from "../src/digest.ts"
import { postToSink, type SinkEndpoint } from "../src/sinks/post.ts"
import { logFailure, Outbox, OUTBOX_SCHEMA } from "./outbox.ts"

const SCHEMA = `
CREATE TABLE IF NOT EXISTS head (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY, line TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS ids (n INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE IF NOT EXISTS positions (sink TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS late (id INTEGER PRIMARY KEY CHECK (id = 1)) STRICT;
${OUTBOX_SCHEMA}`
const WRITE_HEAD = "INSERT INTO head (id, state) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state"
const WRITE_POSITION =
  "INSERT INTO positions (sink, state) VALUES (?, ?) ON CONFLICT (sink) DO UPDATE SET state = excluded.state"

/** What became of an append. `seq` is that of the last record on the trail. */
export type AppendAnswer =
  /** Everything is on the trail or counted as lost there, durably. */
  | { readonly kind: "appended"; readonly seq: number }
  /** There is no place for an intent among them; what stood before it is on the trail. */
  | { readonly kind: "full"; readonly seq: number }
  /** No sink takes trails: nothing is kept. */
  | { readonly kind: "off" }

/** How a trail stands. */
export interface TrailReport {
  readonly head: AuditHead
  readonly positions: Readonly<Record<string, SinkPosition>>
}

/** The Durable Object behind the binding `AUDIT_TRAIL`; `src/index.ts` gives it the sinks. */
export abstract class AuditTrailObject extends DurableObject<Env> {
  /** Those that take trails, by the configuration of the version that runs. None is ever stored. */
  protected abstract get sinks(): readonly SinkEndpoint[]

  readonly #sql: SqlStorage
  readonly #outbox: Outbox
  /** The end of the line of those that change head and rows: a digest is waited for in between. */
  #turn: Promise<unknown> = Promise.resolve()
  #delivering: Promise<void> | undefined

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = ctx.storage.sql
    this.#sql.exec(SCHEMA)
    this.#outbox = new Outbox(this.#sql, env.EVENTS, "audit")
    // An alarm that the platform has given up on: whoever wakes the object wakes its delivery.
    if (this.#isWaiting()) ctx.waitUntil(this.#arm(Date.now() + AUDIT_DELIVERY_MS).catch(logArmFailure))
  }

  /**
   * Puts drafts on the trail in their order, each id once. Resolves when they are durable. Rejects when storage fails or the
   * head cannot be read: then nothing of this call is on the trail, and the caller may repeat it.
   */
  async append(drafts: readonly AuditDraft[]): Promise<AppendAnswer> {
    if (this.sinks.length === 0) return { kind: "off" }
    return this.#inTurn(async () => {
      // Before the records, so that there is none without it. One that finds nothing to do does nothing.
      await this.#arm(Date.now() + AUDIT_DELIVERY_MS)
      return this.#extend(drafts)
    })
  }

  /** Returns how the trail stands. Changes nothing; throws when the head cannot be read. */
  inspect(): TrailReport {
    const rows = this.#sql.exec<{ sink: string }>("SELECT sink FROM positions").toArray()
    return {
      head: this.#load(),
      positions: Object.fromEntries(rows.map(({ sink }) => [sink, this.#positionOf(sink, 1, Date.now())])),
    }
  }

  /** Sees to it that what waits is delivered, although the platform may have given up on its alarm. The daily round of clients calls it. */
  async wake(): Promise<void> {
    if (this.#isWaiting()) await this.#arm(Date.now() + AUDIT_DELIVERY_MS)
  }

  /** Delivers what is due. It may come late, early, twice or never. */
  override async alarm(): Promise<void> {
    try {
      // The platform repeats a failing alarm a few times and then drops it for good: the next one is set first.
      await this.ctx.storage.setAlarm(Date.now() + AUDIT_RETRY_MS_MAX)
      await this.#deliverOnce()
      this.#watch()
      await this.#outbox.deliver()
      await this.#inTurn(() => this.#schedule())
    } catch (error) {
      logFailure("audit_alarm_failed", error)
    }
  }

  async #extend(drafts: readonly AuditDraft[]): Promise<AppendAnswer> {
    for (;;) {
      const stored = this.#readHead()
      let head = this.#load()
      const lines: string[] = []
      const ids = new Set<string>()
      let isFull = false
      const due = dueLoss(head, Date.now())
      for (const draft of due === undefined ? drafts : [due, ...drafts]) {
        const step = decideAppend(head, this.ctx.id.name ?? "", draft, ids.has(draft.id) || this.#isKnown(draft.id))
        if (step.kind === "malformed") throw new Error("audit_draft_malformed")
        isFull = step.kind === "refused"
        if (isFull) break
        if (step.kind === "known") continue
        ids.add(draft.id)
        if (step.kind === "lost") head = step.head
        if (step.kind !== "next") continue
        const extended = extendChain(head, step, await sha256Hex(step.entryJson))
        head = extended.head
        lines.push(extended.line)
      }
      // Another instance on the same storage may have been faster: then everything is decided again.
      if (this.#readHead() !== stored) continue
      if (ids.size > 0) this.#write(head, lines, ids)
      return { kind: isFull ? "full" : "appended", seq: head.seq }
    }
  }

  /** One transaction: no crash leaves a head without its records, nor records without their ids. */
  #write(head: AuditHead, lines: readonly string[], ids: ReadonlySet<string>): void {
    this.ctx.storage.transactionSync(() => {
      const firstSeq = head.seq - lines.length + 1
      for (const [index, line] of lines.entries())
        this.#sql.exec("INSERT INTO records (seq, line) VALUES (?, ?)", firstSeq + index, line)
      for (const id of ids) this.#sql.exec("INSERT INTO ids (id) VALUES (?)", id)
      this.#sql.exec("DELETE FROM ids WHERE n <= (SELECT MAX(n) FROM ids) - ?", AUDIT_IDS_MAX)
      this.#sql.exec(WRITE_HEAD, JSON.stringify(head))
    })
  }

  /** Two deliveries at once would send everything twice. */
  #deliverOnce(): Promise<void> {
    this.#delivering ??= this.#deliver().finally(() => {
      this.#delivering = undefined
    })
    return this.#delivering
  }

  async #deliver(): Promise<void> {
    // Unreadable means closed: what is sent now could be a part of something that nobody can continue.
    this.#load()
    await Promise.all(this.sinks.map((sink) => this.#deliverTo(sink)))
    await this.#inTurn(async () => this.#release())
    // What was lost while nothing had a place is told as soon as something has.
    if (this.sinks.length > 0) await this.#inTurn(() => this.#extend([]))
  }

  async #deliverTo(sink: SinkEndpoint): Promise<void> {
    for (let batches = 0; batches < AUDIT_BATCHES_PER_ALARM; batches++) {
      const firstSeq = this.#firstSeq()
      if (firstSeq === undefined) return
      const before = this.#positionOf(sink.url, firstSeq, Date.now())
      const batch = takeBatch(this.#waitingAfter(before.seq), before)
      if (batch.length === 0 || before.retryAtMs > Date.now()) return
      const text = batch.map(({ line }) => `${line}\n`).join("")
      const delivery = await postToSink(
        sink,
        { mediaType: "application/x-ndjson", text, records: batch.length },
        { ...this.env },
      )
      const { alarm, position } = afterDelivery(before, batch, delivery, Date.now(), Math.random())
      this.#sql.exec(WRITE_POSITION, sink.url, JSON.stringify(position))
      if (alarm !== undefined && delivery.kind !== "delivered") this.#complain(alarm, batch, delivery.reason)
    }
  }

  #complain(alarm: "poison" | "unavailable", [first]: readonly WaitingLine[], reason: string): void {
    const event = alarm === "poison" ? "audit_record_rejected" : "audit_sink_unavailable"
    const trail = this.ctx.id.name
    console.error(JSON.stringify({ level: "error", event, trail, seq: first?.seq, reason }))
  }

  /** Tells, once, that the trail does not get anywhere, and once that it does again. */
  #watch(): void {
    const nowMs = Date.now()
    const { bytes, records } = this.#load().waiting
    const [first] = this.#waitingAfter(0, 1)
    const waiting: TrailWaiting = { bytes, records, oldestMs: timeOfLine(first?.line) }
    const decision = decideDelay(this.#sql.exec("SELECT 1 FROM late").toArray().length > 0, waiting, nowMs)
    if (decision === undefined) return
    this.ctx.storage.transactionSync(() => {
      this.#sql.exec(decision === "delayed" ? "INSERT INTO late (id) VALUES (1)" : "DELETE FROM late")
      this.#outbox.add(auditDelayRecordOf(decision, this.ctx.id.name ?? "", waiting, nowMs))
    })
  }

  /** Deletes what every sink has acknowledged. A sink that takes trails no longer is not waited for. */
  #release(): void {
    const firstSeq = this.#firstSeq()
    if (firstSeq === undefined || this.sinks.length === 0) return
    const nowMs = Date.now()
    const urls = this.sinks.map(({ url }) => url)
    const releasedSeq = Math.min(...urls.map((url) => this.#positionOf(url, firstSeq, nowMs).seq))
    if (releasedSeq < firstSeq) return
    this.ctx.storage.transactionSync(() => {
      const { count, bytes } = this.#sql
        .exec<{ count: number; bytes: number }>(
          "SELECT COUNT(*) AS count, COALESCE(SUM(LENGTH(line)), 0) AS bytes FROM records WHERE seq <= ?",
          releasedSeq,
        )
        .one()
      this.#sql.exec("DELETE FROM records WHERE seq <= ?", releasedSeq)
      this.#sql.exec("DELETE FROM positions WHERE sink NOT IN (SELECT value FROM json_each(?))", JSON.stringify(urls))
      this.#sql.exec(WRITE_HEAD, JSON.stringify(releaseWaiting(this.#load(), count, bytes)))
    })
  }

  /** Sets the alarm for what waits now. In turn: an append that found an alarm must not lose it. */
  async #schedule(): Promise<void> {
    const firstSeq = this.#firstSeq()
    const nowMs = Date.now()
    if (firstSeq === undefined)
      return this.#outbox.hasWaiting
        ? this.ctx.storage.setAlarm(nowMs + AUDIT_RETRY_MS_MAX)
        : this.ctx.storage.deleteAlarm()
    const positions = this.sinks.map(({ url }) => this.#positionOf(url, firstSeq, nowMs))
    // Without a sink records wait for a version that has one.
    const dueMs = nextDeliveryMs(positions, this.#load().seq, nowMs) ?? nowMs + AUDIT_RETRY_MS_MAX
    await this.ctx.storage.setAlarm(dueMs)
  }

  /** Sees to it that there is an alarm. One that is later than `dueMs` is the pause of a sink, and stays. */
  async #arm(dueMs: number): Promise<void> {
    if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(dueMs)
  }

  /** Runs `step` once all steps before it are over, whatever became of them. */
  async #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(step, step)
    this.#turn = turn.catch(() => {})
    return turn
  }

  #readHead(): unknown {
    return this.#sql.exec("SELECT state FROM head").toArray()[0]?.["state"]
  }

  #load(): AuditHead {
    const stored = this.#readHead()
    const hasRecords = stored === undefined && this.#sql.exec("SELECT 1 FROM ids LIMIT 1").toArray().length > 0
    const head = restoreAuditHead(stored, hasRecords)
    if (head === undefined) throw new Error("audit_head_unreadable")
    return head
  }

  #isKnown(id: string): boolean {
    return this.#sql.exec("SELECT 1 FROM ids WHERE id = ?", id).toArray().length > 0
  }

  #firstSeq(): number | undefined {
    return this.#sql.exec<{ seq: number }>("SELECT seq FROM records ORDER BY seq LIMIT 1").toArray()[0]?.seq
  }

  /** Whether anything waits for a sink, or for the queue. */
  #isWaiting(): boolean {
    return this.#firstSeq() !== undefined || this.#outbox.hasWaiting
  }

  #waitingAfter(seq: number, max = AUDIT_BATCH_MAX): readonly WaitingLine[] {
    return this.#sql
      .exec<{ seq: number; line: string }>("SELECT seq, line FROM records WHERE seq > ? ORDER BY seq LIMIT ?", seq, max)
      .toArray()
  }

  #positionOf(sink: string, firstSeq: number, nowMs: number): SinkPosition {
    const row = this.#sql.exec("SELECT state FROM positions WHERE sink = ?", sink).toArray()[0]
    return restoreSinkPosition(row?.["state"], firstSeq, nowMs)
  }
}

function logArmFailure(error: unknown): void {
  logFailure("audit_alarm_failed", error)
}

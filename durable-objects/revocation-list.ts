/**
 * The object of one CA: keeps the revocation list in force, fetches its successor when it is due, answers about serials.
 *
 * One instance per CA, named by its key identifier, so that a list is fetched once for the whole gateway and every isolate is
 * told the same. A successor is verified as a whole and replaces the list in one transaction, or changes nothing: whatever the
 * CA's server answers, the last good list stays. Rules are `core/certificate/crl.ts` and `core/certificate/revocation.ts`; none is decided here.
 *
 * Stored: `state`, one row of JSON with a version (`ListState`); `revoked`, one row for each serial; `outbox`.
 */
import { DurableObject } from "cloudflare:workers"
import { CRL_BYTES_MAX, CRL_FETCH_TIMEOUT_MS, RECORD_RETRY_MS } from "../src/core/bounds.ts"
import { crlRecordOf, type CrlOccurrence } from "../src/core/certificate/crl-record.ts"
import { parseCrl, type CrlFacts } from "../src/core/certificate/crl.ts"
import { parseHex } from "../src/core/hex.ts"
import {
  afterFailure,
  afterSuccess,
  isRefreshDue,
  isStaleNews,
  nextRefreshMs,
  refuseList,
  restoreListState,
  statusOf,
} from "../src/core/certificate/revocation.ts"
import type { ListState, RevocationSource, RevocationStatus, StoredList } from "../src/core/certificate/revocation.ts"
import { planVerification } from "../src/core/certificate/signature.ts"
import { parseJson } from "../src/core/untrusted.ts"
import { logFailure, Outbox, OUTBOX_SCHEMA } from "./outbox.ts"

const SCHEMA = `
CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), state TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS revoked (serial TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
${OUTBOX_SCHEMA}`
const WRITE_STATE = "INSERT INTO state (id, state) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state"
const ADD = "INSERT INTO revoked (serial) SELECT value FROM json_each(?)"
const REMOVE = "DELETE FROM revoked WHERE serial IN (SELECT value FROM json_each(?))"
/** Serials in one statement: far below what the platform binds to one parameter. */
const SERIALS_PER_STATEMENT = 10_000

/** What the object says about one serial. The times are those of the list in force; null while there is none. */
export interface SerialVerdict {
  readonly status: RevocationStatus
  readonly thisUpdateMs: number | null
  readonly nextUpdateMs: number | null
}

/** How the list of a CA stands. Instants are epoch ms. */
export interface ListReport {
  readonly list: StoredList | null
  readonly attemptedAtMs: number
  readonly failures: number
  readonly nextRefreshMs: number
}

/** The Durable Object class behind the binding `REVOCATION_LIST`. */
export class RevocationList extends DurableObject<Env> {
  readonly #sql: SqlStorage
  readonly #outbox: Outbox
  #refreshing: Promise<void> | undefined

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#sql = ctx.storage.sql
    this.#outbox = new Outbox(this.#sql, env.EVENTS, "crl")
    // Synchronous, so no call can come in between and nothing has to block.
    this.#sql.exec(SCHEMA)
  }

  /**
   * Fetches the list when it is due, at most once at a time, and returns how it stands then. Never rejects because of what
   * the CA's server does.
   */
  async refresh(source: RevocationSource): Promise<ListReport> {
    this.#noteStale(source)
    if (isRefreshDue(this.#load(source), source, Date.now())) await this.#refreshOnce(source)
    return this.inspect(source)
  }

  /**
   * Returns what a serial is under the list in force. A list that is due is fetched behind the answer, so that a CA nobody
   * has asked about before does not wait for a timer.
   *
   * @param serial as `core/certificate/x509.ts` writes serials
   */
  check(serial: string, source: RevocationSource): SerialVerdict {
    this.#noteStale(source)
    const nowMs = Date.now()
    const state = this.#load(source)
    if (isRefreshDue(state, source, nowMs)) this.ctx.waitUntil(this.#refreshOnce(source))
    const isListed = this.#sql.exec("SELECT 1 FROM revoked WHERE serial = ?", serial).toArray().length > 0
    const { thisUpdateMs = null, nextUpdateMs = null } = state.list ?? {}
    return { status: statusOf(state, isListed, nowMs), thisUpdateMs, nextUpdateMs }
  }

  /** Returns how the list stands. Changes nothing. */
  inspect(source: RevocationSource): ListReport {
    const state = this.#load(source)
    const { attemptedAtMs, failures, list } = state
    return { list, attemptedAtMs, failures, nextRefreshMs: nextRefreshMs(state, source) }
  }

  /** Offers records to the queue again. Decides nothing, so it may come late, twice or never. */
  override async alarm(): Promise<void> {
    try {
      // The next one is set before anything can fail: a failing alarm is repeated a few times and then dropped for good.
      await this.ctx.storage.setAlarm(Date.now() + RECORD_RETRY_MS)
      if (await this.#outbox.deliver()) await this.ctx.storage.deleteAlarm()
    } catch (error) {
      logFailure("crl_record_delayed", error)
    }
  }

  #refreshOnce(source: RevocationSource): Promise<void> {
    this.#refreshing ??= this.#replace(source).finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  async #replace(source: RevocationSource): Promise<void> {
    const fetched = await fetchList(source)
    // From here to the end of the turn nothing else runs: what is decided on is what is replaced.
    const nowMs = Date.now()
    const state = this.#load(source)
    const reason = "reason" in fetched ? fetched.reason : refuseList(state.list, fetched.crl, source, nowMs)
    if ("crl" in fetched && reason === undefined) {
      const after = afterSuccess(state, fetched.crl, nowMs)
      this.ctx.storage.transactionSync(() => {
        const isChanged = this.#replaceSerials(fetched.crl.entries) || !isSameList(state.list, after.list)
        this.#store(after)
        if (isChanged) this.#report({ kind: "refreshed" }, source, after.list, nowMs)
      })
      return
    }
    const after = afterFailure(state, nowMs)
    this.#store(after)
    const { failures, list } = after
    this.#report({ kind: "failed", reason: reason ?? "crl_malformed", failures }, source, list, nowMs)
  }

  /** Writes only what differs: a list of 100,000 serials seldom gains more than a few. Returns whether any did. */
  #replaceSerials(entries: CrlFacts["entries"]): boolean {
    const removed: string[] = []
    const added = new Set(entries.keys())
    for (const [serial] of this.#sql.exec("SELECT serial FROM revoked").raw<[string]>()) {
      if (!added.delete(serial)) removed.push(serial)
    }
    for (const [statement, serials] of [
      [REMOVE, removed],
      [ADD, [...added]],
    ] as const) {
      for (let start = 0; start < serials.length; start += SERIALS_PER_STATEMENT)
        this.#sql.exec(statement, JSON.stringify(serials.slice(start, start + SERIALS_PER_STATEMENT)))
    }
    return removed.length + added.size > 0
  }

  #noteStale(source: RevocationSource): void {
    const nowMs = Date.now()
    const state = this.#load(source)
    if (!isStaleNews(state, nowMs)) return
    this.#store({ ...state, isStaleReported: true })
    this.#report({ kind: "stale" }, source, state.list, nowMs)
  }

  #load(source: RevocationSource): ListState {
    const text = this.#sql.exec("SELECT state FROM state").toArray()[0]?.["state"]
    return restoreListState(parseJson(text), source)
  }

  #store(state: ListState): void {
    this.#sql.exec(WRITE_STATE, JSON.stringify(state))
  }

  #report(occurrence: CrlOccurrence, { issuer }: RevocationSource, list: StoredList | null, nowMs: number): void {
    this.#outbox.add(crlRecordOf(occurrence, issuer, list, nowMs))
    this.ctx.waitUntil(this.alarm())
  }
}

/** Returns the list that the CA's server gives out, when the CA has signed it, or why there is none. */
async function fetchList(source: RevocationSource): Promise<{ readonly crl: CrlFacts } | { readonly reason: string }> {
  const signal = AbortSignal.timeout(CRL_FETCH_TIMEOUT_MS)
  try {
    // A redirect would lead to a place that nobody configured.
    const response = await fetch(source.url, { redirect: "manual", cache: "no-store", signal })
    if (response.status !== 200) {
      await response.body?.cancel()
      return { reason: `crl_status_${response.status}` }
    }
    const octets = await readBounded(response)
    if (octets === undefined) return { reason: "crl_too_large" }
    const parsed = parseCrl(octets)
    if (!parsed.ok) return parsed
    return (await isSignedBy(parsed.crl, source)) ? { crl: parsed.crl } : { reason: "crl_signature_invalid" }
  } catch {
    return { reason: signal.aborted ? "crl_timeout" : "crl_unreachable" }
  }
}

/** Returns the body, or undefined as soon as it is longer than any list that is read. */
async function readBounded(response: Response): Promise<Uint8Array | undefined> {
  if (Number(response.headers.get("content-length")) > CRL_BYTES_MAX) {
    await response.body?.cancel()
    return undefined
  }
  const chunks: Uint8Array[] = []
  let bytes = 0
  const reader = (response.body as ReadableStream<Uint8Array> | null)?.getReader()
  for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
    bytes += part.value.length
    if (bytes > CRL_BYTES_MAX) {
      await reader?.cancel()
      return undefined
    }
    chunks.push(part.value)
  }
  const octets = new Uint8Array(bytes)
  let offset = 0
  for (const chunk of chunks) {
    octets.set(chunk, offset)
    offset += chunk.length
  }
  return octets
}

async function isSignedBy(crl: CrlFacts, { ca }: RevocationSource): Promise<boolean> {
  const publicKey = parseHex(ca.publicKey) ?? new Uint8Array()
  const plan = planVerification(crl.signatureAlgorithm, publicKey, crl.signature)
  if (plan === undefined) return false
  try {
    const key = await crypto.subtle.importKey("spki", publicKey, plan.keyAlgorithm, false, ["verify"])
    return await crypto.subtle.verify(plan.algorithm, key, plan.signature, crl.signed)
  } catch {
    // A key that the platform does not take has signed nothing.
    return false
  }
}

function isSameList(left: StoredList | null, right: StoredList | null): boolean {
  return JSON.stringify(left) === JSON.stringify(right)
}

/**
 * One event, one line for a person at a terminal. The columns that every request has stand under each other; what only some
 * have (a reason, a limit nearly used up, a certificate about to expire) follows behind them. A guard that opens or closes
 * and a revocation list have lines of their own in the same columns. Pure.
 *
 * Events carry what strangers typed. Everything that is printed goes through {@link plain} first, so no control character
 * of an event ever reaches a terminal; colours are added afterwards.
 */

/** How a line is to look. */
export interface LineOptions {
  readonly color: boolean
  /** Columns of the terminal. The path takes what it leaves, 12 to 60 columns; default 28. A line is never cut. */
  readonly width?: number
}

type Paint = (text: string) => string

const PATH_COLUMNS_DEFAULT = 28
/** Columns of everything else up to the request id, and about as much as the details of a usual line. */
const OTHER_COLUMNS = 100
/** Days to a certificate's end from which on they are shown, and from which on they are red. */
const CERTIFICATE_DAYS_SHOWN = 30
const CERTIFICATE_DAYS_URGENT = 7
/** What stands behind the word with which a guard says why. */
const GUARD_REASONS: ReadonlyMap<string, string> = new Map([
  ["failures", "too many failures"],
  ["admin", "by an administrator"],
  ["elapsed", "time is up"],
  ["unblock", "unblocked by an administrator"],
  ["reset", "reset by an administrator"],
])
/** Longest text of one field, in characters. */
const FIELD_LENGTH_MAX = 200

/** Returns the line of an event, without a line feed. Missing fields leave their column empty or show a dash. */
export function formatEventLine(event: Readonly<Record<string, unknown>>, { color, width }: LineOptions): string {
  const paint = color ? PAINTS : PLAIN
  if (event["event"] === "guard.opened" || event["event"] === "guard.closed")
    return formatGuardRecord(event, paint, width)
  if (typeof event["event"] === "string" && event["event"].startsWith("crl."))
    return formatCrlRecord(event, paint, width)
  if (event["event"] !== undefined && event["event"] !== "request") return formatOtherEvent(event, paint)
  const status = numberIn(event, "status")
  const statusPaint = paint[statusColor(status)]
  const outcome = textIn(event, "problem") ?? textIn(event, "outcome") ?? "-"
  const columns = [
    paint.dim(formatTime(event["timestamp"])),
    statusPaint(fit(status === undefined ? "-" : String(status), 3)),
    fit(textIn(event, "method") ?? "-", 6),
    fit(textIn(event, "path") ?? "-", pathColumnsOf(width)),
    paint.cyan(fit(textIn(event, "client_id") ?? "-", 12)),
    paint[outcomeColor(event["outcome"])](fit(outcome, 22)),
    formatMs(numberIn(event, "latency_ms")).padStart(8),
    paint.dim(formatOriginMs(numberIn(event, "origin_ms"))),
    paint.dim(fit(shortId(textIn(event, "request_id")), 9)),
    formatDetails(event, paint),
  ]
  return columns.join("  ").trimEnd()
}

/**
 * Returns `text` with every character that is not meant to be seen replaced by U+FFFD: control characters (ESC and the C1
 * range among them), format characters such as bidirectional overrides, line separators, lone surrogates. Cut at 200.
 */
export function plain(text: string): string {
  return text.slice(0, FIELD_LENGTH_MAX).replaceAll(/[\p{C}\p{Zl}\p{Zp}]/gu, "\uFFFD")
}

/** Returns an event as one line of JSON that is safe on a terminal too: JSON itself leaves DEL and C1 as they are. */
export function formatJsonLine(event: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(event).replaceAll(/[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    [...Array(character.length).keys()].map((index) => `\\u${hex4(character.charCodeAt(index))}`).join(""),
  )
}

/** Why it was refused, what is left of the limit and who said so, how the guards took it, what is wrong elsewhere. */
function formatDetails(event: Readonly<Record<string, unknown>>, paint: Palette): string {
  const details: string[] = []
  const reason = textIn(event, "reason")
  if (reason !== undefined) details.push(reason)
  const remaining = numberIn(event, "rate_limit_remaining")
  if (remaining !== undefined) details.push(paint[remaining > 0 ? "dim" : "yellow"](`${remaining} left`))
  const retryAfterMs = numberIn(event, "rate_limit_retry_after_ms")
  if (retryAfterMs !== undefined && retryAfterMs > 0) details.push(paint.yellow(`retry in ${formatWait(retryAfterMs)}`))
  const guard = textIn(event, "guard")
  if (guard !== undefined) details.push(paint.red(`blocked by ${guard}${formatRest(event, "guard_retry_after_ms")}`))
  if (event["guard_outcome"] === "failure") details.push(paint.yellow("counts as failure"))
  const soft = textIn(event, "rate_limit_soft")
  if (soft !== undefined) details.push(paint.yellow(`over ${soft} (soft)`))
  if (event["origin_unhealthy"] === true) details.push(paint.red("origin unhealthy"))
  const unknown = textIn(event, "revocation_unknown")
  if (unknown !== undefined) details.push(paint.red(`revocation list ${unknown}`))
  const gate = textIn(event, "gate")
  if (gate !== undefined) details.push(paint.dim(gate))
  if (event["audit"] === "recorded") details.push(paint.dim("on the trail"))
  if (event["audit"] === "delayed") details.push(paint.red("outcome not on the trail yet"))
  const daysLeft = numberIn(event, "certificate_days_left")
  if (daysLeft !== undefined && daysLeft <= CERTIFICATE_DAYS_SHOWN) {
    const text = daysLeft < 0 ? "certificate expired" : `certificate ends in ${Math.floor(daysLeft)} d`
    details.push(paint[daysLeft <= CERTIFICATE_DAYS_URGENT ? "red" : "yellow"](text))
  }
  return details.join(paint.dim(", "))
}

/** When a guard opened or closed, which one, for whom, why, until when, and which block in a row that is. */
function formatGuardRecord(
  event: Readonly<Record<string, unknown>>,
  paint: Palette,
  width: number | undefined,
): string {
  const isOpened = event["event"] === "guard.opened"
  const { timestamp, blocked_until: blockedUntil } = event
  const client = textIn(event, "client_id")
  const whom = fit(client ?? textIn(event, "key_kind") ?? "-", 12)
  const reason = textIn(event, "reason")
  const lengthMs = instantIn(blockedUntil) - instantIn(timestamp)
  const attempt = numberIn(event, "attempt") ?? 0
  const details = [
    (reason === undefined ? undefined : GUARD_REASONS.get(reason)) ?? reason ?? "-",
    isOpened
      ? `blocked${lengthMs > 0 ? ` for ${formatWait(lengthMs)}` : ""} until ${formatEnd(blockedUntil, timestamp)}`
      : `was blocked until ${formatEnd(blockedUntil, timestamp)}`,
    // An administrator's block is none of a row.
    ...(attempt > 0 ? [`attempt ${attempt}`] : []),
  ]
  const loud = paint[isOpened ? "red" : "green"]
  const columns = [
    paint.dim(formatTime(timestamp)),
    loud(isOpened ? ">>>" : "<<<"),
    loud(fit("guard", 6)),
    fit(textIn(event, "guard") ?? "-", pathColumnsOf(width)),
    paint[client === undefined ? "dim" : "cyan"](whom),
    loud(fit(isOpened ? "opened" : "closed", 22)),
    details.join(paint.dim(", ")),
  ]
  return columns.join("  ").trimEnd()
}

/** What has become of whose revocation list, why, and until when the one in force is. */
function formatCrlRecord(event: Readonly<Record<string, unknown>>, paint: Palette, width: number | undefined): string {
  const { timestamp, next_update: nextUpdate } = event
  const what = (textIn(event, "event") ?? "").slice("crl.".length)
  const loud = paint[what === "refreshed" ? "green" : what === "failed" ? "yellow" : "red"]
  const reason = textIn(event, "reason")
  const entries = numberIn(event, "entries")
  const failures = numberIn(event, "failures") ?? 0
  const details = [
    ...(reason === undefined ? [] : [reason]),
    ...(failures > 1 ? [`${failures} in a row`] : []),
    ...(entries === undefined
      ? ["there is no list"]
      : [`${entries} revoked`, `in force until ${formatEnd(nextUpdate, timestamp)}`]),
  ]
  const columns = [
    paint.dim(formatTime(timestamp)),
    loud("crl"),
    loud(fit("list", 6)),
    fit(textIn(event, "issuer") ?? "-", pathColumnsOf(width)),
    fit("", 12),
    loud(fit(what, 22)),
    details.join(paint.dim(", ")),
  ]
  return columns.join("  ").trimEnd()
}

/** An event that is no request: its level, its name, and every other field as it is. */
function formatOtherEvent(event: Readonly<Record<string, unknown>>, paint: Palette): string {
  const { timestamp, level: _level, event: _event, ...rest } = event
  const level = textIn(event, "level") ?? "-"
  const levelColor = level === "error" ? "red" : level === "warn" ? "yellow" : "dim"
  const fields = Object.entries(rest).map(([name, value]) => {
    const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "-")
    return `${paint.dim(`${plain(name)}=`)}${plain(text)}`
  })
  const name = textIn(event, "event") ?? "-"
  return [paint.dim(formatTime(timestamp)), paint[levelColor](fit(level, 5)), name, ...fields].join("  ")
}

/** Local time of day with milliseconds, behind the date when that is not the day of `timestamp`. */
function formatEnd(value: unknown, timestamp: unknown): string {
  const end = new Date(instantIn(value))
  const isSameDay = new Date(instantIn(timestamp)).toDateString() === end.toDateString()
  if (isSameDay || Number.isNaN(end.getTime())) return formatTime(value)
  const [month, day] = [end.getMonth() + 1, end.getDate()].map((part) => String(part).padStart(2, "0"))
  return `${end.getFullYear()}-${month}-${day} ${formatTime(value)}`
}

/** Local time of day with milliseconds. */
function formatTime(value: unknown): string {
  const date = new Date(instantIn(value))
  if (Number.isNaN(date.getTime())) return "--:--:--.---"
  const [hours, minutes, seconds] = [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) =>
    String(part).padStart(2, "0"),
  )
  return `${hours}:${minutes}:${seconds}.${String(date.getMilliseconds()).padStart(3, "0")}`
}

/** Three significant digits at most, in the unit in which they are short. */
function formatMs(ms: number | undefined): string {
  if (ms === undefined) return "-"
  if (ms >= 9_999.5) return `${(ms / 1_000).toFixed(ms >= 99_950 ? 0 : 1)} s`
  return `${ms.toFixed(ms >= 9.95 || Number.isInteger(ms) ? 0 : 1)} ms`
}

function formatOriginMs(ms: number | undefined): string {
  return ms === undefined ? " ".repeat(10) : `(${formatMs(ms)})`.padStart(10)
}

/** The end of an id: a UUIDv7 begins with the time, which requests of one minute share. */
function shortId(id: string | undefined): string {
  const characters = Array.from(id ?? "")
  return characters.length > 8 ? `…${characters.slice(-8).join("")}` : characters.join("")
}

/** Pads to a number of columns, or cuts and marks the cut. */
function fit(text: string, columns: number): string {
  const characters = Array.from(text)
  return characters.length > columns
    ? `${characters.slice(0, columns - 1).join("")}…`
    : text + " ".repeat(columns - characters.length)
}

/** Epoch ms of an RFC 3339 text; NaN when it is none. */
function instantIn(value: unknown): number {
  return typeof value === "string" ? Date.parse(value) : Number.NaN
}

function textIn(event: Readonly<Record<string, unknown>>, name: string): string | undefined {
  const value = event[name]
  return typeof value === "string" && value !== "" ? plain(value) : undefined
}

function numberIn(event: Readonly<Record<string, unknown>>, name: string): number | undefined {
  const value = event[name]
  return typeof value === "number" && Number.isFinite(value) ? value : undefined
}

function hex4(code: number): string {
  return code.toString(16).padStart(4, "0")
}

const SGR = { red: 31, green: 32, yellow: 33, cyan: 36, dim: 2 } as const
type Color = keyof typeof SGR
type Palette = Readonly<Record<Color, Paint>>

const PAINTS = mapColors((code) => (text) => (text.trim() === "" ? text : `\u001b[${code}m${text}\u001b[0m`))
const PLAIN = mapColors(() => (text) => text)

function mapColors(paintWith: (code: number) => Paint): Palette {
  const { red, green, yellow, cyan, dim } = SGR
  return {
    red: paintWith(red),
    green: paintWith(green),
    yellow: paintWith(yellow),
    cyan: paintWith(cyan),
    dim: paintWith(dim),
  }
}

/** Columns of the path, or of a guard's name. */
function pathColumnsOf(width: number | undefined): number {
  return width === undefined ? PATH_COLUMNS_DEFAULT : Math.min(Math.max(width - OTHER_COLUMNS, 12), 60)
}

function statusColor(status: number | undefined): Color {
  if (status === undefined || status < 200) return "dim"
  if (status < 300) return "green"
  if (status < 400) return "cyan"
  return status < 500 ? "yellow" : "red"
}

function outcomeColor(outcome: unknown): Color {
  if (outcome === "refused") return "yellow"
  return outcome === "failed" ? "red" : "dim"
}

/** How much longer, where the event says so. */
function formatRest(event: Readonly<Record<string, unknown>>, name: string): string {
  const ms = numberIn(event, name)
  return ms !== undefined && ms > 0 ? `, retry in ${formatWait(ms)}` : ""
}

/** Two or three digits in the unit in which a person counts such a time. */
function formatWait(ms: number): string {
  if (ms < 1_000) return `${Math.ceil(ms)} ms`
  if (ms < 119_500) return `${(ms / 1_000).toFixed(ms < 9_950 ? 1 : 0)} s`
  if (ms < 119.5 * 60_000) return `${Math.round(ms / 60_000)} min`
  return ms < 47.5 * 3_600_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`
}

/**
 * What the gateway decides about WebSockets: which requests may become one, which fields of the handshake go on, when an open
 * one is closed, and with which code.
 *
 * Extensions are never negotiated: without compression a small frame cannot become a large message. Pure and total; called by
 * the stages `route`, `respond` and `origin` and by `origin/websocket.ts`.
 *
 * @see RFC 6455 §4 (handshake), §7.4 (close codes)
 */
import { WEBSOCKET_CLOSE_REASON_BYTES_MAX } from "../bounds.ts"

/** What holds for every socket of a route. */
export interface WebSocketTerms {
  /** Longest time without a message of either side, ms. */
  readonly idleTimeoutMs: number
  /** Largest message of either side, octets. */
  readonly messageBytesMax: number
  /** How often it is asked again whether the client may still have it, ms. */
  readonly recheckMs: number
}

/** A request as far as the handshake is concerned. Values of fields; null for those that are absent. */
export interface UpgradeFields {
  readonly method: string
  /** As the platform names it, such as `HTTP/1.1`; undefined when it does not say. */
  readonly httpProtocol: string | undefined
  readonly upgrade: string | null
  readonly version: string | null
  readonly key: string | null
  readonly protocols: string | null
  /** Whether the request announces content. */
  readonly hasContent: boolean
}

/**
 * `none`: the request asks for no WebSocket; another protocol that it asks for is ignored, as RFC 9110 §7.8 allows. `accepted`:
 * the handshake is well formed. `refused`: it is not, or the route has no sockets.
 */
export type UpgradeDecision =
  | { readonly kind: "none" }
  | { readonly kind: "accepted"; readonly protocols: readonly string[] }
  | UpgradeRefusal

/** Why a request gets no WebSocket. */
export interface UpgradeRefusal {
  readonly kind: "refused"
  readonly code: "malformed-request" | "upgrade-not-allowed"
  readonly reason: string
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
/** Sixteen octets in base64. @see RFC 6455 §4.2.1 */
const KEY = /^[A-Za-z0-9+/]{21}[AQgw]==$/

/**
 * Decides what a request asks for.
 *
 * @param terms those of its route; undefined where the route has no sockets
 * @see RFC 6455 §4.2.1
 */
export function decideUpgrade(request: UpgradeFields, terms: WebSocketTerms | undefined): UpgradeDecision {
  if (request.upgrade === null) return NO_UPGRADE
  const asked = listOf(request.upgrade).map((protocol) => protocol.toLowerCase())
  if (!asked.includes("websocket")) return NO_UPGRADE
  if (terms === undefined) return refused("upgrade-not-allowed", "route_without_websocket")
  if (request.httpProtocol !== undefined && request.httpProtocol !== "HTTP/1.1")
    return refused("upgrade-not-allowed", "upgrade_http_version")
  if (request.method !== "GET") return refused("upgrade-not-allowed", "upgrade_method")
  if (request.version !== "13") return refused("upgrade-not-allowed", "websocket_version")
  if (request.hasContent) return refused("malformed-request", "upgrade_with_content")
  if (request.key === null || !KEY.test(request.key)) return refused("malformed-request", "websocket_key")
  const protocols = request.protocols === null ? [] : listOf(request.protocols)
  const isList = protocols.every((protocol) => TOKEN.test(protocol)) && new Set(protocols).size === protocols.length
  if (!isList || (request.protocols !== null && protocols.length === 0))
    return refused("malformed-request", "websocket_protocol")
  return { kind: "accepted", protocols }
}

const NO_UPGRADE: UpgradeDecision = { kind: "none" }

function refused(code: "malformed-request" | "upgrade-not-allowed", reason: string): UpgradeDecision {
  return { kind: "refused", code, reason }
}

function listOf(value: string): readonly string[] {
  return value
    .split(",")
    .map((item) => item.trim())
    .filter((item) => item !== "")
}

/**
 * Returns the fields of the handshake towards the origin: key, version and acceptance belong to one connection, and the
 * platform makes those of the next one.
 */
export function handshakeFields(protocols: readonly string[]): readonly (readonly [name: string, value: string])[] {
  return [
    ["Upgrade", "websocket"],
    ...(protocols.length === 0 ? [] : ([["Sec-WebSocket-Protocol", protocols.join(", ")]] as const)),
  ]
}

/** Returns true for a field of a client's handshake: none goes on but what {@link handshakeFields} says. `name` is lower case. */
export function isHandshakeField(name: string): boolean {
  return name.startsWith("sec-websocket-")
}

/**
 * Returns the subprotocol that an origin has chosen, undefined when it has chosen none, and null when it has chosen one that
 * nobody offered: such a connection fails. @see RFC 6455 §4.1
 */
export function chosenProtocol(answer: string | null, offered: readonly string[]): string | undefined | null {
  if (answer === null || answer === "") return undefined
  return offered.includes(answer) ? answer : null
}

/** A close as it is sent: without a code the frame is empty. */
export interface Close {
  readonly code: number | undefined
  readonly reason: string
}

/** Which side a close comes from: the side that closed, or the gateway itself. */
export type ClosedBy = "client" | "origin" | "gateway"

/**
 * Returns what the other side is told when one side has closed with `code`. Codes and reasons are handed on as they are, but
 * for those that stand for something no frame may say: no code stays no code, a connection that broke off is 1001 for an
 * origin (its client is gone) and 1014 for a client (bad gateway), and what is no code at all is 1002.
 *
 * @see RFC 6455 §7.4.1
 */
export function relayClose(code: number, reason: string, from: "client" | "origin"): Close {
  if (code === 1005 || code === 0) return { code: undefined, reason: "" }
  if (code === 1006 || code === 1015) return { code: from === "client" ? 1001 : 1014, reason: "" }
  if (!isSendable(code)) return { code: 1002, reason: "" }
  return { code, reason: cutReason(reason) }
}

/** Returns true for a code that a frame may carry. 1004 and 1016 to 2999 have no meaning yet. */
export function isSendable(code: number): boolean {
  if (!Number.isInteger(code)) return false
  return (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || isOwn(code)
}

function isOwn(code: number): boolean {
  return code >= 3000 && code <= 4999
}

/** A close frame holds 125 octets, two of them the code. */
function cutReason(reason: string): string {
  let text = ""
  let octets = 0
  for (const char of reason.toWellFormed()) {
    const point = char.codePointAt(0) ?? 0
    octets += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4
    if (octets > WEBSOCKET_CLOSE_REASON_BYTES_MAX) return text
    text += char
  }
  return text
}

/** Why the gateway closes a socket by itself. */
export type CloseCause = "idle" | "message_too_large" | "revoked" | "unknown" | "place_lost"

/** What is sent to both sides then. */
export const GATEWAY_CLOSES: Readonly<Record<CloseCause, { readonly code: number; readonly reason: string }>> = {
  idle: { code: 1001, reason: "idle" },
  message_too_large: { code: 1009, reason: "message too large" },
  // Poor on purpose: which of the checks no longer holds is for the record alone.
  revoked: { code: 1008, reason: "no longer allowed" },
  unknown: { code: 1013, reason: "try again later" },
  place_lost: { code: 1013, reason: "try again later" },
}

/**
 * What asking again said: the client may still have its socket, may no longer, nobody knows, or its place among the sockets at
 * once is lost. `reason` is for the record.
 */
export type Standing =
  | { readonly kind: "holds" }
  | { readonly kind: "ended" | "unknown" | "place_lost"; readonly reason: string }

/** The standing of a client whose every right still holds. */
export const HOLDS: Standing = { kind: "holds" }

/** An open socket between two looks at the clock. Instants are epoch ms. */
export interface SocketWatch {
  readonly lastMessageMs: number
  readonly lastRecheckMs: number
  /** Rechecks in a row that nobody could answer. */
  readonly unknowns: number
}

/** What is due: close for idleness, ask again, or look again in `waitMs`. */
export type SocketDuty =
  | { readonly kind: "idle" }
  | { readonly kind: "recheck" }
  | { readonly kind: "wait"; readonly waitMs: number }

/**
 * Returns what is due at `nowMs`. A clock that was set back counts as no time passing: nothing is late by it, and the wait is
 * never longer than one period.
 */
export function decideSocket(
  watch: SocketWatch,
  { idleTimeoutMs, recheckMs }: Pick<WebSocketTerms, "idleTimeoutMs" | "recheckMs">,
  nowMs: number,
): SocketDuty {
  const idleMs = idleTimeoutMs - Math.max(0, nowMs - watch.lastMessageMs)
  if (idleMs <= 0) return { kind: "idle" }
  const dueMs = recheckMs - Math.max(0, nowMs - watch.lastRecheckMs)
  if (dueMs <= 0) return { kind: "recheck" }
  return { kind: "wait", waitMs: Math.min(idleMs, dueMs) }
}

/** Rechecks in a row without an answer that a socket survives: one lost call closes nobody's socket, a lasting fault does. */
const UNKNOWNS_TOLERATED = 1

/** Returns the watch after a recheck that ended at `nowMs`, and why the socket has to be closed, if it has. */
export function afterRecheck(
  watch: SocketWatch,
  standings: readonly Standing[],
  nowMs: number,
): {
  readonly watch: SocketWatch
  readonly close: { readonly cause: CloseCause; readonly reason: string } | undefined
} {
  const find = (kind: Exclude<Standing["kind"], "holds">): string | undefined => {
    const found = standings.find((standing) => standing.kind === kind)
    return found === undefined || found.kind === "holds" ? undefined : found.reason
  }
  const ended = find("ended")
  const lost = find("place_lost")
  const unknown = find("unknown")
  const next = { ...watch, lastRecheckMs: nowMs, unknowns: unknown === undefined ? 0 : watch.unknowns + 1 }
  if (ended !== undefined) return { watch: next, close: { cause: "revoked", reason: ended } }
  if (lost !== undefined) return { watch: next, close: { cause: "place_lost", reason: lost } }
  if (unknown !== undefined && next.unknowns > UNKNOWNS_TOLERATED)
    return { watch: next, close: { cause: "unknown", reason: unknown } }
  return { watch: next, close: undefined }
}

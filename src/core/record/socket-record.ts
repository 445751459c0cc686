/**
 * What the record says when a WebSocket has ended: who closed it and how, and how much went through. The reason that a peer
 * gives is its own text and is not written; the gateway's own reason is. Pure and total; called by the stage `access-log`.
 */
import { formatInstant, type SocketRecord } from "./event.ts"
import { redactText } from "./redaction.ts"
import type { ClosedBy } from "../message/websocket.ts"

/** The end of a socket, and the request that it came from. Instants are epoch ms. */
export interface SocketFacts {
  readonly openedMs: number
  readonly closedMs: number
  readonly closedBy: ClosedBy
  /** As received or sent; undefined for an empty close frame. */
  readonly code: number | undefined
  readonly reason: string | undefined
  readonly messagesIn: number
  readonly bytesIn: number
  readonly messagesOut: number
  readonly bytesOut: number
  readonly requestId: string
  readonly traceId: string
  readonly spanId: string
  readonly clientId: string | undefined
  readonly route: string | undefined
  readonly origin: string | undefined
}

/** Returns the record. What the gateway ended, and what broke off, is a warning. */
export function socketRecordOf(facts: SocketFacts): SocketRecord {
  const { clientId, code, origin, reason, route } = facts
  const isWarning = facts.closedBy === "gateway" ? reason !== "idle" : code === 1006
  return {
    timestamp: formatInstant(facts.closedMs),
    level: isWarning ? "warn" : "info",
    event: "websocket.closed",
    request_id: facts.requestId,
    trace_id: facts.traceId,
    span_id: facts.spanId,
    ...(clientId === undefined ? {} : { client_id: clientId }),
    ...(route === undefined ? {} : { route: redactText(route) }),
    ...(origin === undefined ? {} : { origin }),
    closed_by: facts.closedBy,
    code: code ?? 1005,
    ...(reason === undefined ? {} : { reason: redactText(reason) }),
    duration_ms: Math.max(0, facts.closedMs - facts.openedMs),
    messages_in: facts.messagesIn,
    bytes_in: facts.bytesIn,
    messages_out: facts.messagesOut,
    bytes_out: facts.bytesOut,
  }
}

/**
 * What the edge decided by itself, for people at a terminal.
 */
import type { EdgeEvent } from "../edge/options.ts"

/** Something that a person at the terminal should know. */
export interface Notice {
  readonly level: "info" | "warn" | "error"
  readonly text: string
}

/** Returns what an event of the edge says, in words; nothing for handshakes without a word of TLS, which are noise on any open port. */
export function noticeOf(event: EdgeEvent): readonly Notice[] {
  switch (event.kind) {
    case "refused":
      return [
        {
          level: "warn",
          text: `edge refused ${event.method} ${event.target} with ${event.status} ${event.code}, request ${event.requestId}`,
        },
      ]
    case "tls-failed":
      return [{ level: "warn", text: `TLS handshake failed: ${event.reason}` }]
    case "worker-failed":
      return [{ level: "error", text: `the Worker did not answer: ${event.reason}` }]
    case "crl-unavailable":
      return [{ level: "error", text: `no usable revocation list for ${event.issuer}: ${event.reason}` }]
    case "reload-failed":
    case "internal-error":
      return [{ level: "error", text: `edge: ${event.reason}` }]
    case "reloaded":
    case "connection-dropped":
      return []
  }
}

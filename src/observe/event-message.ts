/**
 * What travels through the queue: events of one isolate, packed.
 */
import type { GatewayEvent } from "../core/event.ts"

/** One queue message. `version` lets a newer consumer read what an older producer has left in the queue. */
export interface EventMessage {
  readonly version: 1
  /** 1 to 100 events, below 128 KB as JSON. */
  readonly events: readonly GatewayEvent[]
  /** Events that this isolate had to drop since its last message. */
  readonly dropped: number
}

/**
 * Returns the message in an untrusted body, or undefined. Its events were made by this gateway, by this version or
 * another, so no member of theirs is relied on.
 */
export function parseEventMessage(body: unknown): EventMessage | undefined {
  if (typeof body !== "object" || body === null) return undefined
  const { version, events, dropped } = body as Partial<Record<keyof EventMessage, unknown>>
  if (version !== 1 || !Array.isArray(events) || typeof dropped !== "number") return undefined
  if (!events.every((event) => typeof event === "object" && event !== null)) return undefined
  return { version, events: events as GatewayEvent[], dropped }
}

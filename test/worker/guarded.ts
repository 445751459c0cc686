/**
 * A gateway whose routes have a guard, and an origin that answers as a request asks: what the tests of guards share.
 */
import { env } from "cloudflare:workers"
import { vi } from "vitest"
import type { GuardRecord } from "../../src/core/record/event.ts"
import type { GateReport } from "../../src/core/gate/gate-report.ts"
import type { EventMessage } from "../../src/observe/event-message.ts"
import { createGateway, writtenLines, type GatewayOptions, type RequestParts, type TestGateway } from "./harness.ts"

/** The guard of the attack cases: 5 failures within a minute block for 5 minutes, twice that, up to an hour. */
export const GUARD = {
  max_failures: 5,
  failure_duration: "60s",
  backoff: { kind: "exponential", min: "5m", max: "60m", random_factor: 0.2, reset: "1h" },
  guard_reset_timeout: "1h",
  success_policy: "ignore",
} as const

/** What differs from {@link GUARD}, from its route, and from the gateway of the harness. */
export interface GuardedParts {
  readonly guard?: Readonly<Record<string, unknown>>
  readonly route?: Readonly<Record<string, unknown>>
  readonly overrides?: Readonly<Record<string, unknown>> | ((name: string) => Readonly<Record<string, unknown>>)
  readonly options?: GatewayOptions
}

/** Returns a gateway whose prefix `/public` has the guard `login` and the limit `generous`. */
export function createGuarded({ guard, route, overrides, options }: GuardedParts = {}): TestGateway {
  return createGateway(
    (name) => ({
      GUARDS: { login: { ...GUARD, ...guard } },
      ROUTES: [{ prefix: "/public", origin: "stub", limits: "generous", guard: "login", ...route }],
      ...(typeof overrides === "function" ? overrides(name) : overrides),
    }),
    options,
  )
}

/** Returns a request that the origin answers with this status and these fields. */
export function answering(status: number, fields: Readonly<Record<string, string>> = {}): RequestParts {
  return { target: `/public/answer?${String(new URLSearchParams({ status: String(status), ...fields }))}` }
}

/** Sends requests one after the other. Returns the statuses that came back. */
export async function statusesOf(gateway: TestGateway, requests: readonly RequestParts[]): Promise<readonly number[]> {
  const statuses: number[] = []
  for (const parts of requests) statuses.push((await gateway.fetch(parts)).status)
  return statuses
}

/** Lets the guard of a client count failures, one after the other. */
export async function fail(gateway: TestGateway, times: number, parts: RequestParts = {}): Promise<readonly number[]> {
  return statusesOf(
    gateway,
    Array.from({ length: times }, () => ({ ...answering(401), ...parts })),
  )
}

/** Returns the object of a client. */
export function objectOf(gateway: TestGateway, client = "acme-a"): ReturnType<Env["CLIENT_GATE"]["getByName"]> {
  return env.CLIENT_GATE.getByName(gateway.clientId(client))
}

/** Returns how a client stands. */
export async function reportOf(gateway: TestGateway, client = "acme-a"): Promise<GateReport> {
  return objectOf(gateway, client).inspect()
}

/** Takes the place of the queue for the objects. Returns the messages that it was given; `refuse` makes it take none. */
export function replaceQueue(): { readonly messages: EventMessage[]; refuse: boolean } {
  const queue = { messages: [] as EventMessage[], refuse: false }
  vi.spyOn(env.EVENTS as Queue, "send").mockImplementation((message) => {
    if (queue.refuse) return Promise.reject(new Error("Queue is full"))
    queue.messages.push(message as EventMessage)
    return Promise.resolve({} as QueueSendResponse)
  })
  return queue
}

/** Returns the records of guards on the console, in order. */
export function guardRecords(): readonly GuardRecord[] {
  return writtenLines()
    .map((line) => JSON.parse(line) as GuardRecord)
    .filter(({ event }) => event.startsWith("guard."))
}

/**
 * What the whole gateway costs: CPU time per request against a Worker that only calls fetch, on the same workerd, and beside
 * what people would use instead. Each ratio is taken within its round.
 */
import { randomUUID } from "node:crypto"
import { join } from "node:path"
import { mintAssertionKey } from "../cli/assertion-keys.ts"
import { mintRecordKey } from "../cli/record-keys.ts"
import { startAlternatives } from "./alternatives.ts"
import { FLOORS, startFloor } from "./floors.ts"
import { runSlice } from "./load.ts"
import { plainGateway, startOrigin } from "./parties.ts"
import { runRounds, type RoundsOptions } from "./rounds.ts"
import { reportTargets, type Target } from "./target.ts"
import { requestFields } from "./worker.ts"
import { startBareGateway } from "./workerd.ts"

/** Measures and prints all targets. */
export async function benchTargets(options: RoundsOptions & { readonly alternatives: boolean }): Promise<void> {
  const { alternatives, directory, requests, v8Flags } = options
  const origin = await startOrigin()
  const targets: Target[] = []
  try {
    const originUrl = origin.url
    const fields = await requestFields(join(directory, "pki"))
    for (const name of ["pass-through", "essentials"] as const)
      targets.push({ name, does: FLOORS[name], ...(await startFloor(name, originUrl, join(directory, name), v8Flags)) })
    for (const { overrides, ...target } of variantsFor(originUrl, await mintAssertionKey("ES256")))
      targets.push({ ...target, ...(await startBareGateway(overrides, join(directory, target.name), { v8Flags })) })
    if (alternatives) targets.push(...(await startAlternatives(originUrl, directory, v8Flags)))
    const slices = await runRounds(
      options,
      targets.map(({ isKeyed, pid, port: own }) => {
        const url = new URL(`http://localhost:${own}/balance`)
        return () =>
          isKeyed
            ? runSlice(url, () => ({ ...fields, "Idempotency-Key": `"${randomUUID()}"` }), requests, pid, {
                body: PAYMENT,
              })
            : runSlice(url, fields, requests, pid)
      }),
    )
    reportTargets(targets, slices, "pass-through", options)
  } finally {
    origin.close()
    await Promise.all(targets.map(async (target) => target.close()))
  }
}

/** What a keyed request posts. */
const PAYMENT = Buffer.from(JSON.stringify({ filler: "x".repeat(187) }))

function variantsFor(originUrl: string, assertionKey: string) {
  const gateway = plainGateway(originUrl)
  const withEvents = { ...gateway, SINKS: [{ kind: "otlp", url: originUrl }] }
  return [
    { name: "gateway", does: "all stages, one rate, leased; no events", overrides: gateway },
    { name: "gateway + events", does: "the same, with events to the queue", overrides: withEvents },
    {
      name: "gateway + traces",
      does: "with events and the spans of every request to the queue",
      overrides: {
        ...withEvents,
        SINKS: [...withEvents.SINKS, { kind: "otlp", url: `${originUrl}/v1/traces`, takes: ["traces"] }],
      },
    },
    {
      name: "gateway + console",
      does: "with events to the queue and to the console",
      overrides: { ...withEvents, GATEWAY: { hosts: ["localhost"] } },
    },
    {
      name: "gateway + assertion",
      does: "no events; an assertion for the origin, ES256",
      overrides: {
        ...gateway,
        GATEWAY: { ...gateway.GATEWAY, assertion: { issuer: "https://localhost", keys: ["ASSERTION_KEY"] } },
        ORIGINS: { bank: { url: originUrl, assertion: true } },
        ASSERTION_KEY: assertionKey,
      },
    },
    {
      name: "gateway + audit",
      does: "no events; intent and outcome on the client's trail: two object calls a request",
      overrides: {
        ...gateway,
        ROUTES: gateway.ROUTES.map((route) => ({ ...route, audit: "required" })),
        SINKS: [{ kind: "ndjson", url: originUrl, takes: ["audit"] }],
      },
    },
    {
      name: "gateway + key",
      does: "no events; POST of 200 octets under an idempotency key: two object calls a request, the answer encrypted",
      isKeyed: true,
      overrides: {
        ...gateway,
        GATEWAY: { ...gateway.GATEWAY, idempotency: { keys: ["RECORD_KEY"] } },
        ROUTES: gateway.ROUTES.map((route) => ({ ...route, methods: ["POST"], idempotency: "required" })),
        RECORD_KEY: mintRecordKey("bench"),
      },
    },
    {
      name: "gateway, asking",
      does: "no events; a rate too quick to lend: one object call a request",
      overrides: { ...gateway, LIMITS: { standard: { rate: "1000000/s", burst: 100_000 } } },
    },
  ]
}

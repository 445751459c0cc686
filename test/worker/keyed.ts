/**
 * Gateways whose route `/pay` has idempotency keys, and requests to it.
 */
import {
  createGateway,
  fixtures,
  variables,
  type GatewayOptions,
  type RequestParts,
  type TestGateway,
} from "./harness.ts"

/** Two secrets that protect records. */
export const RECORD_KEY = JSON.stringify({ kty: "oct", k: "A".repeat(43), kid: "one" })
export const RECORD_KEY_2 = JSON.stringify({ kty: "oct", k: `${"B".repeat(42)}A`, kid: "two" })

/** The key that requests have unless a test says otherwise. */
export const KEY = '"canary-8e03978e"'

/** What differs from a gateway with one secret. Members that are no options of a gateway belong to its origin. */
interface KeyedOptions extends GatewayOptions {
  readonly keys?: readonly string[]
  readonly LIMITS?: unknown
  readonly GUARDS?: unknown
  readonly timeout?: string
  readonly breaker?: unknown
  readonly binding?: string
  /** Of another gateway, whose clients and origin this one has. */
  readonly name?: string
}

/** Returns a gateway with keys on everything below `/pay`. `route` is added to the route. */
export function createKeyed(route: Readonly<Record<string, unknown>> = {}, options: KeyedOptions = {}): TestGateway {
  const { binding, breaker, GUARDS, keys = ["IDEMPOTENCY_KEY"], LIMITS, name, timeout, ...rest } = options
  return createGateway(
    (own) => {
      const at = name ?? own
      return {
        ...(name === undefined ? {} : variables(name)),
        GATEWAY: { hosts: ["gw.test", "a.test"], log_flush: "10ms", idempotency: { keys } },
        ORIGINS: {
          stub: {
            url: `http://127.0.0.1:${fixtures.originPort}/${at}`,
            ...(timeout === undefined ? {} : { timeout }),
            ...(breaker === undefined ? {} : { breaker }),
            ...(binding === undefined ? {} : { binding }),
          },
        },
        ...(LIMITS === undefined ? {} : { LIMITS }),
        ...(GUARDS === undefined ? {} : { GUARDS }),
        ROUTES: [{ prefix: "/pay", origin: "stub", limits: "generous", idempotency: "required", ...route }],
      }
    },
    { secrets: { IDEMPOTENCY_KEY: RECORD_KEY }, ...rest },
  )
}

/** Returns a payment under {@link KEY}; null sends none. */
export function pay({ key = KEY, ...parts }: RequestParts & { readonly key?: string | null } = {}): RequestParts {
  return {
    method: "POST",
    target: "/pay",
    body: '{"amount":1}',
    ...parts,
    headers: {
      "Content-Type": "application/json",
      ...(key === null ? {} : { "Idempotency-Key": key }),
      ...(parts.headers as Readonly<Record<string, string>> | undefined),
    },
  }
}

/**
 * Goal: what a route says about WebSockets becomes complete terms, or an error that says what is accepted. Method: one valid
 * sample, one change a test.
 */
import { describe, expect, test } from "vitest"
import { loadConfig } from "../../src/config/load.ts"

const ROUTE = { path: "/ws", origin: "bank", limits: "standard" }

function load(keys: object, base: object = ROUTE) {
  return loadConfig({
    GATEWAY: { hosts: ["localhost"] },
    LIMITS: { standard: { rate: "1/s", burst: 10 } },
    ORIGINS: { bank: { url: "https://core.bank.example" } },
    ROUTES: [{ ...base, ...keys }],
  })
}

function termsOf(keys: object): unknown {
  const result = load(keys)
  if (!result.ok) throw new Error(JSON.stringify(result.errors))
  const action = result.config.routes[0]?.action
  return action?.kind === "forward" ? action.webSocket : undefined
}

function errorsOf(keys: object, base?: object): readonly string[] {
  const result = load(keys, base)
  return result.ok ? [] : result.errors.map(({ accepted, path }) => `${path} | ${accepted}`)
}

const DEFAULTS = { idleTimeoutMs: 60_000, messageBytesMax: 1_048_576, recheckMs: 30_000 }

describe("websocket of a route", () => {
  test.each([
    [{}, undefined],
    [{ websocket: false }, undefined],
    [{ websocket: true }, DEFAULTS],
    [{ websocket: {} }, DEFAULTS],
    [
      { websocket: { idle_timeout: "1h", max_message_bytes: 33_554_432, recheck: "1s" } },
      { idleTimeoutMs: 3_600_000, messageBytesMax: 33_554_432, recheckMs: 1_000 },
    ],
  ])("%j becomes %j", (keys, terms) => {
    expect(termsOf(keys)).toEqual(terms)
  })

  test.each([
    "yes",
    { idle_timeout: "999ms" },
    { idle_timeout: "61m" },
    { max_message_bytes: 0 },
    { max_message_bytes: 33_554_433 },
    { recheck: "61s" },
    { recheck: "999ms" },
    { unknown: 1 },
  ])("%j is refused with what would be accepted", (websocket) => {
    const [error = "", ...others] = errorsOf({ websocket })
    expect(error).toMatch(/^ROUTES\[0\]\.websocket/)
    expect(error).toMatch(/idle_timeout|duration|whole number/)
    expect(others).toEqual([])
  })

  test("is refused on a route that no handshake reaches", () => {
    expect(errorsOf({ websocket: true, methods: ["POST"] })).toEqual([
      "ROUTES[0].websocket | no websocket on a route without the method GET, in which handshakes come",
    ])
    expect(errorsOf({ websocket: true, respond: { status: 200 } }, { path: "/ws", limits: "standard" })).toContain(
      "ROUTES[0].websocket | no websocket on a route without origin: nobody is there to talk to",
    )
  })
})

/**
 * Goal: a certificate belongs to the one client that its issuer says, and looking like another client helps nobody.
 * Method: verified certificates that were minted to confuse readers of names.
 */
import { env } from "cloudflare:workers"
import { describe, expect, test, vi } from "vitest"
import type { ClientDirectory } from "../../src/context.ts"
import { CLIENT_DIRECTORY_TIMEOUT_MS } from "../../src/core/bounds.ts"
import { createGateway, existingObjects, expectRefusal, fieldValues, fixtures } from "./harness.ts"
import type { CertificateName } from "./provided.ts"

test.each(["acme-a", "acme-b", "acme-dn"] as const)("identity tells %s to the origin", async (cert) => {
  const gateway = createGateway()
  const { event } = await gateway.send({ cert })
  expect(event.client_id).toBe(gateway.clientId(cert))
  expect(fieldValues((await gateway.originRequests())[0], "X-Client-Id")).toEqual([gateway.clientId(cert)])
})

test("IDN-01 identity reads the SAN of CA-A, never the common name", async () => {
  const gateway = createGateway()
  const { response, event } = await gateway.send({ cert: "common name of acme-b" })
  expect([response.status, event.client_id]).toEqual([200, gateway.clientId("acme-a")])
  const idOf = (client: string) => String(env.CLIENT_GATE.idFromName(gateway.clientId(client)))
  const objects = await existingObjects()
  expect([objects.includes(idOf("acme-a")), objects.includes(idOf("acme-b"))]).toEqual([true, false])
})

test("IDN-02 identity refuses a certificate that matches two clients, and logs both", async () => {
  const gateway = createGateway()
  const before = await existingObjects()
  await expectRefusal(gateway, await gateway.send({ cert: "uri of acme-b" }), {
    status: 403,
    code: "client-ambiguous",
    reason: `several_matches ${gateway.clientId("acme-a")} ${gateway.clientId("acme-b")}`,
  })
  expect(await existingObjects()).toEqual(before)
})

test.each<readonly [string, CertificateName]>([
  ["a CA that the client is not registered with", "acme-a from ca-b"],
  ["IDN-03", "two common names"],
  ["IDN-04", "quoted comma"],
  ["IDN-04", "escaped comma"],
  ["IDN-04", "joined names"],
  ["IDN-04", "leading hash"],
  ["IDN-04", "leading space"],
  ["IDN-04", "trailing backslash"],
  ["IDN-07", "nul in uri"],
  ["IDN-07", "nul in dns name"],
  ["IDN-07", "nul in common name"],
  ["IDN-09", "two uris in one"],
  ["SPIFFE X.509-SVID §2", "two uris"],
  ["IDN-10", "uri as mail address"],
  ["IDN-10", "uri as dns name"],
  ["IDN-10", "uri as other name"],
])("%s: a certificate with %s belongs to nobody and creates no object", async (_, cert) => {
  const gateway = createGateway()
  const before = await existingObjects()
  const { event, response } = await gateway.send({ cert })
  expect(event.client_id).toBeUndefined()
  await expectRefusal(gateway, { event, response }, { status: 403, code: "client-unknown", reason: "no_match" })
  expect(await existingObjects()).toEqual(before)
})

test("identity knows a certificate whose issuer the platform does not name by its fingerprint only", async () => {
  const gateway = createGateway()
  const bySan = await gateway.send({ cert: "acme-a", tlsClientAuth: { certIssuerSKI: "" } })
  await expectRefusal(gateway, bySan, { status: 403, code: "client-unknown" })
  const byFingerprint = await gateway.send({ cert: "uri of acme-b", tlsClientAuth: { certIssuerSKI: "" } })
  expect(byFingerprint.event.client_id).toBe(gateway.clientId("acme-a"))
})

type Rules = readonly Readonly<Record<string, unknown>>[]

/** A gateway whose clients are known by the given rules, each client by its own. */
function gatewayOf(clients: Readonly<Record<string, Rules>>, options: Parameters<typeof createGateway>[1] = {}) {
  return createGateway(
    (name) => ({
      CLIENTS: Object.entries(clients).map(([id, certificates]) => ({ id: `${id}-${name}`, certificates })),
    }),
    options,
  )
}

describe("rules", () => {
  const { spki } = fixtures.certificates["acme-a"]
  test.each<readonly [string, CertificateName, Rules]>([
    ["the key, in hex", "acme-a", [{ spki }]],
    ["the key as a pin", "acme-a", [{ spki: btoa(String.fromCharCode(...octetsOf(spki))) }]],
    ["the key under its CA", "acme-a", [{ spki, issuer: "ca-a" }]],
    ["a host", "host", [{ issuer: "ca-a", san_dns: "api.acme.test" }]],
    ["a host in capitals", "host in capitals", [{ issuer: "ca-a", san_dns: "api.acme.test" }]],
    ["a mailbox", "mailbox", [{ issuer: "ca-a", san_email: "Ops@acme.test" }]],
    ["a SPIFFE id", "acme-a", [{ issuer: "ca-a", spiffe_id: "spiffe://acme/acme-a" }]],
  ])("a client is known by %s", async (_, cert, rules) => {
    const gateway = gatewayOf({ known: rules })
    expect((await gateway.send({ cert })).event.client_id).toBe(gateway.clientId("known"))
  })

  test.each<readonly [string, CertificateName, Rules]>([
    ["the key under another CA", "acme-a", [{ spki, issuer: "ca-b" }]],
    ["another key", "acme-a", [{ spki: "0".repeat(64) }]],
    ["a host that a wildcard would cover", "wildcard host", [{ issuer: "ca-a", san_dns: "api.acme.test" }]],
    ["a host under another CA", "host", [{ issuer: "ca-b", san_dns: "api.acme.test" }]],
    ["a mailbox of another case", "mailbox", [{ issuer: "ca-a", san_email: "ops@acme.test" }]],
    ["a SPIFFE id beside another", "two uris", [{ issuer: "ca-a", spiffe_id: "spiffe://acme/acme-a" }]],
    ["IDN-10 a SPIFFE id as a host", "uri as dns name", [{ issuer: "ca-a", spiffe_id: "spiffe://acme/acme-a" }]],
    ["IDN-07 a SPIFFE id with a NUL", "nul in uri", [{ issuer: "ca-a", spiffe_id: "spiffe://acme/acme-a" }]],
  ])("nobody is known by %s", async (_, cert, rules) => {
    const gateway = gatewayOf({ known: rules })
    await expectRefusal(gateway, await gateway.send({ cert }), { status: 403, code: "client-unknown" })
  })

  test("IDN-02 two names of two clients in one certificate are nobody's", async () => {
    const gateway = gatewayOf({
      mail: [{ issuer: "ca-a", san_email: "Ops@acme.test" }],
      host: [{ issuer: "ca-a", san_dns: "api.acme.test" }],
    })
    await expectRefusal(gateway, await gateway.send({ cert: "host and mailbox" }), {
      status: 403,
      code: "client-ambiguous",
      reason: `several_matches ${gateway.clientId("host")} ${gateway.clientId("mail")}`,
    })
  })

  test("IDN-02 a key of one client with the name of another is nobody's", async () => {
    const gateway = gatewayOf({ key: [{ spki }], name: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-b" }] })
    await expectRefusal(gateway, await gateway.send({ cert: "acme-b" }), { status: 403, code: "client-ambiguous" })
  })
})

describe("an overlap window", () => {
  const { fingerprint } = fixtures.certificates["acme-a"]
  const END_MS = Math.floor(Date.now() / 1_000) * 1_000 + 3_600_000
  const retireAt = new Date(END_MS).toISOString()
  const at = (nowMs: number, ...more: Rules) =>
    gatewayOf({ known: [{ fingerprint, retire_at: retireAt }, ...more] }, { nowMs: () => nowMs })

  test("lets its certificate pass and says in every event when it ends", async () => {
    const { response, event } = await at(END_MS - 1).send({ cert: "acme-a" })
    expect([response.status, event.certificate_retires_at]).toEqual([200, retireAt])
  })

  test("ends by itself: the certificate is refused, and the event says whose it was", async () => {
    const gateway = at(END_MS)
    const before = await existingObjects()
    const problem = await expectRefusal(gateway, await gateway.send({ cert: "acme-a" }), {
      status: 401,
      code: "client-cert-retired",
      reason: "cert_retired",
      event: {
        client_id: gateway.clientId("known"),
        certificate_fingerprint: fingerprint,
        certificate_retires_at: retireAt,
      },
    })
    expect(problem.detail).toContain("new certificate")
    expect(await existingObjects()).toEqual(before)
  })

  test("does not end what another rule of the client matches", async () => {
    const { response, event } = await at(END_MS, { issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }).send()
    expect([response.status, event]).toEqual([200, expect.not.objectContaining({ certificate_retires_at: retireAt })])
  })
})

test("IDN-17 a client that is disabled is refused by name, before anything is counted", async () => {
  const gateway = createGateway((name) => ({
    CLIENTS: [
      { id: `off-${name}`, disabled: true, certificates: [{ issuer: "ca-a", san_uri: "spiffe://acme/acme-a" }] },
    ],
  }))
  const before = await existingObjects()
  await expectRefusal(gateway, await gateway.send(), {
    status: 403,
    code: "client-disabled",
    reason: "client_disabled",
    event: { client_id: gateway.clientId("off") },
  })
  expect(await existingObjects()).toEqual(before)
})

describe("a directory", () => {
  const broken = (find: unknown) => ({ find, clientsOf: () => [] }) as unknown as ClientDirectory

  test.each<readonly [string, string, unknown]>([
    [
      "that throws",
      "directory_failed",
      () => {
        throw new Error("SECRET")
      },
    ],
    ["that rejects", "directory_failed", () => Promise.reject(new Error("SECRET"))],
    ["that answers nothing", "directory_failed", () => undefined],
    ["that resolves with nothing", "directory_invalid", () => Promise.resolve(null)],
    ["that answers with half a client", "directory_invalid", () => ({ ok: true, client: {} })],
    ["that answers with another code", "directory_invalid", () => Promise.resolve({ ok: false, code: "SECRET" })],
  ])("IDN-18 %s admits nobody and shows nothing of it", async (_, reason, find) => {
    const gateway = createGateway({}, { directory: broken(find) })
    const exchanged = await gateway.send()
    const problem = await expectRefusal(gateway, exchanged, { status: 503, code: "service-unavailable", reason })
    expect(exchanged.response.headers.get("retry-after")).toBe("1")
    expect(JSON.stringify([problem, exchanged.event])).not.toContain("SECRET")
  })

  test("IDN-18 that never answers admits nobody once its time is up", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] })
    try {
      const gateway = createGateway({}, { directory: broken(() => new Promise(() => {})) })
      const sent = gateway.send()
      await vi.advanceTimersByTimeAsync(CLIENT_DIRECTORY_TIMEOUT_MS)
      await expectRefusal(gateway, await sent, {
        status: 503,
        code: "service-unavailable",
        reason: "directory_timeout",
      })
    } finally {
      vi.useRealTimers()
    }
  })

  test("that answers later is as good as one in memory", async () => {
    const embedded = createGateway()
    const [client] = embedded.config.clients
    const find = () => Promise.resolve({ ok: true, client, matchedBy: "san-uri", retiresAtMs: undefined })
    const { event } = await createGateway({}, { directory: broken(find) }).send()
    expect([event.status, event.client_id]).toEqual([200, client?.id])
  })

  test("is not asked about a certificate that the platform does not vouch for", async () => {
    const find = vi.fn()
    await createGateway({}, { directory: broken(find) }).send({ tlsClientAuth: { certVerified: "FAILED" } })
    expect(find).not.toHaveBeenCalled()
  })
})

describe("expiry_header", () => {
  const route = (tells: boolean) => ({
    ROUTES: [{ prefix: "/public", origin: "stub", limits: "generous", expiry_header: tells }],
  })
  const field = "X-Client-Certificate-Expires"

  test("tells the client when its certificate ends, also with a refusal", async () => {
    const { notAfterMs } = fixtures.certificates["acme-a"]
    const gateway = createGateway({ ...route(true), LIMITS: { generous: { rate: "1/h", burst: 1 } } })
    const answers = [await gateway.send(), await gateway.send()]
    expect(answers.map(({ response }) => [response.status, response.headers.get(field)])).toEqual(
      [200, 429].map((status) => [status, new Date(notAfterMs).toUTCString()]),
    )
  })

  test("tells nothing on a route that does not ask for it", async () => {
    expect((await createGateway(route(false)).send()).response.headers.has(field)).toBe(false)
  })
})

function octetsOf(hex: string): readonly number[] {
  return (hex.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16))
}

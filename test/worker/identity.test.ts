/**
 * Goal: a certificate belongs to the one client that its issuer says, and looking like another client helps nobody.
 * Method: verified certificates that were minted to confuse readers of names.
 */
import { env } from "cloudflare:workers"
import { expect, test } from "vitest"
import { createGateway, existingObjects, expectRefusal, fieldValues } from "./harness.ts"
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

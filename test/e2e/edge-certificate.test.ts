/**
 * Goal: the edge tells the Worker about a client certificate what Cloudflare would, and fails closed on trust.
 * Method: certificates and lists made here, presented over real TLS; formats against nginx's output where the data is.
 */
import "../../cli/pki/reflection.ts"
import * as x509 from "@peculiar/x509"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { rootCertificates } from "node:tls"
import { describe, expect, test } from "vitest"
import type { EdgeOptions } from "../../edge/options.ts"
import { describePeer, formatOpensslTime } from "../../edge/tls-client-auth.ts"
import { parseTrust } from "../../edge/trust.ts"
import {
  blobOf,
  createCa,
  createCrl,
  createLeaf,
  exchange,
  openTls,
  send,
  sharedPki,
  startTestEdge,
  startUpstream,
  type TestPair,
} from "./edge-fixtures.ts"

const GET = "GET /x HTTP/1.1\r\nHost: gw.test\r\n\r\n"
const DAY_MS = 86_400_000

/** Presents a certificate and returns what the Worker was told. */
async function present(pair: TestPair, options: Partial<EdgeOptions> = {}) {
  const upstream = await startUpstream()
  const edge = await startTestEdge(upstream.port, options)
  const answer = await send(edge, GET, { pair })
  expect(answer.statuses).toEqual([200])
  return { auth: blobOf(upstream.requests[0]).tlsClientAuth, edge, upstream }
}

describe("verdicts", () => {
  test("TLS-03 an expired leaf is FAILED with OpenSSL's words", async () => {
    const { caA } = await sharedPki()
    const pair = await createLeaf(caA, "CN=acme-a", {
      notBefore: new Date(Date.now() - 2 * DAY_MS),
      notAfter: new Date(Date.now() - DAY_MS),
    })
    expect((await present(pair)).auth).toMatchObject({
      certPresented: "1",
      certVerified: "FAILED:certificate has expired",
    })
  })

  test("a leaf from the future is FAILED", async () => {
    const { caA } = await sharedPki()
    const pair = await createLeaf(caA, "CN=acme-a", {
      notBefore: new Date(Date.now() + DAY_MS),
      notAfter: new Date(Date.now() + 2 * DAY_MS),
    })
    expect((await present(pair)).auth.certVerified).toBe("FAILED:certificate is not yet valid")
  })

  test("TLS-05 an unknown issuer with the same names and serial is FAILED, and its facts are its own", async () => {
    const { clientA } = await sharedPki()
    const rogue = await createCa("C=JP,O=Test A,CN=CA A")
    const names = [{ type: "url", value: "spiffe://acme/acme-a" }] as const
    const pair = await createLeaf(rogue, "C=JP,O=Acme,CN=acme-a", { names, serial: clientA.certificate.serialNumber })
    const { auth } = await present(pair)
    expect(auth.certVerified).toMatch(/^FAILED:/)
    expect(auth.certSerial).toBe(clientA.certificate.serialNumber.toUpperCase())
    expect([auth.certIssuerSerial, auth.certIssuerSKI]).toEqual(["", ""])
  })

  test("a self-signed certificate is FAILED", async () => {
    const ca = await createCa("CN=acme-a", false)
    const leaf = await createLeaf(ca, "CN=x")
    const pkcs8 = await crypto.subtle.exportKey("pkcs8", ca.keys.privateKey)
    const pair = { ...leaf, certPem: ca.pem, keyPem: x509.PemConverter.encode(pkcs8, "PRIVATE KEY") }
    expect((await present(pair)).auth.certVerified).toBe("FAILED:self signed certificate")
  })

  test.each([
    ["emailProtection", "1.3.6.1.5.5.7.3.4"],
    ["serverAuth", "1.3.6.1.5.5.7.3.1"],
  ])("TLS-17 a leaf for %s only is FAILED", async (_, usage) => {
    const { caA } = await sharedPki()
    const pair = await createLeaf(caA, "CN=acme-a", { usages: [usage] })
    expect((await present(pair)).auth.certVerified).toBe("FAILED:unsupported certificate purpose")
  })

  test("the end of a validity takes effect on a connection that is already open", async () => {
    let nowMs = Date.now()
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port, { now: () => nowMs })
    const { clientA } = await sharedPki()
    const socket = await openTls(edge.port, { pair: clientA })
    await exchange(socket, GET, 50)
    nowMs += 30 * DAY_MS
    await exchange(socket, GET, 50)
    const verdicts = upstream.requests.map((request) => blobOf(request).tlsClientAuth.certVerified)
    expect(verdicts).toEqual(["SUCCESS", "FAILED:certificate has expired"])
  })

  test("a CA that a reload removes is no issuer any more, on open connections too", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const { clientA, caB } = await sharedPki()
    const socket = await openTls(edge.port, { pair: clientA })
    edge.reload({ clientCas: caB.pem })
    await exchange(socket, GET, 50)
    await send(edge, GET, { pair: clientA })
    const verdicts = upstream.requests.map((request) => blobOf(request).tlsClientAuth.certVerified)
    expect(verdicts).toEqual([
      "FAILED:unable to get local issuer certificate",
      "FAILED:unable to verify the first certificate",
    ])
  })
})

describe("facts", () => {
  test("every field has the format of the platform", async () => {
    const { clientA, caA } = await sharedPki()
    const { auth } = await present(clientA)
    const der = Buffer.from(clientA.certificate.rawData)
    const thumbprint = async (name: string) =>
      Buffer.from(await clientA.certificate.getThumbprint(name)).toString("hex")
    expect(auth).toEqual({
      certPresented: "1",
      certVerified: "SUCCESS",
      certRevoked: "0",
      certIssuerDN: "CN=CA A,O=Test A,C=JP",
      certSubjectDN: "CN=acme-a,O=Acme,C=JP",
      certIssuerDNRFC2253: "CN=CA A,O=Test A,C=JP",
      certSubjectDNRFC2253: "CN=acme-a,O=Acme,C=JP",
      certIssuerDNLegacy: "/C=JP/O=Test A/CN=CA A",
      certSubjectDNLegacy: "/C=JP/O=Acme/CN=acme-a",
      certSerial: clientA.certificate.serialNumber.toUpperCase(),
      certIssuerSerial: caA.certificate.serialNumber.toUpperCase(),
      certSKI: keyIdOf(clientA.certificate),
      certIssuerSKI: keyIdOf(caA.certificate),
      certFingerprintSHA1: await thumbprint("SHA-1"),
      certFingerprintSHA256: await thumbprint("SHA-256"),
      certNotBefore: formatOpensslTime(clientA.certificate.notBefore.getTime()),
      certNotAfter: formatOpensslTime(clientA.certificate.notAfter.getTime()),
      certRFC9440: `:${der.toString("base64")}:`,
      certRFC9440TooLarge: false,
      certChainRFC9440: "",
      certChainRFC9440TooLarge: false,
    })
  })

  test("formatOpensslTime() pads the day with a space", () => {
    expect(formatOpensslTime(Date.UTC(2026, 0, 5))).toBe("Jan  5 00:00:00 2026 GMT")
    expect(formatOpensslTime(Date.UTC(2024, 4, 25, 23, 11))).toBe("May 25 23:11:00 2024 GMT")
  })

  test("IDN-13 a leaf above 10 KB is left out and marked", async () => {
    const { caA } = await sharedPki()
    const { auth } = await present(await createLeaf(caA, "CN=acme-a", { padding: 11_000 }))
    expect(auth).toMatchObject({ certVerified: "SUCCESS", certRFC9440: "", certRFC9440TooLarge: true })
  })

  test("an intermediate that only the client has completes the chain, and the leaf states its issuer", async () => {
    const { intermediate, pair } = await createIntermediate()
    const { auth } = await present(pair)
    const issuer = { certIssuerSerial: "", certIssuerSKI: keyIdOf(intermediate.certificate) }
    expect(auth).toMatchObject({ certVerified: "SUCCESS", ...issuer })
  })

  test("such a chain does not outlive the CAs it was verified under", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const { pair } = await createIntermediate()
    const socket = await openTls(edge.port, { pair })
    await exchange(socket, GET, 50)
    edge.reload({ clientCas: (await sharedPki()).caB.pem })
    await exchange(socket, GET, 50)
    const verdicts = upstream.requests.map((request) => blobOf(request).tlsClientAuth.certVerified)
    expect(verdicts).toEqual(["SUCCESS", "FAILED:unable to get local issuer certificate"])
  })

  test("a configured intermediate gives its serial", async () => {
    const { caA } = await sharedPki()
    const { intermediate, pair } = await createIntermediate()
    const { auth } = await present(pair, { clientCas: `${caA.pem}\n${intermediate.certPem}` })
    const serial = intermediate.certificate.serialNumber.toUpperCase()
    expect(auth).toMatchObject({ certVerified: "SUCCESS", certIssuerSerial: serial })
  })

  test("describePeer() reports octets that are no certificate as presented and failed", async () => {
    const { caA } = await sharedPki()
    const trust = parseTrust(caA.pem, [])
    const { auth } = describePeer({ leaf: Buffer.from("30030201ff", "hex"), verifyError: undefined, trust }, trust, 0)
    expect(auth).toMatchObject({
      certPresented: "1",
      certVerified: "FAILED:certificate cannot be parsed",
      certRFC9440: "",
    })
  })

  const directory = process.env["SEKISHO_CONFORMANCE"]
  test.skipIf(directory === undefined)(
    "names, serials, dates and fingerprints are those nginx prints (SEKISHO_CONFORMANCE)",
    () => {
      const data = JSON.parse(readFileSync(join(directory ?? "", "dn/client-cert-dn-vectors.json"), "utf8")) as {
        ca_pem: string
        vectors: { id: string; pem: string; "nginx1.22_openssl3.0": Record<string, string> }[]
      }
      const trust = parseTrust(data.ca_pem, [])
      for (const { id, pem, "nginx1.22_openssl3.0": nginx } of data.vectors) {
        const leaf = Buffer.from(pem.replace(/-----[A-Z ]+-----|\s/g, ""), "base64")
        const { auth } = describePeer({ leaf, verifyError: undefined, trust }, trust, Date.UTC(2027, 0, 1))
        expect({ id, ...auth }).toMatchObject({
          id,
          certVerified: nginx["verify"],
          certSubjectDN: nginx["s_dn"],
          certIssuerDN: nginx["i_dn"],
          certSubjectDNLegacy: nginx["s_dn_legacy"],
          certIssuerDNLegacy: nginx["i_dn_legacy"],
          certSerial: nginx["serial"],
          certFingerprintSHA1: nginx["sha1"],
          certNotBefore: nginx["v_start"],
          certNotAfter: nginx["v_end"],
        })
      }
      expect(data.vectors.length).toBeGreaterThan(0)
    },
  )
})

describe("TLS-20 client CAs", () => {
  test.each([
    ["empty", ""],
    ["garbage", "not a certificate"],
    ["a damaged block", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    ["a block without its end", "-----BEGIN CERTIFICATE-----\nAAAA\n"],
  ])("a bundle that is %s refuses the start", async (_, clientCas) => {
    await expect(startTestEdge(1, { clientCas })).rejects.toThrow(/client CA bundle/)
  })

  test("a good certificate beside a damaged one refuses the start", async () => {
    const { caA } = await sharedPki()
    const clientCas = `${caA.pem}\n-----BEGIN CERTIFICATE-----\nAAAA`
    await expect(startTestEdge(1, { clientCas })).rejects.toThrow(/1 of its 2 PEM blocks/)
  })

  test("a leaf in the bundle refuses the start", async () => {
    const { clientA } = await sharedPki()
    await expect(startTestEdge(1, { clientCas: clientA.certPem })).rejects.toThrow(/no CA/)
  })

  test("a bad bundle at a reload keeps the last good one", async () => {
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port)
    const { clientA } = await sharedPki()
    expect(() => edge.reload({ clientCas: "" })).toThrow(/client CA bundle/)
    await send(edge, GET, { pair: clientA })
    expect(blobOf(upstream.requests[0]).tlsClientAuth.certVerified).toBe("SUCCESS")
    expect(edge.events).toContainEqual(expect.objectContaining({ kind: "reload-failed" }))
  })

  test("the system's roots are no client CAs", async () => {
    const { caA } = await sharedPki()
    const root = (rootCertificates[0] ?? "").replace(/-----[A-Z ]+-----|\s/g, "")
    const trust = parseTrust((await sharedPki()).caB.pem, [])
    const peer = { leaf: Buffer.from(root, "base64"), verifyError: undefined, trust }
    expect(describePeer(peer, parseTrust(caA.pem, []), Date.now()).auth.certVerified).toMatch(/^FAILED:/)
  })

  test("a wrong assertion key length refuses the start", async () => {
    await expect(startTestEdge(1, { assertionKey: new Uint8Array(16) })).rejects.toThrow(/16 octets/)
  })
})

describe("revocation", () => {
  test("TLS-06 a revoked leaf is SUCCESS and revoked, as on the platform", async () => {
    const { caA, clientA } = await sharedPki()
    const { auth } = await present(clientA, { crls: [await createCrl(caA, [clientA.certificate.serialNumber])] })
    expect(auth).toMatchObject({ certVerified: "SUCCESS", certRevoked: "1" })
  })

  test("a leaf that its issuer's list does not name is good", async () => {
    const { caA, clientA } = await sharedPki()
    const { auth } = await present(clientA, { crls: [await createCrl(caA, ["0123"])] })
    expect(auth).toMatchObject({ certVerified: "SUCCESS", certRevoked: "0" })
  })

  test("CRL-4 a revoked intermediate revokes the leaf below it", async () => {
    const { caA } = await sharedPki()
    const { intermediate, pair } = await createIntermediate()
    const clientCas = `${caA.pem}\n${intermediate.certPem}`
    const below = await createCrl(intermediate, [])
    const good = await present(pair, { clientCas, crls: [`${await createCrl(caA, [])}\n${below}`] })
    expect(good.auth).toMatchObject({ certVerified: "SUCCESS", certRevoked: "0" })
    const above = await createCrl(caA, [intermediate.certificate.serialNumber])
    const revoked = await present(pair, { clientCas, crls: [above, below] })
    expect(revoked.auth.certRevoked).toBe("1")
  })

  test("CRL-9 a chain with one list missing is unavailable", async () => {
    const { caA } = await sharedPki()
    const { intermediate, pair } = await createIntermediate()
    const clientCas = `${caA.pem}\n${intermediate.certPem}`
    for (const crls of [[await createCrl(caA, [])], [await createCrl(intermediate, [])]]) {
      expect((await present(pair, { clientCas, crls })).auth.certVerified).toBe("FAILED:unable to get certificate CRL")
    }
  })

  test("a leaf below an intermediate that is not configured is unavailable when lists are", async () => {
    const { caA } = await sharedPki()
    const { intermediate, pair } = await createIntermediate()
    const crls = [await createCrl(caA, []), await createCrl(intermediate, [])]
    const { auth, edge } = await present(pair, { crls })
    expect(auth.certVerified).toBe("FAILED:unable to get certificate CRL")
    const reason = "it is not in the client CA bundle"
    expect(edge.events).toContainEqual({ kind: "crl-unavailable", issuer: "CN=Intermediate", reason })
  })

  test("CRL-5 a serial counts under its issuer only", async () => {
    const { caA, caB, clientA } = await sharedPki()
    const crls = [`${await createCrl(caA, [])}\n${await createCrl(caB, [clientA.certificate.serialNumber])}`]
    const { auth } = await present(clientA, { crls, clientCas: caA.pem + caB.pem })
    expect(auth).toMatchObject({ certVerified: "SUCCESS", certRevoked: "0" })
  })

  test("the newest current list of an issuer speaks", async () => {
    const { caA, clientA } = await sharedPki()
    const older = await createCrl(caA, [clientA.certificate.serialNumber], {
      thisUpdate: new Date(Date.now() - 2 * DAY_MS),
    })
    const { auth } = await present(clientA, { crls: [older, await createCrl(caA, [])] })
    expect(auth.certRevoked).toBe("0")
  })

  const closed: readonly (readonly [string, () => Promise<string>])[] = [
    ["missing", async () => createCrl((await sharedPki()).caB, [])],
    ["stale", async () => createCrl((await sharedPki()).caA, [], { nextUpdate: new Date(Date.now() - 1_000) })],
    [
      "from the future",
      async () => createCrl((await sharedPki()).caA, [], { thisUpdate: new Date(Date.now() + 60_000) }),
    ],
    ["signed by another CA of the same name", async () => createCrl(await createCa("C=JP,O=Test A,CN=CA A"), [])],
  ]
  test.each(closed)(
    "TLS-21 a list that is %s fails its clients closed, and the event says which CA",
    async (_, crl) => {
      const { clientA } = await sharedPki()
      const { auth, edge } = await present(clientA, { crls: [await crl()] })
      expect(auth).toMatchObject({ certVerified: "FAILED:unable to get certificate CRL", certRevoked: "0" })
      expect(edge.events).toContainEqual(
        expect.objectContaining({ kind: "crl-unavailable", issuer: "C=JP, O=Test A, CN=CA A" }),
      )
    },
  )

  test("TLS-21 a list that goes stale while the edge runs fails its clients closed", async () => {
    const { caA, clientA } = await sharedPki()
    let nowMs = Date.now()
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port, { crls: [await createCrl(caA, [])], now: () => nowMs })
    await send(edge, GET, { pair: clientA })
    nowMs += 2 * 3_600_000
    await send(edge, GET, { pair: clientA })
    const verdicts = upstream.requests.map((request) => blobOf(request).tlsClientAuth.certVerified)
    expect(verdicts).toEqual(["SUCCESS", "FAILED:unable to get certificate CRL"])
  })

  test("a caller without a certificate is not touched by revocation", async () => {
    const { caB } = await sharedPki()
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port, { crls: [await createCrl(caB, [])] })
    await send(edge, GET)
    expect(blobOf(upstream.requests[0]).tlsClientAuth.certVerified).toBe("NONE")
  })

  const damaged: readonly (readonly [string, () => Promise<string>, RegExp])[] = [
    ["empty", async () => "", /no complete list/],
    ["garbage", async () => "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----", /damaged/],
    [
      "truncated",
      async () => {
        const crl = await createCrl((await sharedPki()).caA, [])
        return crl.replace(/[A-Za-z0-9+/=]{24}\s*(?=-----END)/, "")
      },
      /damaged/,
    ],
    [
      "cut before its end",
      async () => (await createCrl((await sharedPki()).caA, [])).slice(0, -20),
      /no complete list/,
    ],
    ["a delta list", async () => withExtension("2.5.29.27", "020101", true), /delta/],
    ["indirect", async () => withExtension("2.5.29.28", "30038401ff", true), /indirect/],
    ["of an unknown critical extension", async () => withExtension("1.2.3.4", "0500", true), /1\.2\.3\.4/],
  ]
  test.each(damaged)("CRL-7 a list that is %s refuses the start", async (_, crl, message) => {
    await expect(startTestEdge(1, { crls: [await crl()] })).rejects.toThrow(message)
  })

  test("CRL-6 a damaged list at a reload keeps the old one, and its revocations", async () => {
    const { caA, clientA } = await sharedPki()
    const upstream = await startUpstream()
    const edge = await startTestEdge(upstream.port, {
      crls: [await createCrl(caA, [clientA.certificate.serialNumber])],
    })
    const next = await createCrl(caA, [])
    expect(() => edge.reload({ crls: [next.slice(0, next.length / 2)] })).toThrow(/list/)
    await send(edge, GET, { pair: clientA })
    expect(blobOf(upstream.requests[0]).tlsClientAuth.certRevoked).toBe("1")
  })

  test("a list with an unknown extension that is not critical is used", async () => {
    const { clientA } = await sharedPki()
    const { auth } = await present(clientA, { crls: [await withExtension("1.2.3.4", "0500", false)] })
    expect(auth.certVerified).toBe("SUCCESS")
  })
})

function keyIdOf(certificate: x509.X509Certificate): string | undefined {
  return certificate.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId.toUpperCase()
}

/** An intermediate below CA A and a leaf below it that brings the intermediate along. */
async function createIntermediate() {
  const { caA } = await sharedPki()
  const intermediate = await createLeaf(caA, "CN=Intermediate", { isCa: true })
  const leaf = await createLeaf(intermediate, "CN=acme-a")
  return { intermediate, pair: { ...leaf, certPem: `${leaf.certPem}\n${intermediate.certPem}` } }
}

async function withExtension(oid: string, hex: string, isCritical: boolean): Promise<string> {
  const { caA } = await sharedPki()
  return createCrl(caA, [], { extensions: [new x509.Extension(oid, isCritical, Buffer.from(hex, "hex"))] })
}

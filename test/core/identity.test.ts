/**
 * Goal: exactly one client, or nobody. Method: the attacks on names as cases, and random directories held against a
 * linear search that reads the rules one by one.
 */
// First, because the package of certificates does not load without it.
import "../../cli/pki/reflection.ts"
import * as fc from "fast-check"
import { beforeAll, describe, expect, test } from "vitest"
import type { ClientCertificate } from "../../src/core/certificate.ts"
import { nameKey, parseRfc4514, readName } from "../../src/core/distinguished-name.ts"
import {
  compileDirectory,
  decideIdentity,
  matchKey,
  type CertificateMatch,
  type Client,
} from "../../src/core/identity.ts"
import { readDer } from "../../src/core/der.ts"
import { parseX509, type SubjectAltName } from "../../src/core/x509.ts"
import { readDataSet } from "../conformance.ts"
import { der, hex, mintLeaf, subjectAltNames } from "./certificate-fixtures.ts"

const SKI = "27846e5e89a3c0f4"
const OTHER_SKI = "00000000deadbeef"
const FINGERPRINT = "a".repeat(64)
const URI = 0x86

function subjectKey(text: string): string {
  const parsed = parseRfc4514(text)
  if ("error" in parsed) throw new Error(parsed.error)
  return nameKey(parsed.name)
}

function client(id: string, ...certificates: readonly CertificateMatch[]): Client {
  return { id, certificates }
}

const bySan = (sanUri: string, issuerSki = SKI): CertificateMatch => ({ kind: "san-uri", issuerSki, sanUri })
const bySubject = (text: string, issuerSki = SKI): CertificateMatch => ({
  kind: "subject",
  issuerSki,
  subjectKey: subjectKey(text),
})
const byFingerprint = (fingerprint: string): CertificateMatch => ({ kind: "fingerprint", fingerprint })
const uri = (value: string): SubjectAltName => ({ type: "uri", value })

function certificate(changes: Partial<ClientCertificate> & { readonly dn?: string } = {}): ClientCertificate {
  const { dn = "CN=somebody,O=Acme", ...rest } = changes
  return {
    fingerprint: FINGERPRINT,
    issuerSki: SKI,
    subject: [],
    subjectKey: subjectKey(dn),
    subjectAltNames: [],
    serial: "01",
    notBeforeMs: 0,
    notAfterMs: 1,
    rfc9440: ":MAA=:",
    ...rest,
  }
}

/** Returns the client's id, or the code of the refusal with its candidates. */
function identify(clients: readonly Client[], presented: ClientCertificate): string {
  const decision = decideIdentity(compileDirectory(clients), presented)
  return decision.ok ? decision.client.id : [decision.code, ...decision.candidates].join(" ")
}

describe("decideIdentity()", () => {
  const acmeA = client("acme-a", bySan("spiffe://acme/acme-a"))
  const acmeB = client("acme-b", bySubject("CN=acme-b,O=Acme"))

  test.each([
    ["fingerprint", client("x", byFingerprint(FINGERPRINT)), certificate()],
    ["san-uri", client("x", bySan("spiffe://acme/x")), certificate({ subjectAltNames: [uri("spiffe://acme/x")] })],
    ["subject", client("x", bySubject("CN=x,O=Acme")), certificate({ dn: "CN=x,O=Acme" })],
  ] as const)("finds a client by %s", (matchedBy, known, presented) => {
    expect(decideIdentity(compileDirectory([known]), presented)).toEqual({ ok: true, client: known, matchedBy })
  })

  test("IDN-01: takes no notice of a common name that names another client", () => {
    const presented = certificate({ dn: "CN=acme-b", subjectAltNames: [uri("spiffe://acme/acme-a")] })
    expect(identify([acmeA, acmeB], presented)).toBe("acme-a")
  })

  test("IDN-02: refuses a fingerprint of one client with the URI of another", () => {
    const clients = [client("acme-b", bySan("spiffe://acme/x")), client("acme-a", byFingerprint(FINGERPRINT))]
    const presented = certificate({ subjectAltNames: [uri("spiffe://acme/x")] })
    expect(identify(clients, presented)).toBe("client-ambiguous acme-a acme-b")
  })

  test("finds one client although several of its certificates match", () => {
    const one = client("acme-a", byFingerprint(FINGERPRINT), bySan("spiffe://acme/acme-a"))
    expect(identify([one], certificate({ subjectAltNames: [uri("spiffe://acme/acme-a")] }))).toBe("acme-a")
  })

  test.each(["CN=acme-b,CN=acme-b,O=Acme", "CN=acme-a,CN=acme-b,O=Acme", "CN=acme-b,CN=acme-a,O=Acme", "CN=acme-b"])(
    "IDN-03: does not know %s by a part of it",
    (dn) => {
      expect(identify([acmeB], certificate({ dn }))).toBe("client-unknown")
    },
  )

  test.each([
    "O=Acme\\, CN=acme-b",
    "CN=x\\,CN\\=acme-b,O=Acme",
    "CN=acme-b+OU=x,O=Acme",
    "CN=acme-b+O=Acme",
    "CN=\\23acme-b,O=Acme",
    "CN=\\ acme-b,O=Acme",
    "CN=acme-b\\\\,O=Acme",
    "CN=acme-b\\,O=Acme",
    "CN=acme-b\\00.evil,O=Acme",
    "CN=acme-b,O=acme",
  ])("IDN-04, IDN-07: does not take %s for CN=acme-b,O=Acme", (dn) => {
    expect(identify([acmeB], certificate({ dn }))).toBe("client-unknown")
  })

  test.each([
    ["IDN-07: a NUL", "spiffe://acme/acme-a\0/evil"],
    ["IDN-09: another URI behind a comma", "spiffe://acme/x, URI:spiffe://acme/acme-a"],
    ["another case", "spiffe://ACME/acme-a"],
    ["a slash more", "spiffe://acme/acme-a/"],
    ["an encoding", "spiffe://acme/acme%2da"],
  ])("does not know a URI with %s", (_, value) => {
    expect(identify([acmeA], certificate({ subjectAltNames: [uri(value)] }))).toBe("client-unknown")
  })

  test.each(["dns", "email", "other", "directory", "ip"] as const)(
    "IDN-10: does not take a name of type %s for a URI",
    (type) => {
      const presented = certificate({ subjectAltNames: [{ type, value: "spiffe://acme/acme-a" }] })
      expect(identify([acmeA], presented)).toBe("client-unknown")
    },
  )

  test.each([
    ["URI", acmeA, certificate({ issuerSki: OTHER_SKI, subjectAltNames: [uri("spiffe://acme/acme-a")] })],
    ["subject", acmeB, certificate({ issuerSki: OTHER_SKI, dn: "CN=acme-b,O=Acme" })],
  ])("does not know a %s under the key of another issuer", (_, known, presented) => {
    expect(identify([known], presented)).toBe("client-unknown")
  })

  test("tells two clients of one subject apart by the issuer's key", () => {
    const clients = [client("a", bySubject("CN=x")), client("b", bySubject("CN=x", OTHER_SKI))]
    expect([SKI, OTHER_SKI].map((issuerSki) => identify(clients, certificate({ issuerSki, dn: "CN=x" })))).toEqual([
      "a",
      "b",
    ])
  })

  test("knows a client by nothing but the fingerprint when the issuer's key is not known", () => {
    const clients = [acmeA, client("pinned", byFingerprint(FINGERPRINT))]
    const presented = certificate({ issuerSki: undefined, subjectAltNames: [uri("spiffe://acme/acme-a")] })
    expect(identify(clients, presented)).toBe("pinned")
  })

  test.each([
    ["two SPIFFE ids", ["spiffe://acme/acme-a", "spiffe://acme/z"]],
    ["a SPIFFE id beside another URI", ["https://acme.test/", "spiffe://acme/acme-a"]],
    ["the same SPIFFE id twice", ["spiffe://acme/acme-a", "spiffe://acme/acme-a"]],
  ])("does not know a certificate with %s", (_, values) => {
    expect(identify([acmeA], certificate({ subjectAltNames: values.map(uri) }))).toBe("client-unknown")
  })

  test("knows one of several URIs that are no SPIFFE ids", () => {
    const known = client("x", bySan("https://x.test/"))
    const presented = certificate({ subjectAltNames: ["https://y.test/", "https://x.test/"].map(uri) })
    expect(identify([known], presented)).toBe("x")
  })

  test("refuses URIs that belong to different clients", () => {
    const clients = ["x", "y"].map((id) => client(id, bySan(`https://${id}.test/`)))
    const presented = certificate({ subjectAltNames: ["https://y.test/", "https://x.test/"].map(uri) })
    expect(identify(clients, presented)).toBe("client-ambiguous x y")
  })

  test("agrees with a linear search over random directories", () => {
    const ski = fc.constantFrom(SKI, OTHER_SKI)
    const sanUri = fc.constantFrom("spiffe://a/1", "spiffe://a/2", "https://a/1", "https://a/2")
    const subject = fc.constantFrom("CN=a", "CN=b", "CN=a+O=b")
    const fingerprint = fc.constantFrom(FINGERPRINT, "b".repeat(64))
    const match = fc.oneof(
      fingerprint.map(byFingerprint),
      fc.tuple(sanUri, ski).map(([value, key]) => bySan(value, key)),
      fc.tuple(subject, ski).map(([value, key]) => bySubject(value, key)),
    )
    // As the configuration guarantees, no two clients share a match.
    const matches = fc.uniqueArray(match, { selector: matchKey, maxLength: 8 })
    const owners = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 8, maxLength: 8 })
    const presented = fc.record({
      fingerprint,
      issuerSki: fc.option(ski, { nil: undefined }),
      dn: subject,
      subjectAltNames: fc.array(sanUri.map(uri), { maxLength: 3 }),
    })
    fc.assert(
      fc.property(matches, owners, presented, (all, ids, change) => {
        const clients = ["a", "b", "c"].map((id) => client(id, ...all.filter((_, index) => ids[index] === id)))
        const leaf = certificate(change)
        const spiffeCounts = leaf.subjectAltNames.length === 1
        const found = clients.filter(({ certificates }) =>
          certificates.some((candidate) => {
            if (candidate.kind === "fingerprint") return candidate.fingerprint === leaf.fingerprint
            if (candidate.issuerSki !== leaf.issuerSki) return false
            if (candidate.kind === "subject") return candidate.subjectKey === leaf.subjectKey
            if (candidate.sanUri.startsWith("spiffe:") && !spiffeCounts) return false
            return leaf.subjectAltNames.some(({ value }) => value === candidate.sanUri)
          }),
        )
        const ids2 = found.map(({ id }) => id)
        const expected =
          ids2.length === 1 ? ids2[0] : ids2.length === 0 ? "client-unknown" : ["client-ambiguous", ...ids2].join(" ")
        expect(identify(clients, leaf)).toBe(expected)
      }),
      { seed: 9, numRuns: 2_000 },
    )
  })

  test("finds each of 100,000 clients", () => {
    const clients = Array.from({ length: 100_000 }, (_, i) => client(`c${i}`, bySan(`spiffe://acme/${i}`)))
    const directory = compileDirectory(clients)
    const lost = clients.filter(({ id }, i) => {
      const decision = decideIdentity(directory, certificate({ subjectAltNames: [uri(`spiffe://acme/${i}`)] }))
      return !decision.ok || decision.client.id !== id
    })
    expect(lost).toEqual([])
  })
})

describe("certificates as they are on the wire", () => {
  let facts: ReturnType<typeof parseX509>

  beforeAll(async () => {
    const embedded = "spiffe://acme/x, URI:spiffe://acme/acme-a"
    facts = parseX509(
      await mintLeaf({ extensions: [subjectAltNames([URI, embedded], [0x82, "spiffe://acme/acme-a"])] }),
    )
  })

  test("IDN-09, IDN-10: are known by whole names of their own type only", () => {
    const known = client("acme-a", bySan("spiffe://acme/acme-a"))
    expect(identify([known], certificate({ subjectAltNames: facts?.subjectAltNames ?? [] }))).toBe("client-unknown")
  })

  test("IDN-07: are not known by what stands before a NUL in a common name", () => {
    const element = readDer(der(0x30, der(0x31, der(0x30, der(0x06, hex("550403")), der(0x0c, "acme-a\0.evil")))))
    const name = element && readName(element)
    const known = client("acme-a", bySubject("CN=acme-a"))
    expect(identify([known], certificate({ subjectKey: nameKey(name ?? []) }))).toBe("client-unknown")
  })
})

interface SpiffeVectors {
  readonly ids: readonly { readonly id: string; readonly valid: boolean }[]
}
const spiffe = readDataSet("spiffe/spiffe-id-vectors.json") as SpiffeVectors | undefined

describe.skipIf(spiffe === undefined)("SPIFFE ids", () => {
  test("an id is known by itself and by no other id of the set", async () => {
    const ids = [...new Set((spiffe?.ids ?? []).map(({ id }) => id))].filter((id) => /^[\0-\xff]*$/.test(id))
    const directory = compileDirectory(ids.map((id, index) => client(`c${index}`, bySan(id))))
    const wrong = ids.filter((id, index) => {
      const decision = decideIdentity(directory, certificate({ subjectAltNames: [uri(id)] }))
      return !decision.ok || decision.client.id !== `c${index}`
    })
    expect(wrong).toEqual([])
  })
})

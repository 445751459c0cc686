/**
 * Goal: exactly one client, or nobody. Method: the attacks on names as cases, and random directories held against a
 * linear search that reads the rules one by one.
 */
// First, because the package of certificates does not load without it.
import "../../cli/pki/reflection.ts"
import * as fc from "fast-check"
import { beforeAll, describe, expect, test } from "vitest"
import type { ClientCertificate } from "../../src/core/certificate/certificate.ts"
import { nameKey, parseRfc4514, readName } from "../../src/core/certificate/distinguished-name.ts"
import {
  compileClientIndex,
  decideIdentity,
  isIdentityDecision,
  matchKey,
  type CertificateMatch,
  type CertificateRule,
  type Client,
} from "../../src/core/certificate/identity.ts"
import { readDer } from "../../src/core/certificate/der.ts"
import { spiffeIdOf } from "../../src/core/certificate/spiffe-id.ts"
import { parseX509, type SubjectAltName } from "../../src/core/certificate/x509.ts"
import { readDataSet } from "../conformance.ts"
import { der, hex, mintLeaf, subjectAltNames } from "./certificate-fixtures.ts"

const SKI = "27846e5e89a3c0f4"
const OTHER_SKI = "00000000deadbeef"
const FINGERPRINT = "a".repeat(64)
const SPKI = "c".repeat(64)
const URI = 0x86
const NOW_MS = Date.UTC(2026, 10, 28)

function subjectKey(text: string): string {
  const parsed = parseRfc4514(text)
  if ("error" in parsed) throw new Error(parsed.error)
  return nameKey(parsed.name)
}

function client(id: string, ...certificates: readonly CertificateRule[]): Client {
  return { id, certificates, isDisabled: false }
}

const bySan = (sanUri: string, issuerSki = SKI): CertificateMatch => ({ kind: "san-uri", issuerSki, sanUri })
const bySubject = (text: string, issuerSki = SKI): CertificateMatch => ({
  kind: "subject",
  issuerSki,
  subjectKey: subjectKey(text),
})
const byFingerprint = (fingerprint: string): CertificateMatch => ({ kind: "fingerprint", fingerprint })
const bySpki = (spki: string, issuerSki?: string): CertificateMatch =>
  issuerSki === undefined ? { kind: "spki", spki } : { kind: "spki", spki, issuerSki }
const byDns = (sanDns: string, issuerSki = SKI): CertificateMatch => ({ kind: "san-dns", issuerSki, sanDns })
const byEmail = (sanEmail: string, issuerSki = SKI): CertificateMatch => ({ kind: "san-email", issuerSki, sanEmail })
const bySpiffeId = (spiffeId: string, issuerSki = SKI): CertificateMatch => ({ kind: "spiffe-id", issuerSki, spiffeId })
const retired = (match: CertificateMatch, retireAtMs: number): CertificateRule => ({ ...match, retireAtMs })
const dns = (value: string): SubjectAltName => ({ type: "dns", value })
const email = (value: string): SubjectAltName => ({ type: "email", value })
const uri = (value: string): SubjectAltName => ({ type: "uri", value })

function certificate(changes: Partial<ClientCertificate> & { readonly dn?: string } = {}): ClientCertificate {
  const { dn = "CN=somebody,O=Acme", ...rest } = changes
  return {
    fingerprint: FINGERPRINT,
    spki: SPKI,
    issuerSki: SKI,
    subject: [],
    subjectKey: subjectKey(dn),
    subjectAltNames: [],
    spiffeId: spiffeIdOf(rest.subjectAltNames ?? []),
    serial: "01",
    notBeforeMs: 0,
    notAfterMs: 1,
    rfc9440: ":MAA=:",
    ...rest,
  }
}

/** Returns the client's id, or the code of the refusal with its candidates. */
function identify(clients: readonly Client[], presented: ClientCertificate): string {
  const decision = decideIdentity(compileClientIndex(clients), presented, NOW_MS)
  if (decision.ok) return decision.client.id
  return [decision.code, ...(decision.code === "client-ambiguous" ? decision.candidates : [])].join(" ")
}

describe("decideIdentity()", () => {
  const acmeA = client("acme-a", bySan("spiffe://acme/acme-a"))
  const acmeB = client("acme-b", bySubject("CN=acme-b,O=Acme"))

  test.each([
    ["fingerprint", client("x", byFingerprint(FINGERPRINT)), certificate()],
    ["spki", client("x", bySpki(SPKI)), certificate()],
    ["spki", client("x", bySpki(SPKI, SKI)), certificate()],
    ["san-uri", client("x", bySan("spiffe://acme/x")), certificate({ subjectAltNames: [uri("spiffe://acme/x")] })],
    ["san-dns", client("x", byDns("x.acme.test")), certificate({ subjectAltNames: [dns("X.Acme.TEST")] })],
    ["san-email", client("x", byEmail("Ops@acme.test")), certificate({ subjectAltNames: [email("Ops@ACME.test")] })],
    [
      "spiffe-id",
      client("x", bySpiffeId("spiffe://acme/x")),
      certificate({ subjectAltNames: [uri("spiffe://acme/x")] }),
    ],
    ["subject", client("x", bySubject("CN=x,O=Acme")), certificate({ dn: "CN=x,O=Acme" })],
  ] as const)("finds a client by %s", (matchedBy, known, presented) => {
    const decision = decideIdentity(compileClientIndex([known]), presented, NOW_MS)
    expect(decision).toEqual({ ok: true, client: known, matchedBy, retiresAtMs: undefined })
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
    const sanDns = fc.constantFrom("a.test", "b.test")
    const sanEmail = fc.constantFrom("a@a.test", "A@a.test")
    const fingerprint = fc.constantFrom(FINGERPRINT, "b".repeat(64))
    const spki = fc.constantFrom(SPKI, "d".repeat(64))
    const match = fc.oneof(
      fingerprint.map(byFingerprint),
      fc.tuple(sanUri, ski).map(([value, key]) => bySan(value, key)),
      fc.tuple(sanUri, ski).map(([value, key]) => (value.startsWith("spiffe") ? bySpiffeId : bySan)(value, key)),
      fc.tuple(spki, fc.option(ski, { nil: undefined })).map(([value, key]) => bySpki(value, key)),
      fc.tuple(sanDns, ski).map(([value, key]) => byDns(value, key)),
      fc.tuple(sanEmail, ski).map(([value, key]) => byEmail(value, key)),
      fc.tuple(subject, ski).map(([value, key]) => bySubject(value, key)),
    )
    // As the configuration guarantees, no two clients share a match.
    const matches = fc.uniqueArray(match, { selector: matchKey, maxLength: 8 })
    const owners = fc.array(fc.constantFrom("a", "b", "c"), { minLength: 8, maxLength: 8 })
    const presented = fc.record({
      fingerprint,
      spki,
      issuerSki: fc.option(ski, { nil: undefined }),
      dn: subject,
      subjectAltNames: fc.array(fc.oneof(sanUri.map(uri), sanDns.map(dns), sanEmail.map(email)), { maxLength: 3 }),
    })
    fc.assert(
      fc.property(matches, owners, presented, (all, ids, change) => {
        const clients = ["a", "b", "c"].map((id) => client(id, ...all.filter((_, index) => ids[index] === id)))
        const leaf = certificate(change)
        const names = (type: SubjectAltName["type"]) =>
          leaf.subjectAltNames.filter((name) => name.type === type).map(({ value }) => value)
        const found = clients.filter(({ certificates }) =>
          certificates.some((candidate) => {
            if (candidate.kind === "fingerprint") return candidate.fingerprint === leaf.fingerprint
            if (candidate.kind === "spki" && candidate.spki !== leaf.spki) return false
            if (candidate.kind === "spki" && candidate.issuerSki === undefined) return true
            if (candidate.issuerSki !== leaf.issuerSki) return false
            if (candidate.kind === "spki") return true
            if (candidate.kind === "subject") return candidate.subjectKey === leaf.subjectKey
            if (candidate.kind === "san-dns") return names("dns").includes(candidate.sanDns)
            if (candidate.kind === "san-email") return names("email").includes(candidate.sanEmail)
            const wanted = candidate.kind === "san-uri" ? candidate.sanUri : candidate.spiffeId
            return (!wanted.startsWith("spiffe:") || names("uri").length === 1) && names("uri").includes(wanted)
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
    const index = compileClientIndex(clients)
    const lost = clients.filter(({ id }, i) => {
      const decision = decideIdentity(index, certificate({ subjectAltNames: [uri(`spiffe://acme/${i}`)] }), NOW_MS)
      return !decision.ok || decision.client.id !== id
    })
    expect(lost).toEqual([])
  })
})

describe("names of hosts and mailboxes", () => {
  const known = [client("host", byDns("api.acme.test")), client("mail", byEmail("ops@acme.test"))]

  test.each([
    ["a wildcard", dns("*.acme.test")],
    ["a wildcard inside", dns("a*i.acme.test")],
    ["a trailing dot", dns("api.acme.test.")],
    ["a NUL", dns("api.acme.test\0.evil.test")],
    ["a blank", dns("api.acme.test ")],
    ["a longer name", dns("x.api.acme.test")],
    ["a shorter name", dns("acme.test")],
    ["a letter that folds to another", dns("ap\u0131.acme.test")],
    ["the name as a URI", uri("api.acme.test")],
    ["the name as a mail address", email("api.acme.test")],
    ["the mail address as a host", dns("ops@acme.test")],
    ["another case before the @", email("Ops@acme.test")],
    ["a display name", email("Ops <ops@acme.test>")],
    ["two addresses", email("ops@acme.test,ops@evil.test")],
    ["a host behind the domain", email("ops@acme.test\0")],
    ["a quoted local part", email('"ops"@acme.test')],
    ["a second @", email("x@ops@acme.test")],
  ])("does not know %s", (_, name) => {
    expect(identify(known, certificate({ subjectAltNames: [name] }))).toBe("client-unknown")
  })

  test("does not know either under the key of another issuer", () => {
    const presented = certificate({
      issuerSki: OTHER_SKI,
      subjectAltNames: [dns("api.acme.test"), email("ops@acme.test")],
    })
    expect(identify(known, presented)).toBe("client-unknown")
  })

  test("IDN-02: refuses a host of one client beside a mailbox of another", () => {
    const presented = certificate({ subjectAltNames: [dns("api.acme.test"), email("ops@acme.test")] })
    expect(identify(known, presented)).toBe("client-ambiguous host mail")
  })

  test("IDN-02: refuses a subject of one client with a host of another", () => {
    const clients = [...known, client("dn", bySubject("CN=dn"))]
    expect(identify(clients, certificate({ dn: "CN=dn", subjectAltNames: [dns("api.acme.test")] }))).toBe(
      "client-ambiguous dn host",
    )
  })
})

describe("SPIFFE rules", () => {
  const known = [client("x", bySpiffeId("spiffe://acme/x"))]
  test.each([
    ["beside another URI", [uri("spiffe://acme/x"), uri("https://acme.test/")]],
    ["twice", [uri("spiffe://acme/x"), uri("spiffe://acme/x")]],
    ["as a host", [dns("spiffe://acme/x")]],
  ])("do not know an id %s", (_, subjectAltNames) => {
    expect(identify(known, certificate({ subjectAltNames }))).toBe("client-unknown")
  })

  test("know an id beside names of other kinds", () => {
    expect(identify(known, certificate({ subjectAltNames: [dns("a.test"), uri("spiffe://acme/x")] }))).toBe("x")
  })
})

describe("keys", () => {
  test("with an issuer are known under that issuer only", () => {
    const known = [client("x", bySpki(SPKI, OTHER_SKI))]
    expect([SKI, OTHER_SKI].map((issuerSki) => identify(known, certificate({ issuerSki })))).toEqual([
      "client-unknown",
      "x",
    ])
  })

  test("without one are known under any issuer, also one that is not named", () => {
    const known = [client("x", bySpki(SPKI))]
    expect([SKI, undefined].map((issuerSki) => identify(known, certificate({ issuerSki })))).toEqual(["x", "x"])
  })
})

describe("retired rules", () => {
  const decide = (rules: readonly CertificateRule[], nowMs: number) =>
    decideIdentity(compileClientIndex([client("x", ...rules)]), certificate(), nowMs)

  test.each([
    [NOW_MS - 1, { ok: true, retiresAtMs: NOW_MS }],
    [NOW_MS, { ok: false, code: "client-cert-retired", client: { id: "x" }, retiresAtMs: NOW_MS }],
    [NOW_MS + 1, { ok: false, code: "client-cert-retired" }],
  ])("end at their instant: %i", (nowMs, expected) => {
    expect(decide([retired(byFingerprint(FINGERPRINT), NOW_MS)], nowMs)).toMatchObject(expected)
  })

  test("do not keep a certificate out that another rule of the client still matches", () => {
    const rules = [retired(byFingerprint(FINGERPRINT), NOW_MS - 1), bySpki(SPKI)]
    expect(decide(rules, NOW_MS)).toMatchObject({ ok: true, matchedBy: "spki", retiresAtMs: undefined })
  })

  test("end with the last of those that match", () => {
    const rules = [retired(byFingerprint(FINGERPRINT), NOW_MS + 5), retired(bySpki(SPKI), NOW_MS + 9)]
    expect(decide(rules, NOW_MS)).toMatchObject({ ok: true, retiresAtMs: NOW_MS + 9 })
  })

  test("of one client and a rule of another that match the same certificate are ambiguous", () => {
    const clients = [client("old", retired(byFingerprint(FINGERPRINT), 0)), client("new", bySpki(SPKI))]
    expect(identify(clients, certificate())).toBe("client-ambiguous new old")
  })

  test("let a certificate pass exactly while one that matches it has not ended", () => {
    const end = fc.option(fc.integer({ min: -3, max: 3 }), { nil: undefined })
    fc.assert(
      fc.property(end, end, fc.integer({ min: -4, max: 4 }), (first, second, at) => {
        const rule = (match: CertificateMatch, after: number | undefined): CertificateRule =>
          after === undefined ? match : retired(match, NOW_MS + after)
        const decision = decide([rule(byFingerprint(FINGERPRINT), first), rule(bySpki(SPKI), second)], NOW_MS + at)
        expect(decision.ok).toBe([first, second].some((after) => after === undefined || at < after))
      }),
      { seed: 12, numRuns: 1_000 },
    )
  })
})

test("a disabled client is known by name and refused, whatever its rules say", () => {
  const known: Client = { ...client("x", retired(byFingerprint(FINGERPRINT), 0)), isDisabled: true }
  const decision = decideIdentity(compileClientIndex([known]), certificate(), NOW_MS)
  expect(decision).toMatchObject({ ok: false, code: "client-disabled", client: { id: "x" } })
})

describe("isIdentityDecision()", () => {
  const known = client("x", byFingerprint(FINGERPRINT))
  test.each([
    decideIdentity(compileClientIndex([known]), certificate(), NOW_MS),
    decideIdentity(compileClientIndex([]), certificate(), NOW_MS),
    decideIdentity(compileClientIndex([{ ...known, isDisabled: true }]), certificate(), NOW_MS),
    decideIdentity(compileClientIndex([client("x", retired(bySpki(SPKI), 1))]), certificate(), NOW_MS),
    decideIdentity(compileClientIndex([known, client("y", bySpki(SPKI))]), certificate(), NOW_MS),
  ])("is true for what decideIdentity() returns: %j", (decision) => {
    expect(isIdentityDecision(decision)).toBe(true)
  })

  test.each([
    undefined,
    null,
    {},
    { ok: true },
    { ok: true, client: { id: "", certificates: [] } },
    { ok: true, client: known, retiresAtMs: Number.NaN },
    { ok: 1, client: known },
    { ok: false },
    { ok: false, code: "internal-error" },
    { ok: false, code: "client-disabled" },
    { ok: false, code: "client-cert-retired", client: known },
  ])("is false for %j", (value) => {
    expect(isIdentityDecision(value)).toBe(false)
  })
})

describe("certificates that were changed", () => {
  test("never become another client's, and are never more than unknown", async () => {
    const names = [
      [URI, "spiffe://acme/acme-a"],
      [0x82, "a.acme.test"],
      [0x81, "a@acme.test"],
    ] as const
    const leaf = await mintLeaf({ subject: "CN=acme-a", extensions: [subjectAltNames(...names)] })
    const own = client(
      "a",
      bySan("spiffe://acme/acme-a"),
      byDns("a.acme.test"),
      byEmail("a@acme.test"),
      bySubject("CN=acme-a"),
    )
    const others = ["b", "c"].map((id) =>
      client(
        id,
        bySan(`spiffe://acme/acme-${id}`),
        byDns(`${id}.acme.test`),
        byEmail(`${id}@acme.test`),
        bySubject(`CN=acme-${id}`),
      ),
    )
    const index = compileClientIndex([own, ...others])
    const change = fc.record({ at: fc.nat(leaf.length - 1), octet: fc.nat(255) })
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const octets = Uint8Array.from(leaf)
        for (const { at, octet } of changes) octets[at] = octet
        const facts = parseX509(octets)
        if (facts === undefined) return
        const decision = decideIdentity(
          index,
          certificate({ ...facts, spiffeId: spiffeIdOf(facts.subjectAltNames) }),
          NOW_MS,
        )
        // A name that was changed into the whole of another one is that name; the signature is the platform's to check.
        const text = Buffer.from(octets).toString("latin1")
        const isForged = ["b", "c"].some(
          (id) => text.includes(`acme-${id}`) || text.includes(`${id}.acme`) || text.includes(`${id}@acme`),
        )
        if (!isForged) expect(decision.ok ? decision.client.id : "nobody").toMatch(/^(?:a|nobody)$/)
      }),
      { seed: 14, numRuns: 10_000 },
    )
  })

  test("of any octets at all identify nobody", () => {
    const index = compileClientIndex([client("a", bySan("spiffe://acme/acme-a"))])
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
        const facts = parseX509(octets)
        if (facts === undefined) return
        expect(decideIdentity(index, certificate({ ...facts, spiffeId: undefined }), NOW_MS).ok).toBe(false)
      }),
      { seed: 15, numRuns: 3_000 },
    )
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
    const directory = compileClientIndex(ids.map((id, index) => client(`c${index}`, bySan(id))))
    const wrong = ids.filter((id, index) => {
      const decision = decideIdentity(directory, certificate({ subjectAltNames: [uri(id)] }), NOW_MS)
      return !decision.ok || decision.client.id !== `c${index}`
    })
    expect(wrong).toEqual([])
  })
})

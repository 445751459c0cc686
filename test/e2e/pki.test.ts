/**
 * The development PKI as its users meet it: files that other software reads, handshakes that succeed or fail for the one
 * reason they are meant to, and a second run that changes nothing. Everything happens in temporary directories.
 */
// First, because the package of certificates does not load without it.
import "../../cli/pki/reflection.ts"
import { createPrivateKey, X509Certificate } from "node:crypto"
import { once } from "node:events"
import { chmod, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { connect, createServer, type TLSSocket } from "node:tls"
import { X509Certificate as PackageCertificate, X509Crl } from "@peculiar/x509"
import * as fc from "fast-check"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { PkiError } from "../../cli/pki/error.ts"
import { parseSubject } from "../../cli/pki/name.ts"
import { ensurePki, type Pki, type PkiOptions } from "../../cli/pki/ensure.ts"

const DAY_MS = 86_400_000
// Handshakes are judged by the system clock, so the certificates have to be issued by it too.
const NOW_MS = Date.now()
const OPTIONS: PkiOptions = {
  clients: [
    { id: "acme", sanUri: "spiffe://partners.example/acme", subject: "CN=acme,OU=Payments,O=Acme\\, Inc.,C=JP" },
    { id: "globex", sanUri: "spiffe://partners.example/globex", subject: "CN=globex,O=Globex,C=JP" },
  ],
  hosts: ["localhost", "api.bank.example"],
  nowMs: NOW_MS,
}

const directories: string[] = []
let pki: Pki

beforeAll(async () => {
  pki = await ensurePki(await newDirectory(), OPTIONS)
})

afterAll(async () => {
  for (const directory of directories) await rm(directory, { recursive: true, force: true })
})

describe("certificates", () => {
  test("ensurePki() makes a CA that is its own issuer and may sign leaves only", async () => {
    const ca = await certificateIn(pki.ca.certificatePath)
    expect(ca.ca && ca.verify(ca.publicKey) && ca.checkIssued(ca)).toBe(true)
    // basicConstraints, critical: cA TRUE, pathLenConstraint 0. keyUsage, critical: keyCertSign and cRLSign.
    expect(hexOf(ca)).toContain("0603551d130101ff040830060101ff020100")
    expect(hexOf(ca)).toContain("0603551d0f0101ff040403020106")
  })

  test("ensurePki() makes a CA for ten years", () => {
    expect(pki.ca.notAfterMs - NOW_MS).toBeGreaterThan(3_652 * DAY_MS)
  })

  test.each(["server", "acme", "globex"])("ensurePki() signs the leaf %s with the CA", async (name) => {
    const ca = await certificateIn(pki.ca.certificatePath)
    const leaf = await certificateIn(leafOf(name).certificatePath)
    expect(leaf.checkIssued(ca) && leaf.verify(ca.publicKey) && !leaf.ca).toBe(true)
  })

  test.each(["server", "acme", "globex"])("ensurePki() writes the key of the leaf %s", async (name) => {
    const { certificatePath, keyPath } = leafOf(name)
    const key = createPrivateKey(keyPart(await readFile(keyPath, "utf8")))
    expect((await certificateIn(certificatePath)).checkPrivateKey(key)).toBe(true)
  })

  test("ensurePki() uses ECDSA on P-256 for every key", async () => {
    for (const path of [pki.ca.certificatePath, pki.server.certificatePath, leafOf("acme").certificatePath]) {
      expect((await certificateIn(path)).publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" })
    }
  })

  test("ensurePki() writes a client's certificate before its key, as curl --cert reads them", async () => {
    const text = await readFile(leafOf("acme").certificatePath, "utf8")
    expect([...text.matchAll(/-----BEGIN ([A-Z ]+)-----/g)].map((match) => match[1])).toEqual([
      "CERTIFICATE",
      "PRIVATE KEY",
    ])
  })

  test("ensurePki() names a client by its URI alone", async () => {
    expect((await certificateIn(leafOf("acme").certificatePath)).subjectAltName).toBe(
      "URI:spiffe://partners.example/acme",
    )
  })

  test("ensurePki() encodes the distinguished name from the country down to the common name", async () => {
    expect((await certificateIn(leafOf("acme").certificatePath)).subject).toBe(
      "C=JP\nO=Acme\\, Inc.\nOU=Payments\nCN=acme",
    )
  })

  test("ensurePki() gives a client the purpose clientAuth and the server the purpose serverAuth", async () => {
    expect((await certificateIn(leafOf("acme").certificatePath)).keyUsage).toEqual(["1.3.6.1.5.5.7.3.2"])
    expect((await certificateIn(pki.server.certificatePath)).keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"])
  })

  test("ensurePki() gives a leaf digitalSignature and no CA rights, both critical", async () => {
    const hex = hexOf(await certificateIn(leafOf("acme").certificatePath))
    expect(hex).toContain("0603551d0f0101ff040403020780")
    expect(hex).toContain("0603551d130101ff04023000")
  })

  test("ensurePki() makes leaves for 90 days, valid at once", () => {
    const { notBeforeMs, notAfterMs } = leafOf("acme")
    expect(notAfterMs - notBeforeMs).toBe(90 * DAY_MS)
    expect(notBeforeMs).toBeLessThanOrEqual(NOW_MS)
  })

  test("ensurePki() makes positive serials of 16 octets, all different", () => {
    const serials = [pki.ca, pki.server, ...pki.clients, ...Object.values(pki.specimens)].map(({ serial }) => serial)
    expect(serials.filter((serial) => !/^[4-7][0-9A-F]{31}$/.test(serial))).toEqual([])
    expect(new Set(serials).size).toBe(serials.length)
  })

  test("ensurePki() covers the hosts and both loopback addresses in the server certificate", async () => {
    const server = await certificateIn(pki.server.certificatePath)
    expect(server.checkHost("localhost")).toBe("localhost")
    expect(server.checkHost("api.bank.example")).toBe("api.bank.example")
    expect(server.checkIP("127.0.0.1")).toBe("127.0.0.1")
    expect(server.checkIP("::1")).toBe("::1")
  })

  test("ensurePki() returns the key identifier of the CA that every leaf points to", async () => {
    expect(pki.ca.subjectKeyIdentifier).toMatch(/^[0-9A-F]{40}$/)
    const id = pki.ca.subjectKeyIdentifier.toLowerCase()
    // authorityKeyIdentifier: [0] keyIdentifier of 20 octets.
    expect(hexOf(await certificateIn(leafOf("acme").certificatePath))).toContain(`0603551d23041830168014${id}`)
    expect(hexOf(await certificateIn(pki.ca.certificatePath))).toContain(`0603551d0e04160414${id}`)
  })

  test("ensurePki() returns the fingerprints of the files", async () => {
    const { fingerprint256 } = await certificateIn(leafOf("acme").certificatePath)
    expect(leafOf("acme").fingerprint).toBe(fingerprint256.replaceAll(":", "").toLowerCase())
  })
})

describe("handshakes", () => {
  let address: AddressInfo
  const verdicts: string[] = []
  const server = createServer({ requestCert: true, rejectUnauthorized: false }, (socket) => {
    socket.on("error", () => {})
    verdicts.push(socket.authorized ? "authorized" : String(socket.authorizationError))
    socket.end()
  })

  beforeAll(async () => {
    server.setSecureContext({
      key: await readFile(pki.server.keyPath),
      cert: await readFile(pki.server.certificatePath),
      ca: await readFile(pki.ca.certificatePath),
      crl: await readFile(pki.crlPath),
    })
    await once(server.listen(0, "127.0.0.1"), "listening")
    address = server.address() as AddressInfo
  })

  afterAll(() => {
    server.close()
  })

  test.each([
    ["acme", "authorized"],
    ["globex", "authorized"],
    ["revoked", "CERT_REVOKED"],
    ["expired", "CERT_HAS_EXPIRED"],
    ["not-yet-valid", "CERT_NOT_YET_VALID"],
    ["wrong-eku", "INVALID_PURPOSE"],
    ["foreign", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"],
  ])("a TLS server sees %s as %s", async (name, verdict) => {
    verdicts.length = 0
    const pem = await readFile(leafOf(name).certificatePath)
    const socket: TLSSocket = connect({
      port: address.port,
      host: address.address,
      servername: "api.bank.example",
      ca: await readFile(pki.ca.certificatePath),
      cert: pem,
      key: pem,
    })
    socket.resume()
    await once(socket, "end")
    socket.destroy()
    expect(verdicts).toEqual([verdict])
  })

  test("a specimen says what the first client's certificate says", async () => {
    const genuine = await certificateIn(leafOf("acme").certificatePath)
    for (const { certificatePath } of Object.values(pki.specimens)) {
      const { subject, subjectAltName, issuer } = await certificateIn(certificatePath)
      expect({ subject, subjectAltName, issuer }).toEqual({
        subject: genuine.subject,
        subjectAltName: genuine.subjectAltName,
        issuer: genuine.issuer,
      })
    }
  })
})

describe("a second run", () => {
  test("ensurePki() changes no byte of what is in order", async () => {
    const before = await bytesOf(pki.directory)
    const again = await ensurePki(pki.directory, OPTIONS)
    expect(again.created).toEqual([])
    expect(await bytesOf(pki.directory)).toEqual(before)
  })

  test("ensurePki() makes only a missing file again, under the same CA", async () => {
    const copy = await newPki()
    await rm(copy.clients[1]?.certificatePath ?? "")
    const again = await ensurePki(copy.directory, OPTIONS)
    expect(again.created).toEqual([join("clients", "globex.pem")])
    expect(again.ca).toEqual(copy.ca)
  })

  test("ensurePki() makes a damaged file again", async () => {
    const copy = await newPki()
    await writeFile(copy.server.keyPath, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    expect((await ensurePki(copy.directory, OPTIONS)).created).toEqual(["server.pem"])
  })

  test("ensurePki() keeps leaves that are valid for more than 7 days", async () => {
    const copy = await newPki()
    const later = await ensurePki(copy.directory, { ...OPTIONS, nowMs: NOW_MS + 82 * DAY_MS })
    expect(later.created).toEqual(["crl.pem"])
  })

  test("ensurePki() renews leaves that expire within 7 days, and leaves specimens of the past and future alone", async () => {
    const copy = await newPki()
    const later = await ensurePki(copy.directory, { ...OPTIONS, nowMs: NOW_MS + 84 * DAY_MS })
    const clients = ["acme", "globex", "revoked", "wrong-eku", "foreign"].map((name) => join("clients", `${name}.pem`))
    expect(later.created).toEqual(["server.pem", ...clients, "crl.pem"])
  })

  test("ensurePki() issues a leaf anew when its client has another name", async () => {
    const copy = await newPki()
    const [acme, globex] = OPTIONS.clients
    if (acme === undefined || globex === undefined) throw new Error("Two clients are configured")
    const clients = [acme, { ...globex, sanUri: "spiffe://partners.example/initech" }]
    expect((await ensurePki(copy.directory, { ...OPTIONS, clients })).created).toEqual([join("clients", "globex.pem")])
  })

  test("ensurePki() issues the server certificate anew when the hosts change", async () => {
    const copy = await newPki()
    expect((await ensurePki(copy.directory, { ...OPTIONS, hosts: ["localhost"] })).created).toEqual(["server.pem"])
  })

  test("ensurePki() issues every leaf anew under the same CA when told to renew", async () => {
    const copy = await newPki()
    const renewed = await ensurePki(copy.directory, { ...OPTIONS, renew: true })
    expect(renewed.created).toHaveLength(9)
    expect(renewed.ca).toEqual(copy.ca)
  })

  test("ensurePki() leaves no temporary file", async () => {
    expect((await readdir(pki.directory, { recursive: true })).filter((name) => name.endsWith(".tmp"))).toEqual([])
  })
})

describe("the revocation list", () => {
  test("ensurePki() signs it with the CA", async () => {
    const crl = new X509Crl(await readFile(pki.crlPath, "utf8"))
    const publicKey = new PackageCertificate(await readFile(pki.ca.certificatePath, "utf8"))
    await expect(crl.verify({ publicKey })).resolves.toBe(true)
  })

  test("ensurePki() makes it for 30 days", async () => {
    const { thisUpdate, nextUpdate } = new X509Crl(await readFile(pki.crlPath, "utf8"))
    expect((nextUpdate?.getTime() ?? 0) - thisUpdate.getTime()).toBe(30 * DAY_MS)
  })

  test("ensurePki() lists exactly the revoked specimen on it", async () => {
    const { entries } = new X509Crl(await readFile(pki.crlPath, "utf8"))
    expect(entries.map(({ serialNumber }) => serialNumber.toUpperCase())).toEqual([pki.specimens.revoked.serial])
  })

  test("ensurePki() makes it anew when half of its 30 days are over", async () => {
    const copy = await newPki()
    const before = await ensurePki(copy.directory, { ...OPTIONS, nowMs: NOW_MS + 14 * DAY_MS })
    const after = await ensurePki(copy.directory, { ...OPTIONS, nowMs: NOW_MS + 15 * DAY_MS })
    expect([before.created, after.created]).toEqual([[], ["crl.pem"]])
  })

  test("ensurePki() keeps a serial on it until its certificate has expired", async () => {
    const copy = await newPki()
    const first = copy.specimens.revoked.serial.toLowerCase()
    await ensurePki(copy.directory, { ...OPTIONS, renew: true })
    expect(await crlHexIn(copy)).toContain(first)
    await ensurePki(copy.directory, { ...OPTIONS, nowMs: NOW_MS + 91 * DAY_MS })
    expect(await crlHexIn(copy)).not.toContain(first)
  })

  test("ensurePki() replaces a list that the CA did not sign, and keeps nothing of it", async () => {
    const copy = await newPki()
    await writeFile(copy.crlPath, await readFile(pki.crlPath))
    expect((await ensurePki(copy.directory, OPTIONS)).created).toEqual(["crl.pem"])
    expect(await crlHexIn(copy)).not.toContain(pki.specimens.revoked.serial.toLowerCase())
  })
})

describe("the CA", () => {
  test("ensurePki() refuses a CA without its key and says what to do", async () => {
    const copy = await newPki()
    await rm(copy.ca.keyPath)
    const before = await bytesOf(copy.directory)
    await expect(ensurePki(copy.directory, OPTIONS)).rejects.toThrow(
      /ca\.key is missing.*move the directory away.*--replace-ca.*ca\.pem\.bak-/s,
    )
    expect(await bytesOf(copy.directory)).toEqual(before)
  })

  test("ensurePki() refuses a CA whose key belongs to another", async () => {
    const copy = await newPki()
    await writeFile(copy.ca.keyPath, await readFile(pki.ca.keyPath))
    await expect(ensurePki(copy.directory, OPTIONS)).rejects.toThrow("ca.key does not belong to ca.pem")
  })

  test("ensurePki() refuses a key without its certificate", async () => {
    const copy = await newPki()
    await rm(copy.ca.certificatePath)
    await expect(ensurePki(copy.directory, OPTIONS)).rejects.toThrow("ca.pem is missing")
  })

  test("ensurePki() refuses a leaf in the place of the CA", async () => {
    const copy = await newPki()
    await writeFile(copy.ca.certificatePath, await readFile(copy.server.certificatePath))
    await writeFile(copy.ca.keyPath, await readFile(copy.server.keyPath))
    await expect(ensurePki(copy.directory, OPTIONS)).rejects.toThrow("not a self-signed CA certificate")
  })

  test("ensurePki() refuses an expired CA", async () => {
    const nowMs = NOW_MS + 3_660 * DAY_MS
    await expect(ensurePki(pki.directory, { ...OPTIONS, nowMs })).rejects.toThrow("the CA expired at")
  })

  test("ensurePki() refuses a CA that is not valid yet", async () => {
    const nowMs = NOW_MS - DAY_MS
    await expect(ensurePki(pki.directory, { ...OPTIONS, nowMs })).rejects.toThrow("which this clock has not reached")
  })

  test("ensurePki() keeps the old CA beside the new one when told to replace it", async () => {
    const copy = await newPki()
    const old = await bytesOf(copy.directory)
    const replaced = await ensurePki(copy.directory, { ...OPTIONS, replaceCa: true })
    const suffix = `.bak-${new Date(NOW_MS).toISOString().replaceAll(/[-:]/g, "")}`
    const now = await bytesOf(copy.directory)
    expect([now.get(`ca.pem${suffix}`), now.get(`ca.key${suffix}`)]).toEqual([old.get("ca.pem"), old.get("ca.key")])
    expect(replaced.ca.fingerprint).not.toBe(copy.ca.fingerprint)
    expect(replaced.created).toContain(join("clients", "acme.pem"))
  })

  test("ensurePki() issues every leaf anew under a new CA, except the foreign one", async () => {
    const copy = await newPki()
    await rename(copy.ca.certificatePath, `${copy.ca.certificatePath}.old`)
    await rename(copy.ca.keyPath, `${copy.ca.keyPath}.old`)
    const { created } = await ensurePki(copy.directory, OPTIONS)
    const clients = ["acme", "globex", "revoked", "expired", "not-yet-valid", "wrong-eku"]
    const leaves = clients.map((name) => join("clients", `${name}.pem`))
    expect(created).toEqual(["ca.key", "ca.pem", "server.pem", ...leaves, "crl.pem"])
  })

  test("ensurePki() lets one of two first runs make the CA", async () => {
    const directory = await newDirectory()
    const results = await Promise.allSettled([ensurePki(directory, OPTIONS), ensurePki(directory, OPTIONS)])
    const failed = results.filter((result) => result.status === "rejected")
    expect(failed.every((result) => result.reason instanceof PkiError)).toBe(true)
    await expect(ensurePki(directory, OPTIONS)).resolves.toMatchObject({ directory })
  })
})

describe.skipIf(process.platform === "win32")("permissions", () => {
  test("ensurePki() lets only the owner into its directories", async () => {
    const directory = join(await newDirectory(), "new", "pki")
    await ensurePki(directory, OPTIONS)
    expect([await modeOf(directory), await modeOf(join(directory, "clients"))]).toEqual([0o700, 0o700])
  })

  test("ensurePki() lets only the owner read a file with a key in it", async () => {
    const files = [pki.ca, pki.server, ...pki.clients, ...Object.values(pki.specimens)].map(({ keyPath }) => keyPath)
    expect(new Set(await Promise.all(files.map(modeOf)))).toEqual(new Set([0o600]))
  })

  test("ensurePki() closes a key file that others can read", async () => {
    const copy = await newPki()
    await chmod(copy.ca.keyPath, 0o644)
    await chmod(copy.server.keyPath, 0o644)
    await ensurePki(copy.directory, OPTIONS)
    expect([await modeOf(copy.ca.keyPath), await modeOf(copy.server.keyPath)]).toEqual([0o600, 0o600])
  })
})

describe("options", () => {
  test.each(["", "../acme", "a/b", ".hidden", "a b", "revoked", "Foreign", "acme\n"])(
    "ensurePki() refuses the client id %j",
    async (id) => {
      const clients = [{ id, sanUri: "spiffe://partners.example/x", subject: "CN=x" }]
      const directory = join(await newDirectory(), "pki")
      await expect(ensurePki(directory, { ...OPTIONS, clients })).rejects.toThrow(PkiError)
      await expect(stat(directory)).rejects.toThrow("ENOENT")
    },
  )

  test("ensurePki() refuses two clients of one file name", async () => {
    const clients = ["acme", "ACME"].map((id) => ({ id, sanUri: `spiffe://partners.example/${id}`, subject: "CN=x" }))
    await expect(ensurePki(await newDirectory(), { ...OPTIONS, clients })).rejects.toThrow(
      "another client has that file",
    )
  })

  test.each(["", "a b", "-a", "a/b"])("ensurePki() refuses the host %j", async (host) => {
    await expect(ensurePki(await newDirectory(), { ...OPTIONS, hosts: [host] })).rejects.toThrow(PkiError)
  })

  test("ensurePki() refuses a name that is no absolute URI", async () => {
    const clients = [{ id: "acme", sanUri: "partners.example/acme", subject: "CN=acme" }]
    await expect(ensurePki(await newDirectory(), { ...OPTIONS, clients })).rejects.toThrow("not an absolute URI")
  })
})

describe("parseSubject()", () => {
  test.each([
    ["CN=a,O=b,C=JP", "C=JP, O=b, CN=a"],
    ["cn = a", undefined],
    ["CN=a, O= b ", "O=b, CN=a"],
    ["CN=a\\,b", "CN=a\\,b"],
    ["CN=Ren\\C3\\A9e", "CN=Renée"],
    ["CN=a+OU=b,C=JP", "C=JP, CN=a+OU=b"],
    ["2.5.4.97=PSDJP-FSA-1,CN=a", "CN=a, 2.5.4.97=PSDJP-FSA-1"],
    ["OU=a,OU=b", "OU=b, OU=a"],
    ["", undefined],
    ["CN", undefined],
    ["CN=", undefined],
    ["CN=a,", undefined],
    ["CN=a;O=b", undefined],
    ['CN="a"', undefined],
    ["CN=#0c0161", undefined],
    ["XX=a", undefined],
    ["C=日本", undefined],
    ["CN=\\ff", undefined],
  ])("parseSubject() reads %j as %j", (text, expected) => {
    expect(orUndefined(() => parseSubject(text).toString())).toBe(expected)
  })

  test("RFC 4514 §2.4 parseSubject() reads every value back that was escaped", () => {
    const values = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }).filter((value) => !value.includes("\0"))
    fc.assert(
      fc.property(values, (value) => {
        const escaped = [...Buffer.from(value)].map((octet) => `\\${octet.toString(16).padStart(2, "0")}`).join("")
        expect(parseSubject(`CN=${escaped},C=JP`).getField("CN")).toEqual([value])
      }),
      { seed: 20_261_122, numRuns: 200 },
    )
  })
})

async function newDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "sekisho-pki-"))
  directories.push(directory)
  return directory
}

async function newPki(): Promise<Pki> {
  return await ensurePki(await newDirectory(), OPTIONS)
}

function leafOf(name: string): { readonly certificatePath: string; readonly keyPath: string } & Pki["server"] {
  const specimens: Readonly<Record<string, Pki["server"]>> = pki.specimens
  const leaf = name === "server" ? pki.server : (pki.clients.find(({ id }) => id === name) ?? specimens[name])
  if (leaf === undefined) throw new Error(`Cannot find a leaf in the PKI: ${name}`)
  return leaf
}

async function certificateIn(path: string): Promise<X509Certificate> {
  return new X509Certificate(await readFile(path))
}

function keyPart(pem: string): string {
  return pem.slice(pem.indexOf("-----BEGIN PRIVATE KEY-----"))
}

function hexOf(certificate: X509Certificate): string {
  return certificate.raw.toString("hex")
}

async function crlHexIn({ crlPath }: Pki): Promise<string> {
  const pem = await readFile(crlPath, "utf8")
  return Buffer.from(pem.replaceAll(/-----[A-Z0-9 ]+-----/g, ""), "base64").toString("hex")
}

async function bytesOf(directory: string): Promise<Map<string, string>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const pairs = paths.map(async (path): Promise<[string, string]> => [
    path.slice(directory.length + 1),
    await readFile(path, "base64"),
  ])
  return new Map((await Promise.all(pairs)).toSorted(([left], [right]) => (left < right ? -1 : 1)))
}

async function modeOf(path: string): Promise<number> {
  return (await stat(path)).mode & 0o777
}

function orUndefined<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

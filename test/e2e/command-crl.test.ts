/**
 * Goal: `sekisho crl` says what a list says and what the gateway would make of it, and of anything else why it is no list.
 * Method: the real process on lists of the development CA and on lists written for the purpose.
 */
import { createPrivateKey, sign } from "node:crypto"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { AUTHORITY_SUBJECT } from "../../cli/pki/authority.ts"
import { ensurePki, type Pki } from "../../cli/pki/ensure.ts"
import { parseSubject } from "../../cli/pki/name.ts"
import { decodePem } from "../../src/core/certificate/pem.ts"
import { crlOf, entry, extension, CRL_NUMBER, pemOf, tbsCertList, time } from "../core/crl-fixtures.ts"
import { runCommand } from "./command.ts"

const FAR_MS = Date.UTC(2099, 0, 1)

let directory: string
let pki: Pki
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "sekisho-crl-"))
  const client = { id: "acme", sanUri: "spiffe://partners.example/acme", subject: "CN=acme" }
  pki = await ensurePki(join(directory, "pki"), { clients: [client], hosts: ["localhost"], nowMs: Date.now() })
})
afterAll(() => rm(directory, { recursive: true, force: true }))

async function write(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(directory, name)
  await writeFile(path, content)
  return path
}

test("a list in force that the CA has signed is shown, and the command succeeds", async () => {
  const { code, stdout } = await runCommand("crl", pki.crlPath, "--ca", pki.ca.certificatePath)
  expect(code).toBe(0)
  expect(stdout).toMatch(/issuer +CN=Sekisho Development CA,O=Sekisho Development\n/)
  expect(stdout).toMatch(/in force +yes\n/)
  expect(stdout).toMatch(/signature +by this CA\n/)
  expect(stdout).toMatch(/entries +1\n/)
  expect(stdout).toContain(pki.specimens.revoked.serial.toLowerCase())
})

test("DER is shown like PEM", async () => {
  const der = decodePem(new Uint8Array(await readFile(pki.crlPath)), ["X509 CRL"])
  const shown = await runCommand("crl", await write("crl.der", der ?? new Uint8Array()))
  expect([shown.code, shown.stdout]).toEqual([0, (await runCommand("crl", pki.crlPath)).stdout])
})

test("--serial says of one certificate whether it is revoked", async () => {
  const colons = pki.specimens.revoked.serial.match(/../g)?.join(":") ?? ""
  expect((await runCommand("crl", pki.crlPath, "--serial", colons)).stdout).toMatch(
    /revoked since .* \(keyCompromise\)/,
  )
  const good = pki.clients[0]?.serial ?? ""
  expect((await runCommand("crl", pki.crlPath, "--serial", good)).stdout).toMatch(/not revoked\n/)
})

test("a list that another CA has signed fails", async () => {
  const other = await ensurePki(join(directory, "other"), { clients: [], hosts: ["localhost"], nowMs: Date.now() })
  const { code, stdout } = await runCommand("crl", pki.crlPath, "--ca", other.ca.certificatePath)
  expect([code, stdout]).toEqual([1, expect.stringMatching(/signature +not by this CA/)])
})

test.each([
  ["the key of the CA succeeds", "73656b6973686f2d646576656c6f706d656e742d", 0, "by this CA"],
  ["another key fails, although the CA has signed it", "00".repeat(20), 1, "not by this CA"],
])("a list that names %s", async (_, keyId, exitCode, verdict) => {
  const parts = {
    issuer: new Uint8Array(parseSubject(AUTHORITY_SUBJECT).toArrayBuffer()),
    nextUpdate: time(FAR_MS),
    extensions: [CRL_NUMBER, extension("2.5.29.35", `30168014${keyId}`)],
  }
  const key = createPrivateKey(await readFile(pki.ca.keyPath))
  const list = crlOf({ ...parts, signature: sign("sha256", tbsCertList(parts), key) })
  const { code, stdout } = await runCommand("crl", await write("named.crl", list), "--ca", pki.ca.certificatePath)
  expect([code, stdout]).toEqual([exitCode, expect.stringMatching(new RegExp(`signature +${verdict}\\n`))])
})

test.each([
  ["is over", { thisUpdate: time(0), nextUpdate: time(1_000) }, "no, it is over"],
  ["has not begun", { thisUpdate: time(FAR_MS), nextUpdate: time(FAR_MS) }, "not yet"],
])("a list that %s fails", async (_, parts, text) => {
  const { code, stdout } = await runCommand("crl", await write("other.crl", crlOf(parts)))
  expect([code, stdout]).toEqual([1, expect.stringMatching(new RegExp(`in force +${text}\\n`))])
})

test("of many entries the first ones are shown", async () => {
  const entries = Array.from({ length: 25 }, (_, index) => entry(`10${index.toString(16).padStart(2, "0")}`))
  const { stdout } = await runCommand("crl", await write("long.crl", crlOf({ entries })))
  expect(stdout.match(/^ {2}10[0-9a-f]{2} /gm)).toHaveLength(10)
  expect(stdout).toContain("and 15 more")
})

describe("errors", () => {
  test.each([
    ["no file", ["crl"], /takes one file/],
    ["a file that is not there", ["crl", "/nowhere/x.crl"], /There is no file \/nowhere\/x\.crl/],
    ["a serial that is none", ["crl", "X", "--serial", "xyz"], /--serial takes a serial number in hex/],
  ])("%s", async (_, args, message) => {
    const { code, stderr } = await runCommand(...args)
    expect([code, stderr]).toEqual([1, expect.stringMatching(message)])
  })

  test("a list that the gateway does not use, with the reason", async () => {
    const delta = crlOf({ extensions: [CRL_NUMBER, extension("2.5.29.27", "020101", true)] })
    const { code, stderr } = await runCommand("crl", await write("delta.crl", pemOf(delta)))
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/it is a delta list: complete lists are needed \(crl_delta\)/),
    ])
  })

  test("a certificate in the place of a list", async () => {
    const { code, stderr } = await runCommand("crl", pki.ca.certificatePath)
    expect([code, stderr]).toEqual([1, expect.stringContaining("crl_not_pem")])
  })

  test("a list in the place of the CA's certificate", async () => {
    const { code, stderr } = await runCommand("crl", pki.crlPath, "--ca", pki.crlPath)
    expect([code, stderr]).toEqual([1, expect.stringMatching(/is no certificate: --ca takes one certificate/)])
  })
})

/**
 * Goal: what is sealed opens for the same key and header alone, and is what the rest of the world calls a JWE. Method: jose as the other
 * side, in both directions; every part of a text changed.
 */
import { CompactEncrypt, compactDecrypt } from "jose"
import { beforeAll, describe, expect, test } from "vitest"
import { openJwe, sealJwe } from "../../src/keys/compact-jwe.ts"

const OCTETS = new TextEncoder().encode('{"paid":true}')
let key: CryptoKey
let other: CryptoKey

beforeAll(async () => {
  const make = async (): Promise<CryptoKey> =>
    (await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, true, ["encrypt", "decrypt"])) as CryptoKey
  ;[key, other] = [await make(), await make()]
})

const open = (text: string, opener: CryptoKey | undefined = key) => openJwe(text, () => opener)
const foreign = (header: Readonly<Record<string, unknown>>) =>
  new CompactEncrypt(OCTETS).setProtectedHeader(header as { alg: string; enc: string }).encrypt(key)

describe("sealJwe()", () => {
  test("writes what jose reads", async () => {
    const { plaintext, protectedHeader } = await compactDecrypt(await sealJwe(OCTETS, key, { kid: "k1" }), key)
    expect([plaintext, protectedHeader]).toEqual([OCTETS, { alg: "dir", enc: "A256GCM", kid: "k1" }])
  })

  test("never writes the same twice", async () => {
    const texts = await Promise.all(Array.from({ length: 20 }, () => sealJwe(OCTETS, key, {})))
    expect(new Set(texts).size).toBe(20)
  })

  test.each([0, 1, 8_192, 200_001])("keeps %i octets as they are", async (length) => {
    const octets = Uint8Array.from({ length }, (_, i) => (i * 31) & 0xff)
    expect((await open(await sealJwe(octets, key, {})))?.octets).toEqual(octets)
  })
})

describe("openJwe()", () => {
  test("reads what jose writes, with its header", async () => {
    expect(await open(await foreign({ alg: "dir", enc: "A256GCM", kid: "k2" }))).toEqual({
      octets: OCTETS,
      header: { alg: "dir", enc: "A256GCM", kid: "k2" },
    })
  })

  test("asks for the key that the header names", async () => {
    const text = await sealJwe(OCTETS, key, { kid: "k3" })
    expect(await openJwe(text, ({ kid }) => (kid === "k3" ? key : undefined))).toBeDefined()
    expect(await openJwe(text, () => undefined)).toBeUndefined()
    expect(await open(text, other)).toBeUndefined()
  })

  test.each([0, 2, 3, 4])("opens nothing whose part %i is changed by one letter", async (part) => {
    const parts = (await sealJwe(OCTETS, key, { kid: "k" })).split(".")
    const old = parts[part] ?? ""
    parts[part] = (old.startsWith("A") ? "B" : "A") + old.slice(1)
    expect(await open(parts.join("."))).toBeUndefined()
  })

  test.each([
    ["no JWE", "SECRET"],
    ["nothing", ""],
    ["four parts", "e30.AA.AA.AA"],
    ["six parts", "e30..AA.AA.AA.AA"],
    ["padding", "e30=..AAAAAAAAAAAAAAAA..AAAAAAAAAAAAAAAAAAAAAA"],
    ["a header that is no table", "W10..AAAAAAAAAAAAAAAA..AAAAAAAAAAAAAAAAAAAAAA"],
  ])("opens nothing that is %s", async (_, text) => {
    expect(await open(text)).toBeUndefined()
  })

  test("opens nothing with an encrypted key, a tag of another length or parts behind its end", async () => {
    const [head, , iv, content, tag = ""] = (await sealJwe(OCTETS, key, {})).split(".")
    const texts = [
      [head, "AA", iv, content, tag],
      [head, "", iv, content, tag.slice(0, 20)],
      [head, "", iv, content, tag, ""],
    ]
    for (const parts of texts) expect(await open(parts.join("."))).toBeUndefined()
    expect(await open([head, "", iv, content, tag].join("."))).toBeDefined()
  })

  test("opens nothing of another algorithm, although the key would fit", async () => {
    const jwk = await crypto.subtle.exportKey("raw", key)
    const wrapping = await crypto.subtle.importKey("raw", jwk, "AES-GCM", true, ["encrypt", "decrypt"])
    const wrapped = await new CompactEncrypt(OCTETS)
      .setProtectedHeader({ alg: "A256GCMKW", enc: "A256GCM" })
      .encrypt(wrapping)
    expect(await open(wrapped)).toBeUndefined()
  })
})

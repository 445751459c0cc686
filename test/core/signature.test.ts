/**
 * Goal: a signature counts only with the key and the algorithm that it says, and every kind that a CA uses can be verified.
 * Method: real keys of every kind, and plans carried out by WebCrypto as the shells carry them out.
 */
import { webcrypto } from "node:crypto"
import * as fc from "fast-check"
import { describe, expect, test } from "vitest"
import { isSignatureAlgorithm, planVerification } from "../../src/core/certificate/signature.ts"
import { der, hex } from "./certificate-fixtures.ts"
import { ECDSA_SHA256, SHA1_RSA } from "./crl-fixtures.ts"
import { createSigner, SIGNER_KINDS, type CrlSigner } from "./crl-signers.ts"

const MESSAGE = Uint8Array.from(Buffer.from("signed"))

async function isValid(
  { algorithm, publicKey }: CrlSigner,
  signature: Uint8Array,
  message = MESSAGE,
): Promise<boolean> {
  const plan = planVerification(algorithm, publicKey, signature)
  if (plan === undefined) return false
  const spki = Uint8Array.from(publicKey)
  const key = await webcrypto.subtle.importKey("spki", spki, plan.keyAlgorithm, false, ["verify"])
  return webcrypto.subtle.verify(plan.algorithm, key, plan.signature, message)
}

describe.each(SIGNER_KINDS)("planVerification() of %s", (kind) => {
  test("verifies what was signed and nothing else", async () => {
    const signer = await createSigner(kind)
    const signature = await signer.sign(MESSAGE)
    expect(isSignatureAlgorithm(signer.algorithm)).toBe(true)
    expect(await isValid(signer, signature)).toBe(true)
    expect(await isValid(signer, signature, Uint8Array.from(Buffer.from("Signed")))).toBe(false)
    expect(await isValid(await createSigner(kind), signature)).toBe(false)
  })
})

test("planVerification() gives ECDSA numbers their full width, also short ones", async () => {
  const signer = await createSigner("p256-sha256")
  // One in 128 signatures has a number with a leading zero octet.
  for (let index = 0; index < 400; index++) {
    const message = Uint8Array.of(index & 0xff, index >> 8)
    expect(await isValid(signer, await signer.sign(message), message)).toBe(true)
  }
})

test.each([
  ["RSA with SHA-1", SHA1_RSA],
  ["ECDSA with SHA-1", der(0x30, hex("06072a8648ce3d0401"))],
  ["RSA-PSS without parameters, which mean SHA-1", der(0x30, hex("06092a864886f70d01010a"))],
  ["RSA-PSS with empty parameters", der(0x30, hex("06092a864886f70d01010a"), hex("3000"))],
  ["MD5", der(0x30, hex("06092a864886f70d010104"), hex("0500"))],
  ["nothing", new Uint8Array()],
])("isSignatureAlgorithm() refuses %s", (_, algorithm) => {
  expect(isSignatureAlgorithm(algorithm)).toBe(false)
})

test("planVerification() refuses a key of another kind", async () => {
  const [rsa, ec, edwards] = await Promise.all([
    createSigner("rsa-sha256"),
    createSigner("p256-sha256"),
    createSigner("ed25519"),
  ])
  const signature = await ec.sign(MESSAGE)
  expect(planVerification(ec.algorithm, rsa.publicKey, signature)).toBeUndefined()
  expect(planVerification(rsa.algorithm, ec.publicKey, signature)).toBeUndefined()
  expect(planVerification(edwards.algorithm, ec.publicKey, signature)).toBeUndefined()
  expect(planVerification(ec.algorithm, edwards.publicKey, signature)).toBeUndefined()
})

test.each([
  ["is no DER", "00"],
  ["has one number", "3003020101"],
  ["has three numbers", "3009020101020101020101"],
  ["has a negative number", "3006020181020101"],
  ["has an empty number", "30050200020101"],
  ["has a number that is too long", `30270222${"7f".repeat(34)}020101`],
])("planVerification() refuses an ECDSA signature that %s", async (_, signature) => {
  const { algorithm, publicKey } = await createSigner("p256-sha256")
  expect(planVerification(algorithm, publicKey, hex(signature))).toBeUndefined()
})

test("planVerification() throws for no octets", async () => {
  const { publicKey } = await createSigner("p256-sha256")
  fc.assert(
    fc.property(fc.uint8Array(), fc.uint8Array(), (left, right) => {
      planVerification(left, right, left)
      planVerification(ECDSA_SHA256, publicKey, left)
      isSignatureAlgorithm(left)
    }),
    { seed: 20_261_128, numRuns: 2_000 },
  )
})

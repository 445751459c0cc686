/**
 * Goal: PEM gives exactly the octets that were put in, or nothing. Method: Node's base64 as the other opinion.
 */
import * as fc from "fast-check"
import { expect, test } from "vitest"
import { decodePem, isPem } from "../../src/core/certificate/pem.ts"
import { pemOf } from "./crl-fixtures.ts"

const LABELS = ["X509 CRL", "CRL"]
const octetsOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, "latin1"))
const decode = (text: string): Uint8Array | undefined => decodePem(octetsOf(text), LABELS)

test("decodePem() returns what was encoded, with any line ends", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.constantFrom("\n", "\r\n", " \n"), (octets, lineEnd) => {
      const pem = pemOf(octets).replaceAll("\n", lineEnd)
      expect(decode(pem)).toEqual(octets)
    }),
    { seed: 20_261_128 },
  )
})

test("decodePem() takes every label it is given, and text around the block", () => {
  expect(decode(`Certificate Revocation List:\n${pemOf(Uint8Array.of(1), "CRL")}\nbye`)).toEqual(Uint8Array.of(1))
})

const BLOCK = pemOf(Uint8Array.of(1, 2, 3, 4))
test.each([
  ["there is none", ""],
  ["there are two", BLOCK + BLOCK],
  ["it is of another label", BLOCK.replaceAll("X509 CRL", "CERTIFICATE")],
  ["it has no end", BLOCK.slice(0, -12)],
  ["its end is of another label", BLOCK.replace("END X509 CRL", "END CRL")],
  ["a character is none of base64", BLOCK.replace("AQ", "A-")],
  ["a digit is missing", BLOCK.replace("AQ", "A")],
  ["padding stands in the middle", BLOCK.replace("AQ", "A=")],
  ["bits behind the last octet are set", BLOCK.replace("BA==", "BB==")],
])("decodePem() returns nothing when %s", (_, text) => {
  expect(decode(text)).toBeUndefined()
})

test("isPem() tells DER from PEM", () => {
  expect([isPem(octetsOf(BLOCK)), isPem(octetsOf(`text\n${BLOCK}`)), isPem(octetsOf(`0${BLOCK}`))]).toEqual([
    true,
    true,
    false,
  ])
})

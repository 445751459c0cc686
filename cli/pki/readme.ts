/**
 * The note that lies beside the files of the development PKI: what each of them is for. Pure.
 */

/** Returns the text of README.txt. The specimens are explained with the answer that each of them must get. */
export function formatReadme(clientIds: readonly string[]): string {
  const clients = clientIds.map(
    (id) => `  ${`clients/${id}.pem`.padEnd(28)}client "${id}": certificate and key in one file\n`,
  )
  return `Development PKI of Sekisho. For this machine only: whoever can read ca.key can be any client.

  ca.pem, ca.key              the CA; the gateway trusts ca.pem for clients, curl trusts it for the server
  server.pem, server.key      the gateway's own certificate
  crl.pem                     the CA's revocation list
${clients.join("")}
Specimens. Each says what the first client's certificate says and has one flaw; the gateway refuses all of them.

  clients/revoked.pem         its serial is on crl.pem
  clients/expired.pem         its validity is over
  clients/not-yet-valid.pem   its validity has not begun
  clients/wrong-eku.pem       its purpose is serverAuth, not clientAuth
  clients/foreign.pem         issued by a CA of the same name with another key

Use one:

  curl --cacert ca.pem --cert clients/${clientIds[0] ?? "foreign"}.pem https://localhost:8443/

Files that are missing or expire within 7 days are made anew on the next start, under the same CA. The CA is kept.
To start over, move this directory away.
`
}

import Foundation
import TestSupport
import Testing

/// What an issuer may answer in place of its keys.
extension IssuerTests {
    struct Bad: Sendable, CustomTestStringConvertible {
        let name: String
        let steps: @Sendable (OutsideIssuer) -> [UpstreamStep]
        /// What the log says of it.
        let cause: String
        var testDescription: String { name }
    }

    static let bad: [Bad] = [
        Bad(
            name: "500", steps: { _ in [.respond("500 Oops", body: "{}")] },
            cause: "an answer with status 500"),
        Bad(
            name: "404 with a good set", steps: { [.respond("404 No", body: $0.document)] },
            cause: "an answer with status 404"),
        Bad(name: "hang", steps: { _ in [.hold] }, cause: "no whole answer in time"),
        Bad(
            name: "closed", steps: { _ in [.close] },
            cause: "the connection ended before the answer did"),
        Bad(
            name: "cut",
            steps: {
                [.send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n\($0.document)"), .close]
            }, cause: "the connection ended before the answer did"),
        Bad(
            name: "trickled",
            steps: { _ in [.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{"), .hold] },
            cause: "no whole answer in time"),
        Bad(
            name: "64 MB declared",
            steps: { _ in
                [.send("HTTP/1.1 200 OK\r\nContent-Length: \(64 << 20)\r\n\r\n{"), .hold]
            }, cause: "an answer of more than 1048576 bytes"),
        Bad(
            name: "64 MB in chunks",
            steps: { _ in
                [.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")]
                    + Array(
                        repeating: .send(
                            "10000\r\n" + String(repeating: " ", count: 65_536) + "\r\n"),
                        count: 1024)
            }, cause: "an answer of more than 1048576 bytes"),
        Bad(
            name: "endless without framing",
            steps: { _ in
                [.send("HTTP/1.1 200 OK\r\n\r\n")]
                    + Array(
                        repeating: .send(String(repeating: " ", count: 65_536)), count: 32)
            }, cause: "an answer of more than 1048576 bytes"),
        Bad(
            name: "redirect",
            steps: {
                [
                    .respond(
                        "302 Found", fields: ["Location: \($0.url)/jwks-elsewhere"],
                        body: $0.document)
                ]
            }, cause: "a redirect (302) to 127.0.0.1:"),
        Bad(
            name: "nothing", steps: { _ in [.respond(body: "")] },
            cause: "a key set that cannot be used: notJSON"),
        Bad(
            name: "empty set", steps: { _ in [.respond(body: #"{"keys":[]}"#)] },
            cause: "a key set without a usable key"),
        Bad(
            name: "HTML", steps: { _ in [.respond(body: "<html>maintenance</html>")] },
            cause: "a key set that cannot be used: notJSON"),
        Bad(
            name: "an array", steps: { _ in [.respond(body: "[]")] },
            cause: "a key set that cannot be used: notAKeySet"),
        Bad(
            name: "no HTTP", steps: { _ in [.send("+OK dovecot ready\r\n"), .hold] },
            cause: "not well-formed HTTP"),
        Bad(
            name: "two framings",
            steps: { _ in
                [
                    .send(
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}"
                    )
                ]
            }, cause: "not well-formed HTTP"),
        Bad(
            name: "interim answers without end",
            steps: { _ in
                Array(repeating: .send("HTTP/1.1 103 Early Hints\r\n\r\n"), count: 100) + [.hold]
            }, cause: "not well-formed HTTP"),
        Bad(
            name: "a switch", steps: { _ in [.send("HTTP/1.1 101 Go\r\n\r\n"), .hold] },
            cause: "not well-formed HTTP"),
        Bad(
            name: "a head without end",
            steps: { _ in
                [.send("HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 40_000)), .hold]
            }, cause: "not well-formed HTTP: headTooLarge"),
        Bad(
            name: "shared secrets alone",
            steps: { _ in
                [
                    .respond(
                        body:
                            #"{"keys":[{"kty":"oct","kid":"one","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#
                    )
                ]
            }, cause: "a key set without a usable key"),
        Bad(
            name: "a second key of the same kid",
            steps: { issuer in
                let key = issuer.document.dropFirst(#"{"keys":["#.count).dropLast(2)
                return [.respond(body: #"{"keys":[\#(key),\#(key)]}"#)]
            }, cause: "duplicateKeyID"),
        // The stranger's is that of RFC 7517 appendix A.1.
        Bad(
            name: "a stranger's key of the same kid before it",
            steps: { issuer in
                let key = issuer.document.dropFirst(#"{"keys":["#.count).dropLast(2)
                let other = """
                    {"kty":"EC","crv":"P-256","kid":"one","alg":"ES256","use":"sig",\
                    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",\
                    "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}
                    """
                return [.respond(body: #"{"keys":[\#(other),\#(key)]}"#)]
            }, cause: "duplicateKeyID"),
    ]

    /// Whatever it answers instead, the last good keys serve on, and what it says counts for nothing.
    @Test(arguments: bad) func theLastGoodKeysServeOn(bad: Bad) throws {
        let issuer = try OutsideIssuer("one")
        let gateway = try start(issuer)
        issuer.answer(bad.steps(issuer))
        let began = ContinuousClock.now
        // The issuer may have the key by now, for all that anybody can say.
        let reply = try gateway.begin(issuer.token("other")).readReply()
        #expect(reply.status == 503)
        #expect(reply.reason == "issuer_unavailable")
        #expect(ContinuousClock.now - began < .seconds(8))
        #expect(issuer.fetches == 2)
        try gateway.waitForLog(bad.cause)
        #expect(gateway.process.standardError.contains("keys_in_use=1"))
        #expect(try gateway.bearer(issuer.token("one")).status == 200)
        #expect(try gateway.memory("VmHWM") < 200 << 10)
    }
}

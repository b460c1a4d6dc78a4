import TestSupport
import Testing

/// What an introspection server may answer, and what comes of it.
extension IntrospectionTests {
    struct Answer: Sendable, CustomTestStringConvertible {
        let body: String
        let status: Int
        /// In the access log.
        let reason: String
        var more = ""
        var testDescription: String { "\(body) \(more)" }

        init(_ body: String, _ status: Int, _ reason: String, _ more: String = "") {
            (self.body, self.status, self.reason, self.more) = (body, status, reason, more)
        }
    }

    static let answers: [Answer] = [
        Answer(#"{"active":false}"#, 401, "unknown_token"),
        Answer(#"{"active":false,"client_id":"app"}"#, 401, "unknown_token"),
        // What is neither true nor false is the server's failure.
        Answer(#"{"active":"true","client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"{"active":1,"client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"{"active":null,"client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"{"Active":true,"client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"{"client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"{"active":false,"active":true,"client_id":"app"}"#, 503, "issuer_unavailable"),
        Answer(#"[{"active":true,"client_id":"app"}]"#, 503, "issuer_unavailable"),
        Answer("true", 503, "issuer_unavailable"),
        Answer("", 503, "issuer_unavailable"),
        Answer(#"{"active":true,"client_id":"app""#, 503, "issuer_unavailable"),
        // Active, and yet not good.
        Answer(#"{"active":true,"client_id":"app","exp":1000}"#, 401, "token_expired"),
        Answer(
            #"{"active":true,"client_id":"app","nbf":99999999999}"#, 401, "token_not_yet_valid"),
        Answer(#"{"active":true,"client_id":"app","exp":"soon"}"#, 401, "malformed_credentials"),
        Answer(
            #"{"active":true,"client_id":"app","exp":99999999999,"nbf":"x"}"#, 401,
            "malformed_credentials"),
        Answer(#"{"active":true}"#, 401, "malformed_credentials"),
        Answer(#"{"active":true,"client_id":""}"#, 401, "malformed_credentials"),
        Answer(#"{"active":true,"client_id":"a\r\nX: y"}"#, 401, "malformed_credentials"),
        Answer(#"{"active":true,"client_id":["app"]}"#, 401, "malformed_credentials"),
        Answer(#"{"active":true,"client_id":"app","scope":7}"#, 401, "malformed_credentials"),
        Answer(#"{"active":true,"client_id":"app","aud":7}"#, 401, "malformed_credentials"),
        Answer(
            #"{"active":true,"client_id":"app","token_type":"refresh_token"}"#, 401, "wrong_type"),
        Answer(
            #"{"active":true,"client_id":"app","token_type":"DPoP"}"#, 401,
            "malformed_credentials"),
        Answer(
            #"{"active":true,"client_id":"app","cnf":{"jkt":"x"}}"#, 401, "malformed_credentials"),
        // The connection shows no certificate.
        Answer(
            #"{"active":true,"client_id":"app","cnf":{"x5t#S256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}"#,
            401, "proof_mismatch"),
        // Whose tokens are proven by their signatures nobody else speaks for.
        Answer(
            #"{"active":true,"client_id":"app","iss":"https://known.test"}"#, 401,
            "unknown_issuer"),
        Answer(#"{"active":true,"client_id":"app","iss":7}"#, 401, "malformed_credentials"),
        Answer(
            #"{"active":true,"client_id":"app"}"#, 401, "malformed_credentials",
            "issuer https://t.test;"),
        Answer(
            #"{"active":true,"client_id":"app","iss":"https://t.test/"}"#, 401, "unknown_issuer",
            "issuer https://t.test;"),
        Answer(
            #"{"active":true,"client_id":"app"}"#, 401, "malformed_credentials", "audience api;"),
        Answer(
            #"{"active":true,"client_id":"app","aud":"api2"}"#, 401, "wrong_audience",
            "audience api;"),
        // And these are good.
        Answer(
            #"{"active":true,"client_id":"app","iss":"https://t.test","aud":["x","api"]}"#, 200, "",
            "issuer https://t.test; audience api;"),
        Answer(#"{"active":true,"sub":"app"}"#, 200, ""),
        Answer(
            #"{"active":true,"client_id":"app","token_type":"bearer","ext":{"a":[1]}}"#, 200, ""),
    ]

    @Test(arguments: answers) func anAnswerIsBelievedAsFarAsItHolds(answer: Answer) throws {
        server.say(answer.body, of: "token")
        let gateway = try start(
            answer.more,
            rest:
                "issuer known { issuer https://known.test; audience api; jwks_uri http://127.0.0.1:1/jwks; }"
        )
        for _ in 0..<2 {
            let reply = try gateway.bearer("token")
            #expect(reply.status == answer.status)
            guard answer.status != 200 else { continue }
            #expect(try gateway.loggedReason() == answer.reason)
            if answer.status == 503 {
                #expect(reply.reason == "issuer_unavailable")
                #expect(reply.values("WWW-Authenticate") == [])
            } else {
                #expect(reply.values("WWW-Authenticate").contains { $0.contains("invalid_token") })
            }
        }
        // What it failed to say is not remembered.
        #expect(server.questions == (answer.status == 503 ? 2 : 1))
        #expect(upstream.requests.count == (answer.status == 200 ? 2 : 0))
    }

    static let active = #"{"active":true,"client_id":"app"}"#

    struct Failure: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let steps: [UpstreamStep]
        let cause: String

        init(_ name: String, _ steps: [UpstreamStep], _ cause: String) {
            (testDescription, self.steps, self.cause) = (name, steps, cause)
        }
    }

    static let failures: [Failure] = [
        Failure("500", [.respond("500 Oops", body: active)], "status 500"),
        Failure("201", [.respond("201 Created", body: active)], "status 201"),
        Failure("401", [.respond("401 Who", body: active)], "status 401"),
        Failure(
            "redirect",
            [.respond("307 There", fields: ["Location: https://elsewhere.test/"], body: active)],
            "a redirect (307) to elsewhere.test"),
        Failure("hang", [.hold], "no whole answer in time"),
        Failure(
            "trickled", [.send("HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"), .hold],
            "no whole answer in time"),
        Failure("closed", [.close], "the connection ended before the answer did"),
        Failure("reset", [.reset], "the connection ended before the answer did"),
        Failure(
            "cut", [.send("HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n\(active)"), .close],
            "the connection ended before the answer did"),
        Failure(
            "cut chunks",
            [
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n21\r\n\(active)\r\n"),
                .close,
            ],
            "the connection ended before the answer did"),
        Failure(
            "too large",
            [.respond(body: active + String(repeating: " ", count: 64 << 10))],
            "an answer of more than 65536 bytes"),
        Failure(
            "64 MB declared",
            [.send("HTTP/1.1 200 OK\r\nContent-Length: \(64 << 20)\r\n\r\n{"), .hold],
            "an answer of more than 65536 bytes"),
        Failure(
            "endless",
            [.send("HTTP/1.1 200 OK\r\n\r\n")]
                + Array(repeating: .send(String(repeating: " ", count: 65_536)), count: 1024),
            "an answer of more than 65536 bytes"),
        Failure("no HTTP", [.send("\(active)\r\n\r\n"), .hold], "not well-formed HTTP"),
    ]

    @Test(arguments: failures) func aServerThatFailsIs503(failure: Failure) throws {
        server.say(failure.steps, of: "*")
        let gateway = try start("timeout 400ms;")
        let began = ContinuousClock.now
        let reply = try gateway.bearer("token")
        #expect(reply.status == 503)
        #expect(reply.reason == "issuer_unavailable")
        #expect(reply.values("Retry-After") == ["1"])
        #expect(ContinuousClock.now - began < .seconds(2))
        try gateway.waitForLog(failure.cause)
        // It heals by itself, and the log says so.
        server.say(Self.active, of: "*")
        #expect(try gateway.bearer("token").status == 200)
        try gateway.waitForLog("the introspection server is back")
        #expect(upstream.requests.count == 1)
    }
}

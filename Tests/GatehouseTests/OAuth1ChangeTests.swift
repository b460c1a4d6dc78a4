import Cryptography
import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// Requests of a consumer alone, changed after they were signed: each is refused for its own reason, forwarded to nobody,
/// and leaves the nonce to the honest request.
@Suite(.serialized)
struct OAuth1ChangeTests {
    /// One way to change the text of a request.
    struct Change: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let status: Int
        let reason: String
        let edits: [(String, String)]

        init(_ name: String, _ status: Int, _ reason: String, _ edits: (String, String)...) {
            testDescription = name
            self.status = status
            self.reason = reason
            self.edits = edits
        }

        /// Each edit is a pattern that must be there once.
        func apply(to text: String) throws -> String {
            try edits.reduce(text) { text, edit in
                let pattern = try NSRegularExpression(pattern: edit.0)
                let whole = NSRange(text.startIndex..., in: text)
                #expect(pattern.numberOfMatches(in: text, range: whole) == 1, "\(edit.0)")
                return pattern.stringByReplacingMatches(
                    in: text, range: whole, withTemplate: edit.1)
            }
        }
    }

    static let changes = [
        Change("query changed", 401, "bad_signature", (#"\?a=1"#, "?a=2")),
        Change("query added", 401, "bad_signature", ("&b=2 ", "&b=2&c=3 ")),
        Change("query dropped", 401, "bad_signature", ("&b=2 ", " ")),
        Change("path changed", 401, "bad_signature", ("/items", "/Items")),
        Change("path with a slash more", 401, "bad_signature", (#"/items\?"#, "/items/?")),
        Change("host changed", 401, "bad_signature", ("Host: 127.0.0.1", "Host: localhost")),
        Change("method changed", 401, "bad_signature", ("^POST", "PUT")),
        Change("form changed", 401, "bad_signature", ("c=3$", "c=4")),
        Change("form declared as text", 401, "bad_signature", ("x-www-form-urlencoded", "json")),
        Change("nonce changed", 401, "bad_signature", (#"oauth_nonce="n"#, "oauth_nonce=\"m")),
        Change(
            // Its padding, a whole escape: any other cut might go through one.
            "signature cut", 401, "bad_signature", (#"(oauth_signature="[^"]*)%3D""#, "$1\"")),
        Change(
            "signature empty", 400, "malformed_credentials", (#"(oauth_signature=)"[^"]*"#, "$1\"")),
        Change("signature with more", 401, "bad_signature", (#"(oauth_signature="[^"]*)"#, "$1A")),
        Change("no signature", 400, "malformed_credentials", (#", oauth_signature="[^"]*""#, "")),
        Change("no nonce", 400, "malformed_credentials", (#", oauth_nonce="[^"]*""#, "")),
        Change(
            "consumer unknown", 401, "unknown_client",
            (#"oauth_consumer_key="shop"#, "oauth_consumer_key=\"shoq")),
        Change(
            "token added", 401, "unknown_token",
            ("OAuth oauth_", "OAuth oauth_token=\"t\", oauth_")),
        Change(
            "nonce twice", 400, "duplicate_credentials",
            ("OAuth oauth_", "OAuth oauth_nonce=\"n\", oauth_")),
        Change(
            "nonce in the query too", 400, "duplicate_credentials", ("&b=2 ", "&b=2&oauth_nonce=n ")
        ),
        Change(
            "method in lower case", 400, "unsupported_signature_method",
            ("HMAC-SHA256", "hmac-sha256")),
        Change(
            "method not in the conf", 400, "unsupported_signature_method",
            ("HMAC-SHA256", "HMAC-SHA512")),
        Change("another method", 401, "bad_signature", ("HMAC-SHA256", "HMAC-SHA1")),
        Change("HMAC called RSA", 401, "bad_signature", ("HMAC-SHA256", "RSA-SHA256")),
        Change("version 2.0", 400, "malformed_credentials", (#"version="1.0"#, "version=\"2.0")),
        Change(
            "timestamp with a sign", 400, "malformed_credentials",
            (#"oauth_timestamp=""#, "oauth_timestamp=\"+")),
        Change(
            "two fields", 400, "duplicate_credentials",
            (#"(Authorization: [^\r]*\r\n)"#, "$1$1")),
    ]

    private func gateway(_ upstream: ScriptedUpstream) throws -> Gateway {
        let folder = try TemporaryDirectory()
        _ = try folder.write("secret", "s3cr&t+/=")
        return try Gateway(
            testConf(
                workers: 2,
                """
                client shop { oauth1_secret_file secret; }
                oauth1 { signature_methods HMAC-SHA1 HMAC-SHA256 RSA-SHA256; }
                upstream up { server 127.0.0.1:\(upstream.port); }
                route / { upstream up; authenticate oauth1; }
                """), in: folder)
    }

    private func signed(_ gateway: Gateway, at seconds: Int64? = nil) throws -> String {
        let type = "application/x-www-form-urlencoded"
        let host = "127.0.0.1:\(try gateway.port)"
        let signer = OAuth1Signer(
            method: .hmacSHA256, consumerKey: "shop",
            credentials: OAuth1Credentials(consumerSecret: Secret(utf8: "s3cr&t+/=")))
        let header = try signer.authorization(
            for: .init(
                method: "POST", url: "http://\(host)/items?a=1&b=2", contentType: type,
                body: Array("c=3".utf8)),
            timestamp: seconds ?? WallTime.now().seconds, nonce: "n")
        return "POST /items?a=1&b=2 HTTP/1.1\r\nHost: \(host)\r\nContent-Type: \(type)\r\n"
            + "Authorization: \(header)\r\nContent-Length: 3\r\n\r\nc=3"
    }

    @Test func eachChangeIsRefusedForItsReasonAndTheNonceStaysFree() throws {
        let upstream = try ScriptedUpstream()
        let gateway = try gateway(upstream)
        let honest = try signed(gateway)
        #expect(Self.changes.count == 26)
        for change in Self.changes {
            let id = change.testDescription.replacingOccurrences(of: " ", with: "-")
            let text = try change.apply(to: honest)
                .replacingOccurrences(of: "\r\nHost:", with: "\r\nX-Request-Id: \(id)\r\nHost:")
            let reply = try gateway.request(text)
            #expect(reply.status == change.status, "\(id)")
            let line = try gateway.accessLine { $0["request_id"] as? String == id }
            #expect(line["reason"] as? String == change.reason, "\(id)")
            // A stranger learns nothing of who is known.
            if reply.status == 401 { #expect(reply.text.contains("invalid_credentials"), "\(id)") }
            if reply.status == 401 {
                #expect(reply.values("WWW-Authenticate") == [#"OAuth realm="gatehouse""#], "\(id)")
            }
        }
        #expect(upstream.requests.isEmpty)
        #expect(try gateway.request(honest).status == 200)
        #expect(try gateway.request(honest).status == 401)
        #expect(upstream.requests.count == 1)
    }

    @Test func anotherSpellingOfTheSameIsNoChange() throws {
        let upstream = try ScriptedUpstream()
        for edit in [
            (#"\?a=1&b=2"#, "?b=2&a=1"), (#"\?a=1"#, "?%61=%31"),
            ("Authorization: OAuth", "authorization: oauth"),
            ("c=3$", "%63=3"),
        ] {
            let gateway = try gateway(upstream)
            let text = try Change("", 200, "", edit).apply(to: try signed(gateway))
                .replacingOccurrences(
                    of: "Length: 3", with: "Length: \(edit.1 == "%63=3" ? 5 : 3)")
            #expect(try gateway.request(text).status == 200, "\(edit)")
        }
        #expect(upstream.requests.count == 4)
    }

    @Test(arguments: [-360, 360])
    func aTimestampOutsideTheWindowIsRefused(seconds: Int64) throws {
        let upstream = try ScriptedUpstream()
        let gateway = try gateway(upstream)
        let text = try signed(gateway, at: WallTime.now().seconds + seconds)
        #expect(try gateway.request(text).status == 401)
        _ = try gateway.accessLine { $0["reason"] as? String == "timestamp_out_of_window" }
        #expect(upstream.requests.isEmpty)
    }
}

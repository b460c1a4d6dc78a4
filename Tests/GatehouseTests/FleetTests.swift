import Foundation
import OAuth
import Primitives
import TestSupport
import Testing

/// Three gateways on one Redis: what one knows all know, and nothing passes twice.
@Suite(.serialized)
struct FleetTests {
    private struct Fleet {
        let redis: TestRedis
        let upstream: ScriptedUpstream
        let folder: TemporaryDirectory
        let gateways: [Gateway]

        init(_ count: Int = 3, oauth1: String = "", without: [String] = []) throws {
            redis = try TestRedis()
            upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
            folder = try TemporaryDirectory()
            try folder.write("secret", "s3cret")
            var gateways: [Gateway] = []
            for index in 0..<count {
                gateways.append(try Fleet.start(index, folder, redis, upstream, oauth1))
            }
            self.gateways = gateways
        }

        static func start(
            _ index: Int, _ folder: TemporaryDirectory, _ redis: TestRedis,
            _ upstream: ScriptedUpstream, _ oauth1: String = ""
        ) throws -> Gateway {
            let own = try TemporaryDirectory()
            return try Gateway(
                testConf(
                    workers: 2,
                    store: "store redis { address 127.0.0.1:\(redis.port); timeout 500ms; }",
                    """
                    secrets { key_file \(folder.file("secrets.key")); }
                    authority { issuer http://fleet.test; scopes read; }
                    client one { secret_file \(folder.file("secret")); oauth1_secret_file \(folder.file("secret")); scopes read; }
                    oauth1 { \(oauth1) }
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate any bearer oauth1; }
                    route /open { upstream up; authenticate none; }
                    """), in: own)
        }

        func conf(_ index: Int) -> String { gateways[index].folder.file("gateway.conf") }

        func token(_ index: Int) throws -> HTTPReply {
            let basic = Data("one:s3cret".utf8).base64EncodedString()
            let form = "grant_type=client_credentials"
            return try gateways[index].request(
                "POST /oauth2/token HTTP/1.1\r\n\(hostLine)Authorization: Basic \(basic)\r\n"
                    + "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
                    + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
        }

        func get(_ index: Int, _ authorization: String, _ path: String = "/") throws -> HTTPReply {
            try gateways[index].request(
                "GET \(path) HTTP/1.1\r\n\(hostLine)Connection: close\r\n"
                    + "Authorization: \(authorization)\r\n\r\n")
        }

        /// A signature that was taken. In the second in which the store was made none is: what was before nobody knows.
        func acceptedSignature() throws -> String {
            var signature = ""
            let isTaken = try eventually(within: .seconds(5)) {
                signature = try self.signature(UUID().uuidString)
                return try get(0, signature).status == 200
            }
            #expect(isTaken)
            return signature
        }

        /// Signed for the host that all of them are asked by.
        func signature(_ nonce: String, at seconds: Int64? = nil) throws -> String {
            let signer = OAuth1Signer(
                method: .hmacSHA256, consumerKey: "one",
                credentials: OAuth1Credentials(consumerSecret: Secret(utf8: "s3cret")))
            return try signer.authorization(
                for: .init(method: "GET", url: "http://h.example/"),
                timestamp: seconds ?? WallTime.now().seconds, nonce: nonce)
        }
    }

    @Test func aTokenOfOneIsGoodAtAllAndRevokedAtAll() throws {
        let fleet = try Fleet()
        let token = try #require(try fleet.token(0).json()["access_token"] as? String)
        for index in 0..<3 { #expect(try fleet.get(index, "Bearer \(token)").status == 200) }
        let revoked = try run(
            gatehouseBinary(), ["token", "revoke", token, "--config", fleet.conf(1)])
        #expect(revoked.status == .code(0), "\(revoked.error)")
        for index in 0..<3 {
            #expect(
                try eventually(within: .seconds(1)) {
                    try fleet.get(index, "Bearer \(token)").status == 401
                })
        }
    }

    /// Each signed request is sent to two of three gateways at once: exactly one of the two takes it.
    /// `GATEHOUSE_TEST_PAIRS` says how many.
    @Test func aNoncePassesOnceInTheWholeFleet() throws {
        let fleet = try Fleet(3)
        _ = try fleet.acceptedSignature()
        let lanes = 8
        let pairs = (environmentNumber("GATEHOUSE_TEST_PAIRS") ?? 504) / lanes * lanes
        let outcomes = Results()
        DispatchQueue.concurrentPerform(iterations: lanes) { lane in
            for number in 0..<pairs / lanes {
                guard let signature = try? fleet.signature("n-\(lane)-\(number)") else { continue }
                let both = Results()
                DispatchQueue.concurrentPerform(iterations: 2) { index in
                    both.add((try? fleet.get((number + index) % 3, signature).status) ?? 0)
                }
                outcomes.add(both.all.sorted() == [200, 401] ? 1 : 0)
            }
        }
        #expect(outcomes.all.count == pairs)
        #expect(!outcomes.all.contains(0))
        print(
            "of \(outcomes.all.count) pairs \(outcomes.all.count { $0 == 1 }) passed exactly once")
    }

    @Test func clientsAndKeysAreThoseOfAll() throws {
        let fleet = try Fleet(2)
        let added = try run(
            gatehouseBinary(),
            ["client", "add", "late", "--scope", "read", "--json", "--config", fleet.conf(0)])
        let facts = try JSONSerialization.jsonObject(with: Data(added.output.utf8))
        let secret = try #require((facts as? [String: String])?["client_secret"], "\(added.error)")
        let basic = Data("late:\(secret)".utf8).base64EncodedString()
        for gateway in fleet.gateways {
            #expect(
                try eventually(within: .seconds(2)) {
                    try gateway.request(
                        "POST /oauth2/token HTTP/1.1\r\n\(hostLine)Authorization: Basic \(basic)\r\n"
                            + "Content-Type: application/x-www-form-urlencoded\r\n"
                            + "Content-Length: 29\r\n\r\ngrant_type=client_credentials"
                    ).status == 200
                })
        }
        // A key that is made by one signs at the other; the tokens of the last stay good.
        let old = try #require(try fleet.token(0).json()["access_token"] as? String)
        let rotated = try run(
            gatehouseBinary(), ["key", "rotate", "--now", "--config", fleet.conf(1)])
        #expect(rotated.status == .code(0), "\(rotated.error)")
        for index in 0..<2 {
            #expect(
                try eventually(within: .seconds(2)) {
                    let newer = try fleet.token(index).json()["access_token"] as? String ?? ""
                    return newer.split(separator: ".").first != old.split(separator: ".").first
                })
            #expect(try fleet.get(index, "Bearer \(old)").status == 200)
        }
    }

    /// Redis goes and comes: what needs it is refused for as long, and says why; what does not goes on.
    @Test(arguments: ["refuse", "local"]) func withoutRedis(rule: String) throws {
        let fleet = try Fleet(2, oauth1: "on_store_failure \(rule);")
        let token = try #require(try fleet.token(0).json()["access_token"] as? String)
        let used = try fleet.acceptedSignature()
        fleet.redis.freeze()
        #expect(try fleet.get(0, "Bearer \(token)").status == 200)
        let signature = try fleet.signature("while")
        let reply = try fleet.get(0, signature)
        if rule == "refuse" {
            #expect(reply.status == 503 && reply.text.contains("store_unavailable"))
        } else {
            #expect(reply.status == 200)
            // Once by its own memory, which knows what passed before, too.
            #expect(try fleet.get(0, signature).status == 401)
            #expect(try fleet.get(0, used).status == 401)
        }
        #expect(try fleet.get(1, "", "/open").status == 200)
        fleet.redis.thaw()
        #expect(
            try eventually(within: .seconds(5)) {
                try fleet.get(0, fleet.signature(UUID().uuidString)).status == 200
            })
        // Empty when it comes back: what may have been used passes no more, what is new does.
        fleet.redis.kill()
        try fleet.redis.start()
        #expect(
            try eventually(within: .seconds(5)) {
                try fleet.get(1, fleet.signature(UUID().uuidString)).status == 200
            })
        for index in 0..<2 {
            #expect(try eventually { try fleet.get(index, used).status == 401 })
        }
    }

    @Test func aGatewayStartsWithoutIt() throws {
        let fleet = try Fleet(1)
        let token = try #require(try fleet.token(0).json()["access_token"] as? String)
        fleet.redis.kill()
        let other = try Fleet.start(9, fleet.folder, fleet.redis, fleet.upstream)
        func get(_ path: String, _ more: String = "") throws -> HTTPReply {
            try other.request(
                "GET \(path) HTTP/1.1\r\n\(hostLine)Connection: close\r\n\(more)\r\n")
        }
        #expect(try get("/open").status == 200)
        let bearer = "Authorization: Bearer \(token)\r\n"
        #expect(try get("/", bearer).status == 503)
        try fleet.redis.start()
        // It makes itself a key, since nobody has one any more.
        #expect(
            try eventually(within: .seconds(10)) {
                try get("/.well-known/jwks.json").text.contains("\"kid\"")
            })
    }

    @Test func theDrillTakesTheStoreForAway() throws {
        let fleet = try Fleet(1)
        let token = try #require(try fleet.token(0).json()["access_token"] as? String)
        let conf = try String(contentsOfFile: fleet.conf(0), encoding: .utf8)
        let folder = try TemporaryDirectory()
        let drill = try Gateway(conf, in: folder, arguments: ["--without", "store"])
        func get(_ authorization: String) throws -> HTTPReply {
            try drill.request(
                "GET / HTTP/1.1\r\n\(hostLine)Connection: close\r\nAuthorization: \(authorization)\r\n\r\n"
            )
        }
        #expect(try get("Bearer \(token)").status == 503)
        let signed = try get(fleet.signature("x"))
        #expect(signed.status == 503 && signed.text.contains("store_unavailable"))
    }
}

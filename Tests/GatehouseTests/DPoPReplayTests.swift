import Foundation
import TestSupport
import Testing

/// Each proof once (RFC 9449 section 11.1): on one worker, on several, over a restart, in a fleet.
@Suite(.serialized)
struct DPoPReplayTests {
    private typealias House = DPoPTests.House

    private static func proofs(
        _ house: DPoPTests.House, _ key: String, _ token: String, _ count: Int,
        _ changes: String = "{}"
    ) throws -> [String] {
        try DPoPTests.client(
            "proof", key, "GET", house.base + "/items", token, "\(count)", changes)
    }

    /// Four copies at once, on connections that four workers share: one passes.
    @Test func ofCopiesThatComeAtOnceOnePasses() throws {
        let house = try House(workers: 4)
        let (key, token) = try house.bound()
        let proofs = try Self.proofs(house, key, token, 60)
        for proof in proofs {
            let statuses = Results()
            DispatchQueue.concurrentPerform(iterations: 4) { _ in
                statuses.add((try? house.get("/items", token, proof).status) ?? 0)
            }
            #expect(statuses.all.sorted() == [200, 401, 401, 401])
        }
    }

    /// Two proofs of one name, and a name of another key.
    @Test func aNameIsItsKeysAlone() throws {
        let house = try House()
        let (key, token) = try house.bound()
        let (otherKey, otherToken) = try house.bound("other")
        let first = try Self.proofs(house, key, token, 1, #"{"jti":"one","iat":-3}"#)[0]
        let second = try Self.proofs(house, key, token, 1, #"{"jti":"one","iat":-1}"#)[0]
        let other = try Self.proofs(house, otherKey, otherToken, 1, #"{"jti":"one"}"#)[0]
        #expect(try house.get("/items", token, first).status == 200)
        #expect(try house.get("/items", token, second).status == 401)
        #expect(try house.get("/items", otherToken, other).status == 200)
        let line = try house.gateway.accessLine { $0["reason"] as? String == "nonce_reused" }
        #expect(line["status"] as? Int == 401)
    }

    /// One that a stranger has not signed burns nobody's.
    @Test func aForgedProofBurnsNothing() throws {
        let house = try House()
        let (key, token) = try house.bound()
        let honest = try Self.proofs(house, key, token, 1)[0]
        let last: Character = honest.last == "A" ? "Q" : "A"
        for forged in [String(honest.dropLast()) + String(last), honest + "x"] {
            #expect(try house.get("/items", token, forged).status == 401)
        }
        #expect(try house.get("/other", token, honest).status == 401)
        #expect(try house.get("/items", token, honest).status == 200)
        #expect(try house.get("/items", token, honest).status == 401)
    }

    @Test(arguments: [SIGKILL, SIGTERM]) func itStaysUsedOverARestart(signal: Int32) throws {
        let house = try House()
        let (key, token) = try house.bound()
        let port = try house.gateway.port
        // One of now, and one that is ahead of what needs no write.
        let proofs =
            try Self.proofs(house, key, token, 1)
            + Self.proofs(house, key, token, 1, #"{"iat":5}"#)
        for proof in proofs { #expect(try house.get("/items", token, proof).status == 200) }
        house.gateway.process.signal(signal)
        _ = house.gateway.process.waitForExit(within: .seconds(20))
        let conf = try String(contentsOfFile: house.folder.file("gateway.conf"), encoding: .utf8)
        let again = try Gateway(conf, in: house.folder)
        func status(_ proof: String) throws -> Int {
            // The name that the client knew the gateway by.
            try again.request(
                "GET /items HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n"
                    + "Authorization: DPoP \(token)\r\nDPoP: \(proof)\r\n\r\n"
            ).status
        }
        for proof in proofs { #expect(try status(proof) == 401) }
        #expect(
            try eventually { try status(Self.proofs(house, key, token, 1)[0]) == 200 })
    }

    /// The window of what is remembered follows the conf; a nonce may be asked for from now on.
    @Test func aReloadChangesWhatIsAsked() throws {
        let house = try House(more: "oauth1 { timestamp_window 1s; } dpop { proof_lifetime 2m; }")
        let (key, token) = try house.bound()
        let old = try Self.proofs(house, key, token, 1, #"{"iat":-110}"#)[0]
        #expect(try house.get("/items", token, old).status == 200)
        #expect(try house.get("/items", token, old).status == 401)
        let conf = try String(contentsOfFile: house.folder.file("gateway.conf"), encoding: .utf8)
        try house.folder.write(
            "gateway.conf", conf.replacing("proof_lifetime 2m;", with: "require_nonce on;"))
        house.gateway.process.signal(SIGHUP)
        try house.gateway.waitForLog("reloaded")
        let late = try Self.proofs(house, key, token, 1, #"{"iat":-110}"#)[0]
        #expect(try house.get("/items", token, late).status == 401)
        let fresh = try Self.proofs(house, key, token, 1)[0]
        let reply = try house.get("/items", token, fresh)
        #expect(reply.status == 401 && reply.values("DPoP-Nonce").count == 1)
        let nonce = try #require(reply.values("DPoP-Nonce").first)
        let answered = try Self.proofs(house, key, token, 1, #"{"nonce":"\#(nonce)"}"#)[0]
        #expect(try house.get("/items", token, answered).status == 200)
    }

    /// What was signed for a shorter lifetime is past; what is new passes at once.
    @Test func aReloadThatLengthensTheLifetimeRefusesNothingNew() throws {
        let house = try House(more: "dpop { proof_lifetime 1s; clock_skew 1s; }")
        let (key, token) = try house.bound()
        let used = try Self.proofs(house, key, token, 20)
        for proof in used { #expect(try house.get("/items", token, proof).status == 200) }
        // Long enough for what was remembered to be dropped.
        let begin = ContinuousClock.now
        _ = try eventually(within: .seconds(40)) {
            for proof in try Self.proofs(house, key, token, 50) {
                #expect(try house.get("/items", token, proof).status == 200)
            }
            return ContinuousClock.now - begin > .seconds(7)
        }
        let conf = try String(contentsOfFile: house.folder.file("gateway.conf"), encoding: .utf8)
        try house.folder.write(
            "gateway.conf", conf.replacing("proof_lifetime 1s;", with: "proof_lifetime 1h;"))
        house.gateway.process.signal(SIGHUP)
        try house.gateway.waitForLog("reloaded")
        for proof in try Self.proofs(house, key, token, 50) {
            #expect(try house.get("/items", token, proof).status == 200)
            #expect(try house.get("/items", token, proof).status == 401)
        }
        for proof in used { #expect(try house.get("/items", token, proof).status == 401) }
    }

    /// A clean stop hands on the names that were used.
    @Test func alsoWithALongerLifetimeItStaysUsedOverARestart() throws {
        let house = try House(more: "dpop { proof_lifetime 30s; }")
        let (key, token) = try house.bound()
        let used = try Self.proofs(house, key, token, 1, #"{"jti":"named"}"#)[0]
        #expect(try house.get("/items", token, used).status == 200)
        let port = try house.gateway.port
        house.gateway.process.signal(SIGTERM)
        _ = house.gateway.process.waitForExit(within: .seconds(20))
        let conf = try String(contentsOfFile: house.folder.file("gateway.conf"), encoding: .utf8)
        let again = try Gateway(
            conf.replacing("proof_lifetime 30s;", with: "proof_lifetime 5m;"), in: house.folder)
        func status(_ proof: String) throws -> Int {
            try again.request(
                "GET /items HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n"
                    + "Authorization: DPoP \(token)\r\nDPoP: \(proof)\r\n\r\n"
            ).status
        }
        let twin = try DPoPTests.client(
            "proof", key, "GET", "http://127.0.0.1:\(port)/items", token, "1",
            #"{"jti":"named","iat":1}"#)[0]
        for proof in [used, twin] { #expect(try status(proof) == 401) }
        let fresh = try DPoPTests.client(
            "proof", key, "GET", "http://127.0.0.1:\(port)/items", token, "1")[0]
        #expect(try status(fresh) == 200)
    }

    // MARK: Fleets

    private struct Fleet {
        static let url = "http://h.example/items"
        let redis: TestRedis
        let upstream: ScriptedUpstream
        let folder: TemporaryDirectory
        let gateways: [Gateway]
        let key: String

        init(_ dpop: String = "", format: String = "jwt") throws {
            let redis = try TestRedis()
            let upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
            let folder = try TemporaryDirectory()
            try folder.write("secret", "s3cret")
            key = folder.file("key")
            _ = try DPoPTests.client("key", key, "ES256")
            gateways = try (0..<2).map { _ in
                try Gateway(
                    testConf(
                        workers: 2,
                        store: "store redis { address 127.0.0.1:\(redis.port); timeout 500ms; }",
                        """
                        secrets { key_file \(folder.file("secrets.key")); }
                        authority { issuer http://h.example; scopes read; token_format \(format); }
                        client one { secret_file \(folder.file("secret")); scopes read; }
                        dpop { \(dpop) }
                        upstream up { server 127.0.0.1:\(upstream.port); }
                        route / { upstream up; authenticate bearer; }
                        """))
            }
            (self.redis, self.upstream, self.folder) = (redis, upstream, folder)
        }

        func ask(_ index: Int, _ changes: String = "{}") throws -> HTTPReply {
            let proof = try DPoPTests.client(
                "proof", key, "POST", "http://h.example/oauth2/token", "-", "1", changes)[0]
            let basic = Data("one:s3cret".utf8).base64EncodedString()
            let form = "grant_type=client_credentials"
            return try gateways[index].request(
                "POST /oauth2/token HTTP/1.1\r\n\(hostLine)Authorization: Basic \(basic)\r\n"
                    + "DPoP: \(proof)\r\nConnection: close\r\n"
                    + "Content-Type: application/x-www-form-urlencoded\r\n"
                    + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
        }

        /// In the three seconds in which the store was made no proof is taken: what was before nobody knows.
        func token() throws -> String {
            var token: String?
            _ = try eventually(within: .seconds(10)) {
                token = try ask(0).json()["access_token"] as? String
                return token != nil
            }
            return try #require(token)
        }

        func proofs(_ token: String, _ count: Int, _ changes: String = "{}") throws -> [String] {
            try DPoPTests.client("proof", key, "GET", Fleet.url, token, "\(count)", changes)
        }

        func get(_ index: Int, _ token: String, _ proof: String) throws -> HTTPReply {
            try gateways[index].request(
                "GET /items HTTP/1.1\r\n\(hostLine)Connection: close\r\n"
                    + "Authorization: DPoP \(token)\r\nDPoP: \(proof)\r\n\r\n")
        }
    }

    /// Each to two gateways at once.
    @Test(arguments: ["jwt", "opaque"]) func inAFleetAProofPassesOnce(format: String) throws {
        let fleet = try Fleet(format: format)
        let token = try fleet.token()
        for proof in try fleet.proofs(token, 100) {
            let statuses = Results()
            DispatchQueue.concurrentPerform(iterations: 2) { index in
                statuses.add((try? fleet.get(index, token, proof).status) ?? 0)
            }
            #expect(statuses.all.sorted() == [200, 401])
        }
        // By its name, whatever its time.
        let twins = try [2, 0].flatMap {
            try fleet.proofs(token, 1, #"{"jti":"twin","iat":\#($0)}"#)
        }
        #expect(try fleet.get(0, token, twins[0]).status == 200)
        #expect(try fleet.get(1, token, twins[1]).status == 401)
        #expect(try fleet.redis.command("KEYS", "gatehouse:once:dpop:*").isEmpty == false)
    }

    /// What Redis was told for ten seconds it has forgotten when one of the gateways takes older proofs.
    @Test func aReloadThatLengthensTheLifetimeLetsNoneOfAFleetPassAgain() throws {
        let fleet = try Fleet("proof_lifetime 10s;")
        let token = try fleet.token()
        try fleet.redis.command("HSET", "gatehouse:epoch", "floor", "0")
        let used = try fleet.proofs(token, 1, #"{"iat":-6}"#)[0]
        let made = ContinuousClock.now
        #expect(try fleet.get(0, token, used).status == 200)
        #expect(try fleet.get(1, token, used).status == 401)
        let script = """
            for _, key in ipairs(redis.call('KEYS', 'gatehouse:once:*')) do redis.call('DEL', key) end
            """
        try fleet.redis.command("EVAL", script, "0")
        let file = fleet.gateways[1].folder.file("gateway.conf")
        let conf = try String(contentsOfFile: file, encoding: .utf8)
        try conf.replacing("proof_lifetime 10s;", with: "proof_lifetime 1h;")
            .write(toFile: file, atomically: true, encoding: .utf8)
        fleet.gateways[1].process.signal(SIGHUP)
        try fleet.gateways[1].waitForLog("reloaded")
        #expect(eventually { ContinuousClock.now - made > .seconds(5) })
        #expect(try fleet.get(1, token, used).status == 401)
        #expect(try fleet.get(1, token, fleet.proofs(token, 1)[0]).status == 200)
    }

    @Test(arguments: ["refuse", "local"]) func whileTheStoreIsAway(rule: String) throws {
        let fleet = try Fleet("on_store_failure \(rule);")
        let token = try fleet.token()
        let proofs = try fleet.proofs(token, 3)
        #expect(try fleet.get(0, token, proofs[0]).status == 200)
        fleet.redis.freeze()
        let reply = try fleet.get(0, token, proofs[1])
        let asked = try fleet.ask(0)
        if rule == "refuse" {
            #expect(reply.status == 503 && reply.text.contains("store_unavailable"))
            #expect(asked.status == 503)
        } else {
            #expect(reply.status == 200)
            // Once by its own memory.
            #expect(try fleet.get(0, token, proofs[1]).status == 401)
            #expect(asked.status == 200)
        }
        fleet.redis.thaw()
        #expect(
            try eventually(within: .seconds(5)) {
                try fleet.get(1, token, fleet.proofs(token, 1)[0]).status == 200
            })
    }

    /// They share the key in `secrets`.
    @Test func aNonceOfOneGatewayIsGoodAtAll() throws {
        let fleet = try Fleet("require_nonce on;")
        var token: String?
        _ = try eventually(within: .seconds(10)) {
            let nonce = try fleet.ask(0).values("DPoP-Nonce").first ?? ""
            let reply = try fleet.ask(1, #"{"nonce":"\#(nonce)"}"#)
            token = try reply.json()["access_token"] as? String
            return token != nil
        }
        let held = try #require(token)
        let refused = try fleet.get(0, held, fleet.proofs(held, 1)[0])
        #expect(refused.status == 401)
        let nonce = try #require(refused.values("DPoP-Nonce").first)
        let proof = try fleet.proofs(held, 1, #"{"nonce":"\#(nonce)"}"#)[0]
        #expect(try fleet.get(1, held, proof).status == 200)
    }
}

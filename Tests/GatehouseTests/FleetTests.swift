import Foundation
import OAuth
import Primitives
import Synchronization
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

        /// - Parameter formats: of the tokens that each of them issues, in their order; `jwt` where there is none.
        /// - Parameter signer: the key of a further client, `signer`.
        init(
            _ count: Int = 3, oauth1: String = "", formats: [String] = [],
            signer: SigningKey? = nil
        ) throws {
            redis = try TestRedis()
            upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
            folder = try TemporaryDirectory()
            try folder.write("secret", "s3cret")
            var more = ""
            if let signer {
                let keys = try folder.write(
                    "keys", String(decoding: JWKSDocument.write([signer.published]), as: UTF8.self))
                more =
                    "client signer { auth_method private_key_jwt; jwks_file \(keys); scopes read; }"
            }
            var gateways: [Gateway] = []
            for index in 0..<count {
                let format = index < formats.count ? formats[index] : "jwt"
                gateways.append(
                    try Fleet.start(folder, redis, upstream, oauth1, format: format, more: more))
            }
            self.gateways = gateways
        }

        static func start(
            _ folder: TemporaryDirectory, _ redis: TestRedis, _ upstream: ScriptedUpstream,
            _ oauth1: String = "", format: String = "jwt", more: String = ""
        ) throws -> Gateway {
            let own = try TemporaryDirectory()
            return try Gateway(
                testConf(
                    workers: 2,
                    store: "store redis { address 127.0.0.1:\(redis.port); timeout 500ms; }",
                    """
                    secrets { key_file \(folder.file("secrets.key")); }
                    authority { issuer http://fleet.test; scopes read; token_format \(format); }
                    client one { secret_file \(folder.file("secret")); oauth1_secret_file \(folder.file("secret")); scopes read; }
                    oauth1 { \(oauth1) }
                    \(more)
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate any bearer oauth1; }
                    route /open { upstream up; authenticate none; }
                    """), in: own)
        }

        func conf(_ index: Int) -> String { gateways[index].folder.file("gateway.conf") }

        func token(_ index: Int) throws -> HTTPReply {
            try post(index, "/oauth2/token", "grant_type=client_credentials")
        }

        func post(
            _ index: Int, _ path: String, _ form: String, basic: Bool = true
        ) throws -> HTTPReply {
            let secret = Data("one:s3cret".utf8).base64EncodedString()
            return try gateways[index].request(
                "POST \(path) HTTP/1.1\r\n\(hostLine)"
                    + (basic ? "Authorization: Basic \(secret)\r\n" : "")
                    + "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
                    + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
        }

        func get(_ index: Int, _ authorization: String, _ path: String = "/") throws -> HTTPReply {
            try gateways[index].request(
                "GET \(path) HTTP/1.1\r\n\(hostLine)Connection: close\r\n"
                    + "Authorization: \(authorization)\r\n\r\n")
        }

        /// A signature that was taken, once the store is taken for one that has lost nothing: of a new one nobody knows, and for
        /// three seconds none is.
        func acceptedSignature() throws -> String {
            try redis.forgetTheLoss()
            var signature = ""
            let isTaken = try eventually(within: .seconds(8)) {
                signature = try self.signature(UUID().uuidString)
                return try get(0, signature).status == 200
            }
            #expect(isTaken)
            return signature
        }

        /// Temporary credentials of OAuth 1.0, which lie in the store.
        func requestToken(_ index: Int) throws -> HTTPReply {
            let path = "/oauth1/request_token"
            return try gateways[index].request(
                "POST \(path) HTTP/1.1\r\n\(hostLine)Connection: close\r\nContent-Length: 0\r\n"
                    + "Authorization: \(signature(UUID().uuidString, "POST", path))\r\n\r\n")
        }

        /// Signed for the host that all of them are asked by.
        func signature(
            _ nonce: String, _ method: String = "GET", _ path: String = "/",
            _ token: (text: String, secret: String)? = nil
        ) throws -> String {
            let signer = OAuth1Signer(
                method: .hmacSHA256, consumerKey: "one", token: token?.text,
                credentials: OAuth1Credentials(
                    consumerSecret: Secret(utf8: "s3cret"),
                    tokenSecret: Secret(utf8: token?.secret ?? "")))
            return try signer.authorization(
                for: .init(method: method, url: "http://h.example\(path)"),
                timestamp: WallTime.now().seconds, nonce: nonce)
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

    /// Two gateways are asked to exchange the same temporary credentials at once: one of them does.
    @Test func aRequestTokenIsExchangedOnceInTheWholeFleet() throws {
        let fleet = try Fleet(2)
        _ = try fleet.acceptedSignature()
        for round in 0..<20 {
            let form = try fleet.requestToken(round % 2).text
            let items = URLComponents(string: "?" + form)?.queryItems ?? []
            func value(_ name: String) throws -> String {
                try #require(items.first { $0.name == name }?.value, "\(form)")
            }
            let token = (try value("oauth_token"), try value("oauth_token_secret"))
            let results = Results()
            let path = "/oauth1/access_token"
            DispatchQueue.concurrentPerform(iterations: 2) { index in
                let reply = try? fleet.gateways[index].request(
                    "POST \(path) HTTP/1.1\r\n\(hostLine)Connection: close\r\nContent-Length: 0\r\n"
                        + "Authorization: \(fleet.signature(UUID().uuidString, "POST", path, token))\r\n\r\n"
                )
                results.add(reply?.status ?? 0)
            }
            #expect(results.all.sorted() == [200, 401])
        }
    }

    /// Each signed request is sent to two of three gateways at once: exactly one of the two takes it.
    ///
    /// `GATEHOUSE_TEST_PAIRS` makes it a longer drill.
    @Test func aNoncePassesOnceInTheWholeFleet() throws {
        let fleet = try Fleet()
        _ = try fleet.acceptedSignature()
        let pairs = environmentNumber("GATEHOUSE_TEST_PAIRS") ?? 500
        let lanes = 8
        let (taken, reused, strange) = (Results(), Results(), Results())
        DispatchQueue.concurrentPerform(iterations: lanes) { lane in
            for number in stride(from: lane, to: pairs, by: lanes) {
                guard let signature = try? fleet.signature("n-\(number)") else { continue }
                let (passed, refused) = (Results(), Results())
                DispatchQueue.concurrentPerform(iterations: 2) { which in
                    let index = (number + which) % 3
                    guard let reply = try? fleet.get(index, signature) else { return }
                    if reply.status == 200 { passed.add(index) }
                    if reply.status == 401, reply.text.contains("nonce_reused") {
                        refused.add(index)
                    }
                }
                if passed.all.count == 1, refused.all.count == 1 {
                    taken.add(passed.all[0])
                    reused.add(refused.all[0])
                } else {
                    strange.add(number)
                }
            }
        }
        #expect(strange.all.isEmpty)
        #expect(taken.all.count == pairs && reused.all.count == pairs)
        // Each gateway was the first of some and the second of others, or nothing was shown of it.
        let counts = (0..<3).map { index in
            (taken: taken.all.count { $0 == index }, refused: reused.all.count { $0 == index })
        }
        print("\(pairs) pairs, taken and refused by each gateway: \(counts)")
        if pairs >= 500 { #expect(counts.allSatisfy { $0.taken > 0 && $0.refused > 0 }) }
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
                try eventually(within: .seconds(1)) {
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
            // Two to three seconds until it signs, at all of them in the same second.
            #expect(
                try eventually(within: .seconds(4)) {
                    let newer = try fleet.token(index).json()["access_token"] as? String ?? ""
                    return newer.split(separator: ".").first != old.split(separator: ".").first
                })
            #expect(try fleet.get(index, "Bearer \(old)").status == 200)
        }
    }

    /// Clients get tokens of any gateway and use each at all of them at once, while the key changes four times.
    @Test func noTokenIsRefusedWhileKeysRotate() throws {
        let fleet = try Fleet()
        func kid(_ index: Int) throws -> Substring? {
            (try fleet.token(index).json()["access_token"] as? String)?.split(separator: ".").first
        }
        #expect(try kid(0) != nil)
        let isOver = Mutex(false)
        let refused = Mutex<[String]>([])
        let used = Mutex(0)
        let lanes = DispatchGroup()
        for lane in 0..<4 {
            DispatchQueue.global().async(group: lanes) {
                var index = lane
                while !isOver.withLock({ $0 }) {
                    index = (index + 1) % 3
                    guard let reply = try? fleet.token(index),
                        let token = try? reply.json()["access_token"] as? String
                    else {
                        refused.withLock { $0.append("no token of \(index)") }
                        continue
                    }
                    // At once where it is least known.
                    for other in [(index + 1) % 3, (index + 2) % 3, index] {
                        let reply = try? fleet.get(other, "Bearer \(token)")
                        used.withLock { $0 += 1 }
                        if reply?.status != 200 {
                            refused.withLock {
                                $0.append("\(index) at \(other): \(reply?.text ?? "none")")
                            }
                        }
                    }
                }
            }
        }
        defer {
            isOver.withLock { $0 = true }
            lanes.wait()
        }
        for number in 0..<4 {
            let before = try kid(0)
            let rotated = try run(
                gatehouseBinary(),
                ["key", "rotate", "--now", "--config", fleet.conf(number % 3)])
            #expect(rotated.status == .code(0) && rotated.output.hasSuffix(" next\n"))
            for index in 0..<3 {
                #expect(try eventually(within: .seconds(5)) { try kid(index) != before })
            }
        }
        isOver.withLock { $0 = true }
        lanes.wait()
        #expect(refused.withLock { $0 }.isEmpty)
        #expect(used.withLock { $0 } > 100)
    }

    /// An assertion of a client that holds a key was taken before Redis lost everything; so was one without a time of its own.
    @Test func anAssertionPassesOnceAlsoWhenRedisHasLostIt() throws {
        let key = try SigningKey(algorithm: .es256, privateKey: .generate(.p256))
        let fleet = try Fleet(2, signer: key)
        let now = WallTime.now().seconds
        func ask(_ index: Int, _ assertion: String) throws -> HTTPReply {
            let type = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
            return try fleet.post(
                index, "/oauth2/token",
                "grant_type=client_credentials&client_assertion_type=\(type)&client_assertion=\(assertion)",
                basic: false)
        }
        func assertion(_ name: String, _ more: String) throws -> String {
            let claims =
                #"{"iss":"signer","sub":"signer","aud":"http://fleet.test","jti":"\#(name)"\#(more)}"#
            return String(
                decoding: try JWTSigner.sign(claims: Array(claims.utf8), with: key, type: "jwt"),
                as: UTF8.self)
        }
        func fresh() throws -> String {
            let now = WallTime.now().seconds
            return try assertion(UUID().uuidString, #","iat":\#(now),"exp":\#(now + 300)"#)
        }
        #expect(try eventually(within: .seconds(8)) { try ask(0, fresh()).status == 200 })
        // As far ahead as it may be: it could not have been made before.
        let used = [
            try assertion("timed", #","iat":\#(WallTime.now().seconds),"exp":\#(now + 300)"#),
            try assertion("ahead", #","iat":\#(now + 25),"exp":\#(now + 300)"#),
            try assertion("untimed", #","exp":\#(now + 620)"#),
        ]
        for assertion in used.prefix(2) {
            #expect(try ask(0, assertion).status == 200)
            #expect(try ask(1, assertion).status == 401)
        }
        // Nobody knows when that was made; a new Redis looks like one that has lost it.
        #expect(try ask(0, used[2]).status == 503)
        fleet.redis.kill()
        try fleet.redis.start()
        var statuses: Set<Int> = []
        let isWell = try eventually(within: .seconds(10)) {
            for index in 0..<2 {
                for assertion in used { statuses.insert(try ask(index, assertion).status) }
            }
            return try ask(0, fresh()).status == 200 && ask(1, fresh()).status == 200
        }
        #expect(isWell && statuses.isSubset(of: [401, 503]))
        for index in 0..<2 {
            let statuses = try used.map { try ask(index, $0).status }
            #expect(statuses == [503, 401, 503])
        }
    }

    /// Redis goes and comes: what needs it is refused for as long, and says why; what does not goes on and does not wait.
    @Test(arguments: ["refuse", "local"], ["frozen", "killed"])
    func withoutRedis(rule: String, state: String) throws {
        let fleet = try Fleet(
            2, oauth1: "on_store_failure \(rule);", formats: ["jwt", "opaque"])
        let token = try #require(try fleet.token(0).json()["access_token"] as? String)
        let opaque = try #require(try fleet.token(1).json()["access_token"] as? String)
        let other = try #require(try fleet.token(1).json()["access_token"] as? String)
        #expect(try fleet.get(1, "Bearer \(opaque)").status == 200)
        let used = try fleet.acceptedSignature()
        let before = fleet.gateways.map(\.accessLines.count)
        if state == "frozen" { fleet.redis.freeze() } else { fleet.redis.kill() }
        try whatNeedsNoRedisPasses(fleet, token, remembered: opaque)
        let signature = try fleet.signature("while")
        let reply = try fleet.get(0, signature)
        if rule == "refuse" {
            expectStoreUnavailable(reply)
        } else {
            #expect(reply.status == 200)
            // Once by its own memory, which knows what passed before, too.
            #expect(try fleet.get(0, signature).status == 401)
            #expect(try fleet.get(0, used).status == 401)
        }
        // What lies nowhere else, and what would have to: an opaque token, one of OAuth 1.0, a revocation.
        expectStoreUnavailable(try fleet.get(1, "Bearer \(other)"))
        expectStoreUnavailable(try fleet.token(1))
        expectStoreUnavailable(try fleet.requestToken(0))
        expectStoreUnavailable(try fleet.post(0, "/oauth2/revoke", "token=\(token)"))
        // Nor is it so only until the first requests have waited for it.
        try whatNeedsNoRedisPasses(fleet, token, remembered: opaque)
        try expectNoLongWaits(fleet, after: before)
        if state == "frozen" { fleet.redis.thaw() } else { try fleet.redis.start() }
        #expect(
            try eventually(within: .seconds(8)) {
                try fleet.get(0, fleet.signature(UUID().uuidString)).status == 200
                    && fleet.requestToken(0).status == 200 && fleet.token(1).status == 200
            })
        // Empty when it comes back: what may have been used passes no more, what is new does.
        fleet.redis.kill()
        try fleet.redis.start()
        #expect(
            try eventually(within: .seconds(8)) {
                try fleet.get(1, fleet.signature(UUID().uuidString)).status == 200
                    && fleet.requestToken(0).status == 200 && fleet.token(1).status == 200
            })
        // Nothing is wrong with the clocks of its clients.
        for index in 0..<2 {
            let reply = try fleet.get(index, used)
            if rule == "local", reply.status == 401 { continue }
            expectStoreUnavailable(reply)
        }
        // What it had is gone: an opaque token that no gateway remembers is one that never was.
        let lost = try fleet.get(0, "Bearer \(other)")
        #expect(lost.status == 401 && lost.text.contains("invalid_credentials"))
        let newer = try #require(try fleet.token(1).json()["access_token"] as? String)
        for index in 0..<2 { #expect(try fleet.get(index, "Bearer \(newer)").status == 200) }
    }

    private func expectStoreUnavailable(
        _ reply: HTTPReply, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(
            reply.status == 503 && reply.text.contains("store_unavailable"),
            "\(reply.status) \(reply.text)", sourceLocation: sourceLocation)
    }

    private func whatNeedsNoRedisPasses(
        _ fleet: Fleet, _ token: String, remembered opaque: String
    ) throws {
        for index in 0..<2 {
            #expect(try fleet.get(index, "Bearer \(token)").status == 200)
            #expect(try fleet.get(index, "", "/open").status == 200)
        }
        // Its worker may not be the one that remembers it.
        let reply = try fleet.get(1, "Bearer \(opaque)")
        if reply.status != 200 { expectStoreUnavailable(reply) }
        // Of the conf's client, by a key that every gateway holds.
        #expect(try fleet.token(0).status == 200)
    }

    /// By the access log: what was refused for want of the store waited for its timeout (500 ms) at most, and what needs
    /// no store not even that.
    private func expectNoLongWaits(_ fleet: Fleet, after before: [Int]) throws {
        // The answers are out; the lines come from a thread of their own.
        _ = try fleet.get(0, "", "/open/last")
        _ = try fleet.get(1, "", "/open/last")
        for (gateway, count) in zip(fleet.gateways, before) {
            _ = try gateway.accessLine { ($0["path"] as? String)?.hasSuffix("/last") == true }
            let lines = gateway.accessLines.dropFirst(count)
            var refused = 0
            for line in lines {
                let duration = try #require(line["duration_ms"] as? Double)
                #expect(duration < 1500, "\(line)")
                if line["reason"] as? String == "store_unavailable" { refused += 1 }
                let needsNone =
                    (line["path"] as? String)?.hasPrefix("/open") == true
                    || line["path"] as? String == "/oauth2/token" && line["status"] as? Int == 200
                if needsNone { #expect(duration < 500, "\(line)") }
            }
            #expect(refused > 0)
        }
    }

    /// Tokens of an outside issuer need no store; that one may have been revoked is said.
    @Test func startingWithoutItIsNotKnowingWhatWasRevoked() throws {
        let fleet = try Fleet(1)
        let key = try SigningKey(algorithm: .es256, privateKey: .generate(.p256))
        try fleet.folder.write(
            "jwks", String(decoding: JWKSDocument.write([key.published]), as: UTF8.self))
        let claims =
            #"{"iss":"http://out.test","aud":"api","sub":"x","client_id":"x","jti":"j","exp":9999999999}"#
        let token = String(
            decoding: try JWTSigner.sign(claims: Array(claims.utf8), with: key), as: UTF8.self)
        let issuer =
            "issuer out { issuer http://out.test; jwks_file \(fleet.folder.file("jwks")); audience api; }"
        func start() throws -> Gateway {
            try Fleet.start(fleet.folder, fleet.redis, fleet.upstream, more: issuer)
        }
        let text = "what was revoked is not known until the store is back"
        func status(_ gateway: Gateway) throws -> Int {
            try gateway.request(
                "GET / HTTP/1.1\r\n\(hostLine)Connection: close\r\nAuthorization: Bearer \(token)\r\n\r\n"
            ).status
        }
        let with = try start()
        #expect(try status(with) == 200)
        #expect(!with.process.standardError.contains(text))
        fleet.redis.kill()
        let without = try start()
        #expect(without.process.standardError.contains(text))
        #expect(try status(without) == 200)
        // Back, and what is revoked there holds at both.
        try fleet.redis.start()
        let revoke = ["token", "revoke", token, "--config", without.folder.file("gateway.conf")]
        let result = try run(gatehouseBinary(), revoke)
        #expect(result.status == .code(0), "\(result.error)")
        for gateway in [with, without] {
            #expect(try eventually(within: .seconds(5)) { try status(gateway) == 401 })
        }
    }

    /// The store is there, and what was revoked cannot be read: no token of ours passes until it can.
    @Test func startingWithoutTheRevocationsIsStartingWithoutTheStore() throws {
        let fleet = try Fleet(2, formats: ["jwt", "opaque"])
        let tokens = try (0..<2).map {
            try #require(try fleet.token($0).json()["access_token"] as? String)
        }
        for token in tokens {
            let revoke = ["token", "revoke", token, "--config", fleet.conf(1)]
            let result = try run(gatehouseBinary(), revoke)
            #expect(result.status == .code(0), "\(result.error)")
        }
        let live = try (0..<2).map {
            try #require(try fleet.token($0).json()["access_token"] as? String)
        }
        let order = "gatehouse:revocations:order"
        try fleet.redis.command("RENAME", order, order + ":kept")
        try fleet.redis.command("SET", order, "a string")
        let late = try Fleet.start(fleet.folder, fleet.redis, fleet.upstream)
        func status(_ token: String) throws -> Int {
            try late.request(
                "GET / HTTP/1.1\r\n\(hostLine)Connection: close\r\nAuthorization: Bearer \(token)\r\n\r\n"
            ).status
        }
        for token in tokens + live { #expect(try status(token) == 503) }
        try fleet.redis.command("RENAME", order + ":kept", order)
        for token in live {
            #expect(try eventually(within: .seconds(5)) { try status(token) == 200 })
        }
        for token in tokens { #expect(try status(token) == 401) }
    }

    /// The same of OAuth 1.0: the store has the token, and whether it was revoked nobody knows.
    @Test func withoutTheRevocationsNoTokenOfOAuth1IsJudged() throws {
        let fleet = try Fleet(1)
        _ = try fleet.acceptedSignature()
        func form(_ reply: HTTPReply) throws -> (text: String, secret: String) {
            let items = URLComponents(string: "?" + reply.text)?.queryItems ?? []
            func item(_ name: String) throws -> String {
                try #require(items.first { $0.name == name }?.value, "\(reply.text)")
            }
            return (try item("oauth_token"), try item("oauth_token_secret"))
        }
        func send(
            _ method: String, _ path: String, _ token: (text: String, secret: String),
            to gateway: Gateway
        ) throws -> HTTPReply {
            try gateway.request(
                "\(method) \(path) HTTP/1.1\r\n\(hostLine)Connection: close\r\nContent-Length: 0\r\n"
                    + "Authorization: \(fleet.signature(UUID().uuidString, method, path, token))\r\n\r\n"
            )
        }
        let exchange = "/oauth1/access_token"
        func access() throws -> (text: String, secret: String) {
            try form(
                try send("POST", exchange, form(fleet.requestToken(0)), to: fleet.gateways[0]))
        }
        let (live, revoked) = (try access(), try access())
        let pending = try form(fleet.requestToken(0))
        let result = try run(
            gatehouseBinary(), ["token", "revoke", revoked.text, "--config", fleet.conf(0)])
        #expect(result.status == .code(0), "\(result.error)")
        let order = "gatehouse:revocations:order"
        try fleet.redis.command("RENAME", order, order + ":kept")
        try fleet.redis.command("SET", order, "a string")
        let late = try Fleet.start(fleet.folder, fleet.redis, fleet.upstream)
        for token in [live, revoked] {
            expectStoreUnavailable(try send("GET", "/", token, to: late))
        }
        expectStoreUnavailable(try send("POST", exchange, pending, to: late))
        // One that was never issued is nobody's, whatever the store says.
        #expect(try send("GET", "/", ("made up", "s"), to: late).status == 401)
        try fleet.redis.command("RENAME", order + ":kept", order)
        #expect(
            try eventually(within: .seconds(5)) {
                try send("GET", "/", live, to: late).status == 200
            })
        #expect(try send("GET", "/", revoked, to: late).status == 401)
        #expect(try send("POST", exchange, pending, to: late).status == 200)
    }

    @Test func aGatewayStartsWithoutIt() throws {
        let fleet = try Fleet(1)
        let token = try #require(try fleet.token(0).json()["access_token"] as? String)
        fleet.redis.kill()
        let other = try Fleet.start(fleet.folder, fleet.redis, fleet.upstream)
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

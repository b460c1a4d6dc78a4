import Foundation
import TestSupport
import Testing

/// Gateways that count together in a real Redis.
@Suite(.serialized)
struct RateFleetTests {
    private let redis: TestRedis
    private let upstream: ScriptedUpstream
    private let gateways: [Gateway]

    init() throws {
        let redis = try TestRedis()
        let upstream = try ScriptedUpstream { _ in [.respond(body: "ok")] }
        self.redis = redis
        self.upstream = upstream
        let keys = try TemporaryDirectory()
        try keys.write("secret", "s3cret")
        gateways = try (0..<3).map { _ in
            try Gateway(
                testConf(
                    workers: 2,
                    store: "store redis { address 127.0.0.1:\(redis.port); timeout 500ms; }",
                    """
                    secrets { key_file \(keys.file("secrets.key")); }
                    authority { issuer http://fleet.test; scopes read; }
                    client one { secret_file \(keys.file("secret")); scopes read; }
                    client two { secret_file \(keys.file("secret")); scopes read; }
                    upstream up { server 127.0.0.1:\(upstream.port); }
                    route / { upstream up; authenticate none; }
                    route /storm { upstream up; authenticate none; rate_limit 1/h burst 40 per route; rate_limit 30/h burst 1000 per route; }
                    route /later { upstream up; authenticate none; rate_limit 1/h burst 5 per route; }
                    route /away { upstream up; authenticate none; rate_limit 1/h burst 5 per route; }
                    route /near { upstream up; authenticate none; rate_limit 1/h burst 2 per address; rate_limit 1/h burst 2 per client; }
                    route /ask { upstream up; authenticate none; rate_limit 1000/s per route; }
                    route /given { upstream up; authenticate none; rate_limit 1/h burst 5 per route; }
                    route /shared { upstream up; authenticate bearer; rate_limit 1/h burst 10 per client; rate_limit 20/s burst 5 per route; }
                    route /back { upstream up; authenticate none; rate_limit 1/h burst 5 per route; }
                    """))
        }
    }

    private func get(_ index: Int, _ path: String, token: String? = nil) throws -> HTTPReply {
        let authorization = token.map { "Authorization: Bearer \($0)\r\n" } ?? ""
        return try gateways[index].request(
            "GET \(path) HTTP/1.1\r\n\(hostLine)\(authorization)Connection: close\r\n\r\n")
    }

    /// One that this gateway has issued.
    private func token(_ index: Int, _ client: String) throws -> String {
        let basic = Data("\(client):s3cret".utf8).base64EncodedString()
        let form = "grant_type=client_credentials"
        let reply = try gateways[index].request(
            "POST /oauth2/token HTTP/1.1\r\n\(hostLine)Authorization: Basic \(basic)\r\n"
                + "Content-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n"
                + "Content-Length: \(form.utf8.count)\r\n\r\n\(form)")
        let object = try JSONSerialization.jsonObject(with: Data(reply.text.utf8))
        return try #require((object as? [String: Any])?["access_token"] as? String)
    }

    /// How many of so many on each gateway pass, sent by several lanes to all at once; all are answered.
    private func storm(_ path: String, _ count: Int, lanes: Int = 4) throws -> [Int] {
        let (passed, refused) = (Results(), Results())
        DispatchQueue.concurrentPerform(iterations: lanes * gateways.count) { lane in
            let index = lane % gateways.count
            guard let client = try? gateways[index].connect() else { return }
            for _ in 0..<(count / lanes) {
                guard (try? client.send("GET \(path) HTTP/1.1\r\n\(hostLine)\r\n")) != nil,
                    let reply = try? client.readReply()
                else { return }
                if reply.status == 200 { passed.add(index) }
                if reply.status == 429 { refused.add(index) }
            }
        }
        #expect(passed.all.count + refused.all.count == count * gateways.count)
        return (0..<gateways.count).map { index in passed.all.count { $0 == index } }
    }

    @Test func exactlyTheBurstPassesOfAStormOnAll() throws {
        let passed = try storm("/storm", 100)
        #expect(passed.reduce(0, +) == 40)
        print("of a storm on three gateways each passed \(passed)")
        #expect(upstream.requests.count == 40)
        // All know it, and say the same.
        for index in 0..<3 {
            let reply = try get(index, "/storm")
            #expect(reply.status == 429)
            #expect(reply.values("ratelimit-policy") == [#""route-route";q=1;w=3600"#])
            let seconds = try #require(reply.values("retry-after").first.flatMap { Int($0) })
            #expect((3500...3600).contains(seconds))
        }
        // What was refused has cost the other limit nothing: of its 1000 there are 40 less.
        let names = try redis.command("KEYS", "gatehouse:rate:*").split(separator: "\n")
        #expect(names.count == 2)
        #expect(names.allSatisfy { !$0.contains("127.0.0.1") })
        // Judged when the answer comes, after others.
        let turns = try (0..<9).map { try get($0 % 3, "/later").status }
        #expect(turns == [200, 200, 200, 200, 200, 429, 429, 429, 429])
    }

    /// Who has used up a budget at one gateway storms another: what all share there is the others'.
    @Test func whoHasNothingLeftTakesNothingFromOthers() throws {
        let (first, second) = (try token(0, "one"), try token(1, "one"))
        let honest = try token(1, "two")
        for _ in 0..<10 {
            #expect(try eventually { try get(0, "/shared", token: first).status == 200 })
        }
        // What all share is full again.
        let isFull = try eventually {
            try redis.command("KEYS", "gatehouse:rate:*").split(separator: "\n").count == 1
        }
        #expect(isFull)
        #expect(try get(1, "/shared", token: second).status == 429)
        let asked = try scripts()
        // Whatever is asked about now is under way for a while.
        try redis.command("CLIENT", "PAUSE", "300")
        let request = "GET /shared HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(second)\r\n\r\n"
        let attackers = try (0..<12).map { _ in
            let client = try gateways[1].connect()
            try client.send(request)
            return client
        }
        for _ in 0..<5 { #expect(try get(1, "/shared", token: honest).status == 200) }
        for attacker in attackers {
            #expect(try attacker.readReply().status == 429)
            for _ in 0..<50 {
                try attacker.send(request)
                #expect(try attacker.readReply().status == 429)
            }
        }
        // Nor has it cost the store anything but the five, and what the gateways look for by themselves.
        #expect(try scripts() - asked < 200)
    }

    /// Each gateway by itself; the store has nothing of them, whether or not the address stands for a client.
    @Test func addressesAreCountedByEachGateway() throws {
        for index in 0..<3 {
            #expect(
                try (0..<4).map { _ in try get(index, "/near").status } == [200, 200, 429, 429])
        }
        #expect(try redis.command("KEYS", "gatehouse:rate:*").isEmpty)
    }

    /// How many scripts Redis has run.
    private func scripts() throws -> Int {
        try redis.command("INFO", "commandstats").split(whereSeparator: \.isNewline)
            .filter { $0.hasPrefix("cmdstat_eval") }
            .compactMap { $0.split(separator: "=").dropFirst().first?.split(separator: ",").first }
            .compactMap { Int($0) }.reduce(0, +)
    }

    @Test(arguments: ["frozen", "killed"]) func withoutRedis(state: String) throws {
        #expect(try (0..<3).map { try get($0, "/away").status } == [200, 200, 200])
        // One has used up a budget of all, which another knows by now.
        #expect(try (0..<5).allSatisfy { _ in try get(1, "/given").status == 200 })
        #expect(try (0..<9).allSatisfy { _ in try get(0, "/given").status == 429 })
        if state == "frozen" { redis.freeze() } else { redis.kill() }
        // Each by itself, with what it has passed before: four more on each of them.
        #expect(try storm("/away", 8) == [4, 4, 4])
        for index in 0..<3 {
            #expect(try get(index, "/away").status == 429)
            #expect(try get(index, "/").status == 200)
        }
        #expect(try (0..<3).map { try get($0, "/given").status } == [429, 429, 200])
        // Nobody has waited for longer than the timeout, nor has who needs it not waited at all.
        for gateway in gateways {
            _ = try gateway.accessLine { $0["path"] as? String == "/" }
            for line in gateway.accessLines {
                let duration = try #require(line["duration_ms"] as? Double)
                #expect(duration < 1500, "\(line)")
                if line["path"] as? String == "/" { #expect(duration < 400, "\(line)") }
            }
            let errors = gateway.process.standardError
            let told = "rates are counted by this gateway alone"
            #expect(errors.components(separatedBy: told).count == 2, "\(errors)")
        }
        if state == "frozen" { redis.thaw() } else { try redis.start() }
        // They count together again, once they have asked.
        let again = "rates are counted by all gateways together again"
        for (index, gateway) in gateways.enumerated() {
            #expect(
                try eventually(within: .seconds(10)) {
                    _ = try get(index, "/ask")
                    return gateway.process.standardError.contains(again)
                })
        }
        #expect(try storm("/back", 12).reduce(0, +) == 5)
        // What each has passed by itself it has not forgotten, though Redis may have.
        for index in 0..<3 { #expect(try get(index, "/away").status == 429) }
    }
}

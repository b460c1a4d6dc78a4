import Foundation
import TestSupport
import Testing

/// Every case of http1.json against the running program: its answer, what becomes of the connection, and what the
/// upstream gets to see of it.
struct RequestVectorTests {
    /// One case of the file.
    struct Vector {
        let id: String
        let bytes: [UInt8]
        /// `nil`: the RFCs leave it open.
        let isAccepted: Bool?
        let statuses: [Int]
        let closes: Bool
        let clientCloses: Bool
        let answers: Int
        let secondStatuses: [Int]?
        let meaning: [String: String]?
        let forward: [String: [String]]

        init(_ json: [String: Any]) throws {
            id = try #require(json["id"] as? String)
            isAccepted = json["accept"] as? Bool
            statuses = try #require(json["status"] as? [Int])
            closes = json["closes"] as? Bool ?? false
            clientCloses = json["client_closes"] as? Bool ?? false
            answers = json["answers"] as? Int ?? 1
            secondStatuses = json["second_status"] as? [Int]
            meaning = json["meaning"] as? [String: String]
            forward = json["forward"] as? [String: [String]] ?? [:]
            bytes = try Vector.bytes(json)
        }

        private static func bytes(_ json: [String: Any]) throws -> [UInt8] {
            if let raw = json["raw"] as? String { return Array(raw.utf8) }
            if let text = json["raw_b64"] as? String {
                return Array(try #require(Data(base64Encoded: text)))
            }
            return try #require(json["raw_repeat"] as? [[Any]]).flatMap { part in
                let text = try #require(part.first as? String)
                let times = try #require(part.last as? Int)
                let piece = text.unicodeScalars.map { UInt8($0.value) }
                return Array(repeatElement(piece, count: times).joined())
            }
        }
    }

    /// What a client saw of a connection.
    struct Seen {
        /// The final answers; the interim ones stand in `interims`.
        var replies: [HTTPReply] = []
        var interims: [Int] = []
        var isClosed = false
    }

    static func upstream() throws -> ScriptedUpstream {
        try ScriptedUpstream { request in
            let isHead = request.requestLine.hasPrefix("HEAD ")
            return [
                .send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" + (isHead ? "" : "hello\n"))
            ]
        }
    }

    @Test func everyVectorIsAnsweredAsItSays() throws {
        let upstream = try Self.upstream()
        let gateway = try Gateway(
            testConf(
                // Short, for the cases that send nothing or half a head.
                listener: "limits { header_timeout 2s; }",
                """
                upstream app { server 127.0.0.1:\(upstream.port); }
                route / { upstream app; authenticate none; }
                """))
        let cases = try #require(try Fixtures.json("http1.json")["cases"] as? [[String: Any]])
        #expect(cases.count == 271)
        var forwarded = 0
        for vector in try cases.map(Vector.init) {
            let seen = try Self.play(vector, on: gateway)
            let accepted = seen.replies.filter { $0.status == 200 }.count
            // The upstream records a request when all of it has come, which its answer proves.
            let requests = upstream.requests
            #expect(requests.count == forwarded + accepted, "\(vector.id)")
            Self.check(vector, seen)
            for request in requests[min(forwarded, requests.count)...] {
                Self.checkForwarded(vector, request)
            }
            Self.checkMeaning(vector, requests.dropFirst(forwarded).first)
            forwarded = requests.count
            if let last = seen.replies.last, !seen.isClosed, !vector.clientCloses {
                Issue.record("\(vector.id): still open after \(last.status)")
            }
        }
        let decided = try cases.map(Vector.init)
        #expect(decided.filter { $0.isAccepted == true }.count == 62)
        #expect(decided.filter { $0.isAccepted == false }.count == 159)
        // Nothing that was refused came late.
        gateway.process.end()
        #expect(upstream.requests.count == forwarded)
    }

    /// Sends the case and reads its answers; then, where the connection is to live on, proves by one more request
    /// that it is in step, and ends it.
    static func play(_ vector: Vector, on gateway: Gateway) throws -> Seen {
        let client = try gateway.connect()
        // A refusal may come, and the connection end, before a long head has been sent.
        try? client.send(vector.bytes)
        if vector.clientCloses { client.shutdownWriting() }
        var seen = Seen()
        while seen.replies.count < vector.answers {
            let isHead = vector.bytes.starts(with: Array("HEAD ".utf8))
            guard let reply = try? client.readReply(isBodyless: isHead) else { break }
            if reply.status < 200 {
                seen.interims.append(reply.status)
            } else {
                seen.replies.append(reply)
            }
        }
        let says = seen.replies.last?.values("connection") ?? ["close"]
        if says == ["close"] || vector.closes {
            seen.isClosed = try client.isClosedByPeer()
        } else {
            try client.send("GET /in-step HTTP/1.1\r\nHost: h.example\r\nConnection: close\r\n\r\n")
            seen.replies.append(try client.readReply())
            seen.isClosed = try client.isClosedByPeer()
        }
        return seen
    }

    static func check(_ vector: Vector, _ seen: Seen) {
        let id = vector.id
        let first = seen.replies.first?.status ?? 0
        #expect(vector.statuses.contains(first), "\(id): \(first), not \(vector.statuses)")
        if vector.isAccepted == true {
            #expect(seen.replies.count >= vector.answers, "\(id)")
        }
        if vector.isAccepted == false {
            #expect(first != 200, "\(id)")
        }
        if let second = vector.secondStatuses {
            #expect(seen.replies.count == 2, "\(id)")
            #expect(second.contains(seen.replies.last?.status ?? 0), "\(id)")
        }
        if vector.closes || vector.secondStatuses != nil {
            // No request in step came after it.
            #expect(seen.replies.count == vector.answers, "\(id)")
            #expect(seen.isClosed, "\(id)")
        }
        #expect(seen.interims.allSatisfy { $0 == 100 }, "\(id): \(seen.interims)")
        #expect(seen.interims.count <= 1, "\(id)")
        #expect(id != "expect-100-http10" || seen.interims.isEmpty, "\(id)")
        #expect(id != "expect-100" || seen.interims == [100], "\(id)")
    }

    /// What holds for each request that any case brings to the upstream.
    static func checkForwarded(_ vector: Vector, _ request: ReceivedRequest) {
        let id = vector.id
        #expect(request.requestLine.hasSuffix(" HTTP/1.1"), "\(id): \(request.requestLine)")
        #expect(request.values("host").count == 1, "\(id)")
        let framing = request.values("content-length") + request.values("transfer-encoding")
        #expect(framing.count <= 1, "\(id): \(framing)")
        for name in ["connection", "keep-alive", "proxy-connection", "te", "upgrade", "trailer"] {
            #expect(request.values(name).isEmpty, "\(id): \(name)")
        }
        let breaks = request.head.utf8.filter { $0 == 13 || $0 == 10 }.count
        let lines = request.head.components(separatedBy: "\r\n").count - 1
        #expect(breaks == 2 * lines, "\(id): a lone CR or LF")
    }

    static func checkMeaning(_ vector: Vector, _ request: ReceivedRequest?) {
        let id = vector.id
        if let meaning = vector.meaning {
            guard let request else {
                #expect(vector.isAccepted == nil, "\(id): nothing was forwarded")
                return
            }
            let method = meaning["method"] ?? ""
            let target = meaning["target"] ?? ""
            #expect(request.requestLine == "\(method) \(target) HTTP/1.1", "\(id)")
            #expect(request.content == Array((meaning["body"] ?? "").utf8), "\(id)")
        }
        for field in vector.forward["present"] ?? [] {
            let field = field.replacingOccurrences(of: "<gateway>", with: "gatehouse")
            #expect(request?.has(field) == true, "\(id): \(field)")
        }
        for field in vector.forward["absent"] ?? [] {
            #expect(request?.has(field) == false, "\(id): \(field)")
        }
    }
}

extension ReceivedRequest {
    /// Whether there is such a field: `Name`, or `Name: value`.
    func has(_ field: String) -> Bool {
        let parts = field.components(separatedBy: ": ")
        let values = values(parts[0])
        return parts.count == 1 ? !values.isEmpty : values.contains(parts[1])
    }

    /// The body without its chunks.
    var content: [UInt8] {
        guard values("transfer-encoding") == ["chunked"] else { return rawBody }
        var content: [UInt8] = []
        var next = 0
        while let end = rawBody[next...].firstIndex(of: 13) {
            let line = String(decoding: rawBody[next..<end], as: UTF8.self)
            guard let size = Int(line, radix: 16), size > 0 else { break }
            content += rawBody[(end + 2)...].prefix(size)
            next = min(end + 2 + size + 2, rawBody.count)
        }
        return content
    }
}

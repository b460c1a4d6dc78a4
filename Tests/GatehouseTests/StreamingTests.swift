import Foundation
import TestSupport
import Testing

/// Bodies that are larger than any buffer, peers that are slow, and clients that leave.
@Suite(.serialized)
struct StreamingTests {
    static let size = 50 << 20
    static let framings = ["Content-Length: \(size)", "Transfer-Encoding: chunked"]
    /// How much the gateway may grow while it holds up a body of 50 MB.
    static let growthKiB = 32 << 10
    /// More than the kernel's socket buffers on the way can hold, far less than the body.
    static let inFlight = 24 << 20

    static let body: [UInt8] = {
        var body = [UInt8](repeating: 0, count: size)
        var state: UInt32 = 1
        for index in body.indices {
            state = state &* 1_664_525 &+ 1_013_904_223
            body[index] = UInt8(truncatingIfNeeded: state >> 24)
        }
        return body
    }()

    @Test(arguments: framings)
    func aSlowClientHoldsUpTheUpstreamAndNotTheMemory(framing: String) throws {
        let pair = try ManualPair(timeout: .seconds(30))
        let client = try pair.gateway.connect(timeout: .seconds(30))
        let before = try pair.gateway.memory("VmRSS")
        try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        let isChunked = framing.hasSuffix("chunked")
        try server.send("HTTP/1.1 200 OK\r\n\(framing)\r\n\r\n")
        if isChunked { try server.send(String(Self.size, radix: 16) + "\r\n") }
        let sent = try server.sendUntilStuck(Self.body, patience: .milliseconds(300))
        #expect(sent < Self.inFlight, "the upstream could send \(sent) bytes to nobody")
        server.sendInBackground(Self.body[sent...] + Array((isChunked ? "\r\n0\r\n\r\n" : "").utf8))
        let reply = try client.readReply()
        #expect(reply.body == Self.body)
        let growth = try pair.gateway.memory("VmHWM") - before
        #expect(growth < Self.growthKiB, "grew by \(growth) KiB")
    }

    @Test(arguments: framings)
    func aSlowUpstreamHoldsUpTheClientAndNotTheMemory(framing: String) throws {
        let pair = try ManualPair(listener: "limits { body 64m; }", timeout: .seconds(30))
        let client = try pair.gateway.connect(timeout: .seconds(30))
        let before = try pair.gateway.memory("VmRSS")
        let isChunked = framing.hasSuffix("chunked")
        try client.send("POST / HTTP/1.1\r\n\(hostLine)\(framing)\r\n\r\n")
        if isChunked { try client.send(String(Self.size, radix: 16) + "\r\n") }
        let server = try pair.server.accept()
        let sent = try client.sendUntilStuck(Self.body, patience: .milliseconds(300))
        #expect(sent < Self.inFlight, "the client could send \(sent) bytes to nobody")
        client.sendInBackground(Self.body[sent...] + Array((isChunked ? "\r\n0\r\n\r\n" : "").utf8))
        let head = text(try server.read(through: "\r\n\r\n"))
        var arrived: [UInt8]
        if isChunked {
            let raw = try server.readThroughLastChunk()
            arrived = ReceivedRequest(connection: 0, index: 0, head: head, rawBody: raw).content
        } else {
            arrived = try server.read(Self.size)
        }
        #expect(arrived == Self.body)
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        let line = try pair.gateway.accessLine { $0["status"] as? Int == 200 }
        #expect(line["bytes_in"] as? Int ?? 0 >= Self.size)
        let growth = try pair.gateway.memory("VmHWM") - before
        #expect(growth < Self.growthKiB, "grew by \(growth) KiB")
    }

    @Test func aClientThatNeverReadsIsGivenUp() throws {
        let pair = try ManualPair(listener: "limits { body_timeout 500ms; }")
        let client = try pair.gateway.connect()
        try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        let server = try pair.server.accept()
        _ = try server.read(through: "\r\n\r\n")
        try server.send("HTTP/1.1 200 OK\r\nContent-Length: \(Self.size)\r\n\r\n")
        #expect(throws: Failure.self) { try server.send(Self.body) }
        let line = try pair.gateway.accessLine { $0["reason"] != nil }
        #expect(line["status"] as? Int == 499)
        #expect(throws: Failure.self) { try client.readReply() }
    }

    // MARK: A client that leaves

    @Test(arguments: [false, true])
    func theUpstreamsWorkEndsWithTheClient(resets: Bool) throws {
        let pair = try ManualPair(timeout: .seconds(1))
        let server: TCPClient
        do {
            let client = try pair.gateway.connect()
            try client.send("GET /slow HTTP/1.1\r\n\(hostLine)\r\n")
            server = try pair.server.accept()
            _ = try server.read(through: "\r\n\r\n")
            if resets { client.resetOnClose() }
        }
        #expect(try server.isClosedByPeer())
        let line = try pair.gateway.accessLine { $0["path"] as? String == "/slow" }
        #expect(line["status"] as? Int == 499)
        #expect(line["reason"] as? String == "client_closed")
    }

    @Test func theUpstreamsAnswerEndsWithTheClient() throws {
        let pair = try ManualPair(timeout: .seconds(1))
        let server: TCPClient
        do {
            let client = try pair.gateway.connect()
            try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
            server = try pair.server.accept()
            _ = try server.read(through: "\r\n\r\n")
            try server.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxyz")
            _ = try client.read(through: "xyz")
        }
        #expect(try server.isClosedByPeer())
    }

    /// It leaves without having read what waits for it, which makes the kernel send a reset.
    @Test func anAnswerThatIsHeldUpEndsWithTheClient() throws {
        let pair = try ManualPair(timeout: .seconds(5))
        let server: TCPClient
        do {
            let client = try pair.gateway.connect()
            try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
            server = try pair.server.accept()
            _ = try server.read(through: "\r\n\r\n")
            try server.send("HTTP/1.1 200 OK\r\nContent-Length: \(Self.size)\r\n\r\n")
            _ = try server.sendUntilStuck(Self.body, patience: .milliseconds(200))
        }
        let start = ContinuousClock.now
        #expect(try server.isClosedByPeer())
        #expect(ContinuousClock.now - start < .seconds(1))
    }

    @Test func aBodyThatIsHeldUpEndsWithTheClient() throws {
        let pair = try ManualPair(listener: "limits { body 64m; }", timeout: .seconds(5))
        let server: TCPClient
        do {
            let client = try pair.gateway.connect()
            try client.send("POST / HTTP/1.1\r\n\(hostLine)Content-Length: \(Self.size)\r\n\r\n")
            server = try pair.server.accept()
            _ = try client.sendUntilStuck(Self.body, patience: .milliseconds(200))
            client.resetOnClose()
        }
        let line = try pair.gateway.accessLine { _ in true }
        #expect(line["reason"] as? String == "client_closed")
        // What the kernel held comes still, but never the whole.
        #expect(try server.readToEnd().count < Self.inFlight)
    }

    @Test(arguments: [
        "Content-Length: 10\r\n\r\nxyz", "Transfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n",
    ])
    func aBodyThatBreaksOffIsNeverCompleted(start: String) throws {
        let pair = try ManualPair(timeout: .seconds(1))
        let server: TCPClient
        do {
            let client = try pair.gateway.connect()
            try client.send("POST / HTTP/1.1\r\n\(hostLine)\(start)")
            server = try pair.server.accept()
            // No hexadecimal digits, as they could stand in an id of the head.
            _ = try server.read(through: "xyz")
        }
        let rest = text(try server.readToEnd())
        #expect(rest.isEmpty || rest == "\r\n")
    }

    /// The client pipelines a second request and leaves: the first one's upstream is told all the same.
    @Test func aClientThatPipelinesAndLeavesIsNoticed() throws {
        let pair = try ManualPair(timeout: .seconds(1))
        let server: TCPClient
        do {
            let client = try pair.gateway.connect()
            let request = "GET / HTTP/1.1\r\n\(hostLine)\r\n"
            try client.send(request + request)
            server = try pair.server.accept()
            _ = try server.read(through: "\r\n\r\n")
        }
        #expect(try server.isClosedByPeer())
    }
}

extension TCPClient {
    /// Reads a chunked body to its end, chunk sizes and all.
    fileprivate func readThroughLastChunk() throws -> [UInt8] {
        var raw: [UInt8] = []
        while true {
            let line = try read(through: "\r\n")
            guard let size = Int(text(Array(line.dropLast(2))), radix: 16) else {
                throw Failure("chunk size: \(text(line))")
            }
            raw += line
            raw += try read(size + 2)
            if size == 0 { return raw }
        }
    }
}

import Foundation
import TestSupport
import Testing

/// What a server of HTTP/2 is told when its connection ends (RFC 9113 sections 5.4.1 and 6.8).
struct HTTP2UpstreamGoodbyeTests {
    private let server: ManualServer
    private let gateway: Gateway

    init() throws {
        server = try ManualServer()
        gateway = try Gateway(
            testConf(
                """
                upstream app { server 127.0.0.1:\(server.port); protocol h2; idle_timeout 300ms; }
                route / { upstream app; authenticate none; }
                """))
    }

    /// A request of its own, and the connection on which it has come; our settings are out.
    private func begin() throws -> (client: TCPClient, connection: TCPClient) {
        let client = try gateway.connect()
        try client.send("GET / HTTP/1.1\r\n\(hostLine)\r\n")
        let connection = try server.accept()
        _ = try connection.read(through: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        while try readFrame(connection).type != 1 {}
        try connection.send([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0])
        return (client, connection)
    }

    private func readFrame(_ connection: TCPClient) throws -> (type: UInt8, payload: [UInt8]) {
        let head = try connection.read(9)
        let count = head[..<3].reduce(0) { $0 << 8 | Int($1) }
        return (head[3], count == 0 ? [] : try connection.read(count))
    }

    /// The code of the GOAWAY that comes, which is the last frame.
    private func goodbye(_ connection: TCPClient) throws -> UInt8? {
        while true {
            let frame = try readFrame(connection)
            guard frame.type == 7 else { continue }
            #expect(try connection.readToEnd().isEmpty)
            return frame.payload.count >= 8 ? frame.payload[7] : nil
        }
    }

    private static let answer: [UInt8] = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88]

    @Test func aRestingConnectionEndsInPeace() throws {
        let (client, connection) = try begin()
        try connection.send(Self.answer)
        #expect(try client.readReply().status == 200)
        #expect(try goodbye(connection) == 0)
    }

    @Test(
        arguments: [
            // DATA on stream 0; PUSH_PROMISE, which we have forbidden; HPACK that points nowhere.
            ([0, 0, 1, 0, 0, 0, 0, 0, 0, 7], 1), ([0, 0, 4, 5, 4, 0, 0, 0, 1, 0, 0, 0, 2], 1),
            ([0, 0, 2, 1, 5, 0, 0, 0, 1, 0xFF, 0x7F], 9),
        ] as [([UInt8], UInt8)])
    func aServerThatBreaksTheRulesIsToldWhich(frame: [UInt8], code: UInt8) throws {
        let (client, connection) = try begin()
        try connection.send(frame)
        #expect(try goodbye(connection) == code)
        #expect(try client.readReply().status == 502)
    }

    @Test func aServerThatCostsTooMuchIsToldSo() throws {
        let (client, connection) = try begin()
        try connection.send(Self.answer)
        #expect(try client.readReply().status == 200)
        let late: [UInt8] = [0, 0, 4, 8, 0, 0, 0, 0, 1, 0, 0, 0, 1]
        try connection.send([[UInt8]](repeating: late, count: 1100).flatMap(\.self))
        #expect(try goodbye(connection) == 11)
    }
}

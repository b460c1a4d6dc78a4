import Primitives
import Testing

@testable import Store

/// hiredis behind its owners: any bytes, cut anywhere.
struct RedisProtocolTests {
    private static let wire =
        "+OK\r\n-ERR no\r\n:-42\r\n$5\r\na\r\n\u{0}b\r\n$-1\r\n*3\r\n$0\r\n\r\n*1\r\n:7\r\n*0\r\n"
    private static let values: [RedisValue] = [
        .status("OK"), .error("ERR no"), .integer(-42), .text(Array("a\r\n\u{0}b".utf8)), .null,
        .array([.text([]), .array([.integer(7)]), .array([])]),
    ]

    private func read(_ pieces: [[UInt8]]) throws -> [RedisValue] {
        guard var reader = RedisReader() else { throw StoreError.closed }
        let buffer = ByteBuffer(capacity: 1024)
        var values: [RedisValue] = []
        for piece in pieces {
            buffer.removeAll()
            _ = buffer.fill { room in
                room.copyBytes(from: piece)
                return piece.count
            }
            let isTaken = reader.feed(buffer)
            #expect(isTaken)
            loop: while true {
                switch reader.next() {
                case .reply(let value): values.append(value)
                case .needsMore: break loop
                case .broken(let why): throw StoreError.unavailable(reason: why)
                }
            }
        }
        return values
    }

    /// They may be secret.
    @Test func theArgumentsOfAnUnknownCommandAreCutOff() throws {
        let error = "-ERR unknown command `AUTH`, with args beginning with: `gate`, `s3cret`, \r\n"
        #expect(try read([Array(error.utf8)]) == [.error("ERR unknown command `AUTH`")])
    }

    @Test func repliesAreReadWhereverTheyAreCut() throws {
        let wire = Array(Self.wire.utf8)
        #expect(try read([wire]) == Self.values)
        #expect(try read(wire.map { [$0] }) == Self.values)
        for cut in wire.indices {
            #expect(try read([Array(wire[..<cut]), Array(wire[cut...])]) == Self.values)
        }
    }

    @Test(arguments: ["HTTP/1.1 200 OK\r\n", "*1000000000\r\n", "$-5\r\n", ":x\r\n", "\u{0}\r\n"])
    func whatIsNotTheProtocolIsBrokenOrEndless(text: String) throws {
        do {
            #expect(try read([Array(text.utf8)]).isEmpty)
        } catch let error as StoreError {
            guard case .unavailable = error else { throw error }
        }
    }

    @Test func aReplyOfMoreThanTheLimitIsRefused() throws {
        guard var reader = RedisReader() else { throw StoreError.closed }
        let buffer = ByteBuffer(capacity: 1 << 20)
        func fill(_ text: String) {
            buffer.removeAll()
            _ = buffer.fill { room in
                room.copyBytes(from: text.utf8)
                return text.utf8.count
            }
        }
        fill("$\(400 << 20)\r\n")
        let isTaken = reader.feed(buffer)
        #expect(isTaken)
        _ = reader.next()
        fill(String(repeating: "a", count: 1 << 20))
        var pieces = 0
        while reader.feed(buffer), pieces < 300 { pieces += 1 }
        #expect(pieces == RedisReader.replyLimit >> 20 - 1)
    }

    @Test func commandsCarryAnyBytes() {
        var output: [UInt8] = []
        let command = RedisCommand([Array("SET".utf8), [0, 13, 10, 255], []])
        #expect(command.append(to: &output))
        #expect(
            output == Array("*3\r\n$3\r\nSET\r\n$4\r\n".utf8) + [0, 13, 10, 255]
                + Array("\r\n$0\r\n\r\n".utf8))
        #expect(RedisCommand("PING").append(to: &output))
        #expect(output.suffix(14) == Array("*1\r\n$4\r\nPING\r\n".utf8)[...])
    }
}

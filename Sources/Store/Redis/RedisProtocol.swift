import CHiredis
import Primitives

/// A reply of Redis (RESP2).
enum RedisValue: Sendable, Equatable {
    case text([UInt8])
    case integer(Int64)
    case null
    case status(String)
    case error(String)
    case array([RedisValue])

    var bytes: [UInt8]? { if case .text(let bytes) = self { bytes } else { nil } }
    var string: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }
    var integer: Int64? { if case .integer(let number) = self { number } else { nil } }
    var elements: [RedisValue]? { if case .array(let elements) = self { elements } else { nil } }
    var error: String? { if case .error(let text) = self { text } else { nil } }
}

/// hiredis's reader: bytes in, whole replies out. It owns the reader and frees it once.
@safe struct RedisReader: ~Copyable {
    /// Bytes of one reply; a server that says more is not what we think it is.
    static let replyLimit = 256 << 20

    private let raw: UnsafeMutablePointer<redisReader>
    private var pending = 0

    /// - Returns: nil where there is no memory.
    init?() {
        guard let raw = unsafe redisReaderCreate() else { return nil }
        unsafe self.raw = unsafe raw
    }

    deinit { unsafe redisReaderFree(raw) }

    /// - Returns: false when what came is not the protocol; the connection is then of no use.
    mutating func feed(_ buffer: ByteBuffer) -> Bool {
        pending += buffer.count
        guard pending <= Self.replyLimit else { return false }
        let raw = unsafe raw
        return unsafe buffer.readable.withUnsafeBytes { bytes in
            unsafe redisReaderFeed(
                raw, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
                == REDIS_OK
        }
    }

    /// What one look at the reader finds.
    enum Outcome {
        case reply(RedisValue)
        case needsMore
        case broken(String)
    }

    mutating func next() -> Outcome {
        var object: UnsafeMutableRawPointer?
        guard unsafe redisReaderGetReply(raw, &object) == REDIS_OK else {
            return .broken("its answer is not the protocol of Redis")
        }
        guard let object = unsafe object else { return .needsMore }
        defer { unsafe freeReplyObject(object) }
        pending = 0
        let reply = unsafe object.assumingMemoryBound(to: redisReply.self)
        guard let value = unsafe Self.value(of: reply) else {
            return .broken("its answer has a type that is not known")
        }
        return .reply(value)
    }

    /// An error without the arguments that Redis repeats in one of an unknown command: they may be secret.
    private static func harmless(_ error: String) -> String {
        guard let arguments = error.firstRange(of: ", with args") else { return error }
        return String(error[..<arguments.lowerBound])
    }

    /// A copy; hiredis bounds the depth of a reply, so this ends.
    private static func value(of reply: UnsafePointer<redisReply>) -> RedisValue? {
        switch unsafe reply.pointee.type {
        case REDIS_REPLY_STRING: return unsafe .text(text(of: reply))
        case REDIS_REPLY_STATUS:
            return unsafe .status(String(decoding: text(of: reply), as: UTF8.self))
        case REDIS_REPLY_ERROR:
            return .error(Self.harmless(String(decoding: unsafe text(of: reply), as: UTF8.self)))
        case REDIS_REPLY_INTEGER: return unsafe .integer(reply.pointee.integer)
        case REDIS_REPLY_NIL: return .null
        case REDIS_REPLY_ARRAY:
            var elements: [RedisValue] = []
            for index in 0..<(unsafe Int(reply.pointee.elements)) {
                guard let element = unsafe gatehouse_redis_element(reply, index),
                    let value = unsafe value(of: element)
                else { return nil }
                elements.append(value)
            }
            return .array(elements)
        default: return nil
        }
    }

    private static func text(of reply: UnsafePointer<redisReply>) -> [UInt8] {
        guard let start = unsafe reply.pointee.str else { return [] }
        return unsafe Array(
            UnsafeRawBufferPointer(start: start, count: Int(reply.pointee.len)))
    }
}

/// A command: its name and arguments, any bytes.
struct RedisCommand: Sendable {
    var arguments: [[UInt8]]

    init(_ arguments: [[UInt8]]) {
        self.arguments = arguments
    }

    init(_ words: String...) {
        arguments = words.map { Array($0.utf8) }
    }

    /// Appends the command as it goes over the wire.
    ///
    /// - Returns: false where there is no memory.
    func append(to output: inout [UInt8]) -> Bool {
        let all = arguments.flatMap { $0 }
        let lengths = arguments.map(\.count)
        var target: UnsafeMutablePointer<CChar>?
        let count = unsafe all.withUnsafeBytes { bytes in
            // Arguments of no bytes point somewhere as well: hiredis copies none of them.
            let base = unsafe bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            var starts: [UnsafePointer<CChar>?] = unsafe []
            var offset = 0
            for length in lengths {
                unsafe starts.append(base?.advanced(by: offset))
                offset += length
            }
            return unsafe gatehouse_redis_format(&target, Int32(lengths.count), &starts, lengths)
        }
        guard count >= 0, let target = unsafe target else { return false }
        defer { unsafe redisFreeCommand(target) }
        unsafe output.append(
            contentsOf: UnsafeRawBufferPointer(start: target, count: Int(count)))
        return true
    }
}

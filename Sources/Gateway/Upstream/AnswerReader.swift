import HTTP
import Primitives

/// What reads the answers of an HTTP/1.1 connection to a server. Taken from the worker when the first byte of an answer has come
/// and given back behind its last: most come whole, so that a few serve all connections, and are at hand.
final class AnswerReader {
    private static let limits = HTTP1Limits(
        requestLineBytes: 8 << 10, headBytes: 64 << 10, fieldCount: 200)

    let head = ResponseHead()
    let body = BodyReader()
    private var parser = ResponseHeadParser(limits: limits)

    /// Forgets what was read.
    func reset() {
        parser = ResponseHeadParser(limits: AnswerReader.limits)
        body.begin(.none)
    }

    /// Takes bytes of a head, which may come in pieces.
    ///
    /// - Returns: where the head ends; `nil`: it is not whole.
    func readHead(
        _ input: Span<UInt8>, from offset: Int, requestMethod: HTTP.Method
    ) throws(HTTP1Error) -> Int? {
        // Worked on apart: mostly a head comes whole, and the next begins with a new one.
        var parser = self.parser
        guard
            case .complete(let next) = try parser.parse(
                input, from: offset, into: head, requestMethod: requestMethod)
        else {
            self.parser = parser
            return nil
        }
        self.parser = ResponseHeadParser(limits: AnswerReader.limits)
        return next
    }
}

import Cryptography
import HTTP
import Primitives

/// A request's upgrade to the WebSocket protocol, towards an HTTP/1.1 upstream (RFC 6455 section 4).
///
/// A client on HTTP/1.1 brings its own key, and checks the answer to it; one on HTTP/2 asks by extended CONNECT, which has
/// no key (RFC 8441 section 5.1): the gateway then makes one, and checks the answer itself.
struct WebSocketUpgrade {
    /// The key of our own making; `nil` when the client's goes through.
    let key: [UInt8]?

    private init(key: [UInt8]?) {
        self.key = key
    }

    /// The upgrade that a request asks for; `nil` if it asks for none.
    ///
    /// - Throws: when the system gives no random bytes.
    static func requested(by head: RequestHead) throws(CryptographyError) -> WebSocketUpgrade? {
        guard head.upgradesToWebSocket else { return nil }
        guard head.version == .http2 else { return WebSocketUpgrade(key: nil) }
        let random = try RandomBytes.make(count: 16)
        return WebSocketUpgrade(key: Array(Base64.encode(random, .standard).utf8))
    }

    /// The fields that ask for it, complete lines.
    func appendFields(to output: inout [UInt8]) {
        output.append("Connection: Upgrade\r\nUpgrade: websocket\r\n")
        guard let key else { return }
        output.append("Sec-WebSocket-Key: ")
        output.append(contentsOf: key)
        output.append("\r\n")
    }

    /// Whether a 101 really goes over to the protocol that was asked for.
    func isAccepted(by answer: ResponseHead) -> Bool {
        let offers = answer.fields.filter { $0.id == .upgrade }
        guard answer.status == 101, offers.count == 1,
            answer.equals(offers[0].value, "websocket")
        else { return false }
        guard let key else { return true }
        let expected = WebSocketUpgrade.acceptance(of: key)
        return answer.fields.contains { line in
            WebSocketUpgrade.isAccept(answer, line)
                && answer.bytes[line.value.range].elementsEqual(expected)
        }
    }

    /// Whether a field of the request would stand beside ours.
    func replaces(_ line: FieldLine, of head: RequestHead) -> Bool {
        key != nil && head.equals(line.name, "sec-websocket-key")
    }

    /// Whether a field of the answer concerns a key that the client never sent.
    func hides(_ line: FieldLine, of answer: ResponseHead) -> Bool {
        key != nil && WebSocketUpgrade.isAccept(answer, line)
    }

    private static func isAccept(_ answer: ResponseHead, _ line: FieldLine) -> Bool {
        answer.equals(line.name, "sec-websocket-accept")
    }

    /// RFC 6455 section 4.2.2, step 5.4. SHA-1 is the protocol's; nothing is kept secret by it.
    private static func acceptance(of key: [UInt8]) -> [UInt8] {
        let input = key + Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)
        return Array(Base64.encode(Digest.hash(input.span, .sha1), .standard).utf8)
    }
}

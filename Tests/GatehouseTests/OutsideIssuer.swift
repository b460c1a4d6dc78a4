import Cryptography
import Foundation
import OAuth
import Primitives
import Synchronization
import TestSupport

/// An issuer of tokens on a scripted server, in clear on loopback: what it publishes and how it answers changes while it
/// runs, and every request that it gets is counted.
final class OutsideIssuer: Sendable {
    private struct State {
        var keys: [SigningKey]
        var published: [String]
        /// In place of the usual answer to a request for the keys.
        var answer: [UpstreamStep]?
        var next: [UpstreamStep]?
        var metadata: String?
        var isHeld = false
        var hidesNames = false
    }

    let server: ScriptedUpstream
    private let state: Shared

    private final class Shared: Sendable {
        let state: Mutex<State>
        init(_ state: State) { self.state = Mutex(state) }
    }

    /// - Parameter keyIDs: of the keys that it has; the first alone is published.
    init(_ keyIDs: String...) throws {
        let shared = Shared(
            State(
                keys: try keyIDs.map {
                    try SigningKey(keyID: $0, algorithm: .es256, privateKey: .generate(.p256))
                }, published: [keyIDs[0]]))
        state = shared
        server = try ScriptedUpstream { request in
            // Held by whoever asks for it: the answer waits, nothing else.
            _ = eventually(within: .seconds(20)) { !shared.state.withLock { $0.isHeld } }
            return shared.state.withLock { state in
                if request.requestLine.contains("/.well-known/") {
                    guard let metadata = state.metadata,
                        request.requestLine.contains("openid-configuration")
                    else { return [.respond("404 Not Found")] }
                    return [.respond(body: metadata)]
                }
                if let next = state.next {
                    state.next = nil
                    return next
                }
                if let answer = state.answer { return answer }
                return [.respond(body: OutsideIssuer.document(state))]
            }
        }
    }

    private static func document(_ state: State) -> String {
        let keys = state.keys.filter { state.published.contains($0.keyID) }
        var text = String(decoding: JWKSDocument.write(keys.map(\.published)), as: UTF8.self)
        if state.hidesNames {
            for key in keys { text = text.replacing(#","kid":"\#(key.keyID)""#, with: "") }
        }
        return text
    }

    var url: String { "http://127.0.0.1:\(server.port)" }

    /// How often its keys were fetched.
    var fetches: Int { server.requests.count { $0.requestLine.contains("/jwks") } }

    /// The key set that it publishes as a rule.
    var document: String { state.state.withLock { OutsideIssuer.document($0) } }

    func publish(_ keyIDs: String...) {
        state.state.withLock { $0.published = keyIDs }
    }

    /// From now on a request for the keys gets this; `nil` is the usual answer.
    func answer(_ steps: [UpstreamStep]?) {
        state.state.withLock { $0.answer = steps }
    }

    /// The next request for the keys gets this, whenever its answer is let go.
    func answerNext(_ steps: [UpstreamStep]) {
        state.state.withLock { $0.next = steps }
    }

    /// Neither its keys nor its tokens have a `kid`.
    func hideNames() {
        state.state.withLock { $0.hidesNames = true }
    }

    func publishMetadata(_ text: String) {
        state.state.withLock { $0.metadata = text }
    }

    /// While it is held, nothing is answered.
    func hold(_ isHeld: Bool) {
        state.state.withLock { $0.isHeld = isHeld }
    }

    /// A token by one of its keys, different each time.
    ///
    /// - Parameters:
    ///   - keyID: in the token's header; the key is that of this name, or the first.
    ///   - lifetime: in seconds, from now on.
    func token(
        _ keyID: String, issuer: String? = nil, lifetime: Int64 = 600, claims: String = ""
    ) throws -> String {
        let keys = state.state.withLock { $0.keys }
        let key = keys.first { $0.keyID == keyID } ?? keys[0]
        let named = try SigningKey(
            keyID: keyID, algorithm: .es256, privateKey: key.privateKey)
        let now = WallTime.now().seconds
        let text = """
            {"iss":"\(issuer ?? url)","aud":"api","client_id":"robot","sub":"robot","iat":\(now),\
            "exp":\(now + lifetime),"jti":"\(UUID().uuidString)","scope":"read"\(claims)}
            """
        guard state.state.withLock({ $0.hidesNames }) else {
            let token = try JWTSigner.sign(claims: Array(text.utf8), with: named)
            return String(decoding: token, as: UTF8.self)
        }
        let parts = [#"{"alg":"ES256","typ":"at+jwt"}"#, text].map {
            Base64.encode(Array($0.utf8), .url)
        }
        let input = Array(parts.joined(separator: ".").utf8)
        let signature = try key.privateKey.sign(input.span, .es256)
        return (parts + [Base64.encode(signature, .url)]).joined(separator: ".")
    }
}

extension Gateway {
    /// One request with a bearer token, on a connection of its own.
    func bearer(_ token: String, _ target: String = "/x") throws -> HTTPReply {
        try request(
            "GET \(target) HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(token)\r\nConnection: close\r\n\r\n"
        )
    }

    /// A connection on which a request with the token has been sent.
    func begin(_ token: String, _ target: String = "/x") throws -> TCPClient {
        let client = try connect(timeout: .seconds(20))
        try client.send(
            "GET \(target) HTTP/1.1\r\n\(hostLine)Authorization: Bearer \(token)\r\n\r\n")
        return client
    }

    /// Waits for a line of the error log.
    func waitForLog(_ text: String) throws {
        try process.waitUntil("the log says: \(text)") { process.standardError.contains(text) }
    }

    /// The exact reason that the access log has for the last request that was refused.
    func loggedReason() throws -> String {
        try accessLine { $0["reason"] is String }["reason"] as? String ?? ""
    }
}

extension HTTPReply {
    /// What the problem body calls the reason.
    var reason: String {
        let type = try? json()["type"] as? String
        return (type ?? "").replacingOccurrences(of: "urn:gatehouse:reason:", with: "")
    }
}

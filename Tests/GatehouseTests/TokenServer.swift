import Foundation
import Synchronization
import TestSupport

/// An introspection server that says of each token what the test wrote, and counts what it is asked.
final class TokenServer: Sendable {
    private final class Script: Sendable {
        let answers = Mutex<[String: [UpstreamStep]]>([:])
        let isHeld = Mutex(false)
        let delay = Mutex(Duration.zero)
    }

    let server: ScriptedUpstream
    private let script: Script

    init() throws {
        let script = Script()
        self.script = script
        server = try ScriptedUpstream { request in
            _ = eventually(within: .seconds(30)) { !script.isHeld.withLock { $0 } }
            let delay = script.delay.withLock { $0 }
            if delay > .zero { Thread.sleep(forTimeInterval: delay / .seconds(1)) }
            let token = TokenServer.token(of: request)
            return script.answers.withLock {
                $0[token] ?? $0["*"] ?? [.respond(body: #"{"active":false}"#)]
            }
        }
    }

    /// The token that a request asks about.
    static func token(of request: ReceivedRequest) -> String {
        let body = String(decoding: request.rawBody, as: UTF8.self)
        let pair = body.split(separator: "&").first { $0.hasPrefix("token=") } ?? ""
        return pair.dropFirst("token=".count).removingPercentEncoding ?? ""
    }

    var url: String { "http://127.0.0.1:\(server.port)" }
    var questions: Int { server.requests.count }

    /// Of the token `*`: what is said of all that have no answer of their own.
    func say(_ body: String, of token: String) {
        say([.respond(fields: ["Content-Type: application/json"], body: body)], of: token)
    }

    func say(_ steps: [UpstreamStep], of token: String) {
        script.answers.withLock { $0[token] = steps }
    }

    /// A server that takes its time over each answer.
    func delay(_ delay: Duration) {
        script.delay.withLock { $0 = delay }
    }

    func hold(_ isHeld: Bool) {
        script.isHeld.withLock { $0 = isHeld }
    }
}

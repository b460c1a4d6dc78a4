import Primitives
import Store
import Transport

/// What other threads tell a worker.
enum WorkerMessage: Sendable {
    /// A connection that the accepting worker placed here, and where it is counted.
    case connection(descriptor: Int32, listener: Int, load: ListenerLoad, peer: IPAddress?)
    /// A new configuration, or new clients and keys: requests that begin from now on use it.
    case configure(GatewaySnapshot)
    case addresses([String: [IPAddress]])
    /// Tokens count no more, whichever gateway was told so.
    case revoked([Revocation])
    /// Keys of outside issuers that came or changed.
    case keys(FetchedKeys)
    /// An answer to something that was asked off the loop.
    case resume(ticket: UInt64, Resumption)
    /// Answer by counting `pulse`, which the watchdog reads.
    case ping
    case drain
    /// Say in the log what the token cache did.
    case tellCounts
    case stop
}

/// What an exchange that waited is told.
enum Resumption: Sendable {
    /// What the store said: a `Result` of what was asked.
    case storeAnswered(any Sendable)
    /// The token is signed; `nil` when signing failed.
    case tokenSigned([UInt8]?)
    /// A fetch of an issuer's keys has ended; what it brought is here already.
    case keysFetched(KeyFetchEnd)
    case introspected(IntrospectionOutcome)
}

/// Hands a worker its mail.
final class MailReceiver: EventHandler {
    private let worker: Worker
    private let mailbox: Mailbox<WorkerMessage>

    init(worker: Worker, mailbox: Mailbox<WorkerMessage>) {
        self.worker = worker
        self.mailbox = mailbox
    }

    func ready(_ readiness: Readiness) {
        for message in mailbox.drain() { worker.receive(message) }
    }

    func deadlineReached() {}
}

/// The rooms that an exchange walks through, in this order and in one direction.
///
/// A raw value is the name of the folder (in lower case), of the `phase` field in the log and of the step
/// that `explain` prints: the code, the log and the tool tell the same story.
public enum Phase: String, Sendable, CaseIterable {
    /// The client's side: connections, limits, heads and bodies as they come in.
    case downstream
    /// The canonical path, host and method choose a route; none is a refusal.
    case routing
    /// A credential is found and proven: a `Principal`, or a challenge.
    case authentication
    /// Address, scopes, audience, claims and client are judged: a `Permit`, or a refusal.
    case authorization
    /// The upstream's request is written; that takes a `Permit`.
    case forwarding
    /// A server of the group, a connection to it, and its answer.
    case upstream
    /// The answer relayed to the client, or one of our own.
    case replies
    /// The access-log line and the counters.
    case telemetry
}

import Foundation
import Primitives

/// What a gateway remembers itself of what Redis may lose.
///
/// No floor covers an id whose timestamp lay ahead of the server's clock when it was accepted: a client's clock is
/// fast. Those are few. Each gateway keeps its own until the clock has passed them, and knows of the others' how far
/// they go.
struct RedisMemory {
    /// Past it nothing more that lies ahead is accepted: what is put back is put back in one script, which holds up
    /// everybody.
    static let limit = 20_000
    /// A floor lies so many seconds ahead of the clock, and an id that lies less far ahead is none of those. The
    /// scripts know this number, too.
    static let floorLead: Int64 = 3

    /// Of this gateway, in all that Redis keeps of it.
    let name = UUID().uuidString

    struct AheadID {
        let timestamp: Int64
        let expiresAt: WallTime
    }

    /// By their keys.
    private(set) var ahead: [String: AheadID] = [:]
    /// How far ahead those of each other gateway go.
    private(set) var others: [String: Int64] = [:]
    /// The latest time of a server that was seen, in seconds.
    private(set) var serverTime: Int64 = 0

    var highest: Int64 { ahead.values.map(\.timestamp).max() ?? 0 }
    /// The least that a floor must be which covers what this gateway does not keep.
    var floor: Int64 { serverTime == 0 ? 0 : serverTime + Self.floorLead }

    /// Whether one with this timestamp could not be kept if it had to be.
    func isFull(for timestamp: Int64?) -> Bool {
        guard let timestamp, ahead.count >= Self.limit else { return false }
        return timestamp >= serverTime + Self.floorLead
    }

    mutating func saw(serverTime: Int64) {
        // Whatever a server says, a floor lies ahead of it.
        self.serverTime = max(self.serverTime, min(serverTime, .max - Self.floorLead))
    }

    mutating func keep(_ key: String, _ id: AheadID) { ahead[key] = id }

    /// Takes note of an epoch's fields, and forgets what floors cover by now.
    mutating func note(_ fields: [(name: String, value: String)]) {
        others = [:]
        for field in fields {
            let parts = field.name.split(separator: ":", maxSplits: 1).map(String.init)
            guard parts.count == 2, ["ahead", "missing"].contains(parts[0]), parts[1] != name,
                let highest = Int64(field.value), highest > serverTime
            else { continue }
            others[parts[1]] = max(others[parts[1]] ?? 0, highest)
        }
        if !ahead.isEmpty { ahead = ahead.filter { $0.value.timestamp > serverTime } }
    }
}

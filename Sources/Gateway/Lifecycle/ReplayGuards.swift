import Configuration
import OAuth
import Primitives
import Store

/// What may pass once in this process: nonces of OAuth 1.0 and proofs of possession, each kind in a table of its own, so
/// that neither takes the other's room.
struct ReplayGuards: Sendable {
    let nonces: ReplayGuard
    let proofs: ReplayGuard

    /// What a clean stop hands on begins with it.
    private static let mark = Array("gatehouse nonces".utf8)

    /// Where several gateways share the store it judges, and these are for while it is away
    /// (`on_store_failure local`).
    init(_ configuration: Configuration, key: [UInt8]) {
        self.init(configuration, key: key, floor: .min, proofFloor: .min)
        raiseCeiling(to: .min)
    }

    /// With what the run before has left.
    init(_ configuration: Configuration, _ start: ReplayStart, now: WallTime) {
        let floor = start.floor ?? .min
        var proofFloor = floor
        if configuration.store == .memory {
            // Tokens of other issuers outlive the process, and what it knew of their proofs has not: whatever it may have
            // taken, up to those whose clients' clocks are ahead, is refused.
            proofFloor = max(floor, now.seconds + configuration.dpop.clockSkew.wholeSeconds)
        }
        self.init(
            configuration, key: start.replayKey.exposed, floor: floor, proofFloor: proofFloor)
        // Should the first raise fail: only what was stored is durable.
        raiseCeiling(to: start.ceiling ?? .min)
        if start.wasClean, !restore(start.savedNonces), let ceiling = start.ceiling {
            // Saved by a version that saved no floor: as after a crash.
            nonces.raiseFloor(to: ceiling)
            proofs.raiseFloor(to: ceiling)
        }
        for nonce in start.futureNonces {
            // It does not say of which kind it is, and is known by its own alone.
            nonces.restore(timestamp: nonce.timestamp, fingerprint: nonce.fingerprint)
            proofs.restore(timestamp: nonce.timestamp, fingerprint: nonce.fingerprint)
        }
    }

    private init(
        _ configuration: Configuration, key: [UInt8], floor: Int64, proofFloor: Int64
    ) {
        nonces = ReplayGuard(
            windowSeconds: configuration.nonceWindowSeconds, key: key, floor: floor)
        proofs = ReplayGuard(
            windowSeconds: configuration.proofWindowSeconds, key: key, floor: proofFloor,
            identity: .byName)
    }

    /// A reload may have changed how long they have to be remembered; before requests are judged by it.
    func setWindows(_ configuration: Configuration) {
        nonces.setWindow(seconds: configuration.nonceWindowSeconds)
        proofs.setWindow(seconds: configuration.proofWindowSeconds)
    }

    func raiseCeiling(to seconds: Int64) {
        nonces.raiseCeiling(to: seconds)
        proofs.raiseCeiling(to: seconds)
    }

    // MARK: Stop and start

    /// For the next start after a clean stop, when nobody claims any more.
    var saved: [UInt8] {
        var output = ReplayGuards.mark
        nonces.save(to: &output)
        proofs.save(to: &output)
        return output
    }

    /// - Returns: whether it was `saved` of such a pair, whole.
    private func restore(_ saved: [UInt8]) -> Bool {
        guard saved.starts(with: ReplayGuards.mark) else { return false }
        var offset = ReplayGuards.mark.count
        return nonces.restore(saved, from: &offset) && proofs.restore(saved, from: &offset)
            && offset == saved.count
    }
}

extension Configuration {
    /// How long the nonce of a request could be used again.
    fileprivate var nonceWindowSeconds: Int64 { oauth1.timestampWindow.wholeSeconds }

    /// How long a proof could be, by whichever worker's clock.
    fileprivate var proofWindowSeconds: Int64 { dpop.proofLifetime.wholeSeconds + 1 }
}

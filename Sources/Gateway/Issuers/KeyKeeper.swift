import Configuration
import OAuth
import Primitives
import Telemetry
import Transport

/// Keeps the keys of one issuer up to date: one fetch at a time, whoever asks; what came last and was good stays until
/// something good comes, or it is too old. Belongs to the issuers' thread.
final class KeyKeeper {
    /// For all that a fetch takes, metadata included.
    private static let fetchTime: Duration = .seconds(5)

    private(set) var issuer: RemoteIssuer
    /// `nil`: none have ever come.
    private(set) var keys: KeySet?
    private(set) var schedule: KeySchedule
    private(set) var isFetching = false
    private var tls: TLSClientContext?
    private var isAway: Bool
    private unowned let client: FetchClient
    private unowned let service: IssuerService
    /// Who asked for the fetch that is under way, and who came while it was: the issuer may have answered it before it
    /// published the key that they need.
    private var waiters: [Waiter] = []
    private var latecomers: [Waiter] = []
    /// Where the issuer's metadata said the keys are; asked again with each fetch of the background.
    private var discoveredURL: String?
    /// The last fetch failed, and the log says so.
    private var isFailing = false
    private var isRetired = false

    init(
        _ issuer: RemoteIssuer, tls: TLSClientContext?, isAway: Bool, client: FetchClient,
        service: IssuerService
    ) {
        self.issuer = issuer
        self.tls = tls
        self.isAway = isAway
        self.client = client
        self.service = service
        schedule = KeySchedule(now: client.loop.now)
    }

    /// A reload: the same keys, perhaps under another name or other authorities.
    func update(_ issuer: RemoteIssuer, tls: TLSClientContext?, isAway: Bool) {
        // An operator who reloads has perhaps mended what was wrong.
        if self.tls !== tls, isFailing { schedule.hurry(now: client.loop.now) }
        self.issuer = issuer
        self.tls = tls
        self.isAway = isAway
    }

    /// Fetches if it is time.
    ///
    /// - Returns: when it will be; `nil` while a fetch is under way.
    func tick() -> MonotonicInstant? {
        // Seen whenever a fetch is due: who has been away so long is tried again each minute.
        if !isFetching, isFailing { age() }
        if !isFetching, schedule.dueAt <= client.loop.now { begin(isDemanded: false) }
        return isFetching ? nil : schedule.dueAt
    }

    private func age() {
        let facts: KeyValuePairs = ["issuer": issuer.name, "keys": "\(keys?.keys.count ?? 0)"]
        switch schedule.takeAging(now: client.loop.now) {
        case .nearsEnd:
            service.errors.warn(
                "the keys of an issuer are old: within 6 hours they are used no more", facts)
        case .ended:
            service.errors.error("the keys of an issuer are too old and used no more", facts)
            keys = nil
            service.publish(.empty, as: issuer.keySet)
        case nil: break
        }
    }

    /// A token has a `kid` that no key has. The waiter is answered when a fetch has ended, or at once when none may begin.
    /// Whoever is told that the fetch began before may ask once more.
    ///
    /// - Parameter known: the keys that the token was judged by. Where newer ones are on their way to its worker, it is
    ///   judged by them first, and costs no fetch.
    func ask(_ waiter: Waiter, having known: KeySet?) {
        if let keys, keys !== known {
            return service.resume([waiter], .keysFetched(.early))
        }
        if isFetching { return latecomers.append(waiter) }
        guard schedule.takeDemand(now: client.loop.now) else {
            let isKnown = keys != nil && !isFailing
            return service.resume([waiter], .keysFetched(isKnown ? .current : .failed))
        }
        waiters.append(waiter)
        begin(isDemanded: true)
    }

    /// The configuration has no such issuer any more.
    func retire() {
        isRetired = true
        release()
        service.forget(issuer.keySet)
    }

    /// The names that its fetches look up.
    var hostNames: [String] {
        let urls: [String?] =
            switch issuer.keySet.source {
            case .uri(let url): [url]
            case .discovery: [issuer.keySet.issuer, discoveredURL]
            case .file: []
            }
        return urls.compactMap { $0.flatMap(WebAddress.init)?.hostName }
    }

    // MARK: A fetch

    private func begin(isDemanded: Bool) {
        isFetching = true
        service.open(issuer.keySet)
        let deadline = client.loop.now + KeyKeeper.fetchTime
        switch issuer.keySet.source {
        case .uri(let url):
            fetchKeys(url, isDemanded, deadline)
        case .discovery:
            if isDemanded, let discoveredURL {
                fetchKeys(discoveredURL, isDemanded, deadline)
            } else {
                discover(
                    IssuerMetadata.urls(of: issuer.keySet.issuer)[...], isDemanded, deadline)
            }
        case .file:
            failed(.content("its keys are in a file"), isDemanded)
        }
    }

    private func ask(
        _ url: String, _ deadline: MonotonicInstant,
        _ completion: @escaping (Result<FetchedAnswer, FetchError>) -> Void
    ) {
        guard let address = WebAddress(url) else {
            return completion(.failure(.content("it names an address that is not asked: \(url)")))
        }
        let server = FetchServer(address, tls: tls, isAway: isAway)
        Fetch(
            .document(at: address), from: server, client: client, deadline: deadline,
            completion: completion
        ).start()
    }

    private func discover(
        _ urls: ArraySlice<String>, _ isDemanded: Bool, _ deadline: MonotonicInstant
    ) {
        guard let url = urls.first else {
            return failed(.content("it publishes no metadata"), isDemanded)
        }
        ask(url, deadline) { [self] result in
            switch result {
            case .success(let answer):
                do throws(IssuerMetadataError) {
                    let found = try IssuerMetadata.keysURL(
                        of: answer.body, issuer: issuer.keySet.issuer)
                    // In clear only this machine is asked, and whoever is elsewhere has no say in what is asked here.
                    guard url.hasPrefix("http://") || !found.hasPrefix("http://") else {
                        return failed(
                            .content("its metadata came by https and name keys in clear: \(found)"),
                            isDemanded)
                    }
                    discoveredURL = found
                    fetchKeys(found, isDemanded, deadline)
                } catch {
                    failed(.content("its metadata cannot be used: \(error)"), isDemanded)
                }
            case .failure(.status) where urls.count > 1:
                discover(urls.dropFirst(), isDemanded, deadline)
            case .failure(let error):
                failed(error, isDemanded)
            }
        }
    }

    private func fetchKeys(_ url: String, _ isDemanded: Bool, _ deadline: MonotonicInstant) {
        ask(url, deadline) { [self] result in
            switch result {
            case .success(let answer):
                do throws(KeySetError) {
                    let keys = try KeySet(jwks: answer.body, allowsSymmetric: false)
                    guard !keys.isEmpty else {
                        return failed(.content("a key set without a usable key"), isDemanded)
                    }
                    succeeded(keys, maxAge: answer.maxAge)
                } catch {
                    failed(.content("a key set that cannot be used: \(error)"), isDemanded)
                }
            case .failure(let error):
                failed(error, isDemanded)
            }
        }
    }

    private func succeeded(_ newer: KeySet, maxAge: Duration?) {
        guard !isRetired else { return }
        schedule.succeeded(now: client.loop.now, maxAge: maxAge, jitter: .random(in: 0...1))
        let isSame = keys.map { $0.holdsAll(of: newer) && newer.holdsAll(of: $0) } ?? false
        if !isSame {
            keys = newer
            service.errors.notice(
                "keys of an issuer were fetched",
                [
                    "issuer": issuer.name, "keys": "\(newer.keys.count)",
                    "left_out": "\(newer.skipped.count)",
                ])
            service.publish(newer, as: issuer.keySet)
        } else if isFailing {
            service.errors.notice("an issuer is back", ["issuer": issuer.name])
        }
        isFailing = false
        release()
    }

    private func failed(_ error: FetchError, _ isDemanded: Bool) {
        guard !isRetired else { return }
        discoveredURL = nil
        // What a token demanded must not make the background hurry: junk would cost the issuer more than its budget.
        if !isDemanded { schedule.failed(now: client.loop.now, jitter: .random(in: 0...1)) }
        let facts: KeyValuePairs = [
            "issuer": issuer.name, "cause": error.description,
            "keys_in_use": "\(keys?.keys.count ?? 0)",
        ]
        // Once, until it heals: a long outage must not fill the log.
        if isFailing {
            service.errors.debug("the keys of an issuer could not be fetched", facts)
        } else {
            service.errors.warn("the keys of an issuer could not be fetched", facts)
        }
        isFailing = true
        release()
    }

    private func release() {
        isFetching = false
        service.close(
            issuer.keySet, until: schedule.demandClosedUntil, isFailing: isFailing)
        let (waiters, latecomers) = (self.waiters, self.latecomers)
        self.waiters = []
        self.latecomers = []
        service.resume(waiters, .keysFetched(isFailing || isRetired ? .failed : .current))
        service.resume(latecomers, .keysFetched(isRetired ? .failed : .early))
    }
}

import Primitives

/// When a client that confs declare has left, and which of its tokens count no more then.
public enum DeclaredClients {
    /// So often each gateway says whom its conf declares.
    public static let interval: Duration = .seconds(30)
    /// A client that no gateway of a fleet has declared for so long has left.
    static let absence: Duration = .seconds(180)
    /// After a gateway of a fleet has last declared a client it may issue tokens to it for one interval, by a clock that
    /// is a minute ahead; while no gateway could declare anything, as long as that lasted. One that is back has been away
    /// for longer.
    static let lastTokens: Duration = .seconds(90)
    /// Where there is one gateway: a request that came before the reload may get its token after it.
    private static let requestSeconds: Int64 = 5

    /// What becomes of the client of a single gateway.
    static func revocation(of id: String, leftAt now: WallTime, until: WallTime) -> Revocation {
        Revocation(
            .client(id: id), issuedBefore: WallTime(seconds: now.seconds + requestSeconds),
            until: until)
    }
}

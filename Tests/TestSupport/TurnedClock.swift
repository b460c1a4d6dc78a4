import Foundation

/// A clock that a test turns while a program runs by it: libfaketime reads an offset from a file.
public struct TurnedClock {
    private let folder: TemporaryDirectory

    public init() throws {
        folder = try TemporaryDirectory()
        try folder.write("clock", "+0\n")
    }

    /// What starts a program under it, timers and all.
    public func command() throws -> [String] {
        [
            // Its own offset would go before the file's.
            try requireTool("faketime", package: "faketime"), "-f", "+0",
            try requireTool("env", package: "coreutils"), "-u", "FAKETIME",
            "FAKETIME_TIMESTAMP_FILE=\(folder.file("clock"))", "FAKETIME_NO_CACHE=1",
        ]
    }

    /// In one step.
    ///
    /// - Parameter offset: from the true time: `+26h`.
    public func turn(to offset: String) throws {
        let newer = try folder.write("clock.new", offset + "\n")
        guard rename(newer, folder.file("clock")) == 0 else { throw Failure("rename: \(errno)") }
    }
}

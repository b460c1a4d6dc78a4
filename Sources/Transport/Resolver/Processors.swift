import CLinux

public enum Processors {
    /// How many processors the process may run on, by its affinity mask; at least 1.
    public static var count: Int { Int(gh_processors()) }
}

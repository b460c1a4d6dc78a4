import CLinux

/// How the process's memory is given back.
public enum Memory {
    /// Makes the allocator join a small block with its neighbours as it is freed.
    ///
    /// glibc keeps such blocks apart (its "fast bins") until a large one comes or goes, and then joins them all at once: 60 ms
    /// after half a million remembered tokens had ended, in whatever request that met. Each thread's own cache of blocks
    /// (tcache) stays, so that the usual request costs what it did.
    public static func joinFreedBlocks() {
        // Where the allocator knows no such option there is nothing to switch off.
        _ = gh_disable_fast_bins()
    }
}

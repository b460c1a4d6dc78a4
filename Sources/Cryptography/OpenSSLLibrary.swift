import COpenSSL

public enum OpenSSLLibrary {
    /// Lets the process end without tearing OpenSSL down, which a thread that still works would crash in: of a command the
    /// store's, for one. What it holds goes with the process. To be called before anything else uses OpenSSL.
    public static func stayUntilExit() {
        _ = OPENSSL_init_crypto(UInt64(OPENSSL_INIT_NO_ATEXIT), nil)
    }
}

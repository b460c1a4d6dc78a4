import ArgumentParser
import Cryptography

OpenSSLLibrary.stayUntilExit()

// Bad usage ends with EX_USAGE (64), as sysexits.h has it; ArgumentParser's own code is the same on this system.
do {
    var command = try Gatehouse.parseAsRoot()
    try command.run()
} catch let error as ExitCode {
    Gatehouse.exit(withError: error)
} catch {
    let code = Gatehouse.exitCode(for: error)
    // What no command foresaw is ours: EX_SOFTWARE instead of the parser's 1.
    guard code == .failure else { Gatehouse.exit(withError: error) }
    Diagnostics.write("gatehouse: \(error)")
    Gatehouse.exit(withError: ExitCode(70))
}

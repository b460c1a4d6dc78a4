import ArgumentParser
import Glibc

// Bad usage ends with EX_USAGE (64), as sysexits.h has it; ArgumentParser's own code is the same on this system.
Gatehouse.main()

import ArgumentParser

Gatehouse.main()

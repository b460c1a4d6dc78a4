# Gatehouse: what there is to do. `make` alone lists it.
#
# Needs Debian 12 (or alike) and Swift 6.3 on the PATH; Debian packages are installed when they are missing, which takes
# root or sudo. (Debian starts its own nginx on port 80 when nginx is installed; nothing here uses that one.)

SHELL   := /bin/bash
PREFIX  ?= /usr
DESTDIR ?=
SECONDS ?= 60
SWIFT   ?= swift
# make run KEEP=1 leaves the demo running.
KEEP    ?=
# More arguments for swift test, such as TEST_ARGUMENTS='--filter HTTPTests'.
TEST_ARGUMENTS ?=

BUILD_PACKAGES := libssl-dev libnghttp2-dev libsqlite3-dev libc-ares-dev libhiredis-dev
RUN_PACKAGES   := nginx curl openssl python3 python3-requests python3-requests-oauthlib
TEST_PACKAGES  := $(RUN_PACKAGES) python3-authlib python3-jwt python3-cryptography python3-websockets \
                  libnet-oauth-perl libwww-perl php-cli php-oauth ruby-oauth \
                  python3-h2 python3-hpack python3-wsproto nghttp2-client nghttp2-proxy \
                  python3-grpcio python3-httpx python3-flask wrk faketime redis-server redis-sentinel

BINARY     := .build/release/gatehouse
bindir     := $(DESTDIR)$(PREFIX)/bin
unitdir    := $(DESTDIR)$(PREFIX)/lib/systemd/system
sysusers   := $(DESTDIR)$(PREFIX)/lib/sysusers.d
tmpfiles   := $(DESTDIR)$(PREFIX)/lib/tmpfiles.d
docdir     := $(DESTDIR)$(PREFIX)/share/doc/gatehouse
confdir    := $(DESTDIR)/etc/gatehouse
logrotate  := $(DESTDIR)/etc/logrotate.d

.PHONY: help build run test sanitize fuzz bench lint format install uninstall clean packages

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

packages:
	@command -v $(SWIFT) >/dev/null || { echo "Swift 6.3 is missing: https://www.swift.org/install/linux/" >&2; exit 69; }
	@deploy/packages.sh $(BUILD_PACKAGES)

# With Swift's runtime inside: what is installed runs on machines without Swift, and calls the runtime directly.
build: packages ## the release binary, .build/release/gatehouse
	$(SWIFT) build -c release --static-swift-stdlib --product gatehouse

run: build ## the main job on real input: nginx, the gateway, curl, requests-oauthlib (KEEP=1: left running)
	@deploy/packages.sh $(RUN_PACKAGES)
	@deploy/demo/run.sh $(if $(KEEP),--keep) $(BINARY)

test: packages ## all tests, end to end ones with real peers included
	@deploy/packages.sh $(TEST_PACKAGES)
	$(SWIFT) build --build-tests --explicit-target-dependency-import-check error
	$(SWIFT) test $(TEST_ARGUMENTS)

# .ci/tsan-mutex.c tells ThreadSanitizer what Swift's Mutex orders. Leaks are not looked for: XCTest, which carries the
# runner, leaks by itself. Two suites and nine tests set the program's clock by faketime, whose library cannot live in
# one process with a sanitizer's: they are left out here, and only here.
CLOCKED := BearerTests|theLastGoodKeysEnd|aNewKeyIsNotRefusedWhileItsIssuerIsAway|OAuth1VectorRunTests|keysAreFetchedAgain|aSessionIsGoodForTwoHours|EndsWithItsCertificate|HasEndedCountsNoMore|ticketKeysChangeEveryHour|aCertificateIsWarnedOfBeforeItEnds|aStapleThatIsOutOfDateIsNotSent

sanitize: packages ## all tests under ThreadSanitizer, then under AddressSanitizer
	@deploy/packages.sh $(TEST_PACKAGES)
	$(SWIFT) build --build-tests --sanitize thread --scratch-path .build-tsan
	clang -shared -fPIC -O1 -Wall -Wextra -Werror .ci/tsan-mutex.c -o .build-tsan/tsan-mutex.so
	LD_PRELOAD=$(CURDIR)/.build-tsan/tsan-mutex.so \
	    $(SWIFT) test --skip-build --sanitize thread --scratch-path .build-tsan \
	    --skip '$(CLOCKED)' $(TEST_ARGUMENTS)
	ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=8 $(SWIFT) test --sanitize address --scratch-path .build-asan \
	    --skip '$(CLOCKED)' $(TEST_ARGUMENTS)

fuzz: packages ## every fuzz harness for SECONDS=60 each
	Fuzz/run.sh $(SECONDS)

bench: packages ## what each seam of a request costs, beside a reference in the same process
	Benchmarks/seams.sh

lint: ## what CI says about the layout of the code
	$(SWIFT) format lint --strict -r Package.swift Sources Tests Benchmarks/Package.swift Benchmarks/Sources

format: ## lay the code out
	$(SWIFT) format -i -r Package.swift Sources Tests Benchmarks/Package.swift Benchmarks/Sources

install: ## PREFIX=/usr, DESTDIR: program, unit, conf (an existing conf is kept); after make build
	@test -x $(BINARY) || { echo "nothing to install: make build first" >&2; exit 69; }
	install -D -m 0755 $(BINARY) $(bindir)/gatehouse
	install -D -m 0644 deploy/gatehouse.service $(unitdir)/gatehouse.service
	sed -i 's#/usr/bin/gatehouse#$(PREFIX)/bin/gatehouse#' $(unitdir)/gatehouse.service
	install -D -m 0644 deploy/gatehouse.socket $(unitdir)/gatehouse.socket
	install -D -m 0644 deploy/sysusers.d/gatehouse.conf $(sysusers)/gatehouse.conf
	install -D -m 0644 deploy/tmpfiles.d/gatehouse.conf $(tmpfiles)/gatehouse.conf
	install -D -m 0644 deploy/logrotate.d/gatehouse $(logrotate)/gatehouse
	install -D -m 0644 gateway.conf.example $(docdir)/gateway.conf.example
	install -d -m 0750 $(confdir)
	test -e $(confdir)/gateway.conf || install -m 0640 gateway.conf.example $(confdir)/gateway.conf
ifeq ($(DESTDIR),)
	if command -v systemd-sysusers >/dev/null; then systemd-sysusers $(sysusers)/gatehouse.conf; fi
	if command -v systemd-tmpfiles >/dev/null; then systemd-tmpfiles --create $(tmpfiles)/gatehouse.conf; fi
	if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
endif

uninstall: ## takes the program away; conf, state and logs stay
ifeq ($(DESTDIR),)
	if [ -d /run/systemd/system ]; then systemctl disable --now gatehouse.service || true; fi
endif
	rm -f $(bindir)/gatehouse $(unitdir)/gatehouse.service $(unitdir)/gatehouse.socket $(sysusers)/gatehouse.conf
	rm -f $(tmpfiles)/gatehouse.conf $(logrotate)/gatehouse $(docdir)/gateway.conf.example
	if [ -d $(docdir) ]; then rmdir --ignore-fail-on-non-empty $(docdir); fi

clean: ## all that was built
	rm -rf .build .build-tsan .build-asan Fuzz/.build Benchmarks/.build

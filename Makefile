# SPDX-License-Identifier: GPL-2.0
#
# The user's entry; kbuild reads Kbuild instead.
#
#   make run      a guest talks through our /dev/vhost-net, and what came of it
#   make test     everything that is tested
#   make help     the rest

# The kernel to build for and to boot: any flavour of Debian's backports.
KERNEL ?= 7.3.4+deb13-cloud-amd64
export KERNEL

.PHONY: run test test-debug test-kcsan shell lint bench bench-quick bench-clients modules install doc setup clean help

help:
	@echo 'make run          set up, build, boot, and let a guest use the module'
	@echo 'make test         all tests; the last line counts'
	@echo 'make test-debug   the tests and more on a kernel that looks for mistakes'
	@echo 'make test-kcsan   some of them on a kernel that looks for data races'
	@echo 'make shell        a shell in the machine, with the module loaded'
	@echo 'make lint         formatting, warnings, layers, style'
	@echo 'make bench        what a packet costs beside the C module, and the page that says so'
	@echo 'make bench-quick  what a packet costs, in two minutes'
	@echo 'make bench-clients  guests, DPDK, and the memory of devices, side by side'
	@echo 'make modules      the module, for KERNEL= or for the tree at KDIR='
	@echo 'make install      the module into the running kernel, built with KDIR='
	@echo 'make doc          Documentation as HTML'
	@echo 'make clean        removes what was built, and keeps what was downloaded'
	@echo
	@echo 'KERNEL=$(KERNEL)'

setup:
	@scripts/setup

run: setup
	@scripts/build
	@scripts/guest/run

test:
	@scripts/test

test-debug:
	@scripts/test-debug

test-kcsan:
	@scripts/test-kcsan

shell: setup
	@scripts/build
	@scripts/shell

lint: setup
	@scripts/lint

bench: setup
	@scripts/build
	@scripts/bench/run

bench-quick: setup
	@scripts/build
	@scripts/bench/quick

bench-clients: setup
	@scripts/build
	@scripts/bench/clients

ifdef KDIR
modules:
	@scripts/kdir '$(KDIR)' modules

install:
	@scripts/kdir '$(KDIR)' install
else
modules: setup
	@scripts/build

install:
	@echo 'make install needs KDIR=, the build tree of the running kernel; see Documentation/install.rst' >&2
	@false
endif

doc:
	@scripts/doc

clean:
	@scripts/clean

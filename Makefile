# SPDX-License-Identifier: GPL-2.0
#
# The user's entry. kbuild reads Kbuild, not this file.
#
#   make run      boot a guest that uses our /dev/vhost-net, print a summary
#   make test     run all tests
#   make help     list all targets

# The kernel to build for and to boot: any flavour of a kernel in Debian's backports.
KERNEL ?= 7.3.4+deb13-cloud-amd64
export KERNEL

.PHONY: run test test-debug test-kcsan shell lint bench bench-quick bench-clients modules install doc setup clean help

help:
	@echo 'make run          set up, build, and boot a guest that uses the module'
	@echo 'make test         run all tests; the last line has the counts'
	@echo 'make test-debug   run the tests and more on a debug kernel'
	@echo 'make test-kcsan   run some of the tests on a KCSAN kernel'
	@echo 'make shell        start a shell in the test machine, with the module loaded'
	@echo 'make lint         check formatting, warnings, layers, style'
	@echo 'make bench        measure instructions per packet against C, update the page'
	@echo 'make bench-quick  measure instructions per packet, in two minutes'
	@echo 'make bench-clients  measure devices and their clients against C'
	@echo 'make modules      build the module for KERNEL=, or for the build tree KDIR='
	@echo 'make install      build the module with KDIR= and install it'
	@echo 'make doc          build Documentation as HTML'
	@echo 'make clean        remove what was built, keep what was downloaded'
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

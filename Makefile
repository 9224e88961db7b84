# make                    builds the programs and the C library
# make install            installs them; PREFIX (/usr/local), DESTDIR
# make uninstall          removes what was installed, but a changed policy
# make deb, make rpm      make packages in $(BUILT); they take cargo-deb and cargo-generate-rpm
#
# package/install has the other variables.

PREFIX ?= /usr/local
CARGO ?= cargo
CARGO_TARGET_DIR ?= target
BUILT ?= $(CARGO_TARGET_DIR)/release
export PREFIX DESTDIR BUILT CARGO_TARGET_DIR

.PHONY: all install uninstall deb rpm

all:
	$(CARGO) build --locked --release -p fdbrokerd -p fdbroker-cli -p fdbroker-capi

install:
	package/install install

uninstall:
	package/install uninstall

deb rpm:
	package/make $@

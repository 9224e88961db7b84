//! What is installed: from the checkout, and as a package.
//!
//! - [`debian`]: the package, under the machine's own systemd, booted in namespaces
//! - [`install`]: `make install` and `make uninstall`

mod debian;
mod install;
